"""Statistics of slates: position bias, and whether logged propensities are what was drawn.

See `reclib.shop.realism`, which is the public door to them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy.optimize import brentq
from scipy.stats import chi2

from reclib.shop._statistics import Floats, Ints, aligned

_ETAS = (-10.0, 10.0)  # where eta is looked for
_FEWEST_EXPECTED = 5.0  # cells of the chi-square with fewer are joined


class Fit(NamedTuple):
    """An estimate and its standard error."""

    value: float
    se: float


class ChiSquare(NamedTuple):
    """A chi-square statistic, its degrees of freedom and P(larger), NaN without freedom."""

    statistic: float
    dof: int
    p: float


def position_curve(positions: ArrayLike, clicks: ArrayLike) -> pd.DataFrame:
    """Click rate of each position seen: columns position, shown, clicks, ctr, se.

    Args:
        positions: (N,) from 1, one an impression.
        clicks: (N,) 0 or 1.
    """
    k, click = aligned("positions clicks", positions, clicks)
    curve = pd.DataFrame({"position": k, "clicks": click}).groupby("position")["clicks"]
    table = curve.agg(shown="size", clicks="sum", ctr="mean").reset_index()
    return table.assign(se=np.sqrt(table["ctr"] * (1 - table["ctr"]) / table["shown"]))


def fitted_eta(
    requests: ArrayLike, positions: ArrayLike, clicks: ArrayLike, *, first: int = 1
) -> Fit:
    """Position bias eta of P(click at k) ~ k ** -eta, from slates in random order.

    Conditional likelihood: where the order of a slate of L products is random, a click of it lies
    at position k with probability k ** -eta / sum over j = first..L of j ** -eta, whatever the
    products and the customer. The standard error allows for several clicks of one request.

    Where products above a product make it less attractive, the first has an advantage besides its
    position, and ``first`` = 2 leaves it out: the mean similarity to those above is then the same,
    in expectation, at every position.

    Args:
        requests: (N,) ids, one an impression; a request has positions 1 to its length.
        positions: (N,) from 1.
        clicks: (N,) 0 or 1.
        first: first position that counts.

    Returns:
        eta, between -10 and 10, and its standard error; NaN without a click that could have been
        at another position.
    """
    if first < 1:
        raise ValueError(f"first must be at least 1, got {first}")
    request_ids, k, click = aligned("requests positions clicks", requests, positions, clicks)
    if not len(k):
        return Fit(np.nan, np.nan)
    _, request, sizes = np.unique(request_ids, return_inverse=True, return_counts=True)
    clicked = (click > 0) & (k >= first) & (sizes[request] > first)
    request, log_k = request[clicked], np.log(k[clicked])
    lengths, shares = np.unique(sizes[request], return_counts=True)
    if not len(log_k):
        return Fit(np.nan, np.nan)
    goal = log_k.sum()
    eta = _decreasing_root(lambda a: float(shares @ _log_position(a, lengths, first)[0] - goal))
    mean, variance = _log_position(eta, lengths, first)
    score = log_k - mean[np.searchsorted(lengths, sizes[request])]
    by_request = np.bincount(request, weights=score)
    return Fit(eta, float(np.sqrt((by_request**2).sum()) / (shares @ variance)))


def propensity_check(propensities: ArrayLike, n_choices: ArrayLike) -> Fit:
    """Mean of 1 / (p n) and its standard error: 1 if p is the chance of what was drawn.

    A slot that could show any of n products shows i with probability p_i, so the mean of the
    constant 1 / n, weighted by 1 / p, is sum over i of p_i / (p_i n) = 1.

    Args:
        propensities: (N,) logged probability of what was shown, in (0, 1].
        n_choices: (N,) products that could have been shown there, or one number.
    """
    p = np.asarray(propensities, dtype=float)
    if not ((p > 0) & (p <= 1)).all():
        raise ValueError(f"propensities must be above 0 and at most 1, got {p.min()} to {p.max()}")
    if len(p) < 2:
        return Fit(np.nan, np.nan)
    weights = 1 / (p * np.broadcast_to(np.asarray(n_choices), p.shape))
    return Fit(float(weights.mean()), float(weights.std(ddof=1) / np.sqrt(len(p))))


def first_slot_check(
    shelves: ArrayLike, items: ArrayLike, candidates: ArrayLike, probs: ArrayLike
) -> ChiSquare:
    """Chi-square of what the first slot showed against what the policy promised, per shelf.

    Counts of (shelf, item) are compared with the sums of the probabilities; cells of fewer than 5
    expected are joined shelf by shelf. Where probabilities differ between requests the statistic
    is a little too small (the test errs on the side of accepting).

    Args:
        shelves: (B,) codes >= 0.
        items: (B,) item of the first slot.
        candidates: (B, C) items that could have been there.
        probs: (B, C) their probabilities; rows sum to 1.
    """
    shelf, first = aligned("shelves items", shelves, items)
    there, promised = np.asarray(candidates), np.asarray(probs, dtype=float)
    if there.ndim != 2 or len(there) != len(first) or promised.shape != there.shape:
        raise ValueError(
            f"candidates and probs must have shape ({len(first)}, C), got {there.shape} and "
            f"{promised.shape}"
        )
    if not np.allclose(promised.sum(1), 1):
        raise ValueError(f"probs must sum to 1 in each row, got {promised.sum(1).min()}")
    if not (there == first[:, None]).any(1).all():
        raise ValueError("items must be among their candidates, got others")
    if not len(first):
        return ChiSquare(0.0, 0, np.nan)
    width = int(there.max()) + 1
    keys, cell = np.unique(shelf[:, None] * width + there, return_inverse=True)
    expected = np.bincount(cell.ravel(), weights=promised.ravel())
    observed = np.bincount(np.searchsorted(keys, shelf * width + first), minlength=len(keys))
    # A shelf's rare cells become one cell; if that is still rare, it is left out.
    owner = keys // width
    rare = expected < _FEWEST_EXPECTED
    names = np.where(rare, len(keys) + owner, np.arange(len(keys)))
    _, start, bins = np.unique(names, return_index=True, return_inverse=True)
    total, seen = np.bincount(bins, weights=expected), np.bincount(bins, weights=observed)
    kept = total >= _FEWEST_EXPECTED
    statistic = float(((seen - total)[kept] ** 2 / total[kept]).sum())
    # A shelf whose cells are all kept has one constraint: its counts sum to its requests.
    owner = owner[start]
    constrained = np.setdiff1d(owner, owner[~kept])
    dof = int(kept.sum()) - len(constrained)
    return ChiSquare(statistic, dof, float(chi2.sf(statistic, dof)) if dof > 0 else np.nan)


# --- helpers


def _decreasing_root(function: Callable[[float], float]) -> float:
    """Root of a decreasing function between the bounds of eta, or the bound nearest to it."""
    low, high = _ETAS
    if function(high) >= 0:
        return high
    return low if function(low) <= 0 else float(brentq(function, low, high))


def _log_position(eta: float, lengths: Ints, first: int) -> tuple[Floats, Floats]:
    """Mean and variance of log k under k ** -eta on first..L, for each L of ``lengths``."""
    log_k = np.log(np.arange(first, lengths.max() + 1))
    weights = np.exp(-eta * log_k)
    total, once, twice = (np.cumsum(weights * log_k**power)[lengths - first] for power in range(3))
    mean = once / total
    return mean, twice / total - mean**2
