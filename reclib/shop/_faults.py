"""Kinds of fault in a shop's tables: how much of each, and which rows they touch.

Every kind plans its changes on the clean tables with its own random stream, so that one kind never
moves another; `reclib.shop._corruption` makes the changes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from reclib.shop._config import DAY, START

Tables = Mapping[str, pd.DataFrame]
HOUR = 3_600
TIMES = {  # tables of events, and their column of time
    "sessions": "start",
    "queries": "timestamp",
    "impressions": "timestamp",
    "clicks": "timestamp",
    "carts": "timestamp",
    "purchases": "timestamp",
    "ratings": "timestamp",
}
_SHELF = ("department", "category", "leaf")
_BOT_CLICKS = 0.4  # share of the slots that a bot clicks, wherever they are


@dataclass(frozen=True)
class Faults:
    """How much of each kind of fault `corrupt` makes; a rate above 0 makes at least one.

    Attributes:
        duplicate_products: share of products entered again under a new id and another title; some
            customers' later events name the copy.
        duplicate_events: share of clicks, carts and purchases sent again within 3 s.
        bots: customers added, as a share of the customers; they click 4 slots in 10, anywhere.
        wrong_category: share of products that stand in another leaf.
        missing_price: share of products without a price.
        unit_mistakes: share of products whose price is in cents instead of euros.
        mojibake: share of titles written as UTF-8 and read as Windows-1252.
        time_zone: share of regions whose clock is 5 to 8 hours fast or slow.
        out_of_order: share of clicks logged 1 minute to 1 hour before they happened.
        before_signup: share of sessions dated up to 30 days before their customer signed up.
        mislabelled_images: share of products that show the picture of another product.
        broken_images: share of pictures whose file is cut short.
        leaked_column: above 0, products have ``sold_total``, sales of the whole log.
        label_flips: share of impressions whose click flag is the wrong way round.
        wrong_propensity: share of hours whose propensities are logged three times too high.
        bot_rate: clicks of a bot in means of all customers, above 0; not a share.
    """

    duplicate_products: float = 0.03
    duplicate_events: float = 0.01
    bots: float = 0.005
    wrong_category: float = 0.02
    missing_price: float = 0.02
    unit_mistakes: float = 0.003
    mojibake: float = 0.005
    time_zone: float = 0.125
    out_of_order: float = 0.005
    before_signup: float = 0.002
    mislabelled_images: float = 0.01
    broken_images: float = 0.005
    leaked_column: float = 1.0
    label_flips: float = 0.005
    wrong_propensity: float = 0.0005
    bot_rate: float = 40.0

    def __post_init__(self) -> None:
        """Check every rate once, here."""
        for name in KINDS:
            rate = getattr(self, name)
            if not 0 <= rate <= 1:  # NaN fails too
                raise ValueError(f"{name} must be between 0 and 1, got {rate}")
        if not 0 < self.bot_rate < float("inf"):
            raise ValueError(f"bot_rate must be above 0 and finite, got {self.bot_rate}")

    @classmethod
    def only(cls, *kinds: str) -> Faults:
        """These kinds at their usual rates and no others; without names, a clean shop."""
        for kind in kinds:
            if kind not in KINDS:
                raise ValueError(f"kind must be one of {KINDS}, got {kind!r}")
        return cls(**{kind: 0.0 for kind in KINDS if kind not in kinds})


KINDS = tuple(field.name for field in fields(Faults) if field.name != "bot_rate")


class Edit(NamedTuple):
    table: str
    column: str
    rows: NDArray[np.int64]  # of the clean table
    new: Any
    keys: Any = None  # None: the row in the dirty table


class Repeat(NamedTuple):
    table: str
    rows: NDArray[np.int64]  # of the clean table
    delay: NDArray[np.int64]  # seconds


class Added(NamedTuple):
    table: str
    frame: pd.DataFrame
    keys: NDArray[np.int64]
    old: Any = None


class Column(NamedTuple):
    table: str
    column: str
    values: NDArray[np.int64]


Change = Edit | Repeat | Added | Column
_Plan = Callable[[Tables, Faults, np.random.Generator], Iterator[Change]]


# Kinds of fault: each yields its changes, planned on the clean tables.


def _choose(random: np.random.Generator, rate: float, n: int) -> NDArray[np.int64]:
    """A share of ``n`` rows, at least one, in order."""
    return np.sort(random.choice(n, min(n, max(1, round(rate * n))), replace=False))


def _span(tables: Tables) -> tuple[int, int]:
    """First and last second of the log."""
    times = [tables[name][time] for name, time in TIMES.items() if len(tables.get(name, ()))]
    if not times:
        return START, START + DAY
    return int(min(time.min() for time in times)), int(max(time.max() for time in times))


def _duplicate_products(
    tables: Tables, spec: Faults, random: np.random.Generator
) -> Iterator[Change]:
    products = tables["products"]
    rows = _choose(random, spec.duplicate_products, len(products))
    originals = products["item"].to_numpy()[rows]
    copies = products["item"].max() + 1 + np.arange(len(rows))
    titles = [_reworded(title, random) for title in products["title"].iloc[rows]]
    low, high = _span(tables)
    since = random.integers(low, low + (high - low) // 2 + 1, len(rows))
    frame = products.iloc[rows].assign(item=copies, title=titles)
    if "arrival_day" in frame:
        frame["arrival_day"] = (since - START) // DAY
    yield Added("products", frame, copies, originals)
    for name, said in (("pictures", {}), ("texts", {"title": titles})):
        if name in tables:
            pages = tables[name].set_index("item").loc[originals].reset_index()
            yield Added(name, pages.assign(item=copies, **said), copies, originals)
    place = np.full(products["item"].max() + 1, -1)
    place[originals] = np.arange(len(rows))
    bits = random.integers(0, 2**62, 1 + max(_largest(tables, "user")))  # a coin per customer
    for name in TIMES:
        table = tables.get(name)
        if table is None or "item" not in table:
            continue
        which = place[table["item"]]
        heads = (bits[table["user"]] >> (which % 62)) & 1 == 1
        chosen = np.flatnonzero((which >= 0) & (table["timestamp"] >= since[which]) & heads)
        new = copies[which[chosen]]
        yield Edit(name, "item", chosen, new, new)


def _largest(tables: Tables, column: str) -> list[int]:
    columns = [table[column] for table in tables.values() if column in table and len(table)]
    return [0, *(int(values.max()) for values in columns)]


def _reworded(title: str, random: np.random.Generator) -> str:
    """Another seller's title of the same product: a word less, two swapped, one mistyped."""
    words = title.split()
    if len(words) > 3:
        del words[int(random.integers(1, len(words) - 1))]
    place = int(random.integers(0, len(words)))
    words.insert(int(random.integers(0, len(words))), words.pop(place))
    place = int(random.integers(0, len(words)))
    letter = int(random.integers(0, max(1, len(words[place]) - 1)))
    words[place] = words[place][:letter] + words[place][letter + 1 :]
    changed = " ".join(word for word in words if word)
    return changed if changed != title else f"{title} new"


