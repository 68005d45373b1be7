"""The words on a product's page: title, description, bullets, and where each fact is said.

title = brand [style] [colour] [material] [pattern] [extra] type-noun [size] [model code], and a
slot in brackets is said with probability .7 (colour .89, extra .3); a value v is said by its
common form with probability .65, a synonym .25, a wider word .1, where it has them.

Source: this shop's specification, section 1.3; no published grammar.

Differences from the specification: 1. an optional slot "extra" stands before the type noun and
names the season, the audience or the feature in three titles of ten (specification: no such slot),
because shoppers search for these and their words must occur in some title; 2. a title of more than
nine words loses its extra, code or size, in this order, and one of less than five gains code, size
or extra, so these three leave their probability; style, material and pattern keep .7 exactly;
3. a title never says a wider word for the colour, but of the 11 % without a colour half do
("dark"); 4. model codes come from 8 sqrt(I) codes that products share (a series), which keeps the
vocabulary in the thousands; 5. the tier and a plain pattern are never said anywhere.

Chapter: shop/simulation.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import pandas as pd

from reclib.shop._templates import SENTENCES
from reclib.shop._vocabulary import ADJECTIVES, Forms, forms

__all__ = ["Texts", "describe"]

STATED_COLOR, STATED, STATED_EXTRA = 0.89, 0.7, 0.3
SYNONYM, HYPERNYM = 0.25, 0.1
FEWEST_WORDS, MOST_WORDS = 5, 9

_TITLE = ("brand", "style", "colour", "material", "pattern", "extra", "leaf", "size", "code")
_GIVES_WAY = ("extra", "code", "size")
_EXTRAS = ("season", "audience", "feature")
_BULLETS = {
    "Colour": "colour", "Material": "material", "Pattern": "pattern", "Style": "style",
    "Size": "size", "Feature": "feature", "Season": "season", "Range": "audience",
    "Made in": "origin",
}  # fmt: skip
_ATTRIBUTES = tuple(_BULLETS.values())
_GROUPS = tuple(name for name in SENTENCES if name != "opening")
_OCCASION_SAID = 0.7
_BLOCK = 4_096  # products whose random numbers are held as Python floats at once
_N_DRAWS = 80
_AGREEMENT = {
    "this": ("this", "these"), "is": ("is", "are"), "brings": ("brings", "bring"),
    "comes": ("comes", "come"),
}  # fmt: skip
_PIECE = re.compile(r"\{(an?)\} |\{(" + "|".join(_AGREEMENT) + r")\}|\{(\w+)\}|([^{}]+)")


@dataclass(frozen=True)
class Texts:
    """What the products' pages say, and the truth about it.

    Attributes:
        table: item, title, description, bullets (one ``key: value`` a line), in item order.
        mentions: one row for each place where a fact is said: item, field (title, description or
            bullets), start and end (characters, end excluded), attribute (also leaf, brand,
            occasion, code), value, surface (exactly the text there), hypernym (bool: the word is
            wider than the value).
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
    columns = ["item", "leaf", "brand", *_ATTRIBUTES]
    missing = [name for name in columns if name not in products]
    if missing:
        raise KeyError(f"products must have the columns {missing}, got {list(products)}")
    if len(occasions) != len(products):
        raise ValueError(f"occasions must have {len(products)} entries, got {len(occasions)}")
    codes = _codes(round(8 * len(products) ** 0.5), generator)
    rows = zip(*(products[name].tolist() for name in columns), strict=True)
    mentions: list[tuple[object, ...]] = []
    lines: dict[str, list[str]] = {"title": [], "description": [], "bullets": []}
    for row, fits, draws in zip(rows, occasions, _draws(len(products), generator), strict=True):
        page = _Page(dict(zip(columns, row, strict=True)), fits, codes, draws)
        for name, line in (
            ("title", page.title()),
            ("description", page.description()),
            ("bullets", page.bullets()),
        ):
            text = "".join(line.parts)
            lines[name].append(text)
            mentions += [
                (row[0], name, start, end, attribute, value, text[start:end], wider)
                for start, end, attribute, value, wider in line.spans
            ]
    table = pd.DataFrame({"item": products["item"].to_numpy(), **lines})
    names = ["item", "field", "start", "end", "attribute", "value", "surface", "hypernym"]
    return Texts(table, pd.DataFrame(mentions, columns=names))


