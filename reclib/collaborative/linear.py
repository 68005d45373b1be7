"""EASE: the best item-item weights in one closed formula, for a matrix whose diagonal must be zero.

    minimise over B   ||X - X B||^2 + lambda ||B||^2   with diag(B) = 0
    P = (X'X + lambda I)^-1,   B[j, i] = -P[j, i] / P[i, i] for j != i

Source: H. Steck, Embarrassingly Shallow Autoencoders for Sparse Data, WWW 2019.
Differences from the paper:
1. The inverse comes from an in-place Cholesky factorisation in float32 (paper: a general inverse,
   precision not stated).
2. X holds the summed weights of each pair (paper: 0 or 1); pass deduplicated interactions for the
   paper's X.
Chapter: collaborative/linear
"""

from __future__ import annotations

from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import lapack

from reclib.foundations.interactions import Interactions
from reclib.foundations.recommender import LinearScores, checked_train

__all__ = ["EASE", "ease_weights"]


def ease_weights(gram: NDArray[np.float32], regularization: float) -> NDArray[np.float32]:
    """Item weights from the Gram matrix, computed in the memory of the Gram matrix.

    Args:
        gram: (I, I) float32, X'X, in Fortran order; it is overwritten.
        regularization: lambda, > 0.

    Returns:
        (I, I) float32 with a zero diagonal; ``B[j, i]`` is the weight of a taken item j for item i.

    Raises:
        ValueError: if lambda is not positive, or too small for float32 on this matrix.
    """
    if not regularization > 0:
        raise ValueError(f"regularization must be above 0, got {regularization}")
    diagonal = np.diag_indices_from(gram)
    gram[diagonal] += np.float32(regularization)
    factor, failed = lapack.spotrf(gram, lower=1, clean=0, overwrite_a=1)
    if failed:
        raise ValueError(f"regularization must be larger for float32, got {regularization}")
    inverse, _ = lapack.spotri(factor, lower=1, overwrite_c=1)
    weights: NDArray[np.float32] = inverse.T  # C order; the upper triangle holds P
    scale = -1 / weights[diagonal]
    _mirror(weights)
    weights *= scale
    weights[diagonal] = 0
    return weights


def _mirror(matrix: NDArray[np.float32], block: int = 1024) -> None:
    """Copy the upper triangle onto the lower one, block by block, without a second matrix."""
    for start in range(0, len(matrix), block):
        stop = start + block
        corner = matrix[start:stop, start:stop]
        corner[:] = np.triu(corner) + np.triu(corner, 1).T
        matrix[stop:, start:stop] = matrix[start:stop, stop:].T


class EASE(LinearScores):
    """Linear item-item model with a closed-form solution.

    A user without history scores 0 everywhere; an item without events scores 0.

    Args:
        regularization: lambda, > 0; larger for sparser data.
        seed: unused; nothing is random.
    """

    def __init__(self, *, regularization: float = 100.0, seed: int = 0) -> None:
        self.regularization = regularization
        self.seed = seed

    def fit(self, train: Interactions) -> Self:
        """Solve for all item weights at once; time grows with I^3, memory with I^2."""
        history = checked_train(train).matrix().astype(np.float32)
        gram = (history.T @ history).toarray(order="F")
        self.item_weights_ = ease_weights(gram, self.regularization)
        self.history_ = history
        return self
