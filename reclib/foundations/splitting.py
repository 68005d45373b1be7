"""Splits: what a model may learn from, what it is chosen on, and what it is judged on.

    split_last:   the last events of each user are held out, whatever the calendar says
    split_time:   all events from a moment on are held out, for all users at once
    split_random: a share of the (user, item) pairs is held out, at random

Source: Z. Meng, R. McCreadie, C. Macdonald, I. Ounis, Exploring Data Splitting Strategies for the
Evaluation of Recommendation Models, RecSys 2020.
Differences from the paper: none in the rules; every split also asserts its own no-leak condition.
Chapter: foundations/interactions
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from reclib.foundations.interactions import Interactions

__all__ = ["Split", "split_last", "split_random", "split_time"]


@dataclass(frozen=True, eq=False)
class Split:
    """Three disjoint parts of one table of interactions, all with the same sizes.

    Attributes:
        train, validation, test: the parts; validation may be empty.
        rule: the rule in words.
        dropped: what was left out or cannot be tested, with counts.
    """

    train: Interactions
    validation: Interactions
    test: Interactions
    rule: str
    dropped: Mapping[str, int] = field(default_factory=dict)

    @property
    def train_and_validation(self) -> Interactions:
        """Both parts as one table, in canonical order."""
        return _concatenate(self.train, self.validation)

    def __repr__(self) -> str:
        parts = f"train {len(self.train)}, validation {len(self.validation)}, test {len(self.test)}"
        lost = "".join(f"; {count} {what}" for what, count in self.dropped.items())
        return f"Split({self.rule}: {parts}{lost})"


def _concatenate(first: Interactions, second: Interactions) -> Interactions:
    columns = {}
    for name in ("timestamps", "ratings", "weights"):
        parts = [getattr(part, name) for part in (first, second) if len(part)]
        if parts and all(part is not None for part in parts):
            columns[name] = np.concatenate(parts)
    return Interactions(
        np.concatenate([first.users, second.users]),
        np.concatenate([first.items, second.items]),
        n_users=first.n_users,
        n_items=first.n_items,
        **columns,
    )


def _parts(
    interactions: Interactions, part: NDArray[np.int64]
) -> tuple[Interactions, Interactions, Interactions]:
    """Train, validation and test by their number 0, 1, 2 in ``part``."""
    train, validation, test = (interactions.select(part == number) for number in range(3))
    return train, validation, test


def _pairs(interactions: Interactions) -> NDArray[np.int64]:
    return interactions.users * max(interactions.n_items, 1) + interactions.items


def _check(interactions: Interactions) -> None:
    if len(interactions) == 0:
        raise ValueError("interactions must hold at least one event, got 0")


def split_last(interactions: Interactions, *, n_validation: int = 1, n_test: int = 1) -> Split:
    """Leave out the last events of each user: ``n_test``, and ``n_validation`` before them.

    Users with at most ``n_validation + n_test`` events stay in train whole, and ``dropped`` counts
    them. Later events of *other* users do stand in train: this split shares the calendar, and
    ``split_time`` does not.

    Args:
        interactions: in canonical order; without timestamps the input order is the order in time.
        n_validation: events of each user for validation, >= 0.
        n_test: events of each user for the test, >= 1.
    """
    _check(interactions)
    if n_validation < 0:
        raise ValueError(f"n_validation must be at least 0, got {n_validation}")
    if n_test < 1:
        raise ValueError(f"n_test must be at least 1, got {n_test}")
    counts = np.bincount(interactions.users, minlength=interactions.n_users)
    ends = np.cumsum(counts)[interactions.users]
    from_end = ends - 1 - np.arange(len(interactions))  # 0 for the last event of a user
    part = np.where(from_end < n_test, 2, np.where(from_end < n_test + n_validation, 1, 0))
    short = counts <= n_validation + n_test
    part[short[interactions.users]] = 0
    split = Split(
        *_parts(interactions, part),
        rule=f"last {n_test} of each user for test, {n_validation} before for validation",
        dropped={"users too short to test": int((short & (counts > 0)).sum())},
    )
    if interactions.timestamps is not None:
        _assert_each_user_in_order(split)
    return split


def _assert_each_user_in_order(split: Split) -> None:
    """Within a user nothing in an earlier part is younger than anything in a later part."""
    newest = np.full(split.train.n_users, np.iinfo(np.int64).min)
    for part in (split.train, split.validation, split.test):
        if part.timestamps is None:
            continue
        assert (part.timestamps >= newest[part.users]).all(), "a split must not leak the future"
        np.maximum.at(newest, part.users, part.timestamps)


def split_time(interactions: Interactions, at: int, *, validation_at: int | None = None) -> Split:
    """Everything before a moment is known, everything from it on is the future, for everybody.

    Args:
        interactions: with timestamps.
        at: UTC seconds; events at or after it are the test.
        validation_at: events from here up to ``at`` are the validation; None for no validation.

    Raises:
        ValueError: without timestamps, or if train or test would be empty.
    """
    _check(interactions)
    times = interactions.timestamps
    if times is None:
        raise ValueError("interactions must have timestamps to be split by time, got none")
    start = at if validation_at is None else validation_at
    if start > at:
        raise ValueError(f"validation_at must be at most {at}, got {start}")
    if not times.min() < start <= at <= times.max():
        span = f"({times.min()}, {times.max()}]"
        raise ValueError(f"at and validation_at must lie in {span}, got {at} and {start}")
    train, validation, test = _parts(interactions, (times >= start).astype(int) + (times >= at))
    known = np.bincount(train.users, minlength=train.n_users) > 0
    cold = np.setdiff1d(test.users, np.flatnonzero(known))
    return Split(
        train, validation, test, f"by time at {at}", {"test users without train events": cold.size}
    )


def split_random(
    interactions: Interactions,
    fraction: float = 0.2,
    seed: int = 0,
    *,
    validation_fraction: float = 0.0,
) -> Split:
    """Hold out a share of the (user, item) pairs at random; all events of a pair stay together.

    Args:
        interactions: any.
        fraction: share of the pairs for the test, in (0, 1).
        seed: of the draw.
        validation_fraction: share of the pairs for validation, in [0, 1 - fraction).
    """
    _check(interactions)
    if not 0 < fraction < 1:
        raise ValueError(f"fraction must be above 0 and below 1, got {fraction}")
    if not 0 <= validation_fraction < 1 - fraction:
        rule = f"at least 0 and below {1 - fraction:g}"
        raise ValueError(f"validation_fraction must be {rule}, got {validation_fraction}")
    pairs, pair = np.unique(_pairs(interactions), return_inverse=True)
    order = np.random.default_rng(seed).permutation(pairs.size)
    n_test = round(fraction * pairs.size)
    n_validation = round(validation_fraction * pairs.size)
    part = np.zeros(pairs.size, dtype=np.int64)
    part[order[:n_test]] = 2
    part[order[n_test : n_test + n_validation]] = 1
    rule = f"random {fraction:g} of the pairs for test, {validation_fraction:g} for validation"
    return Split(*_parts(interactions, part[pair]), rule=rule)
