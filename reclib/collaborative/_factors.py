"""What every model shares whose score is a dot product of a user and an item vector.

    score(u, i) = x_u . y_i + b_i

Source: none; the formula is as old as matrix factorisation.
Differences from the paper: none.
Chapter: collaborative/factorization
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from reclib.foundations.interactions import checked_ids
from reclib.foundations.recommender import Scores, checked_candidates, fitted, pack, unpack

__all__ = ["FactorScores", "dot_scores"]

Factors = NDArray[np.float32]


def dot_scores(
    queries: Factors, item_factors: Factors, bias: Factors | None, items: ArrayLike | None
) -> Scores:
    """(B, I) scores of all items for B query vectors (B, D), or (B, C) of the candidates."""
    if items is None:
        scores: Scores = queries @ item_factors.T
        return scores if bias is None else scores + bias
    candidates = checked_candidates(items, len(queries), len(item_factors))  # (B, C)
    scores = np.einsum("bd,bcd->bc", queries, item_factors[candidates])
    return scores if bias is None else scores + bias[candidates]


class FactorScores:
    """The methods of every model that scores by a dot product.

    ``fit`` sets ``user_factors_`` (U, D) and ``item_factors_`` (I, D), float32, and, where the
    model has one, ``item_bias_`` (I,).
    """

    user_factors_: Factors
    item_factors_: Factors
    item_bias_: Factors | None = None

    def score(self, users: ArrayLike, items: ArrayLike | None = None) -> Scores:
        """(B, I) float32 scores of fitted users, or (B, C) for the candidates ``items`` (B, C)."""
        factors = fitted(self, "user_factors_")
        queries = factors[checked_ids(users, "users", len(factors))]
        return dot_scores(queries, self.item_factors_, self.item_bias_, items)

    def state(self) -> dict[str, NDArray[Any]]:
        """What was learned, as arrays."""
        fitted(self, "user_factors_")
        return pack(self, "user_factors_", "item_factors_", "item_bias_")

    def set_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take up what was learned elsewhere."""
        unpack(self, state, "user_factors_", "item_factors_", "item_bias_")
