"""What the tables of a shop state, summed up so that parts of a log add up to the whole.

A statement (head, relation, tail) that several rows make is kept once, with their number, the sum
of their values, and the first and last time. Numbers add, times have a minimum and a maximum:
`merged` is commutative and associative, up to the order of rows, and that is why an updated graph
can equal a rebuilt one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Ints = NDArray[np.int64]
_KEYS = ["head", "tail", "source"]
_IN_BASKET = ["domain", "basket", "product"]
_SOURCE = {"relation": str, "table": str, "rule": str, "valued": np.int64}
_REDUCE = {
    "count": np.add, "total": np.add, "n": np.add, "weight": np.maximum,
    "first": np.minimum, "last": np.maximum,
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Evidence:
    """Statements and what they are about; entities are numbered in the order they appeared in.

    Attributes:
        entities: type, name, declared (1 where a table lists it, 0 where it is only mentioned).
        sources: relation, table, rule, valued; a statement's source is a row.
        statements: head, tail, source, count, total, first, last.
        baskets: domain, basket, product, first: what was bought in one session.
        pages: product, domain, title, price.
        gaps: kind, where, n: cells that state nothing.
    """

    entities: pd.DataFrame
    sources: pd.DataFrame
    statements: pd.DataFrame
    baskets: pd.DataFrame
    pages: pd.DataFrame
    gaps: pd.DataFrame


class Ends(NamedTuple):
    """Entities (type, name, declared), each once, and which of them each row is about."""

    entities: pd.DataFrame
    rows: Ints


class Said(NamedTuple):
    """The rows of one source as statements; the source is relation, table, rule and valued."""

    source: tuple[str, str, str, int]
    head: Ends
    tail: Ends
    total: Ints
    time: Ints


def gathered(
    said: list[Said],
    declared: list[pd.DataFrame] | None = None,
    baskets: tuple[Ends, pd.DataFrame] | None = None,
    pages: tuple[Ends, pd.DataFrame] | None = None,
    gaps: pd.DataFrame | None = None,
) -> Evidence:
    """The evidence of rows.

    Args:
        said: the rows of each source.
        declared: entities that a table lists.
        baskets: the products of sales, and their domain, basket and first (time).
        pages: the products of pages, and their domain, title and price.
        gaps: kind, where and n.
    """
    declared = declared or []
    nobody = Ends(_empty({"type": str, "name": str, "declared": np.int64}), np.empty(0, np.int64))
    sold, sales = baskets or (nobody, _empty({"domain": str, "basket": int, "first": int}))
    shown, shows = pages or (nobody, _empty({"domain": str, "title": str, "price": float}))
    ends = [end for each in said for end in (each.head, each.tail)] + [sold, shown]
    entities, number = _union([*declared, *(end.entities for end in ends)])
    rows = [new[end.rows] for new, end in zip(number[len(declared) :], ends, strict=True)]
    none, sizes = np.empty(0, np.int64), [len(each.time) for each in said]
    times = np.concatenate([none, *(each.time for each in said)])
    statements = {
        "head": np.concatenate([none, *rows[:-2:2]]),
        "tail": np.concatenate([none, *rows[1:-2:2]]),
        "source": np.repeat(np.arange(len(said)), sizes),
        "count": np.ones(len(times), np.int64),
        "total": np.concatenate([none, *(each.total for each in said)]),
        "first": times,
        "last": times,
    }
    return Evidence(
        entities,
        pd.DataFrame([each.source for each in said], columns=list(_SOURCE)).astype(_SOURCE),
        summed(pd.DataFrame(statements), _KEYS),
        summed(sales.assign(product=rows[-2]), _IN_BASKET),
        _one_page(shows.assign(product=rows[-1])),
        _empty({"kind": str, "where": str, "n": np.int64}) if gaps is None else gaps,
    )


def stated(facts: pd.DataFrame, table: str, rule: str) -> Evidence:
    """Facts by name as statements of one table and rule; see `Graph.added`."""
    ends = ("head", "tail")
    names = {name: facts[name].fillna("").astype(str).str.strip() for name in facts}
    blank = {end: (names[end] == "").to_numpy() for end in ends}
    gaps = pd.DataFrame(
        {
            "kind": "empty name",
            "where": [f"{table}.{end}" for end in ends],
            "n": [int(blank[end].sum()) for end in ends],
        }
    )
    kept = ~(blank["head"] | blank["tail"])
    said = []
    for relation in names["relation"][kept].unique():
        mine = kept & (names["relation"] == relation).to_numpy()
        heads, tails = (named_ends(names[f"{end}_type"][mine], names[end][mine]) for end in ends)
        times = facts["time"].to_numpy(np.int64)[mine]
        source = (str(relation), table, rule, 0)
        said.append(Said(source, heads, tails, np.ones(len(times), np.int64), times))
    return gathered(said, gaps=gaps)


def nothing(sources: pd.DataFrame) -> Evidence:
    """No statement, but sources."""
    return replace(gathered([]), sources=sources)


def merged(one: Evidence, other: Evidence) -> Evidence:
    """All that either states; the entities and sources of ``one`` keep their numbers."""
    entities, entity = _union([one.entities, other.entities])
    sources, source = _union([one.sources, other.sources])

    def both(name: str, columns: dict[str, list[Ints]]) -> pd.DataFrame:
        frames = [
            frame.assign(**{column: new[k][frame[column]] for column, new in columns.items()})
            for k, frame in enumerate((getattr(one, name), getattr(other, name)))
        ]
        return pd.concat([each for each in frames if len(each)] or frames[:1], ignore_index=True)

    product = {"product": entity}
    return Evidence(
        entities,
        sources,
        summed(both("statements", {"head": entity, "tail": entity, "source": source}), _KEYS),
        summed(both("baskets", product), _IN_BASKET),
        _one_page(both("pages", product)),
        summed(both("gaps", {}), ["kind", "where"]),
    )


def named_ends(kinds: pd.Series, names: pd.Series) -> Ends:
    """(n,) entities by type and name."""
    frame = pd.DataFrame({"type": kinds, "name": names, "declared": 0})
    distinct, (rows,) = _union([frame])
    return Ends(distinct, rows)


def summed(rows: pd.DataFrame, keys: Sequence[str]) -> pd.DataFrame:
    """Rows of equal keys as one, sorted by them: numbers add, ``first`` is the earliest, ...

    A pandas group of a few rows takes milliseconds for each column; this takes microseconds.

    Args:
        rows: keys, and any of the columns that `_REDUCE` names; others are left out.
        keys: names of columns.
    """
    columns = {name: rows[name].to_numpy() for name in (*keys, *_REDUCE) if name in rows}
    codes = [
        each if each.dtype.kind in "iu" else pd.factorize(each, sort=True)[0]
        for each in (columns[key] for key in keys)
    ]
    order = np.lexsort(codes[::-1])
    changes = np.zeros(len(rows), bool)
    changes[:1] = True
    for code in codes:
        changes[1:] |= np.diff(code[order]) != 0
    starts = np.flatnonzero(changes)
    return pd.DataFrame(
        {
            name: column[order][starts]
            if name in keys
            else _REDUCE[name].reduceat(column[order], starts)
            for name, column in columns.items()
        }
    )


def _union(frames: list[pd.DataFrame]) -> tuple[pd.DataFrame, list[Ints]]:
    """Distinct rows in the order they come, and of each frame the number of each of its rows.

    The last column is a mark, of which the greatest is kept; rows differ in the others.
    """
    every = pd.concat([frame for frame in frames if len(frame)] or frames[:1], ignore_index=True)
    *keys, mark = every.columns
    number = every.groupby(keys, sort=False).ngroup().to_numpy(np.int64)
    distinct = every[~every.duplicated(keys)].reset_index(drop=True)
    marks = np.zeros(len(distinct), np.int64)
    np.maximum.at(marks, number, every[mark].to_numpy(np.int64))
    ends = np.cumsum([len(frame) for frame in frames[:-1]])
    return distinct.assign(**{str(mark): marks}), np.split(number, ends)


def _one_page(pages: pd.DataFrame) -> pd.DataFrame:
    """A product's page; of several the one whose title, then price, comes first."""
    pages = pages.sort_values(["product", "title", "price"])
    return pages.drop_duplicates("product").reset_index(drop=True)


def _empty(columns: dict[str, type]) -> pd.DataFrame:
    return pd.DataFrame({name: pd.Series(dtype=kind) for name, kind in columns.items()})
