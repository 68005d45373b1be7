"""Dirty data: faults made on purpose in a shop's tables, and functions that find them.

A fault is found by a statement that clean data keep and dirty data break. Judged against the log
of what was soiled,

    precision = |found & soiled| / |found|,    recall = |found & soiled| / |soiled|.

Where the statement is about chance, the evidence is a log likelihood ratio, sum log(p_1 / p_0). By
Markov's inequality it passes log(n / alpha) for one of n innocents with probability alpha at most.

Source: confident learning for wrong labels, Northcutt, Jiang and Chuang (2021),
arXiv:1911.00068; median and MAD, Iglewicz and Hoaglin (1993).

Differences from the paper:

1. Confident learning: a product is wrong if another leaf is confident and also the most probable
   one (the paper's "prune by noise rate" ranks and cuts by the estimated joint); three folds.
2. Robust z: scale 1.4826 MAD, at least .1 (no floor), threshold 5 (3.5), since a unit mistake is
   4.6 away in log price.

Chapter: shop/data_quality.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import rankdata

from reclib.shop._config import DAY, START
from reclib.shop._corruption import corrupt, restore
from reclib.shop._faults import HOUR, KINDS, Faults

__all__ = [
    "ATTRIBUTES",
    "KINDS",
    "Detection",
    "Faults",
    "corrupt",
    "detection",
    "find_before_signup",
    "find_bots",
    "find_duplicate_events",
    "find_duplicate_products",
    "find_flipped_labels",
    "find_leaked_columns",
    "find_out_of_order",
    "find_shifted_regions",
    "find_unit_mistakes",
    "find_wrong_categories",
    "find_wrong_propensities",
    "repair_encoding",
    "restore",
    "tables_of",
]

ATTRIBUTES = (
    "colour", "material", "pattern", "style", "audience", "season", "size", "feature", "origin",
)  # fmt: skip
Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


class Detection(NamedTuple):
    """How well a detector did.

    Attributes:
        precision: share of what was found that is soiled; NaN if nothing was found.
        recall: share of what is soiled that was found; NaN if nothing is soiled.
        n: how many keys are soiled.
    """

    precision: float
    recall: float
    n: int


def tables_of(shop: Any) -> dict[str, pd.DataFrame]:
    """The public tables of a shop by name, and ``pictures``: which file each product shows.

    ``pictures`` has columns item, picture (the item the picture was made for) and truncated.
    """
    names = [field.name for field in fields(shop)]
    tables = {name: getattr(shop, name) for name in names}
    tables = {name: table for name, table in tables.items() if isinstance(table, pd.DataFrame)}
    items = tables["products"]["item"].to_numpy()
    tables["pictures"] = pd.DataFrame({"item": items, "picture": items, "truncated": False})
    return tables


def detection(
    found: Iterable[Any], log: pd.DataFrame, kind: str, *, table: str | None = None
) -> Detection:
    """Precision and recall of ``found`` against the log.

    Args:
        found: keys as in the log: items, users, sessions, regions, hours, column names, or rows of
            the dirty table; repeats count once.
        log: of `corrupt`.
        kind: one of `KINDS`.
        table: judge against the log's entries of this table only; needed where keys are rows.
    """
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {KINDS}, got {kind!r}")
    mine = log[log["kind"] == kind]
    if table is not None:
        mine = mine[mine["table"] == table]
    soiled, named = set(mine["key"]), set(found)
    hits = len(soiled & named)
    precision = hits / len(named) if named else float("nan")
    return Detection(precision, hits / len(soiled) if soiled else float("nan"), len(soiled))


# Products.


def find_duplicate_products(
    products: pd.DataFrame, *, similarity: float = 70.0, price_gap: float = 0.02
) -> pd.DataFrame:
    """Pairs with the same brand and attributes, nearly the same words and the same price.

    Only pairs that agree in brand and all attributes are compared (blocking), not all I^2 / 2.
    The leaf is no part of it, since it may be wrong, and a missing price is no objection. Words are
    sorted before they are compared, so their order does not matter.

    Args:
        products: item, title, price, brand, and those of `ATTRIBUTES` that there are.
        similarity: least normalised Indel similarity of the sorted words, 0 to 100.
        price_gap: greatest difference of log prices.

    Returns:
        item (the higher id), duplicate_of, similarity; one row for each pair.

    Raises:
        ImportError: without the extra ``quality``.
    """
    try:
        from rapidfuzz import fuzz, process, utils
    except ImportError as error:
        raise ImportError("duplicates need rapidfuzz: pip install -e '.[quality]'") from error
    pairs: list[tuple[int, int, float]] = []
    alike_in = [name for name in ("brand", *ATTRIBUTES) if name in products]
    for _, block in products.groupby(alike_in, dropna=False, observed=True):
        if len(block) < 2:
            continue
        titles, items = block["title"].tolist(), block["item"].to_numpy()
        alike = process.cdist(
            titles, titles, scorer=fuzz.token_sort_ratio, processor=utils.default_process
        )
        prices = np.log(block["price"].to_numpy(float))
        apart = np.abs(prices[:, None] - prices) > price_gap  # False where a price is missing
        first, second = np.nonzero(np.triu((alike >= similarity) & ~apart, 1))
        low = np.minimum(items[first], items[second]).tolist()
        high = np.maximum(items[first], items[second]).tolist()
        pairs += zip(high, low, alike[first, second].tolist(), strict=True)
    return pd.DataFrame(sorted(pairs), columns=["item", "duplicate_of", "similarity"])


def find_wrong_categories(
    products: pd.DataFrame, *, n_folds: int = 3, seed: int = 0
) -> pd.DataFrame:
    """Products whose words belong to another leaf (confident learning).

    Words predict the leaf out of fold: TF-IDF and logistic regression. A leaf is confident of a
    product if its probability is at least the mean probability of that leaf among the products
    labelled so. Wrong is a product whose most probable leaf is another one and confident.

    Args:
        products: item, title, leaf.
        n_folds: at least 2.
        seed: of the folds.

    Returns:
        item, leaf, suggestion, probability of the suggestion; most probable first.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    if n_folds < 2:
        raise ValueError(f"n_folds must be at least 2, got {n_folds}")
    leaves, labels = np.unique(products["leaf"].to_numpy(str), return_inverse=True)
    words = TfidfVectorizer(sublinear_tf=True).fit_transform(products["title"])
    folds = np.random.default_rng(seed).permutation(len(products)) % n_folds
    probs = np.zeros((len(products), len(leaves)))  # (I, leaves)
    for fold in range(n_folds):
        train, test = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
        model = LogisticRegression(C=10.0).fit(words[train], labels[train])
        probs[test[:, None], model.classes_] = model.predict_proba(words[test])
    rows = np.arange(len(products))
    size = np.bincount(labels)
    threshold = np.bincount(labels, probs[rows, labels]) / size  # (leaves,)
    best = np.where(probs >= threshold, probs, 0).argmax(1)
    wrong = np.flatnonzero((best != labels) & (best == probs.argmax(1)))
    found = products.iloc[wrong][["item", "leaf"]].assign(
        suggestion=leaves[best[wrong]], probability=probs[wrong, best[wrong]]
    )
    return found.sort_values("probability", ascending=False, ignore_index=True)


