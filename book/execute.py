"""Execute one notebook with papermill in a process of its own and say what it cost.

``python -m book.execute SOURCE TARGET FIGURES`` writes the executed notebook to TARGET and its
seconds, peak memory and versions to FIGURES as JSON. A cell that raises or writes to stderr, and
widget state, which a page cannot show, end it with the exit status 1.
"""

import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from platform import python_version
from typing import Any

from book.machine import machine

__all__ = ["complaints", "main"]

PACKAGES = ("reclib-book", "torch", "numpy", "scipy", "pandas")


def complaints(notebook: dict[str, Any]) -> list[str]:
    """Return what an executed notebook must not carry to a page."""
    found = []
    for number, cell in enumerate(notebook["cells"], start=1):
        for output in cell.get("outputs", []):
            if output["output_type"] == "stream" and output["name"] == "stderr":
                found.append(f"cell {number} wrote to stderr: {''.join(output['text']).strip()}")
            glued = output.get("metadata", {}).get("scrapbook")
            said = output.get("data", {}).get("application/papermill.record/text/plain", "")
            if glued and "".join(said).startswith("np."):
                # Where a page asks for a format, such a number shows as nothing at all.
                found.append(f"cell {number} must glue {glued['name']} as float or int, got {said}")
    if notebook["metadata"].get("widgets"):
        found.append("the notebook holds widget state, which a page cannot show")
    return found


def main(source: str, target: str, figures: str) -> int:
    """Execute ``source``; see the module's docstring."""
    import papermill
    import tqdm  # noqa: F401 - it reads the environment now, so that papermill keeps its own bar
    from papermill.exceptions import PapermillExecutionError

    os.environ["TQDM_DISABLE"] = "1"  # for the kernel: its progress bars would go to stderr
    start = time.perf_counter()
    peak = _peak_of_children()
    with tempfile.TemporaryDirectory() as folder:
        try:
            papermill.execute_notebook(
                source,
                target,
                cwd=folder,
                kernel_name="python3",
                progress_bar=sys.stderr.isatty(),
                extra_arguments=["--IPKernelApp.log_level=ERROR"],
            )
        except PapermillExecutionError as error:
            print(f"cell {error.exec_count}: {error.ename}: {error.evalue}", file=sys.stderr)
            print("\n".join(error.traceback), file=sys.stderr)
            return 1
    seconds = time.perf_counter() - start
    found = complaints(json.loads(Path(target).read_text(encoding="utf-8")))
    for line in found:
        print(line, file=sys.stderr)
    measured = {
        "seconds": round(seconds, 2),
        "peak_mib": round(peak()),
        "date": datetime.now(UTC).date().isoformat(),
        "device": machine(),
        "versions": {"python": python_version(), **{name: version(name) for name in PACKAGES}},
    }
    Path(figures).write_text(json.dumps(measured), encoding="utf-8")
    return 1 if found else 0


def _peak_of_children() -> Callable[[], float]:
    """Return a function that gives the largest child's peak memory in MiB so far."""
    if sys.platform == "win32":
        return _watched_peak()
    import resource

    unit = 2**20 if sys.platform == "darwin" else 2**10  # macOS counts bytes, Linux KiB
    return lambda: resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / unit


def _watched_peak() -> Callable[[], float]:
    import psutil

    largest = [0.0]

    def watch() -> None:
        while True:
            for child in psutil.Process().children(recursive=True):
                try:
                    largest[0] = max(largest[0], child.memory_info().peak_wset / 2**20)
                except psutil.Error:
                    continue
            time.sleep(0.2)

    threading.Thread(target=watch, daemon=True).start()
    return lambda: largest[0]


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
