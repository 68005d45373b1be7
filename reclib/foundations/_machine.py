"""What a training run needs from the machine: a device, processes, memory, and a whole file.

    write beside, flush, rename: at every moment the file is the old one or the new one

Source: the usual write beside and rename (see POSIX ``rename``).
Differences from the paper: none.
Chapter: foundations/training
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

__all__ = ["device_of", "names_batch_size", "processes", "read", "watched", "write"]

_MEMORY = ("allocate memory", "not enough memory", "out of memory", "ALLOC_FAILED")


def device_of(name: str) -> torch.device:
    """The device of that name, if it is there; of several processes each takes its own."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        if name == "cuda":
            local = os.environ.get("LOCAL_RANK")  # set by torchrun
            index = torch.cuda.current_device() if local is None else int(local)
            device = torch.device("cuda", index)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # torch without CUDA asserts
        reason = str(error).splitlines()[0]
        raise ValueError(f"device must be there, got {name!r}: {reason}") from error
    return device


def processes(device: torch.device) -> tuple[int, int]:
    """This process's rank and how many there are, as torchrun says."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and not dist.is_initialized():
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    return (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)


def watched(progress: bool | None) -> bool:
    """Whether to show a bar: in a terminal, or in a notebook that no machine runs."""
    if progress is not None:
        return progress
    return sys.stderr.isatty() or ("ipykernel" in sys.modules and "TQDM_DISABLE" not in os.environ)


@contextlib.contextmanager
def names_batch_size(batch_size: int, device: torch.device) -> Iterator[None]:
    """Turn whatever torch and NumPy say about missing memory into one error with a way out."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        text = str(error)
        if isinstance(error, MemoryError) or any(words in text for words in _MEMORY):
            raise MemoryError(
                f"batch_size must be smaller for the memory of {device}, got {batch_size}: {text}"
            ) from error
        raise


def write(path: Path, content: Mapping[str, Any]) -> None:
    """Write a file that is whole or not there; an older one stays until then."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}-{os.getpid()}")
    try:
        with beside.open("wb") as file:
            torch.save(content, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except RuntimeError as error:  # how torch reports a full disk
        raise OSError(f"checkpoint must be writable, got {error} in {path}") from error
    finally:
        for left in path.parent.glob(f".{path.name}-*"):  # ours, and of runs that were killed
            left.unlink(missing_ok=True)


def read(path: Path, identity: Mapping[str, Any]) -> dict[str, Any]:
    """The state in a checkpoint, if it belongs to this run; no code in the file can run."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        found, state = dict(content["identity"]), dict(content["state"])
    except Exception as error:  # torch raises many kinds for a file that is not its own
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise ValueError(f"checkpoint must be one of this loop, got {path}: {reason}") from error
    for name, value in identity.items():
        if found.get(name) != value:
            raise ValueError(f"checkpoint {path} must have {name} {value}, got {found.get(name)}")
    return state
