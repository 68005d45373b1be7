"""Listening counts with a friendship network: lastfm-social, in its published split.

    train, test: {(u, i)}, binary;   friendships: {(u, v)};   published ids count from 1

Source: X. He et al., LightGCN: Simplifying and Powering Graph Convolution Network for
Recommendation, SIGIR 2020, arXiv:2002.02126 (the files come with its PyTorch code); the plays are
HetRec 2011.
Differences from the paper: 1. the play counts, which the published protocol does not use, stand in
``tables["plays"]``; interactions have no weights.
Chapter: collaborative/neighbors
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from reclib.datasets.dataset import Dataset
from reclib.datasets.parsing import read_numbers
from reclib.foundations.interactions import IdMap, Interactions
from reclib.foundations.splitting import Split

__all__ = ["load_lastfm_social"]

_N_USERS, _N_ITEMS = 1892, 4489  # as in the published code; 12 users have no play


def load_lastfm_social(name: str, files: Mapping[str, Path]) -> Dataset:
    """Lines ``user item count`` of train and test and ``user friend``, ids from 1."""
    frames = []
    for part, file in (("train", "data1.txt"), ("test", "test1.txt")):
        values, _ = read_numbers(files[file], ("users", "items", "counts"), real=("counts",))
        users, items, counts = values.reshape(-1, 3).T
        columns = {"user": users.astype(np.int64) - 1, "item": items.astype(np.int64) - 1}
        frames.append(pd.DataFrame({**columns, "count": counts, "part": part}))
    plays = pd.concat(frames, ignore_index=True)
    friends, _ = read_numbers(files["trustnetwork.txt"], ("users", "friends"))
    n_users = max(_N_USERS, int(plays["user"].max()) + 1)
    n_items = max(_N_ITEMS, int(plays["item"].max()) + 1)

    def part_of(frame: pd.DataFrame) -> Interactions:
        return Interactions(frame["user"], frame["item"], n_users=n_users, n_items=n_items)

    train, test = part_of(frames[0]), part_of(frames[1])
    split = Split(
        train,
        train.select(np.zeros(0, dtype=np.int64)),
        test,
        rule="published with LightGCN, binary",
    )
    return Dataset(
        name,
        part_of(plays),
        users=IdMap(range(1, n_users + 1)),
        items=IdMap(range(1, n_items + 1)),
        split=split,
        tables={
            "plays": plays,
            "friendships": pd.DataFrame(
                friends.reshape(-1, 2).astype(np.int64) - 1, columns=["user", "friend"]
            ),
        },
    )
