"""The machine that runs a chapter or a row of results, in words and without its name."""

import os
import platform
import shutil
import subprocess
from pathlib import Path

__all__ = ["machine"]


def machine() -> str:
    """Return a phrase, e.g. "2 cores (AMD), 24 GiB, Linux x86_64, no GPU"."""
    system = f"{platform.system()} {platform.machine()}"
    memory = round(_memory_bytes() / 2**30)
    return f"{_cores()} cores ({_maker()}), {memory} GiB, {system}, {_gpu() or 'no GPU'}"


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _memory_bytes() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # Windows has no sysconf
        import psutil

        return int(psutil.virtual_memory().total)


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
