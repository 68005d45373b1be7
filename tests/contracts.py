"""The shared checks: what every recommender must do, whatever it learns.

A model joins by one line in `MODELS`; `tests/test_contracts.py` runs every check on every model.
The planted matrix is neither square nor symmetric, so that a transpose fails.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_array

from reclib.collaborative import (
    BPR,
    EASE,
    NCF,
    ContentKNN,
    DotProduct,
    HybridKNN,
    ImplicitALS,
    ItemKNN,
    LightGCN,
    MatrixFactorization,
    Popularity,
    UserKNN,
)
from reclib.foundations.interactions import Histories, Interactions
from reclib.foundations.persistence import load, save
from reclib.foundations.recommender import recommend
from reclib.foundations.training import Options

USER_GROUPS = np.repeat([0, 1, 2], [20, 12, 9])  # 41 users
ITEM_GROUPS = np.repeat([0, 1, 2], [11, 7, 5])  # 23 items


@dataclass(frozen=True)
class Entry:
    """A model under test: how to make it, and what it can be expected to do."""

    make: Callable[[], Any]
    needs_features: bool = False
    personal: bool = True  # it can tell users apart, so it must recover the planted truth
    needs_ratings: bool = False
    from_histories: bool = True
    stochastic: bool = False  # starts from random numbers that belong to ids, and draws batches
    rtol: float = 1e-5
    candidates_rtol: float = 0.0  # a dot product of a few items may sum in another order


_SOLVED: dict[str, Any] = {"stochastic": True, "rtol": 1e-4, "candidates_rtol": 1e-5}
_TRAINED: dict[str, Any] = {"from_histories": False, "stochastic": True, "candidates_rtol": 1e-5}
_RATED: dict[str, Any] = {**_TRAINED, "needs_ratings": True, "personal": False}


def _ncf(architecture: Any, epochs: int, rate: float, **options: Any) -> NCF:
    training = Options(epochs=epochs, batch_size=64, learning_rate=rate)
    small: dict[str, Any] = {"factors": 4, "regularization": 0.01, "training": training}
    return NCF(architecture=architecture, **small, **options)


def _dot(model: Any, epochs: int = 20, batch_size: int = 8) -> Any:
    model.training = Options(epochs=epochs, batch_size=batch_size, learning_rate=0.05)
    return model


def _graph(**options: Any) -> LightGCN:
    training = Options(epochs=30, batch_size=32, learning_rate=0.05)
    return LightGCN(factors=16, regularization=0.01, training=training, **options)


MODELS = {
    "Popularity": Entry(Popularity, personal=False),
    "ItemKNN": Entry(lambda: ItemKNN(n_neighbors=50)),
    "ItemKNN-jaccard": Entry(lambda: ItemKNN(n_neighbors=50, similarity="jaccard", shrinkage=2.0)),
    "ItemKNN-pearson": Entry(lambda: ItemKNN(n_neighbors=50, similarity="pearson")),
    "UserKNN": Entry(lambda: UserKNN(n_neighbors=50)),
    "UserKNN-jaccard": Entry(lambda: UserKNN(n_neighbors=50, similarity="jaccard", shrinkage=1.0)),
    "UserKNN-pearson": Entry(lambda: UserKNN(n_neighbors=50, similarity="pearson")),
    "ContentKNN": Entry(lambda: ContentKNN(n_neighbors=50), needs_features=True),
    "HybridKNN": Entry(lambda: HybridKNN(n_neighbors=50, shrinkage=1.0), needs_features=True),
    "EASE": Entry(lambda: EASE(regularization=3.0)),
    "ImplicitALS": Entry(lambda: ImplicitALS(factors=3, alpha=5.0, regularization=1.0), **_SOLVED),
    "ImplicitALS-exponent": Entry(
        lambda: ImplicitALS(factors=3, regularization=0.03, regularization_exponent=1.0), **_SOLVED
    ),
    "MatrixFactorization": Entry(lambda: MatrixFactorization(factors=4), **_RATED),
    "MatrixFactorization-sgd": Entry(
        lambda: _dot(MatrixFactorization(factors=4, solver="sgd")), **_RATED
    ),
    "DotProduct": Entry(lambda: _dot(DotProduct(factors=8, regularization=0.3)), **_TRAINED),
    "DotProduct-cosine": Entry(
        lambda: _dot(DotProduct(factors=8, regularization=0.01, temperature=0.5)), **_TRAINED
    ),
    "BPR": Entry(lambda: _dot(BPR(factors=8, n_negatives=2), 40, 32), **_TRAINED),
    "NCF": Entry(lambda: _ncf("neumf", 40, 0.01, hidden=(8,)), **_TRAINED),
    "NCF-mlp": Entry(lambda: _ncf("mlp", 30, 0.02, hidden=(16,)), **_TRAINED),
    "NCF-gmf": Entry(lambda: _ncf("gmf", 40, 0.01, loss="bpr"), **_TRAINED),
    "LightGCN": Entry(_graph, **_TRAINED),
    "LightGCN-bpr": Entry(lambda: _graph(loss="bpr"), **_TRAINED),
}


def withheld() -> np.ndarray:
    """(U,) the one item of the own group that each user has not taken, but would."""
    first = np.searchsorted(ITEM_GROUPS, USER_GROUPS)
    size = np.bincount(ITEM_GROUPS)[USER_GROUPS]
    return first + np.arange(USER_GROUPS.size) % size


def planted() -> Interactions:
    """Each user takes all items of the own group but one, and one item of another group."""
    taken = USER_GROUPS[:, None] == ITEM_GROUPS
    taken[np.arange(USER_GROUPS.size), withheld()] = False
    stray = (np.arange(USER_GROUPS.size) * 5 + 3) % ITEM_GROUPS.size
    taken[np.arange(USER_GROUPS.size), stray] |= ITEM_GROUPS[stray] != USER_GROUPS
    users, items = np.nonzero(taken)
    return Interactions(users, items, n_users=41, n_items=23)


def random_interactions(seed: int = 0, n_users: int = 17, n_items: int = 11) -> Interactions:
    """Events without structure; the last user and the last item have none."""
    generator = np.random.default_rng(seed)
    taken = generator.random((n_users, n_items)) < 0.4
    taken[-1], taken[:, -1] = False, False
    users, items = np.nonzero(taken)
    return Interactions(users, items, n_users=n_users, n_items=n_items)


def prepared(entry: Entry, train: Interactions) -> Interactions:
    """Events as the model needs them."""
    return rated(train) if entry.needs_ratings and len(train) else train


def rated(train: Interactions) -> Interactions:
    """The same events with ratings from 1 to 5 that depend on user and item."""
    ratings = 1.0 + (train.users * 2 + train.items * 3) % 5
    return Interactions(
        train.users, train.items, ratings=ratings, n_users=train.n_users, n_items=train.n_items
    )


def features(n_items: int, groups: np.ndarray | None = None) -> csr_array:
    """The group of each item as an attribute, and two attributes that cross the groups."""
    groups = np.arange(n_items) % 3 if groups is None else groups
    columns = [groups == value for value in range(3)]
    columns += [np.arange(n_items) % 4 == 1, np.arange(n_items) % 5 != 2]
    return csr_array(np.stack(columns, axis=1).astype(float))


def fit(entry: Entry, train: Interactions, item_features: csr_array | None = None) -> Any:
    """A fitted model."""
    train = prepared(entry, train)
    if not entry.needs_features:
        return entry.make().fit(train)
    if item_features is None:
        item_features = features(train.n_items)
    return entry.make().fit(train, item_features=item_features)


def all_scores(model: Any, train: Interactions) -> np.ndarray:
    return model.score(np.arange(train.n_users))


# --- the checks; each takes an entry ---


def check_constructor_only_stores_its_options(entry: Entry) -> None:
    model = entry.make()
    parameters = inspect.signature(type(model).__init__).parameters
    names = [name for name in parameters if name != "self"]
    assert "seed" in names
    assert all(parameters[name].kind is inspect.Parameter.KEYWORD_ONLY for name in names)
    assert set(vars(model)) == set(names)


def check_fit_returns_the_model_and_leaves_the_input_alone(entry: Entry) -> None:
    train, item_features = prepared(entry, random_interactions()), features(11)
    before = [train.users.copy(), train.items.copy(), item_features.toarray()]
    model = entry.make()
    arguments = {"item_features": item_features} if entry.needs_features else {}
    assert model.fit(train, **arguments) is model
    for old, new in zip(before, [train.users, train.items, item_features.toarray()], strict=True):
        np.testing.assert_array_equal(old, new)


def check_second_fit_starts_afresh(entry: Entry) -> None:
    train, model = random_interactions(), fit(entry, planted())
    arguments = {"item_features": features(11)} if entry.needs_features else {}
    again = model.fit(prepared(entry, train), **arguments)
    np.testing.assert_array_equal(all_scores(again, train), all_scores(fit(entry, train), train))


def check_same_seed_same_result(entry: Entry) -> None:
    train = random_interactions()
    one, two = (all_scores(fit(entry, train), train) for _ in range(2))
    np.testing.assert_array_equal(one, two)


def check_scores_are_finite_float32_of_the_right_shape(entry: Entry) -> None:
    train = random_interactions()  # with a user and an item without events
    scores = all_scores(fit(entry, train), train)
    assert scores.shape == (17, 11)
    assert scores.dtype == np.float32
    assert np.isfinite(scores).all()


def check_batch_equals_single(entry: Entry) -> None:
    train = random_interactions()
    model = fit(entry, train)
    single = np.concatenate([model.score([user]) for user in range(train.n_users)])
    np.testing.assert_allclose(all_scores(model, train), single, rtol=entry.rtol, atol=1e-6)


def check_candidates_are_columns_of_the_full_scores(entry: Entry) -> None:
    train = random_interactions()
    model = fit(entry, train)
    users = np.array([3, 0, 3, 16])
    candidates = np.array([[0, 10, 2], [5, 5, 1], [9, 8, 7], [1, 2, 3]])
    full = model.score(users)
    expected = np.take_along_axis(full, candidates, axis=1)
    found = model.score(users, candidates)
    atol = 1e-6 if entry.candidates_rtol else 0.0
    np.testing.assert_allclose(found, expected, rtol=entry.candidates_rtol, atol=atol)


def check_histories_of_fitted_users_score_like_the_users(entry: Entry) -> None:
    if not entry.from_histories:
        return
    train = random_interactions()
    model = fit(entry, train)
    scores = model.score_histories(train.histories())
    np.testing.assert_allclose(scores, all_scores(model, train), rtol=entry.rtol, atol=1e-6)
    candidates = np.array([[4, 1]])
    one = model.score_histories(train.histories().select([2]), candidates)
    np.testing.assert_allclose(one, scores[2:3, [4, 1]], rtol=entry.rtol, atol=1e-6)


def check_permuting_items_and_users_permutes_scores(entry: Entry) -> None:
    if entry.stochastic:
        return
    train, generator = random_interactions(), np.random.default_rng(1)
    new_user, new_item = generator.permutation(17), generator.permutation(11)
    moved = Interactions(new_user[train.users], new_item[train.items], n_users=17, n_items=11)
    item_features = features(11)
    moved_features = csr_array(item_features.toarray()[np.argsort(new_item)])
    before = all_scores(fit(entry, train, item_features), train)
    after = all_scores(fit(entry, moved, moved_features), moved)
    np.testing.assert_allclose(
        after[new_user][:, new_item], before, rtol=10 * entry.rtol, atol=1e-5
    )


def check_another_seed_gives_another_result_where_chance_plays(entry: Entry) -> None:
    train, model = random_interactions(), entry.make()
    model.seed += 1
    other = all_scores(fit(replace(entry, make=lambda: model), train), train)
    same = np.array_equal(other, all_scores(fit(entry, train), train))
    assert same != entry.stochastic


def check_ids_without_events_change_nothing(entry: Entry) -> None:
    train = random_interactions()
    padded = Interactions(train.users, train.items, n_users=20, n_items=11)
    before, after = (all_scores(fit(entry, part), part) for part in (train, padded))
    options = vars(entry.make())
    # A correlation does count the absent users, and so does a penalty by the weight of a row.
    if "pearson" not in str(options) and not options.get("regularization_exponent"):
        np.testing.assert_allclose(after[:17], before, rtol=entry.rtol, atol=1e-6)
    assert np.isfinite(after).all()


def check_saved_and_loaded_scores_the_same(entry: Entry, folder: Any) -> None:
    train = random_interactions()
    model = fit(entry, train)
    save(model, folder / "model")
    loaded = load(type(model), folder / "model")
    np.testing.assert_array_equal(all_scores(loaded, train), all_scores(model, train))
    assert {n: getattr(loaded, n) for n in vars(entry.make())} == vars(entry.make())


def check_excluded_items_are_never_returned(entry: Entry) -> None:
    train = random_interactions()
    model = fit(entry, train)
    users = np.array([0, 5, 16])
    found = recommend(model, users, k=11, exclude=train)
    assert found.items.shape == found.scores.shape == (3, 11)
    for user, row, scores in zip(users, found.items, found.scores, strict=True):
        taken = train.items[train.users == user]
        assert set(row[row >= 0]) == set(range(11)) - set(taken)
        assert (row[len(row) - len(taken) :] == -1).all()
        assert np.isneginf(scores[row == -1]).all()
        assert (np.diff(scores[row >= 0]) <= 0).all()


def check_cutoff_above_the_catalogue_fills_up(entry: Entry) -> None:
    train = random_interactions()
    found = recommend(fit(entry, train), [1], k=15)
    assert sorted(found.items[0, :11]) == list(range(11))
    assert (found.items[0, 11:] == -1).all()


def check_planted_truth_is_recovered(entry: Entry) -> None:
    train = planted()
    item_features = features(23, ITEM_GROUPS)
    found = recommend(fit(entry, train, item_features), np.arange(41), k=1, exclude=train)
    if entry.personal:
        np.testing.assert_array_equal(found.items[:, 0], withheld())
    else:
        assert (found.items[:, 0] == withheld()).mean() < 0.9


def check_one_user_and_one_item_are_enough(entry: Entry) -> None:
    train = Interactions([0], [0])
    scores = fit(entry, train, features(1)).score([0])
    assert scores.shape == (1, 1)
    assert np.isfinite(scores).all()


def check_bad_input_is_refused_by_name(entry: Entry) -> None:
    model, train = entry.make(), random_interactions()
    name = type(model).__name__
    with pytest.raises(ValueError, match=f"^{name} must be fitted before it scores, got no fit$"):
        model.score([0])
    with pytest.raises(ValueError, match="^train must hold at least one event, got 0$"):
        fit(entry, Interactions([], [], n_users=2, n_items=2), features(2))
    with pytest.raises(ValueError, match="^train must be Interactions, got list$"):
        arguments = {"item_features": features(2)} if entry.needs_features else {}
        entry.make().fit([(0, 1)], **arguments)
    model = fit(entry, train)
    for users, message in [
        ([17], "users must be below 17, got 17"),
        ([-1], "users must be at least 0, got -1"),
        ([0.0], "users must be integers, got float64"),
        (["a"], "users must be integers, got <U1; map external ids with IdMap first"),
        ([[0]], r"users must be one-dimensional, got shape \(1, 1\)"),
    ]:
        with pytest.raises(ValueError, match=f"^{message}$"):
            model.score(users)
    for items, message in [
        ([[11]], "items must be below 11, got 11"),
        ([[0], [1]], r"items must have shape \(1, C\), got \(2, 1\)"),
        ([0], r"items must have shape \(1, C\), got \(1,\)"),
    ]:
        with pytest.raises(ValueError, match=f"^{message}$"):
            model.score([0], items)
    if entry.from_histories:
        with pytest.raises(ValueError, match="^items must be below 11, got 11$"):
            model.score_histories(Histories.from_lists([[11]]))


CHECKS = {name: value for name, value in list(globals().items()) if name.startswith("check_")}
