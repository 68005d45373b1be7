"""Batches against the table they come from, and negatives against a list of all free items."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from reclib.foundations.batching import (
    PairBatch,
    Pairs,
    Rows,
    UserBatch,
    UserRows,
    _FreeItems,
    sample_negatives,
)
from reclib.foundations.interactions import Interactions


def random_events(seed: int = 0, n_users: int = 23, n_items: int = 37, n: int = 301):
    """Events with repeats; user 0 and item 0 have none."""
    generator = np.random.default_rng(seed)
    users, items = generator.integers(1, n_users, n), generator.integers(1, n_items, n)
    return Interactions(users, items, n_users=n_users, n_items=n_items)


def joined(batches) -> list[torch.Tensor]:
    """The columns of all batches, end to end."""
    return [torch.cat(column) for column in zip(*batches, strict=True)]


def makers(train: Interactions, seed: int = 0) -> dict:
    """The three kinds of batches, by the number of rows in one."""
    return {
        "rows": lambda size: Rows(train.users, train.items, batch_size=size, seed=seed),
        "pairs": lambda size: Pairs(train, batch_size=size, n_negatives=3, seed=seed),
        "users": lambda size: UserRows(train, batch_size=size, seed=seed),
    }


KINDS = ["rows", "pairs", "users"]


# --- negatives ---------------------------------------------------------------------------------


class Enumerated:
    """A stand-in for a generator that deals out every place once: 0, 1, .. in each row."""

    def integers(self, low: int, high: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        return np.broadcast_to(np.arange(size[1]), size) % high


def test_every_place_is_another_free_item() -> None:
    train = random_events()
    taken = train.matrix().toarray() > 0
    for user in range(train.n_users):
        free = np.flatnonzero(~taken[user])
        negatives = _FreeItems(train).draw(np.array([user]), free.size, Enumerated())
        np.testing.assert_array_equal(negatives[0], free)  # the slow version: a list of them all


@given(st.data())
@settings(deadline=None, max_examples=150)
def test_negatives_are_never_positives(data) -> None:
    n_users, n_items = data.draw(st.integers(1, 6)), data.draw(st.integers(1, 6))
    taken = np.array(
        data.draw(st.lists(st.booleans(), min_size=n_users * n_items, max_size=n_users * n_items))
    ).reshape(n_users, n_items)
    users, items = np.nonzero(taken)
    train = Interactions(users, items, n_users=n_users, n_items=n_items)
    everyone = np.arange(n_users)
    negatives = sample_negatives(everyone, 9, train, np.random.default_rng(0))
    assert ((negatives >= 0) & (negatives < n_items)).all()
    some_left = ~taken.all(axis=1)
    assert not taken[everyone[:, None], negatives][some_left].any()


def test_negatives_are_uniform() -> None:
    train = random_events(n_users=5, n_items=12, n=20)
    users = np.repeat(np.arange(5), 2)
    negatives = sample_negatives(users, 20_000, train, np.random.default_rng(0))
    for user in range(5):
        counts = np.bincount(negatives[users == user].ravel(), minlength=12)
        free = train.matrix().toarray()[user] == 0
        assert counts.sum() == counts[free].sum() == 40_000
        assert chisquare(counts[free]).pvalue > 1e-4


def test_who_took_everything_gets_any_item() -> None:
    train = Interactions([0, 0, 0, 1], [0, 1, 2, 0], n_users=2, n_items=3)
    negatives = sample_negatives([0, 1], 400, train, np.random.default_rng(0))
    assert set(negatives[0]) == {0, 1, 2} and set(negatives[1]) == {1, 2}


def test_sampling_for_nobody_gives_no_rows() -> None:
    assert sample_negatives([], 3, random_events(), np.random.default_rng(0)).shape == (0, 3)


def test_impossible_samples_are_refused() -> None:
    generator = np.random.default_rng(0)
    with pytest.raises(ValueError, match="^n must be at least 1, got 0$"):
        sample_negatives([0], 0, random_events(), generator)
    with pytest.raises(ValueError, match="^users must be "):
        sample_negatives([23], 1, random_events(), generator)
    with pytest.raises(ValueError, match="^train must have at least one item, got 0$"):
        sample_negatives([0], 1, Interactions([], [], n_users=1), generator)


# --- an epoch ----------------------------------------------------------------------------------


def test_rows_come_once_each_in_step() -> None:
    train = random_events()
    ratings = torch.arange(len(train), dtype=torch.float32)
    batches = list(Rows(train.users, ratings, batch_size=50).epoch(0))
    assert [len(batch[0]) for batch in batches] == [50] * 6 + [1]
    users, numbers = joined(batches)
    order = numbers.long().numpy()
    np.testing.assert_array_equal(np.sort(order), np.arange(len(train)))
    np.testing.assert_array_equal(users, train.users[order])
    assert not np.array_equal(order, np.arange(len(train)))
    assert users.dtype == torch.int64 and numbers.dtype == torch.float32


def test_pairs_are_the_events_each_with_free_items() -> None:
    train = random_events()
    batches = list(Pairs(train, batch_size=64, n_negatives=3).epoch(0))
    assert all(isinstance(batch, PairBatch) for batch in batches)
    users, positives, negatives = joined(batches)
    assert negatives.shape == (len(train), 3)
    expected = sorted(zip(train.users, train.items, strict=True))
    assert sorted(zip(users.tolist(), positives.tolist(), strict=True)) == expected
    assert not train.matrix().toarray()[users[:, None], negatives].any()


def test_user_rows_are_all_events_of_users_that_have_some() -> None:
    train = random_events()
    seen = []
    for batch in UserRows(train, batch_size=5).epoch(0):
        assert isinstance(batch, UserBatch) and batch.weight == len(batch.items) == len(batch.rows)
        for row, user in enumerate(batch.users.tolist()):
            items = batch.items[batch.rows == row]
            np.testing.assert_array_equal(items, train.items[train.users == user])
            seen.append(user)
    assert seen != sorted(seen) and sorted(seen) == sorted(set(train.users))


@pytest.mark.parametrize("kind", KINDS)
def test_an_epoch_is_repeated_exactly_and_epochs_differ(kind: str) -> None:
    make, other = makers(random_events())[kind], makers(random_events(), seed=1)[kind]
    batches = make(7)
    list(batches.epoch(3))
    first, again = joined(batches.epoch(2)), joined(make(7).epoch(2))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    for second in (joined(batches.epoch(3)), joined(other(7).epoch(2))):
        assert all(not torch.equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("world", "size"), [(2, 8), (3, 7), (4, 1)])
def test_processes_together_see_what_one_sees_with_a_larger_batch(
    kind: str, world: int, size: int
) -> None:
    make = makers(random_events())[kind]
    whole = list(make(size * world).epoch(1))
    ranks = [list(make(size).epoch(1, rank, world)) for rank in range(world)]
    assert {len(batches) for batches in ranks} == {len(whole)} == {make(size).steps(world)}
    for batch, parts in zip(whole, zip(*ranks, strict=True), strict=True):
        columns, expected = joined(parts), list(batch)
        if kind == "users":  # rows count from the first user of a part
            before = np.cumsum([0, *(len(part.users) for part in parts)])
            columns[1] = torch.cat([p.rows + n for p, n in zip(parts, before[:-1], strict=True)])
        assert all(torch.equal(a, b) for a, b in zip(columns, expected, strict=True))


def test_a_short_batch_is_shared_evenly() -> None:
    sizes = [
        [len(users) for (users,) in Rows(range(17), batch_size=5).epoch(0, rank, 2)]
        for rank in (0, 1)
    ]
    assert sizes == [[5, 3], [5, 4]]


def test_negatives_do_not_depend_on_the_batches() -> None:
    train = random_events()
    one, other = (joined(Pairs(train, batch_size=size).epoch(4)) for size in (301, 10))
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_negatives_do_not_depend_on_the_batches_across_chunks(monkeypatch) -> None:
    monkeypatch.setattr("reclib.foundations.batching._CHUNK_CELLS", 66)  # 22 rows of 3
    train = random_events()
    one, other = (
        joined(Pairs(train, batch_size=size, n_negatives=3).epoch(4)) for size in (100, 11)
    )
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
    assert not train.matrix().toarray()[one[0][:, None], one[2]].any()


def test_each_chunk_of_negatives_is_drawn_afresh(monkeypatch) -> None:
    monkeypatch.setattr("reclib.foundations.batching._CHUNK_CELLS", 20)
    train = Interactions(np.zeros(100, dtype=int), np.arange(100), n_users=1, n_items=10_000)
    negatives = joined(Pairs(train, batch_size=100).epoch(0))[2]
    assert len({tuple(chunk.flatten().tolist()) for chunk in negatives.split(20)}) == 5


@pytest.mark.parametrize(
    ("size", "world", "expected"), [(1, 1, 17), (17, 1, 1), (5, 1, 4), (5, 2, 2), (9, 2, 1)]
)
def test_steps_counts_the_batches(size: int, world: int, expected: int) -> None:
    batches = Rows(np.arange(17), batch_size=size)
    assert batches.steps(world) == expected == len(list(batches.epoch(0, world=world)))


# --- bad input ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [Pairs, UserRows])
def test_no_events_are_refused(kind) -> None:
    with pytest.raises(ValueError, match="^train must hold at least one event, got 0$"):
        kind(Interactions([], [], n_users=3, n_items=4), batch_size=2)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ([], "columns must be at least one, got none"),
        ([np.zeros(0)], "rows must be at least 1, got 0"),
        ([np.zeros(3), np.zeros(2)], "columns must have 3 rows each, got 2"),
    ],
)
def test_impossible_tables_are_refused(columns, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        Rows(*columns, batch_size=2)


@pytest.mark.parametrize("kind", KINDS)
def test_impossible_sizes_and_ranks_are_refused_at_once(kind: str) -> None:
    make = makers(random_events())[kind]
    with pytest.raises(ValueError, match="^batch_size must be at least 1, got 0$"):
        make(0)
    with pytest.raises(ValueError, match="^world must be at least 1, got 0$"):
        make(2).steps(0)
    with pytest.raises(ValueError, match=r"^rank must be in 0..1, got 2$"):
        make(2).epoch(0, 2, 2)
    with pytest.raises(ValueError, match="^epoch must be at least 0, got -1$"):
        make(2).epoch(-1)


def test_the_number_of_negatives_must_be_positive() -> None:
    with pytest.raises(ValueError, match="^n_negatives must be at least 1, got 0$"):
        Pairs(random_events(), batch_size=2, n_negatives=0)
