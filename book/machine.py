"""The machine that runs a chapter or a row of results, in words and without its name."""

import os
import platform
import shutil
import subprocess
from pathlib import Path

__all__ = ["device", "machine"]


def machine() -> dict[str, str | int]:
    """Return cores, memory in MiB, maker of the processor, and operating system."""
    return {
        "cores": _cores(),
        "memory_mib": _memory_mib(),
        "processor": _maker(),
        "system": f"{platform.system()} {platform.machine()}",
        "gpu": _gpu(),
    }


def device() -> str:
    """Return the machine as a phrase for a page, e.g. "2 cores (AMD), no GPU"."""
    gpu = _gpu()
    return f"{_cores()} cores ({_maker()}), {gpu or 'no GPU'}"


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _memory_mib() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
    except (AttributeError, ValueError, OSError):  # Windows has no sysconf
        import psutil

        return int(psutil.virtual_memory().total // 2**20)


def _maker() -> str:
    described = platform.processor()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        described += cpuinfo.read_text(encoding="utf-8", errors="replace")[:2000]
    for sign, maker in (("Intel", "Intel"), ("AMD", "AMD"), ("Apple", "Apple")):
        if sign in described:
            return maker
    return "Apple" if platform.system() == "Darwin" else platform.machine()


def _gpu() -> str:
    """Return the first NVIDIA GPU's name where torch can use it, or an empty string."""
    from importlib.metadata import version

    tool = shutil.which("nvidia-smi")
    if tool is None or version("torch").endswith("+cpu"):
        return ""
    asked = [tool, "--query-gpu=name", "--format=csv,noheader"]
    answer = subprocess.run(asked, capture_output=True, text=True, check=False).stdout
    return answer.splitlines()[0].strip() if answer.strip() else ""
