"""Recorded results as a table."""

import json

import pytest

from reclib.datasets import recorded
from reclib.datasets import recorded as recorded_function
from reclib.datasets.recorded import __name__ as module_name

RECORD = {
    "dataset": "s3rec-beauty",
    "split": "split_last",
    "protocol": "full ranking",
    "model": "EASE",
    "options": {"regularization": 200.0},
    "metrics": {
        "recall@10": {"mean": 0.5, "n_seeds": 1, "low": 0.4, "high": 0.6},
        "ndcg@10": {"mean": 0.25, "std": 0.01, "n_seeds": 3},
    },
    "seconds": {"fit": 9.5},
    "date": "2026-01-02",
    "command": "python run.py results one",
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    import sys

    monkeypatch.setattr(sys.modules[module_name], "_RESULTS", tmp_path)
    (tmp_path / "one.json").write_text(json.dumps(RECORD))
    return tmp_path


def test_a_record_becomes_a_row_with_its_intervals(folder) -> None:
    row = recorded("one").loc["one"]
    assert (row["model"], row["options"]) == ("EASE", "regularization=200.0")
    assert [row[f"recall@10{part}"] for part in ("", " low", " high")] == [0.5, 0.4, 0.6]
    assert (row["ndcg@10"], row["ndcg@10 std"]) == (0.25, 0.01)
    assert (row["seconds"], row["date"], row["dataset"]) == (9.5, "2026-01-02", "s3rec-beauty")


def test_rows_keep_the_order_asked_for(folder) -> None:
    (folder / "two.json").write_text(json.dumps({**RECORD, "model": "other"}))
    assert list(recorded("two", "one")["model"]) == ["other", "EASE"]


def test_a_missing_row_names_the_command(folder) -> None:
    message = r"row two must be recorded, got no two\.json: python run\.py results two"
    with pytest.raises(FileNotFoundError, match=f"^{message}$"):
        recorded_function("two")
