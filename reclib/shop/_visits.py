"""One day of the shop: what is on the shelves, who comes, what is shown, clicked and bought.

A day is simulated for blocks of `BLOCK` customers that do not know of each other: popularity and
stock are those of the previous midnight. Random streams are keyed by name, block and day.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from reclib.shop import _words as words
from reclib.shop._catalogue import Floats, Ints, edges_of, sample_edges, sample_rows, unit
from reclib.shop._config import BLOCK, DAY, START
from reclib.shop._dynamics import decayed, return_probability, updated
from reclib.shop._world import DISCOUNT, World
from reclib.shop.choice import (
    Choice,
    Situation,
    cart_intent,
    checkout,
    plackett_luce,
    sigmoid,
)
from reclib.shop.queries import Queries

_STEPS = 20  # most requests of a session
_WEEKDAY = np.array([1.14, 1.20, 1.12, 1.04, 0.97, 0.70, 0.80])
SURFACE_SHARES = {"search": 0.60, "recommendations": 0.22, "related": 0.18}
_SURFACE_EDGES = np.cumsum([SURFACE_SHARES[name] for name in words.SURFACES[:2]])
GIFT, REORDER = words.INTENT_SHARES[3], words.INTENT_SHARES[4]
_REVISIT, _LEAVE, _LEAVE_EMPTY, _TEMPER = 0.16, 0.22, 0.12, 10.0
# How much less a product of the same category, the same department, or elsewhere is shown.
_TIER_PULL = np.array([0.0, -1.0, -2.5, -4.0])
_POPULAR = 0.8
_AFFINITY = 0.5  # weight of the old segments in the shop's own policy, as of taste
_STOCKOUTS = 0.05  # expected stock-outs of a log, as a share of the products
_MOST_WANTED = np.array([3, 2, 1, 1, 0])  # attributes a session asks for, by intent
LANGUAGES = ("en", "mixed")  # of a query
_HISTORY = words.SURFACES.index("history")
_BUY, _GIFT_INTENT, _REORDER_INTENT = (words.INTENTS.index(x) for x in ("buy", "gift", "reorder"))
_CONSUMED_DAYS, _DUE_SHARE = 30.0, 0.4
_DELAY = 8 * 3600.0
_RETURNED = -2.9  # logit of the share of purchases that go back

Columns = dict[str, Any]


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


def run_block(
    world: World,
    day: Day,
    customers: dict[str, NDArray[Any]],
    block: int,
    policy: Policy | None = None,
) -> tuple[dict[str, Columns], dict[str, NDArray[Any]], dict[str, NDArray[Any]]]:
    """The sessions of one block of customers on one day.

    Args:
        world: products and customers.
        day: what is on the shelves.
        customers: the block's rows of the memory.
        block: number of the block; its first customer is ``block * BLOCK``.
        policy: what is shown instead of the shop's own slates.

    Returns:
        Columns of the tables, with ``session`` and ``request`` counted from 0; the customers'
        rows after the day; and counts (I,) of clicks and sales.
    """
    visits = _Visits(world, day, customers, block, policy)
    visits.run()
    return visits.tables(), visits.remembered(), visits.counts()


def shop_policy(world: World) -> Policy:
    """The shop's own: Plackett-Luce by popularity and segment, one request in ten uniform."""

    def act(day: Day, situation: Situation, generator: np.random.Generator) -> Slates:
        weights = day.weights[world.segment[situation.users], situation.shelf]
        uniform = generator.random(len(situation)) < world.config.uniform_share
        weights[uniform] = 1.0
        columns, propensity = plackett_luce(weights, world.config.n_slots, generator)
        items = np.take_along_axis(day.items[situation.shelf], columns, axis=1)
        return Slates(items, propensity, uniform.astype(np.int64))

    return act


class _Clicks(NamedTuple):
    """The clicks of one step, in the order of rows: row of the session, slot, product, surface."""

    row: Ints
    slot: Ints
    item: Ints
    surface: Ints


