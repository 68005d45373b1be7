"""How close rankings of a shelf come to the best possible one; see `reclib.shop.realism`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from reclib.shop._config import DAY, START
from reclib.shop._statistics import Floats, Ints

Scorer = Callable[[Ints, Ints], NDArray[np.floating[Any]]]

_CHUNK = 100  # bootstrap samples drawn together


def held_out(shop: Any, *, last_days: int = 7) -> tuple[Ints, Ints]:
    """Requests of the last days that the uniform policy answered: (B,) requests, (B,) users.

    Models that are judged on them must be fitted on events before
    ``START + (n_days - last_days) * DAY``.
    """
    n_days = shop.config.n_days
    if not 1 <= last_days < n_days:
        raise ValueError(f"last_days must be between 1 and {n_days - 1}, got {last_days}")
    shown = shop.impressions
    late = shown["timestamp"].to_numpy() >= START + (n_days - last_days) * DAY
    uniform = (shown["policy"] == "uniform").to_numpy()
    rows = shown.loc[late & uniform, ["request", "user"]].drop_duplicates("request")
    return rows["request"].to_numpy(np.int64), rows["user"].to_numpy(np.int64)


def ranking_check(
    shop: Any,
    models: Mapping[str, Scorer],
    *,
    k: int = 10,
    last_days: int = 7,
    n_draws: int = 1_000,
    n_boot: int = 1_000,
) -> pd.DataFrame:
    """Rank the candidates of held-out requests; 0 is chance and 1 the truth's own order.

    Every candidate's click is drawn ``n_draws`` times from the truth. One half of the draws gives
    the ideal order, the other half judges it and the models: NDCG = DCG of the model / DCG of
    the ideal order, gain = share of draws clicked. Chance is exact, the mean over all orders. The
    normalised value is (model - chance) / (oracle - chance), of means over requests; the oracle
    orders by the true probability. Intervals (95 %) resample customers, the same for all models.

    Args:
        shop: a shop with `impressions` and a truth with ``candidates(requests)`` (B, C) and
            ``request_attraction(requests, items)`` (B, C), P(click) alone in the first place.
        models: name to scorer, ``scorer(users (B,), items (B, C)) -> (B, C)``; equal scores are
            ordered by chance. Name them worst first: each is compared with the one before.
        k: cutoff.
        last_days: see `held_out`; models must not have seen these days.
        n_draws: draws of each click, an even number.
        n_boot: bootstrap samples.

    Returns:
        Rows chance, the models in their order, oracle; columns model, ndcg, normalized, low, high,
        ahead (normalised value less that of the row above), ahead_low, ahead_high, requests.
        Requests of whose candidates none was clicked in the judging half are left out.
    """
    if n_draws < 2 or n_draws % 2:
        raise ValueError(f"n_draws must be even and at least 2, got {n_draws}")
    requests, users = held_out(shop, last_days=last_days)
    if not len(requests):
        raise ValueError(f"shop must have uniform requests in the last {last_days} days, got none")
    items = np.asarray(shop.truth.candidates(requests), dtype=np.int64)
    probs = np.asarray(shop.truth.request_attraction(requests, items), dtype=float)
    random = shop.config.stream("ranking check")
    half = n_draws // 2
    ideal_gain, gain = (random.binomial(half, probs) / half for _ in range(2))
    ties = random.random(items.shape)
    orders = {"ideal": ideal_gain}
    for name, scorer in models.items():
        orders[name] = np.asarray(scorer(users, items), dtype=float)
        if orders[name].shape != items.shape:
            raise ValueError(
                f"{name} must give scores of shape {items.shape}, got {orders[name].shape}"
            )
    orders["oracle"] = probs
    k = min(k, items.shape[1])
    discount = 1 / np.log2(np.arange(2, k + 2))
    dcg = {name: _gains(gain, scores, ties, k) @ discount for name, scores in orders.items()}
    kept = dcg["ideal"] > 0
    values = {name: dcg[name][kept] / dcg["ideal"][kept] for name in orders if name != "ideal"}
    chance = (gain.mean(1) * discount.sum())[kept] / dcg["ideal"][kept]
    return _table({"chance": chance, **values}, users[kept], n_boot, random)


def _gains(gain: Floats, scores: Floats, ties: Floats, k: int) -> Floats:
    """(B, k) gains in the order of the scores, equal scores in the order of ``ties``."""
    ranking = np.lexsort((ties, -scores), axis=1)[:, :k]
    return np.take_along_axis(gain, ranking, axis=1)


def _table(
    values: dict[str, Floats], users: Ints, n_boot: int, random: np.random.Generator
) -> pd.DataFrame:
    """Means, normalised means, and intervals over customers, of (B,) values by model."""
    _, user = np.unique(users, return_inverse=True)
    n_users = int(user.max()) + 1
    above = np.stack(list(values.values()), axis=1)  # (B, M): chance first, oracle last
    above = above - above[:, :1]
    sums = np.stack([np.bincount(user, weights=column) for column in above.T], axis=1)  # (U, M)
    samples = []
    for low in range(0, n_boot, _CHUNK):
        size = min(_CHUNK, n_boot - low)
        samples.append(random.multinomial(n_users, np.full(n_users, 1 / n_users), size) @ sums)
    drawn = np.concatenate(samples)  # (R, M)
    drawn = drawn / drawn[:, -1:]
    normalized = sums.sum(0) / sums.sum(0)[-1]
    low, high = np.percentile(drawn, [2.5, 97.5], axis=0)
    ahead_low, ahead_high = np.percentile(np.diff(drawn, axis=1), [2.5, 97.5], axis=0)
    return pd.DataFrame(
        {
            "model": list(values),
            "ndcg": [float(column.mean()) for column in values.values()],
            "normalized": normalized,
            "low": low,
            "high": high,
            "ahead": np.diff(normalized, prepend=np.nan),
            "ahead_low": np.append(np.nan, ahead_low),
            "ahead_high": np.append(np.nan, ahead_high),
            "requests": len(users),
        }
    )
