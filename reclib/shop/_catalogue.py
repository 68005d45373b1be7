"""The products: shelves, attributes, latent vectors, quality and bait, prices."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import betaincinv, logit, ndtr

from reclib.shop import _words as words
from reclib.shop._config import SimConfig
from reclib.shop._occasions import occasions

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

# Shares of variance of a product's vector, as squared weights of its unit parts.
PARTS = {"department": 0.6, "leaf": 0.5, "attribute": 0.25, "brand": 0.3, "noise": 0.3}
TASTED: dict[str, tuple[str, ...]] = {
    "colour": words.COLORS,
    "material": words.MATERIALS,
    "pattern": words.PATTERNS,
    "style": words.STYLES,
    "audience": words.AUDIENCES,
    "season": words.SEASONS,
}  # the attributes that carry taste
WANTED = tuple((name, value) for name, values in TASTED.items() for value in values)
_FIRST = np.cumsum([0, *(len(values) for values in TASTED.values())])[:-1]
_STREAMS = ("catalogue", "appeal", "extras")


@dataclass(frozen=True)
class Geometry:
    """Directions of taste that do not depend on the products.

    Attributes:
        shelf: (L) DataFrame department, category, leaf.
        category, department: (L,) codes.
        vectors: (L, K) department plus leaf; unit_vectors: the same of length 1.
        values: per attribute (n, K) unit vectors, the same in both domains.
        wanted: (V, K) those of `WANTED`.
    """

    shelf: pd.DataFrame
    category: Ints
    department: Ints
    vectors: Floats
    unit_vectors: Floats
    values: dict[str, Floats]
    wanted: Floats


def unit(vectors: Floats) -> Floats:
    """Vectors of length 1 along the last axis."""
    return vectors / np.sqrt((vectors**2).sum(-1, keepdims=True))


def directions(generator: np.random.Generator, n: int, n_factors: int) -> Floats:
    """(n, K) random unit vectors."""
    return unit(generator.normal(size=(n, n_factors)))


def sample_rows(probs: Floats, generator: np.random.Generator) -> Ints:
    """(B,) one column of each row of ``probs`` (B, N), drawn with that probability."""
    return sample_edges(edges_of(probs), generator)


def edges_of(probs: Floats) -> Floats:
    """(B, N) cumulative probabilities for `sample_edges`; rows need not sum to 1."""
    edges = probs.cumsum(1)
    edges /= edges[:, -1:]
    return edges


def sample_edges(edges: Floats, generator: np.random.Generator) -> Ints:
    """(B,) one column of each row, drawn with its probability."""
    return (edges < generator.random((len(edges), 1))).sum(1)


def geometry_of(config: SimConfig) -> Geometry:
    """The shelves of the configuration's domain and the directions of their parts."""
    rows = [
        (department, category, leaf)
        for department, categories in words.TAXONOMIES[config.domain].items()
        for category, leaves in list(categories.items())[: config.n_categories]
        for leaf in leaves[: config.n_leaves]
    ]
    shelf = pd.DataFrame(rows, columns=["department", "category", "leaf"])
    random, n = config.own_stream("directions"), config.n_factors
    category = pd.factorize(shelf["category"])[0].astype(np.int64)
    department = pd.factorize(shelf["department"])[0].astype(np.int64)
    vectors = PARTS["department"] * directions(random, department.max() + 1, n)[department]
    vectors = vectors + PARTS["leaf"] * directions(random, len(shelf), n)
    random = config.stream("values")
    values = {name: directions(random, len(each), n) for name, each in TASTED.items()}
    wanted = np.concatenate(list(values.values()))
    return Geometry(shelf, category, department, vectors, unit(vectors), values, wanted)


