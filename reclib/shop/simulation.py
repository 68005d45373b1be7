"""A small shop whose customers' true preferences are known.

P(click on item i at position k) = k ** -eta * sigmoid(taste(u, i) + pull(i) + pull(surface)),
taste(u, i) = 1.5 sqrt(K) <u, v_i> + sensitivity(u) (log price_i - mean of its leaf) - level(u);
a click becomes a purchase with probability sigmoid(taste / 2 + pull'(i) + intent). A product's
vector is the sum of its attributes' vectors, so attributes carry preference. A slate is a
Plackett-Luce draw of 10 from the 60 candidates of a leaf's shelf, by yesterday's popularity (one
request in ten: uniform); the propensity of a slot is exact, given the slots above it and the
policy in force.

Source: the design follows RecSim (Ie et al. 2019, arXiv:1909.04847), RecoGym (Rohde et al. 2018)
and KuaiSim (Zhao et al. 2023); no code is taken.

Differences from the paper: none of these simulators is reproduced. Against the shop's own
specification, which this first and small generator fills in part:

1. People buy far more: about 0.7 products a session, and 4 sessions in 10 buy (specification: 8 to
   18 %), so that the purchases alone give histories for `split_last`.
2. Taste weighs 1.5 and 3 logits per standard deviation of a random cosine in a click and in the
   choice of a leaf (2.2 and 1.6 per unit of cosine, which hardly personalises at K = 16). It is
   measured from each customer's level on the shelves they ask for, so that click rates do not
   hang on K or the seed; search then pulls -1.6 (-2.2), recommendations -2.4 (-3.0), related
   -2.1 (-2.7).
3. Popularity before anybody visits has weights .5, .3, .25 for chance, quality and brand (.6, .35,
   none stated); slates are drawn at temperature 1.0 (.7). The steeper values gave an item Gini of
   .71 to .72 at `tiny`.
4. Price sensitivity falls with income: -.6 + .5 z, at most 0 (-.6 - .5 z). The noise of vectors is
   of length .3 and .7 (per coordinate).
5. A user visits .5, .2 and .1 times a day at tiny, small and full (.15); `tiny` has 24 leaves (60).
6. A session has a leaf but no further constraints and leaves at a constant rate; a leaf has 2 or 3
   complements (12 % of all pairs, by style and size).
7. A purchase follows its click within seconds (8 hours on average); one eta for all devices
   (.6 mobile, .9 desktop); no trust bias, no context effect; taste drifts along a line.
8. Not simulated: dwell and carts, satisfaction and return, returned goods, queries, media,
   relations, stock and promotions, the second domain, advertisers, dirty data.

Chapter: shop/simulation.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import csr_array

from reclib.foundations.interactions import Interactions
from reclib.shop import _words as words
from reclib.shop._config import BLOCK, SimConfig
from reclib.shop._truth import Truth
from reclib.shop._visits import Visits, shelves_of
from reclib.shop._world import World, build_world

__all__ = ["TABLES", "Shop", "SimConfig", "simulate"]

TABLES = ("products", "users", "sessions", "impressions", "clicks", "purchases", "ratings")
_ITEM_FEATURES = (
    "department", "category", "leaf", "brand", "colour", "material", "pattern", "style",
    "audience", "season", "tier",
)  # fmt: skip
_USER_FEATURES = ("age_band", "gender", "region", "device", "household")


@dataclass(frozen=True, eq=False, repr=False)
class Shop:
    """A simulated shop: public tables, and the truth apart from them.

    Attributes:
        config: the settings; ``config.hash`` names the shop.
        products: item, title, department, category, leaf, brand, colour, material, pattern,
            style, audience, season, tier, price, arrival_day.
        users: user, age_band, gender, region, device, household, income (NaN where missing).
        sessions: session, user, start, intent, device.
        impressions: session, user, item, position (from 1), timestamp, surface, policy,
            propensity, click. Of the session's request; one request has one timestamp.
        clicks: session, user, item, timestamp, position, surface. Surface ``history`` is a second
            look at a product of the session, without impression, position 0.
        purchases: session, user, item, timestamp, price, quantity.
        ratings: user, item, timestamp, rating (1 to 5), of a quarter of the purchases.
        name: ``shop``.
    """

    config: SimConfig
    products: pd.DataFrame
    users: pd.DataFrame
    sessions: pd.DataFrame
    impressions: pd.DataFrame
    clicks: pd.DataFrame
    purchases: pd.DataFrame
    ratings: pd.DataFrame
    name: str = field(default="shop", init=False)

    def __repr__(self) -> str:
        config = self.config
        return (
            f"Shop({config.profile}, seed {config.seed}, {config.hash}: {config.n_items} products, "
            f"{config.n_users} users, {config.n_days} days, {len(self.purchases)} purchases)"
        )

    def events(self, kind: str) -> Interactions:
        """The ``clicks``, ``purchases`` or ``ratings`` as interactions, repeats kept."""
        kinds = ("clicks", "purchases", "ratings")
        if kind not in kinds:
            raise ValueError(f"kind must be one of {kinds}, got {kind!r}")
        table: pd.DataFrame = getattr(self, kind)
        return Interactions(
            table["user"].to_numpy(np.int64),
            table["item"].to_numpy(np.int64),
            timestamps=table["timestamp"].to_numpy(),
            ratings=table["rating"].to_numpy(float) if kind == "ratings" else None,
            n_users=self.config.n_users,
            n_items=self.config.n_items,
        )

    @cached_property
    def interactions(self) -> Interactions:
        """The purchases; a product bought again is there again."""
        return self.events("purchases")

    @cached_property
    def _item_table(self) -> pd.DataFrame:
        return _indicators(self.products, _ITEM_FEATURES)

    @cached_property
    def _user_table(self) -> pd.DataFrame:
        income = self.users["income"]
        band = pd.cut(income, [0, 20e3, 30e3, 45e3, np.inf], labels=["low", "mid", "high", "top"])
        table = self.users.assign(income=band.astype(object).fillna("unknown"))
        return _indicators(table, (*_USER_FEATURES, "income"))

    @cached_property
    def item_features(self) -> csr_array:
        """(I, F) 0/1 attributes of the products; columns are `item_feature_names`."""
        return csr_array(self._item_table.to_numpy()).astype(np.float64)

    @property
    def item_feature_names(self) -> list[str]:
        """(F,) ``attribute=value``."""
        return list(self._item_table.columns)

    @cached_property
    def user_features(self) -> csr_array:
        """(U, F) 0/1 profile of the customers; columns are `user_feature_names`."""
        return csr_array(self._user_table.to_numpy()).astype(np.float64)

    @property
    def user_feature_names(self) -> list[str]:
        """(F,) ``attribute=value``; a missing income is ``income=unknown``."""
        return list(self._user_table.columns)

    @cached_property
    def truth(self) -> Truth:
        """What no shop knows; models must never see it."""
        return Truth(self.config, self.clicks, self.purchases)


def simulate(config: SimConfig) -> Shop:
    """Simulate a shop: all days, block of customers by block.

    Popularity counts and customers' last purchases are those of the previous midnight, so the
    order of the blocks within a day does not matter.

    Args:
        config: the settings, such as ``SimConfig.of("tiny", 0)``.

    Returns:
        The shop; the same settings give the same bytes.
    """
    if not isinstance(config, SimConfig):
        raise TypeError(f"config must be a SimConfig, got {type(config).__name__}")
    world = build_world(config)
    last = np.full(config.n_users, -1)  # leaf of each customer's last purchase
    week = np.zeros((7, config.n_items))
    days = []
    for day in range(config.n_days):
        shelves = shelves_of(world, week.sum(0), day)
        counts = np.zeros(config.n_items)
        for low in range(0, config.n_users, BLOCK):
            users = np.arange(low, min(low + BLOCK, config.n_users))
            visits = Visits(world, shelves, users, last, day, block=low // BLOCK)
            visits.run()
            days.append(visits.tables())
            counts += visits.click_counts()
            visits.remember(last)
        week[day % 7] = counts
    return _shop(world, days)


def _shop(world: World, days: list[dict[str, dict[str, NDArray]]]) -> Shop:
    """Join the days: number the sessions and name the codes."""
    config = world.config
    n_sessions = 0
    for day in days:
        for name in ("impressions", "clicks", "purchases"):
            day[name]["session"] += np.int32(n_sessions)
        n_sessions += len(day["sessions"]["user"])
    names = {"surface": words.SURFACES, "policy": words.POLICIES, "intent": words.INTENTS}
    frames = {}
    for name in list(days[0]):
        tables = [day.pop(name) for day in days]
        columns: dict[str, Any] = {
            column: np.concatenate([table[column] for table in tables]) for column in tables[0]
        }
        for column in names.keys() & columns.keys():
            columns[column] = pd.Categorical.from_codes(
                columns[column], dtype=pd.CategoricalDtype(list(names[column]))
            )
        frames[name] = pd.DataFrame(columns, copy=False)
    sessions = frames["sessions"]
    sessions.insert(0, "session", np.arange(len(sessions), dtype=np.int32))
    sessions["device"] = world.users["device"].to_numpy()[sessions["user"]]
    purchases = frames["purchases"]
    rated = purchases[purchases["rating"] > 0]
    ratings = rated[["user", "item", "timestamp", "rating"]].reset_index(drop=True)
    price = world.products["price"].to_numpy()[purchases["item"]]
    extra = config.stream("quantities").random(len(purchases)) < 0.08
    purchases = purchases.drop(columns="rating").assign(
        price=price, quantity=np.where(extra, 2, 1).astype(np.int8)
    )
    return Shop(
        config=config,
        products=world.products,
        users=world.users,
        sessions=sessions,
        impressions=frames["impressions"],
        clicks=frames["clicks"],
        purchases=purchases,
        ratings=ratings,
    )


def _indicators(table: pd.DataFrame, columns: tuple[str, ...]) -> pd.DataFrame:
    return pd.get_dummies(table[list(columns)].astype(str), prefix_sep="=", dtype=np.uint8)
