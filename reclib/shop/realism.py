"""Whether a simulated shop looks like real ones: statistics of its log beside measured ones.

The tail of popularity is judged as P(x) = x ** -alpha / zeta(alpha, xmin), position bias as
P(click at k) ~ k ** -eta, inequality as Gini = sum_i (2 i - I - 1) x_(i) / (I sum x). Each
statistic has a range that real shops span; `describe` shows whether the shop lies in it.

Source: the ranges and the real shops' values were measured on public data sets (Amazon Beauty and
Sports 5-core, Last.fm, Diginetica, Tmall, the clothing shop of UCI 553, the shop of UCI 468, Home
Depot search); tail exponents follow Clauset, Shalizi and Newman (2009), arXiv:0706.1062.

Differences from the paper: no test of the power law by simulation, only the distance; `describe`
tries no tail of fewer than a tenth of the products or 50 (no limit): the tail of 150 products that
fits best of all says little about the other 1,850. Against the shop's specification:

1. xmin is the value with the smallest distance of those tails; the specification's xmin (Beauty
   15, Sports 20, Diginetica 45, Tmall 28) are not. alpha is 2.22, 2.48, 2.61, 2.84 (2.34, 2.54,
   2.66, 3.05, which `tail_exponent` gives too when it is told xmin), the distance .024 to .035
   (.045 to .06). All lie in the range accepted, 2.1 to 3.4.
2. eta is accepted within .05 of the truth, or within three standard errors where those are wider:
   a tiny log has few clicks on slates in random order, a standard error of .05 to .15 (.05). The
   first position is left out of the fit: it alone has nothing above it that makes it less
   attractive, which adds .03 to .06 to eta (all positions).
3. Sessions with a repeat are counted among those of two clicks and more. For the clothing shop
   the specification counts all: .25 and .10 instead of .32 and .11.
4. Density is that of the whole log over all customers and products, also those without an event;
   the real data have none (not stated).
5. Monotone means that no position's click rate is 3 standard errors above that of the position
   before it (strictly monotone).

Chapter: shop/simulation.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from reclib.shop._expectations import REAL_SHOPS, ROWS, Row
from reclib.shop._ranking import held_out, ranking_check
from reclib.shop._slates import (
    ChiSquare,
    Fit,
    first_slot_check,
    fitted_eta,
    position_curve,
    propensity_check,
)
from reclib.shop._statistics import (
    Lengths,
    QueryWords,
    Tail,
    category_transitions,
    conversion_by_weekend,
    density,
    dwell,
    five_core,
    gini,
    query_statistics,
    repeat_statistics,
    session_conversion,
    session_lengths,
    tail_exponent,
    top_share,
)
from reclib.shop.relevance import human_labels
from reclib.shop.satisfaction import CHECKS, planner_gain

__all__ = [
    "REAL_SHOPS",
    "ChiSquare",
    "Fit",
    "Lengths",
    "QueryWords",
    "Tail",
    "category_transitions",
    "conversion_by_weekend",
    "density",
    "describe",
    "dwell",
    "first_slot_check",
    "fitted_eta",
    "five_core",
    "gini",
    "held_out",
    "position_curve",
    "propensity_check",
    "query_statistics",
    "ranking_check",
    "repeat_statistics",
    "session_conversion",
    "session_lengths",
    "tail_exponent",
    "top_share",
]

_MIN_TAIL, _TAIL_SHARE = 50, 0.1
_N_PAIRED = 5_000  # requests whose labels are compared with word overlap
_ETA_TOLERANCE = 0.05
_SECOND = 2  # above the first product there is none that could make it less attractive
_KINDS = ("clicks", "carts", "purchases")


class _Bounded(NamedTuple):
    """A value whose accepted range depends on the shop."""

    value: float
    low: float
    high: float


class _NotThereError(Exception):
    """A table or a part of the truth that this shop does not have."""


def describe(
    shop: Any, *, popularity: str = "clicks", histories: str = "purchases"
) -> pd.DataFrame:
    """The statistics of a shop's log, the range each should lie in, and real shops' values.

    Args:
        shop: a simulated shop; what it lacks gives NaN.
        popularity: events whose counts are the products' popularity: ``clicks``, ``carts`` or
            ``purchases``.
        histories: events that make up customers' histories, of the same names.

    Returns:
        One row a statistic. Columns: test (number in the specification), statistic, value (NaN:
        not there), low, high (infinite: for information only), ok (boolean; missing where there is
        no value or no range), one column for each of `REAL_SHOPS`, others (more of them, as text).
    """
    for name, kind in (("popularity", popularity), ("histories", histories)):
        if kind not in _KINDS:
            raise ValueError(f"{name} must be one of {_KINDS}, got {kind!r}")
    rows = []
    for name, function in _SECTIONS.items():
        try:
            values = function(shop, popularity, histories)
        except _NotThereError:
            values = [math.nan] * len(ROWS[name])
        rows += [_filled(row, value) for row, value in zip(ROWS[name], values, strict=True)]
    return pd.DataFrame(rows).astype({"ok": "boolean"})


def _filled(row: Row, value: float | _Bounded) -> dict[str, Any]:
    bounded = value if isinstance(value, _Bounded) else _Bounded(value, row.low, row.high)
    judged = math.isfinite(bounded.value) and (
        math.isfinite(bounded.low) or math.isfinite(bounded.high)
    )
    return {
        "test": row.test,
        "statistic": row.name,
        "value": float(bounded.value),
        "low": bounded.low,
        "high": bounded.high,
        "ok": bounded.low <= bounded.value <= bounded.high if judged else None,
        **dict(zip(REAL_SHOPS, row.real, strict=True)),
        "others": row.others,
    }


def _columns(shop: Any, table: str, *names: str) -> pd.DataFrame:
    """The columns of a table, or `_NotThereError`: an older shop, or one with nothing in it."""
    try:
        frame = getattr(shop, table)
    except (AttributeError, KeyError):
        raise _NotThereError(table) from None
    if not len(frame) or not set(names) <= set(frame.columns):
        raise _NotThereError(table)
    found: pd.DataFrame = frame[list(names)]
    return found


def _truth(shop: Any, name: str) -> Any:
    try:
        return getattr(shop.truth, name)
    except (AttributeError, KeyError):
        raise _NotThereError(name) from None


# --- the sections of the table; each returns one value for each of its rows


def _popularity(shop: Any, popularity: str, histories: str) -> list[float | _Bounded]:
    counts = _columns(shop, popularity, "item")["item"].value_counts().to_numpy()
    tail = tail_exponent(counts, min_tail=max(_MIN_TAIL, int(_TAIL_SHARE * len(counts))))
    shares = [top_share(counts, share) for share in (0.01, 0.1)]
    return [gini(counts), *shares, tail.alpha, tail.xmin or math.nan, tail.ks]


def _sessions(shop: Any, popularity: str, histories: str) -> list[float | _Bounded]:
    clicks = _columns(shop, "clicks", "session", "item", "timestamp")
    clicks = clicks.sort_values(["session", "timestamp"], kind="stable")
    category = _columns(shop, "products", "category")["category"]
    session = clicks["session"].to_numpy()
    steps = category_transitions(session, pd.factorize(category)[0][clicks["item"]])
    same = steps.trace() / steps.sum() if steps.any() else math.nan
    lengths = session_lengths(session)
    return [*lengths[:3], *repeat_statistics(session, clicks["item"]), float(same)]


def _positions(shop: Any, popularity: str, histories: str) -> list[float | _Bounded]:
    shown = _columns(shop, "impressions", "request", "user", "position", "policy", "click")
    shown = shown[(shown["policy"] == "uniform").to_numpy()]
    devices = _columns(shop, "users", "device")["device"].to_numpy()
    desktop = devices[shown["user"].to_numpy(np.int64)] == "desktop"
    values: list[float | _Bounded] = [_largest_rise(shown)]
    truth = shop.config.eta
    for rows, eta in ((~desktop, truth), (desktop, getattr(shop.config, "eta_desktop", truth))):
        part = shown[rows]
        fit = fitted_eta(part["request"], part["position"], part["click"], first=_SECOND)
        tolerance = max(_ETA_TOLERANCE, 3 * fit.se)
        values += [_Bounded(fit.value, eta - tolerance, eta + tolerance), fit.se]
    return values


def _largest_rise(shown: pd.DataFrame) -> float:
    """Largest rise of the click rate from one position to the next, in standard errors."""
    curve = position_curve(shown["position"], shown["click"])
    if len(curve) < 2:
        return math.nan
    rise = np.diff(curve["ctr"])
    return float((rise / np.sqrt(curve["se"][1:].to_numpy() ** 2 + curve["se"][:-1] ** 2)).max())


def _buying(shop: Any, popularity: str, histories: str) -> list[float | _Bounded]:
    sessions = _columns(shop, "sessions", "session", "start")
    bought = _columns(shop, "purchases", "session")["session"]
    parts = conversion_by_weekend(sessions["session"], sessions["start"], bought)
    return [session_conversion(sessions["session"], bought), *parts]


def _planning(shop: Any, popularity: str, histories: str) -> list[float | _Bounded]:
    return [planner_gain(CHECKS[name]).planner for name in ("control", "default", "longterm")]


def _histories(shop: Any, popularity: str, histories: str) -> list[float | _Bounded]:
    events = _columns(shop, histories, "user", "item")
    users, _ = five_core(events["user"], events["item"])
    lengths = session_lengths(users, min_length=1)
    size = (shop.config.n_users, shop.config.n_items)
    return [*lengths[:3], float(lengths.n), density(events["user"], events["item"], size=size)]


def _dwell(shop: Any, popularity: str, histories: str) -> list[float | _Bounded]:
    low, middle, high = dwell(_columns(shop, "clicks", "dwell")["dwell"])
    return [middle, low, high]


def _queries(shop: Any, popularity: str, histories: str) -> list[float | _Bounded]:
    queries = _columns(shop, "queries", "request", "text")
    titles = _columns(shop, "products", "title")["title"].tolist()
    words = query_statistics(titles, queries["text"].tolist())
    return [words.unknown_words, words.unknown_queries]


def _overlap(shop: Any, popularity: str, histories: str) -> list[float | _Bounded]:
    grades = _truth(shop, "grades")
    queries = _columns(shop, "queries", "request", "text").head(_N_PAIRED)
    shown = _columns(shop, "impressions", "request", "item")
    shown = shown[shown["request"].isin(queries["request"])]
    requests, items = (shown[name].to_numpy(np.int64) for name in ("request", "item"))
    random = shop.config.stream("realism labels")
    labels = human_labels(grades(requests, items[:, None])[:, 0], random)
    row = pd.Index(queries["request"]).get_indexer(requests)
    titles = _columns(shop, "products", "title")["title"].tolist()
    words = query_statistics(titles, queries["text"].tolist(), (row, items, labels))
    return [words.overlap_correlation]


def _propensities(shop: Any, popularity: str, histories: str) -> list[float | _Bounded]:
    shown = _columns(shop, "impressions", "propensity", "position")
    left = shop.config.n_candidates + 1 - shown["position"].to_numpy(np.int64)
    fit = propensity_check(shown["propensity"], left)
    return [(fit.value - 1) / fit.se]


def _first_slots(shop: Any, popularity: str, histories: str) -> list[float | _Bounded]:
    candidates, leaf = _truth(shop, "candidates"), _truth(shop, "requests")
    shown = _columns(shop, "impressions", "request", "item", "position", "policy")
    first = shown[((shown["position"] == 1) & (shown["policy"] == "uniform")).to_numpy()]
    requests = first["request"].to_numpy(np.int64)
    items = first["item"].to_numpy(np.int64)
    there: NDArray[np.int64] = np.asarray(candidates(requests), dtype=np.int64)
    probs = np.full(there.shape, 1 / there.shape[1])
    shelves = leaf.set_index("request")["leaf"].reindex(requests).to_numpy(np.int64)
    by_shelf = first_slot_check(shelves, items, there, probs)
    column = (there == items[:, None]).argmax(1)  # few requests: the same place of all shelves
    places = np.broadcast_to(np.arange(there.shape[1]), there.shape)
    by_place = first_slot_check(np.zeros_like(column), column, places, probs)
    return [by_shelf.p, by_place.p]


_SECTIONS: dict[str, Callable[[Any, str, str], list[float | _Bounded]]] = {
    "popularity": _popularity,
    "sessions": _sessions,
    "positions": _positions,
    "buying": _buying,
    "planning": _planning,
    "histories": _histories,
    "dwell": _dwell,
    "queries": _queries,
    "overlap": _overlap,
    "propensities": _propensities,
    "first_slots": _first_slots,
}
