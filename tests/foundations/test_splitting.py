"""Splits: what goes where, that nothing leaks, and what is said about what was dropped."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reclib.foundations.interactions import Interactions
from reclib.foundations.splitting import Split, split_last, split_random, split_time


def example() -> Interactions:
    return Interactions(
        [0, 0, 0, 0, 1, 1, 2, 2, 2],
        [5, 6, 7, 8, 5, 6, 8, 8, 1],
        timestamps=[10, 20, 30, 40, 15, 35, 5, 25, 45],
        n_users=4,
    )


def parts(split: Split) -> list[list[tuple[int, int]]]:
    columns = (split.train, split.validation, split.test)
    return [list(zip(p.users.tolist(), p.items.tolist(), strict=True)) for p in columns]


def test_last_events_go_to_test_and_the_ones_before_to_validation() -> None:
    split = split_last(example())
    assert parts(split) == [
        [(0, 5), (0, 6), (1, 5), (1, 6), (2, 8)],
        [(0, 7), (2, 8)],
        [(0, 8), (2, 1)],
    ]


def test_users_too_short_to_test_stay_in_train_and_are_counted() -> None:
    assert split_last(example()).dropped == {"users too short to test": 1}
    assert split_last(example(), n_validation=0, n_test=3).dropped == {"users too short to test": 2}


def test_time_splits_all_users_at_one_moment() -> None:
    split = split_time(example(), at=30, validation_at=20)
    assert parts(split) == [
        [(0, 5), (1, 5), (2, 8)],
        [(0, 6), (2, 8)],
        [(0, 7), (0, 8), (1, 6), (2, 1)],
    ]
    assert split.train.timestamps.max() < 20 <= split.validation.timestamps.min()
    assert split.validation.timestamps.max() < 30 <= split.test.timestamps.min()


def test_time_split_counts_users_that_nobody_knew() -> None:
    interactions = Interactions([0, 1], [0, 0], timestamps=[1, 2])
    assert split_time(interactions, at=2).dropped == {"test users without train events": 1}


def test_random_split_keeps_all_events_of_a_pair_together() -> None:
    repeated = Interactions([0] * 6 + [1] * 6, [0, 0, 1, 1, 2, 2] * 2)
    split = split_random(repeated, 0.5, seed=3)
    assert len(split.test) == len(split.train) == 6
    train, _, test = (set(part) for part in parts(split))
    assert not train & test


def test_random_split_has_the_stated_shares_and_depends_on_the_seed_only() -> None:
    interactions = Interactions(np.repeat(np.arange(50), 20), np.tile(np.arange(20), 50))
    one = split_random(interactions, 0.2, seed=1, validation_fraction=0.1)
    assert [len(p) for p in (one.train, one.validation, one.test)] == [700, 100, 200]
    assert parts(one) == parts(split_random(interactions, 0.2, seed=1, validation_fraction=0.1))
    assert parts(one) != parts(split_random(interactions, 0.2, seed=2, validation_fraction=0.1))


def test_random_split_is_uniform_over_pairs() -> None:
    interactions = Interactions(np.repeat(np.arange(40), 5), np.tile(np.arange(5), 40))
    held = sum(np.bincount(split_random(interactions, 0.2, s).test.items) for s in range(100))
    # 4,000 draws over 5 items: 800 each, standard deviation about 25
    assert np.abs(held - 800).max() < 5 * 25


def test_train_and_validation_joins_all_columns_in_order() -> None:
    interactions = Interactions(
        [0, 0, 0, 1, 1, 1], [1, 2, 3, 3, 2, 1], timestamps=[1, 2, 3, 4, 5, 6], weights=[1] * 6
    )
    joined = split_last(interactions).train_and_validation
    assert joined.items.tolist() == [1, 2, 3, 2]
    assert joined.timestamps.tolist() == [1, 2, 4, 5]
    assert joined.weights.tolist() == [1, 1, 1, 1]
    assert (joined.n_users, joined.n_items) == (2, 4)


def test_a_leaking_split_trips_its_own_assertion() -> None:
    from reclib.foundations.splitting import _assert_each_user_in_order

    good = split_last(example())
    _assert_each_user_in_order(good)
    with pytest.raises(AssertionError, match="leak"):
        _assert_each_user_in_order(Split(good.test, good.validation, good.train, "reversed"))


events = st.lists(
    st.tuples(st.integers(0, 4), st.integers(0, 6), st.integers(0, 20)), min_size=2, max_size=40
)


@settings(max_examples=50, deadline=None)
@given(events, st.integers(0, 3))
def test_parts_are_disjoint_and_complete(rows: list, seed: int) -> None:
    users, items, times = zip(*rows, strict=True)
    interactions = Interactions(users, items, timestamps=times)
    splits = [split_last(interactions), split_random(interactions, 0.4, seed)]
    if min(times) < max(times):
        splits.append(split_time(interactions, max(times)))
    for split in splits:
        together = sorted(event for part in parts(split) for event in part)
        expected = zip(interactions.users.tolist(), interactions.items.tolist(), strict=True)
        assert together == sorted(expected)
        assert {p.n_items for p in (split.train, split.test)} == {interactions.n_items}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: split_last(x, n_test=0), "n_test must be at least 1, got 0"),
        (lambda x: split_last(x, n_validation=-1), "n_validation must be at least 0, got -1"),
        (lambda x: split_random(x, 0.0), "fraction must be above 0 and below 1, got 0.0"),
        (lambda x: split_random(x, 1.0), "fraction must be above 0 and below 1, got 1.0"),
        (
            lambda x: split_random(x, 0.5, validation_fraction=0.5),
            "validation_fraction must be at least 0 and below 0.5, got 0.5",
        ),
        (
            lambda x: split_time(x, at=5),
            r"at and validation_at must lie in \(5, 45\], got 5 and 5",
        ),
        (
            lambda x: split_time(x, at=46),
            r"at and validation_at must lie in \(5, 45\], got 46 and 46",
        ),
        (lambda x: split_time(x, at=20, validation_at=30), "validation_at must be at most 20"),
        (
            lambda x: split_time(Interactions(x.users, x.items), at=20),
            "interactions must have timestamps to be split by time, got none",
        ),
        (
            lambda x: split_last(Interactions([], [])),
            "interactions must hold at least one event, got 0",
        ),
    ],
)
def test_bad_arguments_are_refused(call, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        call(example())