def find_unit_mistakes(products: pd.DataFrame, *, threshold: float = 5.0) -> Ints:
    """Items whose log price is far above its leaf's: (x - median) / (1.4826 MAD) > threshold.

    A mean and a standard deviation would be moved by the very mistake they should find. The scale
    is at least .1, for leaves of one or two products.

    Args:
        products: item, leaf, price.
        threshold: in robust standard deviations.
    """
    price = np.log(products["price"])
    gap = price - price.groupby(products["leaf"]).transform("median")
    scale = 1.4826 * gap.abs().groupby(products["leaf"]).transform("median")
    wrong = gap / scale.clip(lower=0.1) > threshold  # a missing price is not above
    return products["item"].to_numpy(np.int64)[wrong.to_numpy()]


def repair_encoding(titles: pd.Series) -> pd.Series:
    """Titles with mojibake read again as what they were; the others as they are.

    Text that can be written as Windows-1252 and read back as UTF-8 and then differs is mojibake: a
    proper accent alone is no valid UTF-8 and stays. ``items[repaired != titles]`` are the damaged.
    """
    return titles.map(_read_again)


def _read_again(title: str) -> str:
    try:
        return title.encode("cp1252").decode("utf-8")
    except UnicodeError:
        return title


def find_leaked_columns(
    products: pd.DataFrame, purchases: pd.DataFrame, at: int, *, threshold: float = 0.5
) -> pd.DataFrame:
    """Number columns that know more about sales after ``at`` than sales before it can tell.

    The partial rank correlation of a column with later sales, given earlier sales: an honest
    column has little left to say, a leaked one nearly everything. Products that arrive after
    ``at`` are left out where ``arrival_day`` tells; those without a value count as the lowest.

    Args:
        products: item and number columns.
        purchases: item, timestamp.
        at: UTC seconds; the columns claim to be known then.
        threshold: least absolute partial correlation.

    Returns:
        column, correlation (partial); strongest first.
    """
    if "arrival_day" in products:
        products = products[START + DAY * products["arrival_day"] <= at]
    items, later = purchases["item"].to_numpy(), purchases["timestamp"].to_numpy() >= at
    size = 1 + max(int(products["item"].max()), int(items.max(initial=0)))
    chosen = products["item"].to_numpy()
    past = rankdata(np.bincount(items[~later], minlength=size)[chosen])
    future = rankdata(np.bincount(items[later], minlength=size)[chosen])
    rows = []
    for name in products.columns.drop("item"):
        if pd.api.types.is_numeric_dtype(products[name]):
            column = rankdata(products[name].fillna(-np.inf))
            rows.append((name, _partial(column, future, past)))
    found = pd.DataFrame(rows, columns=["column", "correlation"])
    found = found[found["correlation"].abs() >= threshold]
    return found.sort_values("correlation", key=abs, ascending=False, ignore_index=True)


