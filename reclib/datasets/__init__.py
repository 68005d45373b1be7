"""Data sets: one call from a name to verified tables; see ``data/README.md`` for what there is."""

from reclib.datasets.dataset import Dataset
from reclib.datasets.fetching import available, fetch
from reclib.datasets.loaders import load
from reclib.datasets.recorded import recorded
from reclib.datasets.registry import names
from reclib.datasets.unpickling import NOTHING, SPARSE_MATRIX, read_pickle

__all__ = [
    "NOTHING",
    "SPARSE_MATRIX",
    "Dataset",
    "available",
    "fetch",
    "load",
    "names",
    "read_pickle",
    "recorded",
]
