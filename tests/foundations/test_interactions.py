"""Interactions, Histories, IdMap and Triples: order, shapes, and every refusal."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reclib.foundations.interactions import Histories, IdMap, Interactions, Triples, checked_ids


def example() -> Interactions:
    return Interactions(
        [2, 0, 0, 2, 2, 0],
        [1, 1, 3, 1, 0, 0],
        timestamps=[5, 3, 3, 1, 9, 8],
        ratings=[5, 4, 3, 2, 1, 5],
        weights=[1, 2, 0.5, 1, 1, 3],
        n_users=4,
    )


def test_events_are_sorted_by_user_then_time_then_input_position() -> None:
    rows = example().to_frame()
    assert list(rows["user"]) == [0, 0, 0, 2, 2, 2]
    assert list(rows["item"]) == [1, 3, 0, 1, 1, 0]
    assert list(rows["timestamp"]) == [3, 3, 8, 1, 5, 9]
    assert list(rows["rating"]) == [4, 3, 5, 2, 5, 1]
    assert list(rows["weight"]) == [2, 0.5, 3, 1, 1, 1]


def test_without_timestamps_the_input_order_of_a_user_is_kept() -> None:
    interactions = Interactions([1, 0, 1, 0], [5, 4, 3, 2])
    assert list(interactions.items) == [4, 2, 5, 3]


def test_sizes_are_one_more_than_the_largest_id_or_as_given() -> None:
    interactions = example()
    assert (interactions.n_users, interactions.n_items, len(interactions)) == (4, 4, 6)


def test_columns_cannot_be_written_and_are_copies() -> None:
    users = np.array([0, 1])
    interactions = Interactions(users, [0, 0])
    users[0] = 7
    assert interactions.users[0] == 0
    with pytest.raises(ValueError, match="read-only"):
        interactions.users[0] = 1
    with pytest.raises(AttributeError):
        interactions.n_users = 3


def test_matrix_sums_the_weights_of_repeats_and_keeps_the_latest_rating() -> None:
    weights = example().matrix().toarray()
    np.testing.assert_array_equal(weights[0], [3, 2, 0, 0.5])
    np.testing.assert_array_equal(weights[2], [1, 2, 0, 0])
    ratings = example().matrix("ratings").toarray()
    np.testing.assert_array_equal(ratings[2], [1, 5, 0, 0])
    assert weights.shape == (4, 4)
    assert Interactions([0, 0], [1, 1]).matrix().toarray().tolist() == [[0, 2]]


def test_histories_are_one_row_for_each_user_oldest_first() -> None:
    histories = example().histories()
    assert [list(row) for row in histories] == [[1, 3, 0], [], [1, 1, 0], []]
    assert list(histories.lengths) == [3, 0, 3, 0]
    assert list(histories.timestamps) == [3, 3, 8, 1, 5, 9]


def test_deduplicated_keeps_the_first_event_of_a_pair() -> None:
    rows = example().deduplicated().to_frame()
    assert list(rows["item"]) == [1, 3, 0, 1, 0]
    assert list(rows["timestamp"]) == [3, 3, 8, 1, 9]


def test_select_takes_a_mask_or_row_numbers_and_keeps_the_sizes() -> None:
    interactions = example()
    assert list(interactions.select(interactions.users == 2).items) == [1, 1, 0]
    chosen = interactions.select([0])
    assert (list(chosen.items), chosen.n_users, chosen.n_items) == ([1], 4, 4)


def test_item_counts_count_events() -> None:
    assert list(example().item_counts()) == [2, 3, 0, 1]


def test_from_frame_numbers_external_ids_in_sorted_order() -> None:
    frame = pd.DataFrame({"who": ["b", "a", "b"], "what": [30, 10, 20], "when": [2, 1, 1]})
    interactions, users, items = Interactions.from_frame(
        frame, user="who", item="what", timestamp="when"
    )
    assert list(users.decode(interactions.users)) == ["a", "b", "b"]
    assert list(items.decode(interactions.items)) == [10, 20, 30]
    with pytest.raises(KeyError, match="columns must be in the frame, got no 'user'"):
        Interactions.from_frame(frame)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(users=[-1], items=[0]), "users must be at least 0, got -1"),
        (dict(users=[0], items=[-3]), "items must be at least 0, got -3"),
        (dict(users=[0.5], items=[0]), "users must be integers, got float64"),
        (dict(users=[0], items=[True]), "items must be integers, got bool"),
        (
            dict(users=["a"], items=[0]),
            "users must be integers, got <U1; map external ids with IdMap first",
        ),
        (dict(users=[[0]], items=[0]), r"users must be one-dimensional, got shape \(1, 1\)"),
        (dict(users=[0, 1], items=[0]), r"items must have shape \(2,\), got \(1,\)"),
        (
            dict(users=[0], items=[0], weights=[1.0, 2.0]),
            r"weights must have shape \(1,\), got \(2,\)",
        ),
        (
            dict(users=[0], items=[0], ratings=[[1.0]]),
            r"ratings must have shape \(1,\), got \(1, 1\)",
        ),
        (dict(users=[0], items=[0], weights=[np.nan]), "weights must be finite, got nan"),
        (dict(users=[0], items=[0], weights=[-0.5]), "weights must be at least 0, got -0.5"),
        (dict(users=[0], items=[0], ratings=[np.inf]), "ratings must be finite, got inf"),
        (dict(users=[0], items=[0], timestamps=["x"]), "timestamps must be numbers, got <U1"),
        (
            dict(users=[4], items=[0], n_users=3),
            r"n_users must be at least 5 \(the largest id plus one\), got 3",
        ),
        (
            dict(users=[0], items=[4], n_items=4),
            r"n_items must be at least 5 \(the largest id plus one\), got 4",
        ),
    ],
)
def test_bad_interactions_are_refused(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        Interactions(**arguments)


def test_ratings_matrix_needs_ratings() -> None:
    with pytest.raises(ValueError, match="^values must be 'weights' where no ratings were given"):
        Interactions([0], [0]).matrix("ratings")
    with pytest.raises(ValueError, match="^values must be 'weights' or 'ratings', got 'counts'$"):
        Interactions([0], [0]).matrix("counts")


def test_empty_interactions_are_allowed_until_something_learns_from_them() -> None:
    empty = Interactions([], [], n_users=2, n_items=3)
    assert empty.matrix().shape == (2, 3)
    assert [list(row) for row in empty.histories()] == [[], []]


lists = st.lists(st.lists(st.integers(0, 9), max_size=6), min_size=1, max_size=6)


@settings(max_examples=50, deadline=None)
@given(lists, st.integers(1, 7))
def test_histories_agree_with_plain_lists(rows: list[list[int]], n: int) -> None:
    histories = Histories.from_lists(rows)
    assert [list(row) for row in histories] == rows
    assert [list(row) for row in histories.last(n)] == [row[-n:] for row in rows]
    assert [list(row) for row in histories.select(range(len(rows))[::-1])] == rows[::-1]
    expected = np.array([[row.count(item) for item in range(10)] for row in rows])
    np.testing.assert_array_equal(histories.matrix(10).toarray(), expected)
    padded = [[-1] * (n - len(row[-n:])) + row[-n:] for row in rows]
    np.testing.assert_array_equal(histories.pad(n), padded)


def test_padding_may_not_be_an_item() -> None:
    histories = Histories.from_lists([[3, 1]])
    assert histories.pad(3, padding=4).tolist() == [[4, 3, 1]]
    for padding in (0, 3):
        with pytest.raises(ValueError, match=f"^padding must be no item id, got {padding}$"):
            histories.pad(3, padding=padding)


@pytest.mark.parametrize(
    ("items", "offsets", "message"),
    [
        ([1, 2], [0, 1], r"offsets must run from 0 to 2, got \[0 1\]"),
        ([1, 2], [1, 2], r"offsets must run from 0 to 2, got \[1 2\]"),
        ([1, 2], [], r"offsets must run from 0 to 2, got \[\]"),
        ([1, 2], [0, 2, 1, 2], r"offsets must not decrease, got \[0 2 1 2\]"),
        ([-1], [0, 1], "items must be at least 0, got -1"),
    ],
)
def test_bad_histories_are_refused(items: list, offsets: list, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        Histories(items, offsets)


def test_histories_refuse_rows_and_lengths_out_of_range() -> None:
    histories = Histories.from_lists([[1], [2]])
    with pytest.raises(IndexError, match="row must be below 2, got 2"):
        histories[2]
    with pytest.raises(ValueError, match="^rows must be below 2, got 5$"):
        histories.select([5])
    with pytest.raises(ValueError, match="^n must be at least 1, got 0$"):
        histories.last(0)
    with pytest.raises(ValueError, match="^items must be below 2, got 2$"):
        histories.matrix(2)


def test_id_map_goes_there_and_back_and_names_what_it_does_not_know() -> None:
    ids = IdMap(["pen", "cup", "pen"])
    assert len(ids) == 2
    assert list(ids.encode(["pen", "cup"])) == [1, 0]
    assert list(ids.decode([1, 0])) == ["pen", "cup"]
    with pytest.raises(KeyError, match="ids must be known to the map, got 'hat'"):
        ids.encode(["hat"])
    with pytest.raises(ValueError, match="^internal must be below 2, got 2$"):
        ids.decode([2])


def test_triples_know_their_sizes_and_refuse_uneven_columns() -> None:
    triples = Triples([0, 4], [1, 0], [2, 2])
    assert (len(triples), triples.n_entities, triples.n_relations) == (2, 5, 2)
    with pytest.raises(ValueError, match=r"^tails must have shape \(2,\), got \(1,\)$"):
        Triples([0, 1], [0, 0], [1])


def test_checked_ids_returns_a_copy() -> None:
    ids = np.array([1, 2])
    assert not np.shares_memory(checked_ids(ids, "ids"), ids)