def _duplicate_events(
    tables: Tables, spec: Faults, random: np.random.Generator
) -> Iterator[Change]:
    for name in ("clicks", "carts", "purchases"):
        if len(tables.get(name, ())):
            rows = _choose(random, spec.duplicate_events, len(tables[name]))
            yield Repeat(name, rows, random.integers(0, 4, len(rows)))


def _bots(tables: Tables, spec: Faults, random: np.random.Generator) -> Iterator[Change]:
    """Bots see slates that customers saw, so that exposure and propensities stay plausible."""
    users, sessions = tables["users"], tables["sessions"]
    impressions, clicks = tables["impressions"], tables["clicks"]
    position = impressions["position"].to_numpy()
    starts = np.flatnonzero(position == 1)  # a request's rows are consecutive
    lengths = np.diff(np.append(starts, len(impressions)))
    n_bots = max(1, round(spec.bots * len(users)))
    n_clicks = spec.bot_rate * len(clicks) / len(users)
    n_requests = max(1, round(n_clicks / (_BOT_CLICKS * lengths.mean())))
    chosen = random.integers(0, len(starts), n_bots * n_requests)
    first = np.concatenate([[0], lengths[chosen].cumsum()[:-1]])
    request = np.repeat(np.arange(len(chosen)), lengths[chosen])
    rows = starts[chosen][request] + np.arange(len(request)) - first[request]

    bots = users["user"].max() + 1 + np.arange(n_bots)
    per_bot = -(-n_requests // 10)  # sessions of ten requests
    session = chosen * 0 + np.arange(len(chosen)) // n_requests * per_bot
    session += np.arange(len(chosen)) % n_requests // 10
    low, high = _span(tables)
    start = random.integers(low, high + 1, n_bots * per_bot)
    ids = sessions["session"].max() + 1 + np.arange(n_bots * per_bot)
    seconds = start[session] + 10 * (np.arange(len(chosen)) % n_requests % 10)
    frame = impressions.iloc[rows].assign(
        session=ids[session][request],
        user=bots[session // per_bot][request],
        timestamp=seconds[request],
        click=random.random(len(rows)) < _BOT_CLICKS,
    )
    if "request" in frame:
        frame["request"] = impressions["request"].max() + 1 + request
    profiles = users.iloc[random.integers(0, len(users), n_bots)].assign(user=bots)
    if "signup_day" in profiles:
        profiles["signup_day"] = np.minimum(profiles["signup_day"], (low - START) // DAY)
    visits = sessions.iloc[random.integers(0, len(sessions), len(ids))].assign(
        session=ids, user=bots.repeat(per_bot), start=start
    )
    clicked = frame[frame["click"]]
    clicked = clicked.assign(timestamp=clicked["timestamp"] + 1 + clicked["position"] // 2)
    clicked = clicked.reindex(columns=clicks.columns, fill_value=1)  # dwell: one second
    yield Added("users", profiles, bots)
    yield Added("sessions", visits, visits["user"].to_numpy())
    yield Added("impressions", frame, frame["user"].to_numpy())
    yield Added("clicks", clicked, clicked["user"].to_numpy())


def _wrong_category(tables: Tables, spec: Faults, random: np.random.Generator) -> Iterator[Change]:
    products = tables["products"]
    rows = _choose(random, spec.wrong_category, len(products))
    shelf = [name for name in _SHELF if name in products]
    leaves = products.drop_duplicates("leaf").reset_index(drop=True)
    place = pd.Index(leaves["leaf"]).get_indexer(pd.Index(products["leaf"].iloc[rows]))
    if len(leaves) < 2:
        return
    wrong = leaves.iloc[(place + random.integers(1, len(leaves), len(rows))) % len(leaves)]
    for name in shelf:
        yield Edit("products", name, rows, wrong[name].tolist(), products["item"].iloc[rows])


def _missing_price(tables: Tables, spec: Faults, random: np.random.Generator) -> Iterator[Change]:
    products = tables["products"]
    rows = _choose(random, spec.missing_price, len(products))
    yield Edit("products", "price", rows, np.full(len(rows), np.nan), products["item"].iloc[rows])


def _unit_mistakes(tables: Tables, spec: Faults, random: np.random.Generator) -> Iterator[Change]:
    products = tables["products"]
    rows = _choose(random, spec.unit_mistakes, len(products))
    cents = (100 * products["price"].iloc[rows]).round()
    yield Edit("products", "price", rows, cents.to_numpy(), products["item"].iloc[rows])


def _mojibake(tables: Tables, spec: Faults, random: np.random.Generator) -> Iterator[Change]:
    products = tables["products"]
    rows = _choose(random, spec.mojibake, len(products))
    items = products["item"].to_numpy()[rows]
    titles = [_misread(title) for title in products["title"].iloc[rows]]
    yield Edit("products", "title", rows, titles, items)
    if "texts" in tables:
        yield Edit(
            "texts", "title", pd.Index(tables["texts"]["item"]).get_indexer(items), titles, items
        )


def _misread(title: str) -> str:
    """UTF-8 read as Windows-1252; plain ASCII would survive, so a vowel gets an accent first."""
    if title.isascii():
        vowels = [place for place, letter in enumerate(title) if letter in "aeo"]
        place = vowels[0] if vowels else len(title)
        accented = {"a": "á", "e": "é", "o": "ó"}.get(title[place : place + 1], "®")
        title = title[:place] + accented + title[place + 1 :]
    return title.encode("utf-8").decode("cp1252", errors="replace")


def _time_zone(tables: Tables, spec: Faults, random: np.random.Generator) -> Iterator[Change]:
    users = tables["users"]
    if "region" not in users:
        return
    names = np.array(sorted(users["region"].dropna().unique()), object)
    chosen = _choose(random, spec.time_zone, len(names))
    hours = random.choice([-8, -7, -6, -5, 5, 6, 7, 8], len(chosen))
    region = np.full(1 + max(_largest(tables, "user")), -1)
    region[users["user"]] = pd.Index(names[chosen]).get_indexer(pd.Index(users["region"]))
    for name, time in TIMES.items():
        if len(tables.get(name, ())):
            which = region[tables[name]["user"]]
            rows = np.flatnonzero(which >= 0)
            moved = tables[name][time].to_numpy()[rows] + HOUR * hours[which[rows]]
            yield Edit(name, time, rows, moved, names[chosen][which[rows]])


def _out_of_order(tables: Tables, spec: Faults, random: np.random.Generator) -> Iterator[Change]:
    times = tables["clicks"]["timestamp"].to_numpy()
    rows = _choose(random, spec.out_of_order, len(times))
    yield Edit("clicks", "timestamp", rows, times[rows] - random.integers(60, HOUR, len(rows)))


def _before_signup(tables: Tables, spec: Faults, random: np.random.Generator) -> Iterator[Change]:
    users, sessions = tables["users"], tables["sessions"]
    if "signup_day" not in users:
        return
    rows = _choose(random, spec.before_signup, len(sessions))
    days = users.set_index("user")["signup_day"].loc[sessions["user"].iloc[rows]]
    signup = START + DAY * days.to_numpy()
    back = random.integers(HOUR, 30 * DAY, len(rows))
    ids = sessions["session"].to_numpy()[rows]
    moved = np.zeros(1 + max(_largest(tables, "session")), np.int64)
    moved[ids] = np.minimum(0, signup - back - sessions["start"].to_numpy()[rows])
    for name, time in TIMES.items():
        table = tables.get(name)
        if table is not None and "session" in table and len(table):
            shift = moved[table["session"]]
            chosen = np.flatnonzero(shift < 0)
            new = table[time].to_numpy()[chosen] + shift[chosen]
            yield Edit(name, time, chosen, new, table["session"].to_numpy()[chosen])


def _mislabelled_images(
    tables: Tables, spec: Faults, random: np.random.Generator
) -> Iterator[Change]:
    pictures = tables["pictures"]
    n = len(pictures)
    rows = _choose(random, spec.mislabelled_images, n)
    if n > 1:
        other = (rows + random.integers(1, n, len(rows))) % n
        new = pictures["picture"].to_numpy()[other]
        yield Edit("pictures", "picture", rows, new, pictures["item"].iloc[rows])


def _broken_images(tables: Tables, spec: Faults, random: np.random.Generator) -> Iterator[Change]:
    pictures = tables["pictures"]
    rows = _choose(random, spec.broken_images, len(pictures))
    yield Edit("pictures", "truncated", rows, ~pictures["truncated"].to_numpy()[rows],
                pictures["item"].iloc[rows])  # fmt: skip


def _leaked_column(tables: Tables, spec: Faults, random: np.random.Generator) -> Iterator[Change]:
    items = tables["products"]["item"].to_numpy()
    sold = np.bincount(tables["purchases"]["item"], minlength=items.max() + 1)
    yield Column("products", "sold_total", sold[items])


def _label_flips(tables: Tables, spec: Faults, random: np.random.Generator) -> Iterator[Change]:
    clicks = tables["impressions"]["click"].to_numpy()
    rows = _choose(random, spec.label_flips, len(clicks))
    yield Edit("impressions", "click", rows, ~clicks[rows])


def _wrong_propensity(
    tables: Tables, spec: Faults, random: np.random.Generator
) -> Iterator[Change]:
    impressions = tables["impressions"]
    hour = impressions["timestamp"].to_numpy() // HOUR
    hours, counts = np.unique(hour, return_counts=True)
    busy = hours[counts >= np.median(counts)]
    wrong = busy[_choose(random, spec.wrong_propensity, len(busy))]
    rows = np.flatnonzero(np.isin(hour, wrong))
    new = np.minimum(1, 3 * impressions["propensity"].to_numpy()[rows])
    yield Edit("impressions", "propensity", rows, new, hour[rows])


PLANS: dict[str, tuple[tuple[str, ...], _Plan]] = {
    "duplicate_products": (("products",), _duplicate_products),
    "duplicate_events": ((), _duplicate_events),
    "bots": (("users", "sessions", "impressions", "clicks"), _bots),
    "wrong_category": (("products",), _wrong_category),
    "missing_price": (("products",), _missing_price),
    "unit_mistakes": (("products",), _unit_mistakes),
    "mojibake": (("products",), _mojibake),
    "time_zone": (("users",), _time_zone),
    "out_of_order": (("clicks",), _out_of_order),
    "before_signup": (("users", "sessions"), _before_signup),
    "mislabelled_images": (("pictures",), _mislabelled_images),
    "broken_images": (("pictures",), _broken_images),
    "leaked_column": (("products", "purchases"), _leaked_column),
    "label_flips": (("impressions",), _label_flips),
    "wrong_propensity": (("impressions",), _wrong_propensity),
}
