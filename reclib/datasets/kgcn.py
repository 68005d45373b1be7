"""Artists that people listen to, with facts about them: kgcn-music.

    taken: {(u, i)}, of the plays those of an artist that stands in the graph;   i = its entity

Artists without an entity, and users who then have none left, are left out, as in the published
preparation; ``tables["plays"]`` keeps every count.

Source: H. Wang, M. Zhao, X. Xie, W. Li, M. Guo, Knowledge Graph Convolutional Networks for
Recommender Systems, WWW 2019, arXiv:1904.12575 (the files come with its code); the plays are
HetRec 2011.
Differences from the paper: 1. negatives are not drawn here but where they are judged.
Chapter: collaborative/knowledge_aware
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from reclib.datasets.dataset import Dataset
from reclib.datasets.parsing import bad_line, read_table
from reclib.foundations.interactions import IdMap, Interactions, Triples

__all__ = ["load_kgcn_music"]

_PLAYS = "userID\tartistID\tweight"


def load_kgcn_music(name: str, files: Mapping[str, Path]) -> Dataset:
    """Lines ``user artist count``, ``artist entity`` and ``head relation tail``."""
    plays = read_table(files["user_artists.dat"], _PLAYS, integers=("userID", "artistID", "weight"))
    plays = plays.astype(np.int64).set_axis(["user", "item", "count"], axis=1)
    entity_of = _entities(files["item_index2entity_id.txt"])
    triples, relations = _facts(files["kg.txt"], len(entity_of))
    entities = plays["item"].map(entity_of)
    known = plays[entities.notna()]
    users = IdMap(known["user"])
    interactions = Interactions(
        users.encode(known["user"]),
        entities.dropna().to_numpy(np.int64),
        n_users=len(users),
        n_items=len(entity_of),
    )
    return Dataset(
        name,
        interactions,
        users=users,
        # Entities number the artists in the order of their ids, as IdMap does.
        items=IdMap(entity_of.index),
        tables={"plays": plays},
        triples=triples,
        relation_names=relations,
    )


def _entities(path: Path) -> pd.Series:
    """Entity of each artist, by its id: 0, 1, ... in ascending order of the ids."""
    table = _numbers(path, ("item", "entity"), ("item", "entity"))
    entity_of = table.set_index("item")["entity"]
    wrong = ~entity_of.index.to_series().diff().fillna(1).gt(0).to_numpy()
    wrong |= entity_of.to_numpy() != np.arange(len(entity_of))
    if wrong.any():
        row = int(np.argmax(wrong))
        rule = "count from 0 while the artists ascend"
        raise bad_line(path, row + 1, "entity", rule, table["entity"][row])
    return entity_of


def _facts(path: Path, n_items: int) -> tuple[Triples, tuple[str, ...]]:
    table = _numbers(path, ("head", "relation", "tail"), ("head", "tail"))
    relations = IdMap(table["relation"])
    heads, tails = (table[name].to_numpy(np.int64) for name in ("head", "tail"))
    n_entities = max(n_items, int(max(heads.max(), tails.max())) + 1)
    triples = Triples(heads, relations.encode(table["relation"]), tails, n_entities, len(relations))
    return triples, tuple(relations.decode(np.arange(len(relations))))


def _numbers(path: Path, columns: tuple[str, ...], ids: tuple[str, ...]) -> pd.DataFrame:
    """A table without header, in which some columns hold ids from 0."""
    table = read_table(path, None, columns=columns)
    for name in ids:
        right = table[name].str.fullmatch("0|[1-9][0-9]*").to_numpy(dtype=bool)
        if not right.all():
            row = int(np.argmin(right))
            raise bad_line(path, row + 1, name, "be integers of at least 0", table[name][row])
    return table.astype({name: np.int64 for name in ids})
