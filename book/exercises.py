"""Exercises: a student's notebook from its solution, and points from a student's notebook.

The source is the solution. `strip` puts nbgrader's stub in place of every solution, `refill` puts
the source's checks back into a student's notebook, and `grade` executes it and counts points. A
cell that hangs or kills the kernel is left out and the rest runs again without it, so that it
costs its own points only.

Differences from nbgrader: no database and no folders; what stands between `{solution-start}` and
`{solution-end}` without being an exercise cell is dropped, since it would give the answer away;
points are all or nothing.
"""

import argparse
import copy
import json
import logging
import re
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

__all__ = ["Notebook", "grade", "points", "read", "refill", "set_parameters", "strip", "write"]

Notebook = dict[str, Any]

CODE_STUB = "# YOUR CODE HERE\nraise NotImplementedError()"
TEXT_STUB = "YOUR ANSWER HERE"


def read(path: Path) -> Notebook:
    """Read a notebook of format 4.

    Raises:
        ValueError: if the file is anything else.
    """
    try:
        notebook: Notebook = json.loads(path.read_text(encoding="utf-8"))
        for cell in notebook["cells"]:
            cell["source"] = _source(cell).splitlines(keepends=True)
            dict(cell["metadata"].get("nbgrader", {}))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path.name} must be a notebook of format 4, got {error!r}") from error
    return notebook


def write(notebook: Notebook, path: Path) -> None:
    """Write a notebook beside its place, then rename it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(path.name + ".part")
    text = json.dumps(notebook, indent=1, ensure_ascii=False)
    beside.write_text(text + "\n", encoding="utf-8", newline="\n")
    beside.replace(path)


def set_parameters(notebook: Notebook, **values: Any) -> Notebook:
    """Return a copy whose cell tagged `parameters` assigns the given values.

    Raises:
        KeyError: if no such cell assigns one of the names.
    """
    changed = copy.deepcopy(notebook)
    for name, value in values.items():
        line = re.compile(rf"^{re.escape(name)}\s*=.*$", re.MULTILINE)
        for cell in changed["cells"]:
            source = _source(cell)
            found = line.search(source)
            if found and "parameters" in cell["metadata"].get("tags", []):
                literal = json.dumps(value) if isinstance(value, str) else repr(value)
                start, end = found.span()
                _set_source(cell, source[:start] + f"{name} = {literal}" + source[end:])
                break
        else:
            raise KeyError(f"parameters must assign {name}, got no such line in a tagged cell")
    return changed


def strip(notebook: Notebook) -> Notebook:
    """Return the student's copy: no solutions, no hidden tests, no outputs, checks locked."""
    student = copy.deepcopy(notebook)
    student["cells"] = _outside_solutions(student["cells"])
    for cell in student["cells"]:
        kind = cell["metadata"].get("nbgrader", {})
        source, had_region = _cut(_source(cell), "SOLUTION", _stub(cell))
        if had_region and not kind.get("solution"):
            raise ValueError(f"a solution must be in a solution cell, got {source.splitlines()[0]}")
        if kind.get("solution") and not had_region:
            source = _stub(cell)
        if kind.get("grade"):
            source, _ = _cut(source, "HIDDEN TESTS", None)
        _set_source(cell, source)
        if kind.get("locked"):
            cell["metadata"].update(deletable=False, editable=False)
        if cell["cell_type"] == "code":
            cell["outputs"], cell["execution_count"] = [], None
    return student


def refill(student: Notebook, source: Notebook, *, solutions: bool = False) -> Notebook:
    """Return the student's notebook with the source's checks in place of its own.

    Args:
        student: the notebook handed in; a check that was removed stays missing.
        source: the chapter it was made from.
        solutions: put the source's solutions in as well.
    """
    filled = copy.deepcopy(student)
    ours = {_grade_id(cell): cell for cell in source["cells"] if _grade_id(cell)}
    for cell in filled["cells"]:
        original = ours.get(_grade_id(cell))
        if original is None:
            continue
        kind = original["metadata"]["nbgrader"]
        cell["metadata"]["nbgrader"] = kind
        if solutions if kind["solution"] else kind["grade"]:
            _set_source(cell, _source(original))
            cell["cell_type"] = original["cell_type"]
    return filled


def grade(
    student: Notebook, source: Notebook, *, timeout: float = 120, solutions: bool = False
) -> list[dict[str, Any]]:
    """Execute a student's notebook and return points per exercise.

    Args:
        student: the notebook handed in.
        source: the chapter it was made from; its checks are the ones that count.
        timeout: seconds a cell may take.
        solutions: put the source's solutions in first.

    Returns:
        One dict per check of the source, in its order: `exercise`, `points`, `possible`, and
        `why`, the last line of the error or empty.
    """
    filled = refill(student, source, solutions=solutions)
    left_out: dict[int, str] = {}
    while True:
        executed, stopped = _execute(filled, left_out, timeout)
        if stopped is None:
            return points(executed, source, left_out)
        left_out.update([stopped])


def points(
    executed: Notebook, source: Notebook, left_out: dict[int, str] | None = None
) -> list[dict[str, Any]]:
    """Read the points off an executed notebook; see `grade`."""
    reasons: dict[str, str] = {}
    for index, cell in enumerate(executed["cells"]):
        if _grade_id(cell) and _grade_id(cell) not in reasons:
            reasons[_grade_id(cell)] = (left_out or {}).get(index) or _error(cell)
    rows = []
    for cell in source["cells"]:
        kind = cell["metadata"].get("nbgrader", {})
        if kind.get("grade") and not kind.get("solution"):
            why = reasons.get(kind["grade_id"], "the check was removed")
            possible = float(kind["points"])
            rows.append(
                {
                    "exercise": kind["grade_id"],
                    "points": 0.0 if why else possible,
                    "possible": possible,
                    "why": why,
                }
            )
    return rows


