"""What every loader returns: one table of events, and what is known about its users and items.

    B = {(u, i, t)},   X[i, f] = 1 if item i has feature f, else 0

Source: the book's own.
Differences from the paper: none.
Chapter: foundations/interactions
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import csr_array

from reclib.foundations.interactions import IdMap, Interactions
from reclib.foundations.splitting import Split

__all__ = ["Dataset", "multi_hot"]

Ids = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Dataset:
    """A data set, ready for models.

    Attributes:
        name: as in the registry.
        interactions: all events.
        item_features: (I, F) float64 CSR of zeros and ones, or None.
        user_features: (U, F) float64 CSR of zeros and ones, or None.
        users, items: published ids to internal ids and back.
        split: the published split, or None where papers differ.
        tables: everything else, as tables with internal ids.
        item_feature_names, user_feature_names: one per column, or None where they are anonymous.
    """

    name: str
    interactions: Interactions
    item_features: csr_array | None = None
    user_features: csr_array | None = None
    users: IdMap | None = None
    items: IdMap | None = None
    split: Split | None = None
    tables: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    item_feature_names: tuple[str, ...] | None = None
    user_feature_names: tuple[str, ...] | None = None

    def __repr__(self) -> str:
        return f"Dataset({self.name}: {self.interactions})"


def multi_hot(rows: Ids, columns: Ids, shape: tuple[int, int]) -> csr_array:
    """A CSR of zeros and ones; a pair that stands twice counts once."""
    matrix = csr_array((np.ones(rows.size), (rows, columns)), shape=shape)
    matrix.sum_duplicates()
    matrix.data[:] = 1
    return matrix
