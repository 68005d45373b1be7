"""Interactions: who took which item, when, and how strongly; the one table that all models read.

    B = {(u, i, t)}, one row per event
    R[u, i] = sum of the weights of the events (u, i)

Source: the notation is the book's own; the ragged layout is that of a compressed sparse row (CSR)
matrix.
Differences from the paper: none.
Chapter: foundations/interactions
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array

__all__ = ["Histories", "IdMap", "Interactions", "Triples", "checked_ids"]

Ids = NDArray[np.int64]


def checked_ids(values: ArrayLike, name: str, size: int | None = None) -> Ids:
    """Internal ids as a one-dimensional int64 array, checked.

    Args:
        values: (n,) integers, 0-based.
        name: what to call them in an error.
        size: number of known ids; every id must be below it. None leaves the range open.

    Returns:
        (n,) int64, a new array.

    Raises:
        ValueError: if the values are not one-dimensional, not integers, negative, or ``size`` or
            more.
    """
    array = np.asarray(values)
    if array.ndim != 1:
        raise ValueError(f"{name} must be one-dimensional, got shape {array.shape}")
    if array.size == 0:
        return np.zeros(0, dtype=np.int64)
    if array.dtype.kind not in "iu":
        hint = "; map external ids with IdMap first" if array.dtype.kind in "OUST" else ""
        raise ValueError(f"{name} must be integers, got {array.dtype}{hint}")
    if array.min() < 0:
        raise ValueError(f"{name} must be at least 0, got {array.min()}")
    if size is not None and array.max() >= size:
        raise ValueError(f"{name} must be below {size}, got {array.max()}")
    return array.astype(np.int64)


def _column(values: ArrayLike | None, name: str, n: int, dtype: type) -> NDArray[Any] | None:
    """An optional column of ``n`` finite numbers."""
    if values is None:
        return None
    array = np.asarray(values)
    if array.shape != (n,):
        raise ValueError(f"{name} must have shape ({n},), got {array.shape}")
    if array.dtype.kind not in "iufb":
        raise ValueError(f"{name} must be numbers, got {array.dtype}")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite, got {array[~np.isfinite(array)][0]}")
    return array.astype(dtype)


def _size(given: int | None, ids: Ids, name: str) -> int:
    """The number of users or items: as given, or one more than the largest id."""
    seen = int(ids.max()) + 1 if ids.size else 0
    if given is None:
        return seen
    if given < seen:
        raise ValueError(f"{name} must be at least {seen} (the largest id plus one), got {given}")
    return int(given)


def _freeze(instance: object, **values: object) -> None:
    """Store values on a frozen dataclass; arrays become read-only."""
    for name, value in values.items():
        if isinstance(value, np.ndarray):
            value.flags.writeable = False
        object.__setattr__(instance, name, value)


@dataclass(frozen=True, eq=False, init=False, repr=False)
class Histories:
    """Ragged lists of item ids, one per row, oldest first.

    Attributes:
        items: (n,) int64, all rows one after the other.
        offsets: (B + 1,) int64; row ``b`` is ``items[offsets[b]:offsets[b + 1]]``.
        timestamps: (n,) int64 UTC seconds, or None.
    """

    items: Ids
    offsets: Ids
    timestamps: NDArray[np.int64] | None

    def __init__(
        self, items: ArrayLike, offsets: ArrayLike, timestamps: ArrayLike | None = None
    ) -> None:
        checked = checked_ids(items, "items")
        bounds = checked_ids(offsets, "offsets")
        if bounds.size == 0 or bounds[0] != 0 or bounds[-1] != checked.size:
            raise ValueError(f"offsets must run from 0 to {checked.size}, got {bounds}")
        if (np.diff(bounds) < 0).any():
            raise ValueError(f"offsets must not decrease, got {bounds}")
        times = _column(timestamps, "timestamps", checked.size, np.int64)
        _freeze(self, items=checked, offsets=bounds, timestamps=times)

    @classmethod
    def from_lists(cls, lists: Iterable[Sequence[int]]) -> Histories:
        """Histories from a list of lists, e.g. ``Histories.from_lists([[3, 1], [], [2]])``."""
        rows = [np.asarray(row, dtype=np.int64 if len(row) == 0 else None) for row in lists]
        lengths = [len(row) for row in rows]
        items = np.concatenate(rows) if rows else np.zeros(0, dtype=np.int64)
        return cls(items, np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]))

    def __len__(self) -> int:
        return self.offsets.size - 1

    def __getitem__(self, row: int) -> Ids:
        if not -len(self) <= row < len(self):
            raise IndexError(f"row must be below {len(self)}, got {row}")
        row %= len(self)
        return self.items[self.offsets[row] : self.offsets[row + 1]]

    def __iter__(self) -> Iterator[Ids]:
        return (self[row] for row in range(len(self)))

    def __repr__(self) -> str:
        return f"Histories({len(self)} rows, {self.items.size} items)"

    @property
    def lengths(self) -> Ids:
        """(B,) number of items of each row."""
        return np.diff(self.offsets)

    @property
    def rows(self) -> Ids:
        """(n,) the row of each item."""
        return np.repeat(np.arange(len(self)), self.lengths)

    def _take(self, starts: Ids, lengths: Ids) -> Histories:
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        index = np.arange(offsets[-1]) + np.repeat(starts - offsets[:-1], lengths)
        times = None if self.timestamps is None else self.timestamps[index]
        return Histories(self.items[index], offsets, times)

    def select(self, rows: ArrayLike) -> Histories:
        """The given rows, in the given order; rows may repeat."""
        rows = checked_ids(rows, "rows", len(self))
        return self._take(self.offsets[rows], self.lengths[rows])

    def last(self, n: int) -> Histories:
        """The most recent ``n`` items of each row."""
        if n < 1:
            raise ValueError(f"n must be at least 1, got {n}")
        lengths = np.minimum(self.lengths, n)
        return self._take(self.offsets[1:] - lengths, lengths)

    def matrix(self, n_items: int) -> csr_array:
        """(B, n_items) float64 CSR; an item that stands twice in a row counts two."""
        checked_ids(self.items, "items", n_items)
        matrix = csr_array(
            (np.ones(self.items.size), self.items.copy(), self.offsets.copy()),
            shape=(len(self), n_items),
        )
        matrix.sum_duplicates()
        return matrix

    def pad(self, length: int, *, padding: int = -1) -> Ids:
        """(B, length) the last ``length`` items, most recent in the last column.

        Args:
            length: number of columns, >= 1.
            padding: fills the free columns on the left; negative, or an id that no row holds.
        """
        if (self.items == padding).any() or padding == 0:
            raise ValueError(f"padding must be no item id, got {padding}")
        recent = self.last(length)
        padded = np.full((len(self), length), padding, dtype=np.int64)
        column = np.arange(recent.items.size) - np.repeat(recent.offsets[1:], recent.lengths)
        padded[recent.rows, length + column] = recent.items
        return padded


@dataclass(frozen=True, eq=False, init=False, repr=False)
class Interactions:
    """Events of users with items, in canonical order (user, timestamp, input position).

    Unsorted input is sorted, stably; repeats are kept. Without timestamps the input order is the
    order in time. All columns are read-only copies.

    Attributes:
        users: (n,) int64, 0-based.
        items: (n,) int64, 0-based.
        timestamps: (n,) int64 UTC seconds, or None.
        ratings: (n,) float64 explicit ratings, or None.
        weights: (n,) float64 confidence, >= 0, or None for 1 each.
        n_users, n_items: sizes, given or one more than the largest id; they may exceed the ids
            seen.

    Raises:
        ValueError: if ids are negative, not integers or beyond the size; if columns differ in
            length or are not one-dimensional; if a value is not finite or a weight is negative.
    """

    users: Ids
    items: Ids
    timestamps: NDArray[np.int64] | None
    ratings: NDArray[np.float64] | None
    weights: NDArray[np.float64] | None
    n_users: int
    n_items: int

    def __init__(
        self,
        users: ArrayLike,
        items: ArrayLike,
        *,
        timestamps: ArrayLike | None = None,
        ratings: ArrayLike | None = None,
        weights: ArrayLike | None = None,
        n_users: int | None = None,
        n_items: int | None = None,
    ) -> None:
        users, items = checked_ids(users, "users"), checked_ids(items, "items")
        n = users.size
        if items.size != n:
            raise ValueError(f"items must have shape ({n},), got {items.shape}")
        columns = {
            "timestamps": _column(timestamps, "timestamps", n, np.int64),
            "ratings": _column(ratings, "ratings", n, np.float64),
            "weights": _column(weights, "weights", n, np.float64),
        }
        if columns["weights"] is not None and n and columns["weights"].min() < 0:
            raise ValueError(f"weights must be at least 0, got {columns['weights'].min()}")
        times = columns["timestamps"]
        order = np.argsort(users, kind="stable") if times is None else np.lexsort((times, users))
        _freeze(
            self,
            users=users[order],
            items=items[order],
            n_users=_size(n_users, users, "n_users"),
            n_items=_size(n_items, items, "n_items"),
            **{name: None if c is None else c[order] for name, c in columns.items()},
        )

    @classmethod
    def from_frame(
        cls,
        frame: pd.DataFrame,
        *,
        user: str = "user",
        item: str = "item",
        timestamp: str | None = None,
        rating: str | None = None,
        weight: str | None = None,
    ) -> tuple[Interactions, IdMap, IdMap]:
        """Interactions from a table with external ids of any kind, and the two maps back.

        Ids are numbered in sorted order, so the result does not depend on the order of the rows.

        Raises:
            KeyError: if a column is missing.
        """
        wanted = [c for c in (user, item, timestamp, rating, weight) if c is not None]
        missing = [c for c in wanted if c not in frame.columns]
        if missing:
            raise KeyError(f"columns must be in the frame, got no {missing[0]!r}")
        users, items = IdMap(frame[user].unique()), IdMap(frame[item].unique())
        interactions = cls(
            users.encode(frame[user]),
            items.encode(frame[item]),
            timestamps=None if timestamp is None else frame[timestamp].to_numpy(),
            ratings=None if rating is None else frame[rating].to_numpy(),
            weights=None if weight is None else frame[weight].to_numpy(),
            n_users=len(users),
            n_items=len(items),
        )
        return interactions, users, items

    def __len__(self) -> int:
        return self.users.size

    def __repr__(self) -> str:
        given = [c for c in ("timestamps", "ratings", "weights") if getattr(self, c) is not None]
        return (
            f"Interactions({len(self)} events, {self.n_users} users, {self.n_items} items"
            f"{''.join(', ' + c for c in given)})"
        )

    def select(self, rows: ArrayLike) -> Interactions:
        """The events with the given row numbers or boolean mask; sizes are kept."""
        index = np.asarray(rows)
        optional: dict[str, Any] = {
            name: None if getattr(self, name) is None else getattr(self, name)[index]
            for name in ("timestamps", "ratings", "weights")
        }
        return Interactions(
            self.users[index],
            self.items[index],
            n_users=self.n_users,
            n_items=self.n_items,
            **optional,
        )

    def deduplicated(self) -> Interactions:
        """Only the first event of each (user, item) pair, with its time, rating and weight."""
        pairs = self.users * max(self.n_items, 1) + self.items
        return self.select(np.sort(np.unique(pairs, return_index=True)[1]))

    def matrix(self, values: Literal["weights", "ratings"] = "weights") -> csr_array:
        """The (U, I) user-item matrix in float64, indices sorted.

        Args:
            values: ``"weights"`` sums the weights of repeated pairs (1 each where no weights were
                given); ``"ratings"`` keeps the latest rating of a pair.
        """
        if values not in ("weights", "ratings"):
            raise ValueError(f"values must be 'weights' or 'ratings', got {values!r}")
        shape = (self.n_users, self.n_items)
        if values == "weights":
            data = np.ones(len(self)) if self.weights is None else self.weights
            return csr_array((data, (self.users, self.items)), shape=shape)
        if self.ratings is None:
            raise ValueError("values must be 'weights' where no ratings were given, got 'ratings'")
        pairs = self.users * max(self.n_items, 1) + self.items
        last = len(self) - 1 - np.unique(pairs[::-1], return_index=True)[1]
        return csr_array((self.ratings[last], (self.users[last], self.items[last])), shape=shape)

    def histories(self) -> Histories:
        """One row per user 0 .. U-1, oldest first; users without events have an empty row."""
        counts = np.bincount(self.users, minlength=self.n_users)
        return Histories(self.items, np.concatenate([[0], np.cumsum(counts)]), self.timestamps)

    def item_counts(self) -> Ids:
        """(I,) number of events of each item."""
        return np.bincount(self.items, minlength=self.n_items)

    def to_frame(self) -> pd.DataFrame:
        """The columns that are present as a table."""
        names = {"users": "user", "items": "item", "timestamps": "timestamp", "ratings": "rating"}
        columns = {**names, "weights": "weight"}
        return pd.DataFrame(
            {to: getattr(self, c) for c, to in columns.items() if getattr(self, c) is not None}
        )


class IdMap:
    """External ids (strings, product codes) to internal ids 0 .. n-1 and back, in sorted order."""

    def __init__(self, ids: Iterable[Hashable]) -> None:
        self._index = pd.Index(pd.unique(pd.Series(list(ids)))).sort_values()

    def __len__(self) -> int:
        return len(self._index)

    def __repr__(self) -> str:
        return f"IdMap({len(self)} ids)"

    def encode(self, external: ArrayLike) -> Ids:
        """(n,) internal ids.

        Raises:
            KeyError: if an id is unknown.
        """
        values = pd.Index(np.asarray(external).ravel())
        internal = self._index.get_indexer(values)
        if (internal < 0).any():
            raise KeyError(f"ids must be known to the map, got {values[internal < 0][0]!r}")
        return internal.astype(np.int64)

    def decode(self, internal: ArrayLike) -> NDArray[Any]:
        """(n,) external ids."""
        return self._index.to_numpy()[checked_ids(internal, "internal", len(self))]


@dataclass(frozen=True, eq=False, init=False, repr=False)
class Triples:
    """Facts (head, relation, tail) of a knowledge graph, in input order.

    Attributes:
        heads, tails: (n,) int64 entity ids.
        relations: (n,) int64 relation ids.
        n_entities, n_relations: sizes; given or one more than the largest id.
    """

    heads: Ids
    relations: Ids
    tails: Ids
    n_entities: int
    n_relations: int

    def __init__(
        self,
        heads: ArrayLike,
        relations: ArrayLike,
        tails: ArrayLike,
        n_entities: int | None = None,
        n_relations: int | None = None,
    ) -> None:
        columns = {"heads": heads, "relations": relations, "tails": tails}
        checked = {name: checked_ids(values, name) for name, values in columns.items()}
        n = checked["heads"].size
        for name, column in checked.items():
            if column.size != n:
                raise ValueError(f"{name} must have shape ({n},), got {column.shape}")
        entities = np.concatenate([checked["heads"], checked["tails"]])
        _freeze(
            self,
            **checked,
            n_entities=_size(n_entities, entities, "n_entities"),
            n_relations=_size(n_relations, checked["relations"], "n_relations"),
        )

    def __len__(self) -> int:
        return self.heads.size

    def __repr__(self) -> str:
        return (
            f"Triples({len(self)} facts, {self.n_entities} entities, {self.n_relations} relations)"
        )
