"""Auctions of a few banner slots, many at once: generalized second price, and VCG.

Bidder a scores s_a = bid_a * quality_a, quality its click probability in the first slot; slot k is
clicked effect_k times as often, effect_1 = 1. The k-th best score takes slot k. With s_(k) the k-th
best score, r the reserve and effect_(S+1) = 0, the winner i of slot k pays for a click

    GSP: max(s_(k+1) / q_i, r)
    VCG: 1 / (effect_k q_i) * sum over j = k..S of (effect_j - effect_(j+1)) max(s_(j+1), r q_i).

Source: Edelman, Ostrovsky and Schwarz (2007), American Economic Review 97(1); Varian (2007),
International Journal of Industrial Organization 25(6).
Differences from the paper: a reserve price per click stands in both, as if the seller bid it with
the winner's own quality, which keeps VCG truthful (the papers: none, or a score).
Chapter: shop/simulation.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Outcome(NamedTuple):
    """Who won each slot and the price of a click there.

    Attributes:
        winners: (B, S) advertiser of each slot, -1 where nobody took it.
        prices: (B, S) price of one click, at most the winner's bid; NaN where nobody took it.
    """

    winners: Ints
    prices: Floats


def gsp(bids: ArrayLike, quality: ArrayLike, *, reserve: float, slot_effects: ArrayLike) -> Outcome:
    """Generalized second-price auctions: each winner pays the least that keeps its slot.

    Args:
        bids: (B, A) bid for one click, 0 for no bid.
        quality: (B, A) probability of a click in the first slot, in [0, 1]; 0 cannot win.
        reserve: least price of a click, >= 0; lower bids do not take part.
        slot_effects: (S,) clicks of each slot relative to the first: in (0, 1], not rising.

    Returns:
        The winners and prices; equal scores go to the lower advertiser.

    Raises:
        ValueError: if a shape or a range is wrong.

    Source: Edelman, Ostrovsky and Schwarz (2007).
    """
    return run_gsp(*_checked(bids, quality, reserve, slot_effects))


def vcg(bids: ArrayLike, quality: ArrayLike, *, reserve: float, slot_effects: ArrayLike) -> Outcome:
    """Vickrey-Clarke-Groves auctions: each winner pays what its presence costs the others.

    To bid one's value is the best answer to whatever the others bid. Arguments, result and errors
    as of `gsp`.

    Source: Varian (2007).
    """
    return run_vcg(*_checked(bids, quality, reserve, slot_effects))


def run_gsp(bids: Floats, quality: Floats, reserve: float, effects: Floats) -> Outcome:
    """`gsp` on arrays that were checked."""
    order, scores = ranked(bids, quality, reserve, len(effects) + 1)
    winners = order[:, :-1]
    own, bid = _of_winners(winners, quality), _of_winners(winners, bids)
    return _outcome(winners, np.maximum(scores[:, 1:] / own, reserve), bid)


def run_vcg(bids: Floats, quality: Floats, reserve: float, effects: Floats) -> Outcome:
    """`vcg` on arrays that were checked."""
    order, scores = ranked(bids, quality, reserve, len(effects) + 1)
    winners = order[:, :-1]
    own, bid = _of_winners(winners, quality), _of_winners(winners, bids)
    prices = np.zeros(winners.shape)
    steps = effects - np.append(effects[1:], 0.0)  # (S,) what is lost with each slot further down
    for slot in range(len(effects)):
        displaced = np.maximum(scores[:, slot + 1 :], reserve * own[:, [slot]])  # (B, S - slot)
        prices[:, slot] = displaced @ steps[slot:] / (effects[slot] * own[:, slot])
    return _outcome(winners, prices, bid)


def ranked(bids: Floats, quality: Floats, reserve: float, n: int) -> tuple[Ints, Floats]:
    """The ``n`` best scores of each row, best first: bidders (B, n), -1 for none, and scores.

    A missing score is 0. Equal scores go to the lower bidder.
    """
    left = np.where(bids >= reserve, bids * quality, 0.0)
    rows = np.arange(len(left))
    order = np.full((len(left), n), -1)
    scores = np.zeros((len(left), n))
    for rank in range(min(n, left.shape[1])):  # n is 3: faster than to sort, and ties are settled
        best = left.argmax(1)
        scores[:, rank] = left[rows, best]
        order[:, rank] = np.where(scores[:, rank] > 0, best, -1)
        left[rows, best] = 0.0
    return order, scores


def _of_winners(winners: Ints, values: Floats) -> Floats:
    """(B, S) ``values`` (B, A) of the winners; 1 where there is none."""
    if not values.shape[1]:
        return np.ones(winners.shape)
    chosen = np.take_along_axis(values, np.maximum(winners, 0), axis=1)
    return np.where(winners >= 0, chosen, 1.0)


def _outcome(winners: Ints, prices: Floats, bids: Floats) -> Outcome:
    prices = np.minimum(prices, bids)  # rounding must not charge more than the bid
    return Outcome(winners, np.where(winners >= 0, prices, np.nan))


def _checked(
    bids: ArrayLike, quality: ArrayLike, reserve: float, slot_effects: ArrayLike
) -> tuple[Floats, Floats, float, Floats]:
    bid, chance = np.asarray(bids, float), np.asarray(quality, float)
    if bid.ndim != 2:
        raise ValueError(f"bids must have 2 dimensions, got shape {bid.shape}")
    if chance.shape != bid.shape:
        raise ValueError(f"quality must have shape {bid.shape}, got {chance.shape}")
    if not np.all((bid >= 0) & (bid < np.inf)):  # NaN fails too
        raise ValueError("bids must be finite and at least 0, got another value")
    if not np.all((chance >= 0) & (chance <= 1)):
        raise ValueError("quality must be between 0 and 1, got another value")
    if not 0 <= reserve < np.inf:
        raise ValueError(f"reserve must be finite and at least 0, got {reserve}")
    return bid, chance, float(reserve), check_effects(slot_effects)


def check_effects(slot_effects: ArrayLike) -> Floats:
    """``slot_effects`` (S,) as an array.

    Raises:
        ValueError: if they are not in (0, 1], at least one, not rising.
    """
    effects = np.asarray(slot_effects, float)
    fits = effects.ndim == 1 and effects.size > 0 and np.all((effects > 0) & (effects <= 1))
    if not fits or np.any(np.diff(effects) > 0):
        raise ValueError(f"slot_effects must be in (0, 1] and not rise, got {effects.tolist()}")
    return effects
