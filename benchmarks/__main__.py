"""Compute rows of results, one at a time, each in a fresh process, and record them.

    python run.py results [ROW ...] [--list] [--force]

A row is a function without arguments that returns `dataset`, `split`, `protocol`, `model`,
`options`, `metrics` (name -> mean, std, n_seeds, low, high), `seconds`, `memory_mib`, and where
it means something `peer` and `note`. The record adds what the row cannot vouch for itself: the
data's checksum, the machine, versions, date, command, and the digest of the code it was made by.
A row whose code and data are unchanged is skipped, so that a run that was cut off goes on.
"""

import argparse
import importlib
import json
import math
import pkgutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from platform import python_version
from typing import Any

import benchmarks
from book.closure import closure, code_digest
from book.machine import machine

__all__ = ["Row", "code_of", "discover", "main", "problems", "record", "state"]

ROOT = Path(__file__).resolve().parents[1]
SIMULATED = "shop"
RESULTS = ROOT / "data" / "results"
PACKAGES = ("reclib-book", "torch", "numpy", "scipy", "pandas", "scikit-learn", "implicit")
TEXTS = ("dataset", "split", "protocol", "model")
TABLES = ("options", "metrics", "seconds", "memory_mib")
ADDED = ("row", "sha256", "machine", "versions", "date", "command", "code", "process")

Row = Callable[[], dict[str, Any]]


def discover(package: Any = benchmarks) -> dict[str, tuple[str, Row]]:
    """Return every row by name, with the name of the module that defines it.

    Raises:
        ValueError: if two modules give a row the same name.
    """
    found: dict[str, tuple[str, Row]] = {}
    for info in pkgutil.iter_modules(package.__path__):
        if info.name.startswith("_"):
            continue
        module = f"{package.__name__}.{info.name}"
        for name, row in getattr(importlib.import_module(module), "ROWS", {}).items():
            if name in found:
                raise ValueError(f"row {name} must be defined once, got {found[name][0]}, {module}")
            found[name] = (module, row)
    return found


def code_of(module: str, dataset: str, root: Path = ROOT) -> str:
    """Return the digest of a module's import closure, without comments and docstrings.

    The simulated shop counts only for rows that are about it, since ``datasets`` imports it late.
    """
    without = () if dataset == SIMULATED else ("reclib.shop",)
    return code_digest(root, closure(root, [module], without=without))


def problems(result: Mapping[str, Any], needed: Sequence[str] = ()) -> list[str]:
    """Return what a row's result or record lacks, in words."""
    found = [f"{key} is missing" for key in (*TEXTS, *TABLES, *needed) if key not in result]
    found += [
        f"{key} must be a text, got {result[key]!r}"
        for key in TEXTS
        if key in result and not (isinstance(result[key], str) and result[key])
    ]
    found += [
        f"{key} must be a table, got {result[key]!r}"
        for key in TABLES
        if key in result and not isinstance(result[key], Mapping)
    ]
    if found:
        return found
    for name, metric in result["metrics"].items():
        mean = metric.get("mean") if isinstance(metric, Mapping) else None
        if not isinstance(mean, int | float) or not math.isfinite(mean):
            found.append(f"metric {name} must have a finite mean, got {metric!r}")
    return found if result["metrics"] else ["metrics must not be empty"]


def record(name: str, module: str, compute: Row) -> dict[str, Any]:
    """Compute a row in this process and return its record.

    Raises:
        ValueError: if the row's result lacks something.
    """
    before, start = _peak_mib(), time.perf_counter()
    result = compute()
    seconds, growth = time.perf_counter() - start, _peak_mib() - before
    found = problems(result)
    if found:
        raise ValueError(f"row {name} must return a full result, got: {'; '.join(found)}")
    return {
        "row": name,
        **result,
        "sha256": _checksum(result["dataset"]),
        "machine": machine(),
        "versions": {"python": python_version(), **dict(_versions())},
        "date": datetime.now(UTC).date().isoformat(),
        "command": f"python run.py results {name}",
        "code": code_of(module, result["dataset"]),
        "process": {"seconds": round(seconds, 2), "memory_growth_mib": round(growth)},
    }


