"""The graph of a shop against the truth, against slow versions, and against itself rebuilt."""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import poisson

from reclib.knowledge.graph import (
    IN_TEXT,
    SHOP,
    Graph,
    Relation,
    Schema,
    build,
    cypher_database,
    hetero_data,
    knowledge_graph,
    n_triples,
    named_triples,
    networkx_graph,
    normalize,
    rdf_graph,
)
from reclib.shop import data_quality, simulation
from reclib.shop.relations import supported

Tables = Mapping[str, pd.DataFrame]
DAY = 86_400
START = 1_704_067_200
TIMES = {"clicks", "purchases", "ratings", "reviews", "queries", "impressions"}
KEYS = ["head", "head_type", "relation", "tail", "tail_type"]


@pytest.fixture(scope="module")
def shop() -> simulation.Shop:
    return simulation.load("tiny", 0)


@pytest.fixture(scope="module")
def tables(shop: simulation.Shop) -> dict[str, pd.DataFrame]:
    return {name: shop.public[name] for name in ("products", "users", *sorted(TIMES))}


@pytest.fixture(scope="module")
def graph(tables: Tables) -> Graph:
    return build(tables)


@pytest.fixture(scope="module")
def sport(shop: simulation.Shop) -> dict[str, pd.DataFrame]:
    return dict(shop.sibling("sport").public)


@pytest.fixture(scope="module")
def other(sport: Tables) -> Graph:
    return build(sport, domain="sport")


@pytest.fixture(scope="module")
def both(graph: Graph, other: Graph) -> Graph:
    return graph.joined(other)


@pytest.fixture(scope="module")
def whole(tables: Tables) -> Graph:
    return build(tables, hidden=())


def toy() -> dict[str, pd.DataFrame]:
    """Six products of three brands on two shelves, four customers, one review, one search."""
    products = pd.DataFrame(
        {
            "item": [0, 1, 2, 3, 4, 5],
            "title": [f"thing {letter}" for letter in "abcdef"],
            "department": "Home",
            "category": ["Kitchen"] * 4 + ["Bath"] * 2,
            "leaf": ["Mug"] * 4 + ["Towel"] * 2,
            "brand": ["Acme", "Acme", "Bolt", "Bolt", "Acme", "Cask"],
            "colour": ["red", "blue", "red", "red", "blue", "red"],
            "material": ["clay", "clay", "clay", "glass", "cotton", "cotton"],
            "style": ["plain", "plain", "plain", "plain", "plain", "plain"],
            "size": ["small"] * 6,
            "price": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
            "arrival_day": [0, 0, 1, 0, 2, 0],
        }
    )
    clicks = pd.DataFrame({"user": [0, 0, 1, 3, 0], "item": [0, 4, 2, 5, 0]})
    purchases = pd.DataFrame({"session": [1, 1, 2], "user": [0, 0, 1], "item": [0, 4, 2]})
    reviews = pd.DataFrame({"user": [1], "item": [2], "rating": [4], "text": ["Works."]})
    impressions = pd.DataFrame(
        {"request": [7, 7, 8], "item": [0, 1, 2], "click": [True, False, True]}
    )
    frames = {
        "clicks": clicks,
        "purchases": purchases,
        "reviews": reviews,
        "ratings": reviews.drop(columns="text"),
        "impressions": impressions,
    }
    return {
        "products": products,
        "users": pd.DataFrame({"user": [0, 1, 2, 3]}),
        "queries": pd.DataFrame({"request": [7, 8], "text": ["Red  MUG", "red mug"]}),
        **{
            name: frame.assign(timestamp=START + DAY * np.arange(len(frame)))
            for name, frame in frames.items()
        },
    }


@cache
def plain() -> Graph:
    return build(toy())


def said(graph: Graph, relation: str) -> set[tuple[str, str]]:
    rows = graph.named()
    mine = rows[rows["relation"] == relation]
    return set(zip(mine["head"], mine["tail"], strict=True))


def facts(*rows: tuple[str, str, str, str, str]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=KEYS).assign(time=START)


def everything(graph: Graph) -> dict[str, pd.DataFrame]:
    """All that a graph says, without the numbers of its entities and sources."""
    kinds, names = graph.entities["type"].to_numpy(), graph.entities["name"].to_numpy()
    spelt = pd.DataFrame({"type": kinds, "name": names, "of": names[graph.entities["same_as"]]})
    named = graph.named()
    order = [*KEYS, "table", "rule"]
    return {
        "facts": named.sort_values(order, ignore_index=True),
        "entities": spelt.astype(str).sort_values(["type", "name"], ignore_index=True),
        "counts": graph.report.counts,
        **{f"report of {kind}": rows for kind, rows in graph.report.rows.items()},
    }


def check_equal(one: Graph, other: Graph) -> None:
    left, right = everything(one), everything(other)
    assert list(left) == list(right)
    for name in left:
        pd.testing.assert_frame_equal(left[name], right[name], check_exact=True, obj=name)


# the truth


def judged(graph: Graph, shop: simulation.Shop) -> tuple[float, float]:
    """Precision and recall of the triples of relations that the public tables support."""
    true = shop.truth.graphs.true
    expected = named_triples(true)[supported(true)]
    found = named_triples(graph)
    found = found[found["relation"].isin(expected["relation"])]
    n_both = len(found.merge(expected, on=KEYS))
    return n_both / len(found), n_both / len(expected)


