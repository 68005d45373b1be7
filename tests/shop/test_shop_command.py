"""The command line of the shop: what it prints, what it leaves behind, how it fails."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest

from reclib.shop import Shop, __main__, open_shop
from reclib.shop.__main__ import main
from reclib.shop._expectations import ROWS


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("shops") / "tiny"
    assert main(["simulate", "--profile", "tiny", "--seed", "3", "--out", str(out)]) == 0
    return out


def test_simulate_leaves_a_shop_that_opens(folder: Path) -> None:
    shop = open_shop(folder)
    assert (shop.config.profile, shop.config.seed) == ("tiny", 3)
    assert len(shop.impressions) > 10_000


def test_simulate_shows_days_on_stderr_and_the_rate_on_stdout(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    folder: Path,
) -> None:
    shop = open_shop(folder)

    def quick(config: object, out: Path, *, workers: int, progress: object) -> Shop:
        assert (out, workers) == (tmp_path / "out", 2)
        assert callable(progress)
        for day in range(31):
            progress(day, 30)
        return shop

    monkeypatch.setattr(__main__, "simulate", quick)
    options = ["--profile", "tiny", "--out", str(tmp_path / "out"), "--workers", "2"]
    assert main(["simulate", *options]) == 0
    captured = capsys.readouterr()
    lines = captured.err.splitlines()
    assert len(lines) == 11 and lines[0].startswith("day 0 of 30, ")
    assert re.fullmatch(r"day 15 of 30, \d+ s, \d+ s left", lines[5])
    n = f"{len(shop.impressions):,}"
    assert re.search(rf"^{n} impressions in [\d.]+ s, [\d,]+ a second: ", captured.out, re.M)


def test_simulate_passes_domain_and_world_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, folder: Path
) -> None:
    seen = []

    def quick(config: object, out: Path, **options: object) -> Shop:
        seen.append(config)
        return open_shop(folder)

    monkeypatch.setattr(__main__, "simulate", quick)
    choices = ["--profile", "tiny", "--domain", "sport", "--world", "longterm"]
    assert main(["simulate", *choices, "--out", str(tmp_path)]) == 0
    assert (seen[0].domain, seen[0].world) == ("sport", "longterm")


def test_describe_prints_every_statistic_in_100_columns(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["describe", str(folder)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 100
    names = [row.name for rows in ROWS.values() for row in rows]
    assert [line[3:31].strip() for line in lines[2 : 2 + len(names)]] == names


def test_describe_marks_what_is_in_out_and_not_there(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = {
        "test": [1, 2, 3, 4, 5],
        "statistic": ["inside", "outside", "absent", "told", "symmetric"],
        "value": [0.5, 2500.0, float("nan"), 12.0, -1e-9],
        "low": [0.25, 3.0, float("-inf"), float("-inf"), -3.0],
        "high": [0.75, float("inf"), 2.0, float("inf"), 3.0],
        "ok": [True, False, None, None, True],
        "others": ["", "a fair .1", "", "", ""],
    }
    names = ("Beauty", "Sports", "Last.fm", "Diginetica", "Tmall", "eshop")
    table = pd.DataFrame(rows).astype({"ok": "boolean"})
    table[list(names)] = [[0.499, 22363.0, 48.21, 4.0, 0.00073, float("nan")]] * 5
    monkeypatch.setattr(__main__, "describe", lambda shop, **kinds: table)
    assert main(["describe", str(folder)]) == 0
    lines = capsys.readouterr().out.splitlines()[2:]
    words = [line.split() for line in lines[:5]]
    real = [".499", "22363", "48.2", "4", ".00073"]
    assert words[0] == ["1", "inside", ".5", ".25-.75", "ok", *real]
    assert words[1] == ["2", "outside", "2500", ">=", "3", "OUT", *real]
    assert words[2] == ["3", "absent", "-", "<=", "2", *real]
    assert words[3] == ["4", "told", "12", *real]
    assert words[4] == ["5", "symmetric", "0", "+-3", "ok", *real]
    assert lines[5:] == [
        "2 of 3 statistics lie in the range accepted.",
        "Other shops: outside: a fair .1.",
        "Not there (-): absent.",
    ]


def test_worlds_prints_what_planning_is_worth(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["worlds"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[2:]]
    gains = {(name, start): planner for name, start, planner, *_ in rows}
    assert gains["control", "0.0"] == "0.0%"
    assert gains["default", "0.0"] == "12.9%"
    assert gains["longterm", "0.0"] == "70.5%"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["describe", "nowhere"], "folder must hold a simulated shop with its shop.json, got "),
        (["simulate", "--profile", "huge", "--out", "x"], "profile must be one of "),
        (["simulate", "--seed", "-1", "--profile", "tiny", "--out", "x"], "seed must be "),
        (["simulate", "--domain", "space", "--out", "x"], "domain must be one of "),
        (["simulate", "--world", "flat", "--out", "x"], "world must be one of "),
        (["simulate", "--profile", "tiny", "--workers", "0", "--out", "x"], "workers must be "),
    ],
)
def test_an_error_is_one_line_and_status_2(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith(f"error: {message}") and captured.err.count("\n") == 1
    assert captured.out == ""
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "error: the following arguments are required: command\n"),
        (["simulate"], "error: the following arguments are required: --out\n"),
        (
            ["simulate", "--seed", "x", "--out", "y"],
            "error: argument --seed: invalid int value: 'x'\n",
        ),
    ],
)
def test_a_wrong_command_line_is_one_line_and_status_2(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    assert capsys.readouterr().err == message


def test_a_folder_with_other_things_is_left_as_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "letter.txt").write_text("keep me")
    assert main(["simulate", "--profile", "tiny", "--out", str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith("error: folder must be ")
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]


def test_stopped_by_hand_it_says_so_and_leaves_no_shop(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"

    def stop(day: int, n_days: int) -> None:
        if day == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(__main__, "_progress", lambda began: stop)
    assert main(["simulate", "--profile", "tiny", "--out", str(out)]) == 130
    assert "goes on at the last whole day" in capsys.readouterr().err
    assert not out.exists()
    assert main(["describe", str(out)]) == 2
