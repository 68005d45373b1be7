"""How well a product answers a request, in truth and in the eyes of raters.

grade = 3 if leaf and c = 1; 2 if leaf and c >= .5; 1 if same category or complement; else 0, where
c is the share of the wanted values, and of the price cap if there is one, that the product meets.
label = mean over three raters of clip(grade + e, 0, 3), e = 0 with probability .88, else -1 or 1.

Source: this shop's specification, section 1.7.

Differences from the specification: 1. nothing wanted counts as all met; 2. a product of the leaf
that meets less than half is in the same category, so its grade is 1 (specification: open).

Chapter: shop/simulation.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["grades", "human_labels"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_RATERS, _OFF = 3, 0.12


def grades(
    leaves: Ints,
    wanted: Ints,
    price_caps: Floats,
    items: Ints,
    *,
    item_leaves: Ints,
    item_values: Ints,
    item_prices: Floats,
    leaf_categories: Ints,
    complements: NDArray[np.bool_],
) -> Ints:
    """True relevance of products to requests, 0 to 3.

    A request without constraints counts as all met.

    Args:
        leaves: (B,) leaf looked for.
        wanted: (B, 3) flat value codes, -1 for none; each code belongs to one attribute.
        price_caps: (B,) the highest price accepted, in the unit of ``item_prices``; NaN or infinite
            for none.
        items: (B, C) products to grade.
        item_leaves: (I,) leaf of each product.
        item_values: (I, A) flat value code of each product in each attribute.
        item_prices: (I,) prices, or log prices against the shelf's mean.
        leaf_categories: (L,) category of each leaf.
        complements: (L, L) whether the column's leaf goes with the row's.

    Returns:
        (B, C) int64.

    Raises:
        ValueError: if the shapes of the requests differ.
    """
    n_rows = len(leaves)
    for name, array, shape in (
        ("wanted", wanted, (n_rows, 3)),
        ("price_caps", price_caps, (n_rows,)),
        ("items", items, (n_rows, items.shape[-1])),
    ):
        if array.shape != shape:
            raise ValueError(f"{name} must have shape {shape}, got {array.shape}")
    shelf = item_leaves[items]  # (B, C)
    n_met = np.zeros(items.shape)
    values = item_values[items]  # (B, C, A)
    for column in range(wanted.shape[1]):
        n_met += (values == wanted[:, column, None, None]).any(2)
    capped = np.isfinite(price_caps)
    n_met += capped[:, None] & (item_prices[items] <= price_caps[:, None])
    n_wanted = ((wanted >= 0).sum(1) + capped)[:, None]
    same_leaf = shelf == leaves[:, None]
    near = leaf_categories[shelf] == leaf_categories[leaves][:, None]
    near |= complements[leaves[:, None], shelf]
    grade = near.astype(np.int64)
    grade[same_leaf & (2 * n_met >= n_wanted)] = 2
    grade[same_leaf & (n_met == n_wanted)] = 3
    return grade


def human_labels(true_grades: Ints, generator: np.random.Generator) -> Floats:
    """Mean of three raters, each off by one, up or down, with probability .12; within 0 to 3.

    Args:
        true_grades: integers of any shape, 0 to 3.
        generator: a stream of its own.

    Returns:
        float64 of the same shape, thirds.
    """
    shape = (_RATERS, *true_grades.shape)
    off = (generator.random(shape) < _OFF) * generator.choice((-1, 1), shape)
    labels: Floats = np.clip(true_grades + off, 0, 3).mean(0)
    return labels
