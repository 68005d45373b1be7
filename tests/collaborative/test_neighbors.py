"""Neighbours against double loops, scipy, scikit-learn and implicit."""

import math
import warnings

import numpy as np
import pytest
from scipy.sparse import csr_array, csr_matrix
from scipy.stats import pearsonr
from sklearn.metrics import pairwise_distances
from sklearn.metrics.pairwise import cosine_similarity

from reclib.collaborative import ItemKNN, UserKNN
from reclib.collaborative.neighbors import similarities, top_per_row
from reclib.foundations.interactions import Histories, Interactions
from reclib.foundations.recommender import recommend


def random_matrix(seed: int = 0, shape=(30, 17), weighted: bool = True) -> np.ndarray:
    """Users by items, skewed: columns are not exchangeable."""
    generator = np.random.default_rng(seed)
    present = generator.random(shape) < np.linspace(0.1, 0.7, shape[1])
    return present * (generator.integers(1, 4, shape) if weighted else 1.0)


def interactions(matrix: np.ndarray, ratings: bool = False) -> Interactions:
    users, items = np.nonzero(matrix)
    values = matrix[users, items]
    column = {"ratings" if ratings else "weights": values}
    return Interactions(users, items, n_users=len(matrix), n_items=matrix.shape[1], **column)


def overlap(matrix: np.ndarray) -> np.ndarray:
    present = (matrix != 0).astype(float)
    return present @ present.T


@pytest.mark.parametrize("shrinkage", [0.0, 5.0])
@pytest.mark.parametrize("kind", ["cosine", "jaccard", "pearson"])
def test_similarities_equal_independent_libraries(kind: str, shrinkage: float) -> None:
    matrix = random_matrix()
    expected = {
        "cosine": lambda: cosine_similarity(matrix),
        "jaccard": lambda: 1 - pairwise_distances(matrix != 0, metric="jaccard"),
        "pearson": lambda: np.corrcoef(matrix),
    }[kind]()
    common = overlap(matrix)
    expected = np.where(common > 0, expected * common / np.maximum(common + shrinkage, 1e-9), 0)
    sparse = csr_array(matrix)
    found = similarities(sparse, sparse, kind=kind, shrinkage=shrinkage).toarray()
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12)


def test_similarities_of_other_rows_are_not_transposed() -> None:
    queries, rows = random_matrix(1, (4, 9)), random_matrix(2, (6, 9))
    found = similarities(csr_array(queries), csr_array(rows))
    assert found.shape == (4, 6)
    np.testing.assert_allclose(found.toarray(), cosine_similarity(queries, rows), rtol=1e-10)


