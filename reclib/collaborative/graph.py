"""LightGCN: embeddings averaged over the neighbours, their neighbours, and so on.

    A = [[0, R], [R', 0]],   Â = D^-1/2 A D^-1/2      R[u, i] = 1 where u took i, D: degrees
    E = (E0 + Â E0 + ... + Â^K E0) / (K + 1)          E0: one free vector for each user and item
    score(u, i) = E[u] . E[i]

The map from E0 to E is a symmetric matrix, so the gradient passes back through the same map.

Source: X. He, K. Deng, X. Wang, Y. Li, Y. Zhang, M. Wang, LightGCN: Simplifying and Powering Graph
Convolution Network for Recommendation, SIGIR 2020, arXiv:2002.02126.
Differences from the paper: none.
Chapter: collaborative/graph
"""

from __future__ import annotations

import warnings
from typing import Any, cast

import numpy as np
import torch
from scipy.sparse import csr_array
from torch import Tensor, nn

from reclib.foundations.interactions import Interactions
from reclib.foundations.recommender import checked_train

__all__ = ["Propagation", "normalized_graph"]


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
            for part in ("indptr", "indices", "data"):
                values = torch.from_numpy(getattr(block, part).copy())
                self.register_buffer(f"{side}_{part}", values, persistent=False)

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
