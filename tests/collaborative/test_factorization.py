"""Factors against one plain solve a row, against implicit, and against the loss they minimise."""

import warnings
from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from reclib.collaborative.factorization import ImplicitALS
from reclib.foundations.interactions import Histories, Interactions


def weighted(seed: int = 0, n_users: int = 37, n_items: int = 19) -> Interactions:
    """Events with weights, from rows of one event to rows of all items; some pairs repeat."""
    generator = np.random.default_rng(seed)
    taken = generator.random((n_users, n_items)) < np.linspace(0.05, 0.9, n_users)[:, None]
    taken[:, -1] = False
    users, items = np.nonzero(taken)
    users, items = np.append(users, users[:9]), np.append(items, items[:9])
    weights = generator.uniform(0.2, 3.0, users.size)
    return Interactions(users, items, weights=weights, n_users=n_users, n_items=n_items)


def start(model: ImplicitALS, n_items: int) -> np.ndarray:
    draws = np.random.default_rng([model.seed, 1]).standard_normal((n_items, model.factors))
    return draws * 0.1 / np.sqrt(model.factors)


def penalties(model: ImplicitALS, weights: np.ndarray) -> np.ndarray:
    total = weights.any(axis=0).sum() + model.alpha * weights.sum(axis=1)
    return model.regularization * total**model.regularization_exponent


def slow_half_sweep(model: ImplicitALS, weights: np.ndarray, fixed: np.ndarray) -> np.ndarray:
    """The equation of the 2008 paper, one row and one D x D system at a time, in float64."""
    found, penalty = np.zeros((len(weights), fixed.shape[1])), penalties(model, weights)
    for row, w in enumerate(weights):
        confidence, preference = 1 + model.alpha * w, (w > 0).astype(float)
        system = (fixed.T * confidence) @ fixed + penalty[row] * np.eye(fixed.shape[1])
        found[row] = np.linalg.solve(system, fixed.T @ (confidence * preference))
    return found


