"""A shop whose customers' true preferences are known.

Every day each customer comes with a probability of activity, weekday and satisfaction, looks for a
leaf and up to three attributes, is shown slates, clicks by `reclib.shop.choice`, and buys the cart
or leaves it. A product's vector is the sum of its attributes' vectors, so attributes carry
preference. A slate is a Plackett-Luce draw of 10 from the 60 candidates of a leaf's shelf, by the
popularity of the week until midnight and the customer's segment; one request in ten is uniform.
The propensity of a slot is exact, given the slots above it and the policy in force.

Source: the design follows RecSim (Ie et al. 2019, arXiv:1909.04847), RecoGym (Rohde et al. 2018)
and KuaiSim (Zhao et al. 2023); no code is taken.

Differences from the paper: none of these simulators is reproduced. Against the shop's own
specification (those of choices are listed in `reclib.shop.choice`):

1. A customer comes on a day with probability activity * weekday * P(return | S) / P(return | 0),
   S the satisfaction of the day, so that `control` does not hang on S (specification: a gap
   between visits drawn after each session, and exp(.8 S) beside it).
2. Visits a day .6, .23 and .125 at tiny, small and full (.15); 70,000 sessions at `small`
   (50,000). With conversion near .16 and two products a basket, customers then have the histories
   of purchases that real shops have. `tiny` has 24 leaves (60) and 42 days (21).
3. Popularity before anybody visits has weights .5, .3, .25 for chance, quality and brand (.6, .35,
   none stated) and weighs .8 on the shelves (.9); slates are drawn at temperature 1.0 (.7). The
   steeper values gave an item Gini of .71 to .72 at `tiny`.
4. The choice of a leaf weighs 3 logits per standard deviation of a random cosine (1.6 per unit).
5. Price sensitivity falls with income: -.6 + .5 z, at most 0 (-.6 - .5 z). The noise of vectors is
   of length .3 and .7 (per coordinate).
6. Taste drifts along a line, .3 of its length over the log (a random walk of .01 a day, which is
   as far at K = 16 and 60 days); the shock at .6 of the log adds .8 of a style to two segments.
7. A leaf has 2 or 3 complements (12 % of all pairs, by style and size).
8. Surfaces: search .60, recommendations .22, related .18 (.55, .30, .15), for transitions within
   a category as in real shops.
9. A product runs out with a hazard in proportion to the sales of its week, 5 % of the products in
   expectation (5 % of the products).
10. An order's delay is drawn once a session, exponential with a mean of 8 hours, so 5 % come more
    than a day later (5 % after the log; those are .7 % here, in ``truth.late_purchases``).
11. Dwell does not depend on attraction (+.3 A). Products have no age band. What is used up comes
    back as a session that opens with it, 30 days later in the median (a hazard of its own).
12. Of the purchases 4.7 % go back (6 %): what is bought is better than the average product.

Chapter: shop/simulation.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import csr_array

from reclib.foundations.interactions import Interactions
from reclib.shop import _words as words
from reclib.shop._config import SimConfig
from reclib.shop._driver import Progress, Steps, run
from reclib.shop._extras import advertising_of, media_of
from reclib.shop._final import final_tables
from reclib.shop._shelves import close_day, first_memory, open_day
from reclib.shop._store import cache_folder, cached, kept, opened
from reclib.shop._visits import run_block
from reclib.shop._world import World, build_world
from reclib.shop.advertising import Advertising
from reclib.shop.media import Media, cached_pictures
from reclib.shop.relations import KnowledgeGraph
from reclib.shop.truth import Truth

__all__ = ["PUBLIC", "STEPS", "Shop", "SimConfig", "load", "open_shop", "simulate"]

PUBLIC = (
    "products", "users", "sessions", "queries", "impressions", "clicks", "carts", "purchases",
    "ratings", "promotions", "stockouts", "texts",
)  # fmt: skip
_ITEM_FEATURES = (
    "department", "category", "leaf", "brand", "colour", "material", "pattern", "style",
    "audience", "season", "tier",
)  # fmt: skip
_USER_FEATURES = ("age_band", "gender", "region", "device", "household")


class Shop:
    """A simulated shop: public tables, and the truth apart from them.

    Tables are read when they are first used. Times are UTC seconds, days count from 0.

    Attributes:
        config: the settings; ``config.hash`` names the shop.
        products: item, title, department, category, leaf, brand, colour, material, pattern,
            style, audience, season, size, feature, origin, tier, price, arrival_day.
        users: user, age_band, gender, region, device, household, income (NaN where missing),
            signup_day (at most 0), consent_personalization, consent_sharing.
        sessions: session, user, start.
        queries: request, session, user, timestamp, text; of the requests by search.
        impressions: request, session, user, item, position (from 1), timestamp, surface, policy,
            propensity, price, click. One request has one timestamp.
        clicks: session, user, item, timestamp, position, surface, dwell (seconds). Surface
            ``history`` is a second look at a product, without impression, position 0.
        carts: session, user, item, timestamp; a product once a session.
        purchases: session, user, item, timestamp, price, quantity, returned. The timestamp is
            that of the order, about 8 hours after the session; orders after the last day are
            not there.
        ratings: user, item, timestamp, rating (1 to 5), of some purchases, some days later.
        promotions: item, first_day, last_day, discount. stockouts: item, first_day, last_day.
        texts: item, title, description, bullets.
        name: ``shop``.
    """

    products: pd.DataFrame
    users: pd.DataFrame
    sessions: pd.DataFrame
    queries: pd.DataFrame
    impressions: pd.DataFrame
    clicks: pd.DataFrame
    carts: pd.DataFrame
    purchases: pd.DataFrame
    ratings: pd.DataFrame
    promotions: pd.DataFrame
    stockouts: pd.DataFrame
    texts: pd.DataFrame
    name = "shop"

    def __init__(self, config: SimConfig, tables: Mapping[str, pd.DataFrame]) -> None:
        self.config, self._tables = config, tables

    def __getattr__(self, name: str) -> pd.DataFrame:
        if name in PUBLIC:
            return self._tables[name]
        raise AttributeError(f"Shop has no attribute {name!r}")

    def __repr__(self) -> str:
        config = self.config
        return (
            f"Shop({config.profile}, {config.domain}, seed {config.seed}, {config.hash}: "
            f"{config.n_items} products, {config.n_users} users, {config.n_days} days, "
            f"{len(self.purchases)} purchases)"
        )

    @property
    def public(self) -> Mapping[str, pd.DataFrame]:
        """All tables that a firm would see, by name; `reviews` among them."""
        kept_tables = {name: self._tables[name] for name in PUBLIC}
        return MappingProxyType(kept_tables | {"reviews": self.reviews})

    def events(self, kind: str) -> Interactions:
        """The ``clicks``, ``carts``, ``purchases`` or ``ratings`` as interactions, repeats kept."""
        kinds = ("clicks", "carts", "purchases", "ratings")
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
    def media(self) -> Media:
        """Pictures, jingles and clips of the products."""
        return media_of(self._world)

    @cached_property
    def pictures(self) -> NDArray[np.uint8]:
        """(I, 64, 64, 3) the pictures of all products, kept beside the cached shops."""
        return cached_pictures(self.media, cache_folder() / "pictures")

    @cached_property
    def reviews(self) -> pd.DataFrame:
        """user, item, timestamp, rating, text; some are bought, and then the rating is 5."""
        written = self.truth.reviews.table
        return self.ratings.assign(rating=written["rating"].to_numpy(), text=written["text"])

    @property
    def knowledge(self) -> KnowledgeGraph:
        """What the shop knows about its products: facts are missing, and some are false."""
        return self.truth.graphs.public

    @cached_property
    def advertising(self) -> Advertising:
        """The advertisers and auctions of the banners beside the slates."""
        return advertising_of(self._world, self._tables)

    def sibling(self, domain: str) -> Shop:
        """The shop of another domain: other products, the same customers; from the cache.

        Args:
            domain: ``home`` or ``sport``.
        """
        config = self.config.in_domain(domain)
        return Shop(config, cached(config, STEPS))

    @cached_property
    def truth(self) -> Truth:
        """What no shop knows; models must never see it."""
        return Truth(self._world, self._tables)

    @cached_property
    def _world(self) -> World:
        return build_world(self.config)


STEPS = Steps(
    build_world=build_world,
    first_memory=first_memory,
    open_day=open_day,
    run_block=run_block,
    close_day=close_day,
    final_tables=final_tables,
    categories={
        "surface": words.SURFACES,
        "policy": words.POLICIES,
        "intent": words.INTENTS,
        "language": words.LANGUAGES,
    },
)


def simulate(
    config: SimConfig,
    folder: Path | None = None,
    *,
    workers: int = 1,
    progress: Progress = False,
) -> Shop:
    """Simulate a shop: all days, block of customers by block.

    Popularity, stock and customers' last purchases are those of the previous midnight, so the
    order of the blocks within a day does not matter.

    Args:
        config: the settings, such as ``SimConfig.of("tiny", 0)``.
        folder: new or empty, or with this shop, or with a cut run that goes on there; the tables
            are kept there as parquet files. None: in memory.
        workers: processes; the shop does not depend on it.
        progress: whether to show a bar, or a function of the days done and of all days.

    Returns:
        The shop; the same settings give the same bytes.

    Raises:
        ValueError: if the folder has something else.
        OSError: if the folder cannot be written or the disk is full.
    """
    if not isinstance(config, SimConfig):
        raise TypeError(f"config must be a SimConfig, got {type(config).__name__}")
    if folder is None:
        return Shop(config, run(config, STEPS, workers=workers, progress=progress))
    return Shop(config, kept(config, STEPS, folder, workers=workers, progress=progress))


def load(
    profile: str = "small",
    seed: int = 0,
    *,
    domain: str = "home",
    world: str = "default",
    workers: int = 1,
    progress: Progress = False,
) -> Shop:
    """The shop of a profile, from the cache or simulated and put there.

    The cache is ``shop/<hash>`` in the folder ``RECLIB_DATA`` (default ``data/cache`` of the
    checkout). Files whose checksum, settings or generator differ are made again; where the cache
    cannot be written, the shop is simulated in memory.

    Args:
        profile: ``tiny``, ``small`` or ``full``.
        seed: integer >= 0.
        domain: ``home`` or ``sport``; the customers are the same.
        world: ``control``, ``default`` or ``longterm``: how satisfaction acts.
        workers: processes; the shop does not depend on it.
        progress: whether to show a bar, or a function of the days done and of all days.
    """
    config = SimConfig.of(profile, seed, domain=domain, world=world)
    return Shop(config, cached(config, STEPS, workers=workers, progress=progress))


def open_shop(folder: Path) -> Shop:
    """The shop in a folder that `simulate` has filled.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if it is damaged, or of another version of the generator.
    """
    return Shop(*opened(folder, STEPS))


def _indicators(table: pd.DataFrame, columns: tuple[str, ...]) -> pd.DataFrame:
    return pd.get_dummies(table[list(columns)].astype(str), prefix_sep="=", dtype=np.uint8)
