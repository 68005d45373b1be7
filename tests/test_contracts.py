"""Every check of `tests/contracts.py` on every model."""

import inspect
from pathlib import Path

import pytest

from tests.contracts import CHECKS, MODELS, planted


@pytest.mark.parametrize("check", CHECKS.values(), ids=[name[6:] for name in CHECKS])
@pytest.mark.parametrize("entry", MODELS.values(), ids=list(MODELS))
def test_contract(entry, check, tmp_path: Path) -> None:
    if "folder" in inspect.signature(check).parameters:
        check(entry, tmp_path)
    else:
        check(entry)


def test_the_planted_matrix_is_neither_square_nor_symmetric() -> None:
    matrix = planted().matrix().toarray()
    assert matrix.shape == (41, 23)
    assert (matrix[:23] != matrix[:23].T).any()
