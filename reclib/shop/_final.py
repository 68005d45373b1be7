"""The tables of a shop that do not grow by the day."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from reclib.shop._occasions import OCCASIONS
from reclib.shop._world import DISCOUNT, World
from reclib.shop.text import describe


def final_tables(world: World, memory: Mapping[str, Any]) -> dict[str, pd.DataFrame]:
    """The tables that do not grow by the day."""
    config = world.config
    fits = [tuple(np.array(OCCASIONS)[row]) for row in world.occasions]
    texts = describe(world.products, fits, config.own_stream("text"))
    products = world.products.copy()
    products.insert(1, "title", texts.table["title"].to_numpy())
    promoted = [
        (item, week, min(week + 6, config.n_days - 1))
        for week in range(0, config.n_days, 7)
        for item in np.flatnonzero(world.promoted(week))
    ]
    promotions = pd.DataFrame(promoted, columns=["item", "first_day", "last_day"])
    outs = pd.DataFrame(memory["stockouts"], columns=["item", "first_day", "last_day"])
    outs = outs[outs["first_day"] < config.n_days].reset_index(drop=True)
    outs["last_day"] = outs["last_day"].clip(upper=config.n_days - 1)
    return {
        "products": products,
        "users": world.users,
        "texts": texts.table,
        "truth_mentions": texts.mentions,
        "promotions": promotions.assign(discount=DISCOUNT),
        "stockouts": outs,
        "truth_users": pd.DataFrame(
            {
                name: memory[f"customer/{name}"]
                for name in ("satisfaction", "last_leaf", "last_brand")
            }
        ),
    }
