"""Reviews: the truth about what they mention, sarcasm and fakes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from reclib.shop._templates import ASPECTS, FAKES, SARCASM, VERDICTS
from reclib.shop.reviews import Reviews, reviews

N = 20_000
RANDOM = np.random.default_rng(2)
FACTS: dict[str, Any] = {
    "ratings": RANDOM.integers(1, 6, N),
    "quality": RANDOM.beta(5, 2, N),
    "color_match": RANDOM.integers(-1, 2, N),
    "delivery": RANDOM.integers(-1, 2, N),
    "leaves": RANDOM.choice(["Vase", "Boots"], N),
    "colors": RANDOM.choice(["navy", "red"], N),
}


@pytest.fixture(scope="module")
def written() -> Reviews:
    return reviews(**FACTS, generator=np.random.default_rng(0))


def within_three_errors(share: float, expected: float, n: int = N) -> bool:
    return bool(abs(share - expected) <= 3 * (expected * (1 - expected) / n) ** 0.5)


def filled(phrase: str, row: int) -> str:
    noun = str(FACTS["leaves"][row]).lower()
    phrase = phrase.replace("{leaf}", noun).replace("{is}", "are" if noun == "boots" else "is")
    return phrase.replace("{colour}", FACTS["colors"][row])


def test_five_in_a_hundred_are_sarcastic(written: Reviews) -> None:
    assert within_three_errors(written.table["sarcastic"].mean(), 0.05)


def test_three_in_a_hundred_are_fake_and_rate_five(written: Reviews) -> None:
    fake = written.table["fake"]
    assert within_three_errors(fake.mean(), 0.03)
    assert (written.table.loc[fake, "rating"] == 5).all()
    assert not (fake & written.table["sarcastic"]).any()


def test_honest_reviews_keep_their_rating(written: Reviews) -> None:
    honest = ~written.table["fake"]
    assert (written.table["rating"] == FACTS["ratings"])[honest].all()


@pytest.mark.parametrize(("aspect", "fact"), [("colour", "color_match"), ("delivery", "delivery")])
def test_polarity_is_what_the_customer_met(written: Reviews, aspect: str, fact: str) -> None:
    rows = written.aspects[written.aspects["aspect"] == aspect]
    assert (rows["polarity"].to_numpy() == FACTS[fact][rows["review"]]).all()


def test_quality_is_judged_by_its_true_value(written: Reviews) -> None:
    rows = written.aspects[written.aspects["aspect"] == "quality"]
    quality = FACTS["quality"][rows["review"]]
    expected = np.select([quality >= 0.75, quality < 0.55], [1, -1], 0)
    assert (rows["polarity"].to_numpy() == expected).all()


def test_size_is_right_more_often_when_the_rating_is_high(written: Reviews) -> None:
    rows = written.aspects[written.aspects["aspect"] == "size"]
    by_rating = rows.groupby(FACTS["ratings"][rows["review"]])["polarity"].mean()
    assert by_rating.is_monotonic_increasing


def test_every_aspect_listed_is_said_in_the_text(written: Reviews) -> None:
    texts = written.table["text"].str.lower().tolist()
    for row in written.aspects.head(5_000).itertuples():
        phrases = ASPECTS[row.aspect][row.said]
        assert any(filled(phrase, row.review).lower() in texts[row.review] for phrase in phrases)


def test_nothing_but_the_aspects_listed_is_said(written: Reviews) -> None:
    """The length of a text is the length of its verdict, clauses and joints."""
    listed = written.aspects.groupby("review")["aspect"].agg(set)
    for row in range(0, N, 50):
        text = written.table.at[row, "text"].lower()
        said = {
            aspect
            for aspect, by_polarity in ASPECTS.items()
            for phrases in by_polarity.values()
            for phrase in phrases
            if filled(phrase, row).lower() in text
        }
        assert said == listed.get(row, set()), text


def test_only_bitter_reviews_say_other_than_they_mean(written: Reviews) -> None:
    rows = written.aspects
    bitter = (written.table["sarcastic"] & (FACTS["ratings"] <= 3)).to_numpy()[rows["review"]]
    assert (rows["said"] == rows["polarity"])[~bitter].all()
    assert (rows["said"] == rows["polarity"].abs())[bitter].all()


def test_the_verdict_goes_with_the_rating(written: Reviews) -> None:
    table = written.table
    for rating, options in VERDICTS.items():
        rows = table[(table["rating"] == rating) & ~table["sarcastic"] & ~table["fake"]]
        assert rows["text"].str.contains("|".join(options)).all()


def test_a_sarcastic_verdict_sounds_like_the_opposite(written: Reviews) -> None:
    table = written.table[written.table["sarcastic"]]
    for low, options in ((True, SARCASM[-1]), (False, SARCASM[1])):
        rows = table[(table["rating"] <= 3) == low]
        assert rows["text"].str.contains("|".join(options)).all()


def test_a_fake_mentions_no_aspect(written: Reviews) -> None:
    fake = np.flatnonzero(written.table["fake"])
    assert not written.aspects["review"].isin(fake).any()
    starts = tuple(text.split("{")[0] for text in FAKES)
    assert all(text.startswith(starts) for text in written.table["text"].iloc[fake])


def test_mentions_lean_towards_the_rating(written: Reviews) -> None:
    rows = written.aspects[written.aspects["aspect"] == "delivery"]
    by_rating = rows.groupby(FACTS["ratings"][rows["review"]])["polarity"].mean()
    assert by_rating[1] < -0.15 < 0.15 < by_rating[5]  # in truth independent here


def test_one_to_three_aspects_are_mentioned(written: Reviews) -> None:
    counts = written.aspects.groupby("review").size()
    assert set(counts) == {1, 2, 3}
    assert not written.aspects.duplicated(["review", "aspect"]).any()


def test_texts_have_no_brace_and_end_with_a_full_stop(written: Reviews) -> None:
    assert not written.table["text"].str.contains(r"[{}]|  ").any()
    assert written.table["text"].str.endswith(".").all()


def test_the_same_stream_writes_the_same_reviews(written: Reviews) -> None:
    again = reviews(**FACTS, generator=np.random.default_rng(0))
    pd.testing.assert_frame_equal(again.table, written.table)
    pd.testing.assert_frame_equal(again.aspects, written.aspects)


def test_no_ratings_have_no_reviews() -> None:
    empty = reviews([], [], [], [], [], [], np.random.default_rng(0))
    assert len(empty.table) == 0 and len(empty.aspects) == 0


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("ratings", 6, "ratings must be between 1 and 5, got 6 to 6"),
        ("quality", np.nan, "quality must be between 0 and 1, got nan to nan"),
        ("color_match", 2, "color_match must be between -1 and 1, got 2 to 2"),
        ("delivery", -2, "delivery must be between -1 and 1, got -2 to -2"),
    ],
)
def test_bad_values_are_named(name: str, value: float, message: str) -> None:
    one = {key: column[:1] for key, column in FACTS.items()} | {name: [value]}
    with pytest.raises(ValueError, match=message):
        reviews(**one, generator=np.random.default_rng(0))


def test_a_column_of_another_length_is_named() -> None:
    with pytest.raises(ValueError, match="leaves must have 20000 values, got 1"):
        reviews(**{**FACTS, "leaves": ["Vase"]}, generator=np.random.default_rng(0))
