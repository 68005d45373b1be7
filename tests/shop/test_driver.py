"""The driver: the same bytes for any number of processes, and after any cut."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from toy_steps import N_ITEMS, NAMES, STEPS, run_block, toy_config

from reclib.shop import _checkpoint
from reclib.shop._driver import run


def sums(folder: Path) -> dict[str, str]:
    """SHA-256 of every file under the folder."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def by_hand(config: Any) -> dict[str, list[dict[str, Any]]]:
    """The rows of all tables, one after the other; numbers given while counting."""
    world = STEPS.build_world(config)
    mood, popularity = np.zeros(config.n_users), np.zeros(N_ITEMS)
    rows: dict[str, list[dict[str, Any]]] = {"sessions": [], "impressions": []}
    n_sessions = n_requests = 0
    for day in range(config.n_days):
        total, new = np.zeros(N_ITEMS), mood.copy()
        for block, low in enumerate(range(0, config.n_users, 16)):
            opened = {"day": day, "logits": world["weight"] + popularity}
            tables, after, counts = run_block(
                world, opened, {"mood": mood[low : low + 16].copy()}, block
            )
            for name, table in tables.items():
                for values in zip(*table.values(), strict=True):
                    row = dict(zip(table, values, strict=True))
                    row["session"] += n_sessions
                    if "request" in row:
                        row["request"] += n_requests
                    rows[name].append(row)
            n_sessions += len(tables["sessions"]["session"])
            n_requests += len(tables["impressions"]["request"])
            new[low : low + 16] = after["mood"]
            total += counts["popularity"]
        mood, popularity = new, 0.5 * popularity + np.log1p(total)
    return rows


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The files of the toy shop, made in one go by one process."""
    folder = tmp_path_factory.mktemp("whole")
    run(toy_config(), STEPS, folder)
    return sums(folder)


def test_the_tables_are_those_of_a_plain_loop() -> None:
    tables, rows = run(toy_config(), STEPS), by_hand(toy_config())
    for name, expected in rows.items():
        table = tables[name]
        assert len(table) == len(expected) > 20
        for column in expected[0]:
            wanted = [row[column] for row in expected]
            if column == "surface":
                assert list(table[column].cat.codes) == wanted
            elif column == "text":
                assert [None if pd.isna(one) else one for one in table[column]] == wanted
            else:
                assert (table[column].to_numpy() == np.array(wanted)).all()


def test_sessions_and_requests_are_numbered_through() -> None:
    tables = run(toy_config(), STEPS)
    sessions, impressions = tables["sessions"], tables["impressions"]
    assert (sessions["session"] == np.arange(len(sessions))).all()
    assert (impressions["request"] == np.arange(len(impressions))).all()
    assert (impressions["session"] == np.arange(len(impressions)) // 2).all()
    assert sessions["session"].dtype == np.int32


def test_a_missing_number_stays_missing() -> None:
    tables = run(toy_config(), replace(STEPS, run_block=_without_sessions))
    assert set(tables["clicks"]["session"]) == {-1}
    assert (tables["clicks"]["request"] == np.arange(len(tables["clicks"]))).all()


def _without_sessions(world: Any, opened: Any, customers: Any, block: int) -> Any:
    tables = {"clicks": {"session": np.array([-1, -1]), "request": np.array([0, 1])}}
    return tables, customers, {"popularity": np.zeros(N_ITEMS)}


def test_codes_get_all_their_names_in_order_and_minus_one_is_missing() -> None:
    surface = run(toy_config(), STEPS)["impressions"]["surface"]
    assert list(surface.cat.categories) == list(NAMES)
    assert surface.isna().any()


def test_memory_and_folder_give_equal_tables(tmp_path: Path) -> None:
    kept, stored = run(toy_config(), STEPS), run(toy_config(), STEPS, tmp_path / "shop")
    assert sorted(kept) == sorted(stored) == ["impressions", "products", "sessions"]
    for name in kept:
        pd.testing.assert_frame_equal(kept[name], stored[name])


def test_a_whole_folder_has_its_tables_and_their_checksums_only(expected: dict[str, str]) -> None:
    names = ["impressions.parquet", "products.parquet", "sessions.parquet", "shop.json"]
    assert sorted(expected) == names


@pytest.mark.parametrize("workers", [2, 4])
def test_any_number_of_processes_gives_the_same_bytes(
    tmp_path: Path, expected: dict[str, str], workers: int
) -> None:
    run(toy_config(), STEPS, tmp_path, workers=workers)
    assert sums(tmp_path) == expected


def test_another_seed_gives_other_bytes(tmp_path: Path, expected: dict[str, str]) -> None:
    run(toy_config(seed=1), STEPS, tmp_path)
    assert all(expected[name] != found for name, found in sums(tmp_path).items())


KILLED = """
import os, signal, sys
from pathlib import Path
from toy_steps import STEPS, toy_config
from reclib.shop import _checkpoint, _tables
from reclib.shop._driver import run

