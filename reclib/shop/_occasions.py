"""Occasions a product is bought for: concepts defined by a rule over leaf and attributes.

fits(i, o) = [leaf(i) in leaves(o)] * product over the attributes a it names [a(i) in values(o, a)].

No column of the shop's tables says what a product is for; texts and the graph do. Since the rule
reads attributes alone, whoever reasons from concept to product can be checked exactly.

Source: the idea of concept nodes follows AliCoCo (Luo et al. 2020, arXiv:2003.13230).

Differences from the paper: AliCoCo mines its concepts from queries and texts and people judge
them; here they are 22 rules written by hand, so every one is true. Against the shop's
specification: none, it names two of the concepts and leaves the rest open.

Chapter: shop/simulation.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

__all__ = ["OCCASIONS", "occasions"]

_WARM, _COLD = ("spring", "summer"), ("autumn", "winter")
_BRIGHT = ("red", "green", "pink", "yellow", "purple", "blue")
_SOFT = ("white", "beige", "pink", "blue", "yellow", "grey")
_SMALL = ("extra small", "small", "medium")

# occasion -> (leaves, attribute -> values it must have one of)
_RULES: dict[str, tuple[tuple[str, ...], dict[str, tuple[str, ...]]]] = {
    "beach holiday": (
        (
            "T-shirt", "Skirt", "Sandals", "Handbag", "Suitcase", "Bath towel", "Parasol",
            "Hammock", "Trainers",
        ),
        {"season": _WARM, "style": ("sporty", "romantic", "modern", "minimal")},
    ),
    "home office": (
        (
            "Mug", "Table lamp", "Floor lamp", "Rug", "Side table",
            "Armchair", "Picture frame", "Plant pot", "Backpack", "Cushion", "Curtain",
        ),
        {"style": ("modern", "minimal", "classic"), "pattern": ("plain", "vertical stripe")},
    ),
    "garden party": (
        (
            "Shirt", "Skirt", "Sandals", "Necklace", "Plate", "Bowl", "Candle", "Cushion",
            "Vase", "Garden chair", "Parasol", "Lantern", "String lights", "Shuttlecocks",
            "Tennis racket", "Handbag", "Chopping board",
        ),
        {"season": _WARM, "style": ("romantic", "classic", "rustic")},
    ),
    "winter evening": (
        (
            "Jumper", "Pyjamas", "Dressing gown", "Scarf", "Boots", "Mug", "Casserole", "Saucepan",
            "Table lamp", "Candle", "Cushion", "Rug", "Curtain", "Armchair", "Duvet cover",
            "Pillow", "Blanket", "Board game", "Card game",
        ),
        {"season": _COLD},
    ),
    "new flat": (
        (
            "Frying pan", "Saucepan", "Casserole", "Plate", "Bowl", "Chef's knife",
            "Chopping board", "Food jar", "Floor lamp", "Table lamp", "Rug", "Curtain",
            "Side table", "Armchair", "Vase", "Duvet cover", "Pillow", "Bath towel", "Hand towel",
            "Bath mat", "Soap", "Shower curtain", "Picture frame",
        ),
        {"tier": ("value", "mid"), "style": ("modern", "minimal", "classic")},
    ),
    "hiking weekend": (
        (
            "Jumper", "Trousers", "Jacket", "Boots", "Backpack", "Lunch box", "Tent",
            "Sleeping bag", "Hiking boots", "Rucksack", "Climbing rope", "Climbing chalk",
            "T-shirt", "Scarf",
        ),
        {"season": ("spring", "autumn"), "style": ("sporty", "rustic", "minimal")},
    ),
    "wedding guest": (
        (
            "Shirt", "Trousers", "Jacket", "Coat", "Handbag", "Belt", "Scarf", "Watch",
            "Necklace",
        ),
        {"tier": ("mid", "premium"), "style": ("classic", "romantic", "minimal")},
    ),
    "newborn gift": (
        ("Baby blanket", "Mobile", "Blanket", "Picture frame", "Hand towel", "Building blocks"),
        {"colour": _SOFT},
    ),
    "city break": (
        (
            "Jeans", "Coat", "Jacket", "Trainers", "Boots", "Backpack", "Handbag", "Suitcase",
            "Belt", "Watch", "Scarf", "Rucksack", "T-shirt",
        ),
        {"season": ("spring", "autumn"), "style": ("modern", "classic", "sporty")},
    ),
    "slow breakfast": (
        (
            "Plate", "Mug", "Bowl", "Frying pan", "Saucepan", "Chopping board", "Chef's knife",
            "Food jar", "Pyjamas", "Dressing gown",
        ),
        {"style": ("rustic", "romantic", "classic"), "material": (
            "ceramic", "wood", "cotton", "linen", "metal",
        )},
    ),
    "balcony garden": (
        (
            "Plant pot", "Watering can", "Planter box", "Garden chair", "Hammock", "Spade",
            "Secateurs", "Lantern", "String lights",
        ),
        {"size": _SMALL},
    ),
    "spa day": (
        (
            "Dressing gown", "Bath towel", "Hand towel", "Bath mat", "Soap", "Shower curtain",
            "Candle", "Pillow", "Yoga mat", "Sandals",
        ),
        {"colour": _SOFT, "style": ("minimal", "classic", "modern", "romantic")},
    ),
    "first day at work": (
        ("Shirt", "Trousers", "Jacket", "Belt", "Watch", "Backpack", "Lunch box", "Jeans"),
        {"colour": ("black", "navy", "grey", "white", "blue"), "pattern": ("plain",)},
    ),
    "festival weekend": (
        (
            "T-shirt", "Jeans", "Skirt", "Boots", "Backpack", "Tent", "Sleeping bag", "Rucksack",
            "Hammock", "Lantern",
        ),
        {"season": ("summer",)},
    ),
    "autumn planting": (
        ("Plant pot", "Watering can", "Planter box", "Spade", "Secateurs"),
        {"season": ("autumn", "spring"), "style": ("rustic", "classic", "modern")},
    ),
    "rainy afternoon": (
        (
            "Board game", "Card game", "Building blocks", "Model kit", "Modelling clay",
            "Paint set",
        ),
        {"style": ("classic", "modern", "minimal", "rustic")},
    ),
    "birthday party": (
        (
            "Football", "Basketball", "Card game", "Building blocks", "Modelling clay",
            "Paint set", "Model kit", "String lights",
        ),
        {"colour": _BRIGHT},
    ),
    "new year's fitness": (
        (
            "Trainers", "Dumbbell", "Kettlebell", "Yoga mat", "Yoga block", "Running shoes",
            "Running vest", "Kit bag",
        ),
        {"tier": ("value", "mid"), "season": ("winter", "spring")},
    ),
    "race day": (
        ("Running shoes", "Running vest", "Kit bag", "Climbing chalk", "Climbing rope"),
        {"style": ("sporty", "modern", "minimal")},
    ),
    "yoga retreat": (
        ("Yoga mat", "Yoga block", "Sleeping bag", "Candle", "Hiking boots"),
        {"pattern": ("plain",), "colour": (*_SOFT, "green", "brown")},
    ),
    "match in the park": (
        (
            "Football", "Basketball", "Tennis racket", "Shuttlecocks", "Team shirt",
            "Dumbbell", "Kettlebell",
        ),
        {"season": ("spring", "summer", "autumn"), "style": ("sporty", "modern", "classic")},
    ),
    "club season": (
        ("Football", "Basketball", "Team shirt", "Kit bag", "Tennis racket", "Shuttlecocks"),
        {"tier": ("mid", "premium"), "pattern": ("plain", "vertical stripe", "horizontal stripe")},
    ),
}  # fmt: skip

OCCASIONS: tuple[str, ...] = tuple(_RULES)


def occasions(leaves: ArrayLike, attributes: Mapping[str, ArrayLike]) -> NDArray[np.bool_]:
    """Which product fits which occasion; a product fits at most three.

    Args:
        leaves: (I,) name of each product's leaf; a leaf that no rule names fits nothing.
        attributes: attribute -> (I,) values, at least ``colour``, ``material``, ``pattern``,
            ``season``, ``size``, ``style`` and ``tier``.

    Returns:
        (I, n) bool, columns as `OCCASIONS`.

    Raises:
        ValueError: if an attribute is missing or its length is not that of ``leaves``.
    """
    needed = {name for _, conditions in _RULES.values() for name in conditions}
    if not needed <= attributes.keys():
        raise ValueError(f"attributes must have {sorted(needed)}, got {sorted(attributes)}")
    columns = {"leaf": _factorized(leaves)}
    n_items = len(columns["leaf"][0])
    for name in sorted(needed):
        columns[name] = _factorized(attributes[name])
        if len(columns[name][0]) != n_items:
            raise ValueError(f"{name} must have {n_items} values, got {len(columns[name][0])}")
    fits = np.empty((n_items, len(_RULES)), dtype=bool)
    for column, (shelf, conditions) in enumerate(_RULES.values()):
        fits[:, column] = _one_of(columns["leaf"], shelf)
        for name, allowed in conditions.items():
            fits[:, column] &= _one_of(columns[name], allowed)
    return fits


def _factorized(values: ArrayLike) -> tuple[NDArray[np.intp], NDArray[Any]]:
    """(I,) codes and the names they stand for: strings are compared once for each name."""
    codes, names = pd.factorize(np.asarray(values, dtype=object))
    return codes, np.asarray(names)


def _one_of(
    column: tuple[NDArray[np.intp], NDArray[Any]], allowed: Iterable[str]
) -> NDArray[np.bool_]:
    codes, names = column
    return np.isin(names, list(allowed))[codes]
