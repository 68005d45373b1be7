"""Batched ridge regressions against one plain solve a row, in float64."""

from typing import Any

import numpy as np
import pytest
import torch
from scipy.sparse import csr_array
from sklearn.linear_model import Ridge

from reclib.collaborative import _least_squares
from reclib.collaborative._least_squares import Basis, principal_axes, ridge, solve_rows


def entries(seed: int = 0, n_rows: int = 60, n_columns: int = 40) -> csr_array:
    """Rows of 0 to all 40 entries, with weights between 0.1 and 20."""
    generator = np.random.default_rng(seed)
    taken = generator.random((n_rows, n_columns)) < np.linspace(0, 1, n_rows)[:, None] ** 2
    rows, columns = np.nonzero(taken)
    return csr_array(
        (np.exp(generator.uniform(-2, 3, rows.size)), (rows, columns)), shape=taken.shape
    )


def factors(size: int, dtype: Any = np.float64) -> np.ndarray:
    draws = np.random.default_rng(5).standard_normal((40, size)) * np.linspace(0.01, 1, size)
    return draws.astype(dtype)


def slow(
    weights: csr_array, targets: np.ndarray, y: np.ndarray, gram: np.ndarray, penalty: np.ndarray
) -> np.ndarray:
    found = np.zeros((weights.shape[0], y.shape[1]))
    for row in range(len(found)):
        part = slice(weights.indptr[row], weights.indptr[row + 1])
        own = y[weights.indices[part]]
        system = gram + penalty[row] * np.eye(y.shape[1]) + (own.T * weights.data[part]) @ own
        found[row] = np.linalg.solve(system, own.T @ targets[part])
    return found


@pytest.mark.parametrize("equal", [True, False], ids=["one penalty", "a penalty each"])
@pytest.mark.parametrize("whole", [True, False], ids=["all columns", "entries only"])
@pytest.mark.parametrize("size", [1, 7, 50])
def test_each_row_equals_a_plain_solve(size: int, whole: bool, equal: bool) -> None:
    weights, y = entries(), factors(size)
    generator = np.random.default_rng(1)
    targets = generator.standard_normal(weights.nnz)
    penalty = np.full(60, 0.3) if equal else generator.uniform(0.1, 5.0, 60)
    basis = principal_axes(y) if whole else Basis.alone(y)
    turned = basis.factors.numpy()
    gram = turned.T @ turned if whole else np.zeros((size, size))
    found = solve_rows(weights, targets, basis, penalty)
    expected = slow(weights, targets, turned, gram, penalty)
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12)


def test_float32_stays_accurate_with_a_penalty_that_vanishes() -> None:
    weights, y = entries(2), factors(12)
    targets = 1 + weights.data
    penalty = np.full(60, 1e-9)
    exact, found = (
        solve_rows(weights, targets, basis, penalty) @ basis.factors.numpy().T
        for basis in (principal_axes(y), principal_axes(y.astype(np.float32)))
    )
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, exact, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("cells", [1, 100, 3_000])
def test_the_size_of_batches_changes_nothing(cells: int, monkeypatch: pytest.MonkeyPatch) -> None:
    weights, basis, penalty = entries(3), principal_axes(factors(5)), np.linspace(0.5, 1, 60)
    expected = solve_rows(weights, weights.data, basis, penalty)
    monkeypatch.setattr(_least_squares, "_CELLS", cells)
    monkeypatch.setattr(_least_squares, "_GROWTH", 3.0)  # much padding
    found = solve_rows(weights, weights.data, basis, penalty)
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-14)


def test_rows_without_entries_are_zero() -> None:
    weights = entries()
    found = solve_rows(weights, weights.data, principal_axes(factors(3)), np.ones(60))
    np.testing.assert_array_equal(found.any(axis=1), np.diff(weights.indptr) > 0)


def test_principal_axes_turn_the_factors_and_keep_their_products() -> None:
    y = np.random.default_rng(0).standard_normal((5000, 6))  # more rows than a block
    basis = principal_axes(y)
    turned, strengths = basis.factors.numpy(), basis.strengths.numpy()
    np.testing.assert_allclose(turned @ turned[:9].T, y @ y[:9].T, rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(turned.T @ turned, np.diag(strengths), rtol=1e-9, atol=1e-9)
    assert (np.diff(strengths) < 0).all()


@pytest.mark.parametrize("n", [4, 6, 9])
def test_ridge_equals_scikit_learn_on_either_side(n: int) -> None:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(3, n, 6, generator=generator, dtype=torch.float64)
    targets = torch.randn(3, n, generator=generator, dtype=torch.float64)
    found = ridge(features, targets)
    for row in range(3):
        peer = Ridge(alpha=1.0, fit_intercept=False).fit(features[row], targets[row])
        np.testing.assert_allclose(found[row], peer.coef_, rtol=1e-10)


def test_systems_beyond_float32_are_refused() -> None:
    weights = csr_array(np.full((1, 3), 1e30))
    basis = Basis.alone(np.ones((3, 4), dtype=np.float32))
    with pytest.raises(ValueError, match="^regularization must be larger, or weights smaller"):
        solve_rows(weights, weights.data, basis, np.array([1e-30]))
