"""Completing a graph by counting: what a model with vectors has to beat.

    TailFrequency   s(h, r, t) = log(n_rt + 1 / E)          n_rt: heads that have t by r
    NeighborCopy    s(h, r, t) = log(sum over e near h of cos(h, e) [(e, r, t) is known] + p_rt)
                    p_rt = (n_rt + 1 / E) / sum over t of (n_rt + 1 / E)
                    h as a vector: log(E / #{e: (e, r, t)}) for each known (h, r, t), r also inverse

The softmax of these logarithms is the share of the votes, so they can be compared with models that
learn by the softmax.

Source: the book's own; counts of tails are the usual baseline, copying from neighbours is the
nearest neighbour rule.
Differences from the paper: none.
Chapter: knowledge/embedding
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array

from reclib.foundations.interactions import Triples, checked_ids
from reclib.foundations.recommender import Scores, fitted, pack, unpack
from reclib.knowledge._questions import Questions, checked_triples

__all__ = ["NeighborCopy", "TailFrequency"]

Ids = NDArray[np.int64]


class _Counts:
    """Scores of tails and heads from scores of answers."""

    counts_: csr_array  # (2 R, E)

    def fit(self, triples: Triples) -> Self:
        """Count the answers of each relation, in both directions."""
        self._count(Questions(checked_triples(triples)), triples.n_entities)
        return self

    def score_tails(self, heads: ArrayLike, relations: ArrayLike) -> Scores:
        """(B, E) scores of every entity as the tail."""
        return self._answers(*self._checked(heads, relations, "heads"))

    def score_heads(self, relations: ArrayLike, tails: ArrayLike) -> Scores:
        """(B, E) scores of every entity as the head."""
        entities, kinds = self._checked(tails, relations, "tails")
        return self._answers(entities, kinds + self.counts_.shape[0] // 2)

    def score(self, heads: ArrayLike, relations: ArrayLike, tails: ArrayLike) -> Scores:
        """(B,) scores of triples, as tails are scored."""
        scores = self.score_tails(heads, relations)
        places = checked_ids(tails, "tails", scores.shape[1])[:, None]
        return np.take_along_axis(scores, places, axis=1)[:, 0]

    def _count(self, questions: Questions, n_entities: int) -> None:
        kinds = questions.relations[questions.answers.users]
        ones = np.ones(kinds.size, dtype=np.float32)
        shape = (2 * questions.n_relations, n_entities)
        self.counts_ = csr_array((ones, (kinds, questions.answers.items)), shape=shape)

    def _checked(self, entities: ArrayLike, relations: ArrayLike, name: str) -> tuple[Ids, Ids]:
        n_kinds, n_entities = fitted(self, "counts_").shape
        places = checked_ids(entities, name, n_entities)
        kinds = checked_ids(relations, "relations", n_kinds // 2)
        if places.shape != kinds.shape:
            raise ValueError(f"relations must have shape {places.shape}, got {kinds.shape}")
        return places, kinds

    def _smoothed(self, kinds: Ids) -> Scores:
        """(B, E) how often each entity answers; no count is 0."""
        return self.counts_[kinds].toarray() + np.float32(1 / self.counts_.shape[1])

    def _answers(self, entities: Ids, kinds: Ids) -> Scores:
        """(B, E); ``kinds`` are below 2 R."""
        raise NotImplementedError


class TailFrequency(_Counts):
    """An entity scores by how often it stands at that end of the relation, whatever the other."""

    def state(self) -> dict[str, NDArray[Any]]:
        """What was counted, as arrays."""
        fitted(self, "counts_")
        return pack(self, "counts_")

    def set_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take up what was counted elsewhere."""
        unpack(self, state, "counts_")

    def _answers(self, entities: Ids, kinds: Ids) -> Scores:
        return np.log(self._smoothed(kinds))


class NeighborCopy(_Counts):
    """Entities that agree with the one asked about lend it their answers.

    One more vote is spread by frequency, so that some answer stands first where no neighbour has
    one.

    Args:
        n_neighbors: of so many nearest entities; equal ones stay together, >= 1.
    """

    facts_: csr_array  # (E, 2 R E): the facts of each entity, 0 or 1
    vectors_: csr_array  # the same, weighted by rarity, length 1

    def __init__(self, *, n_neighbors: int = 50) -> None:
        self.n_neighbors = n_neighbors

    def fit(self, triples: Triples) -> Self:
        """Weigh and store the facts of each entity."""
        if self.n_neighbors < 1:
            raise ValueError(f"n_neighbors must be at least 1, got {self.n_neighbors}")
        questions, n = Questions(checked_triples(triples)), triples.n_entities
        asked, answers = questions.answers.users, questions.answers.items
        rows, columns = questions.entities[asked], questions.relations[asked] * n + answers
        ones = np.ones(rows.size, dtype=np.float32)
        self.facts_ = csr_array((ones, (rows, columns)), shape=(n, 2 * triples.n_relations * n))
        having = np.bincount(columns, minlength=self.facts_.shape[1])
        rarity = np.log(n / np.maximum(having, 1)).astype(np.float32)
        lengths = np.sqrt(np.bincount(rows, rarity[columns] ** 2, minlength=n))
        shares = rarity[columns] / np.where(lengths > 0, lengths, 1)[rows]
        places = rows, columns
        self.vectors_ = csr_array((shares.astype(np.float32), places), shape=self.facts_.shape)
        self._count(questions, n)
        return self

    def state(self) -> dict[str, NDArray[Any]]:
        """What was counted, as arrays."""
        fitted(self, "counts_")
        return pack(self, "counts_", "facts_", "vectors_")

    def set_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take up what was counted elsewhere."""
        unpack(self, state, "counts_", "facts_", "vectors_")

    def _answers(self, entities: Ids, kinds: Ids) -> Scores:
        n = self.facts_.shape[0]
        near = (self.vectors_[entities] @ self.vectors_.T).toarray()  # (B, E)
        near[np.arange(entities.size), entities] = 0
        if self.n_neighbors < n:
            near[
                near < -np.partition(-near, self.n_neighbors - 1, axis=1)[:, [self.n_neighbors - 1]]
            ] = 0
        votes = self._smoothed(kinds)
        votes /= votes.sum(axis=1, keepdims=True)
        for kind in np.unique(kinds):  # relations are few
            rows = kinds == kind
            votes[rows] += near[rows] @ self.facts_[:, kind * n : (kind + 1) * n]
        return np.log(votes, out=votes)
