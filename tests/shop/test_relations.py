"""The true graph against its rules, and the public graph against the true one."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from reclib.foundations.interactions import Triples
from reclib.shop._config import SimConfig
from reclib.shop._occasions import OCCASIONS
from reclib.shop._world import World, build_world
from reclib.shop.relations import KnowledgeGraph, public_graph, supported, true_graph

Rows = set[tuple[int, int, int]]
ATTRIBUTES = {
    "has_colour": "colour",
    "has_material": "material",
    "has_pattern": "pattern",
    "has_style": "style",
    "for_audience": "audience",
    "suits_season": "season",
    "has_size": "size",
    "has_feature": "feature",
    "made_in": "origin",
}
SYMMETRIC = ("substitute_of", "variant_of", "sold_with")


def planted(n_items: int = 400, n_leaves: int = 6, seed: int = 0) -> Any:
    """A catalogue with the arrays of a world, and nothing else of it."""
    generator = np.random.default_rng(seed)
    leaves = generator.integers(0, n_leaves, n_items)
    vectors = generator.normal(size=(n_leaves, 8))[leaves] + generator.normal(size=(n_items, 8))
    n_values = {name: 3 + number for number, name in enumerate(ATTRIBUTES.values())}
    table = np.zeros((n_leaves, n_leaves))
    table[np.arange(n_leaves), (np.arange(n_leaves) + 1) % n_leaves] = 1
    occasions = generator.random((n_items, len(OCCASIONS))) < 0.05
    occasions[:, 2] = False  # nobody buys anything for it
    shelf = pd.DataFrame({"leaf": [f"leaf {leaf}" for leaf in range(n_leaves)]})
    shelf["category"] = [f"category {leaf // 2}" for leaf in range(n_leaves)]
    shelf["department"] = [f"department {leaf // 4}" for leaf in range(n_leaves)]
    return SimpleNamespace(
        leaves=leaves,
        geometry=SimpleNamespace(shelf=shelf),
        leaf_category=np.arange(n_leaves) // 2,
        leaf_department=np.arange(n_leaves) // 4,
        brand=generator.integers(0, 9, n_items),
        brand_names=tuple(f"brand {number}" for number in range(9)),
        brand_owner=np.array([0, 1, 2, 0, 1, 2, 0, 1, 2]),
        owner_names=("first", "second", "third"),
        codes={name: generator.integers(0, n, n_items) for name, n in n_values.items()},
        values={name: tuple(f"{name} {k}" for k in range(n)) for name, n in n_values.items()},
        occasions=occasions,
        complements=table,
        item_vectors=vectors / np.linalg.norm(vectors, axis=1, keepdims=True),
        price=np.exp(generator.normal(3, 0.5, n_items)),
    )


@pytest.fixture(scope="module")
def world() -> Any:
    return planted()


@pytest.fixture(scope="module")
def graph(world: Any) -> KnowledgeGraph:
    generator = np.random.default_rng(1)
    users = generator.integers(0, 300, 2_000)
    items = 10 * (users % 40) + generator.integers(0, 10, 2_000)  # each has ten that suit
    return true_graph(world, users, items)


def as_set(triples: Triples) -> Rows:
    columns = np.column_stack([triples.relations, triples.heads, triples.tails])
    rows = set(map(tuple, columns.tolist()))
    assert len(rows) == len(triples)  # each once
    return rows


def named(graph: KnowledgeGraph, relation: str) -> set[tuple[str, str]]:
    names = graph.entities["name"].to_numpy()
    return {(names[head], names[tail]) for head, tail in graph.pairs(relation)}


def mask(graph: KnowledgeGraph, relation: str, triples: Triples | None = None) -> NDArray:
    number = list(graph.relations["name"]).index(relation)
    return (graph.triples if triples is None else triples).relations == number


@pytest.mark.parametrize(("relation", "attribute"), ATTRIBUTES.items())
def test_attributes_of_products_are_those_of_the_catalogue(
    relation: str, attribute: str, graph: KnowledgeGraph, world: Any
) -> None:
    expected = {
        (f"product {item}", world.values[attribute][code])
        for item, code in enumerate(world.codes[attribute])
    }
    assert named(graph, relation) == expected


def test_brands_leaves_and_owners_are_those_of_the_catalogue(
    graph: KnowledgeGraph, world: Any
) -> None:
    n_items = len(world.leaves)
    assert named(graph, "has_brand") == {
        (f"product {i}", world.brand_names[world.brand[i]]) for i in range(n_items)
    }
    assert named(graph, "in_leaf") == {
        (f"product {i}", f"leaf {world.leaves[i]}") for i in range(n_items)
    }
    assert named(graph, "brand_owned_by") == {
        (f"brand {b}", world.owner_names[b % 3]) for b in range(9)
    }


def test_the_taxonomy_joins_leaves_to_categories_and_these_to_departments(
    graph: KnowledgeGraph,
) -> None:
    assert named(graph, "sub_of") == {
        *((f"leaf {leaf}", f"category {leaf // 2}") for leaf in range(6)),
        *((f"category {number}", f"department {number // 2}") for number in range(3)),
    }


def test_occasions_are_those_of_the_catalogue(graph: KnowledgeGraph, world: Any) -> None:
    assert named(graph, "fits_occasion") == {
        (f"product {item}", name)
        for item in range(len(world.leaves))
        for fits, name in zip(world.occasions[item], OCCASIONS, strict=True)
        if fits
    }


def test_an_occasion_that_nothing_fits_is_no_entity(graph: KnowledgeGraph) -> None:
    assert OCCASIONS[3] in set(graph.entities["name"])
    assert OCCASIONS[2] not in set(graph.entities["name"])


def test_variants_share_leaf_brand_style_and_material_but_not_colour_and_size(
    graph: KnowledgeGraph, world: Any
) -> None:
    codes = world.codes
    same = (world.leaves, world.brand, codes["style"], codes["material"])
    other = (codes["colour"], codes["size"])
    n_items = range(len(world.leaves))
    expected = {
        (i, j)
        for i in n_items
        for j in n_items
        if all(x[i] == x[j] for x in same) and any(x[i] != x[j] for x in other)
    }
    assert expected
    assert set(map(tuple, graph.pairs("variant_of").tolist())) == expected


def test_complements_stand_in_a_leaf_the_table_names_and_match_in_style_or_size(
    graph: KnowledgeGraph, world: Any
) -> None:
    heads, tails = graph.pairs("compatible_with").T
    assert (world.leaves[tails] == (world.leaves[heads] + 1) % 6).all()
    same = [world.codes[name][heads] == world.codes[name][tails] for name in ("style", "size")]
    assert (same[0] | same[1]).all()
    assert not same[0].all()
    assert not same[1].all()


def test_substitutes_stand_in_one_leaf_at_a_like_price(graph: KnowledgeGraph, world: Any) -> None:
    heads, tails = graph.pairs("substitute_of").T
    assert len(heads)
    assert (world.leaves[heads] == world.leaves[tails]).all()
    assert np.abs(np.log(world.price[heads] / world.price[tails])).max() < np.log(1.5)


def test_without_purchases_nothing_is_sold_together(world: Any) -> None:
    assert not len(true_graph(world).pairs("sold_with"))


def test_purchases_change_no_other_relation(graph: KnowledgeGraph, world: Any) -> None:
    assert mask(graph, "sold_with").sum() > 20
    without = as_set(true_graph(world).triples)
    number = list(graph.relations["name"]).index("sold_with")
    assert without == {row for row in as_set(graph.triples) if row[0] != number}


def test_products_are_the_first_entities_in_order(graph: KnowledgeGraph, world: Any) -> None:
    n_items = len(world.leaves)
    assert list(graph.entities["name"][:n_items]) == [f"product {i}" for i in range(n_items)]
    assert ((graph.entities["type"] == "product") == (graph.entities["entity"] < n_items)).all()


def test_entities_are_numbered_and_no_type_has_a_name_twice(graph: KnowledgeGraph) -> None:
    assert list(graph.entities["entity"]) == list(range(graph.triples.n_entities))
    assert not graph.entities.duplicated(["name", "type"]).any()


def check_types(graph: KnowledgeGraph, triples: Triples) -> None:
    types = graph.entities["type"].to_numpy()
    for row in graph.relations.itertuples():
        chosen = triples.relations == row.relation
        assert set(types[triples.heads[chosen]]) <= set(row.domain.split("|"))
        assert set(types[triples.tails[chosen]]) <= set(row.range.split("|"))


def test_domain_and_range_hold_in_the_true_and_in_the_public_graph(graph: KnowledgeGraph) -> None:
    public, log = public_graph(graph, np.random.default_rng(0), false=0.5)
    for triples in (graph.triples, public.triples, log.missing, log.false):
        check_types(graph, triples)


def test_many_to_one_relations_have_one_tail_for_each_head(graph: KnowledgeGraph) -> None:
    for row in graph.relations.itertuples():
        heads = graph.pairs(row.name)[:, 0]
        one = len(np.unique(heads)) == len(heads)
        assert one == (row.cardinality == "many-to-one"), row.name


@pytest.mark.parametrize("relation", SYMMETRIC)
def test_symmetric_relations_hold_both_ways_also_in_public(
    relation: str, graph: KnowledgeGraph
) -> None:
    public, _ = public_graph(graph, np.random.default_rng(0), false=0.3)
    for each in (graph, public):
        pairs = set(map(tuple, each.pairs(relation).tolist()))
        assert pairs == {(tail, head) for head, tail in pairs}


def test_only_the_three_relations_are_declared_symmetric(graph: KnowledgeGraph) -> None:
    assert set(graph.relations.loc[graph.relations["symmetric"], "name"]) == set(SYMMETRIC)


def test_public_is_true_less_the_missing_and_with_the_false(graph: KnowledgeGraph) -> None:
    public, log = public_graph(graph, np.random.default_rng(0))
    true, missing, false = (as_set(x) for x in (graph.triples, log.missing, log.false))
    assert missing <= true
    assert as_set(public.triples) == (true - missing) | false


def test_no_false_triple_is_true(graph: KnowledgeGraph) -> None:
    _, log = public_graph(graph, np.random.default_rng(0), false=1.0)
    assert not as_set(log.false) & as_set(graph.triples)
    assert (log.false.heads != log.false.tails).all()


def test_every_relation_but_the_taxonomy_has_false_triples(graph: KnowledgeGraph) -> None:
    _, log = public_graph(graph, np.random.default_rng(0), false=1.0)
    expected = set(graph.relations["name"]) - {"sub_of"}
    assert {name for name in graph.relations["name"] if mask(graph, name, log.false).any()} == (
        expected
    )


def test_the_taxonomy_stays_whole_and_true(graph: KnowledgeGraph) -> None:
    public, _ = public_graph(graph, np.random.default_rng(0), missing=0.9, false=1.0)
    assert named(public, "sub_of") == named(graph, "sub_of")


def n_facts(graph: KnowledgeGraph, relation: str, triples: Triples) -> int:
    return int(mask(graph, relation, triples).sum()) // (2 if relation in SYMMETRIC else 1)


def test_facts_are_missing_and_false_at_the_rates_asked_for(graph: KnowledgeGraph) -> None:
    _, log = public_graph(graph, np.random.default_rng(0))
    names = [name for name in graph.relations["name"] if name != "sub_of"]
    total, missing, false = (
        sum(n_facts(graph, name, triples) for name in names)
        for triples in (graph.triples, log.missing, log.false)
    )
    assert missing == round(0.15 * total)
    assert false == round(0.03 * total)


def test_every_relation_loses_its_share(graph: KnowledgeGraph) -> None:
    names = [name for name in graph.relations["name"] if name != "sub_of"]
    lost = dict.fromkeys(names, 0)
    for seed in range(20):
        _, log = public_graph(graph, np.random.default_rng(seed))
        for name in names:
            lost[name] += n_facts(graph, name, log.missing)
    for name in names:
        n = 20 * n_facts(graph, name, graph.triples)
        assert abs(lost[name] - 0.15 * n) <= 3 * (n * 0.15 * 0.85) ** 0.5, name


def test_heads_and_tails_are_replaced_alike(graph: KnowledgeGraph) -> None:
    # one product fits 200 of 4,000 occasions, 499 others none
    names = [f"product {i}" for i in range(500)] + [f"occasion {i}" for i in range(4_000)]
    types = ["product"] * 500 + ["occasion"] * 4_000
    entities = pd.DataFrame({"entity": range(4_500), "name": names, "type": types})
    number = list(graph.relations["name"]).index("fits_occasion")
    facts = Triples(np.zeros(200, int), np.full(200, number), np.arange(500, 700), 4_500, 18)
    _, log = public_graph(
        KnowledgeGraph(entities, graph.relations, facts), np.random.default_rng(0), false=1.0
    )
    n_tails_replaced = int((log.false.heads == 0).sum())
    assert abs(n_tails_replaced - 100) < 3 * 50**0.5


def test_the_same_generator_gives_the_same_public_graph(graph: KnowledgeGraph) -> None:
    first, _ = public_graph(graph, np.random.default_rng(7))
    second, _ = public_graph(graph, np.random.default_rng(7))
    other, _ = public_graph(graph, np.random.default_rng(8))
    np.testing.assert_array_equal(first.triples.heads, second.triples.heads)
    np.testing.assert_array_equal(first.triples.tails, second.triples.tails)
    assert as_set(first.triples) != as_set(other.triples)


def test_the_order_of_public_triples_does_not_tell_the_false_ones(graph: KnowledgeGraph) -> None:
    public, _ = public_graph(graph, np.random.default_rng(0))
    triples = public.triples
    assert (np.lexsort((triples.tails, triples.heads, triples.relations)) == np.arange(
        len(triples)
    )).all()  # fmt: skip


def test_nothing_missing_and_nothing_false_is_the_true_graph(graph: KnowledgeGraph) -> None:
    public, log = public_graph(graph, np.random.default_rng(0), missing=0.0, false=0.0)
    assert as_set(public.triples) == as_set(graph.triples)
    assert len(log.missing) == len(log.false) == 0


def test_public_tables_support_attributes_variants_and_sales(graph: KnowledgeGraph) -> None:
    unsupported = {
        "brand_owned_by", "fits_occasion", "compatible_with", "substitute_of",
    }  # fmt: skip
    names = graph.relations["name"].to_numpy()[graph.triples.relations]
    assert set(names[~supported(graph)]) == unsupported
    assert set(names[supported(graph)]) == set(graph.relations["name"]) - unsupported


@pytest.fixture(scope="module", params=["home", "sport"])
def shop_world(request: pytest.FixtureRequest) -> World:
    return build_world(SimConfig.of("tiny", 0, domain=request.param))


def test_attributes_in_the_graph_are_those_of_the_public_table(shop_world: World) -> None:
    graph, products = true_graph(shop_world), shop_world.products
    columns = ATTRIBUTES | {"has_brand": "brand", "in_leaf": "leaf"}
    for relation, column in columns.items():
        expected = {(f"product {i}", name) for i, name in enumerate(products[column])}
        assert named(graph, relation) == expected, relation


def test_the_taxonomy_in_the_graph_is_that_of_the_public_table(shop_world: World) -> None:
    products = shop_world.products
    expected = set(zip(products["leaf"], products["category"], strict=True))
    expected |= set(zip(products["category"], products["department"], strict=True))
    assert named(true_graph(shop_world), "sub_of") == expected


def test_most_products_of_the_shop_have_a_substitute_and_a_complement(shop_world: World) -> None:
    graph, n_items = true_graph(shop_world), len(shop_world.leaves)
    for relation, share in (("substitute_of", 0.4), ("compatible_with", 0.9)):
        assert len(np.unique(graph.pairs(relation)[:, 0])) > share * n_items
        assert 1 < len(graph.pairs(relation)) / n_items < 8


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda w, g: true_graph(w, [1], [400]), "items must be between 0 and 399, got 400"),
        (lambda w, g: true_graph(w, [1, 1], [3, -1]), "items must be between 0 and 399, got -1"),
        (lambda w, g: true_graph(w, [1, 2], [3]), r"items must have shape \(2,\), got \(1,\)"),
        (
            lambda w, g: public_graph(g, np.random.default_rng(0), missing=1.1),
            "missing must be between 0 and 1, got 1.1",
        ),
        (
            lambda w, g: public_graph(g, np.random.default_rng(0), false=float("nan")),
            "false must be between 0 and 1, got nan",
        ),
        (lambda w, g: g.pairs("likes"), "relation must be one of .*, got 'likes'"),
    ],
)
def test_wrong_values_are_refused(
    call: Callable[[Any, KnowledgeGraph], Any], message: str, graph: KnowledgeGraph, world: Any
) -> None:
    with pytest.raises(ValueError, match=message):
        call(world, graph)


def test_more_false_facts_than_exist_are_refused(graph: KnowledgeGraph) -> None:
    entities = pd.DataFrame(
        {"entity": range(3), "name": ["a", "b", "red"], "type": ["product", "product", "colour"]}
    )
    both_red = Triples([0, 1], [3, 3], [2, 2], 3, 18)
    with pytest.raises(ValueError, match="false must ask for at most 0 facts, got 1"):
        public_graph(
            KnowledgeGraph(entities, graph.relations, both_red),
            np.random.default_rng(0),
            false=0.5,
        )


def test_two_thousand_products_take_less_than_two_seconds() -> None:
    world = planted(2_000, 60)
    start = time.perf_counter()
    public_graph(true_graph(world), np.random.default_rng(0))
    assert time.perf_counter() - start < 2
