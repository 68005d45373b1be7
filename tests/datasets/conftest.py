"""A small registry, a cache of its own, and an origin on this machine that misbehaves as told."""

import hashlib
import threading
import time
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from reclib import datasets
from reclib.datasets import fetching, registry


class Origin(ThreadingHTTPServer):
    """Serves ``files`` by path; ``plan`` says how to answer the next requests, then all is well."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files: dict[str, bytes] = {}
        self.plan: list[str] = []
        self.ranges: list[str | None] = []
        self.both = threading.Barrier(2)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is part of the tests."""


class _Handler(BaseHTTPRequestHandler):
    server: Origin

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        asked = self.headers.get("Range")
        self.server.ranges.append(asked)
        how = self.server.plan.pop(0) if self.server.plan else "well"
        content = self.server.files.get(self.path.removeprefix("/commit/"))
        if content is None or how.isdigit():
            self.send_error(int(how) if how.isdigit() else 404)
            return
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked else 0
        if how == "late":
            time.sleep(1.0)
        if how == "changed":
            content = bytes(reversed(content))
        elif how == "short":
            content = content[:10]
        elif how == "long":
            content += b"and more"
        if how in ("ignores range", "changed", "short", "long"):
            start = 0
        self.send_response(206 if start or how == "other range" else 200)
        self.send_header("Content-Length", str(len(content) - start))
        if start or how == "other range":
            claimed = 1 if how == "other range" else start
            self.send_header("Content-Range", f"bytes {claimed}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        self._send(content[start:], how)

    def _send(self, content: bytes, how: str) -> None:
        if how == "cut":
            self.wfile.write(content[: len(content) // 2])
            return
        if how == "together":  # two clients are in the middle of the file at the same time
            self.wfile.write(content[: len(content) // 2])
            self.wfile.flush()
            self.server.both.wait(timeout=60)
            content = content[len(content) // 2 :]
        self.wfile.write(content)


@pytest.fixture
def origin() -> Iterator[Origin]:
    server = Origin()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


class Shelf:
    """A registry, a cache and a mirror in a temporary folder."""

    def __init__(self, folder: Path) -> None:
        self.registry = folder / "registry.toml"
        self.cache = folder / "cache"
        self.mirror = folder / "mirror"

    def register(
        self, name: str, files: Mapping[str, bytes], repository: str = "http://127.0.0.1:9"
    ) -> None:
        """The only data set of the registry, with the right sums."""
        lines = [f"{_sha256(c)} {len(c)} {path}" for path, c in files.items()]
        text = "".join(f"{line}\n" for line in lines)
        fields = "".join(
            f'{key} = "{value}"\n'
            for key, value in {
                "what": "toys",
                "size": "a few",
                "part": "whole",
                "format": "bytes",
                "licence": "none needed",
                "use_class": "A",
                "repository": repository,
                "commit": "commit",
                "origin": "",
            }.items()
        )
        lists = 'aliases = ["alias"]\nchapters = ["sequential/sessions"]\n'
        self.registry.write_text(f"[{name}]\n{fields}{lists}files = '''\n{text}'''\n")
        registry._read.cache_clear()

    @staticmethod
    def put(folder: Path, name: str, files: Mapping[str, bytes]) -> None:
        for path, content in files.items():
            (folder / name / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / name / path).write_bytes(content)

    def leftovers(self) -> list[str]:
        """Names of all files in the cache that are not whole files."""
        return sorted(p.name for p in self.cache.rglob("*") if p.name.endswith(".part"))


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shelf:
    shelf = Shelf(tmp_path)
    monkeypatch.setattr(registry, "REGISTRY", shelf.registry)
    monkeypatch.setenv("RECLIB_DATA", str(shelf.cache))
    monkeypatch.delenv("RECLIB_MIRROR", raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(fetching, "_PAUSE", 0.01)
    monkeypatch.setattr(fetching, "_TIMEOUT", 0.3)
    return shelf


@pytest.fixture
def real() -> Any:
    """``real(name)`` loads a data set that lies here already; without it the test is skipped."""

    def load(name: str) -> Any:
        _need(name)
        return datasets.load(name)

    return load


@pytest.fixture
def real_files() -> Any:
    """``real_files(name)`` gives the paths of a data set that lies here already."""

    def paths(name: str) -> Mapping[str, Path]:
        _need(name)
        return fetching.resolve(name)

    return paths


def _need(name: str) -> None:
    if not datasets.available(name):
        pytest.skip(f"{name} lies neither in the cache nor in a mirror (RECLIB_MIRROR)")
