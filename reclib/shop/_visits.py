"""One day of the shop: who comes, what is shown, clicked and bought.

A day is simulated for blocks of `BLOCK` customers that do not know of each other: popularity and
stock are those of the previous midnight. Random streams are keyed by name, block and day.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from reclib.shop import _words as words
from reclib.shop._catalogue import Floats, Ints, edges_of, sample_edges, sample_rows, unit
from reclib.shop._config import BLOCK, DAY, START
from reclib.shop._dynamics import decayed, return_probability, updated
from reclib.shop._records import Columns, Log, joined, tables_of
from reclib.shop._shelves import Day, Policy, shop_policy
from reclib.shop._world import World
from reclib.shop.choice import Choice, Situation, cart_intent, checkout, sigmoid
from reclib.shop.queries import Queries

_STEPS = 20  # most requests of a session
_WEEKDAY = np.array([1.14, 1.20, 1.12, 1.04, 0.97, 0.70, 0.80])
_SURFACE_EDGES = np.cumsum([words.SURFACE_SHARES[name] for name in words.SURFACES[:2]])
_REVISIT, _LEAVE, _LEAVE_EMPTY, _TEMPER = 0.16, 0.22, 0.12, 10.0
_MOST_WANTED = np.array([3, 2, 1, 1, 0])  # attributes a session asks for, by intent
_HISTORY = words.SURFACES.index("history")
_BUY, _GIFT_INTENT, _REORDER_INTENT = (words.INTENTS.index(x) for x in ("buy", "gift", "reorder"))
_DAWN, _NIGHT = ndtr((0.5 - 16) / 4), ndtr((22.5 - 16) / 4)
_CONSUMED_DAYS, _DUE_SHARE = 30.0, 0.4
_DELAY = 8 * 3600.0
_RETURNED = -2.9  # logit of the share of purchases that go back


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
    visits = Visits(world, day, customers, block, policy)
    visits.run()
    return tables_of(visits.log()), visits.remembered(), visits.counts()


class _Clicks(NamedTuple):
    """The clicks of one step, in the order of rows: row of the session, slot, product, surface."""

    row: Ints
    slot: Ints
    item: Ints
    surface: Ints


class Visits:
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
        quantile = ndtr(random.normal(size=n))
        hour = 16 + 4 * ndtri(_DAWN + quantile * (_NIGHT - _DAWN))  # normal, cut at both ends
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
        self.clicks = joined(self.looks, ("session", "step", "slot"))
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

    def log(self) -> Log:
        """What happened, for the tables."""
        slates = joined(self.slates, ("session", "step"))
        return Log(
            world=self.world,
            day=self.day,
            block=self.key[0],
            users=self.users,
            start=self.start,
            intent=self.intent,
            leaf=self.leaf,
            wanted=self.wanted,
            price_cap=self.price_cap,
            last_brand=self.last_brand,
            slates=slates,
            queries=self._queries(slates["session"][slates["surface"] == 0]),
            clicks=self.clicks,
            cart_rows=self.cart_rows,
            sold=self.sold,
        )

    def _queries(self, session: Ints) -> Queries:
        """What a session types: its leaf and wishes, and the brand that a loyal customer likes."""
        random = self._stream("queries")
        loyalty = self.world.loyalty[self.users[session]]
        named = random.random(len(session)) < loyalty / (1 + loyalty)
        brand = np.where(named, self.last_brand[session], -1)
        writer = self.world.queries
        return writer.write(self.leaf[session], self.wanted[session], brand, random)


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
