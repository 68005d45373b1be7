"""Soiling of a shop's tables, with a log that says what was soiled and undoes it.

The kinds of `reclib.shop._faults` plan; here their changes are made, in this order: cells, columns,
repeated rows, new rows.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from reclib.shop._faults import PLANS, TIMES, Added, Change, Column, Edit, Faults, Repeat, Tables

LOG_COLUMNS = ("kind", "table", "column", "row", "key", "old", "new")


def corrupt(
    tables: Tables, spec: Faults | None = None, seed: int = 0
) -> tuple[dict[str, pd.DataFrame], pd.DataFrame]:
    """Soil the public tables of a shop.

    A kind whose tables or columns are not there makes nothing. Where two kinds meet in one cell,
    the later of `KINDS` wins and both are in the log. Repeated rows follow their original, new
    rows stand at the end; all others keep their order.

    Args:
        tables: name -> clean table, as from `tables_of`; left as they are.
        spec: rates of the kinds; None: the usual ones.
        seed: integer >= 0; each kind draws from a stream of its own.

    Returns:
        The dirty tables, and the log with columns kind, table, column ("" for a row too many), row
        (of the dirty table; -1 for a column too many), key (what a detector should name: item,
        user, session, region, hour since 1970, column, or the row), old (the clean value; for a
        repeated row the row it repeats, for a duplicate product its original), new.
    """
    spec = Faults() if spec is None else spec
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise ValueError(f"seed must be an integer of at least 0, got {seed!r}")
    changes = [
        (kind, change)
        for kind, (needs, plan) in PLANS.items()
        if getattr(spec, kind) > 0 and all(len(tables.get(name, ())) for name in needs)
        for change in plan(tables, spec, _stream(seed, kind))
    ]
    dirty, log = {}, []
    for name, table in tables.items():
        mine = [(kind, change) for kind, change in changes if change.table == name]
        dirty[name], entries = _soil(table, mine)
        log += entries
    return dirty, _log(log)


def restore(dirty: Tables, log: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Undo `corrupt` by its log: the clean tables, bit by bit."""
    clean = {}
    for name, table in dirty.items():
        mine = log[log["table"] == name]
        cells = mine[(mine["column"] != "") & (mine["row"] >= 0)]
        table = table.copy()
        for column, part in cells.groupby("column", sort=False, observed=True):
            table[column] = _put(table[column], part["row"].to_numpy(), part["old"].tolist())
        extra_rows = mine.loc[mine["column"] == "", "row"].to_numpy()
        extra_columns = mine.loc[mine["row"] < 0, "column"].tolist()
        clean[name] = table.drop(columns=extra_columns).drop(extra_rows).reset_index(drop=True)
    return clean


def _stream(seed: int, kind: str) -> np.random.Generator:
    key = zlib.crc32(f"corrupt/{kind}".encode())
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=(key,))))


def _put(column: pd.Series, rows: NDArray[np.int64], values: Iterable[Any]) -> Any:
    """The column's values with ``values`` in ``rows``; its type stays."""
    dtype: Any = column.dtype
    array = column.array.copy()
    array[rows] = pd.array(list(values), dtype=dtype)
    return array


def _soil(
    table: pd.DataFrame, changes: list[tuple[str, Change]]
) -> tuple[pd.DataFrame, list[dict[str, Any]]]:
    """One table with its changes made, and their entries in the log."""
    dirty, log, n_clean = table.reset_index(drop=True).copy(), [], len(table)
    repeats = [(kind, change) for kind, change in changes if isinstance(change, Repeat)]
    repeated = np.sort(np.concatenate([np.empty(0, np.int64), *(c.rows for _, c in repeats)]))
    for kind, change in changes:
        if isinstance(change, Edit):
            rows = change.rows + np.searchsorted(repeated, change.rows)
            keys = rows if change.keys is None else change.keys
            old = table[change.column].iloc[change.rows].tolist()
            dirty[change.column] = _put(dirty[change.column], change.rows, change.new)
            log.append(_entry(kind, change.table, change.column, rows, keys, old, change.new))
        elif isinstance(change, Column):
            dirty[change.column] = change.values
            name = change.column
            log.append(_entry(kind, change.table, name, np.array([-1]), [name], [None], [None]))
    for kind, repeat in repeats:
        again = repeat.rows + np.searchsorted(repeated, repeat.rows)
        log.append(_entry(kind, repeat.table, "", again + 1, again + 1, again, again + 1))
        dirty = _with_repeats(dirty, repeat)
    end = n_clean + len(repeated)
    for kind, change in changes:
        if isinstance(change, Added):
            rows = end + np.arange(len(change.frame))
            old = [None] * len(rows) if change.old is None else change.old
            log.append(_entry(kind, change.table, "", rows, change.keys, old, change.keys))
            dirty = _with_rows(dirty, change.frame)
            end += len(rows)
    return dirty, log


def _with_repeats(table: pd.DataFrame, repeat: Repeat) -> pd.DataFrame:
    """The table with each of ``repeat.rows`` a second time, just after itself."""
    copies = table.iloc[repeat.rows]
    time = TIMES[repeat.table]
    copies = copies.assign(**{time: (copies[time] + repeat.delay).astype(table[time].dtype)})
    places = np.concatenate([np.arange(len(table)), repeat.rows])
    order = places.argsort(kind="stable")
    return pd.concat([table, copies]).iloc[order].reset_index(drop=True)


def _with_rows(table: pd.DataFrame, frame: pd.DataFrame) -> pd.DataFrame:
    frame = frame.reindex(columns=table.columns, fill_value=0)  # 0 in a column that was added
    return pd.concat([table, frame.astype(dict(table.dtypes))], ignore_index=True)


def _entry(
    kind: str, table: str, column: str, rows: Any, keys: Any, old: Any, new: Any
) -> dict[str, Any]:
    values = (kind, table, column, rows, keys, old, new)
    return dict(zip(LOG_COLUMNS, values, strict=True))


def _log(entries: list[dict[str, Any]]) -> pd.DataFrame:
    """All entries as one table; text columns are categories, since the log may be long."""
    sizes = [len(entry["row"]) for entry in entries]
    columns: dict[str, Any] = {}
    for name in LOG_COLUMNS[:3]:
        column = np.repeat(np.array([entry[name] for entry in entries], object), sizes)
        columns[name] = pd.Categorical(column)
    rows = [np.asarray(entry["row"], np.int64) for entry in entries]
    columns["row"] = np.concatenate([np.empty(0, np.int64), *rows])
    for name in LOG_COLUMNS[4:]:
        column = np.empty(sum(sizes), object)
        parts = [np.asarray(entry[name]).tolist() for entry in entries]
        column[:] = [value for part in parts for value in part]
        columns[name] = column
    return pd.DataFrame(columns)
