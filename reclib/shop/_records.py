"""The tables of what one block of customers did on one day."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reclib.shop import _words as words
from reclib.shop._catalogue import Floats, Ints
from reclib.shop._config import DAY, START
from reclib.shop._shelves import Day
from reclib.shop._world import DISCOUNT, World
from reclib.shop.queries import Queries

Columns = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Log:
    """What happened in B sessions; sessions are counted from 0.

    Attributes:
        world, day, block: where and when.
        users, start, intent, leaf, price_cap, last_brand: (B,); wanted: (B, 3).
        slates: session, time, surface, shelf, policy, satisfaction of each of N slates, and (N, K)
            item, propensity, probability, click; (N, 5) recent.
        queries: of the slates of surface ``search``.
        clicks: session, item, time, surface, position, dwell, cart of each click.
        cart_rows: rows of ``clicks`` that filled a cart.
        sold: session, item, time, quantity, returned, rating, rated, rated_at of each line sold.
    """

    world: World
    day: Day
    block: int
    users: Ints
    start: Ints
    intent: Ints
    leaf: Ints
    wanted: Ints
    price_cap: Floats
    last_brand: Ints
    slates: Columns
    queries: Queries
    clicks: Columns
    cart_rows: Ints
    sold: Columns


def tables_of(log: Log) -> dict[str, Columns]:
    """Columns of the day's tables; ``session`` and ``request`` are counted from 0."""
    tables: dict[str, Columns] = {
        "sessions": {
            "session": np.arange(len(log.users)),
            "user": log.users,
            "start": log.start,
        },
        "truth_sessions": {
            "session": np.arange(len(log.users)),
            "intent": log.intent,
            "leaf": log.leaf,
            **{f"wanted{k}": log.wanted[:, k] for k in range(3)},
            "price_cap": log.price_cap,
            "last_brand": log.last_brand,
        },
    }
    tables |= _request_tables(log) | _event_tables(log)
    if log.block == 0:
        n_leaves, n_candidates = log.day.items.shape
        tables["truth_shelves"] = {
            "day": np.full(log.day.items.size, log.day.number),
            "leaf": np.repeat(np.arange(n_leaves), n_candidates),
            "item": log.day.items.ravel(),
            "logit": log.day.logits.ravel(),
        }
    return {
        name: {
            key: values if key == "text" else _typed(key, values) for key, values in table.items()
        }
        for name, table in tables.items()
    }


def _request_tables(log: Log) -> dict[str, Columns]:
    slates, world = log.slates, log.world
    n = len(slates["session"])
    n_slots = slates["item"].shape[1]
    price = world.price * (1 - DISCOUNT * world.promoted(log.day.number))
    impressions = {
        "request": np.repeat(np.arange(n), n_slots),
        "session": np.repeat(slates["session"], n_slots),
        "user": np.repeat(log.users[slates["session"]], n_slots),
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
            "user": log.users[session],
            "timestamp": slates["time"][searches],
            "text": log.queries.texts,
        },
        "truth_queries": {
            "request": searches,
            "language": np.array(log.queries.languages, dtype=str) == words.LANGUAGES[1],
        },
    }


def _event_tables(log: Log) -> dict[str, Columns]:
    clicks, sold, rows = log.clicks, log.sold, log.cart_rows
    world, end = log.world, START + DAY * log.world.config.n_days
    price = world.price * (1 - DISCOUNT * world.promoted(log.day.number))
    bought = {
        "session": sold["session"],
        "user": log.users[sold["session"]],
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
            "user": log.users[clicks["session"]],
            "item": clicks["item"],
            "timestamp": clicks["time"],
            "position": clicks["position"],
            "surface": clicks["surface"],
            "dwell": clicks["dwell"],
        },
        "carts": {
            "session": clicks["session"][rows],
            "user": log.users[clicks["session"][rows]],
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


def joined(parts: list[Columns], keys: tuple[str, ...]) -> Columns:
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
