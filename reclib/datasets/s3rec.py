"""Purchase and listening sequences with item attributes: s3rec-beauty, s3rec-sports, s3rec-lastfm.

    user -> (item 1, ..., item L), oldest first;   item -> {attribute, ...};   ids from 1

There are no timestamps: the order in the file is the order in time. An attribute that an item
names twice counts once.

Source: K. Zhou et al., S3-Rec: Self-Supervised Learning for Sequential Recommendation with Mutual
Information Maximization, CIKM 2020, arXiv:2008.07873.
Differences from the paper: none.
Chapter: foundations/interactions
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from reclib.datasets.dataset import Dataset, multi_hot
from reclib.datasets.parsing import bad_line, read_lists, read_numbers
from reclib.foundations.interactions import IdMap, Interactions

__all__ = ["load_s3rec"]


def load_s3rec(name: str, files: Mapping[str, Path]) -> Dataset:
    """Lines ``user item item ...`` in time order and ``{item: [attribute, ...]}``, ids from 1."""
    sequences, attributes = files.values()
    values, lengths = read_numbers(sequences, ("users", "items"), ragged=True)
    numbers = values.astype(np.int64)
    starts = np.cumsum(lengths) - lengths
    is_item = np.ones(numbers.size, dtype=bool)
    is_item[starts] = False
    owners, items = numbers[starts], numbers[is_item]
    again = pd.Series(owners).duplicated().to_numpy()
    if again.any():
        row = int(np.argmax(again))
        raise bad_line(sequences, row + 1, "users", "stand on one line only", owners[row])
    keys, n_attributes, features = read_lists(attributes)
    n_users = int(owners.max(initial=0))
    n_items = int(max(items.max(initial=0), keys.max(initial=0)))
    interactions = Interactions(
        np.repeat(owners, lengths - 1) - 1, items - 1, n_users=n_users, n_items=n_items
    )
    shape = (n_items, int(features.max(initial=0)))
    return Dataset(
        name,
        interactions,
        item_features=multi_hot(np.repeat(keys, n_attributes) - 1, features - 1, shape),
        users=IdMap(range(1, n_users + 1)),
        items=IdMap(range(1, n_items + 1)),
    )
