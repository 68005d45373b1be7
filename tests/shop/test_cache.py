"""The cache of simulated shops: what is damaged, foreign or unwritable never gives a wrong shop."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from reclib.shop import Shop, SimConfig, _cache, load, simulate
from reclib.shop.simulation import TABLES


@pytest.fixture(scope="module")
def expected() -> Shop:
    return simulate(SimConfig.of("tiny", 0))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RECLIB_DATA", str(tmp_path))
    return tmp_path / "shop" / SimConfig.of("tiny", 0).hash


def equal(shop: Shop, other: Shop) -> None:
    assert shop.config == other.config
    for name in TABLES:
        table, same = getattr(shop, name), getattr(other, name)
        assert (table.dtypes == same.dtypes).all(), name
        assert table.equals(same), name


def test_a_second_load_reads_what_the_first_has_simulated(
    folder: Path, expected: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    equal(load("tiny", 0), expected)
    assert sorted(path.name for path in folder.parent.iterdir()) == [folder.name]

    def refuse(config: SimConfig) -> Shop:
        raise AssertionError("simulated again")

    monkeypatch.setattr(_cache, "simulate", refuse)
    again = load("tiny", 0)
    equal(again, expected)
    users = [0, 3, 399]
    assert (again.truth.relevance(users) == expected.truth.relevance(users)).all()


def test_files_hold_the_same_bytes_each_time(folder: Path) -> None:
    load("tiny", 0)
    first = {path.name: path.read_bytes() for path in folder.iterdir()}
    (folder / "shop.json").unlink()
    load("tiny", 0)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == first


@pytest.mark.parametrize("damage", ["cut", "missing", "other", "meta"])
def test_a_damaged_cache_is_made_again(folder: Path, expected: Shop, damage: str) -> None:
    load("tiny", 0)
    clicks, meta = folder / "clicks.parquet", folder / "shop.json"
    whole = clicks.read_bytes()
    if damage == "cut":
        clicks.write_bytes(whole[: len(whole) // 2])
    elif damage == "missing":
        clicks.unlink()
    elif damage == "other":  # readable, but not this shop's
        expected.clicks.iloc[:10].to_parquet(clicks, index=False)
    else:
        meta.write_text("{", "utf-8")
    equal(load("tiny", 0), expected)
    assert clicks.read_bytes() == whole
    assert sorted(path.name for path in folder.parent.iterdir()) == [folder.name]


@pytest.mark.parametrize("key", ["config", "generator"])
def test_a_cache_of_another_generator_is_made_again(folder: Path, expected: Shop, key: str) -> None:
    load("tiny", 0)
    meta = json.loads((folder / "shop.json").read_text("utf-8"))
    expected.clicks.iloc[:10].to_parquet(folder / "clicks.parquet", index=False)
    meta["files"]["clicks"] = _cache._checksum(folder / "clicks.parquet")
    meta[key] = "another"
    (folder / "shop.json").write_text(json.dumps(meta), "utf-8")
    equal(load("tiny", 0), expected)


def test_without_a_place_to_write_the_shop_is_simulated_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, expected: Shop
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder", "utf-8")
    monkeypatch.setenv("RECLIB_DATA", str(blocked))
    equal(load("tiny", 0), expected)
    assert blocked.read_text("utf-8") == "not a folder"


def test_a_full_disk_leaves_no_half_written_shop(
    folder: Path, expected: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: pd.DataFrame, path: Path, **options: object) -> None:
        Path(path).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pd.DataFrame, "to_parquet", full)
    equal(load("tiny", 0), expected)
    assert list(folder.parent.iterdir()) == []


def test_of_two_that_write_at_once_one_wins_whole(
    folder: Path, expected: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulate_once = _cache.simulate

    def slow(config: SimConfig) -> Shop:
        monkeypatch.setattr(_cache, "simulate", simulate_once)
        load("tiny", 0)  # the other process is done first
        return simulate_once(config)

    monkeypatch.setattr(_cache, "simulate", slow)
    equal(load("tiny", 0), expected)
    assert sorted(path.name for path in folder.parent.iterdir()) == [folder.name]
    equal(load("tiny", 0), expected)


def test_an_unknown_profile_is_refused_before_anything_is_written(folder: Path) -> None:
    with pytest.raises(ValueError, match="profile must be one of"):
        load("medium", 0)
    assert not folder.parent.exists()
