"""Factors and biases of ratings: by alternating least squares, or as a network for gradient steps.

    minimise  sum over rated u, i of (r_ui - b_u - b_i - x_u . y_i)^2
              + lambda (||x_u||^2 + b_u^2 + ||y_i||^2 + b_i^2)

A bias is the weight of a factor that is 1 on the other side, so each half sweep is one ridge
regression a row, with a penalty of lambda for each of its ratings.

Source: Y. Zhou, D. Wilkinson, R. Schreiber, R. Pan, Large-Scale Parallel Collaborative Filtering
for the Netflix Prize, AAIM 2008.
Differences from the paper: see ``factorization``.
Chapter: collaborative/factorization
"""

from __future__ import annotations

import numpy as np
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.sparse import csr_array
from torch import Tensor, nn

from reclib.collaborative._least_squares import Basis, solve_rows
from reclib.foundations.networks import embedding_table

__all__ = ["RatingNetwork", "alternate"]

Factors = NDArray[np.float32]


def alternate(
    ratings: csr_array, items: Factors, regularization: float, sweeps: int
) -> tuple[Factors, Factors]:
    """Users from items, then items from users, and so on; each row is solved exactly.

    Args:
        ratings: (U, I) sparse, around 0.
        items: (I, D + 1) start values, the bias in the last column.
        regularization: lambda, > 0.
        sweeps: >= 1.

    Returns:
        (U, D + 1) and (I, D + 1); rows without ratings are 0.
    """
    of_items = ratings.T.tocsr()
    for _ in range(sweeps):
        users = _half_sweep(ratings, items, regularization)
        items = _half_sweep(of_items, users, regularization)
    return users, items


def _half_sweep(ratings: csr_array, fixed: Factors, regularization: float) -> Factors:
    """The rows (B, D + 1) that fit their ratings best while the other side stands still."""
    features = fixed.copy()
    features[:, -1] = 1  # its weight is the bias of the row
    left = ratings.data - fixed[ratings.indices, -1]
    ones = csr_array((np.ones(left.size), ratings.indices, ratings.indptr), shape=ratings.shape)
    penalty = regularization * np.maximum(np.diff(ratings.indptr), 1)
    solved: Factors = solve_rows(ones, left, Basis.alone(features), penalty)
    return solved


class RatingNetwork(nn.Module):
    """Factors of users and items with the bias in the last column, and their mean squared error.

    Args:
        n_users, n_items: U and I.
        factors: D, >= 1.
        regularization: lambda, > 0.
        seed: of the start values.
    """

    def __init__(
        self, n_users: int, n_items: int, *, factors: int, regularization: float, seed: int = 0
    ) -> None:
        super().__init__()
        std = 0.1 / np.sqrt(factors)
        self.users = embedding_table(n_users, factors + 1, std=std, seed=seed, stream=0)
        self.items = embedding_table(n_items, factors + 1, std=std, seed=seed, stream=1)
        self.regularization = regularization

    def forward(self, users: Tensor, items: Tensor) -> tuple[Tensor, Tensor]:
        """(B,) predicted ratings, around 0, and (B,) the squares that are penalised."""
        x, y = self.users(users), self.items(items)  # (B, D + 1)
        predicted = (x[:, :-1] * y[:, :-1]).sum(1) + x[:, -1] + y[:, -1]
        return predicted, x.square().sum(1) + y.square().sum(1)

    def loss(self, batch: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        """Mean over the ratings (B,) of users (B,) and items (B,)."""
        users, items, ratings = batch
        predicted, squares = self(users, items)
        return F.mse_loss(predicted, ratings) + self.regularization * squares.mean()
