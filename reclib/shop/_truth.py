"""The truth behind a simulated shop: who likes what, and what the best ranking would be."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from reclib.shop import _words as words
from reclib.shop._config import DAY, START, SimConfig
from reclib.shop._visits import UNIFORM_SHARE, log_weights, shelf_tiers
from reclib.shop._world import (
    GIFT,
    PARTS,
    REORDER,
    SURFACE_PULL,
    SURFACE_SHARES,
    Floats,
    Ints,
    build_world,
)

_GRID = np.geomspace(1e-4, 1e4, 400)


class Truth:
    """What no shop knows, for charts and tests; models never see it.

    Attributes:
        eta: position bias.
        item_vectors: (I, K) unit vectors of the products.
        user_vectors: (U, K) unit taste vectors at the end of the log.
        quality, bait: (I,) in [0, 1].
        activity: (U,) mean visits a day; price_sensitivity: (U,) <= 0.
        cold_items: ids of the products that arrived in the second half of the log.
        variance_share: share of a product vector's variance by part.
    """

    def __init__(self, config: SimConfig, clicks: pd.DataFrame, purchases: pd.DataFrame) -> None:
        self._world = world = build_world(config)
        self._clicks = clicks[["item", "timestamp"]]
        self._purchases = purchases[["user", "session"]]
        self._day = config.n_days
        self.eta = config.eta
        self.item_vectors = world.item_vectors
        self.quality, self.bait = world.quality, world.bait
        self.activity, self.price_sensitivity = world.activity, world.price_sensitivity
        self.cold_items = np.flatnonzero(world.arrival > 0)
        attributes = 6 * PARTS["attribute"] ** 2
        variance = {**{name: weight**2 for name, weight in PARTS.items()}, "attribute": attributes}
        self.variance_share = {k: v / sum(variance.values()) for k, v in variance.items()}

    @cached_property
    def user_vectors(self) -> Floats:
        """(U, K) unit taste vectors at the end of the log."""
        return self._world.vectors(np.arange(self._world.config.n_users), self._day)

    def examination(self, position: ArrayLike) -> Floats:
        """Probability that a position, 1 the first, is looked at: position ** -eta."""
        position = np.asarray(position)
        if (position < 1).any():
            raise ValueError(f"position must be at least 1, got {position.min()}")
        return position.astype(np.float64) ** -self.eta

    def attraction(
        self, users: ArrayLike, items: ArrayLike | None = None, *, surface: str = "search"
    ) -> Floats:
        """Probability of a click on an examined product at the end of the log.

        Args:
            users: (B,) ids.
            items: (B, C) ids; None: every product.
            surface: ``search``, ``recommendations`` or ``related``.

        Returns:
            (B, C), or (B, I).
        """
        if surface not in SURFACE_PULL:
            raise ValueError(f"surface must be one of {tuple(SURFACE_PULL)}, got {surface!r}")
        users = self._ids("users", users, self._world.config.n_users, 1)
        chosen = None
        if items is not None:
            chosen = self._ids("items", items, self._world.config.n_items, 2)
            if len(chosen) != len(users):
                raise ValueError(f"items must have {len(users)} rows, got {len(chosen)}")
        taste = self._world.taste(users, self.user_vectors[users], chosen)
        return self._world.attraction(
            taste, slice(None) if chosen is None else chosen, SURFACE_PULL[surface]
        )

    def ctr(self, users: ArrayLike, slates: ArrayLike, *, surface: str = "search") -> Floats:
        """(B, K) click probability of each slot of ``slates`` (B, K), first position first."""
        attraction = self.attraction(users, slates, surface=surface)
        return self.examination(np.arange(1, attraction.shape[1] + 1)) * attraction

    def relevance(
        self, users: ArrayLike, last_items: ArrayLike | None = None
    ) -> NDArray[np.float32]:
        """Expected purchases of each product in a request of each user at the end of the log.

        sum over surfaces and shelves of P(shelf | user) E[examination | shelf] P(click) P(buy).
        Without ``last_items`` shelves are those of a session at any time (the stationary
        distribution of the walk from purchase to complement); with it, those that follow a
        purchase of that product, in the same session or the next: what a perfect sequence model
        would know. Expected examination is a mean-field value (see `shelf_examination`);
        second looks at a product are not counted.

        Args:
            users: (B,) ids.
            last_items: (B,) product bought last, -1 for none; None: not known.

        Returns:
            (B, I) float32.
        """
        world = self._world
        users = self._ids("users", users, world.config.n_users, 1)
        vectors = self.user_vectors[users]
        taste_leaf = world.leaf_choice(vectors, self._day)
        leaf = self._leaf(taste_leaf, last_items)
        shelves = {
            "search": leaf,
            "related": leaf @ world.siblings,
            "recommendations": taste_leaf,
        }
        taste = world.taste(users, vectors)
        buy_share = words.INTENT_SHARES[0]
        everything = slice(None)
        conversion = buy_share * world.conversion(taste, everything, True)
        conversion += (1 - buy_share) * world.conversion(taste, everything, False)
        clicks = np.zeros_like(taste)
        for surface, shelf in shelves.items():
            examined = shelf @ self.shelf_examination
            clicks += (
                SURFACE_SHARES[surface]
                * examined
                * world.attraction(taste, everything, SURFACE_PULL[surface])
            )
        return (clicks * conversion).astype(np.float32)

    def oracle(self) -> Oracle:
        """The recommender that scores by `relevance`: as good as static scores can be."""
        return Oracle(self)

    @cached_property
    def shelf_examination(self) -> Floats:
        """(L, I) expected sum of examination of each product in a slate of each leaf's shelf.

        A Plackett-Luce draw is a race of exponential clocks. With t_k the time at which k of the
        candidates are expected to have rung, P(i among the first k) is about
        c_i (1 - exp(-w_i t_k)), c_i the probability of being a candidate; the error is of order
        1 / n_candidates.
        """
        world, config = self._world, self._world.config
        recent = self._clicks["timestamp"].to_numpy() >= START + (self._day - 7) * DAY
        clicked = self._clicks["item"].to_numpy()[recent]
        clicks = np.bincount(clicked, minlength=config.n_items).astype(float)
        tiers = shelf_tiers(world)
        logits = log_weights(world, clicks, tiers)
        slots = np.arange(1, config.n_slots + 1)
        gain = self.examination(slots)
        examined = np.zeros_like(logits)
        for leaf, (row, tier) in enumerate(zip(logits, tiers, strict=True)):
            sizes = np.bincount(tier, minlength=4)
            before = np.cumsum(sizes) - sizes
            share = np.clip((config.n_candidates - before) / np.maximum(sizes, 1), 0, 1)[tier]
            inside = np.flatnonzero(share)
            weight, share = np.exp(row[inside] - row[inside].max()), share[inside]
            rung = (share * -np.expm1(-_GRID[:, None] * weight)).sum(1)
            times = np.exp(np.interp(slots, rung, np.log(_GRID)))
            first = share * -np.expm1(-times[:, None] * weight)  # (K, n) among the first k
            at = np.diff(first, axis=0, prepend=0.0)
            uniform = share * gain.sum() / config.n_candidates
            examined[leaf, inside] = (1 - UNIFORM_SHARE) * (gain @ at) + UNIFORM_SHARE * uniform
        return examined

    @cached_property
    def stay(self) -> float:
        """Share of purchases that come in the same session as the purchase before them."""
        table = self._purchases.sort_values(["user", "session"], kind="stable")
        users, sessions = table["user"].to_numpy(), table["session"].to_numpy()
        follows = users[1:] == users[:-1]
        return float((sessions[1:] == sessions[:-1])[follows].mean()) if follows.any() else 0.0

    def _leaf(self, taste_leaf: Floats, last_items: ArrayLike | None) -> Floats:
        """(B, L) probability of the leaf that a session, or the next purchase, looks for."""
        world = self._world
        led = world.after_purchase()
        n_leaves = len(led)
        by_taste = (1 - GIFT - REORDER) * (1 - world.config.complement)
        free = GIFT / n_leaves + by_taste * taste_leaf
        if last_items is None:
            return free @ np.linalg.inv(np.eye(n_leaves) - led)
        last = self._ids("last_items", last_items, world.config.n_items, 1, low=-1)
        if len(last) != len(taste_leaf):
            raise ValueError(f"last_items must have length {len(taste_leaf)}, got {len(last)}")
        leaf = world.leaves[last]
        after = free + led[leaf]
        after = (1 - self.stay) * after + self.stay * np.eye(n_leaves)[leaf]
        first = GIFT / n_leaves + (1 - GIFT) * taste_leaf
        return np.where(last[:, None] >= 0, after, first)

    @staticmethod
    def _ids(name: str, values: ArrayLike, size: int, n_dims: int, *, low: int = 0) -> Ints:
        ids = np.asarray(values)
        if ids.ndim != n_dims or (ids.size and ids.dtype.kind not in "iu"):
            raise ValueError(
                f"{name} must be integers with {n_dims} dimension(s), "
                f"got {ids.dtype} of shape {ids.shape}"
            )
        if ids.size and not (low <= ids.min() and ids.max() < size):
            worst = ids.min() if ids.min() < low else ids.max()
            raise ValueError(f"{name} must be between {low} and {size - 1}, got {worst}")
        return ids.astype(np.int64)


class Oracle:
    """The recommender that knows the customers: scores are `Truth.relevance`."""

    def __init__(self, truth: Truth) -> None:
        self.truth = truth

    def score(self, users: ArrayLike, items: ArrayLike | None = None) -> NDArray[np.float32]:
        """(B, I) expected purchases, or (B, C) of the candidates ``items`` (B, C)."""
        scores = self.truth.relevance(users)
        if items is None:
            return scores
        return np.take_along_axis(scores, np.asarray(items), axis=1)
