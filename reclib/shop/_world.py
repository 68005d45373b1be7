"""What is true in the shop before anybody visits: products, customers, shelves and prices."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from reclib.shop import _words as words
from reclib.shop._catalogue import (
    WANTED,
    Catalogue,
    Floats,
    Geometry,
    Ints,
    edges_of,
    geometry_of,
    unit,
)
from reclib.shop._config import SimConfig
from reclib.shop._customers import customers
from reclib.shop._dynamics import WORLDS, Dynamics
from reclib.shop.queries import QueryWriter

_PROMOTED, DISCOUNT = 0.08, 0.2
_NEW_DAYS = 14  # a product counts as new for so long
_SEASON = 0.2


@dataclass(frozen=True, eq=False)
class World:
    """Products and customers; built from the settings alone.

    Attributes:
        config: the settings; geometry: shelves and directions of taste.
        products, users: the public tables, products without titles.
        codes, values: attribute -> (I,) codes, and the names of the codes.
        value_codes: (I, 6) flat codes of the attributes that carry taste.
        occasions: (I, n) bool, columns as ``_occasions.OCCASIONS``.
        brand, brand_names, brand_tier, brand_owner, owner_names: (I,) codes, and by brand.
        leaves: (I,) leaf of each product.
        item_vectors: (I, K) unit vectors; leaf_means: (L, K) their mean by leaf.
        quality, bait: (I,) in [0, 1].
        base: (I,) popularity before anybody visits, mean about 0; hidden: what no column tells.
        price: (I,); price_gap: (I,) log price minus its leaf's mean.
        arrival: (I,) day of the log on which the product can be shown first.
        start_vectors, drift_vectors, shock_vectors: (U, K) taste at the first midnight, its
            change over the log, and its jump at six tenths of it.
        price_sensitivity: (U,) effect of one unit of log price; activity: (U,) visits a day.
        level: (U,) mean liking of the products on the shelves a customer asks for; liking is
            measured from there, so that a shop's rates do not hang on the geometry of its vectors.
        loyalty, novelty, patience: (U,) pull of the brand bought last, of new products, and of
            going on; desktop: (U,) bool.
        segment: (U,); segment_vectors: (8, K).
        complements: (L, L) rows sum to 1: where to look after a purchase.
        siblings: (L, L) rows sum to 1: the other leaves of the category, or itself.
        season_phase: (L,) in radians.
    """

    config: SimConfig
    geometry: Geometry
    products: pd.DataFrame
    users: pd.DataFrame
    codes: dict[str, Ints]
    values: dict[str, tuple[str, ...]]
    value_codes: Ints
    occasions: NDArray[np.bool_]
    brand: Ints
    brand_names: list[str]
    brand_tier: Ints
    brand_owner: Ints
    owner_names: tuple[str, ...]
    leaves: Ints
    item_vectors: Floats
    leaf_means: Floats
    quality: Floats
    bait: Floats
    base: Floats
    hidden: Floats
    price: Floats
    price_gap: Floats
    arrival: Ints
    start_vectors: Floats
    drift_vectors: Floats
    shock_vectors: Floats
    price_sensitivity: Floats
    activity: Floats
    level: Floats
    loyalty: Floats
    novelty: Floats
    patience: Floats
    desktop: NDArray[np.bool_]
    segment: Ints
    segment_vectors: Floats
    complements: Floats
    siblings: Floats
    season_phase: Floats

    @property
    def dynamics(self) -> Dynamics:
        """How satisfaction acts in this world."""
        return WORLDS[self.config.world]

    @cached_property
    def sibling_edges(self) -> Floats:
        """(L, L) cumulative `siblings`."""
        return edges_of(self.siblings)

    @cached_property
    def tiers(self) -> Ints:
        """(L, I) 0 in the leaf, 1 in its category, 2 in its department, 3 elsewhere."""
        leaves, category, department = self.leaves, self.leaf_category, self.leaf_department
        same_leaf = np.arange(len(category))[:, None] == leaves
        same_category = category[:, None] == category[leaves]
        same_department = department[:, None] == department[leaves]
        return 3 - same_leaf.astype(np.int64) - same_category - same_department

    def candidate_share(self, leaf: int) -> Floats:
        """(I,) probability of being a candidate on the leaf's shelf, which fills by tiers."""
        sizes = np.bincount(self.tiers[leaf], minlength=4)
        before = np.cumsum(sizes) - sizes
        left = (self.config.n_candidates - before) / np.maximum(sizes, 1)
        return np.asarray(np.clip(left, 0, 1)[self.tiers[leaf]])

    @cached_property
    def shelf_cosine(self) -> Floats:
        """(L,) mean cosine of two candidates of each leaf's shelf."""
        n = self.config.n_candidates
        shares = np.stack([self.candidate_share(leaf) for leaf in range(len(self.tiers))])
        total = np.einsum("li,ik->lk", shares, self.item_vectors)
        return ((total**2).sum(1) - n) / (n * (n - 1))

    @cached_property
    def queries(self) -> QueryWriter:
        """What people type."""
        return QueryWriter(self.geometry.shelf["leaf"].tolist(), WANTED, self.brand_names)

    @property
    def consumable(self) -> NDArray[np.bool_]:
        """(L,) whether the leaf's products are used up and bought again."""
        return self.geometry.shelf["leaf"].isin(words.CONSUMABLES).to_numpy()

    @property
    def leaf_names(self) -> tuple[str, ...]:
        """(L,)."""
        return tuple(self.geometry.shelf["leaf"])

    @property
    def department_names(self) -> tuple[str, ...]:
        """By code."""
        return tuple(self.geometry.shelf["department"].unique())

    @property
    def leaf_category(self) -> Ints:
        """(L,) code of each leaf's category."""
        return self.geometry.category

    @property
    def leaf_department(self) -> Ints:
        """(L,) code of each leaf's department."""
        return self.geometry.department

    def vectors(self, users: Ints, day: float) -> Floats:
        """(B, K) unit taste vectors of ``users`` at the start of ``day``."""
        share = day / self.config.n_days
        vectors = self.start_vectors[users] + share * self.drift_vectors[users]
        if day >= 0.6 * self.config.n_days:
            vectors = vectors + self.shock_vectors[users]
        return unit(vectors)

    def leaf_choice(self, vectors: Floats, day: float) -> Floats:
        """(B, L) probability of the leaf a customer looks for out of taste and season alone."""
        season = 0.5 * np.cos(2 * np.pi * day / 365 - self.season_phase)
        affinity = np.einsum("bk,lk->bl", vectors, self.geometry.unit_vectors)
        logits = self.config.focus * self.config.n_factors**0.5 * affinity + season
        weights = np.exp(logits - logits.max(-1, keepdims=True))
        return np.asarray(weights / weights.sum(-1, keepdims=True))

    def promoted(self, day: int) -> NDArray[np.bool_]:
        """(I,) whether a product is sold at 20 % less; drawn anew every seven days."""
        random = self.config.own_stream("promotions", day // 7)
        return np.asarray(random.random(self.config.n_items) < _PROMOTED)

    def gap(self, day: int) -> Floats:
        """(I,) log price of the day minus the leaf's mean at full price."""
        return self.price_gap + np.log(1 - DISCOUNT) * self.promoted(day)

    def pull(self, day: float) -> Floats:
        """(I,) what draws anybody to click: popularity, bait, the season, and the unknown."""
        season = self.codes["season"] / 4 + 0.125
        return (
            0.5 * self.base
            + self.dynamics.bait_weight * (self.bait - 0.3)
            + _SEASON * np.cos(2 * np.pi * (day / 365 - season))
            + self.hidden
        )

    def is_new(self, day: float) -> NDArray[np.bool_]:
        """(I,) whether a product came within the last two weeks of the log."""
        return (self.arrival > 0) & (self.arrival <= day) & (day < self.arrival + _NEW_DAYS)


def build_world(config: SimConfig) -> World:
    """The world of ``config``."""
    geometry = geometry_of(config)
    catalogue = Catalogue(config, geometry)
    columns: dict[str, Any] = catalogue.columns() | customers(config, geometry, catalogue)
    return World(config=config, **columns)
