"""The cache of shops: made once, and never a wrong one, whatever is damaged, foreign or full."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from filelock import FileLock
from toy_steps import STEPS, toy_config

from reclib.shop import _checkpoint, _store, _tables
from reclib.shop._driver import run
from reclib.shop._store import cached, kept, opened
from reclib.shop._tables import Tables

FILES = ["impressions.parquet", "products.parquet", "sessions.parquet", "shop.json"]


@pytest.fixture(scope="module")
def expected() -> Tables:
    return run(toy_config(), STEPS)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the cache has the toy shop."""
    monkeypatch.setenv("RECLIB_DATA", str(tmp_path))
    return tmp_path / "shop" / toy_config().hash


def equal(tables: Tables, expected: Tables) -> None:
    assert sorted(tables) == sorted(expected)
    for name in expected:
        pd.testing.assert_frame_equal(tables[name], expected[name])


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def visible(parent: Path) -> list[str]:
    """All but the lock files."""
    return sorted(path.name for path in parent.iterdir() if path.suffix != ".lock")


def refused(*arguments: Any, **options: Any) -> Tables:
    raise AssertionError("simulated again")


def partly(folder: Path, seed: int = 0) -> Path:
    """A simulation that was cut after two days."""

    def stop(done: int, of: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    partial = folder.with_name(f"{folder.name}.partial")
    with pytest.raises(KeyboardInterrupt):
        run(toy_config(seed), STEPS, partial, progress=stop)
    return partial


def days_of(act: Callable[[Any], Tables]) -> list[int]:
    """The days that it simulated, as it went along."""
    days: list[int] = []
    act(lambda done, of: days.append(done))
    return days


def test_the_second_reads_what_the_first_has_simulated(
    folder: Path, expected: Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    equal(cached(toy_config(), STEPS), expected)
    assert visible(folder.parent) == [folder.name]
    assert sorted(content(folder)) == FILES
    monkeypatch.setattr(_store, "run", refused)
    equal(cached(toy_config(), STEPS), expected)


@pytest.mark.parametrize("damage", ["cut", "missing", "empty", "other", "meta", "no meta"])
def test_a_damaged_cache_is_made_again(folder: Path, expected: Tables, damage: str) -> None:
    cached(toy_config(), STEPS)
    whole = content(folder)
    sessions, meta = folder / "sessions.parquet", folder / "shop.json"
    if damage == "cut":
        sessions.write_bytes(whole["sessions.parquet"][:100])
    elif damage == "missing":
        sessions.unlink()
    elif damage == "empty":
        sessions.write_bytes(b"")
    elif damage == "other":  # readable, but not this shop's
        shutil.copy(folder / "products.parquet", sessions)
    elif damage == "meta":
        meta.write_text("{", "utf-8")
    else:
        meta.unlink()
    equal(cached(toy_config(), STEPS), expected)
    assert content(folder) == whole
    assert visible(folder.parent) == [folder.name]


@pytest.mark.parametrize("key", ["config", "generator"])
def test_a_cache_of_another_generator_is_made_again(
    folder: Path, expected: Tables, key: str
) -> None:
    cached(toy_config(), STEPS)
    whole = content(folder)
    other = json.loads(toy_config(seed=1).to_json()) if key == "config" else "another"
    meta = json.loads((folder / "shop.json").read_text("utf-8"))
    table = folder / "sessions.parquet"
    shutil.copy(folder / "products.parquet", table)
    meta["files"]["sessions"] = hashlib.sha256(table.read_bytes()).hexdigest()
    (folder / "shop.json").write_text(json.dumps({**meta, key: other}), "utf-8")
    equal(cached(toy_config(), STEPS), expected)
    assert content(folder) == whole


def test_where_nothing_can_be_written_the_shop_is_simulated_in_memory(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    expected: Tables,
    capfd: pytest.CaptureFixture[str],
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder", "utf-8")
    monkeypatch.setenv("RECLIB_DATA", str(blocked))
    equal(cached(toy_config(), STEPS), expected)
    assert blocked.read_text("utf-8") == "not a folder"
    assert capfd.readouterr() == ("", "")


def test_simulating_in_memory_is_logged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "shop").write_text("not a folder", "utf-8")
    monkeypatch.setenv("RECLIB_DATA", str(tmp_path))
    with caplog.at_level(logging.INFO, "reclib.shop"):
        cached(toy_config(), STEPS)
    assert "simulating in memory" in caplog.text
    assert {record.levelname for record in caplog.records} == {"INFO"}


def test_a_cache_that_can_only_be_read_is_read(
    folder: Path, expected: Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    cached(toy_config(), STEPS)

    def read_only(*arguments: Any, **options: Any) -> None:
        raise PermissionError(13, "Permission denied")

    for name in ("mkdir", "rename", "replace", "unlink", "write_bytes", "write_text"):
        monkeypatch.setattr(Path, name, read_only)
    monkeypatch.setattr(FileLock, "acquire", read_only)
    monkeypatch.setattr(_store, "run", refused)
    equal(cached(toy_config(), STEPS), expected)


def full_disk(monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    """Nothing more can be written after so many files."""
    calls = 0

    def limited(write: Callable[..., Any]) -> Callable[..., Any]:
        def act(*arguments: Any, **options: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls > after:
                raise OSError(28, "No space left on device")
            return write(*arguments, **options)

        return act

    monkeypatch.setattr(Path, "write_bytes", limited(Path.write_bytes))
    monkeypatch.setattr(_checkpoint.np, "savez", limited(_checkpoint.np.savez))
    monkeypatch.setattr(_tables.pq, "ParquetWriter", limited(_tables.pq.ParquetWriter))
    monkeypatch.setattr(Path, "write_text", limited(Path.write_text))


@pytest.mark.parametrize("after", [0, 2, 5, 12, 14, 15])
def test_a_full_disk_leaves_no_half_written_shop(
    folder: Path, expected: Tables, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    with monkeypatch.context() as patch:
        full_disk(patch, after)
        equal(cached(toy_config(), STEPS), expected)
    assert visible(folder.parent) == []


def test_sixteen_files_are_written_for_the_toy_shop(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full_disk(monkeypatch, 16)  # so that the numbers above meet each kind of file
    cached(toy_config(), STEPS)
    assert visible(folder.parent) == [folder.name]


TOGETHER = """
import logging, sys, time
from pathlib import Path
from dataclasses import replace
import toy_steps
from reclib.shop._store import cached

logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)

def slow(done, of):
    if done == 0:
        print("simulating", flush=True)
    time.sleep(0.3)

tables = cached(toy_steps.toy_config(), toy_steps.STEPS, progress=slow)
print("rows", len(tables["sessions"]))
"""


def test_of_two_processes_at_once_one_simulates_and_the_other_waits_and_reads(
    folder: Path, expected: Tables
) -> None:
    here = Path(__file__).parent
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(here), str(here.parents[1])])}
    both = [
        subprocess.Popen(
            [sys.executable, "-c", TOGETHER], env=environment, stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    said = sorted(process.communicate(timeout=60)[0].splitlines() for process in both)
    rows = f"rows {len(expected['sessions'])}"
    assert said == [
        ["simulating", rows],
        [f"waiting for another process that simulates {folder}", rows],
    ]


def test_a_cut_simulation_goes_on_at_the_last_whole_day(folder: Path, expected: Tables) -> None:
    partial = partly(folder)
    assert days_of(lambda show: cached(toy_config(), STEPS, progress=show)) == [2, 3, 4]
    assert not partial.exists()
    equal(cached(toy_config(), STEPS), expected)


def test_what_another_generator_left_is_removed_and_our_own_is_not(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = partly(folder.with_name("0123456789ab"), seed=1)
    busy = folder.with_name("busy.partial")
    with monkeypatch.context() as patch:
        patch.setattr(_checkpoint, "_checksum_of_modules", lambda names: "another")
        foreign = partly(folder.with_name("ba9876543210"), seed=2)
        shutil.copytree(foreign, busy)
    with FileLock(busy.with_name(".busy.lock")):
        cached(toy_config(), STEPS)
    assert ours.exists() and busy.exists() and not foreign.exists()


def test_an_open_shop_stays_as_it_was_when_another_process_replaces_its_files(
    folder: Path, expected: Tables
) -> None:
    tables = cached(toy_config(), STEPS)
    shutil.rmtree(folder)
    equal(tables, expected)


def test_a_table_is_read_when_it_is_first_asked_for(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cached(toy_config(), STEPS)
    reads: list[Any] = []
    frame = _tables._frame
    monkeypatch.setattr(_tables, "_frame", lambda source: reads.append(source) or frame(source))
    tables = cached(toy_config(), STEPS)
    assert reads == []
    assert tables["sessions"] is tables["sessions"]
    assert len(reads) == 1


def test_columns_come_in_the_order_asked_for_from_a_file_and_from_memory(folder: Path) -> None:
    tables = cached(toy_config(), STEPS)
    columns = ["surface", "item", "request"]
    from_file = tables.read("impressions", columns)
    assert list(from_file) == columns
    pd.testing.assert_frame_equal(from_file, tables["impressions"][columns])
    pd.testing.assert_frame_equal(from_file, tables.read("impressions", columns))
    pd.testing.assert_frame_equal(from_file, run(toy_config(), STEPS).read("impressions", columns))


def test_tables_can_be_pickled(folder: Path, expected: Tables) -> None:
    equal(pickle.loads(pickle.dumps(cached(toy_config(), STEPS))), expected)


def test_tables_are_read_only_and_name_what_there_is(expected: Tables) -> None:
    with pytest.raises(TypeError):
        expected["sessions"] = pd.DataFrame()  # type: ignore[index]
    with pytest.raises(KeyError, match="table must be one of .*'sessions'.*, got 'session'"):
        expected["session"]


def test_an_empty_table_keeps_its_columns_and_names(tmp_path: Path) -> None:
    table = _tables.coded(pa.table({"surface": pa.array([], pa.int8())}), {"surface": ["a", "b"]})
    _tables.write_parquet([table], tmp_path / "empty.parquet")
    frame = Tables({"empty": pa.OSFile(str(tmp_path / "empty.parquet"))})["empty"]
    assert len(frame) == 0
    assert list(frame["surface"].cat.categories) == ["a", "b"]


def test_a_code_without_a_name_is_refused() -> None:
    with pytest.raises(IndexError):
        _tables.coded(pa.table({"surface": [0, 2]}), {"surface": ["a", "b"]})


def test_row_groups_are_whole_days_of_at_least_a_stated_number_of_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_tables, "_ROWS", 10)
    days = [pa.table({"item": np.arange(n)}) for n in (4, 5, 3, 20, 0, 1)]
    named = [_tables.coded(day, {}) for day in days]
    _tables.write_parquet(named, tmp_path / "table.parquet")
    file = pa.parquet.ParquetFile(tmp_path / "table.parquet").metadata
    assert [file.row_group(i).num_rows for i in range(file.num_row_groups)] == [12, 20, 1]


def test_a_folder_of_the_reader_s_is_made_once_and_opened(tmp_path: Path, expected: Tables) -> None:
    out = tmp_path / "out" / "shop"
    equal(kept(toy_config(), STEPS, out), expected)
    assert days_of(lambda show: kept(toy_config(), STEPS, out, progress=show)) == []
    config, tables = opened(out, STEPS)
    assert config == toy_config()
    equal(tables, expected)


@pytest.mark.parametrize("there", ["something else", "another shop", "damaged", "file"])
def test_a_folder_that_holds_anything_else_is_not_touched(tmp_path: Path, there: str) -> None:
    out = tmp_path / "out"
    if there == "file":
        out.write_text("mine", "utf-8")
    elif there == "something else":
        out.mkdir()
        (out / "letter.txt").write_text("mine", "utf-8")
    else:
        kept(toy_config(seed=1 if there == "another shop" else 0), STEPS, out)
    if there == "damaged":
        (out / "sessions.parquet").write_bytes(b"half")
    before = content(out) if out.is_dir() else out.read_bytes()
    with pytest.raises(ValueError, match="folder must be new, empty or hold the shop"):
        kept(toy_config(), STEPS, out)
    assert (content(out) if out.is_dir() else out.read_bytes()) == before


def test_a_full_disk_under_a_folder_of_the_reader_s_is_said_and_the_days_stay(
    tmp_path: Path, expected: Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        full_disk(patch, 7)
        with pytest.raises(OSError, match="No space left on device: the shop is not whole"):
            kept(toy_config(), STEPS, out)
    assert not out.exists()
    assert days_of(lambda show: kept(toy_config(), STEPS, out, progress=show)) == [2, 3, 4]
    equal(opened(out, STEPS)[1], expected)


def test_opening_says_what_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FileNotFoundError, match="folder must hold a simulated shop"):
        opened(tmp_path, STEPS)
    out = tmp_path / "out"
    kept(toy_config(), STEPS, out)
    with monkeypatch.context() as patch:
        patch.setattr(_checkpoint, "_checksum_of_modules", lambda names: "another")
        with pytest.raises(ValueError, match="of this version of reclib.shop"):
            opened(out, STEPS)
    (out / "sessions.parquet").write_bytes(b"half")
    with pytest.raises(ValueError, match="sessions.parquet must be as it was written"):
        opened(out, STEPS)
    (out / "sessions.parquet").unlink()
    with pytest.raises(FileNotFoundError, match="sessions.parquet"):
        opened(out, STEPS)
    (out / "shop.json").write_text("{", "utf-8")
    with pytest.raises(ValueError, match="shop.json must hold the settings"):
        opened(out, STEPS)
