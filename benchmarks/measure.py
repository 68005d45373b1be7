"""How much memory a call needs at its peak, beyond what the process holds already."""

import threading
import time
from collections.abc import Callable
from typing import Any

import psutil

__all__ = ["growth_mib"]


def growth_mib(call: Callable[[], Any], interval: float = 0.005) -> tuple[Any, float]:
    """The result of a call, and the peak growth of resident memory while it ran, in MiB.

    Resident memory is read every few milliseconds, so a shorter spike is missed.
    """
    process = psutil.Process()
    before = peak = process.memory_info().rss
    done = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.is_set():
            peak = max(peak, process.memory_info().rss)
            time.sleep(interval)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        result = call()
    finally:
        done.set()
        watcher.join()
    return result, max(peak - before, 0) / 2**20
