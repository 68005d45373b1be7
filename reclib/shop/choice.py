"""How a customer chooses: the one model behind the log, the environments and the oracle.

P(click on item i at slot k) = P(look at k) A_k, with the attraction A = sigmoid of the sum of
surface, taste(u, i), goal(g, i), price, -.8 above the price cap, popularity, bait, w_S S, repeat,
season, brand, novelty and -.3 (mean cosine with the products above - the shelf's mean);
taste = 1.8 sqrt(K) <u, v_i> - level(u), goal = .6 sqrt(K) <g, v_i - mean of the shelf>.
A click puts a product into the cart with a probability of its own; the cart is bought as a whole
or left.

Source: position and cascade models after Craswell et al. (2008), WSDM, and Chapelle and Zhang
(2009), WWW; trust bias after Agarwal et al. (2019), WWW; satisfaction as in
`reclib.shop.satisfaction`.

Differences from the paper: the click models are the textbook ones. Against the specification:

1. Weights of cosines are per standard deviation of a random cosine, 1 / sqrt(K), not per unit:
   2.2 per unit hardly personalises at K = 16.
2. Taste is measured from a customer's level and the goal from the shelf's mean, so that click
   rates do not hang on K or the seed.
3. The cart is bought as a whole, once a session (each line by itself), so that a basket holds
   several products and sessions that buy stay as rare as in real shops.
4. The cosine with the products above is taken from the mean of the shelf (as it is), so that the
   examination curve is that of the click model.
5. Trust: products outside the shelf that was asked for get the factor 1 + .15 / k.

Chapter: shop/simulation.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reclib.shop import _words as words
from reclib.shop._catalogue import Floats, Ints
from reclib.shop._world import World

__all__ = ["Choice", "Situation", "plackett_luce"]

SURFACE_PULL = {"search": -1.6, "recommendations": -2.4, "related": -2.1}
CONTINUE, SATISFIED, TRUST = 0.85, 0.5, 0.15
_SIMILARITY, _REPEAT, _TOO_DEAR = 0.3, 0.3, 0.8
_CART, _CHECKOUT = -1.0, -1.25
_CART_INTENT = np.array([1.0, 0.3, -0.6, 0.5, 1.0])  # as words.INTENTS
_CHECKOUT_INTENT = np.array([1.2, -0.4, -0.8, 0.6, 1.5])
_SINGLE = np.float32


@dataclass(frozen=True, eq=False)
class Situation:
    """What a choice depends on beside the products: one row for each of B live sessions.

    Attributes:
        users: (B,) ids.
        vectors: (B, K) taste of the day.
        goals: (B, K) unit vectors of what the session looks for.
        intent: (B,) codes into ``("buy", "compare", "browse", "gift", "reorder")``.
        price_cap: (B,) highest log price above the leaf's mean, inf where there is none.
        surface: (B,) codes into ``("search", "recommendations", "related")``.
        shelf: (B,) leaf whose shelf was asked for.
        satisfaction: (B,) in [-2.5, 2.5].
        recent: (B, 5) products clicked last in this session, newest first, -1 for none.
        last_brand: (B,) brand bought last, -1 for none.
    """

    users: Ints
    vectors: Floats
    goals: Floats
    intent: Ints
    price_cap: Floats
    surface: Ints
    shelf: Ints
    satisfaction: Floats
    recent: Ints
    last_brand: Ints

    def __len__(self) -> int:
        return len(self.users)

    def rows(self, index: Any) -> Situation:
        """The rows ``index``."""
        return Situation(**{each.name: getattr(self, each.name)[index] for each in fields(self)})


class Choice:
    """The choice model of a shop on one day.

    Attributes:
        world: products and customers.
        day: day of the log; a float is allowed, prices are those of its whole day.
    """

    def __init__(self, world: World, day: float) -> None:
        self.world, self.day = world, day
        config = world.config
        self._scale = config.n_factors**0.5
        self._gap = world.gap(int(day))
        # One row a product, so that a slate is one gather: vector, pull, price, novelty.
        self._table = np.empty((config.n_items, config.n_factors + 3), dtype=_SINGLE)
        self._table[:, :-3] = world.item_vectors
        self._table[:, -3] = world.pull(day)
        self._table[:, -2] = self._gap
        self._table[:, -1] = world.is_new(day)
        self._pull = np.array([SURFACE_PULL[name] for name in words.SURFACES[:3]])

    def attraction(self, situation: Situation, items: Ints) -> Floats:
        """(B, C) probability of a click on each of ``items`` (B, C), seen alone."""
        return sigmoid(self._logits(situation, items)[0])

    def slate_attraction(self, situation: Situation, slates: Ints) -> Floats:
        """(B, K) the same in a slate: what resembles the products above attracts less."""
        logits, vectors = self._logits(situation, slates)
        cosine = np.empty_like(logits[:, 1:])
        above = vectors[:, 0].copy()
        for slot in range(1, slates.shape[1]):  # three times as fast as a cumulative sum
            cosine[:, slot - 1] = np.einsum("bd,bd->b", vectors[:, slot], above)
            above += vectors[:, slot]
        cosine /= np.arange(1, slates.shape[1], dtype=_SINGLE)
        # Less the shelf's mean: else the top slot would gain, and position bias look steeper.
        cosine -= self.world.shelf_cosine[situation.shelf, None].astype(_SINGLE)
        logits[:, 1:] -= _SIMILARITY * cosine
        return sigmoid(logits)

    def examination(self, users: Ints, n_slots: int) -> Floats:
        """(B, K) probability that a slot is looked at by position alone: k ** -eta."""
        config = self.world.config
        eta = np.array([config.eta, config.eta_desktop])
        curves = np.arange(1, n_slots + 1) ** -eta[:, None]
        return np.asarray(curves[self.world.desktop[users].astype(int)])

    def click_probabilities(self, situation: Situation, slates: Ints) -> Floats:
        """(B, K) probability of a click on each slot."""
        attraction = self.slate_attraction(situation, slates)
        if self.world.config.click_model == "cascade":
            stop = attraction * SATISFIED * self.world.quality[slates]
            going = (CONTINUE * (1 - stop)).cumprod(1)
            looked = np.concatenate([np.ones_like(going[:, :1]), going[:, :-1]], axis=1)
            return looked * attraction
        looked = self.examination(situation.users, slates.shape[1])
        if self.world.config.click_model == "trust":
            looked = looked * self._trust(situation, slates)
        return np.minimum(looked * attraction, 1.0)

    def draw_clicks(
        self, situation: Situation, slates: Ints, generator: np.random.Generator
    ) -> tuple[NDArray[np.bool_], Floats]:
        """(B, K) which slots are clicked, and the `click_probabilities` they were drawn with."""
        probs = self.click_probabilities(situation, slates)
        if self.world.config.click_model != "cascade":
            return generator.random(slates.shape, dtype=_SINGLE) < probs, probs
        attraction = self.slate_attraction(situation, slates)
        clicks = generator.random(slates.shape) < attraction
        stop = clicks & (generator.random(slates.shape) < SATISFIED * self.world.quality[slates])
        on = ~stop & (generator.random(slates.shape) < CONTINUE)
        looked = np.ones_like(on)
        looked[:, 1:] = np.logical_and.accumulate(on, axis=1)[:, :-1]
        return clicks & looked, probs

    def cart(self, users: Ints, vectors: Floats, items: Ints) -> Floats:
        """(N,) logits that a clicked product goes into the cart, without the intent's part.

        Args:
            users: (N,) ids.
            vectors: (N, K) their taste of the day.
            items: (N,) clicked products.
        """
        world, config = self.world, self.world.config
        affinity = np.einsum("nk,nk->n", vectors, world.item_vectors[items])
        liking = config.taste * self._scale * affinity - world.level[users]
        price = world.price_sensitivity[users] * self._gap[items]
        return cart_logits(liking + price, world.quality[items], world.bait[items])

    def _logits(
        self, situation: Situation, items: Ints
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        world, config = self.world, self.world.config
        users, n = situation.users, config.n_factors
        weights = np.empty((len(situation), n + 3), dtype=_SINGLE)
        weights[:, :n] = self._scale * (
            config.taste * situation.vectors + config.goal * situation.goals
        )
        weights[:, n] = 1.0
        weights[:, n + 1] = world.price_sensitivity[users]
        weights[:, n + 2] = world.novelty[users]
        middle = np.einsum("bk,bk->b", situation.goals, world.leaf_means[situation.shelf])
        constant = (
            self._pull[situation.surface]
            - world.level[users]
            - config.goal * self._scale * middle
            + world.dynamics.satisfaction_weight * situation.satisfaction
        ).astype(_SINGLE)
        rows = self._table[items]  # (B, C, K + 3)
        logits = np.einsum("bcj,bj->bc", rows, weights) + constant[:, None]
        loyal = world.brand[items] == situation.last_brand[:, None]
        logits += loyal * world.loyalty[users, None].astype(_SINGLE)
        logits -= _SINGLE(_TOO_DEAR) * (rows[:, :, n + 1] > situation.price_cap[:, None])
        seen = situation.recent[:, 0] >= 0  # most sessions have clicked nothing yet
        if seen.any():
            again = (items[seen, :, None] == situation.recent[seen, None, :]).any(2)
            logits[seen] += _SINGLE(_REPEAT) * again
        return logits, rows[:, :, :n]

    def _trust(self, situation: Situation, slates: Ints) -> Floats:
        outside = self.world.leaves[slates] != situation.shelf[:, None]
        return 1 + TRUST / np.arange(1, slates.shape[1] + 1) * outside


def cart_logits(liking: Floats, quality: Floats, bait: Floats) -> Floats:
    """Logits that a click becomes a line of the cart, without the intent's part."""
    return _CART + 0.5 * liking + 1.5 * (quality - 0.7) - (bait - 0.3)


