"""Factors against one plain solve a row, against implicit, and against the loss they minimise."""

import warnings
from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_matrix

from reclib.collaborative.factorization import ImplicitALS, MatrixFactorization
from reclib.foundations.interactions import Histories, Interactions
from reclib.foundations.training import Options


def weighted(seed: int = 0, n_users: int = 37, n_items: int = 19) -> Interactions:
    """Events with weights, from rows of one event to rows of all items; some pairs repeat."""
    generator = np.random.default_rng(seed)
    taken = generator.random((n_users, n_items)) < np.linspace(0.05, 0.9, n_users)[:, None]
    taken[:, -1] = False
    users, items = np.nonzero(taken)
    users, items = np.append(users, users[:9]), np.append(items, items[:9])
    weights = generator.uniform(0.2, 3.0, users.size)
    return Interactions(users, items, weights=weights, n_users=n_users, n_items=n_items)


def start(n_items: int, factors: int, seed: int, extra: int = 0) -> np.ndarray:
    """(I, D) start values; with a column ``extra`` for the bias."""
    generator = np.random.default_rng([seed, 1])
    draws = generator.standard_normal((n_items, factors + extra), dtype=np.float32)
    return draws.astype(float) * 0.1 / np.sqrt(factors)


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
    items = start(weights.shape[1], model.factors, model.seed) * (weights.sum(axis=0) > 0)[:, None]
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
    confidence = csr_matrix(train.matrix())
    confidence.data = (1 + 5.0 * confidence.data).astype(np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about threads
        peer = AlternatingLeastSquares(
            factors=12,
            regularization=0.1,
            use_cg=False,
            iterations=1,
            dtype=np.float64,
            num_threads=1,
        )
        peer.user_factors = np.zeros((80, 12))
        peer.item_factors = start(50, 12, 0)
        peer.fit(confidence, show_progress=False)
        expected = peer.recalculate_user(np.arange(80), confidence) @ peer.item_factors.T
    ours, theirs = (items @ items.T for items in (model.item_factors_, peer.item_factors))
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)  # the same in any axes
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


# --- ratings


def rated(seed: int = 0, n_users: int = 30, n_items: int = 17) -> Interactions:
    """Ratings from 1 to 5 with a planted taste; the last user and the last item have none."""
    generator = np.random.default_rng(seed)
    taken = generator.random((n_users, n_items)) < np.linspace(0.1, 0.9, n_users)[:, None]
    taken[-1], taken[:, -1] = False, False
    users, items = np.nonzero(taken)
    taste = generator.standard_normal((n_users, 2)) @ generator.standard_normal((2, n_items))
    noise = generator.normal(0, 0.3, users.size)
    ratings = np.clip(3 + taste[users, items] + noise, 1, 5)
    return Interactions(users, items, ratings=ratings, n_users=n_users, n_items=n_items)


def slow_ratings(model: MatrixFactorization, train: Interactions) -> np.ndarray:
    """(U, I) predictions after the same sweeps: rows one at a time, biases as a column of ones."""
    assert train.ratings is not None
    mean = train.ratings.mean()
    x, y = np.zeros((30, model.factors + 1)), start(17, model.factors, model.seed, 1)
    y[:, -1] = 0
    sides = (train.users, x, train.items, y), (train.items, y, train.users, x)
    for _ in range(model.sweeps):
        for own, solved, other, fixed in sides:
            for row in range(len(solved)):
                seen = own == row
                features = np.column_stack([fixed[other[seen], :-1], np.ones(seen.sum())])
                left = train.ratings[seen] - mean - fixed[other[seen], -1]
                penalty = model.regularization * max(seen.sum(), 1) * np.eye(features.shape[1])
                solved[row] = np.linalg.solve(features.T @ features + penalty, features.T @ left)
    return mean + x[:, :-1] @ y[:, :-1].T + x[:, [-1]] + y[:, -1]


def rating_loss(model: MatrixFactorization, train: Interactions) -> float:
    """What both solvers minimise, as a mean over ratings."""
    assert model.item_bias_ is not None and train.ratings is not None
    wrong = model.predict(train.users, train.items) - train.ratings
    x = np.column_stack([model.user_factors_, model.user_bias_])[train.users]
    y = np.column_stack([model.item_factors_, model.item_bias_])[train.items]
    squares = (x**2).sum(axis=1) + (y**2).sum(axis=1)
    return float((wrong**2 + model.regularization * squares).mean())


@pytest.mark.parametrize("factors", [1, 3, 20])
def test_als_of_ratings_equals_one_plain_solve_a_row(factors: int) -> None:
    train = rated()
    model = MatrixFactorization(factors=factors, regularization=0.2, sweeps=4, seed=3).fit(train)
    expected = slow_ratings(model, train)
    np.testing.assert_allclose(model.score(np.arange(30)), expected, rtol=1e-4, atol=1e-4)


