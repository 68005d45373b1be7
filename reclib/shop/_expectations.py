"""What real shops' logs look like, and the range in which a simulated one should lie.

Values of the real shops were measured with `reclib.shop.realism` on the data sets that
`reclib.datasets` knows as s3rec-beauty, s3rec-sports, s3rec-lastfm, diginetica-sessions,
tmall-sessions and eshop-clothing-clicks; the tests measure some of them again.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

REAL_SHOPS = ("Beauty", "Sports", "Last.fm", "Diginetica", "Tmall", "eshop")

_NAN = math.nan


@dataclass(frozen=True)
class Row:
    """One statistic: number of its realism test, name, accepted range, real shops' values.

    ``real`` are the values of `REAL_SHOPS`, NaN where there is none; ``others`` names more.
    """

    test: int
    name: str
    low: float = -math.inf
    high: float = math.inf
    real: tuple[float, ...] = (_NAN,) * 6
    others: str = ""


ROWS: dict[str, tuple[Row, ...]] = {
    "popularity": (
        Row(
            1, "Gini of products", 0.45, 0.70, (0.499, 0.490, 0.437, 0.559, 0.441, 0.409),
            "grocery .578, tiktok .668",
        ),
        Row(
            2, "share of the top 1 %", 0.07, 0.22, (0.105, 0.119, 0.080, 0.130, 0.096, 0.040),
            "grocery .204",
        ),
        Row(
            2, "share of the top 10 %", 0.35, 0.55, (0.428, 0.418, 0.365, 0.459, 0.365, 0.279),
            "grocery .50",
        ),
        Row(3, "tail exponent", 2.1, 3.4, (2.22, 2.48, 2.46, 2.61, 2.84, _NAN)),
        Row(3, "tail from", real=(8, 17, 11, 40, 16, _NAN)),
        Row(3, "distance from a power law", real=(0.0273, 0.0328, 0.0407, 0.0354, 0.0236, _NAN)),
    ),
    "sessions": (
        Row(4, "clicks a session, mean", 4, 7, (_NAN, _NAN, _NAN, 4.85, 6.38, 8.45)),
        Row(4, "clicks a session, median", 3, 5, (_NAN, _NAN, _NAN, 4, 4, 5)),
        Row(4, "clicks a session, p95", 10, 24, (_NAN, _NAN, _NAN, 12, 19, 25)),
        Row(5, "sessions with a repeat", 0.20, 0.65, (_NAN, _NAN, _NAN, 0.401, 0.636, 0.318)),
        Row(5, "clicks that repeat", 0.08, 0.35, (_NAN, _NAN, _NAN, 0.159, 0.343, 0.107)),
        Row(6, "next click: same category", 0.75, 0.88, (*(_NAN,) * 5, 0.812)),
    ),
    "positions": (
        Row(7, "largest rise by position, SE", high=3.0),
        Row(7, "eta, mobile and tablet"),
        Row(7, "its standard error"),
        Row(7, "eta, desktop"),
        Row(7, "its standard error"),
    ),
    "buying": (
        Row(8, "sessions that buy", 0.08, 0.18, others="UCI 468 .155"),
        Row(8, "on Monday to Friday", others="UCI 468 .149"),
        Row(8, "on Saturday and Sunday", others="UCI 468 .174"),
    ),
    "planning": (
        Row(9, "planner's gain, control", high=0.01),
        Row(9, "planner's gain, default", low=0.08),
        Row(9, "planner's gain, longterm", low=0.30),
    ),
    "histories": (
        Row(10, "history (5-core), mean", 6, 14, (8.88, 8.32, 48.2, _NAN, _NAN, _NAN)),
        Row(10, "history (5-core), median", 5, 9, (6, 6, 19, _NAN, _NAN, _NAN)),
        Row(10, "history (5-core), p95", 15, 35, (21, 18, 206, _NAN, _NAN, _NAN)),
        Row(10, "customers in the 5-core", real=(22363, 35598, 1090, _NAN, _NAN, _NAN)),
        Row(
            11, "density of the log", 0.0005, 0.02,
            (0.000734, 0.000453, 0.0132, _NAN, _NAN, _NAN), "ml-100k .063",
        ),
    ),
    "dwell": (
        Row(12, "dwell, median, s", 20, 40, others="UCI 468 28.9"),
        Row(12, "dwell, lower quartile, s", others="UCI 468 17.6"),
        Row(12, "dwell, upper quartile, s", others="UCI 468 45.1"),
    ),
    "queries": (
        Row(13, "query words in no title", 0.05, 0.12, others="Home Depot .086"),
        Row(13, "queries with such a word", 0.15, 0.28, others="Home Depot .206"),
    ),
    "overlap": (
        Row(13, "word overlap and label, rho", 0.20, 0.45, others="Home Depot .288"),
    ),
    "propensities": (
        Row(14, "mean of 1 / (p n) less 1, SE", -3.0, 3.0),
    ),
    "first_slots": (
        Row(14, "first slot, p by shelf", low=0.001),
        Row(14, "first slot, p by place", low=0.001),
    ),
}  # fmt: skip
