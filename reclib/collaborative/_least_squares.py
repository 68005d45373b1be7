"""Ridge regressions by the thousand: one for each row of a sparse matrix, batched and exact.

    x = (G + penalty I + sum over i of a_i y_i y_i')^-1 sum over i of t_i y_i    for each row

In axes in which G is diag(l), the row is an ordinary ridge regression with penalty 1 of the targets
t / sqrt(a) on the whitened features M = diag(sqrt(a)) Y_row diag(1 / sqrt(l + penalty)) (n, D):

    x = diag(1 / sqrt(l + penalty)) M' (M M' + I)^-1 (t / sqrt(a))    n x n, where n < D
      = diag(1 / sqrt(l + penalty)) (M' M + I)^-1 M' (t / sqrt(a))    D x D, otherwise

Where G = Y'Y, no row of Y diag(1 / sqrt(l + penalty)) is longer than 1, so the systems are well
conditioned in float32 however small the penalty is.

Source: the two sides of ridge regression, M' (M M' + I)^-1 = (M' M + I)^-1 M' (Woodbury).
Differences from the paper: none.
Chapter: collaborative/factorization
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array
from torch import Tensor

__all__ = ["Basis", "principal_axes", "ridge", "solve_rows"]

_CELLS = 1_000_000  # features held at once: 4 MB in float32, which a cache holds
_GROWTH = 1.1  # rows in one batch differ in length by at most this factor
_BLOCK = 2048  # rows whose products are summed in the type of the factors


class Basis(NamedTuple):
    """Factors, and a matrix G that is diagonal in their axes.

    Attributes:
        factors: (I, D) Y.
        strengths: (D,) the diagonal l >= 0 of G.
    """

    factors: Tensor
    strengths: Tensor

    @classmethod
    def alone(cls, factors: NDArray[Any]) -> Basis:
        """G = 0: each row is fitted to its own entries only."""
        return cls(torch.from_numpy(factors), torch.zeros(factors.shape[1], dtype=torch.float64))


def principal_axes(factors: NDArray[Any]) -> Basis:
    """The factors turned so that G = Y'Y is diagonal, strongest axis first.

    With this G each row is fitted to its entries and, with weight 1, to 0 at all items.
    """
    y = torch.from_numpy(factors)
    gram = torch.zeros(y.shape[1], y.shape[1], dtype=torch.float64)
    for block in y.split(_BLOCK):
        gram += block.T @ block  # summed in float64: float32 would lose the weak axes
    strengths, axes = (part.flip(-1) for part in torch.linalg.eigh(gram))
    return Basis(y @ axes.to(y.dtype), strengths.clamp(min=0))


def ridge(features: Tensor, targets: Tensor) -> Tensor:
    """Ridge regressions with penalty 1, each on the smaller of its two sides.

    Args:
        features: (B, N, D); rows of zeros change nothing.
        targets: (B, N).

    Returns:
        (B, D) the minimum of ||targets - features x||^2 + ||x||^2.
    """
    right = targets[:, None]  # (B, 1, N); vectors stand on the left, where bmm is fast
    if features.shape[1] < features.shape[2]:
        return (_solve(features @ features.mT, right) @ features)[:, 0]
    return _solve(features.mT @ features, right @ features)[:, 0]


def _solve(gram: Tensor, right: Tensor) -> Tensor:
    """(B, 1, N) ``right`` times the inverse of gram + I; ``gram`` (B, N, N) is overwritten."""
    gram.diagonal(dim1=1, dim2=2).add_(1)
    factor, failed = torch.linalg.cholesky_ex(gram)
    if failed.any():
        raise ValueError("regularization must be larger, or weights smaller, for float32")
    return torch.cholesky_solve(right.mT, factor).mT


def solve_rows(
    weights: csr_array, targets: NDArray[Any], basis: Basis, penalty: NDArray[Any]
) -> NDArray[Any]:
    """One ridge regression for each row of a sparse matrix.

    Args:
        weights: (B, I) sparse, a > 0: the weight of each stored entry beyond what G holds.
        targets: (n,) t, aligned with ``weights.data``.
        basis: of the factors Y (I, D) and of G.
        penalty: (B,), > 0; where all are the same, features are whitened once.

    Returns:
        (B, D) in the axes and the type of the factors; rows without entries are 0.
    """
    size, dtype = basis.factors.shape[1], basis.factors.dtype
    lengths = np.diff(weights.indptr)
    roots = np.sqrt(weights.data)
    columns, root, target = (
        torch.from_numpy(np.append(values, 0))  # the last place stands for padding
        for values in (weights.indices.astype(np.int64), roots, targets / roots)
    )
    root, target = root.to(dtype), target.to(dtype)
    shared = bool((penalty == penalty[:1]).all())
    given = torch.from_numpy(penalty[:1] if shared else penalty)
    scale = torch.rsqrt(basis.strengths.to(dtype) + given.to(dtype)[:, None])  # (B or 1, D)
    whitened = basis.factors * scale if shared else basis.factors
    solved = torch.zeros(lengths.size, size, dtype=dtype)
    for rows in _batches(lengths, size):
        place = np.arange(lengths[rows].max())
        index = weights.indptr[rows, None] + place
        cells = torch.from_numpy(np.where(place < lengths[rows, None], index, weights.nnz))
        # index_select copies whole rows; indexing by a matrix is four times slower.
        features = whitened.index_select(0, columns[cells].flatten()).view(*cells.shape, size)
        features *= root[cells][..., None]  # (B, N, D)
        if not shared:
            features *= scale[rows][:, None]
        solved[rows] = ridge(features, target[cells])
    solved *= scale
    return solved.numpy()


def _batches(lengths: NDArray[Any], size: int) -> Iterator[NDArray[np.int64]]:
    """Rows of similar length together, so that padding adds little; empty rows are left out."""
    order = np.argsort(lengths, kind="stable")
    order = order[np.searchsorted(lengths[order], 1) :]
    ordered = lengths[order]
    start = 0
    while start < order.size:
        stop = int(np.searchsorted(ordered, ordered[start] * _GROWTH, side="right"))
        most = max(1, _CELLS // (int(ordered[stop - 1]) * size))
        stop = min(stop, start + most)
        yield order[start:stop]
        start = stop
