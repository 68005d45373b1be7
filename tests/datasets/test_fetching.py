import errno
import hashlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from reclib.datasets import available, fetch, fetching
from reclib.datasets.fetching import locate, resolve, state
from reclib.datasets.registry import find

# 320 kB without a period that a block or a half could hide
CONTENT = b"".join(hashlib.sha256(str(n).encode()).digest() for n in range(10_000))
FILES = {"a.bin": CONTENT}
SHA = hashlib.sha256(CONTENT).hexdigest()
TO_GET_IT = (
    "run `python -m reclib.datasets fetch toy` where the network is open, or set RECLIB_MIRROR to "
    "a folder that holds toy/a.bin"
)


@pytest.fixture
def toy(shelf: Any, origin: Any) -> Any:
    """The data set ``toy`` with one file at the origin."""
    shelf.register("toy", FILES, repository=origin.url)
    origin.files = dict(FILES)
    return shelf


def fetched() -> bytes:
    return fetch("toy")["a.bin"].read_bytes()


def missing(shelf: Any, origin: Any, failure: str) -> str:
    return (
        f"toy/a.bin must lie in the cache {shelf.cache} or the mirror (none is set), got neither, "
        f"and {origin.url}/commit/a.bin gave {failure}; {TO_GET_IT}"
    )


def wrong(content: bytes, where: object, hint: str = "") -> str:
    return (
        f"toy/a.bin must have {len(CONTENT)} bytes and sha256 {SHA}, got {len(content)} bytes and "
        f"sha256 {hashlib.sha256(content).hexdigest()} from {where}{hint}"
    )


def test_a_file_comes_from_the_origin_once(toy: Any, origin: Any) -> None:
    assert fetched() == CONTENT
    assert fetched() == CONTENT
    assert origin.ranges == [None]
    assert locate(find("toy").files[0]) == ("cache", toy.cache / "toy" / "a.bin")
    assert toy.leftovers() == []


def test_an_alias_is_fetched_like_its_name(toy: Any) -> None:
    assert fetch("alias")["a.bin"].read_bytes() == CONTENT