def test_the_graph_holds_the_true_triples_that_tables_support_but_those_in_texts(
    graph: Graph, shop: simulation.Shop
) -> None:
    precision, recall = judged(graph, shop)
    assert precision == 1
    assert recall >= 0.8


def test_with_all_columns_the_graph_is_what_the_tables_support(
    whole: Graph, shop: simulation.Shop
) -> None:
    assert judged(whole, shop) == (1, 1)


def test_columns_for_texts_stay_hidden(graph: Graph) -> None:
    assert IN_TEXT == ("feature", "origin")
    assert not said(graph, "has_feature") | said(graph, "made_in")
    assert not graph.entities["type"].isin(["feature", "country"]).any()


def test_dirty_tables_still_give_the_true_graph(tables: Tables, shop: simulation.Shop) -> None:
    kinds = ("duplicate_products", "duplicate_events", "bots", "missing_price", "mojibake")
    clean = {**tables, "sessions": shop.sessions}
    dirty, _ = data_quality.corrupt(clean, data_quality.Faults.only(*kinds), 3)
    found = build(dirty, hidden=())
    precision, recall = judged(found, shop)
    assert precision >= 0.95
    assert recall >= 0.95


def test_a_clean_shop_has_a_clean_report(whole: Graph) -> None:
    assert whole.report.counts["n"].sum() == 0
    assert repr(whole.report) == "Report(nothing)"


# the rules, against slow versions


def test_stated_facts_count_the_rows_they_rest_on_and_when(graph: Graph, tables: Tables) -> None:
    clicks = tables["clicks"]
    times = defaultdict(list)
    for user, item, time in zip(clicks["user"], clicks["item"], clicks["timestamp"], strict=True):
        times[f"user {user}", f"product {item}"].append(time)
    rows = graph.named().query("relation == 'viewed'")
    found = {(r.head, r.tail): (r.count, r.weight, r.first, r.last) for r in rows.itertuples()}
    assert found == {k: (len(t), len(t), min(t), max(t)) for k, t in times.items()}


def test_a_rating_weighs_its_mean() -> None:
    twice = pd.DataFrame({"user": [0, 0], "item": [1, 1], "rating": [2, 5], "timestamp": START})
    rows = build({**toy(), "ratings": twice}).named().query("relation == 'rated'")
    assert rows[["count", "weight"]].to_numpy().tolist() == [[2, 3.5]]


def lifts(counts: Counter[tuple[Any, Any]], n: Mapping[Any, int], total: int) -> dict[Any, float]:
    kept = {}
    for (one, other), both in counts.items():
        expected = n[one] * n[other] / total
        if both >= 2 and both >= 2 * expected and poisson.sf(both - 1, expected) < 1e-4:
            kept[one, other] = both / expected
    return kept


def test_interests_are_leaves_and_brands_viewed_and_bought_more_often_than_by_chance(
    graph: Graph, tables: Tables
) -> None:
    expected: dict[tuple[str, str, str], float] = {}
    for column in ("leaf", "brand"):
        value_of = dict(zip(tables["products"]["item"], tables["products"][column], strict=True))
        pairs: Counter[tuple[Any, Any]] = Counter()
        for name, points in (("clicks", 1), ("purchases", 4)):
            events = tables[name]
            for user, item in zip(events["user"], events["item"], strict=True):
                pairs[f"user {user}", value_of[item]] += points
        sums: Counter[Any] = Counter()
        for (user, value), points in pairs.items():
            sums[user] += points
            sums[value] += points
        for (user, value), lift in lifts(pairs, sums, sum(pairs.values())).items():
            expected[user, value, column] = lift
    rows = graph.named().query("relation == 'interested_in'")
    found = {(r.head, r.tail, r.tail_type): r.weight for r in rows.itertuples()}
    assert len(expected) > 100
    assert found == pytest.approx(expected, rel=1e-12)


def test_products_sold_together_weigh_their_lift(graph: Graph, tables: Tables) -> None:
    baskets = defaultdict(set)
    for session, item in zip(
        tables["purchases"]["session"], tables["purchases"]["item"], strict=True
    ):
        baskets[session].add(item)
    n = Counter(item for basket in baskets.values() for item in basket)
    pairs = Counter((i, j) for basket in baskets.values() for i in basket for j in basket if i != j)
    expected = {
        (f"product {i}", f"product {j}"): lift
        for (i, j), lift in lifts(pairs, n, len(baskets)).items()
    }
    rows = graph.named().query("relation == 'sold_with'")
    found = {(r.head, r.tail): r.weight for r in rows.itertuples()}
    assert len(expected) > 50
    assert found == pytest.approx(expected, rel=1e-12)


def test_a_pair_is_sold_together_from_its_first_to_its_last_basket() -> None:
    baskets = pd.DataFrame({"session": [1, 1, 2, 2], "user": 0, "item": [0, 4, 4, 0]})
    alone = pd.DataFrame({"session": range(3, 503), "user": 1, "item": 5})
    purchases = pd.concat([baskets, alone], ignore_index=True)
    purchases["timestamp"] = START + 10 * np.arange(len(purchases))
    rows = build({**toy(), "purchases": purchases}).named().query("relation == 'sold_with'")
    times = rows[["first", "last"]].to_numpy() - START
    assert set(zip(rows["head"], rows["tail"], strict=True)) == {
        ("product 0", "product 4"),
        ("product 4", "product 0"),
    }
    assert times.tolist() == [[10, 30]] * 2


