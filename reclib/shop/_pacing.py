"""How to spend an advertising budget over a day: as it comes, throttled, and the best possible.

Opportunity t would bring ``gain_t`` and cost ``cost_t`` (both expected: price times click
probability). The best plan in hindsight is the linear programme

    max sum_t x_t gain_t  with  sum_t x_t cost_t <= budget, 0 <= x_t <= 1,

whose dual price m of the budget says: enter if gain_t > m cost_t. With several advertisers, also
one advertiser to a slot and one slot to an advertiser, at each opportunity.

Source: Mehta, Saberi, Vazirani and Vazirani (2007), Journal of the ACM 54(5) (the programme);
Agarwal, Ghosh, Wei and You (2014), KDD (the throttle).
Differences from the paper: the throttle steps every ``every`` opportunities (paper: a minute).
Chapter: shop/simulation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import linprog
from scipy.sparse import coo_array

from reclib.shop._auctions import check_effects

Floats = NDArray[np.float64]

_STEP, _LEAST_RATE = 0.1, 0.02


@dataclass(frozen=True, eq=False)
class Pacing:
    """A plan of spending.

    Attributes:
        share: (T,) probability to enter each opportunity, or (T, A, S) to give it to an
            advertiser in a slot.
        value: expected gain of the plan.
        spend: (A,) expected spend of each advertiser; one for a single advertiser.
        multiplier: (A,) gain that one more unit of budget would bring; NaN if not computed.
    """

    share: Floats
    value: float
    spend: Floats
    multiplier: Floats


def optimal_pacing(
    gain: ArrayLike, cost: ArrayLike, budget: ArrayLike, *, slot_effects: ArrayLike = (1.0,)
) -> Pacing:
    """The best plan in hindsight, an upper bound for every rule that sees only the past.

    Args:
        gain: (T,) of one advertiser, or (T, A) of all: expected gain in the first slot; NaN where
            the advertiser cannot enter.
        cost: as ``gain``: expected spend in the first slot, >= 0.
        budget: what may be spent; a number, or (A,).
        slot_effects: (S,) gain and cost of each slot relative to the first.

    Returns:
        The plan; ``share`` is (T,) for one advertiser with one slot, else (T, A, S).

    Raises:
        ValueError: if shapes or values do not fit.

    Source: linear programme of Mehta et al. (2007), solved by HiGHS.
    """
    effects = check_effects(slot_effects)
    single = np.ndim(gain) == 1 and len(effects) == 1
    gains, costs, budgets = _checked(gain, cost, budget)
    (n_times, n_ads), n_slots = gains.shape, len(effects)
    at, who = np.nonzero(gains > 0)  # NaN and losses stay out
    slot = np.tile(np.arange(n_slots), len(at))
    at, who = np.repeat(at, n_slots), np.repeat(who, n_slots)
    share = np.zeros((n_times, n_ads, n_slots))
    if not len(at):
        nothing = np.zeros(n_ads)
        return Pacing(share[:, 0, 0] if single else share, 0.0, nothing, nothing)
    gain_of, cost_of = gains[at, who] * effects[slot], costs[at, who] * effects[slot]
    rows = (who, n_ads + at * n_slots + slot, n_ads + n_times * n_slots + at * n_ads + who)
    limits = np.concatenate([budgets, np.ones(n_times * (n_slots + n_ads))])
    column = np.arange(len(at))
    weights = np.concatenate([cost_of, np.ones(2 * len(at))])
    matrix = coo_array(
        (weights, (np.concatenate(rows), np.tile(column, 3))), shape=(len(limits), len(at))
    ).tocsr()
    used = np.diff(matrix.indptr) > 0
    used[:n_ads] = True  # keep the budgets' rows: their dual prices are read below
    rules: Any = matrix[used]  # sparse, which the stubs of linprog do not know
    best: Any = linprog(-gain_of, A_ub=rules, b_ub=limits[used], method="highs")
    if not best.success:
        raise RuntimeError(f"the solver failed: {best.message}")
    share[at, who, slot] = best.x
    spend = np.bincount(who, best.x * cost_of, minlength=n_ads).astype(float)
    multiplier = -np.asarray(best.ineqlin.marginals)[:n_ads]
    return Pacing(share[:, 0, 0] if single else share, float(-best.fun), spend, multiplier)


def greedy_pacing(gain: ArrayLike, cost: ArrayLike, budget: float) -> Pacing:
    """Enter whatever gains and can be paid for, until the money is gone.

    Arguments as of `optimal_pacing`, for one advertiser.
    """
    gains, costs, budgets = _checked(np.atleast_1d(gain), cost, budget)
    return _spend(gains[:, 0], costs[:, 0], float(budgets[0]), np.ones(len(gains), dtype=bool), 0)


def throttled_pacing(
    gain: ArrayLike,
    cost: ArrayLike,
    budget: float,
    *,
    generator: np.random.Generator,
    every: int = 20,
) -> Pacing:
    """Enter with a probability that falls while spend is ahead of time and rises while behind.

    Arguments as of `optimal_pacing`, for one advertiser; the probability changes after each
    ``every`` opportunities, by a tenth (`next_rate`), and starts at 1.
    """
    if every < 1:
        raise ValueError(f"every must be at least 1, got {every}")
    gains, costs, budgets = _checked(np.atleast_1d(gain), cost, budget)
    draws = generator.random(len(gains))
    return _spend(gains[:, 0], costs[:, 0], float(budgets[0]), draws, every)


def next_rate(rate: Floats, spent: Floats, target: Floats) -> Floats:
    """The throttle: a tenth less where more than ``target`` is spent, a tenth more elsewhere."""
    factor = np.where(spent > target, 1 - _STEP, 1 + _STEP)
    return np.clip(rate * factor, _LEAST_RATE, 1.0)


def _spend(gains: Floats, costs: Floats, budget: float, draws: NDArray, every: int) -> Pacing:
    """One pass in time order; ``every`` 0 enters always. A loop: each step needs the last."""
    share, spent, rate = np.zeros(len(gains)), 0.0, np.ones(1)
    for t in range(len(gains)):
        if every and t and t % every == 0:
            rate = next_rate(rate, np.array([spent]), np.array([budget * t / len(gains)]))
        wanted = gains[t] > 0 and (not every or draws[t] < rate[0])
        if wanted and spent + costs[t] <= budget:
            share[t] = 1.0
            spent += costs[t]
    value = float(gains[share > 0].sum())
    return Pacing(share, value, np.array([spent]), np.full(1, np.nan))


def _checked(gain: ArrayLike, cost: ArrayLike, budget: ArrayLike) -> tuple[Floats, Floats, Floats]:
    gains, costs = np.asarray(gain, float), np.asarray(cost, float)
    if gains.ndim not in (1, 2):
        raise ValueError(f"gain must have 1 or 2 dimensions, got shape {gains.shape}")
    if costs.shape != gains.shape:
        raise ValueError(f"cost must have shape {gains.shape}, got {costs.shape}")
    if gains.ndim == 1:
        gains, costs = gains[:, None], costs[:, None]
    if not np.all(((costs >= 0) & (costs < np.inf)) | np.isnan(gains)):
        raise ValueError("cost must be finite and at least 0, got another value")
    if np.any(np.isinf(gains)):
        raise ValueError("gain must be finite or NaN, got infinity")
    budgets = np.asarray(budget, float)
    if budgets.shape not in ((), (gains.shape[1],)):
        raise ValueError(f"budget must have shape ({gains.shape[1]},), got {budgets.shape}")
    if not np.all(budgets >= 0):
        raise ValueError("budget must be at least 0, got another value")
    return gains, costs, np.broadcast_to(budgets, (gains.shape[1],))
