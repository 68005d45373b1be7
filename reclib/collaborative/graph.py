"""LightGCN: embeddings averaged over the neighbours, their neighbours, and so on.

    A = [[0, R], [R', 0]],   Â = D^-1/2 A D^-1/2      R[u, i] = 1 where u took i, D: degrees
    E = (E0 + Â E0 + ... + Â^K E0) / (K + 1)          E0: one free vector for each user and item
    score(u, i) = E[u] . E[i]

The map from E0 to E is a symmetric matrix, so the gradient passes back through the same map.

Source: X. He, K. Deng, X. Wang, Y. Li, Y. Zhang, M. Wang, LightGCN: Simplifying and Powering Graph
Convolution Network for Recommendation, SIGIR 2020, arXiv:2002.02126.
Differences from the paper:
1. The default loss is the softmax over all items (paper: BPR, here ``loss="bpr"``).
2. E0 starts with standard deviation 0.1, as in the authors' PyTorch code (paper: Xavier).
3. The L2 penalty counts the rows of E0 that a batch uses, divided by its events, as in the
   authors' code (paper: all of E0).
Chapter: collaborative/graph
"""

from __future__ import annotations

import warnings
from typing import Any, Literal, Self, cast

import numpy as np
import torch
from scipy.sparse import csr_array
from torch import Tensor, nn

from reclib.collaborative._factors import FactorNetwork, FactorScores, train_factors
from reclib.foundations.interactions import Interactions
from reclib.foundations.recommender import checked_train
from reclib.foundations.training import History, Options

__all__ = ["LightGCN", "LightGCNNetwork", "Propagation", "normalized_graph"]

_TRAINING = Options(epochs=20, batch_size=512, learning_rate=0.01)


def normalized_graph(train: Interactions) -> csr_array:
    """The upper right block of Â: 1 / sqrt(degree of u * degree of i) where u took i.

    Repeated events count once; users and items without events have an empty row or column.

    Returns:
        (U, I) float32 CSR.
    """
    taken = checked_train(train).deduplicated()
    degrees = [np.bincount(taken.users), np.bincount(taken.items)]
    weights = 1 / np.sqrt(degrees[0][taken.users] * degrees[1][taken.items])
    shape = (train.n_users, train.n_items)
    return csr_array((weights.astype(np.float32), (taken.users, taken.items)), shape=shape)


