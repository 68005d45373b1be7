"""Our recorded results as a table, for chapters that show what took too long to compute again.

    data/results/ROW.json, written by `python run.py results ROW` and by nothing else

Source: the book's own.
Differences from the paper: none.
Chapter: foundations/evaluation
"""

from __future__ import annotations

import json
from typing import Any

import pandas as pd

from reclib.datasets.registry import CHECKOUT

__all__ = ["recorded"]

_RESULTS = CHECKOUT / "data" / "results"
_FACTS = ("dataset", "split", "protocol", "date", "command")


def recorded(*rows: str) -> pd.DataFrame:
    """The recorded rows of these names, in this order.

    Returns:
        One row for each name: ``model`` and ``options``; each metric, with ``METRIC low`` and
        ``METRIC high`` of its interval and ``METRIC std`` over seeds where there are any;
        ``seconds`` of the fit; ``dataset``, ``split``, ``protocol``, ``date`` and ``command``.

    Raises:
        FileNotFoundError: if a row has not been recorded; names the command that does it.
    """
    return pd.DataFrame([_row(name) for name in rows], index=pd.Index(rows, name="row"))


def _row(name: str) -> dict[str, Any]:
    path = _RESULTS / f"{name}.json"
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FileNotFoundError(
            f"row {name} must be recorded, got no {path.name}: python run.py results {name}"
        ) from None
    chosen = (f"{option}={value}" for option, value in record["options"].items())
    row: dict[str, Any] = {"model": record["model"], "options": ", ".join(chosen)}
    for metric, value in record["metrics"].items():
        row[metric] = value["mean"]
        for part in ("low", "high", "std"):
            if part in value:
                row[f"{metric} {part}"] = value[part]
    row["seconds"] = record["seconds"].get("fit")
    return row | {fact: record[fact] for fact in _FACTS}
