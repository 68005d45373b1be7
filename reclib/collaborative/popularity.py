"""Popularity: recommend to everybody what most people took; the first baseline of every table.

    s(i, u) = sum over users v of R[v, i]

Source: folklore; as a baseline argued for by P. Cremonesi, Y. Koren, R. Turrin, Performance of
Recommender Algorithms on Top-N Recommendation Tasks, RecSys 2010.
Differences from the paper: none.
Chapter: foundations/first_recommender
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from reclib.foundations.interactions import Histories, Interactions, checked_ids
from reclib.foundations.recommender import (
    Scores,
    checked_train,
    fitted,
    pack,
    take_candidates,
    unpack,
)

__all__ = ["Popularity"]


class Popularity:
    """Items by the total weight of their events; the same list for everybody.

    An item without events scores 0; a user without history gets the same list as anybody.
    """

    def __init__(self, *, seed: int = 0) -> None:
        self.seed = seed

    def fit(self, train: Interactions) -> Self:
        """Count the events of each item."""
        self.item_weights_ = checked_train(train).matrix().sum(axis=0).astype(np.float32)  # (I,)
        self.n_users_ = train.n_users
        return self

    def score(self, users: ArrayLike, items: ArrayLike | None = None) -> Scores:
        """(B, I) float32 event counts, or (B, C) for candidates."""
        weights = fitted(self, "item_weights_")
        n = checked_ids(users, "users", int(self.n_users_)).size
        return take_candidates(np.broadcast_to(weights, (n, weights.size)), items)

    def score_histories(self, histories: Histories, items: ArrayLike | None = None) -> Scores:
        """The same for unseen users."""
        weights = fitted(self, "item_weights_")
        checked_ids(histories.items, "items", weights.size)
        return take_candidates(np.broadcast_to(weights, (len(histories), weights.size)), items)

    def state(self) -> dict[str, NDArray[Any]]:
        """What was learned, as arrays."""
        fitted(self, "item_weights_")
        return pack(self, "item_weights_", "n_users_")

    def set_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take up what was learned elsewhere."""
        unpack(self, state, "item_weights_", "n_users_")
