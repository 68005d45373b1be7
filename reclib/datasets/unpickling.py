"""Reading other people's pickles without running other people's code.

    find_class(module, name) = allowed[module.name] where it stands there, an error otherwise

A pickle is a program: it may name any function and call it. Some published data sets are pickles of
plain lists, or of a sparse matrix; this reader builds these and refuses all else.

Source: "Restricting Globals" in the documentation of Python's ``pickle``.
Differences from the paper: none.
Chapter: sequential/sessions
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy._core.multiarray import _reconstruct
from scipy.sparse import coo_matrix

__all__ = ["NOTHING", "SPARSE_MATRIX", "read_pickle"]

NOTHING: Mapping[str, Any] = MappingProxyType({})
"""Plain lists, tuples, dictionaries, numbers and texts only."""

SPARSE_MATRIX: Mapping[str, Any] = MappingProxyType(
    {
        "scipy.sparse.coo.coo_matrix": coo_matrix,
        "scipy.sparse._coo.coo_matrix": coo_matrix,
        "numpy.core.multiarray._reconstruct": _reconstruct,
        "numpy._core.multiarray._reconstruct": _reconstruct,
        "numpy.ndarray": np.ndarray,
        "numpy.dtype": np.dtype,
    }
)
"""A scipy COO matrix of NumPy arrays, under the names that old and new versions write."""


class _Unpickler(pickle.Unpickler):
    def __init__(self, stream: Any, allowed: Mapping[str, Any], encoding: str) -> None:
        super().__init__(stream, encoding=encoding)
        self._allowed = allowed

    def find_class(self, module: str, name: str) -> Any:
        full = f"{module}.{name}"
        if full not in self._allowed:
            raise pickle.UnpicklingError(f"a pickle must name only allowed classes, got {full}")
        return self._allowed[full]


def read_pickle(
    path: Path, *, allowed: Mapping[str, Any] = NOTHING, encoding: str = "latin1"
) -> Any:
    """The object in a pickle file, built from allowed classes only.

    Args:
        path: the file.
        allowed: what a pickle may name, as ``module.name``, and what stands for it here.
        encoding: of texts that Python 2 wrote.

    Raises:
        pickle.UnpicklingError: if it names anything else or is damaged; says in which file.
    """
    with path.open("rb") as stream:
        try:
            return _Unpickler(stream, allowed, encoding).load()
        except (pickle.UnpicklingError, EOFError) as error:
            raise pickle.UnpicklingError(f"{path.parent.name}/{path.name}: {error}") from error
