"""One day of the shop: what is on the shelves, who comes, what is shown, clicked and bought."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from reclib.shop import _words as words
from reclib.shop._config import DAY, START
from reclib.shop._world import SURFACE_PULL, SURFACE_SHARES, Floats, Ints, World, sample_rows

_STEPS = 12  # most requests of a session
_WEEKDAY = np.array([1.14, 1.20, 1.12, 1.04, 0.97, 0.70, 0.80])
_REVISIT, _LEAVE, _LEAVE_EMPTY = 0.16, 0.22, 0.12
UNIFORM_SHARE, _TEMPERATURE = 0.1, 1.0
# How much less a product of the same category, the same department, or elsewhere is shown.
_TIER_PULL = np.array([0.0, -1.0, -2.5, -4.0])
_TYPES = {"session": np.int32, "user": np.int32, "item": np.int32, "position": np.int8}
_HISTORY = words.SURFACES.index("history")


@dataclass(frozen=True)
class Shelves:
    """What can be shown on one day: ``items`` (L, C), and log weights of the two policies."""

    items: Ints
    logits: Floats


def shelf_tiers(world: World) -> Ints:
    """(L, I) 0 in the leaf, 1 in its category, 2 in its department, 3 elsewhere."""
    leaves = world.leaves
    same_leaf = np.arange(len(world.leaf_category))[:, None] == leaves
    same_category = world.leaf_category[:, None] == world.leaf_category[leaves]
    same_department = world.leaf_department[:, None] == world.leaf_department[leaves]
    return 3 - same_leaf.astype(np.int64) - same_category - same_department


def log_weights(world: World, clicks: Floats, tiers: Ints) -> Floats:
    """(L, I) log weight of each product on each leaf's shelf, by the clicks (I,) of 7 days."""
    popularity = 0.9 * world.base + 0.08 * np.log1p(clicks)
    return (popularity + _TIER_PULL[tiers]) / _TEMPERATURE


def shelves_of(world: World, clicks: Floats, day: int) -> Shelves:
    """Candidates of each leaf on ``day``: its own products first, then those around it."""
    config, tiers = world.config, shelf_tiers(world)
    order = tiers + config.stream("shelves", day).random(tiers.shape)
    order[:, world.arrival > day] = np.inf
    items = np.argpartition(order, config.n_candidates - 1, axis=1)[:, : config.n_candidates]
    items = np.sort(items, axis=1)
    return Shelves(items, np.take_along_axis(log_weights(world, clicks, tiers), items, axis=1))


def plackett_luce(
    logits: Floats, n_slots: int, generator: np.random.Generator
) -> tuple[Ints, Floats]:
    """Draw ``n_slots`` columns of each row without replacement, in order.

    Args:
        logits: (B, C) log weights.
        n_slots: at most C.
        generator: source of the Gumbel noise.

    Returns:
        columns (B, n_slots), and the probability of each given those before it.
    """
    noisy = logits + generator.gumbel(size=logits.shape)
    columns = np.argpartition(-noisy, n_slots - 1, axis=1)[:, :n_slots]
    rank = np.take_along_axis(-noisy, columns, axis=1).argsort(axis=1)
    columns = np.take_along_axis(columns, rank, axis=1)
    weights = np.exp(logits - logits.max(1, keepdims=True))
    chosen = np.take_along_axis(weights, columns, axis=1)
    rest = np.maximum(weights.sum(1) - chosen.sum(1), 0)  # the weight of those never drawn
    left = rest[:, None] + chosen[:, ::-1].cumsum(1)[:, ::-1]
    return columns, chosen / left


