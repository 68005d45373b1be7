"""Outfits that people click, with what they are made of: alibaba-fashion-kg.

    taken: {(u, i)};   facts: {(outfit, including, garment)}, {(garment, having-category-c, ...)}

Item i is entity i. The published train part is too large for the mirror, so the events are the
test part alone: split them, and compare with no paper.

Source: X. Wang et al., Learning Intents behind Interactions with Knowledge Graph for
Recommendation, WWW 2021 (the files come with its code); the clicks are those of W. Chen et al.,
POG: Personalized Outfit Generation for Fashion Recommendation at Alibaba iFashion, KDD 2019.
Differences from the paper: 1. the test part only.
Chapter: collaborative/knowledge_aware
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from reclib.datasets.dataset import Dataset
from reclib.datasets.parsing import bad_line
from reclib.foundations.interactions import IdMap, Interactions, Triples

__all__ = ["load_alibaba_fashion"]

_N_ITEMS = 30_040  # entities that are items; those that nobody clicks in the test part count


def load_alibaba_fashion(name: str, files: Mapping[str, Path]) -> Dataset:
    """Lines ``head relation tail``, ``name relation`` and ``user item item ...``."""
    relations = _relations(files["relation_list.txt"])
    facts = _numbers(files["kg_final.txt"], 3).reshape(-1, 3)
    unknown = facts[:, 1] >= len(relations)
    if unknown.any():
        row = int(np.argmax(unknown))
        rule = f"be below {len(relations)}"
        raise bad_line(files["kg_final.txt"], row + 1, "relation", rule, facts[row, 1])
    lines = files["test.txt"].read_bytes().splitlines()
    lengths = np.array([line.count(b" ") for line in map(bytes.strip, lines)], dtype=np.int64)
    numbers = _numbers(files["test.txt"], None)
    starts = np.cumsum(lengths + 1) - lengths - 1
    is_item = np.ones(numbers.size, dtype=bool)
    is_item[starts] = False
    items = numbers[is_item]
    n_items = max(_N_ITEMS, int(items.max(initial=0)) + 1)
    n_users = int(numbers[starts].max(initial=0)) + 1
    n_entities = max(n_items, int(facts[:, [0, 2]].max()) + 1)
    return Dataset(
        name,
        Interactions(np.repeat(numbers[starts], lengths), items, n_users=n_users, n_items=n_items),
        users=IdMap(range(n_users)),
        items=IdMap(range(n_items)),
        triples=Triples(facts[:, 0], facts[:, 1], facts[:, 2], n_entities, len(relations)),
        relation_names=relations,
    )


def _relations(path: Path) -> tuple[str, ...]:
    """Names in the order of their numbers; lines are ``name number`` behind a header."""
    lines = path.read_text(encoding="utf-8").rstrip("\n").split("\n")[1:]
    pairs = [line.strip().rpartition(" ") for line in lines]
    for row, (_, _, number) in enumerate(pairs):
        if number != str(row):
            raise bad_line(path, row + 2, "remap_id", f"be {row}", number)
    return tuple(name for name, _, _ in pairs)


def _numbers(path: Path, width: int | None) -> NDArray[np.int64]:
    """All numbers of a file of blank-separated ids, from 0; so many a line, or any."""
    pattern = r"[0-9]+( [0-9]+)*" if width is None else rf"[0-9]+( [0-9]+){{{width - 1}}}"
    text = path.read_text(encoding="utf-8", errors="replace")
    lines = pd.Series(text.removesuffix("\n").split("\n"), dtype="str").str.strip()
    right = lines.str.fullmatch(pattern).to_numpy(dtype=bool)
    if not right.all():
        row = int(np.argmin(right))
        held = "ids" if width is None else f"{width} ids"
        raise bad_line(path, row + 1, "it", f"hold {held} of at least 0", lines[row])
    return np.array(" ".join(lines).split(), dtype=np.int64)
