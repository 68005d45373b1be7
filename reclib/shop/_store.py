"""Simulated shops kept under the hash of their settings, made once however many ask for them.

cache = RECLIB_DATA/shop/<hash>, beside it <hash>.partial while it is made and an empty lock file.

A shop is made in the partial folder and renamed when it is whole; who comes meanwhile waits. What
is damaged, or of another generator, is made again. Messages go to the log ``reclib.shop``.

Source: filelock (``flock`` on Linux and macOS: the lock ends with the process that held it).

Differences from the specification: none; it leaves the cache open.

Chapter: shop/simulation.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from reclib.shop._checkpoint import left_by, open_whole
from reclib.shop._config import SimConfig
from reclib.shop._driver import Progress, Steps, run
from reclib.shop._tables import Tables

__all__ = ["cache_folder", "cached", "kept", "opened"]

_log = logging.getLogger("reclib.shop")


def cached(
    config: SimConfig, steps: Steps, *, workers: int = 1, progress: Progress = False
) -> Tables:
    """The tables of a shop from the cache, or simulated and put there.

    The cache is the folder ``shop`` in ``RECLIB_DATA``, by default ``data/cache`` of the checkout.
    Where it cannot be written, or the disk is full, the shop is simulated in memory.
    """
    folder = cache_folder() / config.hash
    if tables := _whole(folder, config, steps):
        return tables
    try:
        return _made(config, steps, folder, workers, progress, ours=True)
    except OSError as error:
        _log.info("simulating in memory, the cache cannot be written: %s", error)
    return run(config, steps, workers=workers, progress=progress)


def kept(
    config: SimConfig,
    steps: Steps,
    folder: Path,
    *,
    workers: int = 1,
    progress: Progress = False,
) -> Tables:
    """The tables of a shop in a folder of the reader's, simulated if they are not there.

    What was cut is gone on with at the last whole day.

    Raises:
        ValueError: if the folder has anything but this shop, whole: nothing there is touched.
        OSError: if the disk is full or the folder cannot be written.
    """
    if tables := _whole(folder, config, steps):
        return tables
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(f"folder must be new, empty or hold the shop {config.hash}, got {folder}")
    try:
        return _made(config, steps, folder, workers, progress, ours=False)
    except OSError as error:
        raise OSError(
            error.errno,
            f"{error.strerror or error}: the shop is not whole; run again when {folder.parent} "
            "can be written, and it goes on at the last whole day",
        ) from error


def opened(folder: Path, steps: Steps) -> tuple[SimConfig, Tables]:
    """The settings and tables of a shop that `kept` or `cached` has put into a folder.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if it is damaged, or of another generator.
    """
    return open_whole(folder, steps.generator)


def cache_folder() -> Path:
    """``shop`` in the folder ``RECLIB_DATA``, by default ``data/cache`` of the checkout."""
    default = Path(__file__).resolve().parents[2] / "data" / "cache"
    return Path(os.environ.get("RECLIB_DATA") or default) / "shop"


def _whole(folder: Path, config: SimConfig, steps: Steps) -> Tables | None:
    with suppress(OSError, ValueError):
        found, tables = open_whole(folder, steps.generator)
        if found == config:
            return tables
    return None


def _made(
    config: SimConfig, steps: Steps, folder: Path, workers: int, progress: Progress, *, ours: bool
) -> Tables:
    """Simulate beside the folder and rename, unless another process has done so meanwhile.

    ``ours`` is the cache: there nothing half-written stays behind an error of the disk.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = _partial(folder)
    with _alone(folder):
        if tables := _whole(folder, config, steps):
            return tables
        if ours:
            _sweep(folder, steps)
        try:
            run(config, steps, partial, workers=workers, progress=progress)
            if folder.exists():  # damaged, of another generator, or empty
                shutil.rmtree(folder)
            partial.rename(folder)
        except OSError:
            if ours:
                shutil.rmtree(partial, ignore_errors=True)
            raise
        _, tables = open_whole(folder, steps.generator)
        return tables


def _partial(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.partial")


def _lock(folder: Path) -> FileLock:
    return FileLock(folder.with_name(f".{folder.name}.lock"))


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Nobody else makes this folder meanwhile."""
    lock = _lock(folder)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        _log.info("waiting for another process that simulates %s", folder)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _sweep(folder: Path, steps: Steps) -> None:
    """Remove what simulations of another generator have left in the cache and nobody works on."""
    for partial in sorted(folder.parent.glob("*.partial")):
        if partial == _partial(folder):  # the driver sees to it
            continue
        with suppress(OSError), _lock(partial.with_suffix("")).acquire(blocking=False):
            if left_by(partial) != steps.generator:
                shutil.rmtree(partial)