@pytest.mark.parametrize("k", [1, 3, 8, 100])
def test_top_per_row_equals_a_sort_with_ties(k: int) -> None:
    generator = np.random.default_rng(k)
    matrix = generator.integers(-1, 4, (40, 60)) * (generator.random((40, 60)) < 0.4)
    matrix[3] = 0
    found = top_per_row(csr_array(matrix.astype(float)), k, diagonal=2).toarray()
    expected = np.zeros_like(found)
    for j, row in enumerate(matrix):
        order = [i for i in range(60) if row[i] > 0 and i != j + 2]
        for i in sorted(order, key=lambda i, row=row: (-row[i], i))[:k]:
            expected[j, i] = row[i]
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("n_neighbors", [1, 4, 50])
@pytest.mark.parametrize("kind", ["cosine", "jaccard"])
def test_item_scores_equal_a_double_loop(kind: str, n_neighbors: int) -> None:
    matrix = random_matrix(3)
    model = ItemKNN(n_neighbors=n_neighbors, similarity=kind, shrinkage=2.0)
    model.fit(interactions(matrix))
    sparse = csr_array(matrix.T.astype(float))
    full = similarities(sparse, sparse, kind=kind, shrinkage=2.0).toarray()
    n_users, n_items = matrix.shape
    expected = np.zeros(matrix.shape)
    for j in range(n_items):
        others = [i for i in range(n_items) if i != j and full[j, i] > 0]
        for i in sorted(others, key=lambda i, j=j: (-full[j, i], i))[:n_neighbors]:
            for u in range(n_users):
                expected[u, i] += matrix[u, j] * full[j, i]
    np.testing.assert_allclose(model.score(np.arange(n_users)), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("n_neighbors", [1, 4, 50])
def test_user_scores_equal_a_double_loop(n_neighbors: int) -> None:
    matrix = random_matrix(4)
    matrix[7] = matrix[2]  # the same items: no neighbours of each other
    model = UserKNN(n_neighbors=n_neighbors).fit(interactions(matrix))
    full = cosine_similarity(matrix)
    sets = [set(np.flatnonzero(row)) for row in matrix]
    expected = np.zeros(matrix.shape)
    for u in range(len(matrix)):
        others = [v for v in range(len(matrix)) if sets[v] != sets[u] and full[u, v] > 1e-12]
        for v in sorted(others, key=lambda v, u=u: (-full[u, v], v))[:n_neighbors]:
            expected[u] += full[u, v] * matrix[v]
    found = model.score(np.arange(len(matrix)))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def rated() -> np.ndarray:
    """12 users by 8 items, ratings 1 to 5, 0 for none."""
    generator = np.random.default_rng(5)
    return generator.integers(1, 6, (12, 8)) * (generator.random((12, 8)) < 0.7)


def test_pearson_of_ratings_is_scipys_over_the_users_who_rated_both() -> None:
    matrix = rated()
    model = ItemKNN(n_neighbors=8, similarity="pearson", shrinkage=3.0)
    model.fit(interactions(matrix, ratings=True))
    found = model.item_weights_.toarray()
    checked = 0
    for j in range(8):
        for i in range(8):
            both = (matrix[:, j] > 0) & (matrix[:, i] > 0)
            x, y = matrix[both, j], matrix[both, i]
            if i == j or both.sum() < 2 or len(set(x)) == 1 or len(set(y)) == 1:
                continue
            expected = pearsonr(x, y).statistic * both.sum() / (both.sum() + 3)
            assert found[j, i] == pytest.approx(max(expected, 0), rel=1e-5, abs=1e-6)
            checked += 1
    assert checked > 40


def test_item_predictions_are_the_mean_moved_by_the_weighted_deviations() -> None:
    matrix = rated()
    model = ItemKNN(n_neighbors=3).fit(interactions(matrix, ratings=True))
    weights = model.item_weights_.toarray().astype(float)
    means = [np.mean(column[column > 0]) for column in matrix.T]
    users, items = (grid.ravel() for grid in np.meshgrid(range(12), range(8), indexing="ij"))
    for u, i, found in zip(users, items, model.predict(users, items), strict=True):
        js = [j for j in range(8) if matrix[u, j] > 0 and weights[j, i] > 0]
        total = sum(weights[j, i] for j in js)
        moved = sum(weights[j, i] * (matrix[u, j] - means[j]) for j in js)
        expected = means[i] + (moved / total if total else 0)
        assert found == pytest.approx(expected, rel=1e-6)


def test_user_predictions_are_the_mean_moved_by_the_weighted_deviations() -> None:
    matrix = rated()
    model = UserKNN(n_neighbors=4).fit(interactions(matrix, ratings=True))
    weights = model.neighbors(np.arange(12)).toarray()
    means = [np.mean(row[row > 0]) for row in matrix]
    users, items = (grid.ravel() for grid in np.meshgrid(range(12), range(8), indexing="ij"))
    for u, i, found in zip(users, items, model.predict(users, items), strict=True):
        vs = [v for v in range(12) if matrix[v, i] > 0 and weights[u, v] > 0]
        total = sum(weights[u, v] for v in vs)
        moved = sum(weights[u, v] * (matrix[v, i] - means[v]) for v in vs)
        expected = means[u] + (moved / total if total else 0)
        assert found == pytest.approx(expected, rel=1e-6)


def test_an_item_nobody_rated_is_predicted_at_the_mean_of_all_ratings() -> None:
    train = Interactions([0, 1], [0, 1], ratings=[2, 5], n_items=3)
    assert ItemKNN().fit(train).predict([0], [2]) == pytest.approx(3.5)


@pytest.mark.parametrize("model", [ItemKNN(), UserKNN()], ids=["items", "users"])
def test_predictions_need_ratings_and_pairs(model) -> None:
    fitted = model.fit(Interactions([0, 1], [0, 0]))
    with pytest.raises(ValueError, match="^train must have ratings to predict them, got none$"):
        fitted.predict([0], [0])
    fitted = model.fit(Interactions([0, 1], [0, 0], ratings=[1, 2]))
    with pytest.raises(ValueError, match=r"^items must have shape \(1,\), got \(2,\)$"):
        fitted.predict([0], [0, 0])


@pytest.mark.parametrize("kind", [ItemKNN, UserKNN])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_neighbors": 0}, "n_neighbors must be at least 1, got 0"),
        ({"shrinkage": -1.0}, "shrinkage must be at least 0, got -1.0"),
        (
            {"similarity": "dice"},
            "similarity must be one of cosine, jaccard, pearson, got 'dice'",
        ),
    ],
)
def test_bad_options_are_refused_at_fit(kind, options, message) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        kind(**options).fit(Interactions([0, 1], [0, 0]))


def test_a_user_with_nothing_in_common_scores_zero() -> None:
    train = Interactions([0, 0, 1], [0, 1, 2], n_users=3)
    assert not UserKNN().fit(train).score([1, 2]).any()
    assert not ItemKNN().fit(train).score_histories(Histories.from_lists([[]])).any()


@pytest.mark.oracle
def test_neighbours_weights_and_lists_equal_implicits() -> None:
    implicit = pytest.importorskip("implicit.nearest_neighbours")
    # Real-valued weights, so that no two similarities tie and the lists have one right order.
    matrix = random_matrix(6, (200, 60)) * np.random.default_rng(7).uniform(0.5, 1.5, (200, 60))
    train, counts = interactions(matrix), csr_matrix(matrix)
    peer = implicit.CosineRecommender(K=11, num_threads=1)  # it counts the item itself as one
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", implicit_utils().ParameterWarning)
        peer.fit(counts, show_progress=False)
    theirs = peer.similarity.toarray()
    np.fill_diagonal(theirs, 0)
    model = ItemKNN(n_neighbors=10).fit(train)
    assert (np.diff(model.item_weights_.indptr) == 10).all()
    np.testing.assert_allclose(model.item_weights_.toarray(), theirs, rtol=1e-6, atol=1e-7)
    ids, scores = peer.recommend(np.arange(200), counts, N=10)
    found = recommend(model, np.arange(200), k=10, exclude=train)
    filled = scores > 0
    assert filled.mean() > 0.9
    np.testing.assert_array_equal(found.items[filled], ids[filled])
    np.testing.assert_allclose(found.scores[filled], scores[filled], rtol=1e-5)


def implicit_utils():
    return pytest.importorskip("implicit.utils")


def test_shrinkage_halves_a_similarity_at_as_many_common_users() -> None:
    train = Interactions([0, 0, 1, 1], [0, 1, 0, 1])
    weights = ItemKNN(shrinkage=2.0).fit(train).item_weights_
    assert math.isclose(weights[0, 1], 0.5, rel_tol=1e-6)
