"""One product's page, put together from facts and uniform numbers; the rules are in `text`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from reclib.shop._templates import SENTENCES
from reclib.shop._vocabulary import ADJECTIVES, HYPERNYM, SYNONYM, Forms, forms

STATED_COLOR, STATED, STATED_EXTRA = 0.89, 0.7, 0.5
FEWEST_WORDS, MOST_WORDS = 5, 9

_TITLE = ("brand", "style", "colour", "material", "pattern", "extra", "leaf", "size", "code")
_GIVES_WAY = ("extra", "code", "size")
_EXTRAS = ("season", "audience", "feature", "adjective")
_BULLETS = {
    "Colour": "colour", "Material": "material", "Pattern": "pattern", "Style": "style",
    "Size": "size", "Feature": "feature", "Season": "season", "Range": "audience",
    "Made in": "origin",
}  # fmt: skip
ATTRIBUTES = tuple(_BULLETS.values())
_GROUPS = tuple(name for name in SENTENCES if name != "opening")
_OCCASION_SAID = 0.7
N_DRAWS = 80  # enough for the longest page
_AGREEMENT = {
    "this": ("this", "these"), "is": ("is", "are"), "brings": ("brings", "bring"),
    "comes": ("comes", "come"),
}  # fmt: skip
_PIECE = re.compile(r"\{(an?)\} |\{(" + "|".join(_AGREEMENT) + r")\}|\{(\w+)\}|([^{}]+)")


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


class Said(NamedTuple):
    attribute: str
    value: str
    surface: str
    hypernym: bool


@dataclass
class Line:
    """A text that grows, with the spans of what it says."""

    parts: list[str] = field(default_factory=list)
    spans: list[tuple[int, int, str, str, bool, int]] = field(default_factory=list)
    length: int = 0
    template: int = -1

    def add(self, text: str) -> None:
        self.parts.append(text)
        self.length += len(text)

    def mention(self, said: Said, surface: str) -> None:
        if said.attribute != "adjective":  # says nothing
            end = self.length + len(surface)
            fact = (said.attribute, said.value, said.hypernym)
            self.spans.append((self.length, end, *fact, self.template))
        self.add(surface)


class Page:
    """One product's page.

    Args:
        facts: attribute -> value; also leaf and brand.
        fits: the occasions.
        codes: the shop's model codes.
        draws: `N_DRAWS` uniform numbers, used up one by one; the first chooses the title's noun,
            the second its extra.
    """

    def __init__(
        self, facts: dict[str, str], fits: Sequence[str], codes: Sequence[str], draws: list[float]
    ) -> None:
        self.facts, self.fits, self.codes = facts, fits, codes
        self.draw = iter(draws).__next__

    def pick(self, options: Sequence[str]) -> str:
        return options[int(self.draw() * len(options))]

    def said(self, attribute: str, *, draw: float | None = None, wider: bool = True) -> Said:
        """A fact in one of its forms; ``draw`` chooses the form, a fresh number if None."""
        value = self.facts.get(attribute, "")
        if attribute == "occasion":
            value = self.pick(self.fits)
        elif attribute == "code":
            value = self.pick(self.codes)
        draw = self.draw() if draw is None else draw
        if attribute == "adjective":
            return Said(attribute, "", ADJECTIVES[int(draw * len(ADJECTIVES))], False)
        return Said(attribute, value, *say(_form(attribute, value), draw, wider=wider))

    def title(self) -> Line:
        noun, extra = self.said("leaf"), self.draw()
        stated = {"brand", "leaf"}
        if extra < STATED_EXTRA:
            stated.add("extra")
            extra /= STATED_EXTRA
        else:  # not said, unless the title is too short
            extra = (extra - STATED_EXTRA) / (1 - STATED_EXTRA)
        kind, rest = divmod(extra * len(_EXTRAS), 1)
        chosen = {"leaf": noun, "extra": self.said(_EXTRAS[int(kind)], draw=rest)}
        for name in ("brand", "style", "material", "pattern", "size", "code"):
            chosen[name] = self.said(name)
            if self.draw() < STATED and chosen[name].value != "plain":
                stated.add(name)
        chosen["colour"] = self.said("colour", wider=False)
        draw, dark = self.draw(), _form("colour", self.facts["colour"]).hypernyms
        if draw < STATED_COLOR:
            stated.add("colour")
        elif draw < (1 + STATED_COLOR) / 2 and dark:
            chosen["colour"] = Said("colour", self.facts["colour"], dark[0], True)
            stated.add("colour")
        self._fit(stated, {name: said.surface.count(" ") + 1 for name, said in chosen.items()})
        line = Line()
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

    def description(self) -> Line:
        """Two to four sentences: an opening, then groups in random order, each at most once."""
        n_more = 1 + (self.draw() > 0.3) + (self.draw() > 0.6)
        keys = {name: self.draw() for name in _GROUPS}
        keys["occasion"] = -1.0 if self.fits and keys["occasion"] < _OCCASION_SAID else 2.0
        keys["colour" if self.facts["pattern"] != "plain" else "pattern"] = 2.0
        line = Line()
        for group in ["opening", *sorted(keys, key=keys.__getitem__)[:n_more]]:
            if line.length:
                line.add(" ")
            self._sentence(line, self.pick(SENTENCES[group]))
        return line

    def _sentence(self, line: Line, template: str) -> None:
        noun = self.said("leaf")
        plural, waits = is_plural(noun.surface), False
        words: list[tuple[Said | None, str]] = []
        line.template, pieces = _PARSED[template]
        for kind, piece in pieces:
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

    def _word(self, kind: str, piece: str, noun: Said, plural: bool) -> tuple[Said | None, str]:
        """What stands at one piece of a template, and the fact it states, if any."""
        if kind == "text":
            return None, piece
        if kind == "agreement":
            return None, _AGREEMENT[piece][plural]
        said = noun if piece == "leaf" else self.said(piece)
        return said, said.surface

    def bullets(self) -> Line:
        """``key: value`` lines; each is left out with probability .3, and one always stays."""
        line = Line()
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


# Template -> its number, its pieces.
_PARSED = {
    template: (number, _parse(template))
    for number, template in enumerate(line for group in SENTENCES.values() for line in group)
}