def state(name: str, module: str, folder: Path = RESULTS, root: Path = ROOT) -> str:
    """Return "current", "stale" (code or data changed), "malformed: ..." or "not recorded"."""
    path = folder / f"{name}.json"
    if not path.exists():
        return "not recorded"
    try:
        old = json.loads(path.read_text(encoding="utf-8"))
        found = problems(old, ADDED)
    except (ValueError, TypeError) as error:
        found = [str(error)]
    if found:
        return f"malformed: {'; '.join(found)}"
    now = code_of(module, old["dataset"], root), _checksum(old["dataset"])
    return "current" if (old["code"], old["sha256"]) == now else "stale"


def _checksum(dataset: str) -> str:
    """Return the data's checksum; simulated data are covered by the code's digest."""
    if dataset == SIMULATED:
        return "simulated"
    from reclib.datasets.registry import find

    return find(dataset).checksum


def _versions() -> Iterator[tuple[str, str]]:
    for package in PACKAGES:
        try:
            yield package, version(package)
        except PackageNotFoundError:
            continue


def _peak_mib() -> float:
    """Return this process's peak memory so far in MiB."""
    if sys.platform == "win32":
        import psutil

        return float(psutil.Process().memory_info().peak_wset / 2**20)
    import resource

    unit = 2**20 if sys.platform == "darwin" else 2**10  # macOS counts bytes, Linux KiB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def _compute_in_fresh_process(name: str) -> bool:
    """Compute and write one row; the record is renamed into place when it is whole."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=RESULTS, prefix=".") as folder:
        beside = Path(folder) / "record.json"
        command = [sys.executable, "-m", "benchmarks", name, "--here", str(beside)]
        if subprocess.run(command, cwd=ROOT, check=False).returncode or not beside.exists():
            return False
        beside.replace(RESULTS / f"{name}.json")
    return True


def _list(rows: Mapping[str, tuple[str, Row]]) -> int:
    """Print every row and its state; a record that is malformed or nobody's is an error."""
    bad = 0
    for name, (module, _) in rows.items():
        found = state(name, module)
        bad += found.startswith("malformed")
        print(f"{name:32} {module.rpartition('.')[2]:16} {found}")
    for path in sorted(RESULTS.glob("*.json")):
        if path.stem not in rows:
            bad += 1
            print(f"{path.stem:32} {'-':16} no row writes this record")
    return 1 if bad else 0


def _run(names: Sequence[str], rows: Mapping[str, tuple[str, Row]], force: bool) -> int:
    failed = []
    for number, name in enumerate(names, start=1):
        print(f"[{number}/{len(names)}] {name} ", end="", flush=True)
        if not force and state(name, rows[name][0]) == "current":
            print("is current")
            continue
        start = time.perf_counter()
        if _compute_in_fresh_process(name):
            print(f"{time.perf_counter() - start:.1f} s", flush=True)
        else:
            print(f"failed: {name} (see above)", flush=True)
            failed.append(name)
    return 1 if failed else 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Compute the named rows, or all."""
    parser = argparse.ArgumentParser(prog="run.py results", description=__doc__.splitlines()[0])
    parser.add_argument("rows", nargs="*", metavar="ROW", help="all of them where none is named")
    parser.add_argument("--list", action="store_true", help="show the rows and their state")
    parser.add_argument("--force", action="store_true", help="compute current rows as well")
    parser.add_argument("--here", type=Path, metavar="FILE", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    rows = discover()
    unknown = [name for name in options.rows if name not in rows]
    if unknown:
        listed = ", ".join(rows) or "none so far"
        parser.error(f"row must be one of {listed}, got {', '.join(unknown)}")
    if options.here:
        [name] = options.rows
        text = json.dumps(record(name, *rows[name]), indent=2, ensure_ascii=False)
        options.here.write_text(text + "\n", encoding="utf-8")
        return 0
    if options.list:
        return _list(rows)
    return _run(options.rows or list(rows), rows, options.force)


if __name__ == "__main__":
    sys.exit(main())
