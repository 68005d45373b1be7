"""Groceries, what goes with them and what stands in for them: grocery-relations.

    events: {(u, i, t)};   facts: {(i, complement, j)}, {(i, substitute, j)}, {(i, in_category, c)}

Complements are what others bought as well, substitutes what others looked at as well; both are
Amazon's lists, some of them cut, so they are not symmetric.

Source: J. McAuley, R. Pandey, J. Leskovec, Inferring Networks of Substitutable and Complementary
Products, KDD 2015 (the lists); C. Wang et al., Make It a Chorus, SIGIR 2020, whose code brings the
files.
Differences from the paper: 1. the last two items of each user, its validation and test, are not
among the files.
Chapter: knowledge/graph
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import chain
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from reclib.datasets.dataset import Dataset, multi_hot
from reclib.datasets.parsing import bad_line, read_table
from reclib.foundations.interactions import IdMap, Interactions, Triples

__all__ = ["load_grocery_relations"]

Ids = NDArray[np.int64]
_EVENTS, _ITEMS = "user_id\titem_id\ttime", "item_id\ti_category\tr_complement\tr_substitute"
_RELATIONS = ("complement", "substitute", "in_category")


def load_grocery_relations(name: str, files: Mapping[str, Path]) -> Dataset:
    """Lines ``user item time`` and ``item category [item, ...] [item, ...]``."""
    path = files["item_meta.csv"]
    events = read_table(files["train.csv"], _EVENTS, integers=("user_id", "item_id", "time"))
    events = events.astype(np.int64)
    meta = read_table(path, _ITEMS, integers=("item_id",))
    rows = meta["item_id"].astype(np.int64).to_numpy()
    linked = [_lists(path, meta[column]) for column in ("r_complement", "r_substitute")]
    users = IdMap(events["user_id"])
    items = IdMap(np.concatenate([rows, events["item_id"], *(each for _, each in linked)]))
    categories = IdMap(meta["i_category"])
    owners = items.encode(rows)
    own_category = categories.encode(meta["i_category"])
    heads = [np.repeat(owners, lengths) for lengths, _ in linked] + [owners]
    tails = [items.encode(each) for _, each in linked] + [len(items) + own_category]
    kinds = np.repeat(np.arange(len(_RELATIONS)), [each.size for each in tails])
    sizes = len(items) + len(categories), len(_RELATIONS)
    return Dataset(
        name,
        Interactions(
            users.encode(events["user_id"]),
            items.encode(events["item_id"]),
            timestamps=events["time"].to_numpy(),
            n_users=len(users),
            n_items=len(items),
        ),
        item_features=multi_hot(owners, own_category, (len(items), len(categories))),
        users=users,
        items=items,
        item_feature_names=tuple(
            f"category={each}" for each in categories.decode(np.arange(len(categories)))
        ),
        triples=Triples(np.concatenate(heads), kinds, np.concatenate(tails), *sizes),
        relation_names=_RELATIONS,
    )


def _lists(path: Path, column: pd.Series) -> tuple[Ids, Ids]:
    """Lengths and values of lists of positive integers, written as in JSON."""
    right = column.str.fullmatch(r"\[([1-9][0-9]*(, [1-9][0-9]*)*)?\]").to_numpy(dtype=bool)
    if not right.all():
        row = int(np.argmin(right))
        rule = "be a list of positive integers"
        raise bad_line(path, row + 2, str(column.name), rule, column[row])
    lists = json.loads(f"[{','.join(column)}]")
    values = np.fromiter(chain.from_iterable(lists), dtype=np.int64)
    return np.fromiter(map(len, lists), dtype=np.int64, count=len(lists)), values
