"""The words on a product's page: title, description, bullets, and where each fact is said.

title = brand [style] [colour] [material] [pattern] [extra] type-noun [size] [model code], and a
slot in brackets is said with probability .7 (colour .89, extra .5); a value v is said by its
common form with probability .65, a synonym .25, a wider word .1, where it has them.

Source: this shop's specification, section 1.3; no published grammar.

Differences from the specification: 1. an optional slot "extra" stands before the type noun and
names the season, the audience, the feature or an adjective without meaning in half of the titles
(specification: no such slot), because shoppers type these words and some title must have them;
2. a title of more than nine words loses its extra, code or size, in this order, and one of less
than five gains code, size or extra, so these three leave their probability; style, material and
pattern keep .7 exactly;
3. a title never says a wider word for the colour, but of the 11 % without a colour half do
("dark"); 4. model codes come from 8 sqrt(I) codes that products share (a series), which keeps the
vocabulary in the thousands; 5. the tier and a plain pattern are never said anywhere; 6. the forms
of a type noun are dealt out evenly over the products of a leaf, and the extras over all products,
so that a shop of 300 products uses most of its words in titles.

Chapter: shop/simulation.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from reclib.shop._page import ATTRIBUTES, N_DRAWS, Page

__all__ = ["Texts", "describe"]

Floats = NDArray[np.float64]

_MENTION = (
    "item", "field", "start", "end", "attribute", "value", "surface", "hypernym", "template",
)  # fmt: skip
_BLOCK = 4_096  # products whose random numbers are held as Python floats at once


@dataclass(frozen=True)
class Texts:
    """What the products' pages say, and the truth about it.

    Attributes:
        table: item, title, description, bullets (one ``key: value`` a line), in item order.
        mentions: one row for each place where a fact is said: item, field (title, description or
            bullets), start and end (characters, end excluded), attribute (also leaf, brand,
            occasion, code), value, surface (exactly the text there), hypernym (bool: the word is
            wider than the value), template (number of the description's sentence, else -1).
    """

    table: pd.DataFrame
    mentions: pd.DataFrame


def describe(
    products: pd.DataFrame, occasions: Sequence[Sequence[str]], generator: np.random.Generator
) -> Texts:
    """Write the page of every product.

    Args:
        products: the public table, I rows; item, leaf, brand, colour, material, pattern, style,
            audience, season, size, feature and origin are read.
        occasions: (I,) names of the occasions that each product fits; said in descriptions only.
        generator: a stream of its own.

    Raises:
        KeyError: if a column is missing.
        ValueError: if ``occasions`` has another length than ``products``.
    """
    columns = ["item", "leaf", "brand", *ATTRIBUTES]
    missing = [name for name in columns if name not in products]
    if missing:
        raise KeyError(f"products must have the columns {missing}, got {list(products)}")
    if len(occasions) != len(products):
        raise ValueError(f"occasions must have {len(products)} entries, got {len(occasions)}")
    codes = _codes(round(8 * len(products) ** 0.5), generator)
    rows = zip(*(products[name].tolist() for name in columns), strict=True)
    nouns = _dealt(products["leaf"].to_numpy(), generator)
    extras = _dealt(np.zeros(len(products)), generator)
    draws = _draws(np.stack([nouns, extras], axis=1), generator)
    mentions: list[tuple[object, ...]] = []
    lines: dict[str, list[str]] = {"title": [], "description": [], "bullets": []}
    for row, fits, numbers in zip(rows, occasions, draws, strict=True):
        page = Page(dict(zip(columns, row, strict=True)), fits, codes, numbers)
        for name, line in (
            ("title", page.title()),
            ("description", page.description()),
            ("bullets", page.bullets()),
        ):
            text = "".join(line.parts)
            lines[name].append(text)
            mentions += [
                (row[0], name, start, end, attribute, value, text[start:end], wider, template)
                for start, end, attribute, value, wider, template in line.spans
            ]
    table = pd.DataFrame({"item": products["item"].to_numpy(), **lines})
    return Texts(table, pd.DataFrame(mentions, columns=list(_MENTION)))


def _codes(n: int, generator: np.random.Generator) -> list[str]:
    """``n`` model codes, two letters and three digits; no two are the same."""
    letters, n_names = "BCDFGHJKLMNPRSTVWXZ", 19 * 19 * 900
    numbers: Iterable[int] = generator.choice(n_names, min(n, n_names), replace=False).tolist()
    return [
        letters[number // 900 // 19] + letters[number // 900 % 19] + str(100 + number % 900)
        for number in numbers
    ]


def _dealt(groups: NDArray[Any], generator: np.random.Generator) -> Floats:
    """(I,) uniform numbers, spread evenly within each group like the cards of a suit."""
    by_group = pd.Series(generator.random(len(groups))).groupby(groups)
    rank, size = by_group.rank(method="first"), by_group.transform("size")
    dealt: Floats = ((rank - 1 + generator.random(len(groups))) / size).to_numpy()
    return dealt


def _draws(first: Floats, generator: np.random.Generator) -> Iterator[list[float]]:
    """The numbers of each product, ``first`` (I, 2) in front."""
    for start in range(0, len(first), _BLOCK):
        block = first[start : start + _BLOCK]
        rest = generator.random((len(block), N_DRAWS - block.shape[1]))
        yield from np.concatenate([block, rest], axis=1).tolist()
