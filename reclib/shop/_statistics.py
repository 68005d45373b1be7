"""Statistics of a shop's log that can be set beside those of real shops; arrays in, numbers out.

See `reclib.shop.realism`, which is the public door to them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.optimize.elementwise import find_root
from scipy.special import zeta
from scipy.stats import spearmanr

from reclib.shop._config import DAY, START

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_STEP = 1e-5  # of the numerical derivative of log zeta
_ALPHAS = (1.0001, 30.0)  # where alpha is looked for
_WORD, _LETTERS = r"[^\W_]+", r"[^\W\d_]+"


class Tail(NamedTuple):
    """A power-law tail: P(x) = x ** -alpha / zeta(alpha, xmin) for integers x >= xmin.

    Attributes:
        alpha: exponent; NaN where no tail holds enough values.
        xmin: first value of the tail.
        ks: largest distance between the tail's distribution and the law.
        n: values in the tail.
    """

    alpha: float
    xmin: int
    ks: float
    n: int


class Lengths(NamedTuple):
    """Mean, median and 95th percentile of sizes, and how many there are."""

    mean: float
    median: float
    p95: float
    n: int


class QueryWords(NamedTuple):
    """What queries say that titles do not.

    Attributes:
        unknown_words: share of the queries' words of 4 letters and more that occur in no title.
        unknown_queries: share of queries with such a word.
        overlap_correlation: Spearman correlation of the share of a query's words that the title
            holds with the pair's label; NaN without pairs.
    """

    unknown_words: float
    unknown_queries: float
    overlap_correlation: float


def gini(counts: ArrayLike) -> float:
    """Gini coefficient: 0 where all counts are equal, (n - 1) / n where one holds everything.

    Args:
        counts: (I,) >= 0; zeros count, so drop them to compare with data that cannot hold any.
    """
    ordered = np.sort(_counts(counts))
    n = len(ordered)
    return float((2 * np.arange(1, n + 1) - n - 1) @ ordered / (n * ordered.sum()))


def top_share(counts: ArrayLike, share: float) -> float:
    """Share of all counts that the largest floor(share I), at least one, hold.

    Args:
        counts: (I,) >= 0.
        share: in (0, 1].
    """
    if not 0 < share <= 1:
        raise ValueError(f"share must be above 0 and at most 1, got {share}")
    ordered = np.sort(_counts(counts))[::-1]
    n_top = max(1, int(share * len(ordered) + 1e-9))
    return float(ordered[:n_top].sum() / ordered.sum())


def tail_exponent(counts: ArrayLike, *, xmin: int | None = None, min_tail: int = 50) -> Tail:
    """Exponent of a power-law tail by maximum likelihood for integers.

    alpha maximises -n log zeta(alpha, xmin) - alpha sum log x over the n counts x >= xmin; xmin is
    the value with the smallest Kolmogorov-Smirnov distance.

    Args:
        counts: (I,) integers >= 0; zeros are left out.
        xmin: the tail's first value, if it is known, >= 1.
        min_tail: fewest counts of a tail that is tried.

    Source: Clauset, Shalizi and Newman (2009), section 3.
    """
    row = _counts(counts)
    if xmin is not None and xmin < 1:
        raise ValueError(f"xmin must be at least 1, got {xmin}")
    values, times = np.unique(row[row > 0], return_counts=True)
    above = times[::-1].cumsum()[::-1]  # (X,) counts >= each value
    log_sums = (times * np.log(values))[::-1].cumsum()[::-1]
    tried = (above >= min_tail) & (values < values[-1])  # of one value only, alpha is infinite
    first = values[tried] if xmin is None else np.array([float(xmin)])
    at = np.searchsorted(values, first)
    if not len(first) or at[0] >= len(values) - 1:
        return Tail(np.nan, 0, np.nan, 0)
    n = above[at]
    alpha = _alpha(first, log_sums[at] / n)
    # P(X >= x) jumps at the values seen: compare there and just after.
    after = np.append(above[1:], 0)
    distances = []
    for x, seen in ((values, above), (values + 1, after)):
        law = zeta(alpha[:, None], x) / zeta(alpha, first)[:, None]
        distances.append(np.where(values >= first[:, None], abs(seen / n[:, None] - law), 0).max(1))
    ks = np.maximum(*distances)
    best = int(ks.argmin())
    return Tail(float(alpha[best]), int(first[best]), float(ks[best]), int(n[best]))


def session_lengths(groups: ArrayLike, *, min_length: int = 2) -> Lengths:
    """Sizes of the groups (sessions, or users' histories) of at least ``min_length`` events.

    Args:
        groups: (N,) ids, one an event.
        min_length: smallest group that counts, >= 1.
    """
    sizes = np.unique(np.asarray(groups), return_counts=True)[1]
    sizes = sizes[sizes >= min_length]
    if not len(sizes):
        return Lengths(np.nan, np.nan, np.nan, 0)
    p95 = float(np.percentile(sizes, 95))
    return Lengths(float(sizes.mean()), float(np.median(sizes)), p95, len(sizes))


def repeat_statistics(
    sessions: ArrayLike, items: ArrayLike, *, min_length: int = 2
) -> tuple[float, float]:
    """Share of sessions with a repeated item, and share of clicks that repeat one.

    Args:
        sessions: (N,) ids, one a click.
        items: (N,) ids.
        min_length: sessions of fewer clicks are left out of both shares.
    """
    session_ids, item_ids = aligned("sessions items", sessions, items)
    if not len(session_ids):
        return np.nan, np.nan
    _, session, sizes = np.unique(session_ids, return_inverse=True, return_counts=True)
    distinct = np.bincount(np.unique(np.stack([session, item_ids], 1), axis=0)[:, 0])
    kept = sizes >= min_length
    if not kept.any():
        return np.nan, np.nan
    sizes, distinct = sizes[kept], distinct[kept]
    return float((distinct < sizes).mean()), float(1 - distinct.sum() / sizes.sum())


def category_transitions(sessions: ArrayLike, categories: ArrayLike) -> Ints:
    """Counts of the steps from one click of a session to its next.

    Args:
        sessions: (N,) ids; within a session rows are in order of time.
        categories: (N,) codes >= 0.

    Returns:
        (C, C) from row to column; the diagonal's share is the same-category share.
    """
    session_ids, codes = aligned("sessions categories", sessions, categories)
    order = np.argsort(session_ids, kind="stable")
    session_ids, codes = session_ids[order], codes[order]
    n = int(codes.max()) + 1 if len(codes) else 0
    step = session_ids[1:] == session_ids[:-1]
    pairs = codes[:-1][step] * n + codes[1:][step]
    return np.bincount(pairs, minlength=n * n).reshape(n, n)


def session_conversion(sessions: ArrayLike, buying_sessions: ArrayLike) -> float:
    """Share of the ``sessions`` (S,) among whose ids ``buying_sessions`` (N,) names at least once.

    Ids of ``buying_sessions`` that are not in ``sessions`` are left out; NaN without sessions.
    """
    ids = np.unique(np.asarray(sessions))
    if not len(ids):
        return np.nan
    return float(np.isin(ids, np.asarray(buying_sessions)).mean())


def conversion_by_weekend(
    sessions: ArrayLike, starts: ArrayLike, buying_sessions: ArrayLike
) -> tuple[float, float]:
    """Conversion of sessions that start on Monday to Friday, and on Saturday and Sunday, UTC."""
    session_ids, seconds = aligned("sessions starts", sessions, starts)
    weekend = (seconds - START) // DAY % 7 >= 5  # day 0 is a Monday
    return (
        session_conversion(session_ids[~weekend], buying_sessions),
        session_conversion(session_ids[weekend], buying_sessions),
    )


def five_core(users: ArrayLike, items: ArrayLike, *, k: int = 5) -> tuple[Ints, Ints]:
    """Distinct pairs left when users and items with fewer than ``k`` are taken out until none is.

    Args:
        users: (N,) ids.
        items: (N,) ids.
        k: fewest distinct partners.

    Returns:
        (M,) users and (M,) items, sorted by user and item; empty where no core exists.
    """
    user_ids, item_ids = aligned("users items", users, items)
    if not len(user_ids):
        return user_ids, item_ids
    user_ids, item_ids = np.unique(np.stack([user_ids, item_ids], 1), axis=0).T
    while len(user_ids):
        many_items = np.bincount(user_ids)[user_ids] >= k
        keep = many_items & (np.bincount(item_ids)[item_ids] >= k)
        if keep.all():
            break
        user_ids, item_ids = user_ids[keep], item_ids[keep]
    return user_ids, item_ids


def density(users: ArrayLike, items: ArrayLike, *, size: tuple[int, int] | None = None) -> float:
    """Distinct pairs / (users x items); NaN without pairs.

    Args:
        users: (N,) ids.
        items: (N,) ids.
        size: numbers of users and items; None: of those that are there.
    """
    user_ids, item_ids = aligned("users items", users, items)
    if not len(user_ids):
        return np.nan
    n_users, n_items = size or (len(np.unique(user_ids)), len(np.unique(item_ids)))
    return len(np.unique(np.stack([user_ids, item_ids], 1), axis=0)) / (n_users * n_items)


def dwell(seconds: ArrayLike) -> tuple[float, float, float]:
    """Lower quartile, median and upper quartile of times on a product's page, NaN left out."""
    times = np.asarray(seconds, dtype=float)
    times = times[~np.isnan(times)]
    if not len(times):
        return np.nan, np.nan, np.nan
    low, middle, high = np.percentile(times, [25, 50, 75])
    return float(low), float(middle), float(high)


def query_statistics(
    titles: Sequence[str],
    queries: Sequence[str],
    pairs: tuple[ArrayLike, ArrayLike, ArrayLike] | None = None,
) -> QueryWords:
    """How far the words of queries are from the words of titles.

    Args:
        titles: one a product.
        queries: one a request; equal texts count as often as they come.
        pairs: (P,) rows of ``queries``, (P,) rows of ``titles``, (P,) labels.

    Returns:
        Shares over words (runs of letters) and queries, and the correlation over pairs (words:
        runs of letters and digits).
    """
    title_words, query_words = _words(titles, _LETTERS), _words(queries, _LETTERS)
    long = query_words[query_words.str.len() >= 4]
    unknown = long[~long.isin(pd.unique(title_words))]
    shares = len(unknown) / len(long) if len(long) else np.nan
    with_unknown = unknown.index.nunique() / len(queries) if len(queries) else np.nan
    correlation = np.nan
    if pairs is not None:
        rows, columns = aligned("queries titles", *pairs[:2])
        overlap = _overlap(_words(titles, _WORD), _words(queries, _WORD), rows, columns)
        correlation = float(spearmanr(overlap, np.asarray(pairs[2])).statistic)
    return QueryWords(float(shares), float(with_unknown), correlation)


# --- helpers


def _counts(counts: ArrayLike) -> Floats:
    row = np.asarray(counts, dtype=float)
    if row.ndim != 1:
        raise ValueError(f"counts must have one dimension, got shape {row.shape}")
    if not (row >= 0).all() or not row.any():
        raise ValueError(f"counts must be at least 0 and not all 0, got {row}")
    return row


def aligned(names: str, *columns: ArrayLike) -> list[Ints]:
    """The columns, named one after the other in ``names``, as int64 of one dimension and length."""
    arrays = [np.asarray(column) for column in columns]
    first, *_ = names.split()
    for name, array in zip(names.split(), arrays, strict=True):
        if array.ndim != 1 or len(array) != len(arrays[0]):
            raise ValueError(
                f"{name} must have one dimension and the length of {first}, {arrays[0].shape}, "
                f"got {array.shape}"
            )
    return [array.astype(np.int64) for array in arrays]


def _alpha(first: Floats, log_mean: Floats) -> Floats:
    """Exponents at which the law's mean of log x, -(log zeta)', is the observed one."""

    def slope(alpha: Floats, first: Floats, log_mean: Floats) -> Floats:
        up, down = zeta(alpha + _STEP, first), zeta(alpha - _STEP, first)
        return (np.log(up) - np.log(down)) / (2 * _STEP) + log_mean

    low, high = (np.full(len(first), bound) for bound in _ALPHAS)
    alpha = find_root(slope, (low, high), args=(first, log_mean)).x
    return np.nan_to_num(alpha, nan=_ALPHAS[1])  # almost all of the tail is one value


def _words(texts: Sequence[str], pattern: str) -> pd.Series:
    """The words of each text in lower case; the index is the text's row."""
    found = pd.Series(list(texts), dtype=object).str.lower().str.findall(pattern)
    return found.explode().dropna().astype(str)


def _overlap(titles: pd.Series, queries: pd.Series, rows: Ints, columns: Ints) -> Floats:
    """(P,) share of the words of each pair's query that its title holds."""
    codes, _ = pd.factorize(pd.concat([titles, queries]))
    title_codes, query_codes = codes[: len(titles)].astype(np.int64), codes[len(titles) :]
    width = int(codes.max()) + 1 if len(codes) else 1
    held = np.unique(titles.index.to_numpy() * width + title_codes)
    # All words of all pairs' queries, one under the other.
    starts = np.searchsorted(queries.index.to_numpy(), rows)
    n_words = np.searchsorted(queries.index.to_numpy(), rows, side="right") - starts
    pair = np.repeat(np.arange(len(rows)), n_words)
    offset = np.arange(len(pair)) - np.repeat(n_words.cumsum() - n_words, n_words)
    word = query_codes[np.repeat(starts, n_words) + offset]
    hit = np.isin(columns[pair] * width + word, held)
    hits = np.bincount(pair, weights=hit, minlength=len(rows))
    return hits / np.maximum(n_words, 1)