def say(form: Forms, draw: float, *, wider: bool = True) -> tuple[str, bool]:
    """The form a uniform ``draw`` picks, and whether it is a hypernym."""
    low = HYPERNYM if wider and form.hypernyms else 0.0
    if draw < low:
        return form.hypernyms[int(draw / low * len(form.hypernyms))], True
    if draw < low + SYNONYM and form.synonyms:
        return form.synonyms[int((draw - low) / SYNONYM * len(form.synonyms))], False
    return form.common, False


def is_plural(noun: str) -> bool:
    """Whether a type noun takes "these"; clothes in pairs end in s, glass and dress in ss."""
    return noun.endswith("s") and not noun.endswith("ss")


class _Said(NamedTuple):
    attribute: str
    value: str
    surface: str
    hypernym: bool


@dataclass
class _Line:
    """A text that grows, with the spans of what it says."""

    parts: list[str] = field(default_factory=list)
    spans: list[tuple[int, int, str, str, bool]] = field(default_factory=list)
    length: int = 0

    def add(self, text: str) -> None:
        self.parts.append(text)
        self.length += len(text)

    def mention(self, said: _Said, surface: str) -> None:
        end = self.length + len(surface)
        self.spans.append((self.length, end, said.attribute, said.value, said.hypernym))
        self.add(surface)