def test_the_mirror_is_used_in_place_and_not_copied(
    toy: Any, origin: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    toy.put(toy.mirror, "toy", FILES)
    monkeypatch.setenv("RECLIB_MIRROR", str(toy.mirror))
    assert available("toy")
    assert resolve("toy") == {"a.bin": toy.mirror / "toy" / "a.bin"}
    assert origin.ranges == []
    assert not toy.cache.exists()


def test_the_cache_comes_before_the_mirror(toy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    toy.put(toy.mirror, "toy", FILES)
    toy.put(toy.cache, "toy", FILES)
    monkeypatch.setenv("RECLIB_MIRROR", str(toy.mirror))
    assert resolve("toy") == {"a.bin": toy.cache / "toy" / "a.bin"}


def test_what_the_mirror_lacks_comes_from_the_origin(
    shelf: Any, origin: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {"a.bin": CONTENT, "deep/b.bin": b"small"}
    shelf.register("toy", files, repository=origin.url)
    origin.files = files
    shelf.put(shelf.mirror, "toy", {"a.bin": CONTENT})
    monkeypatch.setenv("RECLIB_MIRROR", str(shelf.mirror))
    assert not available("toy")
    paths = resolve("toy")
    assert paths == {
        "a.bin": shelf.mirror / "toy" / "a.bin",
        "deep/b.bin": shelf.cache / "toy" / "deep" / "b.bin",
    }
    assert paths["deep/b.bin"].read_bytes() == b"small"


def test_a_mirror_that_is_no_folder_is_refused(toy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECLIB_MIRROR", str(toy.mirror))
    with pytest.raises(ValueError) as error:
        fetch("toy")
    assert str(error.value) == f"RECLIB_MIRROR must be a folder, got '{toy.mirror}'"


def test_many_files_come_over_several_connections(shelf: Any, origin: Any) -> None:
    files = {f"{n}.bin": CONTENT[: n + 1] for n in range(40)}
    shelf.register("toy", files, repository=origin.url)
    origin.files = files
    paths = fetch("toy")
    assert {path: paths[path].read_bytes() for path in files} == files


def test_the_first_file_that_fails_stops_the_rest(shelf: Any, origin: Any) -> None:
    files = {f"{n}.bin": CONTENT[: n + 1] for n in range(200)}
    shelf.register("toy", files, repository=origin.url)
    with pytest.raises(FileNotFoundError, match="404 Not Found"):
        fetch("toy")
    assert len(origin.ranges) < 200


def test_a_cut_download_goes_on_where_it_stopped(toy: Any, origin: Any) -> None:
    origin.plan = ["cut"]
    assert fetched() == CONTENT
    assert origin.ranges == [None, f"bytes={len(CONTENT) // 2}-"]


def test_what_a_failed_download_leaves_is_resumed_by_the_next(toy: Any, origin: Any) -> None:
    origin.plan = ["cut", "404"]
    with pytest.raises(FileNotFoundError):
        fetch("toy")
    assert toy.leftovers() == ["a.bin.part"]
    assert fetched() == CONTENT
    assert origin.ranges[-1] == f"bytes={len(CONTENT) // 2}-"
    assert toy.leftovers() == []


def test_a_rest_of_something_else_is_thrown_away(toy: Any, origin: Any) -> None:
    toy.put(toy.cache, "toy", {"a.bin.part": b"<html>"})
    assert fetched() == CONTENT
    assert origin.ranges == ["bytes=6-", None]


def test_a_rest_that_is_too_long_is_thrown_away(toy: Any, origin: Any) -> None:
    toy.put(toy.cache, "toy", {"a.bin.part": CONTENT + b"and more"})
    assert fetched() == CONTENT
    assert origin.ranges == [None]


def test_a_rest_that_is_whole_needs_no_request(toy: Any, origin: Any) -> None:
    toy.put(toy.cache, "toy", {"a.bin.part": CONTENT})
    assert fetched() == CONTENT
    assert origin.ranges == []


@pytest.mark.parametrize(
    "plan",
    [
        ["cut", "ignores range"],
        ["cut", "416"],
        ["cut", "other range"],
        ["cut", "cut", "cut"],
        ["late"],
        ["500", "503", "429"],
        ["short", "short"],
        ["other range"],
    ],
    ids=" then ".join,
)
def test_a_passing_trouble_is_overcome(toy: Any, origin: Any, plan: list[str]) -> None:
    origin.plan = list(plan)
    assert fetched() == CONTENT
    assert len(origin.ranges) == len(plan) + (plan != ["cut", "ignores range"])
    assert toy.leftovers() == []


@pytest.mark.parametrize(
    ("how", "failure", "requests"),
    [
        ("404", "HTTP 404 Not Found", 1),
        ("403", "HTTP 403 Forbidden", 1),
        ("416", "HTTP 416 Requested Range Not Satisfiable", 4),
        ("500", "HTTP 500 Internal Server Error", 4),
        ("late", "timed out", 4),
        ("short", f"10 of {len(CONTENT)} bytes", 4),
    ],
)
def test_a_lasting_trouble_is_named_with_the_two_ways_to_get_the_file(
    toy: Any, origin: Any, how: str, failure: str, requests: int
) -> None:
    origin.plan = [how] * 9
    with pytest.raises(FileNotFoundError) as error:
        fetch("toy")
    assert str(error.value) == missing(toy, origin, failure)
    assert len(origin.ranges) == requests


def test_without_a_network_the_two_ways_to_get_the_file_are_named(shelf: Any) -> None:
    shelf.register("toy", FILES, repository="http://127.0.0.1:9")
    with pytest.raises(FileNotFoundError) as error:
        fetch("toy")
    assert "http://127.0.0.1:9/commit/a.bin gave" in str(error.value)
    assert str(error.value).endswith(TO_GET_IT)


@pytest.mark.parametrize("how", ["changed", "long"])
def test_an_origin_that_lies_is_refused_with_both_sums(toy: Any, origin: Any, how: str) -> None:
    origin.plan = [how] * 9
    content = bytes(reversed(CONTENT)) if how == "changed" else CONTENT + b"and more"
    with pytest.raises(ValueError) as error:
        fetch("toy")
    assert str(error.value) == wrong(content, f"{origin.url}/commit/a.bin")
    assert list(toy.cache.rglob("*.*")) == []


@pytest.mark.parametrize("place", ["cache", "mirror"])
@pytest.mark.parametrize("content", [CONTENT[:-1], b"x" + CONTENT[1:]], ids=["truncated", "wrong"])
def test_a_damaged_file_is_refused_with_both_sums(
    toy: Any, origin: Any, monkeypatch: pytest.MonkeyPatch, place: str, content: bytes
) -> None:
    folder = getattr(toy, place)
    toy.put(folder, "toy", {"a.bin": content})
    toy.mirror.mkdir(exist_ok=True)
    monkeypatch.setenv("RECLIB_MIRROR", str(toy.mirror))
    with pytest.raises(ValueError) as error:
        resolve("toy")
    hint = "; `python -m reclib.datasets fetch toy` replaces it"
    assert str(error.value) == wrong(content, folder / "toy" / "a.bin", hint)
    assert origin.ranges == []


@pytest.mark.parametrize("place", ["cache", "mirror"])
def test_fetch_replaces_a_damaged_file(
    toy: Any, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    toy.put(getattr(toy, place), "toy", {"a.bin": b"damaged"})
    toy.mirror.mkdir(exist_ok=True)
    monkeypatch.setenv("RECLIB_MIRROR", str(toy.mirror))
    assert state(find("toy").files[0]) == "wrong"
    assert fetch("toy") == {"a.bin": toy.cache / "toy" / "a.bin"}
    assert resolve("toy")["a.bin"].read_bytes() == CONTENT
    if place == "mirror":
        assert (toy.mirror / "toy" / "a.bin").read_bytes() == b"damaged"


def test_a_damaged_file_in_the_cache_is_replaced_from_the_mirror_without_a_network(
    toy: Any, origin: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    toy.put(toy.cache, "toy", {"a.bin": b"damaged"})
    toy.put(toy.mirror, "toy", FILES)
    monkeypatch.setenv("RECLIB_MIRROR", str(toy.mirror))
    assert fetched() == CONTENT
    assert origin.ranges == []


SCRIPT = """
import sys
from pathlib import Path
from reclib.datasets import fetch, fetching, registry
registry.REGISTRY = Path(sys.argv[1])
fetching._TIMEOUT = 60
print(fetch("toy", progress=False)["a.bin"].stat().st_size)
"""


def test_two_processes_that_fetch_at_once_both_succeed(toy: Any, origin: Any) -> None:
    origin.plan = ["together", "together"]
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(toy.registry)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for process in processes:
        out, err = process.communicate(timeout=90)
        assert (process.returncode, out.strip()) == (0, str(len(CONTENT))), err
    assert origin.ranges == [None, None]
    assert (toy.cache / "toy" / "a.bin").read_bytes() == CONTENT
    assert toy.leftovers() == []


class _FullDisk:
    """A file on a disk with room for one block."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._blocks = 0

    def __enter__(self) -> "_FullDisk":
        return self

    def __exit__(self, *failure: Any) -> None:
        self._stream.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, block: bytes) -> int:
        self._blocks += 1
        if self._blocks > 1:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return int(self._stream.write(block))


def test_a_full_disk_is_named_and_keeps_nothing_half_written(
    toy: Any, origin: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    real_open = Path.open

    def full(path: Path, mode: str = "r", *args: Any, **options: Any) -> Any:
        stream = real_open(path, mode, *args, **options)
        return _FullDisk(stream) if mode == "r+b" else stream

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(OSError) as error:
        fetch("toy")
    assert error.value.errno == errno.ENOSPC
    assert error.value.strerror == (
        f"the cache must have room for toy/a.bin ({len(CONTENT)} bytes), got a full disk at "
        f"{toy.cache}; set RECLIB_DATA to another folder"
    )
    assert len(origin.ranges) == 1
    assert [path for path in toy.cache.rglob("*") if path.is_file()] == []
    monkeypatch.undo()


@contextmanager
def unprivileged() -> Iterator[None]:
    """Root may write everywhere; the tests may run as root."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


@pytest.mark.skipif(sys.platform == "win32", reason="needs the file permissions of POSIX")
def test_a_read_only_cache_is_named_with_what_can_be_done(
    toy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = find("toy").files[0]
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o555)
        monkeypatch.setenv("RECLIB_DATA", folder)
        with unprivileged(), pytest.raises(PermissionError) as error:
            fetching._download(file, lambda have: None)
        Path(folder).chmod(0o755)
    assert str(error.value) == (
        f"the cache must be a folder that can be written, got {folder} (Permission denied); set "
        "RECLIB_DATA to another folder, or RECLIB_MIRROR to one that holds toy/a.bin"
    )


def test_a_cache_that_is_a_file_is_named(
    toy: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("RECLIB_DATA", str(tmp_path / "file"))
    with pytest.raises(PermissionError, match="the cache must be a folder that can be written"):
        fetch("toy")


def test_a_read_only_cache_does_not_matter_where_the_mirror_has_the_file(
    toy: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("RECLIB_DATA", str(tmp_path / "file"))
    toy.put(toy.mirror, "toy", FILES)
    monkeypatch.setenv("RECLIB_MIRROR", str(toy.mirror))
    assert fetched() == CONTENT


def test_a_file_that_another_process_has_just_put_there_is_accepted(
    toy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace = os.replace

    def refused(source: Any, target: Any) -> None:
        if Path(target).name == "a.bin":
            Path(target).write_bytes(CONTENT)
            raise PermissionError(errno.EACCES, "in use")
        replace(source, target)

    monkeypatch.setattr(os, "replace", refused)
    assert fetched() == CONTENT
    assert toy.leftovers() == []


def test_the_bar_never_passes_the_size_of_the_files(
    toy: Any, origin: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    moves: list[int] = []
    monkeypatch.setattr(fetching.tqdm, "update", lambda bar, n=1: moves.append(n))
    origin.plan = ["cut", "ignores range"]
    fetch("toy")
    assert sum(moves) == len(CONTENT)
    assert min(moves) < 0  # back to the start, where the origin did not resume


def test_the_default_cache_lies_in_the_checkout_and_git_ignores_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("RECLIB_DATA", raising=False)
    folder = fetching.cache_folder()
    checkout = Path(__file__).resolve().parents[2]
    assert folder == checkout / "data" / "cache"
    assert "/data/cache/" in (checkout / ".gitignore").read_text().split()