def _execute(
    notebook: Notebook, left_out: dict[int, str], timeout: float
) -> tuple[Notebook, tuple[int, str] | None]:
    """Run every cell that is not left out; say which one stopped the run, if any did."""
    import nbformat
    from nbclient import NotebookClient
    from nbclient.exceptions import CellTimeoutError, DeadKernelError

    node = nbformat.reads(json.dumps(notebook), as_version=4)
    running = 0
    with tempfile.TemporaryDirectory() as folder:
        client = NotebookClient(
            node,
            timeout=timeout,
            allow_errors=True,
            kernel_name="python3",
            extra_arguments=["--IPKernelApp.log_level=ERROR"],
            shutdown_kernel="immediate",
            resources={"metadata": {"path": folder}},
        )
        client.log.setLevel(logging.CRITICAL)
        try:
            with client.setup_kernel(cwd=folder):
                for index, cell in enumerate(node.cells):
                    running = index
                    if index not in left_out:
                        client.execute_cell(cell, index)
        except CellTimeoutError:
            return notebook, (running, f"took more than {timeout:g} s")
        except DeadKernelError:
            return notebook, (running, "killed the kernel")
    executed: Notebook = json.loads(nbformat.writes(node))
    return executed, None


def _error(cell: dict[str, Any]) -> str:
    for output in cell.get("outputs", []):
        if output["output_type"] == "error":
            lines = output["evalue"].strip().splitlines()
            return ": ".join([output["ename"], *lines[-1:]])
    return ""


def _outside_solutions(cells: list[dict[str, Any]]) -> list[dict[str, Any]]:
    kept, inside = [], False
    for cell in cells:
        source = _source(cell)
        text = cell["cell_type"] == "markdown"
        inside = inside or (text and "{solution-start}" in source)
        marker = text and re.search(r"[`:]{3,}\{solution", source)
        if cell["metadata"].get("nbgrader") or not (inside or marker):
            kept.append(cell)
        if text and "{solution-end}" in source:
            inside = False
    return kept


def _cut(source: str, name: str, stub: str | None) -> tuple[str, bool]:
    """Replace the regions between BEGIN and END of a name by the indented stub."""
    lines: list[str] = []
    inside = found = False
    for line in source.split("\n"):
        if f"BEGIN {name}" in line:
            inside = found = True
            indent = line[: len(line) - len(line.lstrip())]
            lines += [indent + text for text in (stub.split("\n") if stub else [])]
        elif f"END {name}" in line:
            inside = False
        elif not inside:
            lines.append(line)
    if inside:
        raise ValueError(f"BEGIN {name} must have its END {name}, got none")
    return "\n".join(lines), found


def _stub(cell: dict[str, Any]) -> str:
    return CODE_STUB if cell["cell_type"] == "code" else TEXT_STUB


def _source(cell: dict[str, Any]) -> str:
    return "".join(cell["source"])


def _set_source(cell: dict[str, Any], source: str) -> None:
    cell["source"] = source.splitlines(keepends=True)


def _grade_id(cell: dict[str, Any]) -> str:
    return str(cell["metadata"].get("nbgrader", {}).get("grade_id", ""))


def main(arguments: Sequence[str] | None = None) -> int:
    """Grade notebooks and print points per exercise and chapter; see ``run.py grade``."""
    parser = argparse.ArgumentParser(prog="exercises.py")
    parser.add_argument("folder", type=Path, help="where students' notebooks lie")
    parser.add_argument("sources", type=Path, help="where the chapters lie")
    parser.add_argument("chapters", nargs="+", help="part/stem")
    parser.add_argument("--solutions", action="store_true", help="with the source's solutions")
    parser.add_argument("--expect", choices=["full", "none"], help="fail on any other result")
    parser.add_argument("--profile", help="run with this profile instead of the notebook's own")
    parser.add_argument("--timeout", type=float, default=120, help="seconds a cell may take")
    options = parser.parse_args(arguments)
    expected = {"full": lambda row: row["possible"], "none": lambda _: 0.0}.get(options.expect)
    wrong = []
    for chapter in options.chapters:
        source = read(options.sources / f"{chapter}.ipynb")
        rows = _grade_file(options.folder / f"{chapter}.ipynb", source, options)
        got, possible = (sum(row[key] for row in rows) for key in ("points", "possible"))
        print(f"{chapter}: {got:g} of {possible:g} points", flush=True)
        for row in rows:
            reason = f"  ({row['why']})" if row["why"] else ""
            print(f"  {row['exercise']}: {row['points']:g} of {row['possible']:g}{reason}")
            if expected and row["points"] != expected(row):
                wrong.append(f"{chapter} {row['exercise']}")
        if expected and not rows:
            wrong.append(f"{chapter} (no exercise)")
    for name in wrong:
        print(f"expected {options.expect} points for {name}", file=sys.stderr)
    return 1 if wrong else 0


def _grade_file(path: Path, source: Notebook, options: argparse.Namespace) -> list[dict[str, Any]]:
    try:
        student = read(path)
        if options.profile:
            student = set_parameters(student, profile=options.profile)
    except (FileNotFoundError, ValueError, KeyError) as error:
        rows = points({"cells": []}, source)
        return [{**row, "why": f"{path.name} cannot be graded: {error}"} for row in rows]
    return grade(student, source, timeout=options.timeout, solutions=options.solutions)


if __name__ == "__main__":
    sys.exit(main())