class _MeanOfPowers(torch.autograd.Function):
    """(1 + Â + ... + Â^K) / (K + 1) times the users' and the items' rows, by Horner's rule."""

    @staticmethod
    def forward(
        ctx: Any, users: Tensor, items: Tensor, to_users: Tensor, to_items: Tensor, layers: int
    ) -> tuple[Tensor, Tensor]:
        ctx.graph = to_users, to_items, layers
        sum_u, sum_i = users, items
        with torch.autocast(users.device.type, enabled=False):  # the graph is float32
            for _ in range(layers):
                sum_u, sum_i = (
                    torch.addmm(users, to_users, sum_i),
                    torch.addmm(items, to_items, sum_u),
                )
            return sum_u / (layers + 1), sum_i / (layers + 1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """The map is symmetric: what carries embeddings forward carries gradients back."""
        return *cast(Any, _MeanOfPowers).apply(*gradients, *ctx.graph), None, None, None


class Propagation(nn.Module):
    """Mean of the embeddings after 0, 1, ..., K steps along the edges of the graph.

    It has no parameters, keeps nothing for the backward pass, and moves with ``.to``.

    Args:
        graph: (U, I) CSR, as :func:`normalized_graph` makes it.
        layers: K >= 0; 0 leaves the embeddings as they are.
    """

    def __init__(self, graph: csr_array, *, layers: int) -> None:
        super().__init__()
        if layers < 0:
            raise ValueError(f"layers must be at least 0, got {layers}")
        self.layers = layers
        self.shape = graph.shape
        for side, block in (("users", graph.tocsr()), ("items", graph.T.tocsr())):
            for part in ("indptr", "indices"):  # int32, as the product wants them
                values = torch.from_numpy(getattr(block, part).astype(np.int32))
                self.register_buffer(f"{side}_{part}", values, persistent=False)
            self.register_buffer(f"{side}_data", torch.from_numpy(block.data), persistent=False)

    def forward(self, users: Tensor, items: Tensor) -> tuple[Tensor, Tensor]:
        """Propagated embeddings.

        Args:
            users: (U, D) float.
            items: (I, D) float.

        Returns:
            (U, D) and (I, D).
        """
        blocks = self._block("users", self.shape), self._block("items", self.shape[::-1])
        return cast(Any, _MeanOfPowers).apply(users, items, *blocks, self.layers)

    def _block(self, side: str, shape: tuple[int, int]) -> Tensor:
        # Kept as plain buffers: a module that holds a CSR tensor cannot be copied.
        indptr, indices, data = (
            getattr(self, f"{side}_{part}") for part in ("indptr", "indices", "data")
        )
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
            return torch.sparse_csr_tensor(indptr, indices, data, shape, check_invariants=False)


class LightGCNNetwork(FactorNetwork):
    """Free vectors E0, averaged over the graph before they are multiplied.

    Every step passes over the whole graph, whatever the size of its batch.

    Args:
        graph: (U, I) CSR, as :func:`normalized_graph` makes it.
        factors: D, size of each vector, >= 1.
        layers: K >= 0.
        loss: "softmax", "bpr" or "binary".
        regularization: lambda, the price of the squared rows of E0 behind each event, >= 0.
        temperature: None multiplies E as it is; a number scores by the cosine, divided by it.
        seed: for E0.
    """

    def __init__(
        self,
        graph: csr_array,
        *,
        factors: int,
        layers: int,
        loss: str = "softmax",
        regularization: float = 0.0,
        temperature: float | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(
            *graph.shape,
            factors=factors,
            loss=loss,
            regularization=regularization,
            temperature=temperature,
            seed=seed,
        )
        self.propagation = Propagation(graph, layers=layers)

    def embeddings(self) -> tuple[Tensor, Tensor]:
        """(U, D) and (I, D): E, the vectors averaged over the graph."""
        vectors: tuple[Tensor, Tensor] = self.propagation(self.users.weight, self.items.weight)
        return vectors


class LightGCN(FactorScores):
    """Vectors of users and items, averaged over the graph that their events make.

    A user or item without events has zero factors and scores 0.

    Args:
        factors: D, size of each vector, >= 1.
        layers: K, steps along the edges, >= 0; 0 is matrix factorisation.
        loss: "softmax": every event against all items; batches are users with all their events.
            "bpr" or "binary": every event against one item that the user has not taken.
        regularization: lambda, the price of the squared rows of E0 behind each event, >= 0; "bpr"
            wants about a thirtieth of what "softmax" does.
        temperature: None multiplies E as it is; a number scores by the cosine, divided by it.
        training: epochs, batch size (users for "softmax", events otherwise), learning rate, ...
        seed: for E0, the order of the data and the negatives.
    """

    history_: History

    def __init__(
        self,
        *,
        factors: int = 64,
        layers: int = 3,
        loss: Literal["softmax", "bpr", "binary"] = "softmax",
        regularization: float = 0.1,
        temperature: float | None = None,
        training: Options = _TRAINING,
        seed: int = 0,
    ) -> None:
        self.factors = factors
        self.layers = layers
        self.loss = loss
        self.regularization = regularization
        self.temperature = temperature
        self.training = training
        self.seed = seed

    def fit(self, train: Interactions, *, validation: Interactions | None = None) -> Self:
        """Learn from ``train``, repeats counting once.

        With ``validation``, nDCG@10 on it is watched and the best epoch kept.
        """
        taken = checked_train(train).deduplicated()
        network = LightGCNNetwork(
            normalized_graph(taken),
            factors=self.factors,
            layers=self.layers,
            loss=self.loss,
            regularization=self.regularization,
            temperature=self.temperature,
            seed=self.seed,
        )
        self.history_ = train_factors(
            self, network, taken, validation, training=self.training, seed=self.seed
        )
        return self
