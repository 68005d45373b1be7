"""What is wrong with a graph's evidence: counted, with an example in words, and row by row."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from reclib.knowledge._names import other_script
from reclib.knowledge._schema import Schema

Ints = NDArray[np.int64]
KINDS = (
    "dangling id", "unknown relation", "type violation", "self-loop", "repeated fact",
    "contradiction", "cycle", "other spelling", "duplicate product", "empty name", "empty text",
    "other script",
)  # fmt: skip


class Report:
    """What was found wrong, and nothing of it silently.

    Attributes:
        counts: kind, n, example; every kind, also those that were not found.
        rows: kind -> one row for each case, by name.
    """

    def __init__(self, rows: dict[str, pd.DataFrame]) -> None:
        self.rows = rows
        self.counts = pd.DataFrame(
            {
                "kind": KINDS,
                "n": [_number(rows[kind]) for kind in KINDS],
                "example": [_example(rows[kind]) for kind in KINDS],
            }
        )

    def __getitem__(self, kind: str) -> int:
        if kind not in self.rows:
            raise KeyError(f"kind must be one of {KINDS}, got {kind!r}")
        return _number(self.rows[kind])

    def __repr__(self) -> str:
        found = self.counts[self.counts["n"] > 0]
        said = ", ".join(f"{n} {kind}" for kind, n in zip(found["kind"], found["n"], strict=True))
        return f"Report({said or 'nothing'})"


class Findings:
    """Collects the cases while a graph is derived; entities are in the order of their names."""

    def __init__(self, entities: pd.DataFrame, schema: Schema, sources: pd.DataFrame) -> None:
        self.schema, self.sources = schema, sources
        self._kind = entities["type"].to_numpy(object)
        self._name = entities["name"].to_numpy(object)
        self._rows: dict[str, list[pd.DataFrame]] = {kind: [] for kind in KINDS}
        foreign = entities[
            other_script(entities["name"]).to_numpy() & (entities["type"] != "query")
        ]
        self._rows["other script"].append(foreign[["type", "name"]].assign(n=1))

    def report(self) -> Report:
        """All that was found."""
        return Report(
            {
                kind: pd.concat(parts, ignore_index=True) if parts else pd.DataFrame({"n": []})
                for kind, parts in self._rows.items()
            }
        )

    def merged(self, same: Ints) -> None:
        """Names and products that are taken for others."""
        copies = np.flatnonzero(same != np.arange(len(same)))
        product = self._kind[copies] == "product"
        for kind, rows in (("other spelling", ~product), ("duplicate product", product)):
            mine = copies[rows]
            self._add(
                kind, type=self._kind[mine], name=self._name[mine], same_as=self._name[same[mine]]
            )

    def statements(self, kind: str, rows: pd.DataFrame) -> None:
        """Statements that break a rule and are no facts."""
        self._add(kind, **self._said(rows), n=rows["count"])

    def repeated(self, rows: pd.DataFrame) -> None:
        """Facts of the catalogue, one a product, that several rows of one product state."""
        one = np.array(["-to-one" in each.cardinality for each in self.schema.relations], bool)
        table = self.sources["table"].to_numpy(object)[rows["source"]]
        heads = self._kind[rows["head"]] == "product"
        again = rows[one[rows["relation"]] & heads & (table != "") & (rows["count"] > 1)]
        self._add("repeated fact", **self._said(again), n=again["count"] - 1)

    def contradictions(self, lost: pd.DataFrame, end: str, kept: pd.Series) -> None:
        """Facts that another one, which more rows state, excludes."""
        said = self._said(lost.assign(source=0))
        self._add("contradiction", **said, kept=self._name[kept.to_numpy(np.int64)], end=end)

    def cycles(self, facts: pd.DataFrame) -> None:
        """Entities of each hierarchy that can be reached from themselves, and the way there."""
        for number, relation in enumerate(self.schema.relations):
            if relation.hierarchical:
                mine = facts[facts["relation"] == number]
                for members, way in _cycles(mine["head"], mine["tail"], len(self._name)):
                    named = " > ".join(self._name[way])
                    self._add("cycle", relation=[relation.name], way=[named], n=[members])

    def gaps(self, gaps: pd.DataFrame) -> None:
        """Empty names and texts, and texts in other scripts, counted by column."""
        for kind, part in gaps[gaps["n"] > 0].groupby("kind"):
            self._rows[str(kind)].append(part[["where", "n"]].sort_values("where"))

    def _said(self, rows: pd.DataFrame) -> dict[str, object]:
        relation = self.sources["relation"].to_numpy(object)[rows["source"]]
        if "relation" in rows:
            known = np.array([*self.schema.names, ""], object)[rows["relation"].to_numpy()]
            relation = np.where(known == "", relation, known)
        return {
            "head": self._name[rows["head"]], "head_type": self._kind[rows["head"]],
            "relation": relation,
            "tail": self._name[rows["tail"]], "tail_type": self._kind[rows["tail"]],
        }  # fmt: skip

    def _add(self, kind: str, **columns: object) -> None:
        rows = pd.DataFrame({"n": 1} | columns)
        if len(rows) > 1:
            rows = rows.sort_values(list(rows.columns), ignore_index=True)
        self._rows[kind].append(rows)


def _number(rows: pd.DataFrame) -> int:
    return int(rows["n"].sum())


def _example(rows: pd.DataFrame) -> str:
    if not len(rows):
        return ""
    first = rows.drop(columns="n").iloc[0].dropna()
    return ", ".join(f"{name}: {value}" for name, value in first.items())


def _cycles(heads: pd.Series, tails: pd.Series, size: int) -> list[tuple[int, Ints]]:
    """Of each knot of entities their number, and one way round it from its lowest entity."""
    edges = coo_array((np.ones(len(heads)), (heads, tails)), shape=(size, size))
    label = connected_components(edges, directed=True, connection="strong")[1]
    knots = np.flatnonzero(np.bincount(label, minlength=1) > 1)
    return [(int((label == knot).sum()), _way(heads, tails, label == knot)) for knot in knots]


def _way(heads: pd.Series, tails: pd.Series, inside: NDArray[np.bool_]) -> Ints:
    """A shortest way from the lowest entity of a knot back to it."""
    from scipy.sparse.csgraph import breadth_first_order

    kept = inside[heads] & inside[tails]
    size, start = len(inside), int(np.argmax(inside))
    ends = heads[kept].to_numpy(np.int64), tails[kept].to_numpy(np.int64)
    edges = coo_array((np.ones(kept.sum()), ends), shape=(size, size)).tocsr()
    order, before = breadth_first_order(edges, start)
    closing = np.isin(order, ends[0][ends[1] == start])
    way = [int(order[np.argmax(closing)])]
    while way[-1] != start:
        way.append(int(before[way[-1]]))
    return np.array([*way[::-1], start])
