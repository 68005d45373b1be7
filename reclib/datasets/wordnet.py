"""Meanings of words and how they hang together: wn18rr, in its published split.

    train, validation, test: {(head, relation, tail)};   a line is ``head relation tail``

Entities and relations are all that the two lists name, so some occur in no train triple.

Source: T. Dettmers, P. Minervini, P. Stenetorp, S. Riedel, Convolutional 2D Knowledge Graph
Embeddings, AAAI 2018, arXiv:1707.01476 (the split); the facts are WordNet's.
Differences from the paper: none.
Chapter: knowledge/embedding
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from reclib.datasets.dataset import TripleDataset
from reclib.datasets.parsing import bad_line, read_table
from reclib.foundations.interactions import IdMap, Triples

__all__ = ["load_wordnet"]

_COLUMNS = ("head", "relation", "tail")


def load_wordnet(name: str, files: Mapping[str, Path]) -> TripleDataset:
    """Lines of two words ``number name`` in the lists and ``head relation tail`` in the parts."""
    entities, relations = (_listed(files[f"{kind}.dict"]) for kind in ("entities", "relations"))
    index = {"head": entities, "tail": entities, "relation": relations}

    def part(file: str) -> Triples:
        table = read_table(files[file], None, columns=_COLUMNS)
        heads, kinds, tails = (_encoded(files[file], table[c], index[c]) for c in _COLUMNS)
        return Triples(heads, kinds, tails, len(entities), len(relations))

    return TripleDataset(
        name,
        part("train.txt"),
        part("valid.txt"),
        part("test.txt"),
        entities=IdMap(entities),
        relation_names=tuple(relations),
    )


def _listed(path: Path) -> pd.Index:
    """The names of a list, sorted, as ``IdMap`` numbers them."""
    names = read_table(path, None, columns=("number", "name"))["name"]
    again = names.duplicated().to_numpy()
    if again.any():
        row = int(np.argmax(again))
        raise bad_line(path, row + 1, "name", "stand on one line only", names[row])
    return pd.Index(names).sort_values()


def _encoded(path: Path, names: pd.Series, index: pd.Index) -> NDArray[np.int64]:
    numbers = index.get_indexer(pd.Index(names))
    if (numbers < 0).any():
        row = int(np.argmin(numbers))
        raise bad_line(path, row + 1, str(names.name), "be in the list", names[row])
    return numbers.astype(np.int64)
