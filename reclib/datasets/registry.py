"""The registry: what every data set is, its terms, and where its files come from.

    address of a file = raw(repository) / commit / origin / path

Source: the book's own; the facts lie in ``data/registry.toml``.
Differences from the paper: none.
Chapter: foundations/interactions
"""

from __future__ import annotations

import difflib
import hashlib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

__all__ = ["CHECKOUT", "REGISTRY", "File", "Source", "find", "names", "sources"]

CHECKOUT = Path(__file__).resolve().parents[2]
REGISTRY = CHECKOUT / "data" / "registry.toml"


@dataclass(frozen=True)
class File:
    """One file of a data set.

    Attributes:
        path: under the cache and the mirror, ``NAME/...`` with forward slashes.
        n_bytes: its size.
        sha256: hexadecimal.
        url: its address at the origin, at a fixed commit.
    """

    path: str
    n_bytes: int
    sha256: str
    url: str


@dataclass(frozen=True)
class Source:
    """One data set; ``data/registry.toml`` explains the fields at its head."""

    name: str
    aliases: tuple[str, ...]
    what: str
    size: str
    part: str
    format: str
    licence: str
    use_class: str
    chapters: tuple[str, ...]
    repository: str
    commit: str
    files: tuple[File, ...]

    @property
    def n_bytes(self) -> int:
        """Size of all files."""
        return sum(file.n_bytes for file in self.files)

    @property
    def checksum(self) -> str:
        """The file's sha256; with several, that over the lines ``sha256  path``, sorted by path."""
        if len(self.files) == 1:
            return self.files[0].sha256
        files = sorted(self.files, key=lambda file: file.path)
        lines = [f"{file.sha256}  {file.path}\n" for file in files]
        return hashlib.sha256("".join(lines).encode()).hexdigest()


def sources() -> Mapping[str, Source]:
    """All data sets by name, in the order of the registry.

    Raises:
        FileNotFoundError: if the package does not lie in a checkout of the project.
    """
    return _read(REGISTRY)


def names() -> tuple[str, ...]:
    """All names that can be fetched; ``load`` also knows ``shop``, which is simulated."""
    return tuple(sources())


def find(name: str) -> Source:
    """The data set with this name or alias.

    Raises:
        KeyError: if there is none; names those that come close.
    """
    known = sources()
    if name in known:
        return known[name]
    by_alias = {alias: source for source in known.values() for alias in source.aliases}
    if name in by_alias:
        return by_alias[name]
    close = difflib.get_close_matches(name, ["shop", *known, *by_alias], n=3)
    hint = (
        f"did you mean {' or '.join(close)}?" if close else "see `python -m reclib.datasets list`"
    )
    raise KeyError(f"name must be a data set, got {name!r}; {hint}")


@lru_cache(maxsize=4)
def _read(path: Path) -> Mapping[str, Source]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise FileNotFoundError(
            f"the registry of data sets must lie at {path}, got nothing there; "
            "reclib.datasets works from a checkout of the project (pip install -e .)"
        ) from None
    return {name: _source(name, entry) for name, entry in tomllib.loads(text).items()}


def _source(name: str, entry: dict[str, Any]) -> Source:
    raw = entry["repository"].replace("https://github.com/", "https://raw.githubusercontent.com/")
    files = []
    for line in entry["files"].split("\n"):
        if not line:
            continue
        sha256, n_bytes, path, *elsewhere = line.split(" ")
        origin = elsewhere[0] if elsewhere else entry["origin"] + path
        url = f"{raw}/{entry['commit']}/{quote(origin)}"
        files.append(File(f"{name}/{path}", int(n_bytes), sha256, url))
    same = ("what", "size", "part", "format", "licence", "use_class", "repository", "commit")
    return Source(
        name=name,
        aliases=tuple(entry["aliases"]),
        chapters=tuple(entry["chapters"]),
        files=tuple(files),
        **{key: entry[key] for key in same},
    )
