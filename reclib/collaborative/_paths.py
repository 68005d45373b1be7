"""What a graph says about items, as sparse matrices: attributes they share, facts that join two.

    g[i, f] = 1 / sqrt(n_i) where a path leads from item i to f, one of the n_i it reaches
    L[r][j, i] = 1 where (j, r, i) is a fact

An attribute is a relation with the entity it leads to, so "made of silk" and "goes with silk" are
two. From an entity the path goes on along facts that it heads: leaf, category, department.

Source: paths between items through what they share are those of X. Yu et al., Personalized Entity
Recommendation: A Heterogeneous Information Network Approach, WSDM 2014.
Differences from the paper: see ``reclib.collaborative.paths``.
Chapter: collaborative/knowledge_aware
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from reclib.foundations.interactions import Triples

__all__ = ["Attributes", "ItemFacts", "checked_triples"]

Ids = NDArray[np.int64]


def checked_triples(triples: Any, n_items: int) -> Triples:
    """The facts, each once, sorted by head, relation and tail; the items are the first entities."""
    if triples is None:
        raise ValueError("triples must be given to a model that reads a graph, got None")
    if not isinstance(triples, Triples):
        raise ValueError(f"triples must be Triples, got {type(triples).__name__}")
    if triples.n_entities < n_items:
        rule = f"have at least {n_items} entities, one for each item"
        raise ValueError(f"triples must {rule}, got {triples.n_entities}")
    rows = np.stack([triples.heads, triples.relations, triples.tails])
    heads, relations, tails = np.unique(rows, axis=1)
    return Triples(heads, relations, tails, triples.n_entities, triples.n_relations)


@dataclass(frozen=True, eq=False)
class ItemFacts:
    """The facts about items; a relation read from tail to head is numbered R higher.

    Attributes:
        items, relations, entities, facts: (A,) an item, how it is joined to which other entity,
            and the row of the triples that says so.
        sources, targets, kinds, rows: (P,) the same for two items: kind r leads from the head to
            the tail of the fact, R + r back.
    """

    items: Ids
    relations: Ids
    entities: Ids
    facts: Ids
    sources: Ids
    targets: Ids
    kinds: Ids
    rows: Ids

    @classmethod
    def of(cls, triples: Triples, n_items: int) -> Self:
        """All facts about the first ``n_items`` entities."""
        heads, relations, tails = triples.heads, triples.relations, triples.tails
        starts, ends = np.concatenate([heads, tails]), np.concatenate([tails, heads])
        kinds = np.concatenate([relations, relations + triples.n_relations])
        rows = np.tile(np.arange(len(triples)), 2)
        outside = (starts < n_items) & (ends >= n_items)
        both = (starts < n_items) & (ends < n_items) & (starts != ends)
        attributes = (column[outside] for column in (starts, kinds, ends, rows))
        links = (column[both] for column in (starts, ends, kinds, rows))
        return cls(*attributes, *links)


@dataclass(frozen=True, eq=False)
class Attributes:
    """The columns of G, and what each entity leads to.

    Attributes:
        keys: (F,) relation * E + entity of each attribute, ascending.
        beyond: (E, F) which attributes lie behind an entity.
    """

    keys: Ids
    beyond: csr_array

    @classmethod
    def of(cls, triples: Triples, n_items: int, hops: int) -> Self:
        """All attributes at most ``hops`` facts away from an item; 1 stays at the item's own."""
        facts, n = ItemFacts.of(triples, n_items), triples.n_entities
        loose = (triples.heads >= n_items) & (triples.tails >= n_items)
        heads, tails = triples.heads[loose], triples.tails[loose]
        own, above = facts.relations * n + facts.entities, triples.relations[loose] * n + tails
        keys = np.unique(np.concatenate([own, above]))
        step = csr_array((np.ones(heads.size), (heads, tails)), shape=(n, n))
        shape = (n, keys.size)
        named = csr_array((np.ones(heads.size), (heads, np.searchsorted(keys, above))), shape=shape)
        beyond = csr_array(shape) if hops < 2 else named
        for _ in range(hops - 2):
            beyond = _once(named + step @ beyond)
        return cls(keys, csr_array(beyond))

    def shared(self, triples: Triples, n_items: int) -> Attributes:
        """Those that two items have at least; what one item has alone joins nothing."""
        matrix = self.matrix(ItemFacts.of(triples, n_items), n_items)
        kept = np.flatnonzero(np.bincount(matrix.indices, minlength=self.keys.size) > 1)
        return Attributes(self.keys[kept], csr_array(self.beyond[:, kept]))

    def matrix(self, facts: ItemFacts, n_items: int) -> csr_array:
        """(I, F) float64: G; each row has length 1, or 0 where an item has no attribute."""
        return self.rows(facts.items, facts.relations, facts.entities, n_items)

    def rows(self, rows: Ids, relations: Ids, entities: Ids, n_rows: int) -> csr_array:
        """(n_rows, F) float64: G of whatever has these facts."""
        n = self.beyond.shape[0]
        keys = relations * n + entities
        places = np.searchsorted(self.keys, keys)
        known = np.flatnonzero(np.append(self.keys, -1)[places] == keys)
        shape = (n_rows, self.keys.size)
        own = csr_array((np.ones(known.size), (rows[known], places[known])), shape=shape)
        joined = csr_array((np.ones(rows.size), (rows, entities)), shape=(n_rows, n))
        matrix = _once(own + joined @ self.beyond)
        matrix.data /= np.sqrt(np.repeat(np.diff(matrix.indptr), np.diff(matrix.indptr)))
        return matrix


def _once(matrix: Any) -> csr_array:
    """The same places, each with a 1."""
    counted = csr_array(matrix)
    counted.sum_duplicates()
    counted.data = np.ones(counted.nnz)
    return counted
