"""What every model shares whose score is a dot product of a user and an item vector.

    score(u, i) = x_u . y_i + b_i

    with a temperature: s(u, i) = cos(x_u, y_i) / temperature

    softmax   l = -s(u, i) + log(sum over all items j of exp(s(u, j)))
    bpr       l = -log sigmoid(s(u, i) - s(u, j))                       j: not taken by u
    binary    l = -log sigmoid(s(u, i)) - log(1 - sigmoid(s(u, j)))     halved

Source: for BPR S. Rendle, C. Freudenthaler, Z. Gantner, L. Schmidt-Thieme, BPR: Bayesian
Personalized Ranking from Implicit Feedback, UAI 2009.
Differences from the paper:
1. The penalty lambda / 2 is one for users and items alike (paper: three).
Chapter: collaborative/factorization
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from reclib.foundations.batching import PairBatch, Pairs, UserBatch, UserRows
from reclib.foundations.interactions import Interactions, checked_ids
from reclib.foundations.networks import (
    binary_loss,
    bpr_loss,
    embedding_table,
    total_logsumexp,
)
from reclib.foundations.recommender import Scores, checked_candidates, fitted, pack, unpack
from reclib.foundations.training import History, Options, fit, ranking_validation

__all__ = ["FactorNetwork", "FactorScores", "dot_scores", "train_factors"]

Factors = NDArray[np.float32]
_PAIR_LOSSES = {"bpr": bpr_loss, "binary": binary_loss}
_LOSSES = ("softmax", *_PAIR_LOSSES)


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


class FactorNetwork(nn.Module):
    """A vector for each user and each item, and the loss of their dot products.

    Args:
        n_users, n_items: U and I, sizes of the two tables.
        factors: D, size of each vector, >= 1.
        loss: "softmax", "bpr" or "binary".
        regularization: lambda, the price of the squared rows behind each event, >= 0.
        temperature: None multiplies the vectors as they are; a number > 0 scores by their cosine,
            divided by it, so that no length can stand for popularity.
        std: standard deviation of the vectors at the start.
        seed: for the vectors at the start.
    """

    def __init__(
        self,
        n_users: int,
        n_items: int,
        *,
        factors: int,
        loss: str = "softmax",
        regularization: float = 0.0,
        temperature: float | None = None,
        std: float = 0.1,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if factors < 1:
            raise ValueError(f"factors must be at least 1, got {factors}")
        if loss not in _LOSSES:
            raise ValueError(f"loss must be one of {_LOSSES}, got {loss!r}")
        if not 0 <= regularization < math.inf:
            raise ValueError(f"regularization must be at least 0, got {regularization}")
        if temperature is not None and not 0 < temperature < math.inf:
            raise ValueError(f"temperature must be above 0 or None, got {temperature}")
        self.users = embedding_table(n_users, factors, std=std, seed=seed, stream=0)
        self.items = embedding_table(n_items, factors, std=std, seed=seed, stream=1)
        self.kind, self.regularization, self.temperature = loss, regularization, temperature

    def embeddings(self) -> tuple[Tensor, Tensor]:
        """(U, D) and (I, D): the vectors as they are; what a graph network changes."""
        return self.users.weight, self.items.weight

    def forward(self) -> tuple[Tensor, Tensor]:
        """(U, D) and (I, D): the vectors that are multiplied."""
        users, items = self.embeddings()
        if self.temperature is None:
            return users, items
        return F.normalize(users) / self.temperature, F.normalize(items)

    def loss(self, batch: PairBatch | UserBatch) -> Tensor:
        """Mean over the events of the batch, plus the penalty."""
        users, items = self()
        queries = F.embedding(batch.users, users)  # (B, D)
        if isinstance(batch, PairBatch):
            taken = torch.cat([batch.positives[:, None], batch.negatives], dim=1)  # (B, 1 + N)
            scores = (F.embedding(taken, items) * queries[:, None]).sum(-1)
            loss = _PAIR_LOSSES[self.kind](scores[:, 0], scores[:, 1:])
            return loss + self._penalty(batch.users, taken)
        own = (F.embedding(batch.rows, queries) * F.embedding(batch.items, items)).sum(1)  # (P,)
        # The logits of a user serve all events of this user.
        events = torch.bincount(batch.rows, minlength=len(queries))  # (B,)
        loss = (total_logsumexp(queries, items, events) - own.sum()) / len(own)
        return loss + self._penalty(batch.users[batch.rows], batch.items)

    def _penalty(self, users: Tensor, items: Tensor) -> Tensor | float:
        """Lambda / 2 times the squared rows that the events use, a mean over events."""
        if not self.regularization:
            return 0.0
        squares = self.users(users).square().sum() + self.items(items).square().sum()
        return self.regularization / 2 * squares / len(users)


def train_factors(
    model: FactorScores,
    network: FactorNetwork,
    train: Interactions,
    validation: Interactions | None,
    *,
    training: Options,
    n_negatives: int = 1,
    seed: int = 0,
) -> History:
    """Train the network and give the model its factors; ids without events get zeros.

    Args:
        model: gets ``user_factors_`` and ``item_factors_``.
        network: gives the vectors and the loss.
        train: at least one event.
        validation: where given, nDCG@10 on it is watched and the best epoch kept.
        training: how; the batch size counts users for "softmax" and events for the other losses.
        n_negatives: N items for each event, for the losses of pairs.
        seed: of the order of the data, the negatives and the dropout.
    """
    batches: UserRows | Pairs
    size = training.batch_size
    if network.kind == "softmax":
        batches = UserRows(train, batch_size=size, seed=seed)
    else:
        batches = Pairs(train, batch_size=size, n_negatives=n_negatives, seed=seed)
    unseen = (
        np.bincount(train.users, minlength=train.n_users) == 0,
        train.item_counts() == 0,
    )

    @torch.no_grad()
    def take() -> None:
        users, items = (vectors.float().cpu().numpy().copy() for vectors in network())
        users[unseen[0]], items[unseen[1]] = 0, 0
        model.user_factors_, model.item_factors_ = users, items

    watch = None
    if validation is not None:
        judged = ranking_validation(model, train, validation)

        def watch() -> Any:
            take()
            return judged()

    history = fit(network, batches, replace(training, seed=seed), watch)
    take()
    return history