def rmse(model: MatrixFactorization, events: Interactions) -> float:
    assert events.ratings is not None
    return float(
        np.sqrt(np.mean((model.predict(events.users, events.items) - events.ratings) ** 2))
    )


def test_gradient_steps_reach_the_loss_of_als() -> None:
    train = rated(1)
    options: dict[str, Any] = {"factors": 3, "regularization": 0.1}
    solved = MatrixFactorization(sweeps=100, **options).fit(train)
    training = Options(epochs=100, batch_size=64, learning_rate=0.05, schedule="linear")
    trained = MatrixFactorization(solver="sgd", training=training, **options).fit(train)
    losses = [rating_loss(model, train) for model in (solved, trained)]
    assert losses[1] == pytest.approx(losses[0], rel=0.03)


@pytest.mark.parametrize("solver", ["als", "sgd"])
def test_ratings_that_were_held_out_are_predicted_better_than_by_biases(solver: Any) -> None:
    events = rated(2, 120, 40)
    held = np.random.default_rng(0).random(len(events)) < 0.15
    train, test = events.select(~held), events.select(held)
    training = Options(epochs=60, batch_size=512, learning_rate=0.05)
    errors = [
        rmse(model.fit(train), test)
        for model in (
            MatrixFactorization(factors=2, solver=solver, regularization=0.05, training=training),
            MatrixFactorization(factors=2, regularization=0.5),  # only biases survive
        )
    ]
    assert errors[0] < 0.6 * errors[1]


def test_predictions_are_scores_of_the_pairs() -> None:
    model = MatrixFactorization(factors=4, sweeps=3).fit(rated())
    users, items = np.array([3, 29, 3, 0]), np.array([16, 2, 5, 5])
    found = model.predict(users, items)
    np.testing.assert_allclose(found, model.score(np.arange(30))[users, items], rtol=1e-6)


@pytest.mark.parametrize("solver", ["als", "sgd"])
def test_who_rated_nothing_gets_what_the_other_side_says(solver: Any) -> None:
    train = rated()
    training = Options(epochs=3, batch_size=64)
    model = MatrixFactorization(factors=3, solver=solver, training=training).fit(train)
    scores = model.score(np.arange(30))
    np.testing.assert_allclose(scores[29], model.mean_ + model.item_bias_, rtol=1e-6)
    np.testing.assert_allclose(scores[:, 16], model.mean_ + model.user_bias_, rtol=1e-6)


def test_the_latest_rating_of_a_pair_counts() -> None:
    twice = Interactions([0, 0, 1], [0, 0, 1], timestamps=[5, 3, 4], ratings=[1, 5, 3])
    once = Interactions([0, 1], [0, 1], ratings=[1, 3])
    for solver in ("als", "sgd"):
        models = [
            MatrixFactorization(factors=2, solver=solver, training=Options(epochs=2)).fit(train)
            for train in (twice, once)
        ]
        np.testing.assert_array_equal(models[0].score([0, 1]), models[1].score([0, 1]))


def test_validation_keeps_the_epoch_with_the_least_error() -> None:
    events = rated(4, 60, 30)
    held = np.random.default_rng(0).random(len(events)) < 0.2
    train, validation = events.select(~held), events.select(held)
    training = Options(epochs=60, batch_size=32, learning_rate=0.05, patience=5)
    model = MatrixFactorization(solver="sgd", regularization=1e-3, training=training)
    history = model.fit(train, validation=validation).history_
    assert history is not None and history.stopped == "patience"
    best = history.table["negative rmse"].max()
    assert -rmse(model, validation) == pytest.approx(best, rel=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"factors": 0}, "factors must be an integer of at least 1, got 0"),
        ({"sweeps": 1.5}, "sweeps must be an integer of at least 1, got 1.5"),
        ({"solver": "svd"}, "solver must be 'als' or 'sgd', got 'svd'"),
        ({"regularization": 0.0}, "regularization must be above 0 and finite, got 0.0"),
    ],
)
def test_ratings_refuse_bad_options_by_name(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        MatrixFactorization(**options).fit(rated())


def test_ratings_must_be_there() -> None:
    train, bare = rated(), Interactions([0], [0])
    with pytest.raises(ValueError, match="^train must have ratings, got none$"):
        MatrixFactorization().fit(bare)
    with pytest.raises(ValueError, match="^validation must have ratings, got none$"):
        MatrixFactorization(solver="sgd").fit(train, validation=bare)
    with pytest.raises(ValueError, match="^validation must be None for solver 'als', got Inter"):
        MatrixFactorization().fit(train, validation=train)
    with pytest.raises(ValueError, match=r"^items must have shape \(1,\), got \(2,\)$"):
        MatrixFactorization(sweeps=1).fit(train).predict([0], [0, 1])


def test_a_rate_that_is_too_high_stops_with_its_name() -> None:
    training = Options(epochs=50, optimizer="sgd", learning_rate=1e4)
    with pytest.raises(ValueError, match="must be finite, got .* with learning_rate 10000$"):
        MatrixFactorization(solver="sgd", training=training).fit(rated())