def test_a_query_leads_to_what_was_clicked_and_to_the_leaf_of_most_clicks() -> None:
    rows = plain().named().query("relation == 'leads_to'")
    assert set(zip(rows["head"], rows["tail"], rows["weight"], strict=True)) == {
        ("red mug", "product 0", 1.0),
        ("red mug", "product 2", 1.0),
        ("red mug", "Mug", 1.0),
    }


def test_feedback_joins_customer_review_and_product() -> None:
    graph = plain()
    review = f"review 1 2 {START}"
    assert said(graph, "wrote") == {("user 1", review)}
    assert said(graph, "about") == {(review, "product 2")}
    assert graph.named().query("relation == 'about'")["weight"].tolist() == [4.0]


def test_variants_need_every_attribute_they_are_about() -> None:
    tables = toy()
    assert said(build(tables), "variant_of") == {
        ("product 0", "product 1"),
        ("product 1", "product 0"),
    }
    assert not said(build(tables, hidden=["material"]), "variant_of")


# one thing, one name


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("  Vetost\u00a0 Home ", "vetost home"),
        ("ＶＥＴＯＳＴ", "vetost"),
        ("Vétôst", "vetost"),
        ("Ve\u0301tost", "vetost"),
        ("CafÃ© Ltd.", "cafe"),
        ("Straße", "strasse"),
        ("Black & Decker", "black and decker"),
        ("T-Shirt", "t shirt"),
        ("0,5 L", "500 ml"),
        ("500ml", "500 ml"),
        ("1.5 kg", "1500 g"),
        ("No. 5", "no 5"),
        ("Gray color", "grey colour"),
        ("snake_case", "snake case"),
        ("東京 カフェ", "東京 カフェ"),
        ("साड़ी", "साड़ी"),
        ("Ёлка", "ёлка"),
        ("☂ !?", ""),
        (None, ""),
    ],
)
def test_names_are_compared_in_one_spelling(raw: str | None, expected: str) -> None:
    import unicodedata

    assert normalize(pd.Series([raw], dtype=object)).tolist() == [
        unicodedata.normalize("NFKC", expected)
    ]


def respelt(brand: str, how: int) -> str:
    """Another spelling: of case, width, accent, spaces, firm, or with a slip."""
    place = len(brand) // 2
    return (
        brand.upper(),
        "".join(chr(ord(letter) + 0xFEE0) for letter in brand),
        brand.replace("e", "é").replace("o", "ö") + " ",
        f" {brand}  GmbH",
        brand[:place] + brand[place + 1 :],
        brand[:place] + brand[place + 1] + brand[place] + brand[place + 2 :],
        brand[:place] + brand[place] + brand[place:],
    )[how]


def test_brands_written_differently_are_one_brand(tables: Tables) -> None:
    generator = np.random.default_rng(0)
    products = tables["products"].copy()
    brands = products["brand"].astype(object)
    common = brands.map(brands.value_counts()) >= 21
    rows = generator.choice(np.flatnonzero(common), 12, replace=False)
    log = {}
    for row in rows:
        brand = brands.iloc[row]
        how = int(generator.integers(7))
        brands.iloc[row] = respelt(brand, how)
        log[brands.iloc[row].strip()] = brand
    log = {wrong: right for wrong, right in log.items() if wrong != right}
    found = build({"products": products.assign(brand=brands)}).report.rows["other spelling"]
    merged = dict(zip(found["name"], found["same_as"], strict=True))
    assert len(log) >= 5
    assert merged == log


def test_facts_of_a_brand_in_another_spelling_are_facts_of_the_brand() -> None:
    tables = toy()
    tables["products"].loc[1, "brand"] = "ACME "
    assert said(build(tables), "has_brand") == said(plain(), "has_brand")


def test_brands_that_differ_by_a_letter_replaced_stay_two() -> None:
    products = pd.DataFrame({"item": range(41), "brand": ["Vetost"] * 40 + ["Vedost"]})
    assert {tail for _, tail in said(build({"products": products}), "has_brand")} == {
        "Vetost",
        "Vedost",
    }


@pytest.mark.parametrize(("rarer", "expected"), [(10, 2), (9, 3)])
def test_a_slip_is_ten_times_rarer_than_the_name(rarer: int, expected: int) -> None:
    brands = ["Vetost"] * rarer + ["Vetos"] + ["Anybody"] * 100
    products = pd.DataFrame({"item": range(len(brands)), "brand": brands})
    assert len({tail for _, tail in said(build({"products": products}), "has_brand")}) == expected


def test_sizes_that_differ_by_a_digit_stay_two() -> None:
    products = pd.DataFrame({"item": range(41), "size": ["size 38"] * 40 + ["size 3"]})
    assert {tail for _, tail in said(build({"products": products}), "has_size")} == {
        "size 38",
        "size 3",
    }


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_duplicate_products_are_found(tables: Tables, seed: int) -> None:
    kinds = ("duplicate_products", "wrong_category", "missing_price", "mojibake")
    spec = data_quality.Faults.only(*kinds)
    spec = data_quality.Faults(**{**vars(spec), "duplicate_products": 0.2})
    dirty, log = data_quality.corrupt({"products": tables["products"]}, spec, seed)
    found = build(dirty).report.rows["duplicate product"]
    items = found["name"].str.removeprefix("product ").astype(int)
    result = data_quality.detection(items, log, "duplicate_products")
    assert result.n == 60
    assert result.precision >= 0.95
    assert result.recall >= 0.9