def _partial(x: Floats, y: Floats, given: Floats) -> float:
    """Correlation of what a straight line in ``given`` leaves of x and of y; 0 if nothing."""
    centred = given - given.mean()
    left = []
    for values in (x, y):
        values = values - values.mean()
        slope = values @ centred / max(centred @ centred, 1e-12)
        left.append(values - slope * centred)
    size = float(np.linalg.norm(left[0]) * np.linalg.norm(left[1]))
    return float(left[0] @ left[1]) / size if size > 1e-6 else 0.0


# Events.


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


def find_out_of_order(clicks: pd.DataFrame, impressions: pd.DataFrame) -> Ints:
    """Rows of clicks on a product before the session first showed it.

    Clicks without any impression cannot be judged and are not named.

    Args:
        clicks: session, item, timestamp.
        impressions: session, item, timestamp.
    """
    first = impressions.groupby(["session", "item"])["timestamp"].min().rename("shown")
    shown = clicks[["session", "item"]].join(first, on=["session", "item"])["shown"]
    return np.flatnonzero(clicks["timestamp"] < shown.to_numpy())


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


def find_wrong_propensities(impressions: pd.DataFrame, *, threshold: float = 5.0) -> pd.DataFrame:
    """Hours in which 1 / propensity has another mean than at the same position at all hours.

    The mean of 1 / p over what was shown is the number of products that could be shown, whatever
    the policy. z = (mean / expected - 1) sqrt(n) / sd, with the standard deviation of all hours,
    since a wrong hour's own is wrong too.

    Args:
        impressions: position, timestamp, propensity.
        threshold: least absolute z.

    Returns:
        hour (since 1970), n, ratio (of the mean to what is expected), z; greatest |z| first.
    """
    weight = 1 / impressions["propensity"]
    weight = weight / weight.groupby(impressions["position"]).transform("mean")
    found = weight.groupby(impressions["timestamp"] // HOUR).agg(["size", "mean"])
    found = found.rename_axis("hour").reset_index()
    found.columns = ["hour", "n", "ratio"]
    found["z"] = (found["ratio"] - 1) * np.sqrt(found["n"]) / weight.std()
    found = found[found["z"].abs() >= threshold]
    return found.sort_values("z", key=abs, ascending=False, ignore_index=True)
