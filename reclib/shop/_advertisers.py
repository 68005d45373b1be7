"""Who advertises in the shop, what, where, and for how much; and what the market is given.

An advertiser is a brand. Its value of a click is log-normal (-.5, .6), its bid .5 to 1 of that, its
budget a number of clicks at the bid; it targets the one or two departments where it has most
products, and advertises 3 to 10 of them.

Source: section 1.11 of the shop's specification.
Differences from the specification: see `reclib.shop.advertising`.
Chapter: shop/simulation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pandas as pd

from reclib.shop._auctions import Floats, Ints, check_effects

_LEAST_PRODUCTS, _MOST_PRODUCTS, _MOST_DEPARTMENTS = 3, 10, 2


@dataclass(frozen=True)
class Market:
    """Settings of the advertising market.

    Attributes:
        n_advertisers: most advertisers.
        slot_effects: clicks of each banner slot relative to the first.
        reserve: least bid and price of a click.
        mechanism: ``gsp`` or ``vcg``, which sets the prices of the log.
        throttle: whether budgets are spread over time; else spent as requests come.
        pull: logit of a click by an average customer on an average product.
        taste: logits per standard deviation of the cosine of two random vectors.
        noise: standard deviation of the log of the platform's estimate of the click probability.
        flight_requests: a budget lasts the whole days with about so many requests.
        budget_clicks: least and most clicks at the own bid that a budget pays for.
    """

    n_advertisers: int = 30
    slot_effects: tuple[float, ...] = (1.0, 0.7)
    reserve: float = 0.05
    mechanism: str = "gsp"
    throttle: bool = True
    pull: float = -6.0
    taste: float = 0.5
    noise: float = 0.2
    flight_requests: int = 80_000
    budget_clicks: tuple[float, float] = (20.0, 60.0)

    def __post_init__(self) -> None:
        """Check every setting once, here."""
        check_effects(self.slot_effects)
        if self.mechanism not in ("gsp", "vcg"):
            raise ValueError(f"mechanism must be 'gsp' or 'vcg', got {self.mechanism!r}")
        for name, least in (
            ("n_advertisers", 1),
            ("flight_requests", 1),
            ("reserve", 0),
            ("taste", 0),
            ("noise", 0),
        ):
            if not least <= getattr(self, name) < np.inf:
                raise ValueError(f"{name} must be at least {least}, got {getattr(self, name)}")
        low, high = self.budget_clicks
        if not 0 <= low <= high < np.inf:
            raise ValueError(f"budget_clicks must be 0 <= least <= most, got {self.budget_clicks}")


@dataclass(frozen=True, eq=False)
class AdRequests:
    """The requests that carry banners, in any order.

    Attributes:
        request, user: (B,) ids.
        timestamp: (B,) UTC seconds.
        leaf: (B,) leaf of the shelf.
        vectors: (B, K) taste of the customer then.
    """

    request: Ints
    user: Ints
    timestamp: Ints
    leaf: Ints
    vectors: Floats

    def __post_init__(self) -> None:
        """Check the lengths once, here."""
        n = len(self.request)
        for name in ("user", "timestamp", "leaf", "vectors"):
            if len(getattr(self, name)) != n:
                raise ValueError(f"{name} must have length {n}, got {len(getattr(self, name))}")
        if not n:
            raise ValueError("request must have at least 1 row, got 0")


@dataclass(frozen=True, eq=False)
class AdCatalogue:
    """What advertising needs to know of the products.

    Attributes:
        vectors: (I, K); quality, bait: (I,) in [0, 1]; arrival: (I,) first day of the product.
        leaf: (I,); leaf_department: (L,); brand: (I,) codes.
        department_names, brand_names: names of the codes.
    """

    vectors: Floats
    quality: Floats
    bait: Floats
    arrival: Ints
    leaf: Ints
    leaf_department: Ints
    brand: Ints
    department_names: tuple[str, ...]
    brand_names: tuple[str, ...]

    @classmethod
    def of(cls, world: Any) -> AdCatalogue:
        """The catalogue of a shop's ``World``."""
        return cls(
            vectors=world.item_vectors,
            quality=world.quality,
            bait=world.bait,
            arrival=world.arrival,
            leaf=world.leaves,
            leaf_department=world.leaf_department,
            brand=world.brand,
            department_names=tuple(world.department_names),
            brand_names=tuple(world.brand_names),
        )


