"""Data sets by name: verified files in, tables out.

    load(name) = loader[name](resolve(name))

Source: the book's own.
Differences from the paper: none.
Chapter: foundations/interactions
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from reclib.datasets.dataset import Dataset
from reclib.datasets.fetching import resolve
from reclib.datasets.lastfm import load_lastfm_social
from reclib.datasets.movielens import load_ml_100k
from reclib.datasets.registry import find
from reclib.datasets.s3rec import load_s3rec

__all__ = ["load"]

_LOADERS: Mapping[str, Callable[[str, Mapping[str, Path]], Dataset]] = {
    "s3rec-beauty": load_s3rec,
    "s3rec-sports": load_s3rec,
    "s3rec-lastfm": load_s3rec,
    "lastfm-social": load_lastfm_social,
    "ml-100k": load_ml_100k,
}


def load(name: str, **options: Any) -> Any:
    """A data set by name or alias; its files are downloaded the first time.

    Args:
        name: e.g. ``"s3rec-beauty"`` or its alias ``"amazon-beauty"``; ``"shop"`` is simulated.
        options: only for ``"shop"``: those of ``reclib.shop.load`` (``profile``, ``seed``...).

    Returns:
        A ``Dataset``; for ``"shop"`` a ``reclib.shop.Shop``, which has the same attributes
        ``name``, ``interactions``, ``item_features`` and ``user_features``.

    Raises:
        KeyError: if the name is unknown.
        FileNotFoundError: if the files are neither here nor at their origin.
        ValueError: if a file is damaged, or the data set has no loader yet.
        TypeError: if a data set other than the shop is given options.
    """
    if name == "shop":
        from reclib import shop

        return shop.load(**options)
    source = find(name)
    if options:
        raise TypeError(f"options must be empty for {source.name}, got {', '.join(options)}")
    if source.name not in _LOADERS:
        raise ValueError(
            f"name must be a data set with a loader ({', '.join(_LOADERS)}, shop), got "
            f"{source.name!r}; its loader comes with the chapter {source.chapters[0]}, and until "
            f"then reclib.datasets.fetch({source.name!r}) gives its files"
        )
    return _LOADERS[source.name](source.name, resolve(source.name))