class Catalogue:
    """The products while they are made; attributes as of `World`."""

    def __init__(self, config: SimConfig, geometry: Geometry) -> None:
        self.config, self.geometry = config, geometry
        self.random, self.appeal, self.extras = (config.own_stream(name) for name in _STREAMS)
        self._shelves()
        self._brands()
        self._attributes()
        self._vectors()
        self._appeal()
        self._price()

    def _shelves(self) -> None:
        config, random, shelf = self.config, self.random, self.geometry
        n_leaves = len(shelf.shelf)
        weights = (1.0 + random.permutation(n_leaves)) ** -0.7
        leaves = random.choice(n_leaves, config.n_items, p=weights / weights.sum())
        leaves[:n_leaves] = np.arange(n_leaves)  # no leaf is empty
        self.leaves = random.permutation(leaves).astype(np.int64)

        same = shelf.category[:, None] == shelf.category
        likely = np.where(shelf.department[:, None] == shelf.department, 3.0, 1.0)
        order = np.where(same, -np.inf, random.gumbel(size=likely.shape) + np.log(likely))
        n_complements = max(2, round(0.05 * n_leaves))
        chosen = np.argsort(-order, axis=1)[:, :n_complements]
        self.complements = np.zeros_like(likely)
        np.put_along_axis(self.complements, chosen, 1 / n_complements, axis=1)

        others = same.astype(float) - np.eye(n_leaves)
        self.siblings = np.where(others.sum(1, keepdims=True) > 0, others, same)
        self.siblings /= self.siblings.sum(1, keepdims=True)
        self.season_phase = random.uniform(0, 2 * np.pi, n_leaves)

    def _brands(self) -> None:
        config, random = self.config, self.random
        n_departments = int(self.geometry.department.max()) + 1
        n_brands = max(round(2.2 * config.n_items**0.5), n_departments)
        zipf = 1 / np.arange(1.0, n_brands + 1)
        covers = np.zeros((n_brands, n_departments))  # 1 to 4 departments each
        order: Ints = np.argsort(np.argsort(random.random(covers.shape), axis=1), axis=1)
        covers[order < random.integers(1, 5, (n_brands, 1))] = 1
        covers[:n_departments][np.eye(n_departments, dtype=bool)] = 1
        department = self.geometry.department[self.leaves]
        self.brand = sample_rows((zipf[:, None] * covers).T[department], random)
        self.brand_tier = random.choice(3, n_brands, p=(0.35, 0.45, 0.2))
        n_styles = len(words.STYLES)
        self.brand_style = np.full((n_brands, n_styles), 0.08)
        self.brand_style[np.arange(n_brands), random.integers(0, n_styles, n_brands)] = 0.6
        first = 0 if config.domain == "home" else 600  # no brand sells in both domains
        self.brand_names = words.brand_names(first + n_brands)[first:]
        n_owners = max(2, n_brands // 4)
        self.brand_owner = self.extras.integers(0, n_owners, n_brands)
        self.owner_names = tuple(f"{name} Group" for name in self.brand_names[-n_owners:])

    def _attributes(self) -> None:
        config, random, extras = self.config, self.random, self.extras
        shelf, n_items = self.geometry, config.n_items
        allowed = np.array(
            [
                [value in words.ALLOWED_MATERIALS[name] for value in words.MATERIALS]
                for name in shelf.shelf["department"]
            ],
            dtype=float,
        )
        material = allowed * (random.gamma(1.0, size=allowed.shape) + 0.05)
        features = [words.FEATURES[name] for name in shelf.shelf["department"]]
        self.feature_names = tuple(dict.fromkeys(name for each in features for name in each))
        own = np.array([[name in each for name in self.feature_names] for each in features])
        order = np.where(own, extras.random(own.shape), np.inf).argsort(1)
        three = np.take_along_axis(order, extras.integers(0, 3, (len(own), n_items)), axis=1)
        shapes = [words.SHAPES.index(words.SHAPE_OF[leaf]) for leaf in shelf.shelf["leaf"]]
        self.codes = {
            "colour": random.choice(len(words.COLORS), n_items, p=words.COLOR_SHARES),
            "material": sample_rows(material[self.leaves], random),
            "pattern": random.choice(len(words.PATTERNS), n_items, p=words.PATTERN_SHARES),
            "style": sample_rows(self.brand_style[self.brand], random),
            "audience": random.choice(len(words.AUDIENCES), n_items, p=words.AUDIENCE_SHARES),
            "season": random.integers(0, len(words.SEASONS), n_items),
            "size": extras.choice(len(words.SIZES), n_items, p=words.SIZE_SHARES),
            "shape": np.array(shapes)[self.leaves],
            "feature": three[self.leaves, np.arange(n_items)],
            "origin": extras.integers(0, len(words.ORIGINS), n_items),
            "tier": self.brand_tier[self.brand],
        }
        self.values = TASTED | {
            "size": words.SIZES,
            "shape": words.SHAPES,
            "feature": self.feature_names,
            "origin": words.ORIGINS,
            "tier": words.TIERS,
        }
        # (I, 6) flat codes of the attributes that carry taste, into `WANTED`.
        self.value_codes = _FIRST + np.stack([self.codes[name] for name in TASTED], axis=1)

    def _vectors(self) -> None:
        random, n = self.random, self.config.n_factors
        vectors = self.geometry.vectors[self.leaves]
        brand = directions(random, len(self.brand_tier), n)
        vectors = vectors + PARTS["brand"] * brand[self.brand]
        for name, of in self.geometry.values.items():
            vectors = vectors + PARTS["attribute"] * of[self.codes[name]]
        noise = random.normal(size=vectors.shape) / n**0.5
        self.item_vectors = unit(vectors + PARTS["noise"] * noise)
        middle = np.zeros_like(self.geometry.vectors)
        np.add.at(middle, self.leaves, self.item_vectors)
        self.leaf_means = middle / np.bincount(self.leaves)[:, None]

    def _appeal(self) -> None:
        config, random = self.config, self.appeal
        n_items = config.n_items
        normals = random.normal(size=(n_items, 2))
        normals[:, 1] = -0.3 * normals[:, 0] + (1 - 0.3**2) ** 0.5 * normals[:, 1]
        uniforms = np.clip(ndtr(normals), 1e-9, 1 - 1e-9)
        self.quality = betaincinv(5, 2, uniforms[:, 0])
        self.bait = betaincinv(2, 5, uniforms[:, 1])
        fame = random.normal(0, 0.25, len(self.brand_tier))
        centred = logit(self.quality) - logit(self.quality).mean()
        self.base = 0.5 * random.normal(size=n_items) + 0.3 * centred + fame[self.brand]
        self.hidden = random.normal(0, 0.2, n_items)
        cold = random.permutation(n_items) < round(config.cold_share * n_items)
        later = random.integers(config.n_days // 2, config.n_days, n_items)
        self.arrival = np.where(cold, later, 0).astype(np.int64)

    def _price(self) -> None:
        random, n_items = self.appeal, self.config.n_items
        level = random.normal(3.2, 1.0, len(self.geometry.shelf))
        shift = np.array([-0.35, 0.0, 0.45])[self.codes["tier"]]
        price = np.exp(level[self.leaves] + shift + random.normal(0, 0.45, n_items))
        ending = np.where(random.random(n_items) < 0.7, 0.99, 0.49)
        self.price = np.maximum(np.floor(price), 1) + ending
        mean = np.bincount(self.leaves, np.log(self.price)) / np.bincount(self.leaves)
        self.price_gap = np.log(self.price) - mean[self.leaves]

    def named(self, name: str) -> NDArray[np.str_]:
        """(I,) names of the values of attribute ``name``."""
        return np.array(self.values[name])[self.codes[name]]

    def products(self) -> pd.DataFrame:
        """The public table, without titles."""
        shelf = self.geometry.shelf.iloc[self.leaves].reset_index(drop=True)
        columns: dict[str, Any] = {
            "item": np.arange(self.config.n_items),
            "department": shelf["department"],
            "category": shelf["category"],
            "leaf": shelf["leaf"],
            "brand": np.array(self.brand_names)[self.brand],
        }
        for name in self.values:
            if name != "shape":  # only the picture shows it
                columns[name] = self.named(name)
        columns["price"] = self.price
        columns["arrival_day"] = self.arrival
        return pd.DataFrame(columns)

    def columns(self) -> dict[str, Any]:
        """What becomes a `World`."""
        shelf, products = self.geometry, self.products()
        names = (
            "leaves", "complements", "siblings", "season_phase", "brand", "brand_tier",
            "brand_names", "brand_owner", "owner_names", "codes", "values", "value_codes",
            "item_vectors", "leaf_means", "quality", "bait", "base", "hidden", "arrival",
            "price", "price_gap",
        )  # fmt: skip
        return {
            "geometry": shelf,
            "products": products,
            "occasions": occasions(
                products["leaf"].to_numpy(), {name: self.named(name) for name in self.values}
            ),
            **{name: getattr(self, name) for name in names},
        }
