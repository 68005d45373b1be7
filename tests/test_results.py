"""Recorded results against the bars they must meet, and against what the code computes today."""

import json
from pathlib import Path

import pytest

from reclib.collaborative import EASE, ItemKNN, Popularity
from reclib.datasets import available, load
from reclib.foundations.evaluation import cases_from_split, evaluate
from reclib.foundations.splitting import split_last

RESULTS = Path(__file__).resolve().parents[1] / "data" / "results"

# (row, metric, at least, below which it would be suspicious): what an honest implementation
# reaches, and what would be too good to be true without a leak.
BARS = [
    ("s3rec-beauty-popularity", "recall@10", 0.011, 0.0145),
    ("s3rec-beauty-item-knn", "recall@10", 0.061, 0.09),
    ("s3rec-beauty-item-knn", "ndcg@10", 0.036, 0.06),
    ("s3rec-beauty-ease", "recall@10", 0.076, 0.09),
    ("s3rec-beauty-ease", "ndcg@10", 0.041, 0.06),
    ("s3rec-lastfm-ease", "recall@10", 0.080, 0.12),
    ("lastfm-social-ease", "recall@20", 0.255, 0.30),
    ("lastfm-social-ease", "ndcg@20", 0.20, 0.30),
    ("lastfm-social-item-knn", "recall@20", 0.24, 0.30),
    ("ml-100k-ease", "ndcg@10", 0.43, 0.50),
]


def record(row: str) -> dict:
    return json.loads((RESULTS / f"{row}.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize(("row", "metric", "least", "suspicious"), BARS)
def test_recorded_rows_meet_their_bars_and_are_not_too_good(row, metric, least, suspicious) -> None:
    assert least <= record(row)["metrics"][metric]["mean"] < suspicious


def test_our_neighbours_are_implicits_and_not_slower() -> None:
    found = record("s3rec-beauty-item-knn")
    assert found["peer"]["time ratio, ours to theirs"] <= 1.2
    peer = found["peer"]
    assert peer["largest difference of weights, sorted within items"] <= 1e-6
    assert peer["of these, not tied with the last one kept"] == 0
    assert peer["largest difference of scores, same neighbours"] <= 1e-5
    assert found["seconds"]["evaluate adds"] <= 2.0
    assert found["memory_mib"]["evaluate"] <= 500


def test_ease_needs_less_time_and_memory_than_a_general_inverse() -> None:
    found = record("s3rec-beauty-ease")
    assert found["peer"]["time ratio, ours to theirs"] <= 0.4
    assert found["peer"]["largest difference of weights"] <= 1e-4
    assert found["memory_mib"]["fit"] <= 2500 * 1e6 / 2**20


@pytest.mark.parametrize(
    ("row", "make"),
    [
        ("popularity", Popularity),
        ("item-knn", ItemKNN),
        ("ease", EASE),
    ],
)
def test_the_code_of_today_computes_the_recorded_numbers(row: str, make) -> None:
    if not available("s3rec-lastfm"):
        pytest.skip("s3rec-lastfm is not on this machine: python -m reclib.datasets fetch NAME")
    found = record(f"s3rec-lastfm-{row}")
    split = split_last(load("s3rec-lastfm").interactions)
    model = make(**found["options"]).fit(split.train_and_validation)
    report = evaluate(model, cases_from_split(split), k=(5, 10, 20))
    for metric, value in found["metrics"].items():
        assert report[metric] == pytest.approx(value["mean"], abs=1e-3 if row == "ease" else 1e-9)
