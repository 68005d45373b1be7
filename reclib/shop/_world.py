"""What is true in the shop before anybody visits: products, customers, and how they choose."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import betaincinv, logit, ndtr

from reclib.shop import _words as words
from reclib.shop._config import SimConfig

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

# Shares of variance of a product's vector, as squared weights of its unit parts.
PARTS = {"department": 0.6, "leaf": 0.5, "attribute": 0.25, "brand": 0.3, "noise": 0.3}
SURFACE_PULL = {"search": -1.6, "recommendations": -2.4, "related": -2.1}
SURFACE_SHARES = {"search": 0.62, "recommendations": 0.20, "related": 0.18}
BUY_PULL = -1.6
BUY_INTENT_PULL = 0.8
GIFT, REORDER = words.INTENT_SHARES[3], words.INTENT_SHARES[4]
_SEGMENTS = 8
_ATTRIBUTES = ("colour", "material", "pattern", "style", "audience", "season")


@dataclass(frozen=True)
class World:
    """Products, customers and the choice model; built from the settings alone.

    Attributes:
        config: the settings.
        products, users: the public tables.
        leaves: (I,) leaf of each product.
        leaf_category, leaf_department: (L,) parents of each leaf.
        item_vectors: (I, K) unit vectors; leaf_vectors: (L, K) the unit vector of the shelf.
        quality, bait: (I,) in [0, 1].
        base: (I,) popularity before anybody visits, mean about 0.
        price_gap: (I,) log price minus its leaf's mean.
        arrival: (I,) day of the log on which the product can be shown first.
        click_pull, buy_pull: (I,) what draws anybody to click, and to buy once clicked.
        start_vectors, drift_vectors: (U, K) taste at the first midnight, and its change.
        price_sensitivity: (U,) effect of one unit of log price; activity: (U,) visits a day.
        level: (U,) mean liking of the products on the shelves a customer asks for; liking is
            measured from there, so that a shop's rates do not hang on the geometry of its vectors.
        complements: (L, L) rows sum to 1: where to look after a purchase.
        siblings: (L, L) rows sum to 1: the other leaves of the category, or itself.
        season_phase: (L,) in radians.
    """

    config: SimConfig
    products: pd.DataFrame
    users: pd.DataFrame
    leaves: Ints
    leaf_category: Ints
    leaf_department: Ints
    item_vectors: Floats
    leaf_vectors: Floats
    quality: Floats
    bait: Floats
    base: Floats
    price_gap: Floats
    arrival: Ints
    click_pull: Floats
    buy_pull: Floats
    start_vectors: Floats
    drift_vectors: Floats
    price_sensitivity: Floats
    activity: Floats
    level: Floats
    complements: Floats
    siblings: Floats
    season_phase: Floats

    def vectors(self, users: Ints, day: float) -> Floats:
        """(B, K) unit taste vectors of ``users`` at the start of ``day``."""
        share = day / self.config.n_days
        return _unit(self.start_vectors[users] + share * self.drift_vectors[users])

    def taste(self, users: Ints, vectors: Floats, items: Ints | None = None) -> Floats:
        """(B, C) liking of ``items`` (B, C), or (B, I) of every product.

        taste * sqrt(K) * <user, item> + price sensitivity * (log price - mean of the leaf), less
        the customer's `level`. The one preference that moves clicks, purchases and ratings, in
        the log and in the truth.
        """
        if items is None:
            affinity = vectors @ self.item_vectors.T
            gap = self.price_gap[None, :]
        else:
            affinity = np.einsum("bk,bck->bc", vectors, self.item_vectors[items])
            gap = self.price_gap[items]
        liking = _scale(self.config.taste, self.config) * affinity
        return liking + self.price_sensitivity[users, None] * gap - self.level[users, None]

    def attraction(self, taste: Floats, items: Ints | slice, pull: Floats | float) -> Floats:
        """(B, C) probability of a click on an examined product; ``pull`` is the surface's."""
        return sigmoid(taste + self.click_pull[items] + pull)

    def conversion(self, taste: Floats, items: Ints | slice, buying: Floats | bool) -> Floats:
        """(B, C) probability that a click becomes a purchase; ``buying``: came to buy."""
        return sigmoid(BUY_PULL + 0.5 * taste + self.buy_pull[items] + BUY_INTENT_PULL * buying)

    def leaf_choice(self, vectors: Floats, day: float) -> Floats:
        """(B, L) probability of the leaf a customer looks for out of taste and season alone."""
        season = 0.5 * np.cos(2 * np.pi * day / 365 - self.season_phase)
        affinity = np.einsum("bk,lk->bl", vectors, self.leaf_vectors)
        return softmax(_scale(self.config.focus, self.config) * affinity + season)

    def after_purchase(self) -> Floats:
        """(L, L) where a session looks that is led by the last purchase, rows sum to less than 1.

        The rest of each row is taste (and gifts, which look anywhere).
        """
        led = self.config.complement * (1 - GIFT - REORDER)
        return led * self.complements + REORDER * np.eye(len(self.leaf_category))