class _Page:
    """One product's page; ``draws`` are uniform numbers, used up one by one."""

    def __init__(
        self, facts: dict[str, str], fits: Sequence[str], codes: Sequence[str], draws: list[float]
    ) -> None:
        self.facts, self.fits, self.codes = facts, fits, codes
        self.draw = iter(draws).__next__

    def pick(self, options: Sequence[str]) -> str:
        return options[int(self.draw() * len(options))]

    def said(self, attribute: str, *, wider: bool = True) -> _Said:
        if attribute == "occasion":
            value = self.pick(self.fits)
        elif attribute == "code":
            value = self.pick(self.codes)
        else:
            value = self.facts[attribute]
        return _Said(attribute, value, *say(_form(attribute, value), self.draw(), wider=wider))

    def title(self) -> _Line:
        """The title; every product draws the same numbers whatever it says."""
        facts = {name: self.pick(_EXTRAS) if name == "extra" else name for name in _TITLE}
        chosen = {name: self.said(facts[name], wider=name != "colour") for name in _TITLE}
        dark = _form("colour", self.facts["colour"]).hypernyms
        stated = {"brand", "leaf"}
        for name in _TITLE:
            draw = self.draw()
            if name == "colour" and STATED_COLOR <= draw < (1 + STATED_COLOR) / 2 and dark:
                chosen["colour"] = _Said("colour", self.facts["colour"], dark[0], True)
                stated.add(name)
            limit = {"colour": STATED_COLOR, "extra": STATED_EXTRA}.get(name, STATED)
            if draw < limit and chosen[name].value != "plain":
                stated.add(name)
        self._fit(stated, {name: chosen[name].surface.count(" ") + 1 for name in _TITLE})
        line = _Line()
        for name in _TITLE:
            if name in stated:
                if line.length:
                    line.add(" ")
                line.mention(chosen[name], chosen[name].surface)
        return line

    @staticmethod
    def _fit(stated: set[str], words: dict[str, int]) -> None:
        """Bring a title to five to nine words by what may give way, and nothing else."""
        for name in _GIVES_WAY:
            if sum(words[one] for one in stated) > MOST_WORDS:
                stated.discard(name)
        for name in ("code", "size", "extra"):
            if sum(words[one] for one in stated) < FEWEST_WORDS:
                stated.add(name)

    def description(self) -> _Line:
        """Two to four sentences: an opening, then groups in random order, each at most once."""
        n_more = 1 + (self.draw() > 0.3) + (self.draw() > 0.6)
        keys = {name: self.draw() for name in _GROUPS}
        keys["occasion"] = -1.0 if self.fits and keys["occasion"] < _OCCASION_SAID else 2.0
        keys["colour" if self.facts["pattern"] != "plain" else "pattern"] = 2.0
        line = _Line()
        for group in ["opening", *sorted(keys, key=keys.__getitem__)[:n_more]]:
            if line.length:
                line.add(" ")
            self._sentence(line, self.pick(SENTENCES[group]))
        return line

    def _sentence(self, line: _Line, template: str) -> None:
        noun = self.said("leaf")
        plural, waits = is_plural(noun.surface), False
        words: list[tuple[_Said | None, str]] = []
        for kind, piece in _PARSED[template]:
            if kind == "article":
                waits = piece == "an" or not plural
                continue
            said, text = self._word(kind, piece, noun, plural)
            if waits:
                words.append((None, _article(text) + " "))
            waits = False
            words.append((said, text))
        words[0] = (words[0][0], words[0][1][0].upper() + words[0][1][1:])
        for said, text in words:
            if said is None:
                line.add(text)
            else:
                line.mention(said, text)

    def _word(self, kind: str, piece: str, noun: _Said, plural: bool) -> tuple[_Said | None, str]:
        """What stands at one piece of a template, and the fact it states, if any."""
        if kind == "text":
            return None, piece
        if kind == "agreement":
            return None, _AGREEMENT[piece][plural]
        if piece == "adjective":
            return None, self.pick(ADJECTIVES)
        said = noun if piece == "leaf" else self.said(piece)
        return said, said.surface

    def bullets(self) -> _Line:
        """``key: value`` lines; each is left out with probability .3, and one always stays."""
        line = _Line()
        for key, attribute in _BULLETS.items():
            said, draw = self.said(attribute, wider=False), self.draw()
            if said.value == "plain" or (draw >= STATED and key != "Style"):
                continue
            if line.length:
                line.add("\n")
            line.add(f"{key}: ")
            line.mention(said, said.surface)
        return line


def _article(text: str) -> str:
    return "an" if text[0].lower() in "aeioux" and not text.startswith(("uni", "one")) else "a"


_FORMS: dict[tuple[str, str], Forms] = {}


def _form(attribute: str, value: str) -> Forms:
    if (attribute, value) not in _FORMS:
        _FORMS[attribute, value] = forms(attribute, value)
    return _FORMS[attribute, value]


def _parse(template: str) -> list[tuple[str, str]]:
    """(kind, text) pieces of a template; an article takes the space after it along."""
    pieces = []
    for article, agreement, slot, text in _PIECE.findall(template):
        kinds = {"article": article, "agreement": agreement, "slot": slot, "text": text}
        pieces.append(next((kind, piece) for kind, piece in kinds.items() if piece))
    return pieces


_PARSED = {line: _parse(line) for group in SENTENCES.values() for line in group}


def _codes(n: int, generator: np.random.Generator) -> list[str]:
    """``n`` model codes, two letters and three digits; no two are the same."""
    letters, n_names = "BCDFGHJKLMNPRSTVWXZ", 19 * 19 * 900
    numbers: Iterable[int] = generator.choice(n_names, min(n, n_names), replace=False).tolist()
    return [
        letters[number // 900 // 19] + letters[number // 900 % 19] + str(100 + number % 900)
        for number in numbers
    ]


def _draws(n: int, generator: np.random.Generator) -> Iterator[list[float]]:
    for start in range(0, n, _BLOCK):
        yield from generator.random((min(_BLOCK, n - start), _N_DRAWS)).tolist()
