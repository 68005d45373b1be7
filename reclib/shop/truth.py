"""The truth behind a simulated shop: who likes what, and what the best ranking would be.

relevance(u, i) = sum over surfaces s and shelves l of P(s, l | u) E[looks at i | s, l]
P(click | u, i, s) P(buy | u, i): the purchases that a request of the customer can be expected to
bring, at the end of the log.

Source: the model is the shop's own, `reclib.shop.choice`.

Differences from the specification:

1. ``truth.ctr(user, slate, ctx)`` is `Truth.click_probability` of logged requests, whose context
   is known, and `Truth.attraction` of customers at the end of the log, without one.
2. ``truth.dirty_log`` and ``truth.duplicates`` come with the dirty tables
   (`reclib.shop.data_quality`), ``truth.uplift`` with the advertisers
   (`reclib.shop.advertising`).

Chapter: shop/simulation.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from reclib.foundations.interactions import Interactions
from reclib.shop import _words as words
from reclib.shop._catalogue import PARTS, WANTED, Floats, Ints
from reclib.shop._config import DAY, START
from reclib.shop._extras import Graphs, graphs_of, reviews_of
from reclib.shop._shelves import Day, Policy, day_of, popularity_logits, segment_logits, shop_policy
from reclib.shop._visits import goals
from reclib.shop._world import World
from reclib.shop.choice import (
    SURFACE_PULL,
    Choice,
    Situation,
    cart_intent,
    cart_logits,
    checkout,
    sigmoid,
)
from reclib.shop.relevance import grades
from reclib.shop.reviews import Reviews

__all__ = ["Oracle", "PolicyValue", "Truth"]

_GRID = np.geomspace(1e-4, 1e4, 400)
_RECENT = [f"recent{k}" for k in range(5)]
_WANTED = [f"wanted{k}" for k in range(3)]


class PolicyValue(NamedTuple):
    """Expected clicks a slate under a policy, its standard error, and the requests it rests on."""

    value: float
    standard_error: float
    per_request: Floats


class Truth:
    """What no shop knows, for charts and tests; models never see it.

    Attributes:
        eta: position bias on mobiles and tablets; eta_desktop: on desktops.
        item_vectors: (I, K) unit vectors of the products.
        quality, bait: (I,) in [0, 1].
        occasions: (I, n) bool.
        activity: (U,) mean visits a day; price_sensitivity: (U,) <= 0.
        cold_items: ids of the products that arrived in the second half of the log.
        variance_share: share of a product vector's variance by part.
    """

    def __init__(self, world: World, tables: Mapping[str, pd.DataFrame]) -> None:
        self._world, self._config, self._tables = world, world.config, tables
        config = world.config
        self.eta, self.eta_desktop = config.eta, config.eta_desktop
        attributes = 6 * PARTS["attribute"] ** 2
        variance = {**{name: weight**2 for name, weight in PARTS.items()}, "attribute": attributes}
        self.variance_share = {k: v / sum(variance.values()) for k, v in variance.items()}

    @property
    def item_vectors(self) -> Floats:  # noqa: D102
        return self._world.item_vectors

    @property
    def quality(self) -> Floats:  # noqa: D102
        return self._world.quality

    @property
    def bait(self) -> Floats:  # noqa: D102
        return self._world.bait

    @property
    def occasions(self) -> NDArray[np.bool_]:  # noqa: D102
        return self._world.occasions

    @property
    def activity(self) -> Floats:  # noqa: D102
        return self._world.activity

    @property
    def price_sensitivity(self) -> Floats:  # noqa: D102
        return self._world.price_sensitivity

    @property
    def cold_items(self) -> Ints:  # noqa: D102
        return np.flatnonzero(self._world.arrival > 0)

    @cached_property
    def user_vectors(self) -> Floats:
        """(U, K) unit taste vectors at the end of the log."""
        return self._world.vectors(np.arange(self._config.n_users), self._config.n_days)

    @property
    def sessions(self) -> pd.DataFrame:
        """session, intent, leaf, wanted0..2 (codes, -1 none), price_cap, last_brand."""
        return self._tables["truth_sessions"]

    @property
    def leaf_names(self) -> tuple[str, ...]:
        """(L,) names of the codes in ``sessions.leaf`` and ``requests.leaf``."""
        return self._world.leaf_names

    @property
    def wanted_names(self) -> tuple[tuple[str, str], ...]:
        """(attribute, value) of each code in ``sessions.wanted0`` to ``wanted2``."""
        return WANTED

    @property
    def requests(self) -> pd.DataFrame:
        """request, session, leaf (of the shelf), surface, satisfaction, recent0..4."""
        return self._tables["truth_requests"]

    @property
    def queries(self) -> pd.DataFrame:
        """request, language (``en`` or ``mixed``) of each row of ``shop.queries``."""
        return self._tables["truth_queries"]

    @property
    def late_purchases(self) -> pd.DataFrame:
        """Purchases of the log's sessions that were ordered after its end."""
        return self._tables["truth_late"]

    @property
    def mentions(self) -> pd.DataFrame:
        """Every place of a text where a fact is said; see `reclib.shop.text.Texts`."""
        return self._tables["truth_mentions"]

    @cached_property
    def reviews(self) -> Reviews:
        """What the customers meant, who was sarcastic, and who was paid."""
        return reviews_of(self._world, self._tables)

    @cached_property
    def graphs(self) -> Graphs:
        """The public knowledge graph, the true one, and the log of what is missing and false."""
        return graphs_of(self._world, self._tables)

    def grades(self, requests: ArrayLike, items: ArrayLike) -> Ints:
        """(B, C) relevance 0 to 3 of products to what the sessions of logged requests look for."""
        items = self._ids("items", items, self._config.n_items, 2)
        requests = self._ids("requests", requests, len(self.requests), 1)
        world, session = self._world, self.requests["session"].to_numpy()[requests]
        hidden = self.sessions.iloc[session]
        return grades(
            hidden["leaf"].to_numpy().astype(np.int64),
            hidden[_WANTED].to_numpy().astype(np.int64),
            hidden["price_cap"].to_numpy(),
            items,
            item_leaves=world.leaves,
            item_values=world.value_codes,
            item_prices=world.price_gap,
            leaf_categories=world.leaf_category,
            complements=world.complements > 0,
        )

    @property
    def satisfaction(self) -> Floats:
        """(U,) at the end of the log."""
        return self._tables["truth_users"]["satisfaction"].to_numpy()

    @property
    def probability(self) -> NDArray[np.float32]:
        """(N,) true probability of a click on each row of ``shop.impressions``."""
        return self._tables["truth_impressions"]["probability"].to_numpy()

    def examination(self, position: ArrayLike, *, device: str = "mobile") -> Floats:
        """Probability that a position, 1 the first, is looked at: position ** -eta."""
        position = np.asarray(position)
        if (position < 1).any():
            raise ValueError(f"position must be at least 1, got {position.min()}")
        if device not in words.DEVICES:
            raise ValueError(f"device must be one of {words.DEVICES}, got {device!r}")
        eta = self.eta_desktop if device == "desktop" else self.eta
        return position.astype(np.float64) ** -eta

    def attraction(
        self, users: ArrayLike, items: ArrayLike | None = None, *, surface: str = "search"
    ) -> Floats:
        """Probability of a click on an examined product at the end of the log.

        Of a session that looks for the product's leaf and nothing else, content and with nothing
        clicked yet.

        Args:
            users: (B,) ids.
            items: (B, C) ids; None: every product.
            surface: ``search``, ``recommendations`` or ``related``.

        Returns:
            (B, C), or (B, I).
        """
        if surface not in SURFACE_PULL:
            raise ValueError(f"surface must be one of {sorted(SURFACE_PULL)}, got {surface!r}")
        users = self._ids("users", users, self._config.n_users, 1)
        probs = sigmoid(self._click_logits(users) + SURFACE_PULL[surface])
        if items is None:
            return probs
        return np.take_along_axis(probs, self._rows("items", items, users), axis=1)

    def ctr(self, users: ArrayLike, slates: ArrayLike, *, surface: str = "search") -> Floats:
        """(B, K) `attraction` times `examination` of each slot of ``slates`` (B, K), top first."""
        attraction = self.attraction(users, slates, surface=surface)
        users = np.asarray(users)
        looked = Choice(self._world, self._config.n_days).examination(users, attraction.shape[1])
        return looked * attraction

    def click_probability(self, requests: ArrayLike, slates: ArrayLike) -> Floats:
        """(B, K) probability of a click on each slot, had the logged requests shown ``slates``.

        Args:
            requests: (B,) numbers of logged requests.
            slates: (B, K) products, top first.
        """
        slates = self._rows("slates", slates, requests)
        probs = np.empty(slates.shape)
        for day, rows, situation in self._by_day(requests):
            choice = Choice(self._world, day.number)
            probs[rows] = choice.click_probabilities(situation, slates[rows])
        return probs

    def request_attraction(self, requests: ArrayLike, items: ArrayLike) -> Floats:
        """(B, C) probability of a click on each of ``items`` (B, C), each seen alone and first."""
        items = self._rows("items", items, requests)
        probs = np.empty(items.shape)
        for day, rows, situation in self._by_day(requests):
            probs[rows] = Choice(self._world, day.number).attraction(situation, items[rows])
        return probs

    def candidates(self, requests: ArrayLike) -> Ints:
        """(B, C) products from which the slates of logged requests were drawn."""
        requests = self._ids("requests", requests, len(self.requests), 1)
        items = np.empty((len(requests), self._config.n_candidates), dtype=np.int64)
        for day, rows, situation in self._by_day(requests):
            items[rows] = day.items[situation.shelf]
        return items

    def policy_value(
        self, policy: Policy | None = None, n: int = 10_000, seed: int = 0
    ) -> PolicyValue:
        """Expected clicks a slate of a policy on logged requests.

        The requests and the stream of the slates depend on the seed only: two policies are
        compared on common random numbers, so subtract their ``per_request``.

        Args:
            policy: (day, situation, generator) -> slates; None: the shop's own.
            n: requests, drawn without replacement; at most all.
            seed: integer >= 0.
        """
        if n < 2:
            raise ValueError(f"n must be at least 2, got {n}")
        random = np.random.default_rng((self._config.seed, seed))
        n = min(n, len(self.requests))
        requests = np.sort(random.choice(len(self.requests), n, replace=False))
        policy = policy or shop_policy(self._world)
        clicks = np.empty(n)
        for day, rows, situation in self._by_day(requests):
            generator = np.random.default_rng((self._config.seed, seed, day.number))
            slates = policy(day, situation, generator).items
            choice = Choice(self._world, day.number)
            clicks[rows] = choice.click_probabilities(situation, slates).sum(1)
        return PolicyValue(float(clicks.mean()), float(clicks.std(ddof=1) / n**0.5), clicks)

    def situation(self, requests: ArrayLike) -> Situation:
        """What the choices of logged requests depended on."""
        requests = self._ids("requests", requests, len(self.requests), 1)
        table = self.requests
        session = table["session"].to_numpy()[requests]
        owner = self._tables["sessions"]
        users = owner["user"].to_numpy()[session].astype(np.int64)
        days = (owner["start"].to_numpy()[session] - START) // DAY
        hidden = self.sessions
        vectors = np.empty((len(requests), self._config.n_factors))
        for day in np.unique(days):
            vectors[days == day] = self._world.vectors(users[days == day], day)
        leaf = hidden["leaf"].to_numpy()[session].astype(np.int64)
        wanted = hidden[_WANTED].to_numpy()[session].astype(np.int64)
        return Situation(
            users=users,
            vectors=vectors,
            goals=goals(self._world, vectors, leaf, wanted),
            intent=hidden["intent"].cat.codes.to_numpy()[session].astype(np.int64),
            price_cap=hidden["price_cap"].to_numpy()[session],
            surface=table["surface"].cat.codes.to_numpy()[requests].astype(np.int64),
            shelf=table["leaf"].to_numpy()[requests].astype(np.int64),
            satisfaction=table["satisfaction"].to_numpy()[requests],
            recent=table[_RECENT].to_numpy()[requests].astype(np.int64),
            last_brand=hidden["last_brand"].to_numpy()[session].astype(np.int64),
        )

    def shelves(self, day: int) -> Day:
        """What could be shown on one day of the log."""
        if not 0 <= day < self._config.n_days:
            raise ValueError(f"day must be between 0 and {self._config.n_days - 1}, got {day}")
        shape = (len(self._world.leaf_category), self._config.n_candidates)
        size = shape[0] * shape[1]
        table = self._tables["truth_shelves"].iloc[day * size : (day + 1) * size]
        items = table["item"].to_numpy().reshape(shape).astype(np.int64)
        return day_of(self._world, day, items, table["logit"].to_numpy().reshape(shape))

    def relevance(
        self, users: ArrayLike, last_items: ArrayLike | None = None
    ) -> NDArray[np.float32]:
        """Expected purchases of each product in a request of each user at the end of the log.

        Without ``last_items`` shelves are those of a session at any time (the stationary
        distribution of the walk from purchase to complement); with it, those that follow a
        purchase of that product, in the same session or the next, and its brand is preferred:
        what a perfect sequence model would know. Expected examination is a mean-field value (see
        `shelf_examination`); wanted attributes, the products above, satisfaction, second looks, and
        that a cart holds a product once, are not counted, nor that a goal follows the customer to
        the shelves of other leaves, for which "related" comes out a fifth too low.

        Args:
            users: (B,) ids.
            last_items: (B,) product bought last, -1 for none; None: not known.

        Returns:
            (B, I) float32.
        """
        world, config = self._world, self._config
        users = self._ids("users", users, config.n_users, 1)
        taste_leaf = world.leaf_choice(self.user_vectors[users], config.n_days)
        leaf = self._leaf(taste_leaf, last_items)
        shelves = {
            "search": leaf,
            "related": leaf @ world.siblings,
            "recommendations": taste_leaf,
        }
        logits = self._click_logits(users, last_items)
        clicks = np.zeros_like(logits)
        desktop = world.desktop[users].astype(int)
        for surface, shelf in shelves.items():
            probs = words.SURFACE_SHARES[surface] * sigmoid(logits + SURFACE_PULL[surface])
            for rows, curves in self._examination_groups(desktop, world.segment[users]):
                clicks[rows] += (shelf[rows] @ curves) * probs[rows]
        return (clicks * self._conversion(users)).astype(np.float32)

    def oracle(self, history: Interactions | None = None) -> Oracle:
        """The recommender that scores by `relevance`.

        Args:
            history: what was bought; the oracle then also knows each customer's last purchase,
                as a model of sequences does. None: as good as scores can be that only the
                customer's taste tells, whatever was bought last.
        """
        if history is None:
            return Oracle(self)
        n_users, n_items = self._config.n_users, self._config.n_items
        if (history.n_users, history.n_items) != (n_users, n_items):
            raise ValueError(
                f"history must have {n_users} users and {n_items} items, "
                f"got {history.n_users} and {history.n_items}"
            )
        return Oracle(self, history.histories().pad(1)[:, 0])

    @cached_property
    def shelf_examination(self) -> Floats:
        """(2, S, L, I) expected sum of examination of each product in a slate of a leaf's shelf.

        By device (desktops are 1) and segment of customers. A Plackett-Luce draw is a race of
        exponential clocks. With t_k the time at which k of the candidates are expected to have
        rung, P(i among the first k) is about c_i (1 - exp(-w_i t_k)), c_i the probability of being
        a candidate; the error is of order 1 / n_candidates.
        """
        world, config = self._world, self._config
        clicks = self._tables["clicks"]
        recent = clicks["timestamp"].to_numpy() >= START + (config.n_days - 7) * DAY
        counts = np.bincount(clicks["item"].to_numpy()[recent], minlength=config.n_items)
        popularity = popularity_logits(world, counts.astype(float), world.tiers)
        logits = (popularity + segment_logits(world)[:, None]) / config.temperature  # (S, L, I)
        slots = np.arange(1, config.n_slots + 1)
        gains = np.stack([slots**-self.eta, slots**-self.eta_desktop])
        examined = np.zeros((2, *logits.shape))
        for leaf in range(len(world.tiers)):
            share = world.candidate_share(leaf)
            inside = np.flatnonzero(share)
            share = share[inside]
            uniform = share * gains.sum(1, keepdims=True) / config.n_candidates
            for segment, row in enumerate(logits[:, leaf, inside]):
                weight = np.exp(row - row.max())
                rung = (share * -np.expm1(-_GRID[:, None] * weight)).sum(1)
                times = np.exp(np.interp(slots, rung, np.log(_GRID)))
                first = share * -np.expm1(-times[:, None] * weight)  # (K, n) among the first k
                at = np.diff(first, axis=0, prepend=0.0)
                both = (1 - config.uniform_share) * (gains @ at) + config.uniform_share * uniform
                examined[:, segment, leaf, inside] = both
        return examined

    @cached_property
    def stay(self) -> float:
        """Share of purchases that come in the same session as the purchase before them."""
        table = self._tables["purchases"].sort_values(["user", "session"], kind="stable")
        users, sessions = table["user"].to_numpy(), table["session"].to_numpy()
        follows = users[1:] == users[:-1]
        return float((sessions[1:] == sessions[:-1])[follows].mean()) if follows.any() else 0.0

    def _examination_groups(
        self, desktop: Ints, segment: Ints
    ) -> list[tuple[NDArray[np.intp], Floats]]:
        groups = []
        for device in (0, 1):
            for each in np.unique(segment):
                rows = np.flatnonzero((desktop == device) & (segment == each))
                if len(rows):
                    groups.append((rows, self.shelf_examination[device, each]))
        return groups

    def _click_logits(self, users: Ints, last_items: ArrayLike | None = None) -> Floats:
        """(B, I) logits of a click, without the surface's, in a session for the product's leaf."""
        world, config = self._world, self._config
        day, scale = config.n_days, config.n_factors**0.5
        vectors = self.user_vectors[users]
        gap, pull = world.price_gap, world.pull(day)  # at full price
        goal = self._goal(vectors)
        logits = (
            self._liking(users)
            + config.goal * scale * goal
            + world.price_sensitivity[users, None] * gap
            + pull
            + world.novelty[users, None] * world.is_new(day)
        )
        if last_items is not None:
            last = self._ids("last_items", last_items, config.n_items, 1, low=-1)
            loyal = (world.brand[last][:, None] == world.brand) & (last >= 0)[:, None]
            logits = logits + world.loyalty[users, None] * loyal
        return logits

    def _goal(self, vectors: Floats) -> Floats:
        """(B, I) cosine of each product with a goal of taste and its leaf, less the leaf's mean."""
        world = self._world
        leaf, unit_leaf = world.leaves, world.geometry.unit_vectors
        apart = world.item_vectors - world.leaf_means[leaf]  # (I, K)
        by_leaf = np.einsum("ik,ik->i", apart, unit_leaf[leaf])
        length = np.sqrt(2 + 2 * vectors @ unit_leaf.T)  # (B, L) of taste plus leaf
        return (vectors @ apart.T + by_leaf) / length[:, leaf]

    def _liking(self, users: Ints) -> Floats:
        world, config = self._world, self._config
        affinity = self.user_vectors[users] @ world.item_vectors.T
        return config.taste * config.n_factors**0.5 * affinity - world.level[users, None]

    def _conversion(self, users: Ints) -> Floats:
        """(B, I) probability that a click ends as a purchase, over the intents."""
        world = self._world
        price = world.price_sensitivity[users, None] * world.price_gap
        logits = cart_logits(self._liking(users) + price, world.quality, world.bait)
        bought = np.zeros_like(logits)
        for intent, share in enumerate(words.INTENT_SHARES):
            paid = share * checkout(np.array([intent]))[0]
            bought += paid * sigmoid(logits + cart_intent()[intent])
        return bought

    def _leaf(self, taste_leaf: Floats, last_items: ArrayLike | None) -> Floats:
        """(B, L) probability of the leaf that a session, or the next purchase, looks for."""
        world = self._world
        n_leaves = taste_leaf.shape[1]
        led = world.config.complement * (1 - words.GIFT - words.REORDER) * world.complements
        led = led + words.REORDER * np.eye(n_leaves)
        by_taste = (1 - words.GIFT - words.REORDER) * (1 - world.config.complement)
        free = words.GIFT / n_leaves + by_taste * taste_leaf
        if last_items is None:
            return free @ np.linalg.inv(np.eye(n_leaves) - led)
        last = self._ids("last_items", last_items, world.config.n_items, 1, low=-1)
        if len(last) != len(taste_leaf):
            raise ValueError(f"last_items must have length {len(taste_leaf)}, got {len(last)}")
        leaf = world.leaves[last]
        after = free + led[leaf]
        after = (1 - self.stay) * after + self.stay * np.eye(n_leaves)[leaf]
        first = words.GIFT / n_leaves + (1 - words.GIFT) * taste_leaf
        return np.where(last[:, None] >= 0, after, first)

    def _by_day(self, requests: ArrayLike) -> list[tuple[Day, NDArray[np.intp], Situation]]:
        """Logged requests, a group for each day."""
        requests = self._ids("requests", requests, len(self.requests), 1)
        situation = self.situation(requests)
        session = self.requests["session"].to_numpy()[requests]
        days = (self._tables["sessions"]["start"].to_numpy()[session] - START) // DAY
        groups = []
        for day in np.unique(days):
            rows = np.flatnonzero(days == day)
            groups.append((self.shelves(int(day)), rows, situation.rows(rows)))
        return groups

    def _rows(self, name: str, items: ArrayLike, of: ArrayLike) -> Ints:
        """Products (B, C) of B users or requests."""
        items = self._ids(name, items, self._config.n_items, 2)
        if len(items) != len(np.asarray(of)):
            raise ValueError(f"{name} must have {len(np.asarray(of))} rows, got {len(items)}")
        return items

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

    def __init__(self, truth: Truth, last_items: Ints | None = None) -> None:
        """``last_items``: (U,) product bought last, -1 for none; None: not known."""
        self.truth, self.last_items = truth, last_items

    def score(self, users: ArrayLike, items: ArrayLike | None = None) -> NDArray[np.float32]:
        """(B, I) expected purchases, or (B, C) of the candidates ``items`` (B, C)."""
        last = None if self.last_items is None else self.last_items[np.asarray(users)]
        scores = self.truth.relevance(users, last)
        if items is None:
            return scores
        return np.take_along_axis(scores, np.asarray(items), axis=1)
