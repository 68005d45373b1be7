"""What is on the shelves on one day, and how the shop chooses what it shows.

Popularity and stock are those of the previous midnight, so a day is known before anybody comes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from reclib.shop._catalogue import Floats, Ints
from reclib.shop._world import World
from reclib.shop.choice import Situation, plackett_luce

# How much less a product of the same category, the same department, or elsewhere is shown.
_TIER_PULL = np.array([0.0, -1.0, -2.5, -4.0])
_POPULAR = 0.8
_AFFINITY = 0.5  # weight of the old segments in the shop's own policy, as of taste
_STOCKOUTS = 0.05  # expected stock-outs of a log, as a share of the products


class Slates(NamedTuple):
    """What a policy shows.

    Attributes:
        items: (B, K), top first.
        propensities: (B, K) of each slot, given the slots above it and the arm in force.
        arm: (B,) code into ``("softmax", "uniform")``.
    """

    items: Ints
    propensities: Floats
    arm: Ints


@dataclass(frozen=True, eq=False)
class Day:
    """What can be shown on one day.

    Attributes:
        number: day of the log.
        items: (L, C) candidates of each leaf's shelf.
        logits: (L, C) popularity in the shop's own policy.
        weights: (S, L, C) its weights for each segment of customers.
    """

    number: int
    items: Ints
    logits: Floats
    weights: Floats


Policy = Callable[[Day, Situation, np.random.Generator], Slates]


def first_memory(world: World) -> dict[str, NDArray[Any]]:
    """All that one day hands to the next; keys ``customer/NAME`` have a row for each customer."""
    n_users, n_items = world.config.n_users, world.config.n_items
    return {
        "customer/last_leaf": np.full(n_users, -1),
        "customer/last_brand": np.full(n_users, -1),
        "customer/due_item": np.full(n_users, -1),  # a product that will be used up
        "customer/due_day": np.zeros(n_users),
        "customer/satisfaction": np.zeros(n_users),
        "clicks": np.zeros((7, n_items)),
        "sales": np.zeros((7, n_items)),
        "out_until": np.zeros(n_items, dtype=np.int64),  # first day on which it is there again
        "stockouts": np.zeros((0, 3), dtype=np.int64),  # item, first day, last day
    }


def popularity_logits(world: World, clicks: Floats, tiers: Ints) -> Floats:
    """(L, I) popularity of each product on each leaf's shelf, by the clicks (I,) of 7 days."""
    return (_POPULAR * world.base + 0.08 * np.log1p(clicks) + _TIER_PULL[tiers]).astype(np.float32)


def segment_logits(world: World) -> Floats:
    """(S, I) what the shop's own policy adds for each segment of customers."""
    config = world.config
    scale = _AFFINITY * config.taste * config.n_factors**0.5
    return (scale * np.einsum("sk,ik->si", world.segment_vectors, world.item_vectors)).astype(
        np.float32
    )


def open_day(world: World, memory: dict[str, NDArray[Any]], day: int) -> Day:
    """Candidates of each leaf on ``day``: its own products first, then those around it."""
    config, tiers = world.config, world.tiers
    order = tiers + config.own_stream("shelves", day).random(tiers.shape)
    order[:, (world.arrival > day) | (memory["out_until"] > day)] = np.inf
    items = np.argpartition(order, config.n_candidates - 1, axis=1)[:, : config.n_candidates]
    items = np.sort(items, axis=1)
    logits = popularity_logits(world, memory["clicks"].sum(0), tiers)
    logits = np.take_along_axis(logits, items, axis=1)
    return day_of(world, day, items, logits)


def day_of(world: World, day: int, items: Ints, logits: Floats) -> Day:
    """The day whose candidates and popularity are known."""
    weights = (logits + segment_logits(world)[:, items]) / world.config.temperature
    weights = np.exp(weights - weights.max(2, keepdims=True))
    return Day(day, items, logits, weights)


def close_day(
    world: World, memory: dict[str, NDArray[Any]], day: int, counts: dict[str, NDArray[Any]]
) -> None:
    """Count the day into the week, and let what sells run out.

    A product runs out with a probability in proportion to its sales of the last week.
    """
    config = world.config
    for name in ("clicks", "sales"):
        memory[name][day % 7] = counts[name]
    random = config.own_stream("stock", day)
    sales = memory["sales"].sum(0)
    expected = _STOCKOUTS * config.n_items / config.n_days
    hazard = expected * sales / max(sales.sum(), 1)
    runs_out = random.random(config.n_items) < hazard
    length = random.integers(3, 8, config.n_items)
    item = np.flatnonzero(runs_out & (memory["out_until"] <= day + 1))
    memory["out_until"][item] = day + 1 + length[item]
    last = day + length[item]
    rows = np.stack([item, np.full_like(item, day + 1), last], axis=1)
    memory["stockouts"] = np.concatenate([memory["stockouts"], rows])


def shop_policy(world: World) -> Policy:
    """The shop's own: Plackett-Luce by popularity and segment, one request in ten uniform."""

    def act(day: Day, situation: Situation, generator: np.random.Generator) -> Slates:
        weights = day.weights[world.segment[situation.users], situation.shelf]
        uniform = generator.random(len(situation)) < world.config.uniform_share
        weights[uniform] = 1.0
        columns, propensity = plackett_luce(weights, world.config.n_slots, generator)
        items = day.items[situation.shelf[:, None], columns]
        return Slates(items, propensity, uniform.astype(np.int64))

    return act