def test_a_copy_is_its_original(tables: Tables) -> None:
    spec = data_quality.Faults.only("duplicate_products")
    dirty, log = data_quality.corrupt({"products": tables["products"]}, spec, 0)
    found = build(dirty).report.rows["duplicate product"]
    original = dict(zip(log["key"], log["old"], strict=True))
    for copy, same in zip(found["name"], found["same_as"], strict=True):
        assert same == f"product {original[int(copy.removeprefix('product '))]}"


def test_products_of_which_little_is_known_are_not_compared() -> None:
    products = pd.DataFrame({"item": [0, 1], "title": "mug", "brand": "Acme", "price": 1.0})
    assert not build({"products": products}).report["duplicate product"]


# what is wrong is counted, and nothing lost


def test_ids_that_no_table_lists_are_counted_and_no_facts() -> None:
    tables = toy()
    more = pd.DataFrame({"user": [0, 9, 9], "item": [77, 0, 0], "timestamp": START})
    tables["clicks"] = pd.concat([tables["clicks"], more])
    graph = build(tables)
    assert said(graph, "viewed") == said(plain(), "viewed")
    assert graph.report["dangling id"] == 3
    rows = graph.report.rows["dangling id"]
    assert set(zip(rows["head"], rows["tail"], rows["n"], strict=True)) == {
        ("user 0", "product 77", 1),
        ("user 9", "product 0", 2),
    }


def test_without_a_table_of_customers_none_of_them_dangles() -> None:
    tables = toy()
    del tables["users"]
    assert build(tables).report["dangling id"] == 0


def test_without_a_table_of_products_all_of_them_dangle() -> None:
    tables = {name: toy()[name] for name in ("clicks", "users")}
    graph = build(tables)
    assert graph.report["dangling id"] == 5
    assert not len(graph.facts)