STEPS.generator  # read the code once
watched = {_checkpoint.__file__, _tables.__file__}  # all that touches files

def lines(folder, limit):
    left = limit
    def trace(frame, event, argument):
        nonlocal left
        if frame.f_code.co_filename not in watched:
            return None
        if event == "line":
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
        return trace
    sys.settrace(trace)
    run(toy_config(), STEPS, folder)
    sys.settrace(None)
    return limit - left

def child(work):
    if pid := os.fork():
        return os.waitpid(pid, 0)[1]
    work()
    os._exit(0)

root, n_points = Path(sys.argv[1]), int(sys.argv[2])
def count():
    (root / "count").write_text(str(lines(root / "all", 1 << 30)))
assert child(count) == 0
total = int((root / "count").read_text())
for point in range(n_points):
    at = total - point * total // n_points  # the last line too
    folder = root / str(at)
    status = child(lambda: lines(folder, at))
    assert status == signal.SIGKILL, (at, status)
    assert child(lambda: run(toy_config(), STEPS, folder)) == 0
print(total)
"""


def script(text: str, *arguments: object, check: bool = True) -> subprocess.CompletedProcess[str]:
    here = Path(__file__).parent
    path = os.pathsep.join([str(here), str(here.parents[1])])
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", textwrap.dedent(text), *map(str, arguments)]
    return subprocess.run(
        command, env=environment, check=check, capture_output=True, text=True, timeout=60
    )


def test_killed_at_any_line_and_run_again_it_gives_the_same_bytes(
    tmp_path: Path, expected: dict[str, str]
) -> None:
    done = script(KILLED, tmp_path, 12)
    assert int(done.stdout) > 500  # lines that ran in one simulation
    folders = [path for path in tmp_path.iterdir() if path.is_dir()]
    assert len(folders) == 13
    for folder in folders:
        assert sums(folder) == expected, folder.name


KILLED_WITH_PROCESSES = """
import multiprocessing, os, signal, sys
from pathlib import Path
from toy_steps import STEPS, toy_config
from reclib.shop._driver import run

def kill(done, of):
    if done == 2:
        print(*(child.pid for child in multiprocessing.active_children()), flush=True)
        os.kill(os.getpid(), signal.SIGKILL)

if __name__ == "__main__":
    run(toy_config(), STEPS, Path(sys.argv[1]), workers=2, progress=kill)
