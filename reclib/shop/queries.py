"""What people type into the shop's search box.

query = n words of [brand] [values wanted] [type noun] [padding], n ~ (.055, .245, .34, .21, .10,
.05) on 1..6; a term is said by a synonym with probability .25 and by a wider word .1, a word is
left out .15 and mistyped .08 (a brand .1), the order is shuffled .1, and 2 % mix languages.

Source: this shop's specification, section 1.7; the distribution of lengths was measured there.

Differences from the specification: 1. the length is drawn first, then words go (values after the
second, modifiers, brand) or are added (an adjective without meaning, a wider word for the leaf, and
words of at most three letters), because the slots alone do not give the measured lengths;
2. typing mistakes spare the short words, and always change a word; 3. a plain pattern is wanted
but never typed; 4. a code-mixed query has its type noun and its colours in one other language.

Chapter: shop/simulation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from reclib.shop._vocabulary import (
    ADJECTIVES,
    HYPERNYM,
    LANGUAGES,
    PADDING,
    SYNONYM,
    Forms,
    foreign,
    forms,
    neighbours,
)

__all__ = ["Queries", "QueryWriter"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

LENGTH_SHARES = (0.055, 0.245, 0.34, 0.21, 0.10, 0.05)  # of 1 to 6 words
DROPPED, SHUFFLED, MIXED, MISTYPED, MISTYPED_BRAND = 0.15, 0.1, 0.02, 0.08, 0.1
MISTAKES = {"neighbour": 0.4, "drop": 0.25, "double": 0.15, "swap": 0.2}

_WIDTH = 3  # most words of one term
_N_PADS = len(LENGTH_SHARES) - 1
# Which words stay when the query is shorter than what there is to say: the term's last word (its
# head) and the words before it. Terms: brand, three values, type noun, another name of the leaf.
_HEAD = np.array([2.0, 1.0, 3.0, 6.0, 0.0, 22.0])
_MODIFIER = np.array([7.0, 5.0, 6.5, 8.0, 4.0, 22.5])
_LEAF, _AGAIN = 4, 5


class Queries(NamedTuple):
    """``texts``: B queries; ``languages``: "en" or "mixed" for each."""

    texts: list[str]
    languages: list[str]


class QueryWriter:
    """Writes queries about one shop's leaves, values and brands.

    Args:
        leaves: names of the L leaves.
        values: P pairs (attribute, value) that can be wanted.
        brands: names of the brands.
    """

    def __init__(
        self, leaves: Sequence[str], values: Sequence[tuple[str, str]], brands: Sequence[str]
    ) -> None:
        self._ids: dict[str, int] = {}
        self._table: list[list[int]] = []
        self._first: list[int] = []
        self._counts: list[tuple[int, int]] = []
        terms = [("leaf", name) for name in leaves] + list(values)
        for term in terms:
            # Nobody types that a pattern should be plain.
            self._add(Forms("", (), ()) if term[1] == "plain" else forms(*term))
        self._brands = len(terms)
        for name in brands:
            self._add(Forms(name, (), ()))
        self._none = self._add(Forms("", (), ()))
        self._sizes = (len(leaves), len(values), len(brands))
        abroad = [[self._add(Forms(word, (), ())) for word in foreign(*term)] for term in terms]
        stay = np.arange(len(self._first))[:, None].repeat(len(LANGUAGES), axis=1)
        for term_id, row in enumerate(abroad):
            stay[term_id] = row or stay[term_id]
        self._abroad = stay
        self._adjectives = np.array([self._word(word) for word in ADJECTIVES])
        self._pads = np.array([self._word(word) for word in PADDING])
        self._forms = np.array(self._table)
        self._start = np.array(self._first)
        self._n_synonyms, self._n_hypernyms = np.array(self._counts).T
        self._words = np.array([*self._ids], dtype=object)
        self._typable = np.array([len(word) >= 3 and word not in PADDING for word in self._ids])
        self._near = neighbours()

    def _word(self, word: str) -> int:
        return self._ids.setdefault(word.lower(), len(self._ids))

    def _add(self, form: Forms) -> int:
        """Add a term with its forms, common one first; words stand at the right end of a row."""
        self._first.append(len(self._table))
        self._counts.append((len(form.synonyms), len(form.hypernyms)))
        for text in (form.common, *form.synonyms, *form.hypernyms):
            ids = [self._word(word) for word in text.split()][-_WIDTH:]
            self._table.append([-1] * (_WIDTH - len(ids)) + ids)
        return len(self._first) - 1

    def write(
        self, leaves: Ints, wanted: Ints, brands: Ints, generator: np.random.Generator
    ) -> Queries:
        """One query for each request.

        Args:
            leaves: (B,) leaf looked for.
            wanted: (B, 3) positions in ``values``, -1 for none.
            brands: (B,) position in ``brands``, -1 for none.
            generator: a stream of its own; how much is drawn depends on B, and for typing
                mistakes on the words.

        Raises:
            ValueError: if shapes differ or a code is outside its list.
        """
        self._check(leaves, wanted, brands)
        if not len(leaves):
            return Queries([], [])
        n_rows, n_leaves = len(leaves), self._sizes[0]
        terms = np.empty((n_rows, 6), dtype=np.int64)
        terms[:, 0] = np.where(brands >= 0, self._brands + brands, self._none)
        terms[:, 1:_LEAF] = np.where(wanted >= 0, n_leaves + wanted, self._none)
        terms[:, _LEAF] = terms[:, _AGAIN] = leaves
        draw = generator.random(n_rows)
        language = (draw / MIXED * len(LANGUAGES)).astype(np.int64)
        mixed = (draw < MIXED) & (self._abroad[leaves, 0] != leaves)
        terms[mixed, :_AGAIN] = self._abroad[terms[mixed, :_AGAIN], language[mixed, None]]
        words = self._forms[self._said(terms, generator)]  # (B, 6, 3)
        words = self._fit(words, mixed, generator)  # (B, 18 + pads), -1 where nothing is said
        texts = self._typed(words, generator)
        return Queries(texts, np.where(mixed, "mixed", "en").tolist())

    def _check(self, leaves: Ints, wanted: Ints, brands: Ints) -> None:
        n_rows = len(leaves)
        for name, codes, shape, size, low in (
            ("leaves", leaves, (n_rows,), self._sizes[0], 0),
            ("wanted", wanted, (n_rows, 3), self._sizes[1], -1),
            ("brands", brands, (n_rows,), self._sizes[2], -1),
        ):
            if codes.shape != shape:
                raise ValueError(f"{name} must have shape {shape}, got {codes.shape}")
            if n_rows and not (low <= codes.min() and codes.max() < size):
                raise ValueError(
                    f"{name} must be between {low} and {size - 1}, "
                    f"got {codes.min()} to {codes.max()}"
                )

    def _said(self, terms: Ints, generator: np.random.Generator) -> Ints:
        """(B, 6) the form of each term; the leaf's other name is wider or the common one."""
        draw = generator.random(terms.shape)
        synonyms, hypernyms = self._n_synonyms[terms], self._n_hypernyms[terms]
        low = np.where(hypernyms > 0, HYPERNYM, 0.0)
        wider = 1 + synonyms + (draw / HYPERNYM * hypernyms).astype(np.int64)
        other = 1 + ((draw - low) / SYNONYM * synonyms).astype(np.int64)
        at = np.where(draw < low, wider, np.where(draw < low + SYNONYM, other, 0))
        at[(synonyms == 0) & (draw >= low)] = 0
        first, synonyms, hypernyms = at[:, _LEAF], synonyms[:, _AGAIN], hypernyms[:, _AGAIN]
        wider = 1 + synonyms + (draw[:, _AGAIN] * hypernyms).astype(np.int64)
        at[:, _AGAIN] = np.where((hypernyms > 0) & (first <= synonyms), wider, 0)
        said = self._start[terms] + at
        said[at[:, _AGAIN] == first, _AGAIN] = self._start[self._none]
        return said

    def _fit(self, words: Ints, mixed: NDArray[np.bool_], generator: np.random.Generator) -> Ints:
        """Leave words out, bring each row to its length, and shuffle some rows."""
        n_rows, n_terms, width = words.shape
        lengths = 1 + generator.choice(len(LENGTH_SHARES), n_rows, p=LENGTH_SHARES)
        priority = np.broadcast_to(_MODIFIER[:, None], (n_terms, width)).copy()
        priority[:, -1] = _HEAD
        dropped = generator.random(words.shape) < DROPPED
        dropped[mixed, _LEAF] = False
        again = words[:, _AGAIN, :, None] == words[:, _LEAF, None, :]
        words[:, _AGAIN][again.any(2)] = -1  # no word twice
        # Dropped words come last of all, so that no query is left without words.
        priorities = np.where(dropped, priority + 60, priority).reshape(n_rows, -1)
        words = words.reshape(n_rows, -1)
        words, priorities = self._padded(words, priorities, generator)
        priorities[words < 0] = np.inf
        limit = np.sort(priorities, axis=1)[np.arange(n_rows), lengths - 1]
        # Two words may tie at the limit; the left one goes then, the head stands on the right.
        keep = priorities <= limit[:, None]
        surplus = keep.sum(1) - lengths
        tied = (priorities == limit[:, None]).cumsum(1) <= surplus[:, None]
        keep &= ~(tied & (priorities == limit[:, None]))
        words = np.where(keep, words, -1)
        rows = np.flatnonzero(generator.random(n_rows) < SHUFFLED)
        words[rows] = generator.permuted(words[rows], axis=1)
        return words

    def _padded(
        self, words: Ints, priorities: Floats, generator: np.random.Generator
    ) -> tuple[Ints, Floats]:
        """An adjective before the words, and short words after them."""
        n_rows = len(words)
        adjective = self._adjectives[generator.integers(0, len(self._adjectives), (n_rows, 1))]
        first = generator.integers(0, len(self._pads), (n_rows, 1))
        pads = self._pads[(first + np.arange(_N_PADS)) % len(self._pads)]
        # The adjective comes before the leaf's other name in half of the queries.
        early = 20.0 + 10 * generator.integers(0, 2, (n_rows, 1))
        late = np.broadcast_to(40.0 + np.arange(_N_PADS), pads.shape)
        return (
            np.concatenate([adjective, words, pads], axis=1),
            np.concatenate([early, priorities, late], axis=1),
        )

    def _typed(self, words: Ints, generator: np.random.Generator) -> list[str]:
        """The texts, with typing mistakes."""
        said = words >= 0
        ids = words[said]
        typed: list[str] = self._words[ids].tolist()
        is_brand = np.zeros(len(self._words), dtype=bool)
        brand_forms = self._forms[self._start[self._brands : self._none]]
        is_brand[brand_forms[brand_forms >= 0]] = True
        limit = np.where(is_brand[ids], MISTYPED_BRAND, MISTYPED)
        wrong = np.flatnonzero((generator.random(len(ids)) < limit) & self._typable[ids])
        kinds = generator.choice(len(MISTAKES), len(wrong), p=list(MISTAKES.values()))
        where = generator.random((len(wrong), 2))
        for at, kind, (place, key) in zip(
            wrong.tolist(), kinds.tolist(), where.tolist(), strict=True
        ):
            typed[at] = self._mistyped(typed[at], kind, place, key)
        ends = said.sum(1).cumsum().tolist()
        return [
            " ".join(typed[start:end]) for start, end in zip([0, *ends[:-1]], ends, strict=True)
        ]

    def _mistyped(self, word: str, kind: int, place: float, key: float) -> str:
        """``word`` with one mistake, number ``kind`` of `MISTAKES`, at a share of its length."""
        at = int(place * len(word))
        if kind == 0:
            near = self._near.get(word[at], "e")
            return word[:at] + near[int(key * len(near))] + word[at + 1 :]
        if kind == 1:
            return word[:at] + word[at + 1 :]
        at = min(at, len(word) - 2)
        if kind == 3 and word[at] != word[at + 1]:
            return word[:at] + word[at + 1] + word[at] + word[at + 2 :]
        return word[: at + 1] + word[at:]