def test_every_row_of_a_log_is_in_a_fact_or_in_the_report(tables: Tables) -> None:
    known = tables["products"].iloc[: len(tables["products"]) // 2]
    graph = build({**tables, "products": known})
    rows = graph.named()
    lost = graph.report.rows["dangling id"]
    for relation, name in (("viewed", "clicks"), ("bought", "purchases"), ("about", "reviews")):
        kept = rows.loc[rows["relation"] == relation, "count"].sum()
        dangling = lost.loc[lost["relation"] == relation, "n"].sum()
        assert kept + dangling == len(tables[name])
        assert dangling > 0


def test_a_cycle_is_cut_where_a_fact_contradicts_one_that_more_rows_state() -> None:
    graph = plain().added(
        facts(
            ("Kitchen", "category", "sub_of", "Pots", "category"),
            ("Pots", "category", "sub_of", "Pans", "category"),
            ("Pans", "category", "sub_of", "Kitchen", "category"),
        ),
        table="expert",
        rule="by hand",
    )
    assert graph.report["cycle"] == 0
    assert graph.report.rows["contradiction"]["kept"].tolist() == ["Home"]


def test_one_cycle_is_named_and_its_entities_counted() -> None:
    schema = Schema(("topic",), (Relation("under", "topic", "topic", hierarchical=True),))
    ways = [("a", "b"), ("b", "c"), ("c", "a"), ("c", "d"), ("e", "a")]
    rows = facts(*((h, "topic", "under", t, "topic") for h, t in ways))
    graph = build({}, schema=schema).added(rows, table="expert", rule="by hand")
    assert graph.report["cycle"] == 3
    assert graph.report.rows["cycle"]["way"].tolist() == ["a > b > c > a"]
    assert len(graph.facts) == 5


def test_facts_of_the_wrong_type_are_counted_and_no_facts() -> None:
    rows = facts(
        ("red", "colour", "has_brand", "Acme", "brand"),
        ("product 0", "product", "has_brand", "red", "colour"),
        ("product 0", "product", "has_brand", "Acme", "planet"),
    )
    graph = plain().added(rows, table="texts", rule="tagger")
    assert graph.report["type violation"] == 3
    assert said(graph, "has_brand") == said(plain(), "has_brand")


def test_unknown_relations_are_counted_and_no_facts() -> None:
    rows = facts(("product 0", "product", "smells_of", "lemon", "feature"))
    graph = plain().added(rows, table="texts", rule="tagger")
    assert graph.report["unknown relation"] == 1
    assert graph.report.rows["unknown relation"]["relation"].tolist() == ["smells_of"]
    assert len(graph.facts) == len(plain().facts)


def test_nothing_is_related_to_itself() -> None:
    rows = facts(("product 0", "product", "substitute_of", "product 0", "product"))
    graph = plain().added(rows, table="expert", rule="by hand")
    assert graph.report["self-loop"] == 1
    assert not said(graph, "substitute_of")


def test_a_product_listed_twice_is_counted() -> None:
    tables = toy()
    tables["products"] = pd.concat([tables["products"], tables["products"].iloc[:1]])
    graph = build(tables)
    rows = graph.report.rows["repeated fact"]
    assert graph.report["repeated fact"] == 6  # leaf, brand, colour, material, style, size
    assert set(rows["head"]) == {"product 0"}
    assert len(graph.facts) == len(plain().facts)


def test_of_two_brands_of_a_product_the_one_most_rows_state_is_kept_and_both_are_named() -> None:
    tables = toy()
    again = tables["products"].iloc[[0, 0, 0]].assign(brand=["Bolt", "Bolt", "Cask"])
    tables["products"] = pd.concat([tables["products"], again])
    graph = build(tables)
    rows = graph.report.rows["contradiction"]
    assert ("product 0", "Bolt") in said(graph, "has_brand")
    assert set(zip(rows["head"], rows["tail"], rows["kept"], strict=True)) == {
        ("product 0", "Acme", "Bolt"),
        ("product 0", "Cask", "Bolt"),
    }


def test_of_brands_stated_as_often_the_one_said_first_is_kept() -> None:
    tables = toy()
    late = tables["products"].iloc[[0]].assign(brand="Aaa", arrival_day=9)
    tables["products"] = pd.concat([late, tables["products"]])
    assert ("product 0", "Acme") in said(build(tables), "has_brand")


def test_a_review_has_one_writer() -> None:
    review = f"review 1 2 {START}"
    rows = facts(("user 3", "user", "wrote", review, "review")).assign(time=START + 1)
    graph = plain().added(rows, table="expert", rule="by hand")
    assert said(graph, "wrote") == {("user 1", review)}
    assert graph.report.rows["contradiction"][["head", "kept"]].to_numpy().tolist() == [
        ["user 3", "user 1"]
    ]


def test_empty_names_and_texts_are_counted_by_column() -> None:
    tables = toy()
    tables["products"].loc[[0, 1], "brand"] = [None, "  "]
    tables["products"].loc[2, "colour"] = float("nan")
    tables["reviews"].loc[0, "text"] = " "
    tables["queries"].loc[0, "text"] = "!!"
    report = build(tables).report
    assert report.rows["empty name"].to_numpy().tolist() == [
        ["products.brand", 2],
        ["products.colour", 1],
    ]
    assert report.rows["empty text"].to_numpy().tolist() == [
        ["queries.text", 1],
        ["reviews.text", 1],
    ]


def test_other_scripts_are_kept_and_counted() -> None:
    tables = toy()
    tables["products"].loc[0, "brand"] = "東京"
    tables["reviews"].loc[0, "text"] = "Отлично"
    tables["queries"].loc[0, "text"] = "красная чашка"
    graph = build(tables)
    assert ("product 0", "東京") in said(graph, "has_brand")
    assert ("красная чашка", "product 0") in said(graph, "leads_to")
    assert graph.report["other script"] == 3


def test_the_report_gives_a_line_for_every_kind_and_an_example() -> None:
    report = build({"clicks": toy()["clicks"], "products": toy()["products"].iloc[:5]}).report
    assert len(report.counts) == 12
    line = report.counts.set_index("kind").loc["dangling id"]
    assert line["n"] == 1
    assert "product 5" in line["example"]
    with pytest.raises(KeyError, match="kind must be one of"):
        report["no such kind"]


def test_no_tables_make_an_empty_graph() -> None:
    graph = build({})
    assert repr(graph) == "Graph(0 facts, 0 entities, 25 relations)"
    assert len(graph.triples()) == 0


def test_empty_tables_make_an_empty_graph() -> None:
    assert not len(build({name: table.iloc[:0] for name, table in toy().items()}).facts)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t["clicks"].astype({"item": str}), "clicks.item must be integers, got str"),
        (lambda t: t["clicks"].astype({"user": float}), "clicks.user must be integers, got float"),
    ],
)
def test_ids_must_be_integers(change: Callable[[Any], pd.DataFrame], message: str) -> None:
    tables = toy()
    with pytest.raises(ValueError, match=message):
        build({**tables, "clicks": change(tables)})


def test_the_input_stays_as_it_was() -> None:
    tables = toy()
    build(tables)
    for name, table in toy().items():
        pd.testing.assert_frame_equal(tables[name], table)


# up to date


def cut(tables: Tables, low: int, high: int) -> dict[str, pd.DataFrame]:
    """What happened from ``low`` to ``high``; customers are all there from the first."""
    part = {name: tables[name][tables[name]["timestamp"].between(low, high - 1)] for name in TIMES
            if "timestamp" in tables[name]}  # fmt: skip
    products = tables["products"]
    since = START + DAY * products["arrival_day"]
    part["products"] = products[since.between(low, high - 1)]
    if low <= START:
        part["users"] = tables["users"]
    return part


@pytest.mark.parametrize("share", [0.02, 0.5, 0.93])
def test_an_updated_graph_equals_the_rebuilt_one_and_no_entity_changes_its_number(
    share: float, tables: Tables, graph: Graph
) -> None:
    at = START + int(share * 42 * DAY)
    old = build(cut(tables, 0, at))
    updated = old.updated(cut(tables, at, 2**62))
    check_equal(updated, graph)
    columns = ["entity", "name", "type"]
    found = updated.entities[: len(old.entities)]
    assert len(updated.entities) > len(old.entities)
    pd.testing.assert_frame_equal(found[columns], old.entities[columns])