def build_world(config: SimConfig) -> World:
    """The world of ``config``: two streams, ``catalogue`` and ``users``, and nothing else."""
    catalogue = _Catalogue(config)
    users = _customers(config, catalogue)
    return World(config=config, **catalogue.columns(), **users)


def _scale(strength: float, config: SimConfig) -> float:
    """Weight of a cosine whose random standard deviation is 1 / sqrt(K)."""
    return strength * config.n_factors**0.5


def sigmoid(logits: Floats) -> Floats:
    """1 / (1 + exp(-x)), without overflow."""
    return 0.5 * (1 + np.tanh(0.5 * logits))


def softmax(logits: Floats) -> Floats:
    """Softmax over the last axis."""
    weights = np.exp(logits - logits.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True)


def sample_rows(probs: Floats, generator: np.random.Generator) -> Ints:
    """(B,) one column of each row of ``probs`` (B, N), drawn with that probability."""
    edges = probs.cumsum(1)
    edges /= edges[:, -1:]
    return (edges < generator.random((len(probs), 1))).sum(1)


def _unit(vectors: Floats) -> Floats:
    return vectors / np.sqrt((vectors**2).sum(-1, keepdims=True))


def _directions(generator: np.random.Generator, n: int, n_factors: int) -> Floats:
    return _unit(generator.normal(size=(n, n_factors)))