class _Visits:
    """The sessions of one block and day; all that are live take a step together.

    A step is a request with a slate, or a second look at a product (surface ``history``).
    """

    def __init__(
        self,
        world: World,
        day: Day,
        customers: dict[str, NDArray[Any]],
        block: int,
        policy: Policy | None,
    ) -> None:
        self.world, self.day, self.customers = world, day, customers
        self.policy = policy or shop_policy(world)
        self.key = (block, day.number)
        self.choice = _choice_of(world, day.number)
        config, random = world.config, self._stream("visits")
        low = block * BLOCK
        n_block = min(BLOCK, config.n_users - low)
        self.satisfaction = decayed(customers["satisfaction"], 1.0)
        dynamics = world.dynamics
        comes = return_probability(self.satisfaction, dynamics)
        comes /= return_probability(np.zeros(1), dynamics)
        rate = world.activity[low : low + n_block] * comes * _WEEKDAY[day.number % 7]
        self.local = np.flatnonzero(random.random(n_block) < np.clip(rate, 0, 0.95))
        self.users = low + self.local
        self._begin(random)
        self.slates: list[Columns] = []
        self.looks: list[Columns] = []

    def _stream(self, name: str) -> np.random.Generator:
        return self.world.config.own_stream(name, *self.key)

    def _begin(self, random: np.random.Generator) -> None:
        """Intent, leaf, goal and starting time of every session."""
        world, n, day = self.world, len(self.users), self.day.number
        rows = {name: values[self.local] for name, values in self.customers.items()}
        self.vectors = world.vectors(self.users, day)
        leaf_choice = world.leaf_choice(self.vectors, day)
        self.leaf_edges = edges_of(leaf_choice)
        self.intent = random.choice(len(words.INTENTS), n, p=words.INTENT_SHARES)
        due = (rows["due_item"] >= 0) & (rows["due_day"] <= day)
        due &= random.random(n) < _DUE_SHARE
        self.intent[due] = _REORDER_INTENT
        self.due_item = np.where(due, rows["due_item"], -1)
        self.last_brand = rows["last_brand"]
        last = rows["last_leaf"]
        known = last >= 0
        probs = leaf_choice.copy()
        follows = known & (random.random(n) < world.config.complement)
        probs[follows] = world.complements[last[follows]]
        probs[self.intent == _GIFT_INTENT] = 1 / probs.shape[1]
        leaf = sample_rows(probs, random)
        leaf = np.where(known & (self.intent == _REORDER_INTENT), last, leaf)
        self.leaf = np.where(due, world.leaves[self.due_item], leaf)
        self._wish(random)
        hour = np.clip(random.normal(16, 4, n), 0.5, 22.5)
        self.start = START + day * DAY + (3600 * hour).astype(np.int64)

    def _wish(self, random: np.random.Generator) -> None:
        """What a session looks for: up to three attributes that some product of the leaf has."""
        world, n = self.world, len(self.users)
        # A product of the shelf stands for the wish, so that it can be fulfilled.
        own = self.day.items[self.leaf]
        fits = (world.leaves[own] == self.leaf[:, None]) + 1e-9
        model = np.take_along_axis(own, sample_rows(fits, random)[:, None], axis=1)[:, 0]
        columns = random.random((n, 6)).argsort(1)[:, :3]
        self.wanted = np.take_along_axis(world.value_codes[model], columns, axis=1)
        count = random.integers(0, _MOST_WANTED[self.intent] + 1)
        count = np.where(self.intent == _BUY, np.maximum(count, 1), count)
        self.wanted[np.arange(3) >= count[:, None]] = -1
        capped = random.random(n) < 0.2
        self.price_cap = np.where(capped, random.normal(0.2, 0.3, n), np.inf)
        self.goals = goals(world, self.vectors, self.leaf, self.wanted)

    def run(self) -> None:
        """Let every session take its steps until the last has left."""
        names = ("requests", "slates", "clicks", "carts", "checkout", "aftermath")
        self.random = {name: self._stream(name) for name in names}
        n, world = len(self.users), self.world
        self.clock = self.start.astype(np.float64)
        self.recent = np.full((n, 5), -1)
        self.mood = self.satisfaction[self.local].copy()
        temper = _TEMPER * world.patience[self.users]
        live = np.arange(n)
        for step in range(_STEPS):
            if step and not len(live):  # step 0 makes the columns even where nobody comes
                break
            clicks = self._step(live, step)
            temper[live] -= np.clip(2 - clicks, 0, 2)
            leave = _LEAVE + _LEAVE_EMPTY * (self.recent[live, 0] < 0)
            stays = self.random["requests"].random(len(live)) >= leave
            live = live[stays & (temper[live] >= 1)]
        self._buy()

    def _step(self, live: Ints, step: int) -> Ints:
        """One request of every live session; returns its clicks (B,)."""
        random, n = self.random["requests"], len(live)
        looked = self.recent[live, 0]
        second = (random.random(n) < _REVISIT) & (looked >= 0)
        if step == 0:
            looked = self.due_item[live]
            second = looked >= 0
        again, shown = np.flatnonzero(second), np.flatnonzero(~second)
        row, slot, item, surface = self._slate(live[shown], step)
        rows = np.concatenate([shown[row], again])
        order = rows.argsort(kind="stable")
        clicks = _Clicks(
            row=rows[order],
            slot=np.concatenate([slot, np.zeros_like(again)])[order],
            item=np.concatenate([item, looked[again]])[order],
            surface=np.concatenate([surface, np.full_like(again, _HISTORY)])[order],
        )
        self._click(live, step, clicks)
        self.clock[live] += 10 + random.exponential(15, n)
        return np.bincount(clicks.row, minlength=n)

    def _slate(self, live: Ints, step: int) -> tuple[Ints, Ints, Ints, Ints]:
        """Show every session a slate; returns row, slot, product and surface of the clicks."""
        world, random, n = self.world, self.random["requests"], len(live)
        surface = np.searchsorted(_SURFACE_EDGES, random.random(n))
        shelf = self.leaf[live].copy()
        for code, edges in ((1, self.leaf_edges), (2, world.sibling_edges)):
            rows = np.flatnonzero(surface == code)
            at = live[rows] if code == 1 else shelf[rows]
            shelf[rows] = sample_edges(edges[at], random)
        situation = self._situation(live, surface, shelf)
        items, propensities, arm = self.policy(self.day, situation, self.random["slates"])
        click, probability = self.choice.draw_clicks(situation, items, self.random["clicks"])
        self.slates.append(
            {
                "session": live,
                "step": np.full(n, step),
                "time": self.clock[live].astype(np.int64),
                "surface": surface,
                "shelf": shelf,
                "policy": arm,
                "satisfaction": situation.satisfaction,
                "recent": situation.recent,
                "item": items,
                "propensity": propensities,
                "probability": probability,
                "click": click,
            }
        )
        row, slot = np.nonzero(click)
        return row, slot, items[row, slot], surface[row]

    def _situation(self, live: Ints, surface: Ints, shelf: Ints) -> Situation:
        return Situation(
            users=self.users[live],
            vectors=self.vectors[live],
            goals=self.goals[live],
            intent=self.intent[live],
            price_cap=self.price_cap[live],
            surface=surface,
            shelf=shelf,
            satisfaction=self.mood[live],
            recent=self.recent[live],
            last_brand=self.last_brand[live],
        )

    def _click(self, live: Ints, step: int, clicks: _Clicks) -> None:
        """Dwell, carts and satisfaction after the clicks of one step."""
        world, random = self.world, self.random["carts"]
        item, session = clicks.item, live[clicks.row]
        wish = self.choice.cart(self.users[session], self.vectors[session], item)
        wish = sigmoid(wish + cart_intent()[self.intent[session]])
        quality = world.quality[item]
        log_dwell = np.log(28) + 0.8 * (quality - 0.71) + 0.75 * random.standard_normal(len(item))
        dwell = np.maximum(np.exp(log_dwell), 1.0)
        nth = np.arange(len(item)) - np.searchsorted(clicks.row, clicks.row)
        before = dwell.cumsum() - dwell
        before -= before[np.arange(len(item)) - nth]
        self.looks.append(
            {
                "session": session,
                "step": np.full(len(item), step),
                "slot": clicks.slot,
                "item": item,
                "time": (self.clock[session] + 2 + 3 * clicks.slot + before).astype(np.int64),
                "surface": clicks.surface,
                "position": np.where(clicks.surface == _HISTORY, 0, clicks.slot + 1),
                "dwell": dwell,
                "cart": random.random(len(item)) < wish,
            }
        )
        self.clock[live] += np.bincount(clicks.row, dwell, minlength=len(live))
        # Looking as far as the last click takes time too: what follows comes after it.
        last = np.flatnonzero(np.diff(clicks.row, append=-1))
        self.clock[session[last]] += 2 + 3 * clicks.slot[last]
        # (B, most clicks of a slate): far fewer columns than slots.
        shape = (len(live), int(nth.max(initial=0)) + 1)
        clicked, worth = np.zeros(shape, dtype=bool), np.zeros((3, *shape))
        clicked[clicks.row, nth] = True
        worth[0, clicks.row, nth] = quality
        worth[1, clicks.row, nth] = world.bait[item]
        worth[2, clicks.row, nth] = self._similarity(self.recent[session], item)
        self.mood[live] = updated(
            self.mood[live], clicked, worth[0], worth[1], worth[2], world.dynamics
        )
        for column in range(shape[1]):  # push into ``recent``, the last one first
            now = nth == column
            at = session[now]
            self.recent[at, 1:] = self.recent[at, :-1]
            self.recent[at, 0] = item[now]

    def _similarity(self, recent: Ints, item: Ints) -> Floats:
        """(N,) mean cosine of each product with the last five clicked in the session."""
        vectors = self.world.item_vectors
        cosine = np.einsum("nrk,nk->nr", vectors[recent], vectors[item])
        known = recent >= 0
        return (cosine * known).sum(1) / np.maximum(known.sum(1), 1)

    def _buy(self) -> None:
        """At the end of a session its cart is bought, or not; delivery, returns and ratings."""
        world, random = self.world, self.random["checkout"]
        self.clicks = _joined(self.looks, ("session", "step", "slot"))
        # A cart holds a product once: the first time it was put there.
        rows = np.flatnonzero(self.clicks["cart"])
        key = self.clicks["session"][rows] * world.config.n_items + self.clicks["item"][rows]
        rows = rows[np.sort(np.unique(key, return_index=True)[1])]
        self.cart_rows = rows
        buys = random.random(len(self.users)) < checkout(self.intent)
        delay = random.exponential(_DELAY, len(self.users))
        session = self.clicks["session"][rows]
        rows, session = rows[buys[session]], session[buys[session]]
        item = self.clicks["item"][rows]
        line = np.arange(len(rows)) - np.searchsorted(session, session)
        time = (self.clock + delay)[session].astype(np.int64) + line
        self.sold = {"session": session, "item": item, "time": time}
        self._aftermath(session, item, time)

    def _aftermath(self, session: Ints, item: Ints, time: Ints) -> None:
        world, random = self.world, self.random["aftermath"]
        n, quality = len(item), self.world.quality[item]
        draws = random.random((5, n))
        config = world.config
        liking = config.taste * config.n_factors**0.5
        liking = liking * np.einsum("nk,nk->n", self.vectors[session], world.item_vectors[item])
        liking = liking - world.level[self.users[session]]
        noise = random.normal(0, 0.8, n)
        score = 3.6 + 1.6 * (quality - 0.71) + 0.15 * liking - 0.6 * (world.bait[item] - 0.3)
        rating = np.clip(np.round(score + noise), 1, 5)
        # The delighted and the angry write more often than the rest.
        self.sold |= {
            "quantity": 1 + (draws[0] < 0.08),
            "returned": draws[1] < sigmoid(_RETURNED - 3 * (quality - 0.71)),
            "rating": rating,
            "rated": draws[2] < 0.1 + 0.12 * np.abs(rating - 3.5),
            "rated_at": time + (2 * DAY - 5 * DAY * np.log1p(-draws[3])).astype(np.int64),
            "used_up": self.day.number + _CONSUMED_DAYS * np.exp(0.25 * (2 * draws[4] - 1) * 1.7),
        }

    def counts(self) -> dict[str, NDArray[Any]]:
        """(I,) clicks and sales of the day."""
        n_items = self.world.config.n_items
        return {
            "clicks": np.bincount(self.clicks["item"], minlength=n_items).astype(float),
            "sales": np.bincount(self.sold["item"], minlength=n_items).astype(float),
        }

    def remembered(self) -> dict[str, NDArray[Any]]:
        """The block's rows of the memory after the day."""
        world, sold = self.world, self.sold
        rows = {name: values.copy() for name, values in self.customers.items()}
        self.satisfaction[self.local] = self.mood
        rows["satisfaction"] = self.satisfaction
        at = self.local[sold["session"]]
        rows["last_leaf"][at] = world.leaves[sold["item"]]
        rows["last_brand"][at] = world.brand[sold["item"]]
        used = world.consumable[world.leaves[sold["item"]]]
        rows["due_item"][at[used]] = sold["item"][used]
        rows["due_day"][at[used]] = sold["used_up"][used]
        return rows

    def tables(self) -> dict[str, Columns]:
        """Columns of the day's tables; ``session`` and ``request`` are counted from 0."""
        slates = _joined(self.slates, ("session", "step"))
        tables = {
            "sessions": {
                "session": np.arange(len(self.users)),
                "user": self.users,
                "start": self.start,
            },
            "truth_sessions": {
                "session": np.arange(len(self.users)),
                "intent": self.intent,
                "leaf": self.leaf,
                **{f"wanted{k}": self.wanted[:, k] for k in range(3)},
                "price_cap": self.price_cap,
                "last_brand": self.last_brand,
            },
        }
        tables |= self._request_tables(slates) | self._event_tables()
        if self.key[0] == 0:
            n_leaves, n_candidates = self.day.items.shape
            tables["truth_shelves"] = {
                "day": np.full(self.day.items.size, self.day.number),
                "leaf": np.repeat(np.arange(n_leaves), n_candidates),
                "item": self.day.items.ravel(),
                "logit": self.day.logits.ravel(),
            }
        return {
            name: {
                key: values if key == "text" else _typed(key, values)
                for key, values in table.items()
            }
            for name, table in tables.items()
        }

    def _request_tables(self, slates: Columns) -> dict[str, Columns]:
        world, n = self.world, len(slates["session"])
        n_slots = slates["item"].shape[1]
        price = world.price * (1 - DISCOUNT * world.promoted(self.day.number))
        impressions = {
            "request": np.repeat(np.arange(n), n_slots),
            "session": np.repeat(slates["session"], n_slots),
            "user": np.repeat(self.users[slates["session"]], n_slots),
            "item": slates["item"].ravel(),
            "position": np.tile(np.arange(1, n_slots + 1), n),
            "timestamp": np.repeat(slates["time"], n_slots),
            "surface": np.repeat(slates["surface"], n_slots),
            "policy": np.repeat(slates["policy"], n_slots),
            "propensity": slates["propensity"].ravel(),
            "price": price[slates["item"].ravel()],
            "click": slates["click"].ravel(),
        }
        searches = np.flatnonzero(slates["surface"] == 0)
        session = slates["session"][searches]
        typed = self._queries(session)
        return {
            "impressions": impressions,
            "truth_impressions": {"probability": slates["probability"].ravel()},
            "truth_requests": {
                "request": np.arange(n),
                "session": slates["session"],
                "leaf": slates["shelf"],
                "surface": slates["surface"],
                "satisfaction": slates["satisfaction"],
                **{f"recent{k}": slates["recent"][:, k] for k in range(5)},
            },
            "queries": {
                "request": searches,
                "session": session,
                "user": self.users[session],
                "timestamp": slates["time"][searches],
                "text": typed.texts,
            },
            "truth_queries": {
                "request": searches,
                "language": np.array(typed.languages, dtype=str) == LANGUAGES[1],
            },
        }

    def _queries(self, session: Ints) -> Queries:
        """What a session types: its leaf and wishes, and the brand that a loyal customer likes."""
        random = self._stream("queries")
        loyalty = self.world.loyalty[self.users[session]]
        named = random.random(len(session)) < loyalty / (1 + loyalty)
        brand = np.where(named, self.last_brand[session], -1)
        writer = self.world.queries
        return writer.write(self.leaf[session], self.wanted[session], brand, random)

    def _event_tables(self) -> dict[str, Columns]:
        clicks, sold, rows = self.clicks, self.sold, self.cart_rows
        world, end = self.world, START + DAY * self.world.config.n_days
        price = world.price * (1 - DISCOUNT * world.promoted(self.day.number))
        bought = {
            "session": sold["session"],
            "user": self.users[sold["session"]],
            "item": sold["item"],
            "timestamp": sold["time"],
            "price": price[sold["item"]],
            "quantity": sold["quantity"],
            "returned": sold["returned"],
        }
        late = sold["time"] >= end
        rated = sold["rated"] & (sold["rated_at"] < end)
        return {
            "clicks": {
                "session": clicks["session"],
                "user": self.users[clicks["session"]],
                "item": clicks["item"],
                "timestamp": clicks["time"],
                "position": clicks["position"],
                "surface": clicks["surface"],
                "dwell": clicks["dwell"],
            },
            "carts": {
                "session": clicks["session"][rows],
                "user": self.users[clicks["session"][rows]],
                "item": clicks["item"][rows],
                "timestamp": (clicks["time"] + clicks["dwell"].astype(np.int64))[rows],
            },
            "purchases": {name: values[~late] for name, values in bought.items()},
            "truth_late": {name: values[late] for name, values in bought.items()},
            "ratings": {
                "user": bought["user"][rated],
                "item": bought["item"][rated],
                "timestamp": sold["rated_at"][rated],
                "rating": sold["rating"][rated],
            },
        }