def test_many_small_updates_equal_one_build(tables: Tables, graph: Graph) -> None:
    days = [0, *(START + day * DAY for day in (9, 10)), 2**62]
    updated = build({})
    for low, high in pairwise(days):
        updated = updated.updated(cut(tables, low, high))
    check_equal(updated, graph)


def test_an_updated_graph_of_dirty_tables_equals_the_rebuilt_one(tables: Tables) -> None:
    dirty, _ = data_quality.corrupt(tables, data_quality.Faults(duplicate_products=0.1), 1)
    at = START + 17 * DAY + 4_321
    updated = build(cut(dirty, -(2**62), at)).updated(cut(dirty, at, 2**62))
    rebuilt = build(dirty)
    assert rebuilt.report["duplicate product"] > 20
    assert rebuilt.report["contradiction"] > 0
    check_equal(updated, rebuilt)


@pytest.mark.parametrize("seed", [0, 1])
def test_any_parts_in_any_order_give_the_same_graph(seed: int) -> None:
    generator = np.random.default_rng(seed)
    tables = toy()
    tables["products"].loc[[1, 4], "brand"] = ["ACME", "Bolt"]
    again = tables["products"].iloc[[2]].assign(brand="Cask", title="another", leaf="Towel")
    tables["products"] = pd.concat([tables["products"], again], ignore_index=True)
    searches = {name: tables.pop(name) for name in ("queries", "impressions")}
    expected = build({**tables, **searches})
    parts: list[dict[str, pd.DataFrame]] = [dict(searches), {}, {}]
    for name, table in tables.items():
        part = generator.integers(0, 3, len(table))
        for number in range(3):
            parts[number][name] = table[part == number]
    graph = build({})
    for number in generator.permutation(3):
        graph = graph.updated(parts[number])
    check_equal(graph, expected)


def test_a_relation_that_is_declared_later_takes_the_facts_that_waited() -> None:
    old = plain()
    rows = facts(("product 0", "product", "smells_of", "lemon", "smell"))
    waiting = old.added(rows, table="texts", rule="tagger")
    graph = waiting.extended(
        types=["smell"], relations=[Relation("smells_of", "product", "smell", "many-to-one")]
    )
    assert said(graph, "smells_of") == {("product 0", "lemon")}
    assert graph.report["unknown relation"] == 0
    assert graph.schema.names == (*SHOP.names, "smells_of")
    pd.testing.assert_frame_equal(graph.entities, waiting.entities)
    known = named_triples(old)
    assert len(known.merge(named_triples(graph), on=KEYS)) == len(known)


def test_facts_from_texts_carry_their_source_and_time() -> None:
    rows = facts(("product 0", "product", "has_feature", "dishwasher safe", "feature"))
    graph = plain().added(rows, table="texts", rule="tagger 0.3")
    found = graph.named().query("relation == 'has_feature'")
    assert found[["table", "rule", "first", "last"]].to_numpy().tolist() == [
        ["texts", "tagger 0.3", START, START]
    ]


def test_a_fact_of_two_sources_is_one_triple() -> None:
    rows = facts(("product 0", "product", "has_brand", "ACME", "brand"))
    graph = plain().added(rows, table="texts", rule="tagger")
    found = graph.named().query("relation == 'has_brand' and head == 'product 0'")
    assert found["table"].tolist() == ["products", "texts"]
    assert len(graph.triples()) == len(plain().triples())


def test_added_facts_of_a_symmetric_relation_hold_both_ways() -> None:
    rows = facts(("product 0", "product", "substitute_of", "product 3", "product"))
    graph = plain().added(rows, table="expert", rule="by hand")
    assert said(graph, "substitute_of") == {
        ("product 0", "product 3"),
        ("product 3", "product 0"),
    }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.drop(columns="time"), "facts must have the columns .*, got no 'time'"),
        (lambda f: f.assign(time=1.5), "time must be whole seconds, got float64"),
    ],
)
def test_added_facts_need_all_columns_and_whole_times(
    change: Callable[[Any], pd.DataFrame], message: str
) -> None:
    rows = change(facts(("product 0", "product", "has_brand", "Acme", "brand")))
    with pytest.raises(ValueError, match=message):
        plain().added(rows, table="texts", rule="tagger")


def test_added_facts_without_a_name_are_counted() -> None:
    rows = facts(
        ("product 0", "product", "has_feature", " ", "feature"),
        ("", "product", "has_feature", "soft", "feature"),
        ("product 0", "product", "has_feature", "soft", "feature"),
    )
    graph = plain().added(rows, table="texts", rule="tagger")
    assert graph.report.rows["empty name"].to_numpy().tolist() == [
        ["texts.head", 1],
        ["texts.tail", 1],
    ]
    assert said(graph, "has_feature") == {("product 0", "soft")}


