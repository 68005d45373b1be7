"""EASE against the normal equations, regression item by item, and a general inverse."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from reclib.collaborative import EASE
from reclib.collaborative.linear import ease_weights
from reclib.foundations.interactions import Interactions


def random_matrix(seed: int = 0, shape=(60, 23)) -> np.ndarray:
    generator = np.random.default_rng(seed)
    return (generator.random(shape) < np.linspace(0.1, 0.6, shape[1])).astype(float)


def interactions(matrix: np.ndarray) -> Interactions:
    users, items = np.nonzero(matrix)
    return Interactions(users, items, n_users=len(matrix), n_items=matrix.shape[1])


def by_inverse(matrix: np.ndarray, regularization: float) -> np.ndarray:
    """The formula of the paper with a general inverse in float64."""
    inverse = np.linalg.inv(matrix.T @ matrix + regularization * np.eye(matrix.shape[1]))
    weights = inverse / -np.diag(inverse)
    np.fill_diagonal(weights, 0)
    return weights


@pytest.mark.parametrize("regularization", [0.5, 20.0])
def test_weights_equal_the_formula_of_the_paper(regularization: float) -> None:
    matrix = random_matrix()
    model = EASE(regularization=regularization).fit(interactions(matrix))
    expected = by_inverse(matrix, regularization)
    np.testing.assert_allclose(model.item_weights_, expected, rtol=1e-4, atol=1e-5)
    assert not np.diag(model.item_weights_).any()


def test_each_column_is_a_ridge_regression_on_the_other_items() -> None:
    matrix = random_matrix(1)
    model = EASE(regularization=4.0).fit(interactions(matrix))
    for item in range(matrix.shape[1]):
        others = np.delete(np.arange(matrix.shape[1]), item)
        ridge = Ridge(alpha=4.0, fit_intercept=False).fit(matrix[:, others], matrix[:, item])
        np.testing.assert_allclose(
            model.item_weights_[others, item], ridge.coef_, rtol=1e-3, atol=1e-5
        )


def test_weights_are_not_symmetric_and_scores_use_them_the_right_way_round() -> None:
    matrix = random_matrix(2)
    model = EASE(regularization=2.0).fit(interactions(matrix))
    assert np.abs(model.item_weights_ - model.item_weights_.T).max() > 0.05
    expected = matrix @ by_inverse(matrix, 2.0)
    np.testing.assert_allclose(model.score(np.arange(60)), expected, rtol=1e-4, atol=1e-5)


def test_the_gram_matrix_is_overwritten_not_copied() -> None:
    gram = np.asfortranarray(random_matrix().T @ random_matrix(), dtype=np.float32)
    weights = ease_weights(gram, 1.0)
    assert np.shares_memory(weights, gram)


def test_mirroring_works_across_block_borders() -> None:
    matrix = random_matrix(3, (40, 1030))  # more items than one block holds
    model = EASE(regularization=5.0).fit(interactions(matrix))
    expected = by_inverse(matrix, 5.0)
    np.testing.assert_allclose(model.item_weights_, expected, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan")])
def test_regularization_must_be_positive(value: float) -> None:
    with pytest.raises(ValueError, match=f"^regularization must be above 0, got {value}$"):
        EASE(regularization=value).fit(interactions(random_matrix()))


def test_a_regularization_lost_in_rounding_is_refused() -> None:
    twice = np.repeat(random_matrix(), 2, axis=1)  # each item stands twice: singular
    with pytest.raises(ValueError, match="^regularization must be larger for float32, got 1e-12$"):
        EASE(regularization=1e-12).fit(interactions(twice))