def slow_factors(model: ImplicitALS, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    items = start(model, weights.shape[1]) * (weights.sum(axis=0) > 0)[:, None]
    for _ in range(model.sweeps):
        users = slow_half_sweep(model, weights, items)
        items = slow_half_sweep(model, weights.T, users)
    return slow_half_sweep(model, weights, items), items


def loss(model: ImplicitALS, weights: np.ndarray) -> float:
    users, items = model.user_factors_.astype(float), model.item_factors_.astype(float)
    confidence = 1 + model.alpha * weights
    total = (confidence * ((weights > 0) - users @ items.T) ** 2).sum()
    for rows, own in ((users, weights), (items, weights.T)):
        total += penalties(model, own) @ (rows**2).sum(axis=1)
    return total


@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("factors", [1, 6, 25])
def test_als_equals_one_plain_solve_a_row(factors: int, exponent: float) -> None:
    train = weighted()
    model = ImplicitALS(
        factors=factors,
        alpha=7.0,
        regularization=0.3,
        regularization_exponent=exponent,
        sweeps=3,
        seed=4,
    ).fit(train)
    users, items = slow_factors(model, train.matrix().toarray())
    # float32 against float64 over seven half sweeps; test_least_squares compares one to 1e-10
    np.testing.assert_allclose(model.score(np.arange(37)), users @ items.T, rtol=1e-4, atol=5e-5)
    products = model.item_factors_ @ model.item_factors_.T  # the same in any axes
    np.testing.assert_allclose(products, items @ items.T, rtol=1e-3, atol=1e-3)


@pytest.mark.oracle
def test_one_sweep_equals_that_of_implicit() -> None:
    from implicit.cpu.als import AlternatingLeastSquares

    train = weighted(1, 80, 51)
    train = Interactions(train.users, train.items, weights=train.weights, n_users=80, n_items=50)
    model = ImplicitALS(factors=12, alpha=5.0, regularization=0.1, sweeps=1).fit(train)
    peer = AlternatingLeastSquares(
        factors=12, regularization=0.1, use_cg=False, iterations=1, dtype=np.float64, num_threads=1
    )
    peer.user_factors = np.zeros((80, 12))
    peer.item_factors = start(model, 50)
    confidence = csr_matrix(train.matrix())
    confidence.data = (1 + 5.0 * confidence.data).astype(np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about threads
        peer.fit(confidence, show_progress=False)
    ours, theirs = (items @ items.T for items in (model.item_factors_, peer.item_factors))
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)  # the same in any axes
    expected = peer.recalculate_user(np.arange(80), confidence) @ peer.item_factors.T
    np.testing.assert_allclose(model.score(np.arange(80)), expected, rtol=1e-4, atol=1e-5)


def test_axes_are_principal_and_strongest_first() -> None:
    model = ImplicitALS(factors=5, sweeps=2).fit(weighted(6))
    gram = model.item_factors_.T @ model.item_factors_
    np.testing.assert_allclose(gram, np.diag(np.diag(gram)), atol=1e-4 * gram.max())
    assert (np.diff(np.diag(gram)) < 0).all()


def test_the_loss_never_rises() -> None:
    train = weighted(2)
    weights = train.matrix().toarray()
    options: dict[str, Any] = {"factors": 6, "regularization": 2.0, "regularization_exponent": 0.5}
    losses = [loss(ImplicitALS(sweeps=n, **options).fit(train), weights) for n in range(1, 9)]
    assert (np.diff(losses) <= 1e-6 * losses[0]).all()
    assert losses[-1] < 0.99 * losses[0]


def test_fold_in_of_a_history_equals_the_fitted_user() -> None:
    generator = np.random.default_rng(3)
    users, items = np.nonzero(generator.random((30, 14)) < 0.3)
    train = Interactions(users, items, n_users=31, n_items=15)
    model = ImplicitALS(factors=5, sweeps=2).fit(train)
    expected = model.score(np.arange(31))
    np.testing.assert_allclose(
        model.score_histories(train.histories()), expected, rtol=1e-5, atol=1e-6
    )


def test_rows_without_weight_have_zero_factors() -> None:
    train = Interactions([0, 0, 1, 3], [0, 1, 1, 3], weights=[1, 2, 1, 0], n_users=5, n_items=5)
    model = ImplicitALS(factors=2, sweeps=2).fit(train)
    assert not model.user_factors_[[2, 3, 4]].any()
    assert not model.item_factors_[[2, 3, 4]].any()
    assert model.user_factors_[[0, 1]].all()
    assert not model.score_histories(Histories.from_lists([[], [2]])).any()


def test_two_events_count_as_one_of_twice_the_weight() -> None:
    twice = Interactions([0, 0, 1, 2, 2], [0, 0, 1, 0, 1])
    heavy = Interactions([0, 1, 2, 2], [0, 1, 0, 1], weights=[2, 1, 1, 1])
    one, two = (ImplicitALS(factors=2, sweeps=2).fit(train) for train in (twice, heavy))
    np.testing.assert_allclose(one.user_factors_, two.user_factors_, rtol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"factors": 0}, "factors must be an integer of at least 1, got 0"),
        ({"factors": 2.5}, "factors must be an integer of at least 1, got 2.5"),
        ({"alpha": 0.0}, "alpha must be above 0 and finite, got 0.0"),
        ({"alpha": float("nan")}, "alpha must be above 0 and finite, got nan"),
        ({"regularization": -1.0}, "regularization must be above 0 and finite, got -1.0"),
        ({"regularization": float("inf")}, "regularization must be above 0 and finite, got inf"),
        (
            {"regularization_exponent": -0.5},
            "regularization_exponent must be at least 0 and finite, got -0.5",
        ),
        ({"sweeps": 0}, "sweeps must be an integer of at least 1, got 0"),
    ],
)
def test_als_refuses_bad_options_by_name(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        ImplicitALS(**options).fit(weighted())
