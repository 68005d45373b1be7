"""Where a simulation is kept while it runs, and its whole result afterwards.

folder = shop.json + one parquet file a table; before that also days/ = parts of days + memory.npz.

``memory.npz`` is renamed into place after the parts of its day: it alone says which day is whole.
``shop.json`` comes last and has the SHA-256 of every table: without it there is no shop.

Source: the usual write beside and rename (see POSIX ``rename``).

Differences from the specification: none; it leaves the files open.

Chapter: shop/simulation.
"""

from __future__ import annotations

import ast
import hashlib
import json
import shutil
import sys
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

import reclib
from reclib.shop._config import SimConfig
from reclib.shop._tables import Categories, Tables, checksum, coded, from_frame, write_parquet

__all__ = ["InFolder", "InMemory", "Memory", "State", "checksum_of_code", "left_by", "open_whole"]

Memory = dict[str, NDArray]

_META = "shop.json"
_DAYS = "days"
_DAMAGE = (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile)


@dataclass
class State:
    """Where a simulation stands.

    Attributes:
        day: the next day.
        memory: all arrays that go from day to day.
        numbers: how many sessions and requests there were.
        parts: CRC-32 of each file of a day, by its name.
    """

    day: int
    memory: Memory
    numbers: dict[str, int]
    parts: dict[str, int]


class InMemory:
    """Days kept as Arrow tables."""

    def __init__(self, categories: Categories) -> None:
        self._categories = categories
        self._days: dict[str, list[pa.Table]] = {}

    def resume(self) -> State | None:
        """Nothing is there before the first day."""
        return None

    def add(self, state: State, tables: dict[str, pa.Table]) -> None:
        """Keep the tables of the day before ``state.day``."""
        for name, table in tables.items():
            self._days.setdefault(name, []).append(table)

    def finish(self, state: State, final: dict[str, pd.DataFrame]) -> Tables:
        """All days together, and the tables of the end."""
        whole: dict[str, pa.Table] = {name: from_frame(frame) for name, frame in final.items()}
        for name in list(self._days):
            days = pa.concat_tables(self._days.pop(name)).combine_chunks()
            whole[name] = coded(days, self._categories)
        return Tables(whole)


class InFolder:
    """Days kept as files; a folder that another simulation has left is emptied of its files."""

    def __init__(
        self, folder: Path, config: SimConfig, generator: str, categories: Categories
    ) -> None:
        self._folder, self._days = folder, folder / _DAYS
        self._identity = {"config": json.loads(config.to_json()), "generator": generator}
        self._categories = categories

    def resume(self) -> State | None:
        """The state after the last whole day, or None, and then the folder is ready for the first.

        Every part is compared with its checksum; if one is damaged, all begins again.
        """
        try:
            head, memory = _checkpoint(self._days / "memory.npz")
            parts = head["parts"]
            if head["identity"] == self._identity and all(
                zlib.crc32((self._days / name).read_bytes()) == parts[name] for name in parts
            ):
                return State(head["day"], memory, head["numbers"], parts)
        except _DAMAGE:
            pass
        self._empty()
        return None

    def _empty(self) -> None:
        if self._days.exists() or (self._folder / _META).exists():  # so the tables are ours
            for path in (*self._folder.glob("*.parquet"), *self._folder.glob("*.new")):
                path.unlink()
        (self._folder / _META).unlink(missing_ok=True)
        self.clean()
        self._days.mkdir(parents=True)

    def add(self, state: State, tables: dict[str, pa.Table]) -> None:
        """Write the tables of the day before ``state.day``, then the checkpoint."""
        for name, table in tables.items():
            sink = pa.BufferOutputStream()
            options = pa.ipc.IpcWriteOptions(compression="lz4")
            with pa.ipc.new_file(sink, table.schema, options=options) as writer:
                writer.write_table(table)
            part = f"{state.day:05d}-{name}.arrow"
            (self._days / part).write_bytes(sink.getvalue())
            state.parts[part] = zlib.crc32(sink.getvalue())
        head = {
            "identity": self._identity,
            "day": state.day,
            "numbers": state.numbers,
            "parts": state.parts,
        }
        beside = self._days / "memory.new"
        with beside.open("wb") as stream:
            np.savez(stream, head=np.array(json.dumps(head)), allow_pickle=False, **state.memory)
        beside.replace(self._days / "memory.npz")

    def finish(self, state: State, final: dict[str, pd.DataFrame]) -> Tables:
        """Merge the days of each table into one file and write what makes the folder a shop."""
        names = dict.fromkeys(part[6:].removesuffix(".arrow") for part in state.parts)
        for name in names:
            write_parquet(self._read(state, name), self._folder / f"{name}.parquet")
        for name, frame in final.items():
            write_parquet([from_frame(frame)], self._folder / f"{name}.parquet")
        files = {}
        for name in sorted({*names, *final}):
            with pa.OSFile(str(self._folder / f"{name}.parquet")) as file:
                files[name] = checksum(file)
        beside = self._folder / "shop.new"
        beside.write_text(json.dumps({**self._identity, "files": files}, indent=1), "utf-8")
        beside.replace(self._folder / _META)
        self.clean()
        return self.whole()

    def _read(self, state: State, name: str) -> Iterator[pa.Table]:
        for part in sorted(state.parts):
            if part[6:] == f"{name}.arrow":
                with pa.OSFile(str(self._days / part)) as file:
                    yield coded(pa.ipc.open_file(file).read_all(), self._categories)

    def whole(self) -> Tables:
        """The tables, if the folder has this shop whole.

        Raises:
            FileNotFoundError, ValueError: if it has not.
        """
        config, tables = open_whole(self._folder, self._identity["generator"])
        if json.loads(config.to_json()) != self._identity["config"]:
            raise ValueError(f"folder must hold the shop {self._identity['config']}, got {config}")
        return tables

    def clean(self) -> None:
        """Remove what only resuming needs."""
        if self._days.exists():
            shutil.rmtree(self._days)


