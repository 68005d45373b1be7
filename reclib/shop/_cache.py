"""Simulated shops kept as parquet files under the hash of their settings."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from functools import cache
from pathlib import Path

import pandas as pd

from reclib.shop._config import SimConfig
from reclib.shop.simulation import TABLES, Shop, simulate

_META = "shop.json"


def load(profile: str = "small", seed: int = 0) -> Shop:
    """The shop of a profile, from the cache or simulated and put there.

    The cache is ``shop/<hash>`` in the folder ``RECLIB_DATA`` (default ``data/cache`` of the
    checkout). Files whose checksum, settings or generator differ are made again; where the cache
    cannot be written, the shop is simulated in memory.

    Args:
        profile: ``tiny``, ``small`` or ``full``.
        seed: integer >= 0.
    """
    config = SimConfig.of(profile, seed)
    folder = _folder() / config.hash
    shop = _read(folder, config)
    if shop is None:
        shop = simulate(config)
        with contextlib.suppress(OSError):  # read-only, full, or not a folder
            _write(shop, folder)
    return shop


def _folder() -> Path:
    default = Path(__file__).resolve().parents[2] / "data" / "cache"
    return Path(os.environ.get("RECLIB_DATA") or default) / "shop"


@cache
def _generator() -> str:
    """Checksum of the code that makes shops: another generator, another cache."""
    names = ("_config.py", "_words.py", "_world.py", "_visits.py", "simulation.py")
    digest = hashlib.sha256()
    for name in names:
        digest.update(Path(__file__).with_name(name).read_bytes())
    return digest.hexdigest()


def _checksum(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _read(folder: Path, config: SimConfig) -> Shop | None:
    try:
        meta = json.loads((folder / _META).read_text("utf-8"))
        if meta["config"] != json.loads(config.to_json()) or meta["generator"] != _generator():
            return None
        paths = {name: folder / f"{name}.parquet" for name in TABLES}
        if any(_checksum(path) != meta["files"][name] for name, path in paths.items()):
            return None
        return Shop(config, **{name: pd.read_parquet(path) for name, path in paths.items()})
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write(shop: Shop, folder: Path) -> None:
    """Write beside and rename; of two processes that write at once, one wins whole."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix=f"{folder.name}-", dir=folder.parent))
    try:
        files = {}
        for name in TABLES:
            path = beside / f"{name}.parquet"
            getattr(shop, name).to_parquet(path, index=False, compression="zstd")
            files[name] = _checksum(path)
        meta = {
            "config": json.loads(shop.config.to_json()),
            "generator": _generator(),
            "files": files,
        }
        (beside / _META).write_text(json.dumps(meta, indent=1), "utf-8")
        if folder.exists():  # damaged or of another generator
            old = Path(tempfile.mkdtemp(prefix=f"{folder.name}-", dir=folder.parent))
            folder.rename(old / "old")
            shutil.rmtree(old, ignore_errors=True)
        beside.rename(folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
