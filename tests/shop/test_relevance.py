"""True relevance against a loop over pairs, and the raters."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from reclib.shop.relevance import grades, human_labels

RANDOM = np.random.default_rng(5)
N_ITEMS, N_LEAVES, N_ROWS = 80, 6, 300
# Three attributes of four values each: flat codes 0-3, 4-7, 8-11.
SHOP: dict[str, NDArray[Any]] = {
    "item_leaves": RANDOM.integers(0, N_LEAVES, N_ITEMS),
    "item_values": RANDOM.integers(0, 4, (N_ITEMS, 3)) + np.array([0, 4, 8]),
    "item_prices": RANDOM.uniform(1, 100, N_ITEMS),
    "leaf_categories": np.array([0, 0, 1, 1, 2, 2]),
    "complements": RANDOM.random((N_LEAVES, N_LEAVES)) < 0.3,
}


def some_requests() -> tuple[Any, Any, Any, Any]:
    wanted = RANDOM.integers(0, 12, (N_ROWS, 3))
    wanted[np.arange(3) >= RANDOM.integers(0, 4, (N_ROWS, 1))] = -1
    caps = np.where(RANDOM.random(N_ROWS) < 0.3, RANDOM.uniform(1, 100, N_ROWS), np.nan)
    items = RANDOM.integers(0, N_ITEMS, (N_ROWS, 20))
    return RANDOM.integers(0, N_LEAVES, N_ROWS), wanted, caps, items


def slow_grade(leaf: int, wanted: list[int], cap: float, item: int) -> int:
    own = SHOP["item_leaves"][item]
    met = [code in SHOP["item_values"][item] for code in wanted if code >= 0]
    if not np.isnan(cap):
        met.append(SHOP["item_prices"][item] <= cap)
    share = sum(met) / len(met) if met else 1.0
    if own == leaf and share == 1:
        return 3
    if own == leaf and share >= 0.5:
        return 2
    same_category = SHOP["leaf_categories"][own] == SHOP["leaf_categories"][leaf]
    return int(same_category or SHOP["complements"][leaf, own])


def test_grades_equal_the_loop() -> None:
    leaves, wanted, caps, items = some_requests()
    slow = [
        [slow_grade(leaf, row, cap, item) for item in shown]
        for leaf, row, cap, shown in zip(leaves, wanted.tolist(), caps, items, strict=True)
    ]
    fast = grades(leaves, wanted, caps, items, **SHOP)
    np.testing.assert_array_equal(fast, slow)
    assert set(fast.ravel()) == {0, 1, 2, 3}


def one_grade(wanted: tuple[int, int, int], cap: float = np.nan) -> int:
    """Grade of the product with values 0, 4, 8 and price 10 for a request on its leaf."""
    return int(
        grades(
            np.array([0]), np.array([wanted]), np.array([cap]), np.array([[0]]),
            item_leaves=np.array([0]), item_values=np.array([[0, 4, 8]]),
            item_prices=np.array([10.0]), leaf_categories=np.array([0]),
            complements=np.array([[False]]),
        )[0, 0]
    )  # fmt: skip


@pytest.mark.parametrize(
    ("wanted", "cap", "grade"),
    [
        ((-1, -1, -1), np.nan, 3),
        ((0, 4, 8), np.nan, 3),
        ((0, 5, -1), np.nan, 2),
        ((0, 5, 9), np.nan, 1),
        ((1, -1, -1), np.nan, 1),
        ((-1, -1, -1), 10.0, 3),
        ((-1, -1, -1), 9.0, 1),
        ((0, -1, -1), 9.0, 2),
        ((0, -1, -1), np.inf, 3),
    ],
)
def test_grades_by_hand(wanted: tuple[int, int, int], cap: float, grade: int) -> None:
    assert one_grade(wanted, cap) == grade


def test_complements_are_directed() -> None:
    shop = {**SHOP, "complements": np.zeros((N_LEAVES, N_LEAVES), dtype=bool)}
    shop["complements"][0, 4] = True
    items = np.array([[int(np.flatnonzero(SHOP["item_leaves"] == leaf)[0]) for leaf in (0, 4)]] * 2)
    found = grades(np.array([0, 4]), np.full((2, 3), -1), np.full(2, np.nan), items, **shop)
    assert found.tolist() == [[3, 1], [0, 3]]


def test_raters_are_off_at_their_rate() -> None:
    labels = human_labels(np.full(200_000, 1), np.random.default_rng(0))
    exact = 0.88**3 + 6 * 0.88 * 0.06**2  # nobody off, or one up and one down
    share = np.mean(labels == 1)
    assert abs(share - exact) < 3 * (exact * (1 - exact) / 200_000) ** 0.5
    assert abs(labels.mean() - 1) < 3 * (0.12 / 3 / 200_000) ** 0.5


def test_each_rater_stays_in_range() -> None:
    """Nobody can go below 0, so one in 16.7 gives 1 and nobody else makes up for it."""
    labels = human_labels(np.zeros(100_000, dtype=int), np.random.default_rng(0))
    assert abs(labels.mean() - 0.06) < 3 * (0.06 * 0.94 / 300_000) ** 0.5


def test_labels_stay_in_range_and_are_thirds() -> None:
    labels = human_labels(np.array([[0, 3]] * 5_000), np.random.default_rng(0))
    assert labels.shape == (5_000, 2)
    assert labels.min() == 0 and labels.max() == 3
    np.testing.assert_allclose(labels * 3, np.round(labels * 3))


def test_no_requests_have_no_grades() -> None:
    empty = grades(
        np.zeros(0, int), np.zeros((0, 3), int), np.zeros(0), np.zeros((0, 5), int), **SHOP
    )
    assert empty.shape == (0, 5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"wanted": np.full((2, 2), -1)}, r"wanted must have shape \(2, 3\), got \(2, 2\)"),
        ({"price_caps": np.zeros((2, 1))}, r"price_caps must have shape \(2,\), got \(2, 1\)"),
        ({"items": np.zeros((1, 4), int)}, r"items must have shape \(2, 4\), got \(1, 4\)"),
    ],
)
def test_shapes_that_would_broadcast_are_errors(change: dict[str, Any], message: str) -> None:
    arguments: dict[str, Any] = {
        "leaves": np.array([0, 1]),
        "wanted": np.full((2, 3), -1),
        "price_caps": np.full(2, np.nan),
        "items": np.zeros((2, 4), int),
    } | change
    with pytest.raises(ValueError, match=message):
        grades(**arguments, **SHOP)