def goals(world: World, vectors: Floats, leaf: Ints, wanted: Ints) -> Floats:
    """(B, K) unit vector of what a session looks for: taste, leaf and attributes."""
    sought = vectors + world.geometry.unit_vectors[leaf]
    sought += 0.5 * np.einsum("bwk,bw->bk", world.geometry.wanted[wanted], wanted >= 0)
    return unit(sought)


_CHOICES: dict[int, tuple[World, int, Choice]] = {}


def _choice_of(world: World, day: int) -> Choice:
    """The choice model of a day, kept for the next block of the same day."""
    kept = _CHOICES.get(0)
    if kept is None or kept[0] is not world or kept[1] != day:
        kept = (world, day, Choice(world, day))
        _CHOICES[0] = kept
    return kept[2]


def _joined(parts: list[Columns], keys: tuple[str, ...]) -> Columns:
    """All steps under each other, in the order of ``keys``."""
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    order = np.lexsort([columns[key] for key in reversed(keys)])
    return {name: values[order] for name, values in columns.items()}


_TYPES: dict[str, Any] = {
    "logit": np.float32, "position": np.int8, "rating": np.int8, "quantity": np.int8,
    "propensity": np.float32, "probability": np.float32, "satisfaction": np.float32,
    "dwell": np.float32, "price": np.float32, "price_cap": np.float32, "timestamp": np.int64,
    "start": np.int64, "intent": np.int8, "language": np.int8, "surface": np.int8,
    "policy": np.int8, "returned": np.bool_, "click": np.bool_,
}  # fmt: skip


def _typed(name: str, values: NDArray[Any]) -> NDArray[Any]:
    return values.astype(_TYPES.get(name, np.int32))