class Streams(Protocol):
    """Whatever has named random streams, such as the `SimConfig`."""

    def stream(self, name: str, *key: int) -> np.random.Generator:
        """The stream ``name``, split further by ``key``."""


class Advertisers:
    """The advertisers (A) and the products they advertise (M, sorted by advertiser)."""

    def __init__(self, streams: Streams, catalogue: AdCatalogue, market: Market) -> None:
        random = streams.stream("ads/advertisers")
        self.catalogue = catalogue
        departments = catalogue.leaf_department[catalogue.leaf]
        n_brands, n_departments = len(catalogue.brand_names), len(catalogue.department_names)
        counts = np.bincount(
            catalogue.brand * n_departments + departments, minlength=n_brands * n_departments
        ).reshape(n_brands, n_departments)
        best = np.argsort(-counts, axis=1, kind="stable")[:, :_MOST_DEPARTMENTS]
        targets = np.zeros(counts.shape, dtype=bool)
        np.put_along_axis(targets, best, True, axis=1)
        targets &= counts > 0
        able = np.flatnonzero((counts * targets).sum(1) >= _LEAST_PRODUCTS)
        if not len(able):
            raise ValueError("catalogue must have a brand with 3 products, got none")
        n = min(market.n_advertisers, len(able), max(1, len(catalogue.brand) // 25))
        self.brand = np.sort(random.choice(able, n, replace=False))
        self.targets = targets[self.brand]  # (A, departments)
        sizes = random.integers(_LEAST_PRODUCTS, _MOST_PRODUCTS + 1, n)
        chosen = []
        for brand, size in zip(self.brand, sizes, strict=True):
            own = np.flatnonzero((catalogue.brand == brand) & targets[brand, departments])
            chosen.append(np.sort(random.permutation(own)[:size]))
        self.items = np.concatenate(chosen)
        self.owner = np.repeat(np.arange(n), [len(items) for items in chosen])
        self.department = departments[self.items]
        self.value = random.lognormal(-0.5, 0.6, n)
        self.shade = random.uniform(0.5, 1.0, n)
        self.bid = self.value * self.shade
        self.budget_clicks = random.uniform(*market.budget_clicks, n)
        self.response = random.normal(0, 0.3, len(self.items))
        kind = random.choice(3, len(self.items), p=(0.6, 0.25, 0.15))
        helps, harms = random.uniform(0, 0.8, len(kind)), random.uniform(1.1, 2.0, len(kind))
        self.displaced = np.choose(kind, [helps, np.ones(len(kind)), harms])

    def public(self, budget: Floats) -> pd.DataFrame:
        names, everyone = self.catalogue.department_names, range(len(self.brand))
        return pd.DataFrame(
            {
                "advertiser": np.array(everyone),
                "name": [self.catalogue.brand_names[brand] for brand in self.brand],
                "items": [tuple(self.items[self.owner == a].tolist()) for a in everyone],
                "departments": [
                    tuple(names[d] for d in np.flatnonzero(row)) for row in self.targets
                ],
                "bid": self.bid,
                "budget": budget,
            }
        )

    def secrets(self) -> pd.DataFrame:
        columns = {"advertiser": np.arange(len(self.brand)), "value": self.value}
        return pd.DataFrame(columns | {"shade": self.shade})

    def products(self) -> pd.DataFrame:
        columns = {"advertiser": self.owner, "item": self.items, "response": self.response}
        return pd.DataFrame(columns | {"displaced": self.displaced})
