"""What the shop's pages say: words, spans, shares of what is stated."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest

from reclib.shop import _words as words
from reclib.shop._occasions import OCCASIONS
from reclib.shop._page import is_plural
from reclib.shop._templates import SENTENCES
from reclib.shop._vocabulary import ADJECTIVES, foreign, forms, has_entry, neighbours
from reclib.shop.text import Texts, describe

N = 2_000
LEAVES = {
    domain: [
        leaf
        for categories in words.TAXONOMIES[domain].values()
        for leaves in categories.values()
        for leaf in leaves
    ]
    for domain in words.DOMAINS
}
VALUES = {
    "colour": words.COLORS,
    "material": words.MATERIALS,
    "pattern": words.PATTERNS,
    "style": words.STYLES,
    "audience": words.AUDIENCES,
    "season": words.SEASONS,
    "size": words.SIZES,
    "feature": tuple(sorted({name for names in words.FEATURES.values() for name in names})),
    "origin": words.ORIGINS,
    "occasion": OCCASIONS,
}


def catalogue(n: int = N) -> tuple[pd.DataFrame, list[list[str]]]:
    """A shop window without rules: every column uniform, two occasions for every second item."""
    random = np.random.default_rng(7)
    table = pd.DataFrame({"item": np.arange(n)})
    table["leaf"] = random.choice(LEAVES["home"], n)
    table["brand"] = random.choice(words.brand_names(40), n)
    for name, values in VALUES.items():
        if name != "occasion":
            table[name] = random.choice(values, n)
    fits = [list(random.choice(OCCASIONS, 2, replace=False)) if i % 2 else [] for i in range(n)]
    return table, fits


PRODUCTS, FITS = catalogue()


@pytest.fixture(scope="module")
def texts() -> Texts:
    return describe(PRODUCTS, FITS, np.random.default_rng(0))


def within_three_errors(share: float, expected: float, n: int = N) -> bool:
    return abs(share - expected) <= 3 * (expected * (1 - expected) / n) ** 0.5


def stated(texts: Texts, field: str, attribute: str) -> float:
    rows = texts.mentions
    rows = rows[(rows["field"] == field) & (rows["attribute"] == attribute) & ~rows["hypernym"]]
    return rows["item"].nunique() / N


def test_every_leaf_has_an_entry_and_a_word_in_three_languages() -> None:
    for leaf in (*LEAVES["home"], *LEAVES["sport"]):
        assert has_entry("leaf", leaf), leaf
        assert len(foreign("leaf", leaf)) == 3, leaf


def test_every_value_has_an_entry() -> None:
    missing = [
        (name, value)
        for name, values in VALUES.items()
        for value in values
        if not has_entry(name, value)
    ]
    assert missing == []


def test_every_value_has_two_to_four_forms() -> None:
    for name, values in {**VALUES, "leaf": (*LEAVES["home"], *LEAVES["sport"])}.items():
        for value in values:
            assert 2 <= 1 + len(forms(name, value).synonyms) <= 4, (name, value)


def test_no_form_but_a_hypernym_belongs_to_two_values() -> None:
    for name, values in {**VALUES, "home": LEAVES["home"], "sport": LEAVES["sport"]}.items():
        attribute = "leaf" if name in LEAVES else name
        own = [forms(attribute, value) for value in values]
        said = [text for form in own for text in (form.common, *form.synonyms)]
        wider = {text for form in own for text in form.hypernyms}
        assert len(said) == len(set(said)), sorted({text for text in said if said.count(text) > 1})
        assert not wider & set(said), wider & set(said)


def test_spans_point_at_their_surface(texts: Texts) -> None:
    pages = texts.table.set_index("item")
    for row in texts.mentions.itertuples():
        assert pages.at[row.item, row.field][row.start : row.end] == row.surface


def test_a_surface_is_a_form_of_the_value(texts: Texts) -> None:
    kinds = texts.mentions.drop_duplicates(["attribute", "value", "surface", "hypernym"])
    for row in kinds[kinds["attribute"] != "code"].itertuples():
        form = forms(row.attribute, row.value)
        options = form.hypernyms if row.hypernym else (form.common, *form.synonyms)
        assert row.surface.lower() in {option.lower() for option in options}, row


def test_mentions_state_what_the_table_says(texts: Texts) -> None:
    rows = texts.mentions[~texts.mentions["attribute"].isin(["occasion", "code"])]
    long = PRODUCTS.set_index("item").stack()
    truth = long.loc[list(zip(rows["item"], rows["attribute"], strict=True))]
    assert (truth.to_numpy() == rows["value"].to_numpy()).all()


def test_spans_do_not_overlap(texts: Texts) -> None:
    rows = texts.mentions.sort_values(["item", "field", "start"])
    same = (rows["item"].diff() == 0) & (rows["field"] == rows["field"].shift())
    assert (rows["start"] >= rows["end"].shift())[same].all()


def test_every_form_in_a_title_is_a_mention(texts: Texts) -> None:
    """Empty adjectives apart, a title consists of its mentions: nothing said is left untagged."""
    rows = texts.mentions[texts.mentions["field"] == "title"]
    joined = rows.groupby("item")["surface"].agg(" ".join)
    empty = re.compile(f" ({'|'.join(ADJECTIVES)})(?= )")
    assert (
        joined == texts.table.set_index("item")["title"].str.replace(empty, "", regex=True)
    ).all()


def test_titles_have_five_to_nine_words(texts: Texts) -> None:
    lengths = texts.table["title"].str.split().str.len()
    assert lengths.min() >= 5 and lengths.max() <= 9
    assert 6 < lengths.mean() < 8


@pytest.mark.parametrize(
    ("attribute", "share"), [("brand", 1.0), ("colour", 0.89), ("style", 0.7), ("material", 0.7)]
)
def test_titles_state_the_stated_share(texts: Texts, attribute: str, share: float) -> None:
    rows = texts.mentions[texts.mentions["field"] == "title"]
    if attribute != "colour":
        found = rows.loc[rows["attribute"] == attribute, "item"].nunique() / N
        assert within_three_errors(found, share)
    else:
        assert within_three_errors(stated(texts, "title", attribute), share)


def test_a_plain_pattern_is_never_stated(texts: Texts) -> None:
    assert not (texts.mentions["value"] == "plain").any()
    assert not texts.table["description"].str.contains("plain").any()


def test_other_patterns_are_stated_in_seven_titles_of_ten(texts: Texts) -> None:
    patterned = PRODUCTS["pattern"] != "plain"
    rows = texts.mentions[
        (texts.mentions["field"] == "title") & (texts.mentions["attribute"] == "pattern")
    ]
    n = int(patterned.sum())
    assert within_three_errors(rows["item"].nunique() / n, 0.7, n)


def test_synonyms_and_hypernyms_have_their_shares(texts: Texts) -> None:
    rows = texts.mentions[
        (texts.mentions["field"] == "title") & (texts.mentions["attribute"] == "leaf")
    ]
    common = [forms("leaf", value).common for value in rows["value"]]
    n = len(rows)
    assert within_three_errors(rows["hypernym"].mean(), 0.1, n)
    assert within_three_errors((rows["surface"] == common).mean(), 0.65, n)


def test_occasions_stand_in_descriptions_only_and_fit(texts: Texts) -> None:
    rows = texts.mentions[texts.mentions["attribute"] == "occasion"]
    assert set(rows["field"]) == {"description"}
    assert all(row.value in FITS[row.item] for row in rows.itertuples())


def test_seven_of_ten_products_with_an_occasion_name_one(texts: Texts) -> None:
    rows = texts.mentions[texts.mentions["attribute"] == "occasion"]
    assert within_three_errors(rows["item"].nunique() / (N // 2), 0.7, N // 2)


def test_descriptions_have_two_to_four_sentences(texts: Texts) -> None:
    counts = texts.table["description"].str.count(r"[.?](?: [A-Z]|$)")
    questions = texts.table["description"].str.count(r"\? ")  # a question and its answer are one
    assert set((counts - questions).unique()) == {2, 3, 4}


def test_sentences_leave_no_brace_and_no_double_space(texts: Texts) -> None:
    for name in ("title", "description", "bullets"):
        assert not texts.table[name].str.contains(r"[{}]|  |^ | $").any()


def test_there_are_about_sixty_sentences() -> None:
    assert 55 <= sum(len(group) for group in SENTENCES.values()) <= 70


def test_mentions_name_the_template_of_their_sentence(texts: Texts) -> None:
    templates = [template for group in SENTENCES.values() for template in group]
    rows = texts.mentions[texts.mentions["field"] == "description"]
    for template, attribute in {(row.template, row.attribute) for row in rows.itertuples()}:
        assert f"{{{attribute}}}" in templates[template]
    assert (texts.mentions.loc[texts.mentions["field"] != "description", "template"] == -1).all()


def test_articles_and_verbs_agree_with_the_noun(texts: Texts) -> None:
    text = " ".join(texts.table["description"])
    assert not re.search(r"\b[Aa] [aeio](?!ne-)", text)
    assert not re.search(r"\b[Aa]n [bcdfghjklmnpqrstvwyz]", text)
    assert not re.search(r"\b[Aa]n? (\w+ )?(trainers|boots|jeans)\b", text)
    assert not re.search(r"\b[Tt]his (trainers|boots|jeans)\b", text)
    assert not re.search(r"\b[Tt]hese (armchair|vase|coat)\b", text)


@pytest.mark.parametrize(
    ("noun", "plural"), [("boots", True), ("vase", False), ("dress", False), ("tee", False)]
)
def test_plurals_are_told_from_the_ending(noun: str, plural: bool) -> None:
    assert is_plural(noun) is plural


def test_bullets_are_keys_and_values(texts: Texts) -> None:
    lines = texts.table["bullets"].str.split("\n").explode()
    assert lines.str.fullmatch(r"[A-Z][a-z ]+: .+").all()
    assert lines.notna().all()


def test_the_vocabulary_of_a_tiny_shop_has_about_six_hundred_words() -> None:
    leaves = [
        leaf
        for categories in words.TAXONOMIES["home"].values()
        for names in list(categories.values())[:2]
        for leaf in names[:2]
    ]
    some = PRODUCTS[PRODUCTS["leaf"].isin(leaves)].head(300)
    texts = describe(some, [FITS[item] for item in some["item"]], np.random.default_rng(0))
    columns = texts.table[["title", "description", "bullets"]]
    found = set(re.findall(r"[\w'-]+", " ".join(columns.to_numpy().ravel()).lower()))
    assert 500 <= len(found) <= 750, len(found)


def test_the_same_stream_writes_the_same_pages(texts: Texts) -> None:
    again = describe(PRODUCTS, FITS, np.random.default_rng(0))
    pd.testing.assert_frame_equal(again.table, texts.table)
    pd.testing.assert_frame_equal(again.mentions, texts.mentions)


def test_another_stream_writes_other_pages(texts: Texts) -> None:
    other = describe(PRODUCTS, FITS, np.random.default_rng(1))
    assert (other.table["title"] != texts.table["title"]).mean() > 0.9


def test_a_page_does_not_depend_on_what_other_pages_say(texts: Texts) -> None:
    changed = PRODUCTS.copy()
    changed.loc[0, "pattern"] = "plain" if changed.loc[0, "pattern"] != "plain" else "check"
    other = describe(changed, [[], *FITS[1:]], np.random.default_rng(0))
    assert (other.table["title"] == texts.table["title"])[1:].all()
    assert (other.table["description"] == texts.table["description"])[1:].all()


def test_keys_beside_a_key_are_symmetric() -> None:
    near = neighbours()
    assert "s" in near["a"] and "p" not in near["a"]
    assert all(letter in near[other] for letter, others in near.items() for other in others)


def test_a_missing_column_is_named() -> None:
    with pytest.raises(KeyError, match="'feature'"):
        describe(PRODUCTS.drop(columns="feature"), FITS, np.random.default_rng(0))


def test_occasions_of_another_length_are_an_error() -> None:
    with pytest.raises(ValueError, match="occasions must have 2000 entries, got 1"):
        describe(PRODUCTS, [[]], np.random.default_rng(0))


def test_no_products_write_no_page() -> None:
    texts = describe(PRODUCTS.head(0), [], np.random.default_rng(0))
    assert len(texts.table) == 0 and len(texts.mentions) == 0
