"""Occasions: rules over leaf and attributes, against a loop and against the shop's words."""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pytest
from numpy.typing import NDArray

from reclib.shop import _words as words
from reclib.shop._occasions import _RULES, OCCASIONS, occasions

LEAVES = {
    domain: [
        leaf
        for categories in departments.values()
        for leaves in categories.values()
        for leaf in leaves
    ]
    for domain, departments in words.TAXONOMIES.items()
}
VALUES = {
    "colour": words.COLORS,
    "material": words.MATERIALS,
    "pattern": words.PATTERNS,
    "season": words.SEASONS,
    "size": words.SIZES,
    "style": words.STYLES,
    "tier": words.TIERS,
}


def catalogue(domain: str, n_items: int = 3_000) -> tuple[NDArray, dict[str, NDArray]]:
    generator = np.random.default_rng(0)
    shares = {
        "colour": words.COLOR_SHARES,
        "pattern": words.PATTERN_SHARES,
        "size": words.SIZE_SHARES,
        "tier": (0.35, 0.45, 0.2),
    }
    attributes = {
        name: generator.choice(values, n_items, p=shares.get(name))
        for name, values in VALUES.items()
    }
    return generator.choice(LEAVES[domain], n_items), attributes


@pytest.mark.parametrize("domain", LEAVES)
def test_fits_are_those_of_a_loop_over_products_and_rules(domain: str) -> None:
    leaves, attributes = catalogue(domain, 300)
    fits = occasions(leaves, attributes)
    for item, (column, name) in itertools.product(range(300), enumerate(OCCASIONS)):
        shelf, conditions = _RULES[name]
        expected = leaves[item] in shelf
        for attribute, allowed in conditions.items():
            expected = expected and attributes[attribute][item] in allowed
        assert fits[item, column] == expected


def test_no_product_that_can_exist_fits_more_than_three() -> None:
    # only attributes that rules name matter, and materials can be left to the loosest value
    names = [name for name in VALUES if name != "material"]
    grid = np.array(list(itertools.product(*(range(len(VALUES[name])) for name in names))))
    attributes = {name: np.array(VALUES[name])[grid[:, k]] for k, name in enumerate(names)}
    attributes["material"] = np.full(len(grid), "cotton")  # every rule on material allows it
    assert all("cotton" in allowed.get("material", ("cotton",)) for _, allowed in _RULES.values())
    rules = Counter(itertools.chain.from_iterable(shelf for shelf, _ in _RULES.values()))
    counts = [
        occasions(np.full(len(grid), leaf), attributes).sum(1).max()
        for leaf, n_rules in rules.items()
        if n_rules > 3  # the others fit three at most
    ]
    assert max(counts) == 3


@pytest.mark.parametrize("domain", LEAVES)
def test_a_product_fits_about_one_occasion(domain: str) -> None:
    fits = occasions(*catalogue(domain))
    assert 0.8 < fits.sum(1).mean() < 1.2


@pytest.mark.parametrize("domain", LEAVES)
def test_each_domain_has_eight_occasions_or_more_that_one_product_in_a_hundred_fits(
    domain: str,
) -> None:
    assert (occasions(*catalogue(domain)).mean(0) > 0.01).sum() >= 8


def test_rules_use_only_words_of_the_shop() -> None:
    known = set(itertools.chain.from_iterable(LEAVES.values()))
    for shelf, conditions in _RULES.values():
        assert set(shelf) <= known
        assert len(set(shelf)) == len(shelf)
        for attribute, allowed in conditions.items():
            assert set(allowed) < set(VALUES[attribute])


def test_every_leaf_is_bought_for_some_occasion() -> None:
    named = set(itertools.chain.from_iterable(shelf for shelf, _ in _RULES.values()))
    assert named == set(itertools.chain.from_iterable(LEAVES.values()))


def test_an_unknown_leaf_fits_nothing() -> None:
    _, attributes = catalogue("home", 50)
    assert not occasions(["Spaceship"] * 50, attributes).any()


def test_a_missing_attribute_is_refused() -> None:
    leaves, attributes = catalogue("home", 5)
    del attributes["tier"]
    with pytest.raises(ValueError, match=r"attributes must have \['colour', .*, got \['colour'"):
        occasions(leaves, attributes)


def test_columns_of_another_length_are_refused() -> None:
    leaves, attributes = catalogue("home", 5)
    with pytest.raises(ValueError, match="colour must have 4 values, got 5"):
        occasions(leaves[:4], attributes)