def open_whole(folder: Path, generator: str) -> tuple[SimConfig, Tables]:
    """The settings and tables of a whole shop; every file is compared with its checksum.

    Raises:
        FileNotFoundError: if there is no shop.
        ValueError: if it is damaged, or of another generator.
    """
    if not (folder / _META).is_file():
        raise FileNotFoundError(f"folder must hold a simulated shop with its {_META}, got {folder}")
    try:
        meta = json.loads((folder / _META).read_text("utf-8"))
        config, files = SimConfig(**meta["config"]), meta["files"]
        found = meta["generator"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{folder / _META} must hold the settings of a shop, got {error}"
        ) from None
    if found != generator:
        raise ValueError(
            f"folder must hold a shop of this version of reclib.shop, got another's in {folder}"
        )
    tables = {}
    for name, expected in files.items():
        tables[name] = pa.OSFile(str(folder / f"{name}.parquet"))
        if checksum(tables[name]) != expected:
            raise ValueError(f"{name}.parquet must be as it was written, got other bytes: {folder}")
    return config, Tables(tables)


def left_by(folder: Path) -> str | None:
    """The generator of a simulation that was cut in this folder; None if it left no day."""
    try:
        return str(_checkpoint(folder / _DAYS / "memory.npz")[0]["identity"]["generator"])
    except _DAMAGE:
        return None


def _checkpoint(path: Path) -> tuple[dict[str, Any], Memory]:
    with path.open("rb") as stream, np.load(stream) as file:
        memory = dict(file)
    return json.loads(str(memory.pop("head"))), memory


def checksum_of_code(functions: tuple[Callable[..., Any], ...]) -> str:
    """SHA-256 of the modules of the functions and all of reclib that these import.

    The versions of NumPy and SciPy are part of it: another version may draw other numbers.
    """
    return _checksum_of_modules(tuple(sorted({function.__module__ for function in functions})))


@cache
def _checksum_of_modules(names: tuple[str, ...]) -> str:
    paths = {path for name in names if (path := sys.modules[name].__file__)}
    waiting = sorted(paths)
    while waiting:
        more = _imports(Path(waiting.pop())) - paths
        paths |= more
        waiting += sorted(more)
    digest = hashlib.sha256(f"numpy {version('numpy')} scipy {version('scipy')}".encode())
    for code in sorted(hashlib.sha256(Path(path).read_bytes()).digest() for path in paths):
        digest.update(code)  # the order of the folders' names does not matter
    return digest.hexdigest()


def _imports(path: Path) -> set[str]:
    """Files of the modules of reclib that a file imports."""
    names = set()
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {file for name in names if (file := _file(name))}


def _file(name: str) -> str | None:
    """The file of a module of reclib, or of the module that a name is from."""
    package, *parts = name.split(".")
    if package != "reclib":
        return None
    root = Path(str(reclib.__file__)).parent
    for end in (len(parts), len(parts) - 1):
        place = root.joinpath(*parts[:end])
        for file in (place.with_suffix(".py"), place / "__init__.py"):
            if file.is_file():
                return str(file)
    return None
