"""The graph of a shop, built from its raw tables and kept up to date.

G = derive(S),   S = {(h, r, t, source): (n, sum of values, first, last)},
derive(S_old + S_new) = derive(S_all)

Tables are read as statements S, which add up: numbers by sums, times by minimum and maximum. The
facts are derived from them: spellings and duplicates become one entity, the schema is enforced,
contradictions are settled, and variants, products sold together and interests follow by rule. So a
graph that is brought up to date equals one that is built anew. Entities never change their number.

Source: the design is the shop's own; lift is the "interest" of Brin et al. (1997); the vocabulary
(domain, range, cardinality) is that of the Web Ontology Language (OWL 2, W3C 2012).

Differences from the paper: none is reproduced. Against the shop's specification:

1. Relations of customers, queries and reviews are added to those of `reclib.shop.relations`, whose
   names and rules are kept.
2. Columns `IN_TEXT` of the products (feature and origin) are not read unless asked for, although
   the shop publishes them: they are what `language/extraction` has to find in texts.

Chapter: knowledge/graph.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from reclib.foundations.interactions import Triples
from reclib.knowledge._derivation import DERIVED, derive
from reclib.knowledge._evidence import Evidence, merged, nothing, stated
from reclib.knowledge._names import normalize
from reclib.knowledge._quality import Report
from reclib.knowledge._reading import Tables, read
from reclib.knowledge._schema import SHOP, Relation, Schema
from reclib.knowledge._views import (
    cypher_database,
    hetero_data,
    knowledge_graph,
    n_triples,
    networkx_graph,
    rdf_graph,
)
from reclib.shop.relations import KnowledgeGraph

__all__ = [
    "IN_TEXT",
    "SHOP",
    "Graph",
    "Relation",
    "Report",
    "Schema",
    "build",
    "cypher_database",
    "hetero_data",
    "knowledge_graph",
    "n_triples",
    "named_triples",
    "networkx_graph",
    "normalize",
    "rdf_graph",
]

Ints = NDArray[np.int64]
IN_TEXT = ("feature", "origin")
"""Columns of the products that are left for `language/extraction` to find in texts."""
_FACTS = {"head", "head_type", "relation", "tail", "tail_type", "time"}


@dataclass(frozen=True, eq=False, repr=False)
class Graph:
    """Entities and the facts that join them, with what each fact rests on.

    Attributes:
        schema: the types and relations.
        entities: entity, name, type, same_as: every name that was ever seen, numbered as it came;
            ``same_as`` is the entity itself, or the one that it is another spelling or copy of.
        facts: head, relation, tail, source, count (rows it rests on), weight (mean rating, lift or
            share where there is one, else the count), first and last (UTC seconds it was seen).
            One row for each triple and source, sorted by relation and names.
        sources: source, relation, table, rule.
        report: what is wrong with the tables.
    """

    schema: Schema
    entities: pd.DataFrame
    facts: pd.DataFrame
    sources: pd.DataFrame
    report: Report
    _evidence: Evidence | None
    _hidden: tuple[str, ...]

    def __repr__(self) -> str:
        return (
            f"Graph({len(self.facts)} facts, {len(self.entities)} entities, "
            f"{len(self.schema.relations)} relations)"
        )

    @property
    def relations(self) -> pd.DataFrame:
        """relation, name, domain, range, cardinality, symmetric, hierarchical."""
        return self.schema.frame()

    def triples(self) -> Triples:
        """The facts as triples, each once, with the numbers of ``entities`` and ``relations``."""
        rows = self.facts.drop_duplicates(["relation", "head", "tail"])
        return Triples(
            rows["head"].to_numpy(),
            rows["relation"].to_numpy(),
            rows["tail"].to_numpy(),
            n_entities=len(self.entities),
            n_relations=len(self.schema.relations),
        )

    def named(self) -> pd.DataFrame:
        """The facts in words: head, head_type, relation, tail, tail_type, table, rule, ..."""
        facts, sources = self.facts, self.sources
        columns: dict[str, object] = {}
        for end in ("head", "tail"):
            at = self.entities.iloc[facts[end]]
            columns[end] = at["name"].to_numpy()
            columns[f"{end}_type"] = at["type"].to_numpy()
        columns["relation"] = np.array(self.schema.names, object)[facts["relation"]]
        for name in ("table", "rule"):
            columns[name] = sources[name].to_numpy()[facts["source"]]
        order = ["head", "head_type", "relation", "tail", "tail_type", "table", "rule"]
        rest = facts[["count", "weight", "first", "last"]].reset_index(drop=True)
        return pd.concat([pd.DataFrame(columns)[order].astype(str), rest], axis=1)

    def updated(self, tables: Tables, *, domain: str = "") -> Graph:
        """The graph with new rows of tables: later events, new products, another domain's shop.

        Equal to the graph of all rows, whatever the cut, up to the numbers of new entities. A row
        that is given twice counts twice.

        Args:
            tables: as for `build`.
            domain: as for `build`; customers are the same in all domains.
        """
        return self._with(read(tables, domain=domain, hidden=self._hidden))

    def added(self, facts: pd.DataFrame, *, table: str, rule: str) -> Graph:
        """The graph with facts from elsewhere, such as texts or people.

        What breaks the schema is reported and no fact; it becomes one if `extended` allows it.

        Args:
            facts: head, head_type, relation, tail, tail_type (names) and time (UTC seconds).
            table: where they are from.
            rule: how they were found.

        Raises:
            ValueError: if a column is missing or a time is no whole number.
        """
        if missing := sorted(_FACTS - set(facts)):
            raise ValueError(f"facts must have the columns {sorted(_FACTS)}, got no {missing[0]!r}")
        if len(facts) and facts["time"].dtype.kind not in "iu":
            raise ValueError(f"time must be whole seconds, got {facts['time'].dtype}")
        return self._with(stated(facts, table, rule))

    def joined(self, other: Graph) -> Graph:
        """The graph with all that another one rests on; entities keep their numbers here.

        Raises:
            ValueError: if a relation has another meaning there.
        """
        schema = self.schema.extended(other.schema.types, other.schema.relations)
        return self._with(other._known(), schema)

    def extended(self, *, types: Sequence[str] = (), relations: Sequence[Relation] = ()) -> Graph:
        """The graph with more types and relations; facts that waited for them join it."""
        schema = self.schema.extended(tuple(types), tuple(relations))
        return _derived(schema, self._known(), self._hidden)

    def _with(self, evidence: Evidence, schema: Schema | None = None) -> Graph:
        return _derived(schema or self.schema, merged(self._known(), evidence), self._hidden)

    def _known(self) -> Evidence:
        if self._evidence is None:
            raise ValueError("graph must be a whole one to change, got a part of one")
        return self._evidence

    def selected(self, relations: Iterable[str]) -> Graph:
        """The part of the graph with these relations; numbers stay, but it cannot be changed."""
        relations = set(relations)
        if unknown := sorted(relations - set(self.schema.names)):
            raise ValueError(f"relations must be among {self.schema.names}, got {unknown[0]!r}")
        numbers = [k for k, name in enumerate(self.schema.names) if name in relations]
        return self._part(self.facts["relation"].isin(numbers).to_numpy())

    def neighborhood(self, name: str, kind: str, *, hops: int = 2, limit: int = 30) -> Graph:
        """The part around an entity: all facts among those that are reached.

        Where a step reaches too many, those come first that are the first of their relation to
        their neighbour, then the seconds, and so on, so that all relations are seen.

        Args:
            name: of the entity; another spelling will do.
            kind: its type.
            hops: steps along facts, in either direction, >= 1.
            limit: greatest number of entities, >= 1.

        Raises:
            ValueError: if there is no such entity or a number is below 1.
        """
        for what, number in (("hops", hops), ("limit", limit)):
            if number < 1:
                raise ValueError(f"{what} must be at least 1, got {number}")
        entities = self.entities
        found = entities[(entities["type"] == kind) & (entities["name"] == name)]
        if not len(found):
            raise ValueError(f"name must be that of a {kind}, got {name!r}")
        reached = found["same_as"].to_numpy(np.int64)
        columns = ["head", "tail", "relation"]
        ends = self.facts.drop_duplicates(columns)[columns].to_numpy(np.int64)
        ends = np.concatenate([ends, ends[:, [1, 0, 2]] + [0, 0, len(self.schema.relations)]])
        steps = pd.DataFrame(ends, columns=columns)
        for _ in range(hops):
            out = steps[steps["head"].isin(reached) & ~steps["tail"].isin(reached)]
            turn = out.groupby(["head", "relation"]).cumcount().to_numpy()
            out = out.iloc[np.argsort(turn, kind="stable")]
            reached = np.concatenate([reached, out["tail"].unique()])[:limit]
        return self._part(
            (self.facts["head"].isin(reached) & self.facts["tail"].isin(reached)).to_numpy()
        )

    def _part(self, rows: NDArray[np.bool_]) -> Graph:
        facts = self.facts[rows].reset_index(drop=True)
        return Graph(
            self.schema, self.entities, facts, self.sources, self.report, None, self._hidden
        )


def build(
    tables: Tables,
    *,
    schema: Schema = SHOP,
    domain: str = "",
    hidden: Iterable[str] = IN_TEXT,
) -> Graph:
    """The graph that tables support.

    Args:
        tables: by name, any of products, users, queries with impressions, clicks, purchases,
            ratings and reviews, with the columns of `reclib.shop.simulation.Shop`. A rule whose
            columns are missing makes no facts.
        schema: what a fact may be.
        domain: put before the names of products and reviews, whose numbers are the domain's own.
        hidden: columns of the products that are not read.

    Raises:
        ValueError: if ids are not integers.
    """
    hidden = tuple(hidden)
    return _derived(schema, read(tables, domain=domain, hidden=hidden), hidden)


def _derived(schema: Schema, evidence: Evidence, hidden: tuple[str, ...]) -> Graph:
    """The graph of evidence; the rules' own sources come first."""
    if not len(evidence.sources) or evidence.sources["rule"].iloc[0] != DERIVED["rule"].iloc[0]:
        evidence = merged(nothing(DERIVED), evidence)
    found = derive(schema, evidence)
    n_entities, n_sources = len(evidence.entities), len(evidence.sources)
    entities = evidence.entities[["name", "type"]].assign(same_as=found.same_as)
    entities.insert(0, "entity", np.arange(n_entities))
    sources = evidence.sources[["relation", "table", "rule"]].copy()
    sources.insert(0, "source", np.arange(n_sources))
    return Graph(schema, entities, found.facts, sources, found.findings.report(), evidence, hidden)


def named_triples(graph: Graph | KnowledgeGraph) -> pd.DataFrame:
    """Triples by name, each once: head, head_type, relation, tail, tail_type.

    Two graphs with other numbers can be compared so.
    """
    triples = graph.triples() if isinstance(graph, Graph) else graph.triples
    entities, relations = graph.entities, graph.relations
    columns: dict[str, object] = {}
    for end, ids in (("head", triples.heads), ("tail", triples.tails)):
        columns[end] = entities["name"].to_numpy()[ids]
        columns[f"{end}_type"] = entities["type"].to_numpy()[ids]
    columns["relation"] = relations["name"].to_numpy()[triples.relations]
    order = ["head", "head_type", "relation", "tail", "tail_type"]
    return pd.DataFrame(columns)[order].astype(str)
