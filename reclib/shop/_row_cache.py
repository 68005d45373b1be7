"""A large array of bytes kept as one memory-mapped file that vouches for itself by its name."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]

_CHUNK = 1_000  # rows made at a time, which bounds the memory


def cached_rows(
    folder: Path, name: str, shape: tuple[int, ...], make: Callable[[NDArray[np.int64]], Bytes]
) -> Bytes:
    """The array ``shape`` of uint8, read-only: from ``folder``, or made and put there.

    The file is ``<name>-<sha256 of its bytes>.npy``, so one that is cut or damaged does not match
    its name and is made again. It is written beside and renamed: of two processes that write at
    once, both leave the same whole file. Where the folder cannot be written, the array is made in
    memory.

    Args:
        folder: made if it does not exist.
        name: says what the array is; another name, another array.
        shape: (rows, ...).
        make: rows by their numbers.
    """
    for path in sorted(folder.glob(f"{name}-*.npy")):
        rows = _opened(path, name, shape)
        if rows is not None:
            return rows
        with contextlib.suppress(OSError):
            path.unlink()
    try:
        path = _written(folder, name, shape, make)
        return _mapped(path)
    except OSError:  # read-only, full, or not a folder
        rows = make(np.arange(shape[0]))
        rows.flags.writeable = False
        return rows


def _opened(path: Path, name: str, shape: tuple[int, ...]) -> Bytes | None:
    try:
        if path.stem != f"{name}-{_checksum(path)}":
            return None
        rows = _mapped(path)
    except (OSError, ValueError):
        return None
    return rows if rows.shape == shape and rows.dtype == np.uint8 else None


def _written(
    folder: Path, name: str, shape: tuple[int, ...], make: Callable[[NDArray[np.int64]], Bytes]
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    handle, beside = tempfile.mkstemp(prefix=f".{name}-", dir=folder)
    try:
        with os.fdopen(handle, "wb") as stream:
            header = {"descr": "|u1", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(stream, header)
            for start in range(0, shape[0], _CHUNK):
                stream.write(make(np.arange(start, min(start + _CHUNK, shape[0]))).tobytes())
        path = folder / f"{name}-{_checksum(Path(beside))}.npy"
        Path(beside).replace(path)
    finally:
        Path(beside).unlink(missing_ok=True)
    return path


def _mapped(path: Path) -> Bytes:
    rows: Bytes = np.load(path, mmap_mode="r", allow_pickle=False)
    return rows


def _checksum(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()[:32]
