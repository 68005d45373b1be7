"""recommend against a plain sort, and the small pieces that the models share."""

import numpy as np
import pytest
from scipy.sparse import csc_array, csr_array

from reclib.foundations.interactions import Histories, Interactions
from reclib.foundations.recommender import (
    history_rows,
    linear_scores,
    pack,
    recommend,
    take_candidates,
    unpack,
)


class Fixed:
    """A model whose scores are given, by user or by the last item of a history."""

    def __init__(self, scores: np.ndarray) -> None:
        self.scores = np.asarray(scores, dtype=np.float32)

    def score(self, users):
        return self.scores[users]

    def score_histories(self, histories):
        return self.scores[[row[-1] for row in histories]]


@pytest.mark.parametrize("levels", [1, 2, 5, 100_000])
@pytest.mark.parametrize("batch_size", [None, 4])
def test_lists_equal_a_plain_sort_with_and_without_ties(levels, batch_size) -> None:
    generator = np.random.default_rng(levels)
    scores = generator.integers(0, levels, (25, 31)).astype(np.float32)
    exclude = [generator.choice(31, generator.integers(0, 29), replace=False) for _ in range(25)]
    users = generator.permutation(25)
    found = recommend(
        Fixed(scores),
        users,
        k=6,
        exclude=Histories.from_lists([exclude[u] for u in users]),
        batch_size=batch_size,
    )
    for user, items, values in zip(users, found.items, found.scores, strict=True):
        allowed = set(range(31)) - set(exclude[user].tolist())
        expected = sorted(allowed, key=lambda i, s=scores[user]: (-s[i], i))[:6]
        assert items[items >= 0].tolist() == expected
        assert (items[len(expected) :] == -1).all()
        assert values[: len(expected)].tolist() == scores[user][expected].tolist()


def test_histories_can_be_asked_instead_of_users() -> None:
    found = recommend(Fixed(np.eye(4)), histories=Histories.from_lists([[0, 2], [1]]), k=1)
    assert found.items.tolist() == [[2], [1]]


def test_interactions_exclude_the_items_of_each_user() -> None:
    train = Interactions([0, 2], [1, 3], n_users=3, n_items=4)
    scores = np.tile([1, 2, 3, 4], (3, 1))
    found = recommend(Fixed(scores), [2, 0], k=4, exclude=train)
    assert found.items.tolist() == [[2, 1, 0, -1], [3, 2, 0, -1]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(users=[0], k=0), "k must be at least 1, got 0"),
        (dict(k=1), "users or histories must be given, not both, got both or neither"),
        (
            dict(users=[0], histories=Histories.from_lists([[0]]), k=1),
            "users or histories must be given, not both, got both or neither",
        ),
        (dict(users=[-1], k=1), "users must be at least 0, got -1"),
        (
            dict(users=[0], k=1, exclude=Histories.from_lists([[], []])),
            "exclude must have 1 rows, got 2",
        ),
        (
            dict(users=[0], k=1, exclude=Histories.from_lists([[9]])),
            "exclude must be below 3, got 9",
        ),
        (
            dict(histories=Histories.from_lists([[0]]), k=1, exclude=Interactions([0], [0])),
            "exclude must be histories where no users are given, got Interactions",
        ),
    ],
)
def test_bad_input_is_refused(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        recommend(Fixed(np.eye(3)), **arguments)


def test_no_rows_give_no_lists() -> None:
    assert recommend(Fixed(np.eye(3)), [], k=2).items.shape == (0, 2)


@pytest.mark.parametrize("sparse", [True, False])
def test_linear_scores_are_the_plain_double_sum(sparse: bool) -> None:
    generator = np.random.default_rng(0)
    rows = (generator.random((5, 7)) < 0.5) * generator.integers(1, 3, (5, 7))
    weights = generator.random((7, 7)).astype(np.float32)
    expected = [
        [sum(rows[u, j] * weights[j, i] for j in range(7)) for i in range(7)] for u in range(5)
    ]
    found = linear_scores(csr_array(rows), csr_array(weights) if sparse else weights)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert found.dtype == np.float32


def test_history_rows_come_from_the_matrix_or_from_histories() -> None:
    matrix = csr_array(np.array([[1.0, 0, 2], [0, 0, 3]], dtype=np.float32))
    assert history_rows(matrix, [1, 0]).toarray().tolist() == [[0, 0, 3], [1, 0, 2]]
    rows = history_rows(matrix, Histories.from_lists([[2, 2, 0]]))
    assert rows.toarray().tolist() == [[1, 0, 2]]
    assert rows.dtype == np.float32


def test_take_candidates_keeps_the_order_asked_for() -> None:
    scores = np.array([[1.0, 2, 3], [4, 5, 6]])
    assert take_candidates(scores, [[2, 2], [0, 1]]).tolist() == [[3, 3], [4, 5]]
    assert take_candidates(scores, None) is scores


def test_pack_and_unpack_are_inverse_for_sparse_dense_and_missing() -> None:
    class Model:
        pass

    one, two = Model(), Model()
    one.a_, one.b_, one.c_ = csr_array(np.eye(2, 3)), np.arange(3.0), None
    unpack(two, pack(one, "a_", "b_", "c_"), "a_", "b_", "c_")
    assert two.a_.toarray().tolist() == np.eye(2, 3).tolist()
    one.a_ = csc_array(np.eye(2, 3))  # what the product of a transpose and a matrix gives
    unpack(two, pack(one, "a_"), "a_")
    assert two.a_.toarray().tolist() == np.eye(2, 3).tolist()
    assert two.b_.tolist() == [0, 1, 2]
    assert two.c_ is None
