import builtins
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.sparse import coo_matrix

from reclib.datasets import NOTHING, SPARSE_MATRIX, read_pickle


class _Call:
    """Pickles as a call of any function."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


def pickled(folder: Path, value: object, protocol: int = 4) -> Path:
    path = folder / "toy" / "a.pkl"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(pickle.dumps(value, protocol=protocol))
    return path


@pytest.mark.parametrize("allowed", [NOTHING, SPARSE_MATRIX], ids=["nothing", "sparse"])
def test_a_pickle_that_runs_a_command_is_refused_before_it_runs(
    tmp_path: Path, allowed: Any
) -> None:
    proof = tmp_path / "proof"
    path = pickled(tmp_path, [1, _Call(os.mkdir, str(proof))])
    module = os.mkdir.__module__
    with pytest.raises(pickle.UnpicklingError) as error:
        read_pickle(path, allowed=allowed)
    assert str(error.value) == (
        f"toy/a.pkl: a pickle must name only allowed classes, got {module}.mkdir"
    )
    assert not proof.exists()
    pickle.loads(path.read_bytes())  # the test can fail: the plain reader runs it
    assert proof.exists()


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_no_protocol_opens_a_way_around(tmp_path: Path, protocol: int) -> None:
    path = pickled(tmp_path, _Call(builtins.eval, "1 + 1"), protocol)
    with pytest.raises(pickle.UnpicklingError, match=r"got (builtins|__builtin__)\.eval$"):
        read_pickle(path, allowed=SPARSE_MATRIX)


def test_an_attribute_of_an_allowed_class_is_not_allowed(tmp_path: Path) -> None:
    path = pickled(tmp_path, _Call(np.ndarray.tofile, np.zeros(1), str(tmp_path / "proof")))
    with pytest.raises(pickle.UnpicklingError):
        read_pickle(path, allowed=SPARSE_MATRIX)
    assert not (tmp_path / "proof").exists()


def test_plain_lists_and_tuples_need_no_permission(tmp_path: Path) -> None:
    sessions = ([[1, 2, 3], [4]], [5, 6], {"a": 1.5})
    assert read_pickle(pickled(tmp_path, sessions)) == sessions


def test_a_sparse_matrix_is_read_where_it_is_allowed(tmp_path: Path) -> None:
    matrix = coo_matrix(([1.0, 2.0, 3.0], ([0, 1, 1], [3, 0, 2])), shape=(2, 5))
    path = pickled(tmp_path, matrix)
    again = read_pickle(path, allowed=SPARSE_MATRIX)
    np.testing.assert_array_equal(again.toarray(), matrix.toarray())
    with pytest.raises(pickle.UnpicklingError, match="got scipy"):
        read_pickle(path)


def test_the_names_of_old_versions_are_read_by_today_s(tmp_path: Path) -> None:
    matrix = coo_matrix(([1.0, 2.0], ([0, 1], [3, 0])), shape=(2, 5))
    text = pickle.dumps(matrix, protocol=4)
    framed = text[:2] + text[11:]  # without the frame, whose length would change
    assert text[2:3] == pickle.FRAME
    old = framed.replace(b"\x8c\x11scipy.sparse._coo", b"\x8c\x10scipy.sparse.coo")
    old = old.replace(b"\x8c\x16numpy._core.multiarray", b"\x8c\x15numpy.core.multiarray")
    assert len(old) == len(framed) - 2
    path = pickled(tmp_path, None)
    path.write_bytes(old)
    again = read_pickle(path, allowed=SPARSE_MATRIX)
    np.testing.assert_array_equal(again.toarray(), matrix.toarray())


@pytest.mark.parametrize("content", [b"", b"\x80\x04]", b"no pickle"], ids=repr)
def test_a_damaged_pickle_is_named(tmp_path: Path, content: bytes) -> None:
    path = pickled(tmp_path, None)
    path.write_bytes(content)
    with pytest.raises(pickle.UnpicklingError, match=r"^toy/a\.pkl: "):
        read_pickle(path)


def test_the_published_sessions_name_no_class(real_files: Any) -> None:
    for name, n_train, n_test in (
        ("diginetica-sessions", 186_670, 60_858),
        ("tmall-sessions", 65_286, 25_898),
    ):
        files = real_files(name)
        assert len(read_pickle(files["all_train_seq.txt"])) == n_train
        prefixes, targets = read_pickle(files["test.txt"])
        assert len(prefixes) == len(targets) == n_test


def test_the_published_matrices_name_only_a_sparse_matrix(real_files: Any) -> None:
    files = real_files("tiktok-mm")
    matrix = read_pickle(files["trnMat.pkl"], allowed=SPARSE_MATRIX)
    assert matrix.shape == (9308, 6710)
    assert matrix.nnz == 59_541
    assert int(matrix.tocsr().sum()) == 59_541