def test_another_domain_joins_and_changes_no_fact(graph: Graph, other: Graph, both: Graph) -> None:
    size = len(graph.entities)
    for name in ("entity", "name", "type", "same_as"):
        pd.testing.assert_series_equal(both.entities[name][:size], graph.entities[name])
    expected = pd.concat([graph.named(), other.named()])
    keys = [*KEYS, "table", "rule"]
    shared = ["category", "leaf", "brand", "query"]
    expected = expected[~expected["head_type"].isin(shared) & ~expected["tail_type"].isin(shared)]
    found = both.named()
    found = found[~found["head_type"].isin(shared) & ~found["tail_type"].isin(shared)]
    pd.testing.assert_frame_equal(
        found.sort_values(keys, ignore_index=True), expected.sort_values(keys, ignore_index=True)
    )


def test_a_domain_joined_is_a_domain_updated(graph: Graph, both: Graph, sport: Tables) -> None:
    check_equal(graph.updated(sport, domain="sport"), both)


def test_domains_share_customers_and_values_but_no_products(graph: Graph, other: Graph) -> None:
    names = [set(zip(g.entities["type"], g.entities["name"], strict=True)) for g in (graph, other)]
    shared = Counter(kind for kind, _ in names[0] & names[1])
    assert shared["user"] == 400
    assert shared["colour"] > 5
    assert shared["product"] == shared["review"] == 0


# schema


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Relation("has brand", "a", "b"), "name must be letters, digits"),
        (lambda: Relation("r", "a", "b", "one-to-two"), "cardinality of r must be one of"),
        (lambda: Relation("r", "a", "b", symmetric=True), "range of r must be its domain 'a'"),
        (
            lambda: Relation("r", "a", "a", "many-to-one", symmetric=True),
            "cardinality of r must be one-to-one or many-to-many",
        ),
        (
            lambda: Relation("r", "a", "a", symmetric=True, hierarchical=True),
            "r must not be both symmetric and hierarchical",
        ),
        (lambda: Schema(("a b",), ()), "types must be letters, digits and underscores, got 'a b'"),
        (lambda: Schema(("a", "a"), ()), "types must each have a name of their own, got a twice"),
        (
            lambda: Schema(("a",), (Relation("r", "a", "a"), Relation("r", "a", "a"))),
            "relations must each have a name of their own, got r twice",
        ),
        (lambda: Schema(("a",), (Relation("r", "a|c", "a"),)), "domain of r must be among .* 'c'"),
        (lambda: Schema(("a",), (Relation("r", "a", "b"),)), "range of r must be among .* 'b'"),
        (
            lambda: SHOP.extended((), (Relation("has_brand", "product", "brand"),)),
            "has_brand must stay Relation",
        ),
    ],
)
def test_a_schema_is_checked_when_it_is_made(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_relations_of_the_shop_are_declared_as_the_shop_declares_them(
    shop: simulation.Shop, graph: Graph
) -> None:
    columns = ["name", "domain", "range", "cardinality", "symmetric"]
    theirs, ours = shop.knowledge.relations[columns], graph.relations[columns]
    assert len(theirs.merge(ours, on=columns)) == len(theirs) == 18


# parts and views


def test_a_neighborhood_is_what_a_slow_walk_reaches(graph: Graph) -> None:
    part = graph.selected(["in_leaf", "sub_of", "has_brand"]).neighborhood(
        "product 7", "product", hops=2, limit=10_000
    )
    rows = named_triples(graph).query("relation in ('in_leaf', 'sub_of', 'has_brand')")
    ends = set(zip(rows["head"], rows["tail"], strict=True))
    reached = {"product 7"}
    for _ in range(2):
        reached |= {t for h, t in ends if h in reached} | {h for h, t in ends if t in reached}
    expected = {(h, t) for h, t in ends if h in reached and t in reached}
    found = named_triples(part)
    assert set(zip(found["head"], found["tail"], strict=True)) == expected


def test_a_small_neighborhood_shows_every_relation_first(graph: Graph) -> None:
    part = graph.neighborhood("product 7", "product", hops=1, limit=12)
    ends = np.unique(part.facts[["head", "tail"]])
    assert len(ends) == 12
    near = graph.named().query("head == 'product 7'")["relation"].unique()
    assert set(near) - {"sold_with"} <= set(part.named().query("head == 'product 7'")["relation"])


def test_a_small_neighborhood_of_a_shelf_is_not_only_its_products() -> None:
    part = plain().neighborhood("Mug", "leaf", hops=1, limit=4)
    assert said(part, "sub_of") == {("Mug", "Kitchen")}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hops": 0}, "hops must be at least 1, got 0"),
        ({"limit": 0}, "limit must be at least 1, got 0"),
        ({"name": "product 999"}, "name must be that of a product, got 'product 999'"),
    ],
)
def test_a_neighborhood_needs_an_entity_and_room(
    options: dict[str, Any], message: str, graph: Graph
) -> None:
    with pytest.raises(ValueError, match=message):
        graph.neighborhood(**{"name": "product 0", "kind": "product", **options})


def test_a_part_cannot_be_changed(graph: Graph) -> None:
    with pytest.raises(ValueError, match="graph must be a whole one to change"):
        graph.selected(["in_leaf"]).updated({})
    with pytest.raises(ValueError, match="relations must be among .*, got 'no_relation'"):
        graph.selected(["no_relation"])


