import subprocess
import sys
from typing import Any

import pytest

from reclib.datasets import readme
from reclib.datasets.__main__ import main

FILES = {"a.bin": b"some content", "b.bin": b"more"}


def test_list_shows_where_each_data_set_lies(
    shelf: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf.register("toy", FILES)
    assert main(["list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["name", "alias", "MiB", "class", "from"]
    assert lines[1].split() == ["toy", "alias", "0.0", "A", "origin"]
    assert lines[2].split() == ["shop", "simulated", "here,", "nothing", "to", "download"]
    shelf.put(shelf.mirror, "toy", FILES)
    monkeypatch.setenv("RECLIB_MIRROR", str(shelf.mirror))
    main(["list"])
    assert capsys.readouterr().out.splitlines()[1].endswith("  mirror")
    shelf.put(shelf.cache, "toy", {"a.bin": FILES["a.bin"]})
    main(["list"])
    assert capsys.readouterr().out.splitlines()[1].endswith("  cache (1 files), mirror (1 files)")


def test_fetch_downloads_and_says_so(
    shelf: Any, origin: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    shelf.register("toy", FILES, repository=origin.url)
    origin.files = FILES
    assert main(["fetch", "alias"]) == 0
    assert capsys.readouterr().out == "toy: 2 files from cache, verified\n"
    assert (shelf.cache / "toy" / "b.bin").read_bytes() == b"more"


def test_fetch_names_the_terms_of_what_has_no_open_licence(
    shelf: Any, origin: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    shelf.register("toy", FILES, repository=origin.url)
    text = shelf.registry.read_text().replace('use_class = "A"', 'use_class = "C"')
    shelf.registry.write_text(text)
    origin.files = FILES
    assert main(["fetch", "toy"]) == 0
    assert capsys.readouterr().out.splitlines()[0] == "toy: terms, class C: none needed"


def test_fetch_of_an_unknown_name_fails_before_anything_is_fetched(
    shelf: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    shelf.register("toy", FILES)
    assert main(["fetch", "toy", "toys"]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "error: name must be a data set, got 'toys'; did you mean toy?\n"


def test_fetch_says_what_the_origin_did(shelf: Any, capsys: pytest.CaptureFixture[str]) -> None:
    shelf.register("toy", FILES)
    assert main(["fetch", "toy"]) == 1
    assert capsys.readouterr().err.startswith("error: toy/a.bin must lie in the cache ")


def test_verify_tells_ok_missing_and_wrong_and_fails_on_wrong(
    shelf: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    shelf.register("toy", {**FILES, "c.bin": b"third"})
    shelf.put(shelf.cache, "toy", {"a.bin": b"some content"})
    assert main(["verify"]) == 0
    shelf.put(shelf.cache, "toy", {"b.bin": b"less"})
    capsys.readouterr()
    assert main(["verify", "toy"]) == 1
    assert capsys.readouterr().out.splitlines() == [
        "ok       toy/a.bin",
        "wrong    toy/b.bin",
        "missing  toy/c.bin",
        "1 ok, 1 missing, 1 wrong",
    ]


def test_readme_writes_the_page(
    shelf: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf.register("toy", FILES)
    page = shelf.registry.with_name("README.md")
    monkeypatch.setattr("reclib.datasets.__main__.README", page)
    assert main(["readme"]) == 0
    assert capsys.readouterr().out == f"wrote {page}\n"
    assert page.read_text(encoding="utf-8") == readme.readme()
    assert "### toy\n" in page.read_text(encoding="utf-8")


def test_the_module_runs_as_a_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "reclib.datasets", "list"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert len(done.stdout.splitlines()) == 32
    assert done.stderr == ""