class _Catalogue:
    """The products while they are made; attributes as of `World`."""

    def __init__(self, config: SimConfig) -> None:
        self.config = config
        self.random = config.stream("catalogue")
        self._shelves()
        self._attributes()
        self._vectors()
        self._appeal()

    def _shelves(self) -> None:
        config, random = self.config, self.random
        rows = [
            (department, category, leaf)
            for department, categories in words.TAXONOMIES["home"].items()
            for category, leaves in list(categories.items())[: config.n_categories]
            for leaf in leaves[: config.n_leaves]
        ]
        self.shelf = pd.DataFrame(rows, columns=["department", "category", "leaf"])
        self.departments = list(words.TAXONOMIES["home"])
        self.leaf_department = pd.factorize(self.shelf["department"])[0].astype(np.int64)
        self.leaf_category = pd.factorize(self.shelf["category"])[0].astype(np.int64)
        n_leaves = len(self.shelf)
        weights = (1.0 + random.permutation(n_leaves)) ** -0.7
        leaves = random.choice(n_leaves, config.n_items, p=weights / weights.sum())
        leaves[:n_leaves] = np.arange(n_leaves)  # no leaf is empty
        self.leaves = random.permutation(leaves).astype(np.int64)

        department = self.leaf_department
        likely = np.where(department[:, None] == department, 3.0, 1.0)
        likely[self.leaf_category[:, None] == self.leaf_category] = 0
        order = random.gumbel(size=likely.shape) + np.log(np.maximum(likely, 1e-300))
        n_complements = max(2, round(0.05 * n_leaves))
        chosen = np.argsort(-order, axis=1)[:, :n_complements]
        self.complements = np.zeros_like(likely)
        np.put_along_axis(self.complements, chosen, 1 / n_complements, axis=1)

        same = (self.leaf_category[:, None] == self.leaf_category).astype(float)
        others = same - np.eye(n_leaves)
        self.siblings = np.where(others.sum(1, keepdims=True) > 0, others, same)
        self.siblings /= self.siblings.sum(1, keepdims=True)
        self.season_phase = random.uniform(0, 2 * np.pi, n_leaves)

    def _attributes(self) -> None:
        config, random = self.config, self.random
        n_items, department = config.n_items, self.leaf_department[self.leaves]
        n_brands = round(2.2 * n_items**0.5)
        zipf = 1 / np.arange(1.0, n_brands + 1)
        covers = np.zeros((n_brands, len(self.departments)))  # 1 to 4 departments each
        order: Ints = np.argsort(np.argsort(random.random(covers.shape), axis=1), axis=1)
        covers[order < random.integers(1, 5, (n_brands, 1))] = 1
        covers[: len(self.departments)][np.eye(len(self.departments), dtype=bool)] = 1
        self.brand = sample_rows((zipf[:, None] * covers).T[department], random)
        self.brand_tier = random.choice(3, n_brands, p=(0.35, 0.45, 0.2))
        n_styles = len(words.STYLES)
        brand_style = np.full((n_brands, n_styles), 0.08)
        brand_style[np.arange(n_brands), random.integers(0, n_styles, n_brands)] = 0.6

        allowed = np.array(
            [
                [value in words.ALLOWED_MATERIALS[name] for value in words.MATERIALS]
                for name in self.departments
            ],
            dtype=float,
        )
        uneven = random.gamma(1.0, size=(len(self.shelf), len(words.MATERIALS)))
        material = allowed[self.leaf_department] * (uneven + 0.05)
        self.codes = {
            "colour": random.choice(len(words.COLORS), n_items, p=words.COLOR_SHARES),
            "material": sample_rows(material[self.leaves], random),
            "pattern": random.choice(len(words.PATTERNS), n_items, p=words.PATTERN_SHARES),
            "style": sample_rows(brand_style[self.brand], random),
            "audience": random.choice(len(words.AUDIENCES), n_items, p=words.AUDIENCE_SHARES),
            "season": random.integers(0, len(words.SEASONS), n_items),
        }

    def _vectors(self) -> None:
        config, random = self.config, self.random
        values = {
            "colour": words.COLORS,
            "material": words.MATERIALS,
            "pattern": words.PATTERNS,
            "style": words.STYLES,
            "audience": words.AUDIENCES,
            "season": words.SEASONS,
        }
        self.values = values
        n = config.n_factors
        department = PARTS["department"] * _directions(random, len(self.departments), n)
        leaf = PARTS["leaf"] * _directions(random, len(self.shelf), n)
        shelf = department[self.leaf_department] + leaf
        self.value_vectors = {
            name: _directions(random, len(values[name]), n) for name in _ATTRIBUTES
        }
        brand = _directions(random, len(self.brand_tier), n)
        vectors = shelf[self.leaves] + PARTS["brand"] * brand[self.brand]
        for name in _ATTRIBUTES:
            vectors = vectors + PARTS["attribute"] * self.value_vectors[name][self.codes[name]]
        noise = random.normal(size=vectors.shape) / n**0.5
        self.item_vectors = _unit(vectors + PARTS["noise"] * noise)
        self.leaf_vectors = _unit(shelf)

    def _appeal(self) -> None:
        config, random = self.config, self.random
        n_items = config.n_items
        normals = random.normal(size=(n_items, 2))
        normals[:, 1] = -0.3 * normals[:, 0] + (1 - 0.3**2) ** 0.5 * normals[:, 1]
        uniforms = np.clip(ndtr(normals), 1e-9, 1 - 1e-9)
        self.quality = betaincinv(5, 2, uniforms[:, 0])
        self.bait = betaincinv(2, 5, uniforms[:, 1])
        fame = random.normal(0, 0.25, len(self.brand_tier))
        centred = logit(self.quality) - logit(self.quality).mean()
        self.base = 0.5 * random.normal(size=n_items) + 0.3 * centred + fame[self.brand]

        leaf_level = random.normal(3.2, 1.0, len(self.shelf))
        shift = np.array([-0.35, 0.0, 0.45])[self.brand_tier[self.brand]]
        price = np.exp(leaf_level[self.leaves] + shift + random.normal(0, 0.45, n_items))
        ending = np.where(random.random(n_items) < 0.7, 0.99, 0.49)
        self.price = np.maximum(np.floor(price), 1) + ending
        in_leaf = np.bincount(self.leaves)
        mean = np.bincount(self.leaves, np.log(self.price)) / in_leaf
        self.price_gap = np.log(self.price) - mean[self.leaves]

        cold = random.permutation(n_items) < round(config.cold_share * n_items)
        later = random.integers(config.n_days // 2, config.n_days, n_items)
        self.arrival = np.where(cold, later, 0).astype(np.int64)
        hidden = random.normal(0, 0.2, n_items)
        self.click_pull = 0.5 * self.base + 0.8 * (self.bait - 0.3) + hidden
        self.buy_pull = 1.5 * (self.quality - 0.7) - (self.bait - 0.3)

    def products(self) -> pd.DataFrame:
        names = np.array(words.brand_names(len(self.brand_tier)))[self.brand]
        shelf = self.shelf.iloc[self.leaves].reset_index(drop=True)
        columns: dict[str, Any] = {
            "item": np.arange(self.config.n_items),
            "title": "",
            "department": shelf["department"],
            "category": shelf["category"],
            "leaf": shelf["leaf"],
            "brand": names,
        }
        for name in _ATTRIBUTES:
            columns[name] = np.array(self.values[name])[self.codes[name]]
        columns["tier"] = np.array(words.TIERS)[self.brand_tier[self.brand]]
        columns["price"] = self.price
        columns["arrival_day"] = self.arrival
        table = pd.DataFrame(columns)
        pattern = (" " + table["pattern"]).where(table["pattern"] != "plain", "")
        table["title"] = (
            table["brand"] + " " + table["style"] + " " + table["colour"] + " "
            + table["material"] + pattern + " " + table["leaf"].str.lower()
        )  # fmt: skip
        return table

    def columns(self) -> dict[str, Any]:
        names = (
            "leaves", "leaf_category", "leaf_department", "item_vectors", "leaf_vectors",
            "quality", "bait", "base", "price_gap", "arrival", "click_pull", "buy_pull",
            "complements", "siblings", "season_phase",
        )  # fmt: skip
        return {"products": self.products(), **{name: getattr(self, name) for name in names}}


def _customers(config: SimConfig, catalogue: _Catalogue) -> dict[str, Any]:
    """The customers: public profile, and the taste behind it."""
    random, n_users, n = config.stream("users"), config.n_users, config.n_factors
    favourites = random.random((_SEGMENTS, len(catalogue.shelf))).argsort(1)[:, :3]
    segment = catalogue.leaf_vectors[favourites].sum(1)
    segment = _unit(segment + 0.5 * _directions(random, _SEGMENTS, n))
    shares = random.dirichlet(np.full(_SEGMENTS, 0.7), n_users)
    main = shares.argmax(1)

    ages = random.dirichlet(np.full(len(words.AGE_BANDS), 1.5), _SEGMENTS)
    age = sample_rows(ages[main], random)
    gender = random.choice(3, n_users, p=(0.49, 0.48, 0.03))
    audience = catalogue.value_vectors["audience"][np.array([1, 0, 2])[gender]]
    style = catalogue.value_vectors["style"][age % len(words.STYLES)]
    own = random.normal(size=(n_users, n)) / n**0.5
    vectors = 0.7 * _unit(np.einsum("us,sk->uk", shares, segment)) + 0.2 * (audience + style)
    vectors = _unit(vectors + 0.7 * own)
    middle = np.zeros_like(catalogue.leaf_vectors)
    np.add.at(middle, catalogue.leaves, catalogue.item_vectors)
    middle /= np.bincount(catalogue.leaves)[:, None]  # mean product of each leaf
    affinity = np.einsum("uk,lk->ul", vectors, catalogue.leaf_vectors)
    liking = np.einsum("uk,lk->ul", vectors, middle)
    level = (softmax(_scale(config.focus, config) * affinity) * liking).sum(1)
    income = random.normal(size=n_users)  # in standard deviations
    missing = random.random(n_users)
    hidden = (missing < 0.2) | ((missing < 0.45) & (income > 0.84))  # 5 % are rich and silent
    visits = random.normal(-0.5 * 0.8**2, 0.8, n_users)
    table = pd.DataFrame(
        {
            "user": np.arange(n_users),
            "age_band": np.array(words.AGE_BANDS)[age],
            "gender": np.array(words.GENDERS)[gender],
            "region": np.array(words.REGIONS)[random.integers(0, 8, n_users)],
            "device": np.array(words.DEVICES)[random.choice(3, n_users, p=(0.6, 0.32, 0.08))],
            "household": np.array(words.HOUSEHOLDS)[random.integers(0, 4, n_users)],
            "income": np.where(hidden, np.nan, np.round(np.exp(10.3 + 0.45 * income), -2)),
        }
    )
    return {
        "users": table,
        "start_vectors": vectors,
        "level": _scale(config.taste, config) * level,
        "drift_vectors": config.drift * _directions(random, n_users, n),
        "price_sensitivity": np.minimum(-0.6 + 0.5 * income, 0.0),
        "activity": config.visit_rate * np.exp(visits),
    }
