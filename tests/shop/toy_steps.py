"""A toy simulation whose days hang on each other: what the driver is tested with.

Imported by spawned processes too, so it is kept apart from the tests.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from reclib.shop._config import SimConfig
from reclib.shop._driver import Steps

N_ITEMS = 20
NAMES = ("search", "related", "never")


def build_world(config: SimConfig) -> dict[str, Any]:
    return {"config": config, "weight": config.stream("toy-world").random(N_ITEMS)}


def first_memory(world: dict[str, Any]) -> dict[str, NDArray]:
    return {"customer/mood": np.zeros(world["config"].n_users), "popularity": np.zeros(N_ITEMS)}


def open_day(world: dict[str, Any], memory: dict[str, NDArray], day: int) -> dict[str, Any]:
    return {"day": day, "logits": world["weight"] + memory["popularity"]}


def run_block(
    world: dict[str, Any], opened: dict[str, Any], customers: dict[str, NDArray], block: int
) -> Any:
    config, day = world["config"], opened["day"]
    if block == 0 and day == 1:
        time.sleep(0.05)  # of several processes, another's block is done before
    stream = config.stream("toy-block", block, day)
    n_sessions = int(stream.integers(0, 4)) if block else 0  # block 0 has none on any day
    n_requests = 2 * n_sessions
    session = np.arange(n_sessions, dtype=np.int32)
    score = opened["logits"] + customers["mood"].sum() + stream.random(N_ITEMS)
    item = np.argsort(-score)[:n_requests].astype(np.int32)
    item = np.resize(item, n_requests)
    tables = {
        "sessions": {"session": session, "start": stream.random(n_sessions)},
        "impressions": {
            "request": np.arange(n_requests, dtype=np.int32),
            "session": np.repeat(session, 2),
            "item": item,
            "surface": stream.integers(-1, 2, n_requests),
            "text": [None if one % 5 == 0 else f"item {one}" for one in item],
        },
    }
    # Sums of such numbers hang on their order.
    counts = {"popularity": stream.random(N_ITEMS) * 10.0 ** stream.integers(-8, 8, N_ITEMS)}
    return tables, {"mood": customers["mood"] + stream.random(len(customers["mood"]))}, counts


def close_day(
    world: dict[str, Any], memory: dict[str, NDArray], day: int, counts: dict[str, NDArray]
) -> None:
    memory["popularity"] = 0.5 * memory["popularity"] + np.log1p(counts["popularity"])


def final_tables(world: dict[str, Any], memory: dict[str, NDArray]) -> dict[str, pd.DataFrame]:
    tier = pd.Categorical(["b"] * N_ITEMS, categories=["a", "b"])
    products = pd.DataFrame({"item": np.arange(N_ITEMS), "tier": tier})
    return {"products": products.assign(popularity=memory["popularity"])}


STEPS = Steps(
    build_world=build_world,
    first_memory=first_memory,
    open_day=open_day,
    run_block=run_block,
    close_day=close_day,
    final_tables=final_tables,
    categories={"surface": NAMES},
    block_size=16,
)


def toy_config(seed: int = 0, n_days: int = 4) -> SimConfig:
    """Six blocks of customers, the last with 10."""
    return SimConfig(profile="tiny", seed=seed, n_items=300, n_users=90, n_days=n_days, n_factors=4)
