"""Batches for training: which rows come together, and which items stand for "not taken".

    the r-th free item of user u = r + #{k: t[k] - k <= r}    t: items of u, ascending, k = 0, 1, ..
    r uniform in 0 .. I - n[u] - 1

An epoch is a pure function of (seed, epoch): shuffle the rows, cut them into batches. Of ``world``
processes each takes its share of every batch, so that together they see what one process would see
with a batch ``world`` times as large.

Source: sampling by rank among the free items is folklore; uniform negatives for pairs are those of
S. Rendle et al., BPR: Bayesian Personalized Ranking from Implicit Feedback, UAI 2009.
Differences from the paper:
1. Rows are shuffled and each is seen once an epoch (paper: drawn with replacement).
Chapter: foundations/training
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from reclib.foundations.interactions import Ids, Interactions, checked_ids
from reclib.foundations.recommender import checked_train

__all__ = ["PairBatch", "Pairs", "Rows", "UserBatch", "UserRows", "sample_negatives"]

_CHUNK_CELLS = 2**18  # negatives held at once: 2 MB
_ORDER, _NEGATIVES = 0, 1  # streams of one epoch


class PairBatch(NamedTuple):
    """Positives with their negatives: users (B,), positives (B,), negatives (B, N), all int64."""

    users: Tensor
    positives: Tensor
    negatives: Tensor


class UserBatch(NamedTuple):
    """All P events of B users, int64; event p belongs to ``users[rows[p]]``.

    Attributes:
        users: (B,).
        rows: (P,) places in ``users``, ascending.
        items: (P,).
    """

    users: Tensor
    rows: Tensor
    items: Tensor

    @property
    def weight(self) -> int:
        """P, what a mean over events is taken over."""
        return len(self.items)


class _Shuffled:
    """Rows 0 .. n_rows - 1 in a new order each epoch, cut into batches."""

    def __init__(self, n_rows: int, batch_size: int, seed: int) -> None:
        if n_rows < 1:
            raise ValueError(f"rows must be at least 1, got {n_rows}")
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        self.n_rows, self.batch_size, self.seed = n_rows, batch_size, seed

    def steps(self, world: int = 1) -> int:
        """Batches an epoch."""
        if world < 1:
            raise ValueError(f"world must be at least 1, got {world}")
        return -(-self.n_rows // (self.batch_size * world))

    def _generator(self, epoch: int, *stream: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, epoch, *stream])

    def _order(self, epoch: int) -> Ids:
        """(n_rows,) the rows in the order of this epoch."""
        if epoch < 0:
            raise ValueError(f"epoch must be at least 0, got {epoch}")
        return self._generator(epoch, _ORDER).permutation(self.n_rows)

    def _parts(self, rank: int, world: int) -> list[slice]:
        """This rank's share of each batch, as places in the order; the last one may be short."""
        steps = self.steps(world)
        if not 0 <= rank < world:
            raise ValueError(f"rank must be in 0..{world - 1}, got {rank}")
        edges = np.minimum(np.arange(steps + 1) * self.batch_size * world, self.n_rows)
        sizes = np.diff(edges)
        starts, stops = (edges[:-1] + sizes * r // world for r in (rank, rank + 1))
        return [slice(*pair) for pair in zip(starts.tolist(), stops.tolist(), strict=True)]


class Rows(_Shuffled):
    """Batches of the rows of a table, as tuples of tensors.

    Args:
        columns: arrays or tensors with the same first dimension; they are copied, dtypes stay.
        batch_size: rows a batch and process, >= 1.
        seed: of the shuffling.
    """

    def __init__(self, *columns: ArrayLike | Tensor, batch_size: int, seed: int = 0) -> None:
        if not columns:
            raise ValueError("columns must be at least one, got none")
        self.columns = tuple(torch.tensor(np.asarray(column)) for column in columns)
        n_rows = len(self.columns[0])
        for column in self.columns[1:]:
            if len(column) != n_rows:
                raise ValueError(f"columns must have {n_rows} rows each, got {len(column)}")
        super().__init__(n_rows, batch_size, seed)

    def epoch(self, n: int, rank: int = 0, world: int = 1) -> Iterator[tuple[Tensor, ...]]:
        """The batches of epoch ``n`` for one of ``world`` processes."""
        parts, order = self._parts(rank, world), torch.from_numpy(self._order(n))
        return (tuple(column[order[part]] for column in self.columns) for part in parts)


class Pairs(_Shuffled):
    """Batches of events, each with items that its user has not taken; repeats count.

    The negatives of an event depend on seed and epoch, not on batch size or number of processes.

    Args:
        train: at least one event.
        batch_size: events a batch and process, >= 1.
        n_negatives: N, drawn anew each epoch, >= 1.
        seed: of shuffling and drawing.
    """

    def __init__(
        self, train: Interactions, *, batch_size: int, n_negatives: int = 1, seed: int = 0
    ) -> None:
        super().__init__(len(checked_train(train)), batch_size, seed)
        if n_negatives < 1:
            raise ValueError(f"n_negatives must be at least 1, got {n_negatives}")
        self.train, self.n_negatives, self._free = train, n_negatives, _FreeItems(train)

    def epoch(self, n: int, rank: int = 0, world: int = 1) -> Iterator[PairBatch]:
        """The batches of epoch ``n`` for one of ``world`` processes."""
        return self._batches(n, self._order(n), self._parts(rank, world))

    def _batches(self, n: int, order: Ids, parts: list[slice]) -> Iterator[PairBatch]:
        users, positives = self.train.users[order], self.train.items[order]
        negatives = self._negatives(n, users, parts)
        for part, drawn in zip(parts, negatives, strict=True):
            columns = users[part], positives[part], drawn
            yield PairBatch(*(torch.from_numpy(column) for column in columns))

    def _negatives(self, n: int, users: Ids, parts: list[slice]) -> Iterator[Ids]:
        """(B, N) for each part; drawn in chunks with a stream each, whatever the parts are."""
        size = max(1, _CHUNK_CELLS // self.n_negatives)
        held, chunk = -1, np.zeros((0, self.n_negatives), dtype=np.int64)
        for part in parts:
            pieces = [chunk[:0]]
            for k in range(part.start // size, -(-part.stop // size)):
                if k != held:
                    generator = self._generator(n, _NEGATIVES, k)
                    rows = users[k * size : (k + 1) * size]
                    held, chunk = k, self._free.draw(rows, self.n_negatives, generator)
                pieces.append(chunk[max(part.start - k * size, 0) : part.stop - k * size])
            yield np.concatenate(pieces)


class UserRows(_Shuffled):
    """Batches of users with all their events; users without events never come, repeats count.

    Args:
        train: at least one event.
        batch_size: users a batch and process, >= 1.
        seed: of the shuffling.
    """

    def __init__(self, train: Interactions, *, batch_size: int, seed: int = 0) -> None:
        self.histories = checked_train(train).histories()
        self.users = np.flatnonzero(self.histories.lengths)
        super().__init__(self.users.size, batch_size, seed)

    def epoch(self, n: int, rank: int = 0, world: int = 1) -> Iterator[UserBatch]:
        """The batches of epoch ``n`` for one of ``world`` processes."""
        users = self.users[self._order(n)]
        return (self._batch(users[part]) for part in self._parts(rank, world))

    def _batch(self, users: Ids) -> UserBatch:
        chosen = self.histories.select(users)
        columns = (users, chosen.rows, chosen.items)
        return UserBatch(*(torch.tensor(column) for column in columns))


class _FreeItems:
    """The items that each user has not taken, without listing them."""

    def __init__(self, train: Interactions) -> None:
        self.n_users, self.n_items = train.n_users, train.n_items
        pairs = np.unique(train.users * train.n_items + train.items)
        users, items = np.divmod(pairs, train.n_items)
        taken = np.bincount(users, minlength=train.n_users)
        self.starts = np.cumsum(taken) - taken
        self.free = train.n_items - taken
        # Free items below each taken one. They ascend within a user and stay below I + 1, so that
        # one search over all users finds its way.
        below = items - (np.arange(pairs.size) - self.starts[users])
        self.keys = users * (train.n_items + 1) + below

    def draw(self, users: Ids, n: int, generator: np.random.Generator) -> Ids:
        """(B, n) uniform over the free items of each user; any item where none is free."""
        free = self.free[users]
        choices = np.where(free > 0, free, self.n_items)
        places = generator.integers(0, choices[:, None], size=(users.size, n))  # (B, n)
        queries = (users * (self.n_items + 1))[:, None] + places
        passed = np.searchsorted(self.keys, queries, side="right") - self.starts[users][:, None]
        return np.where((free > 0)[:, None], places + passed, places)


def sample_negatives(
    users: ArrayLike, n: int, train: Interactions, generator: np.random.Generator
) -> Ids:
    """Items that the users have not taken, uniform and independent; the same may come twice.

    Args:
        users: (B,) ids below U.
        n: items a user, >= 1.
        train: what was taken; at least one item in the catalogue.
        generator: the source of chance.

    Returns:
        (B, n) int64; a user who has taken everything gets any items.
    """
    if n < 1:
        raise ValueError(f"n must be at least 1, got {n}")
    if train.n_items < 1:
        raise ValueError("train must have at least one item, got 0")
    return _FreeItems(train).draw(checked_ids(users, "users", train.n_users), n, generator)
