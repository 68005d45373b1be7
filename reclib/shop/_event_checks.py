"""Detectors of faults in the log of events; `reclib.shop.data_quality` offers them."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from reclib.shop._config import DAY, START
from reclib.shop._faults import HOUR

Ints = NDArray[np.int64]


def find_duplicate_events(events: pd.DataFrame, *, seconds: int = 3) -> Ints:
    """Rows that repeat another row within a few seconds, equal in all but the time.

    Args:
        events: a table with ``timestamp``.
        seconds: longest time from the row before it.
    """
    same = [name for name in events.columns if name != "timestamp"]
    order = np.lexsort((events["timestamp"], events.groupby(same, observed=True).ngroup()))
    group = events.groupby(same, observed=True).ngroup().to_numpy()[order]
    gap = np.diff(events["timestamp"].to_numpy()[order])
    again = (np.diff(group) == 0) & (gap <= seconds)
    return np.sort(order[1:][again])


def find_bots(
    impressions: pd.DataFrame, clicks: pd.DataFrame, *, alpha: float = 0.05
) -> pd.DataFrame:
    """Customers whose clicks ignore the position: people look at the top first, bots do not.

    Evidence is the log likelihood ratio of a user's click positions, sum log(u_k / h_k), with u_k
    the share of impressions and h_k that of clicks at position k; a user is a bot if it passes
    log(U / alpha).

    Args:
        impressions: user, position, click.
        clicks: user, position; position 0 (a second look) is left out.
        alpha: probability of any false alarm, if all people click by h.

    Returns:
        user, clicks, rate (in clicks of the median user), evidence (nats); strongest first.
    """
    shown = np.bincount(impressions["position"]).astype(float)
    clicks = clicks[clicks["position"] > 0]
    clicked = np.bincount(clicks["position"], minlength=len(shown)).astype(float)
    ratio = np.log((shown + 1) / shown.sum()) - np.log((clicked + 1) / clicked.sum())  # (K + 1,)
    evidence = pd.Series(ratio[clicks["position"]]).groupby(clicks["user"].to_numpy())
    found = evidence.agg(["size", "sum"]).rename_axis("user").reset_index()
    found.columns = ["user", "clicks", "evidence"]
    found.insert(2, "rate", found["clicks"] / found["clicks"].median())
    found = found[found["evidence"] > np.log(impressions["user"].nunique() / alpha)]
    return found.sort_values("evidence", ascending=False, ignore_index=True)


def find_shifted_regions(
    sessions: pd.DataFrame, users: pd.DataFrame, *, alpha: float = 0.01
) -> pd.DataFrame:
    """Regions whose day is that of the others, some hours later or earlier.

    The hours of a region's sessions are compared with the median region's day, turned by 0 to 23
    hours; the best turn counts if its log likelihood passes that of none by log(24 R / alpha).

    Args:
        sessions: user, start.
        users: user, region.
        alpha: probability of any false alarm.

    Returns:
        region, hours (its clock is fast by so many, -11 to 12), evidence (nats).
    """
    region = users.set_index("user")["region"].reindex(sessions["user"]).to_numpy()
    hour = sessions["start"].to_numpy() // HOUR % 24
    table = pd.crosstab(region, hour).reindex(columns=range(24), fill_value=0)
    counts = table.to_numpy(float)  # (R, 24)
    day = np.median((counts + 0.5) / (counts + 0.5).sum(1, keepdims=True), axis=0)
    turned = np.stack([np.roll(day, shift) for shift in range(24)], 1)  # (24 hours, 24 turns)
    fit = counts @ np.log(turned / day.sum())
    hours = fit.argmax(1)
    evidence = fit.max(1) - fit[:, 0]
    signed = (hours + 11) % 24 - 11
    found = pd.DataFrame({"region": table.index, "hours": signed, "evidence": evidence})
    return found[evidence > np.log(24 * len(counts) / alpha)].reset_index(drop=True)


def find_out_of_order(
    clicks: pd.DataFrame, impressions: pd.DataFrame, sessions: pd.DataFrame
) -> Ints:
    """Rows of clicks before their session began or their product was shown.

    A click on a slate (position from 1) comes after the first impression in its session; a second
    look (position 0) may be at a product of another day, so only the session's start binds it.

    Args:
        clicks: session, item, position, timestamp.
        impressions: session, item, timestamp.
        sessions: session, start.
    """
    shown = impressions.groupby(["session", "item"])["timestamp"].min().rename("shown")
    shown = clicks[["session", "item"]].join(shown, on=["session", "item"])["shown"]
    start = sessions.set_index("session")["start"].reindex(clicks["session"]).to_numpy()
    since = np.fmax(start, shown.where(clicks["position"] > 0).to_numpy())  # NaN: not shown
    return np.flatnonzero(clicks["timestamp"] < since)


def find_before_signup(sessions: pd.DataFrame, users: pd.DataFrame) -> Ints:
    """Sessions that start before the day on which their customer signed up.

    Args:
        sessions: session, user, start.
        users: user, signup_day (day 0 is the first of the log).
    """
    day = users.set_index("user")["signup_day"].reindex(sessions["user"]).to_numpy()
    early = sessions["start"].to_numpy() < START + DAY * day
    return sessions["session"].to_numpy(np.int64)[early]


def find_flipped_labels(impressions: pd.DataFrame, clicks: pd.DataFrame) -> Ints:
    """Rows of impressions whose click flag contradicts the table of clicks.

    Each click belongs to the last impression of its session, product and position before it (to
    the next one where there is none: clocks differ).

    Args:
        impressions: session, item, position, timestamp, click.
        clicks: session, item, position, timestamp; position 0 is left out.
    """
    keys = ["session", "item", "position"]
    shown = impressions[[*keys, "timestamp"]].assign(row=np.arange(len(impressions)))
    shown = shown.sort_values("timestamp", kind="stable")
    happened = clicks.loc[clicks["position"] > 0, [*keys, "timestamp"]].sort_values("timestamp")
    rows = pd.merge_asof(happened, shown, on="timestamp", by=keys)["row"]
    ahead = pd.merge_asof(happened, shown, on="timestamp", by=keys, direction="forward")["row"]
    rows = rows.fillna(ahead).dropna().astype(np.int64)
    clicked = np.zeros(len(impressions), bool)
    clicked[rows] = True
    return np.flatnonzero(clicked != impressions["click"].to_numpy())


def find_wrong_propensities(
    impressions: pd.DataFrame, *, cap: float = 5.0, threshold: float = 6.0
) -> pd.DataFrame:
    """Hours in which 1 / propensity has another mean than at the same position at all hours.

    The mean of 1 / p over what was shown is the number of products that could be shown, whatever
    the policy. A few tiny p rule that mean, so weights are cut at ``cap`` times their mean; then
    z = (hour's mean - mean) sqrt(n) / sd, with the sd of all hours: a wrong hour's own is wrong.

    Args:
        impressions: position, timestamp, propensity.
        cap: above 1.
        threshold: least absolute z.

    Returns:
        hour (since 1970), n, ratio (hour's mean / mean), z; greatest absolute z first.
    """
    if not cap > 1:
        raise ValueError(f"cap must be above 1, got {cap}")
    weight = 1 / impressions["propensity"]
    weight /= weight.groupby(impressions["position"]).transform("mean")
    weight = weight.clip(upper=cap)
    found = weight.groupby(impressions["timestamp"] // HOUR).agg(["size", "mean"])
    found = found.rename_axis("hour").reset_index()
    found.columns = ["hour", "n", "ratio"]
    found["ratio"] /= weight.mean()
    found["z"] = (found["ratio"] - 1) * weight.mean() * np.sqrt(found["n"]) / weight.std()
    found = found[found["z"].abs() >= threshold]
    return found.sort_values("z", key=abs, ascending=False, ignore_index=True)