def cart_intent() -> Floats:
    """(5,) the intents' parts of `cart_logits`."""
    return _CART_INTENT


def checkout(intent: Ints) -> Floats:
    """(B,) probability that a cart is bought."""
    return sigmoid(_CHECKOUT + _CHECKOUT_INTENT[intent])


def sigmoid(logits: Any) -> Any:
    """1 / (1 + exp(-x)), without overflow; keeps single precision."""
    half = logits.dtype.type(0.5)
    return half * (1 + np.tanh(half * logits))


def plackett_luce(
    weights: Floats, n_slots: int, generator: np.random.Generator
) -> tuple[Ints, Floats]:
    """Draw ``n_slots`` columns of each row without replacement, in order.

    Args:
        weights: (B, C) positive weights.
        n_slots: at most C.
        generator: source of the exponential clocks: the first to ring is drawn first.

    Returns:
        columns (B, n_slots), and the probability of each given those before it.
    """
    clocks = generator.standard_exponential(weights.shape, dtype=_SINGLE) / weights
    rows = np.arange(len(weights))[:, None]
    columns = np.argpartition(clocks, n_slots - 1, axis=1)[:, :n_slots]
    columns = columns[rows, clocks[rows, columns].argsort(axis=1)]
    chosen = weights[rows, columns]
    rest = np.maximum(weights.sum(1) - chosen.sum(1), 0)  # the weight of those never drawn
    left = rest[:, None] + chosen[:, ::-1].cumsum(1)[:, ::-1]
    return columns, chosen / left
