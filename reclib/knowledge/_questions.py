"""A triple as two questions, so that training and ranking need to know one direction only.

    (h, r, t)  asks  (h, r, ?)  and  (t, r^-1, ?);   r^-1 is relation R + r

Source: T. Lacroix, N. Usunier, G. Obozinski, Canonical Tensor Decomposition for Knowledge Base
Completion, ICML 2018, arXiv:1806.07297.
Differences from the paper:
1. r^-1 is a number only; what it means, a model computes from r (paper: a relation of its own).
Chapter: knowledge/embedding
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from reclib.foundations.interactions import Histories, Interactions, Triples, checked_ids

__all__ = ["Questions", "checked_triples", "chosen", "joined"]

Ids = NDArray[np.int64]


def checked_triples(triples: Triples, name: str = "triples") -> Triples:
    """``triples`` itself, if a model can learn from it: it needs at least one fact."""
    if not isinstance(triples, Triples):
        raise ValueError(f"{name} must be Triples, got {type(triples).__name__}")
    if len(triples) == 0:
        raise ValueError(f"{name} must hold at least one fact, got 0")
    return triples


def chosen(triples: Triples, rows: Ids | NDArray[np.bool_]) -> Triples:
    """Some of the triples: (n,) places, or (T,) which ones."""
    columns = triples.heads[rows], triples.relations[rows], triples.tails[rows]
    return Triples(*columns, triples.n_entities, triples.n_relations)


def joined(first: Triples, *others: Triples) -> Triples:
    """Facts of the same entities and relations as one, repeats kept."""
    for other in others:
        sizes = [(part.n_entities, part.n_relations) for part in (first, other)]
        if sizes[0] != sizes[1]:
            raise ValueError(f"known must have the sizes (E, R) = {sizes[0]}, got {sizes[1]}")
    parts = (first, *others)
    heads, relations, tails = (
        np.concatenate([getattr(part, name) for part in parts])
        for name in ("heads", "relations", "tails")
    )
    return Triples(heads, relations, tails, first.n_entities, first.n_relations)


class Questions:
    """The different questions that triples ask, and all their answers.

    Args:
        triples: repeats count once.

    Attributes:
        entities: (Q,) who the question is about.
        relations: (Q,) below 2 R.
        answers: question and entity of each answer; Q users and E items.
    """

    def __init__(self, triples: Triples) -> None:
        self.n_relations = triples.n_relations
        asked = self._keys(
            np.concatenate([triples.heads, triples.tails]),
            np.concatenate([triples.relations, triples.relations + triples.n_relations]),
        )
        self._known, rows = np.unique(asked, return_inverse=True)
        self.entities, self.relations = np.divmod(self._known, 2 * self.n_relations)
        self.answers = Interactions(
            rows,
            np.concatenate([triples.tails, triples.heads]),
            n_users=self._known.size,
            n_items=triples.n_entities,
        ).deduplicated()
        self._histories = self.answers.histories()

    def __len__(self) -> int:
        return self._known.size

    def find(self, entities: ArrayLike, relations: ArrayLike) -> Histories:
        """The B known answers to each question, none where it was never asked."""
        keys = self._keys(checked_ids(entities, "entities"), checked_ids(relations, "relations"))
        places = np.searchsorted(self._known, keys)
        asked = np.flatnonzero(places < len(self))
        asked = asked[self._known[places[asked]] == keys[asked]]
        lengths = np.zeros(keys.size, dtype=np.int64)
        found = self._histories.select(places[asked])
        lengths[asked] = found.lengths
        return Histories(found.items, np.concatenate([[0], lengths.cumsum()]))

    def _keys(self, entities: Ids, relations: Ids) -> Ids:
        return entities * (2 * self.n_relations) + relations
