"""Pairs of products: each rule against a loop over all pairs, and against planted products."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import poisson

from reclib.shop import _pairs
from reclib.shop._pairs import complements, distinct, sold_with, substitutes, variants

N_ITEMS, N_LEAVES = 150, 5
ALL = list(itertools.permutations(range(N_ITEMS), 2))

Catalogue = dict[str, NDArray]


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    generator = np.random.default_rng(3)
    leaves = generator.integers(0, N_LEAVES, N_ITEMS)
    middle = generator.normal(size=(N_LEAVES, 6))
    vectors = 1.3 * middle[leaves] + generator.normal(size=(N_ITEMS, 6))
    table = (generator.random((N_LEAVES, N_LEAVES)) < 0.4) * (1 - np.eye(N_LEAVES))
    table[2], table[3, 4] = 0, 0.5  # one leaf goes with nothing
    return {
        "leaves": leaves,
        "vectors": vectors / np.linalg.norm(vectors, axis=1, keepdims=True),
        "prices": np.exp(generator.normal(3, 0.4, N_ITEMS)),
        "table": table,
        **{name: generator.integers(0, 3, N_ITEMS) for name in ("brand", "style", "colour")},
        "size": generator.integers(0, 2, N_ITEMS),
    }


def as_set(pairs: NDArray) -> set[tuple[int, int]]:
    found = {(int(head), int(tail)) for head, tail in pairs}
    assert len(found) == len(pairs)  # each once
    return found


def nearest(
    catalogue: Catalogue, head: int, tails: list[int], n_nearest: int
) -> set[tuple[int, int]]:
    vectors = catalogue["vectors"]
    ordered = sorted(tails, key=lambda tail: -float(vectors[head] @ vectors[tail]))
    return {(head, tail) for tail in ordered[:n_nearest]}


def variants_of(catalogue: Catalogue) -> NDArray:
    same = np.column_stack([catalogue[name] for name in ("leaves", "brand", "style")])
    return variants(same, np.column_stack([catalogue["colour"], catalogue["size"]]))


def complements_of(catalogue: Catalogue, n_nearest: int = 2) -> NDArray:
    names = ("vectors", "leaves", "style", "size", "table")
    return complements(*(catalogue[name] for name in names), n_nearest=n_nearest)


def substitutes_of(catalogue: Catalogue, n_nearest: int = 3) -> NDArray:
    names = ("vectors", "leaves", "prices")
    return substitutes(*(catalogue[name] for name in names), n_nearest=n_nearest)


def slow_substitutes(catalogue: Catalogue, n_nearest: int) -> set[tuple[int, int]]:
    vectors, leaves, prices = (catalogue[name] for name in ("vectors", "leaves", "prices"))
    expected = set()
    for head in range(N_ITEMS):
        tails = [
            tail
            for tail in range(N_ITEMS)
            if tail != head
            and leaves[tail] == leaves[head]
            and vectors[head] @ vectors[tail] > 0.8
            and max(prices[head], prices[tail]) / min(prices[head], prices[tail]) < 1.5
        ]
        expected |= nearest(catalogue, head, tails, n_nearest)
    return expected | {(tail, head) for head, tail in expected}


def test_variants_are_those_of_a_loop_over_pairs(catalogue: Catalogue) -> None:
    expected = {
        (head, tail)
        for head, tail in ALL
        if all(
            catalogue[name][head] == catalogue[name][tail] for name in ("leaves", "brand", "style")
        )
        and any(catalogue[name][head] != catalogue[name][tail] for name in ("colour", "size"))
    }
    assert len(expected) > 100
    assert as_set(variants_of(catalogue)) == expected


def test_products_equal_in_everything_are_no_variants() -> None:
    assert not len(variants(np.zeros((4, 2), np.int64), np.ones((4, 2), np.int64)))


def test_substitutes_are_those_of_a_loop_over_pairs(catalogue: Catalogue) -> None:
    expected = slow_substitutes(catalogue, 3)
    assert len(expected) > 100
    assert as_set(substitutes_of(catalogue)) == expected


def test_the_cut_to_the_nearest_substitutes_leaves_some_out(catalogue: Catalogue) -> None:
    assert slow_substitutes(catalogue, 3) < slow_substitutes(catalogue, N_ITEMS)
    assert as_set(substitutes_of(catalogue, N_ITEMS)) == slow_substitutes(catalogue, N_ITEMS)


def test_complements_are_those_of_a_loop_over_leaves(catalogue: Catalogue) -> None:
    leaves, style, size = (catalogue[name] for name in ("leaves", "style", "size"))
    expected = set()
    for head, leaf in itertools.product(range(N_ITEMS), range(N_LEAVES)):
        if catalogue["table"][leaves[head], leaf] > 0:
            tails = [
                tail
                for tail in np.flatnonzero(leaves == leaf)
                if style[tail] == style[head] or size[tail] == size[head]
            ]
            expected |= nearest(catalogue, head, tails, 2)
    assert len(expected) > 100
    assert as_set(complements_of(catalogue)) == expected


def test_complements_follow_the_direction_of_the_table(catalogue: Catalogue) -> None:
    joined = catalogue["leaves"][complements_of(catalogue, N_ITEMS)]
    found = np.zeros((N_LEAVES, N_LEAVES), bool)
    found[joined[:, 0], joined[:, 1]] = True
    assert (found == (catalogue["table"] > 0)).all()
    assert (found != found.T).any()


@pytest.mark.parametrize("rule", [variants_of, substitutes_of])
def test_variants_and_substitutes_are_symmetric(rule, catalogue: Catalogue) -> None:
    pairs = rule(catalogue)
    assert as_set(pairs) == as_set(pairs[:, ::-1])


def test_blocks_of_rows_change_nothing(
    catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = substitutes_of(catalogue), complements_of(catalogue)
    monkeypatch.setattr(_pairs, "_ROWS", 7)
    np.testing.assert_array_equal(substitutes_of(catalogue), whole[0])
    np.testing.assert_array_equal(complements_of(catalogue), whole[1])


def purchases(n_lines: int = 900) -> tuple[NDArray, NDArray]:
    """Two hundred baskets; four in five lines are of the basket's own ten products."""
    generator = np.random.default_rng(0)
    baskets = generator.integers(0, 200, n_lines)
    own = 10 * (baskets % 12) + generator.integers(0, 10, n_lines)
    anything = np.minimum(generator.geometric(0.08, n_lines) - 1, N_ITEMS - 1)
    items = np.where(generator.random(n_lines) < 0.8, own, anything)
    return 1_000 + baskets, items  # ids need not start at 0