def test_for_models_products_come_first(graph: Graph) -> None:
    knowledge = knowledge_graph(graph.selected(["has_brand", "sub_of", "sold_with"]), 305)
    assert list(knowledge.entities["name"][:305]) == [f"product {i}" for i in range(305)]
    assert not (knowledge.entities["type"][305:] == "product").any()
    assert list(knowledge.entities["entity"]) == list(range(knowledge.triples.n_entities))
    assert list(knowledge.relations["name"]) == ["has_brand", "sub_of", "sold_with"]
    wanted = named_triples(graph.selected(["has_brand", "sub_of", "sold_with"]))
    found = named_triples(knowledge)
    assert len(found) == len(wanted) == len(found.merge(wanted, on=KEYS))


def test_for_models_triples_are_sorted(graph: Graph) -> None:
    triples = knowledge_graph(graph, 300).triples
    rows = np.column_stack([triples.relations, triples.heads, triples.tails])
    assert (rows == np.unique(rows, axis=0)).all()


def test_hetero_data_has_the_edges_of_the_graph(graph: Graph) -> None:
    pytest.importorskip("torch_geometric")
    data = hetero_data(graph)
    data.validate()
    found = set()
    names = graph.entities["name"].to_numpy()
    for head, relation, tail in data.edge_types:
        ends = data[head, relation, tail].edge_index.numpy()
        heads, tails = (
            names[data[kind].entity.numpy()[row]]
            for kind, row in zip((head, tail), ends, strict=True)
        )
        found |= {(h, head, relation, t, tail) for h, t in zip(heads, tails, strict=True)}
    assert found == set(named_triples(graph).itertuples(index=False, name=None))
    assert ("leaf", "sub_of", "category") in data.edge_types
    assert ("category", "sub_of", "department") in data.edge_types


def test_networkx_has_the_edges_of_the_graph(graph: Graph) -> None:
    pytest.importorskip("networkx")
    part = graph.selected(["in_leaf", "sub_of", "sold_with", "variant_of"])
    made = networkx_graph(part)
    found = {
        (made.nodes[h]["name"], made.nodes[h]["type"], relation, made.nodes[t]["name"],
         made.nodes[t]["type"])
        for h, t, relation in made.edges(keys=True)
    }  # fmt: skip
    assert found == set(named_triples(part).itertuples(index=False, name=None))


def test_rdf_has_the_triples_of_the_graph_and_every_name_as_it_is() -> None:
    pytest.importorskip("rdflib")
    tables = toy()
    name = 'Ac"me\\ \n<東京>'
    tables["products"].loc[0, "brand"] = name
    graph = build(tables).selected(["has_brand", "sub_of"])
    made = rdf_graph(graph)
    query = """
        PREFIX relation: <https://example.org/shop/relation/>
        PREFIX rdfs: <http://www.w3.org/2000/01/rdf-schema#>
        SELECT ?head ?tail WHERE { ?h relation:has_brand ?t . ?h rdfs:label ?head .
                                   ?t rdfs:label ?tail }
    """
    assert {(str(head), str(tail)) for head, tail in made.query(query)} == said(graph, "has_brand")
    assert ("product 0", name) in said(graph, "has_brand")


def test_n_triples_need_an_address() -> None:
    with pytest.raises(ValueError, match="base must be an address that ends in / or #, got 'shop'"):
        n_triples(plain(), "shop")


def test_cypher_answers_as_a_join_of_tables_does(graph: Graph) -> None:
    pytest.importorskip("ladybug")
    part = graph.selected(["has_brand", "in_leaf", "sub_of", "sold_with"])
    connection = cypher_database(part)
    rows = connection.execute(
        "MATCH (p:product)-[:sold_with]->(:product)-[:in_leaf]->(l:leaf)-[:sub_of]->(c:category) "
        "RETURN p.name AS head, c.name AS tail"
    ).get_as_df()
    triples = named_triples(graph)
    sold, leaf, sub = (
        triples[triples["relation"] == name][["head", "tail"]]
        for name in ("sold_with", "in_leaf", "sub_of")
    )
    joined = sold.merge(leaf, left_on="tail", right_on="head", suffixes=("", "_leaf"))
    joined = joined.merge(sub, left_on="tail_leaf", right_on="head", suffixes=("", "_category"))
    expected = zip(joined["head"], joined["tail_category"], strict=True)
    assert len(rows) > 50
    assert Counter(zip(rows["head"], rows["tail"], strict=True)) == Counter(expected)


def test_a_cypher_database_can_be_kept_and_is_never_written_over(tmp_path: Any) -> None:
    ladybug = pytest.importorskip("ladybug")
    path = tmp_path / "shop"
    connection = cypher_database(plain().selected(["has_brand"]), path)
    connection.close()
    with pytest.raises(ValueError, match="path must be new"):
        cypher_database(plain(), path)
    again = ladybug.Connection(ladybug.Database(str(path)))
    rows = again.execute("MATCH (p)-[r:has_brand]->(b {name: 'Acme'}) RETURN p.name AS name")
    assert set(rows.get_as_df()["name"]) == {"product 0", "product 1", "product 4"}


@pytest.mark.parametrize(
    ("view", "package", "extra"),
    [
        (hetero_data, "torch_geometric.data", "graph"),
        (networkx_graph, "networkx", "graph"),
        (rdf_graph, "rdflib", "kg"),
        (cypher_database, "ladybug", "kg"),
    ],
)
def test_a_view_without_its_package_names_the_extra(
    view: Callable[[Graph], Any], package: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=rf"pip install -e '\.\[{extra}\]'"):
        view(plain())