"""


def test_killed_with_its_processes_it_leaves_none_and_goes_on_at_the_last_whole_day(
    tmp_path: Path, expected: dict[str, str]
) -> None:
    done = script(KILLED_WITH_PROCESSES, tmp_path, check=False)
    assert done.returncode == -signal.SIGKILL
    children = [int(one) for one in done.stdout.split()]
    assert len(children) == 2
    days: list[int] = []
    run(toy_config(), STEPS, tmp_path, progress=lambda day, of: days.append(day))
    assert days == [2, 3, 4]
    assert sums(tmp_path) == expected
    deadline = time.monotonic() + 5
    while any(map(_alive, children)) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not any(map(_alive, children))


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def cut(folder: Path, day: int, seed: int = 0) -> None:
    """A simulation that stopped after some days."""

    def stop(done: int, of: int) -> None:
        if done == day:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(toy_config(seed), STEPS, folder, progress=stop)


def started_at(folder: Path) -> int:
    days: list[int] = []
    run(toy_config(), STEPS, folder, progress=lambda day, of: days.append(day))
    return days[0] if days else -1


def test_a_whole_folder_is_not_simulated_again(tmp_path: Path, expected: dict[str, str]) -> None:
    assert started_at(tmp_path) == 0
    assert started_at(tmp_path) == -1
    assert sums(tmp_path) == expected


@pytest.mark.parametrize("damage", ["part", "missing", "memory"])
def test_damaged_parts_are_made_again(
    tmp_path: Path, expected: dict[str, str], damage: str
) -> None:
    cut(tmp_path, 3)
    part = tmp_path / "days" / "00002-impressions.arrow"
    if damage == "part":  # one bit
        bytes_ = bytearray(part.read_bytes())
        bytes_[len(bytes_) // 2] ^= 1
        part.write_bytes(bytes_)
    elif damage == "missing":
        part.unlink()
    else:
        memory = tmp_path / "days" / "memory.npz"
        memory.write_bytes(memory.read_bytes()[:200])
    assert started_at(tmp_path) == 0
    assert sums(tmp_path) == expected


def test_what_another_seed_left_is_not_gone_on_with(
    tmp_path: Path, expected: dict[str, str]
) -> None:
    cut(tmp_path, 3, seed=1)
    assert started_at(tmp_path) == 0
    assert sums(tmp_path) == expected


def test_what_other_code_left_is_not_gone_on_with(
    tmp_path: Path, expected: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(_checkpoint, "_checksum_of_modules", lambda names: "another")
        cut(tmp_path, 3)
        (tmp_path / "old.parquet").write_bytes(b"a table that is no more")
    assert started_at(tmp_path) == 0
    assert sums(tmp_path) == expected


def test_a_damaged_table_is_made_again(tmp_path: Path, expected: dict[str, str]) -> None:
    run(toy_config(), STEPS, tmp_path)
    (tmp_path / "sessions.parquet").write_bytes(b"half")
    assert started_at(tmp_path) == 0
    assert sums(tmp_path) == expected


def test_a_full_disk_says_so_and_the_rest_is_simulated_when_there_is_room(
    tmp_path: Path, expected: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write = Path.write_bytes

    def full(self: Path, data: Any) -> int:
        if self.name == "00003-sessions.arrow":
            write(self, bytes(data)[:10])
            raise OSError(28, "No space left on device")
        return write(self, data)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(OSError, match="No space left"):
            run(toy_config(), STEPS, tmp_path)
    assert not list(tmp_path.glob("*.parquet"))
    assert started_at(tmp_path) == 2
    assert sums(tmp_path) == expected


def test_blocks_of_other_types_are_refused() -> None:
    with pytest.raises(ValueError, match="Schema"):
        run(toy_config(), replace(STEPS, run_block=_other_type))


def _other_type(world: Any, opened: Any, customers: Any, block: int) -> Any:
    number = np.zeros(1, np.int64 if block == 2 else np.int32)
    return {"clicks": {"item": number}}, customers, {"popularity": np.zeros(N_ITEMS)}


@pytest.mark.parametrize("workers", [0, 1.5, True])
def test_a_wrong_number_of_processes_is_refused(workers: Any) -> None:
    with pytest.raises(ValueError, match="workers must be an integer of at least 1"):
        run(toy_config(), STEPS, workers=workers)


def test_the_bar_goes_to_stderr_only_when_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    run(toy_config(), STEPS)
    assert capsys.readouterr() == ("", "")
    run(toy_config(), STEPS, progress=True)
    assert f"shop {toy_config().hash}" in capsys.readouterr().err


def test_the_generator_is_all_code_that_the_steps_import() -> None:
    names = {Path(name).name for name in _checkpoint._imports(Path(_checkpoint.__file__))}
    assert names == {"__init__.py", "_config.py", "_tables.py"}  # reclib itself, and two modules


def test_other_names_of_codes_or_another_size_of_blocks_are_another_generator() -> None:
    others = [replace(STEPS, categories={"surface": NAMES[::-1]}), replace(STEPS, block_size=8)]
    assert len({steps.generator for steps in (STEPS, *others)}) == 3
    assert replace(STEPS, categories={"surface": list(NAMES)}).generator == STEPS.generator


def test_meta_names_settings_generator_and_files(tmp_path: Path) -> None:
    run(toy_config(), STEPS, tmp_path)
    meta = json.loads((tmp_path / "shop.json").read_text())
    assert meta["config"] == json.loads(toy_config().to_json())
    assert meta["generator"] == STEPS.generator
    assert meta["files"]["sessions"] == sums(tmp_path)["sessions.parquet"]