def test_products_sold_together_are_those_of_a_loop_over_baskets() -> None:
    baskets, items = purchases()
    holding = [set(baskets[items == item]) for item in range(N_ITEMS)]
    expected, n_baskets = set(), len(set(baskets))
    for head, tail in itertools.combinations(range(N_ITEMS), 2):
        n_both = len(holding[head] & holding[tail])
        expected_both = len(holding[head]) * len(holding[tail]) / n_baskets
        if n_both >= 2 and n_both >= 2 * expected_both:
            if poisson.sf(n_both - 1, expected_both) < 1e-4:
                expected |= {(head, tail), (tail, head)}
    assert len(expected) > 20
    assert as_set(sold_with(baskets, items, N_ITEMS)) == expected


def test_a_pair_planted_in_the_baskets_is_found() -> None:
    baskets, items = purchases()
    planted = np.repeat(np.arange(5_000, 5_020), 2)
    found = sold_with(
        np.concatenate([baskets, planted]), np.concatenate([items, np.tile([147, 148], 20)]), 150
    )
    assert {(147, 148), (148, 147)} <= as_set(found)


def test_products_bought_independently_are_not_sold_together() -> None:
    generator = np.random.default_rng(5)
    baskets, items = generator.integers(0, 3_000, 9_000), generator.integers(0, 300, 9_000)
    by_lift = sold_with(baskets, items, 300, max_chance=1.0)
    assert len(by_lift) > 1_000  # a few baskets more are soon twice as many
    assert len(sold_with(baskets, items, 300)) <= 20  # 45,000 pairs, each with less than 1e-4


def test_a_lift_below_two_is_too_little_however_certain() -> None:
    # of 8,000 baskets 2,000 hold both products, 1,280 are expected
    held = {0: np.arange(0, 3_200), 1: np.arange(1_200, 4_400)}
    baskets = np.concatenate([*held.values(), np.arange(4_400, 8_000)])
    items = np.repeat([0, 1, 2], [3_200, 3_200, 3_600])
    assert not len(sold_with(baskets, items, 3))
    assert as_set(sold_with(baskets, items, 3, min_lift=1.5)) == {(0, 1), (1, 0)}


def test_one_basket_is_not_enough_however_rare_its_products() -> None:
    baskets = np.concatenate([np.arange(20_000), [20_000, 20_000]])
    items = np.concatenate([np.zeros(20_000, np.int64), [1, 2]])
    assert not len(sold_with(baskets, items, 3))


def test_a_product_bought_twice_in_a_basket_counts_once() -> None:
    baskets, items = purchases()
    np.testing.assert_array_equal(
        sold_with(np.tile(baskets, 2), np.tile(items, 2), N_ITEMS),
        sold_with(baskets, items, N_ITEMS),
    )


def test_products_that_everybody_buys_are_not_sold_with_one_another() -> None:
    assert not len(sold_with(np.repeat(np.arange(50), 2), np.tile([0, 1], 50), 2))


def test_without_purchases_nothing_is_sold_together() -> None:
    nothing = np.empty(0, np.int64)
    assert sold_with(nothing, nothing, N_ITEMS).shape == (0, 2)


@pytest.mark.parametrize("n", [0, 1, 500])
def test_distinct_numbers_are_those_of_numpy(n: int) -> None:
    keys = np.random.default_rng(n).integers(-50, 50, n)
    np.testing.assert_array_equal(distinct(keys), np.unique(keys))
