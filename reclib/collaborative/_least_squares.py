"""Ridge regressions by the thousand: one for each row of a sparse matrix, batched and exact.

    x = (G + penalty I + sum over i of a_i y_i y_i')^-1 sum over i of t_i y_i    for each row

With G = V diag(l) V' the row is an ordinary ridge regression with penalty 1 in the whitened
features M = diag(sqrt(a)) Y_row V diag(1 / sqrt(l + penalty)) (n, D) and targets t / sqrt(a):

    x = V diag(1 / sqrt(l + penalty)) M' (M M' + I)^-1 (t / sqrt(a))    n x n, where n < D
      = V diag(1 / sqrt(l + penalty)) (M' M + I)^-1 M' (t / sqrt(a))    D x D, otherwise

Where G = Y'Y, no row of Y V diag(1 / sqrt(l + penalty)) is longer than 1, so the systems stay well
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

__all__ = ["Basis", "gram_basis", "plain_basis", "ridge", "solve_rows"]

_CELLS = 2_000_000  # features held at once: 8 MB in float32
_GROWTH = 1.2  # rows in one batch differ in length by at most this factor


class Basis(NamedTuple):
    """Factors Y (I, D) in the directions in which G is diagonal, so that every row shares the work.

    Attributes:
        rotated: (I, D) Y V.
        directions: (D, D) V, one direction a column.
        strengths: (D,) float64, the eigenvalues l >= 0 of G.
    """

    rotated: Tensor
    directions: Tensor
    strengths: Tensor


def gram_basis(factors: NDArray[Any]) -> Basis:
    """The basis of G = Y'Y: every row is also fitted to 0 at all items, with weight 1."""
    y = torch.from_numpy(factors)
    wide = y.double()  # small eigenvalues are lost in float32
    strengths, directions = torch.linalg.eigh(wide.T @ wide)
    directions = directions.to(y.dtype)
    return Basis(y @ directions, directions, strengths.clamp(min=0))


def plain_basis(factors: NDArray[Any]) -> Basis:
    """The basis of G = 0: every row is fitted to its own entries only."""
    y = torch.from_numpy(factors)
    size = y.shape[1]
    return Basis(y, torch.eye(size, dtype=y.dtype), torch.zeros(size, dtype=torch.float64))


def ridge(features: Tensor, targets: Tensor) -> Tensor:
    """Ridge regressions with penalty 1, each on the smaller of its two sides.

    Args:
        features: (B, N, D); rows of zeros change nothing.
        targets: (B, N).

    Returns:
        (B, D) the minimum of ||targets - features x||^2 + ||x||^2.
    """
    flipped = features.mT
    if features.shape[1] < features.shape[2]:
        return (flipped @ _solve(features @ flipped, targets[..., None]))[..., 0]
    return _solve(flipped @ features, flipped @ targets[..., None])[..., 0]


def _solve(gram: Tensor, right: Tensor) -> Tensor:
    """(gram + I)^-1 right; ``gram`` is overwritten."""
    gram.diagonal(dim1=1, dim2=2).add_(1)
    return torch.cholesky_solve(right, torch.linalg.cholesky(gram))


def solve_rows(
    weights: csr_array, targets: NDArray[Any], basis: Basis, penalty: NDArray[Any]
) -> NDArray[Any]:
    """One ridge regression for each row of a sparse matrix.

    Args:
        weights: (B, I) sparse, a > 0: the weight of each stored entry beyond what G holds.
        targets: (n,) t, aligned with ``weights.data``.
        basis: of the factors Y (I, D) and of G.
        penalty: (B,), > 0.

    Returns:
        (B, D) in the type of the factors; rows without entries are 0.
    """
    dtype = basis.rotated.dtype
    lengths = np.diff(weights.indptr)
    roots = np.sqrt(weights.data)
    columns, root, target = (
        torch.from_numpy(np.append(values, 0))  # the last place stands for padding
        for values in (weights.indices.astype(np.int64), roots, targets / roots)
    )
    root, target = root.to(dtype), target.to(dtype)
    scale = torch.rsqrt(basis.strengths + torch.from_numpy(penalty)[:, None]).to(dtype)  # (B, D)
    solved = torch.zeros(scale.shape, dtype=dtype)
    for rows in _batches(lengths, basis.rotated.shape[1]):
        place = np.arange(lengths[rows].max())
        index = weights.indptr[rows, None] + place
        cells = torch.from_numpy(np.where(place < lengths[rows, None], index, weights.nnz))
        features = basis.rotated[columns[cells]]  # (B, N, D)
        features *= root[cells][..., None]
        features *= scale[rows][:, None]
        solved[rows] = ridge(features, target[cells])
    return ((solved * scale) @ basis.directions.T).numpy()


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
