"""Dirty data: faults made on purpose in a shop's tables, and functions that find them.

A fault is found by a statement that clean data keep and dirty data break. Judged against the log
of what was soiled,

    precision = |found & soiled| / |found|,    recall = |found & soiled| / |soiled|.

Where the statement is about chance, the evidence is a log likelihood ratio, sum log(p_1 / p_0). By
Markov's inequality it passes log(n / alpha) for one of n innocents with probability alpha at most.

Source: confident learning for wrong labels, Northcutt, Jiang and Chuang (2021),
arXiv:1911.00068; median and MAD, Iglewicz and Hoaglin (1993).

Differences from the paper:

1. Confident learning: a row is wrong if another label is confident and the most probable one, and
   its own label has less than a tenth of its usual probability (the paper has no such condition;
   without it two of three that are named among 300 titles are right as they stand).
2. Robust z: the scale 1.4826 MAD of all leaves together (of one sample), threshold 5 (3.5), since a
   price in cents is 4.6 too high in logarithms, nine times that scale.

Chapter: shop/data_quality.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import pandas as pd

from reclib.shop._corruption import corrupt, restore
from reclib.shop._event_checks import (
    find_before_signup,
    find_bots,
    find_duplicate_events,
    find_flipped_labels,
    find_out_of_order,
    find_shifted_regions,
    find_wrong_propensities,
)
from reclib.shop._faults import KINDS, Faults
from reclib.shop._product_checks import (
    ATTRIBUTES,
    find_duplicate_products,
    find_leaked_columns,
    find_unit_mistakes,
    find_wrong_categories,
    find_wrong_labels,
    find_wrong_pictures,
    repair_encoding,
)
from reclib.shop.simulation import Shop

__all__ = [
    "ATTRIBUTES",
    "KINDS",
    "Detection",
    "Faults",
    "corrupt",
    "detection",
    "find_before_signup",
    "find_bots",
    "find_duplicate_events",
    "find_duplicate_products",
    "find_flipped_labels",
    "find_leaked_columns",
    "find_out_of_order",
    "find_shifted_regions",
    "find_unit_mistakes",
    "find_wrong_categories",
    "find_wrong_labels",
    "find_wrong_pictures",
    "find_wrong_propensities",
    "repair_encoding",
    "restore",
    "tables_of",
]


class Detection(NamedTuple):
    """How well a detector did.

    Attributes:
        precision: share of what was found that is soiled; NaN if nothing was found.
        recall: share of what is soiled that was found; NaN if nothing is soiled.
        n: how many keys are soiled.
    """

    precision: float
    recall: float
    n: int


def tables_of(shop: Shop) -> dict[str, pd.DataFrame]:
    """The public tables of a shop by name, and ``pictures``: which file each product shows.

    ``pictures`` has columns item, picture (the item the picture was made for) and truncated.
    """
    tables = dict(shop.public)
    items = tables["products"]["item"].to_numpy()
    tables["pictures"] = pd.DataFrame({"item": items, "picture": items, "truncated": False})
    return tables


def detection(
    found: Iterable[Any], log: pd.DataFrame, kind: str, *, table: str | None = None
) -> Detection:
    """Precision and recall of ``found`` against the log.

    Args:
        found: keys as in the log: items, users, sessions, regions, hours, column names, or rows of
            the dirty table; repeats count once.
        log: of `corrupt`.
        kind: one of `KINDS`.
        table: judge against the log's entries of this table only; needed where keys are rows.
    """
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {KINDS}, got {kind!r}")
    mine = log[log["kind"] == kind]
    if table is not None:
        mine = mine[mine["table"] == table]
    soiled, named = set(mine["key"]), set(found)
    hits = len(soiled & named)
    precision = hits / len(named) if named else float("nan")
    return Detection(precision, hits / len(soiled) if soiled else float("nan"), len(soiled))
