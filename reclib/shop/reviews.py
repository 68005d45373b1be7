"""What customers write about what they bought, and what they meant.

review = verdict(rating) + one to three clauses, each about an aspect (quality, size, colour,
delivery) with the polarity that the customer met: colour and delivery as they were, quality +1
from .75, -1 below .55, else 0, and size by chance, more often right when the rating is high. Five
in a hundred are sarcastic, three in a hundred fake: these rate 5 and praise what they never had.

Source: this shop's specification, section 1.8 (aspect grammar; 5 % sarcastic, 3 % fake).

Differences from the specification: 1. a sarcastic customer who is not happy (rating 1 to 3) says
praise and means blame, verdict and clauses; a happy one has a verdict that sounds like blame and
honest clauses (specification: open); 2. what agrees with the rating is mentioned rather than what
does not (specification: sentiment by rating); 3. a fake review mentions no aspect,
and changes the rating to 5 in `Reviews.table` (specification: fake ratings, text open).

Chapter: shop/simulation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from reclib.shop._page import is_plural
from reclib.shop._templates import ASPECTS, FAKES, SARCASM, VERDICTS
from reclib.shop._vocabulary import forms

__all__ = ["Reviews", "reviews"]

SARCASTIC, FAKE = 0.05, 0.03
GOOD, POOR = 0.75, 0.55  # quality from which it is praised, and below which it is blamed
N_ASPECT_SHARES = (0.35, 0.45, 0.2)  # of one to three aspects
# Probability that the size is right, about right, wrong, by rating 1 to 5.
SIZE_SHARES = np.array(
    [(0.2, 0.2, 0.6), (0.3, 0.2, 0.5), (0.5, 0.25, 0.25), (0.7, 0.2, 0.1), (0.85, 0.1, 0.05)]
)
_ASPECTS = tuple(ASPECTS)


@dataclass(frozen=True)
class Reviews:
    """Texts and the truth behind them.

    Attributes:
        table: text, rating (as shown: 5 where fake), sarcastic, fake; one row a purchase, in the
            order asked for.
        aspects: review (row of ``table``), aspect, polarity (-1, 0 or 1: what is meant), said
            (the same of the words alone), in the order of the text.
    """

    table: pd.DataFrame
    aspects: pd.DataFrame


def reviews(
    ratings: ArrayLike,
    quality: ArrayLike,
    color_match: ArrayLike,
    delivery: ArrayLike,
    leaves: Sequence[str],
    colors: Sequence[str],
    generator: np.random.Generator,
) -> Reviews:
    """Write one review for each of N ratings.

    Args:
        ratings: (N,) integers 1 to 5.
        quality: (N,) true quality in [0, 1].
        color_match: (N,) -1, 0 or 1: other than pictured, close, as pictured.
        delivery: (N,) -1, 0 or 1: late, as announced, early.
        leaves: (N,) names of leaves.
        colors: (N,) names of colours.
        generator: a stream of its own.

    Raises:
        ValueError: if lengths differ or a value is out of range.
    """
    rated = np.asarray(ratings, dtype=np.int64)
    n = len(rated)
    met = {"color_match": np.asarray(color_match), "delivery": np.asarray(delivery)}
    worth = np.asarray(quality, dtype=np.float64)
    columns = {"quality": worth, **met, "leaves": leaves, "colors": colors}
    for name, column in columns.items():
        if len(column) != n:
            raise ValueError(f"{name} must have {n} values, got {len(column)}")
    _check("ratings", rated, 1, 5)
    _check("quality", worth, 0, 1)
    for name, column in met.items():
        _check(name, column, -1, 1)
    polarity = np.empty((n, len(_ASPECTS)), dtype=np.int64)
    polarity[:, 0] = (worth >= GOOD).astype(int) - (worth < POOR)
    edges = SIZE_SHARES.cumsum(1)[rated - 1]
    polarity[:, 1] = 1 - (generator.random((n, 1)) >= edges[:, :2]).sum(1)
    polarity[:, 2], polarity[:, 3] = met["color_match"], met["delivery"]
    kind = generator.random(n)
    fake, sarcastic = kind < FAKE, (kind >= FAKE) & (kind < FAKE + SARCASTIC)
    bitter = sarcastic & (rated <= 3)
    said = np.where(bitter[:, None], np.abs(polarity), polarity)
    against = polarity * np.sign(rated - 3)[:, None] < 0
    order = (generator.random((n, len(_ASPECTS))) + 0.6 * against).argsort(1)
    counts = 1 + generator.choice(len(N_ASPECT_SHARES), n, p=N_ASPECT_SHARES)
    counts[fake] = 0
    rows, places = np.nonzero(np.arange(len(_ASPECTS)) < counts[:, None])
    mentioned = order[rows, places]
    aspects = pd.DataFrame(
        {
            "review": rows,
            "aspect": np.array(_ASPECTS, dtype=object)[mentioned],
            "polarity": polarity[rows, mentioned],
            "said": said[rows, mentioned],
        }
    )
    verdicts = np.where(fake, _FAKE, np.where(sarcastic, np.where(bitter, -1, 0), rated))
    clauses = list(zip(mentioned.tolist(), aspects["said"].tolist(), strict=True))
    ends = counts.cumsum().tolist()
    draws = generator.random((n, 2 + counts.max(initial=0))).tolist()
    texts = [
        _text(verdict, clauses[end - count : end], leaf, color, numbers)
        for verdict, end, count, leaf, color, numbers in zip(
            verdicts.tolist(), ends, counts.tolist(), leaves, colors, draws, strict=True
        )
    ]
    shown = np.where(fake, 5, rated)
    table = pd.DataFrame({"text": texts, "rating": shown, "sarcastic": sarcastic, "fake": fake})
    return Reviews(table, aspects)


# Verdicts besides those of the ratings 1 to 5: bought, bitter and laughing.
_FAKE = -2
_VERDICTS = {**VERDICTS, _FAKE: FAKES, -1: SARCASM[-1], 0: SARCASM[1]}


def _check(name: str, column: NDArray[Any], low: int, high: int) -> None:
    if not ((low <= column) & (column <= high)).all():  # NaN fails too
        raise ValueError(
            f"{name} must be between {low} and {high}, got {column.min()} to {column.max()}"
        )


def _text(
    verdict: int, clauses: list[tuple[int, int]], leaf: str, color: str, draws: list[float]
) -> str:
    """A review: the verdict in front or at the end, clauses joined by what they have in common."""
    options = _VERDICTS[verdict]
    opinion = options[int(draws[0] * len(options))]
    if clauses:
        first = clauses[0]
        story = _phrase(first, draws[2])
        for one, before, draw in zip(clauses[1:], clauses, draws[3:], strict=False):
            same = one[1] * before[1] >= 0
            story += "; " if same and ", " in story else ", and " if same else ", but "
            story += _phrase(one, draw)
        if draws[1] < 0.4:
            text = f"{opinion}: {story}."
        elif draws[1] < 0.7 or verdict < 1:
            text = f"{opinion}. {story[0].upper()}{story[1:]}."
        else:
            text = f"{story[0].upper()}{story[1:]}. {opinion}."
    else:
        text = opinion + "."
    if "{" not in text:
        return text
    noun, are = _noun(leaf)
    return text.replace("{leaf}", noun).replace("{is}", are).replace("{colour}", color)


def _phrase(clause: tuple[int, int], draw: float) -> str:
    options = ASPECTS[_ASPECTS[clause[0]]][clause[1]]
    return options[int(draw * len(options))]


@lru_cache
def _noun(leaf: str) -> tuple[str, str]:
    noun = forms("leaf", leaf).common
    return noun, "are" if is_plural(noun) else "is"