class Visits:
    """The sessions of one block of customers on one day; all take a step together.

    Arrays are (B sessions, S steps, K slots). A step is a request with a slate, or a second look
    at a product of the session (surface ``history``, slot 0 only).
    """

    def __init__(
        self, world: World, shelves: Shelves, users: Ints, last: Ints, day: int, *, block: int
    ) -> None:
        self.world, self.shelves, self.day, self.key = world, shelves, day, (block, day)
        config, random = world.config, world.config.stream("visits", block, day)
        rate = np.clip(world.activity[users] * _WEEKDAY[day % 7], 0, 0.95)
        self.users = users[random.random(len(users)) < rate]
        n = len(self.users)
        self.vectors = world.vectors(self.users, day)
        self.choice = world.leaf_choice(self.vectors, day)
        self.intent = random.choice(len(words.INTENTS), n, p=words.INTENT_SHARES)
        self.leaf = self._target(last[self.users], random)
        hour = np.clip(random.normal(16, 4, n), 0.5, 22.5)
        self.start = START + day * DAY + (3600 * hour).astype(np.int64)
        shape = (n, _STEPS, config.n_slots)
        self.live = np.zeros(shape[:2], dtype=bool)
        self.surface = np.zeros(shape[:2], dtype=np.int8)
        self.policy = np.zeros(shape[:2], dtype=np.int8)
        gaps = 60 + random.exponential(45, shape[:2]).astype(np.int64)
        self.times = self.start[:, None] + gaps.cumsum(1) - gaps[:, :1]
        self.items = np.zeros(shape, dtype=np.int64)
        self.propensity = np.ones(shape)
        self.click = np.zeros(shape, dtype=bool)
        self.bought = np.zeros(shape, dtype=bool)
        self.rating = np.zeros(shape, dtype=np.int8)

    def _target(self, last: Ints, random: np.random.Generator) -> Ints:
        """(B,) leaf of each session: by the last purchase, as a gift anywhere, or by taste."""
        n_leaves = self.choice.shape[1]
        known = last >= 0
        probs = self.choice.copy()
        led = self.world.complements[last] * known[:, None]
        follows = known & (random.random(len(last)) < self.world.config.complement)
        probs[follows] = led[follows]
        probs[self.intent == words.INTENTS.index("gift")] = 1 / n_leaves
        leaf = sample_rows(probs, random)
        again = known & (self.intent == words.INTENTS.index("reorder"))
        return np.where(again, last, leaf)

    def run(self) -> None:
        """Let every session take its steps until the last has left."""
        random = {
            name: self.world.config.stream(name, *self.key)
            for name in ("requests", "slates", "clicks", "purchases", "ratings")
        }
        live = np.arange(len(self.users))
        looked = np.full(len(live), -1)  # last product clicked
        for step in range(_STEPS):
            if not len(live):
                break
            self.live[live, step] = True
            self._request(live, step, looked, random["requests"], random["slates"])
            self._respond(live, step, random["clicks"], random["purchases"], random["ratings"])
            clicked = self.click[live, step]
            slot = clicked.shape[1] - 1 - clicked[:, ::-1].argmax(1)
            any_click = clicked.any(1)
            looked[live[any_click]] = self.items[live[any_click], step, slot[any_click]]
            leave = _LEAVE + _LEAVE_EMPTY * (looked[live] < 0)
            live = live[random["requests"].random(len(live)) >= leave]

    def _request(
        self,
        live: Ints,
        step: int,
        looked: Ints,
        requests: np.random.Generator,
        slates: np.random.Generator,
    ) -> None:
        config, n = self.world.config, len(live)
        names = words.SURFACES[:3]
        surface = requests.choice(3, n, p=[SURFACE_SHARES[name] for name in names])
        shelf = np.choose(
            surface,
            [
                self.leaf[live],
                sample_rows(self.choice[live], requests),
                sample_rows(self.world.siblings[self.leaf[live]], requests),
            ],
        )
        again = (requests.random(n) < _REVISIT) & (looked[live] >= 0)
        uniform = requests.random(n) < UNIFORM_SHARE
        logits = self.shelves.logits[shelf]
        logits[uniform] = 0.0
        columns, propensity = plackett_luce(logits, config.n_slots, slates)
        items = np.take_along_axis(self.shelves.items[shelf], columns, axis=1)
        items[again, 0] = looked[live[again]]
        self.items[live, step] = items
        self.propensity[live, step] = propensity
        self.surface[live, step] = np.where(again, _HISTORY, surface)
        self.policy[live, step] = uniform

    def _respond(
        self,
        live: Ints,
        step: int,
        clicks: np.random.Generator,
        purchases: np.random.Generator,
        ratings: np.random.Generator,
    ) -> None:
        world, n_slots = self.world, self.world.config.n_slots
        items, surface = self.items[live, step], self.surface[live, step]
        taste = world.taste(self.users[live], self.vectors[live], items)
        pull = np.array([*(SURFACE_PULL[name] for name in words.SURFACES[:3]), 0.0])[surface]
        examined = np.arange(1, n_slots + 1) ** -world.config.eta
        probs = examined * world.attraction(taste, items, pull[:, None])
        second = surface == _HISTORY
        probs[second] = np.arange(n_slots) == 0
        click = clicks.random(items.shape) < probs
        buying = self.intent[live, None] == words.INTENTS.index("buy")
        buy = purchases.random(items.shape) < world.conversion(taste, items, buying)
        self.click[live, step] = click
        self.bought[live, step] = click & buy
        noise = ratings.normal(0, 0.8, items.shape)
        score = 3.6 + 1.6 * (world.quality[items] - 0.71) + 0.15 * taste + noise
        rated = ratings.random(items.shape) < 0.25
        self.rating[live, step] = np.clip(np.round(score), 1, 5) * rated

    @cached_property
    def purchase_rows(self) -> NDArray[np.int64]:
        """(N, 3) session, step, slot of the purchases; a product once a session."""
        rows = np.argwhere(self.bought)
        key = rows[:, 0] * self.world.config.n_items + self.items[tuple(rows.T)]
        return rows[np.sort(np.unique(key, return_index=True)[1])]

    def click_counts(self) -> Floats:
        """(I,) clicks of the day on each product."""
        n_items = self.world.config.n_items
        return np.bincount(self.items[self.click], minlength=n_items).astype(float)

    def remember(self, last: Ints) -> None:
        """Write the leaf of each customer's last purchase into ``last`` (U,)."""
        rows = self.purchase_rows
        last[self.users[rows[:, 0]]] = self.world.leaves[self.items[tuple(rows.T)]]

    def tables(self) -> dict[str, dict[str, NDArray]]:
        """Columns of the day's sessions, impressions, clicks and purchases."""
        n_slots = self.world.config.n_slots
        shown = np.argwhere(self.live & (self.surface != _HISTORY))
        session, step = np.repeat(shown, n_slots, axis=0).T
        slot = np.tile(np.arange(n_slots), len(shown))
        at = (session, step, slot)
        impressions = {
            "session": session,
            "user": self.users[session],
            "item": self.items[at],
            "position": slot + 1,
            "timestamp": self.times[session, step],
            "surface": self.surface[session, step],
            "policy": self.policy[session, step],
            "propensity": self.propensity[at],
            "click": self.click[at],
        }
        session, step, slot = np.nonzero(self.click)
        at = (session, step, slot)
        surface = self.surface[session, step]
        clicks = {
            "session": session,
            "user": self.users[session],
            "item": self.items[at],
            "timestamp": self.times[session, step] + 2 + 3 * slot,
            "position": np.where(surface == _HISTORY, 0, slot + 1),
            "surface": surface,
        }
        session, step, slot = self.purchase_rows.T
        at = (session, step, slot)
        purchases = {
            "session": session,
            "user": self.users[session],
            "item": self.items[at],
            "timestamp": self.times[session, step] + 4 + 3 * slot,
            "rating": self.rating[at],
        }
        sessions = {"user": self.users, "start": self.start, "intent": self.intent}
        tables = {
            "sessions": sessions,
            "impressions": impressions,
            "clicks": clicks,
            "purchases": purchases,
        }
        return {
            name: {key: values.astype(_TYPES.get(key, values.dtype)) for key, values in t.items()}
            for name, t in tables.items()
        }
