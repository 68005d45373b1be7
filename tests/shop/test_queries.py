"""Search queries: lengths, what is said, mistakes, languages."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from reclib.shop import _words as words
from reclib.shop._vocabulary import ADJECTIVES, PADDING, foreign, forms, neighbours
from reclib.shop.queries import Queries, QueryWriter

N = 30_000
LEAVES = [
    leaf
    for categories in words.TAXONOMIES["home"].values()
    for leaves in categories.values()
    for leaf in leaves
]
VALUES = [
    (name, value)
    for name, values in (
        ("colour", words.COLORS),
        ("material", words.MATERIALS),
        ("pattern", words.PATTERNS),
        ("style", words.STYLES),
    )
    for value in values
]
BRANDS = words.brand_names(40)
# Words of another language that are English or a value's as well.
SHARED = {"de", "chalk", "rose", "jersey", "marine"}
LENGTHS = (0.055, 0.245, 0.34, 0.21, 0.10, 0.05)


def requests(n: int = N) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    random = np.random.default_rng(3)
    wanted = random.integers(0, len(VALUES), (n, 3))
    wanted[np.arange(3) >= random.integers(0, 4, (n, 1))] = -1
    brands = np.where(random.random(n) < 0.3, random.integers(0, len(BRANDS), n), -1)
    return random.integers(0, len(LEAVES), n), wanted, brands


WRITER = QueryWriter(LEAVES, VALUES, BRANDS)
REQUESTS = requests()


@pytest.fixture(scope="module")
def queries() -> Queries:
    return WRITER.write(*REQUESTS, np.random.default_rng(0))


def write(
    leaf: str, wanted: list[tuple[str, str]], brand: str | None = None, n: int = 4_000
) -> Queries:
    codes = [VALUES.index(pair) for pair in wanted]
    row = np.array(codes + [-1] * (3 - len(codes)))
    return WRITER.write(
        np.full(n, LEAVES.index(leaf)),
        np.tile(row, (n, 1)),
        np.full(n, BRANDS.index(brand) if brand else -1),
        np.random.default_rng(1),
    )


@pytest.fixture
def faultless(monkeypatch: pytest.MonkeyPatch) -> None:
    """No typing mistakes, no other language."""
    for name in ("MISTYPED", "MISTYPED_BRAND", "MIXED"):
        monkeypatch.setattr(f"reclib.shop.queries.{name}", 1e-12)


def within_three_errors(share: float, expected: float, n: int = N) -> bool:
    return bool(abs(share - expected) <= 3 * (expected * (1 - expected) / n) ** 0.5)


@pytest.mark.parametrize("length", range(1, 7))
def test_queries_have_the_measured_lengths(queries: Queries, length: int) -> None:
    share = np.mean([len(text.split()) == length for text in queries.texts])
    assert within_three_errors(float(share), LENGTHS[length - 1])


def test_queries_are_lower_case_without_stray_spaces(queries: Queries) -> None:
    assert all(text == " ".join(text.lower().split()) and text for text in queries.texts)


def test_two_in_a_hundred_mix_languages(queries: Queries) -> None:
    assert within_three_errors(np.mean([one == "mixed" for one in queries.languages]), 0.02)
    assert set(queries.languages) == {"en", "mixed"}


def test_a_mixed_query_has_a_foreign_word_and_no_other_query_has(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("reclib.shop.queries.MISTYPED", 1e-12)
    leaves, wanted, brands = REQUESTS
    texts, languages = WRITER.write(leaves, wanted, brands, np.random.default_rng(0))
    for leaf, text, language in zip(leaves.tolist(), texts, languages, strict=True):
        abroad = " ".join(foreign("leaf", LEAVES[leaf])).lower().split()
        own = forms("leaf", LEAVES[leaf])
        english = " ".join((own.common, *own.synonyms, *own.hypernyms)).lower().split()
        if language == "mixed":
            assert set(text.split()) & set(abroad), text
        else:
            assert not set(text.split()) & (set(abroad) - set(english) - SHARED), text


def test_every_word_is_one_of_ours(faultless: None) -> None:
    own = {*ADJECTIVES, *PADDING}
    for attribute, value in [("leaf", leaf) for leaf in LEAVES] + VALUES:
        form = forms(attribute, value)
        for text in (form.common, *form.synonyms, *form.hypernyms):
            own.update(text.lower().split())
    own.update(name.lower() for name in BRANDS)
    texts = WRITER.write(*REQUESTS, np.random.default_rng(0)).texts
    assert {word for text in texts for word in text.split()} <= own


def test_a_query_says_what_is_wanted_and_nothing_else(faultless: None) -> None:
    texts = write("Vase", [("colour", "navy")]).texts
    allowed = {*ADJECTIVES, *PADDING}
    for attribute, value in (("leaf", "Vase"), ("colour", "navy")):
        form = forms(attribute, value)
        for text in (form.common, *form.synonyms, *form.hypernyms):
            allowed.update(text.lower().split())
    assert {word for text in texts for word in text.split()} <= allowed


def test_no_query_says_a_word_of_its_leaf_twice(faultless: None) -> None:
    leaves, wanted, brands = REQUESTS
    texts = WRITER.write(leaves, np.full_like(wanted, -1), np.full_like(brands, -1),
                         np.random.default_rng(0)).texts  # fmt: skip
    twice = [text for text in texts if len(set(text.split())) < len(text.split())]
    assert twice == []


def test_nobody_types_plain(faultless: None) -> None:
    texts = write("Vase", [("pattern", "plain")]).texts
    assert not any("plain" in text or "one-colour" in text for text in texts)


@pytest.mark.parametrize(
    ("head", "share"),
    [("mobile", 0.65 + 0.125), ("toy", 0.125), ("nursery", 0.1)],  # and "cot mobile"
)
def test_synonyms_and_wider_words_have_their_shares(
    faultless: None, monkeypatch: pytest.MonkeyPatch, head: str, share: float
) -> None:
    """A query of one word is the head of one form of the leaf, where no word is left out."""
    monkeypatch.setattr("reclib.shop.queries.DROPPED", 0.0)
    texts = [text for text in write("Mobile", [], n=60_000).texts if " " not in text]
    assert within_three_errors(texts.count(head) / len(texts), share, len(texts))


def test_a_word_is_left_out_at_its_rate(faultless: None) -> None:
    """The head comes first of all, so a query of one word says it unless it is left out."""
    texts = [text for text in write("Vase", [], n=60_000).texts if " " not in text]
    assert within_three_errors(texts.count("vase") / len(texts), 0.9 * 0.85, len(texts))


def test_the_order_of_one_in_ten_is_shuffled(faultless: None) -> None:
    texts = [
        text for text in write("Vase", [("colour", "red"), ("style", "rustic")], n=20_000).texts
    ]
    both = [
        text.index("red") < text.index("rustic")
        for text in texts
        if re.search(r"\bred\b", text) and re.search(r"\brustic\b", text)
    ]
    assert within_three_errors(1 - float(np.mean(both)), 0.05, len(both))


def distance(one: str, other: str) -> int:
    """Edits between two words, a swap of neighbours counting as one: the slow obvious way."""
    table = np.zeros((len(one) + 1, len(other) + 1), dtype=int)
    table[:, 0], table[0] = np.arange(len(one) + 1), np.arange(len(other) + 1)
    for i in range(1, len(one) + 1):
        for j in range(1, len(other) + 1):
            change = one[i - 1] != other[j - 1]
            table[i, j] = min(
                table[i - 1, j] + 1, table[i, j - 1] + 1, table[i - 1, j - 1] + change
            )
            if i > 1 and j > 1 and one[i - 1] == other[j - 2] and one[i - 2] == other[j - 1]:
                table[i, j] = min(table[i, j], table[i - 2, j - 2] + 1)
    return int(table[-1, -1])


def paired(monkeypatch: pytest.MonkeyPatch, queries: Queries) -> list[tuple[str, str]]:
    """(as meant, as typed) words of 3 letters and more that are not padding."""
    for name in ("MISTYPED", "MISTYPED_BRAND"):
        monkeypatch.setattr(f"reclib.shop.queries.{name}", 0.0)
    meant = WRITER.write(*REQUESTS, np.random.default_rng(0)).texts
    return [
        (right, typed)
        for one, other in zip(meant, queries.texts, strict=True)
        for right, typed in zip(one.split(), other.split(), strict=True)
        if len(right) >= 3 and right not in PADDING
    ]


def test_words_are_mistyped_at_their_rate(
    monkeypatch: pytest.MonkeyPatch, queries: Queries
) -> None:
    pairs = paired(monkeypatch, queries)
    names = {name.lower() for name in BRANDS}
    for is_brand, rate in ((False, 0.08), (True, 0.1)):
        wrong = [right != typed for right, typed in pairs if (right in names) == is_brand]
        assert within_three_errors(float(np.mean(wrong)), rate, len(wrong))


def test_a_mistake_is_one_edit(monkeypatch: pytest.MonkeyPatch, queries: Queries) -> None:
    for right, typed in paired(monkeypatch, queries):
        if right != typed:
            assert distance(right, typed) == 1, (right, typed)


@pytest.mark.parametrize("kind", range(4))
@pytest.mark.parametrize("word", ["mug", "eee", "t-shirt", "sofá"])
def test_every_mistake_changes_the_word_by_one_edit(word: str, kind: int) -> None:
    for place in np.arange(0, 1, 0.05):
        assert distance(word, WRITER._mistyped(word, kind, place, 0.99)) == 1


def test_mistakes_have_their_kinds(monkeypatch: pytest.MonkeyPatch, queries: Queries) -> None:
    wrong = [(right, typed) for right, typed in paired(monkeypatch, queries) if right != typed]
    n = len(wrong)
    assert within_three_errors(
        np.mean([len(typed) < len(right) for right, typed in wrong]), 0.25, n
    )
    swapped = np.mean([sorted(typed) == sorted(right) for right, typed in wrong])
    assert 0.17 < swapped <= 0.21  # a swap of equal letters becomes a double
    near = neighbours()
    replaced = [
        (a, b)
        for right, typed in wrong
        if len(typed) == len(right) and sorted(typed) != sorted(right)
        for a, b in zip(right, typed, strict=True)
        if a != b
    ]
    assert within_three_errors(len(replaced) / n, 0.4, n)
    assert all(b in near.get(a, "e") for a, b in replaced)


def test_some_words_of_queries_occur_in_no_title() -> None:
    """The realism bounds, on titles that use every form at least once: only mistakes remain."""
    titles = {
        word
        for attribute, value in [("leaf", leaf) for leaf in LEAVES] + VALUES
        for form in [forms(attribute, value)]
        for text in (form.common, *form.synonyms, *form.hypernyms)
        for word in re.findall(r"[^\W\d_]+", text.lower())
    } | {name.lower() for name in BRANDS} | set(ADJECTIVES)  # fmt: skip
    texts = WRITER.write(*REQUESTS, np.random.default_rng(0)).texts
    unknown = [
        [word not in titles for word in re.findall(r"[^\W\d_]+", text) if len(word) >= 4]
        for text in texts
    ]
    assert 0.05 <= np.mean(np.concatenate(unknown)) <= 0.12
    assert 0.15 <= np.mean([any(row) for row in unknown]) <= 0.28


def test_the_same_stream_writes_the_same_queries(queries: Queries) -> None:
    again = QueryWriter(LEAVES, VALUES, BRANDS).write(*REQUESTS, np.random.default_rng(0))
    assert again == queries


def test_unknown_leaves_and_values_are_said_as_they_are_written() -> None:
    writer = QueryWriter(["Gizmo"], [("taste", "sour")], [])
    none = np.full(500, -1)
    texts, languages = writer.write(
        np.zeros(500, dtype=np.int64), np.stack([none + 1, none, none], 1), none,
        np.random.default_rng(0),
    )  # fmt: skip
    assert set(languages) == {"en"}
    assert any("sour gizmo" in text for text in texts)


def test_no_requests_are_no_queries() -> None:
    none = np.zeros(0, dtype=np.int64)
    assert WRITER.write(none, none.reshape(0, 3), none, np.random.default_rng(0)) == ([], [])


@pytest.mark.parametrize(
    ("leaves", "wanted", "brands", "message"),
    [
        ([60], [[-1, -1, -1]], [-1], "leaves must be between 0 and 59, got 60 to 60"),
        ([-1], [[-1, -1, -1]], [-1], "leaves must be between 0 and 59, got -1 to -1"),
        ([0], [[-1, -1]], [-1], r"wanted must have shape \(1, 3\), got \(1, 2\)"),
        ([0], [[-2, -1, -1]], [-1], "wanted must be between -1 and 31, got -2 to -1"),
        ([0], [[-1, -1, -1]], [40], "brands must be between -1 and 39, got 40 to 40"),
        ([0], [[-1, -1, -1]], [0, 1], r"brands must have shape \(1,\), got \(2,\)"),
    ],
)
def test_bad_requests_are_named(leaves: Any, wanted: Any, brands: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        WRITER.write(np.array(leaves), np.array(wanted), np.array(brands), np.random.default_rng(0))
