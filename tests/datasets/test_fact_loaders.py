"""Loaders whose items come with facts: small files by hand, and the counts of the real ones."""

import io
import json
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from reclib.datasets import Dataset, load
from reclib.foundations.interactions import Triples

MUSIC = {
    "user_artists.dat": b"userID\tartistID\tweight\n3\t20\t7\n3\t30\t1\n8\t99\t5\n2\t10\t4\n",
    "kg.txt": b"0\tborn\t3\n2\talbum\t4\n1\tborn\t4\n",
    "item_index2entity_id.txt": b"10\t0\n20\t1\n30\t2\n",
}
GROCERY = {
    "train.csv": b"user_id\titem_id\ttime\n5\t1\t300\n2\t4\t100\n5\t4\t200\n",
    "item_meta.csv": (
        b"item_id\ti_category\tr_complement\tr_substitute\n1\t0\t[4, 7]\t[]\n4\t3\t[]\t[1]\n"
    ),
}
FASHION_KG = {
    "kg_final.txt": b"0 0 30041\n30041 1 30042\n",
    "relation_list.txt": b"org_id remap_id\nincluding 0\nhaving-category-a b 1\n",
    "test.txt": b"0 5 7\n1\n2 5\n",
}
HEAD = (
    "id,gender,masterCategory,subCategory,articleType,baseColour,season,year,usage,"
    "productDisplayName\n"
)
STYLES = (
    f"{HEAD}20,Men,Apparel,Topwear,Shirts,Blue,Fall,2011,Casual,Turtle, Check Shirt\n"
    "10,Women,Apparel,Topwear,Tops,NA,,2012,,Top\n"
)
RECORDS: list[dict[str, Any]] = [
    {"id": "9", "title": "TV", "supplier": "LG", "price": 100, "attr_t_colour": "Black"},
    {"id": "7", "title": "Cup", "supplier": "LG", "price": 5, "attr_b_smart": False},
    {"id": "8", "title": "Fan", "supplier": "AB", "attr_n_weight": 2.5, "attr_t_colour": "Black"},
]


def zipped(name: str, content: str) -> bytes:
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w") as archive:
        archive.writestr(name, content)
    return whole.getvalue()


STYLE_FILES = {"styles.csv.zip": zipped("styles.csv", STYLES)}
ICECAT = {
    "1.json.zip": zipped("1.json", json.dumps(RECORDS[:2])),
    "2.json.zip": zipped("2.json", json.dumps(RECORDS[2:])),
    "Broad_Query_Set_rated.csv": b"query,docid,rating\nfan,8,3\nfan,9,0\n",
    "Broad_Query_Set_individual_ratings.csv": (
        b"query,docid,name,description,agent_1_rating,agent_2_rating,agent_3_rating,final_rating\n"
        b'fan,8,Fan,"A fan, cold",3,3,2,3\n'
    ),
}


def put(shelf: Any, name: str, files: Mapping[str, bytes]) -> None:
    shelf.register(name, files)
    shelf.put(shelf.cache, name, files)


def loaded(shelf: Any, name: str, files: Mapping[str, bytes]) -> Dataset:
    put(shelf, name, files)
    dataset: Dataset = load(name)
    return dataset


def facts(data: Dataset) -> list[tuple[int, ...]]:
    """The triples as plain tuples."""
    assert data.triples is not None
    columns = data.triples.heads, data.triples.relations, data.triples.tails
    return [tuple(row) for row in np.stack(columns, axis=1).tolist()]


def named(data: Dataset) -> set[tuple[int, str, int]]:
    assert data.relation_names is not None
    return {(head, data.relation_names[kind], tail) for head, kind, tail in facts(data)}


def sizes(triples: Triples | None) -> tuple[int, int, int]:
    assert triples is not None
    return len(triples), triples.n_entities, triples.n_relations


# --- artists


def test_artists_outside_the_graph_and_their_users_are_left_out(shelf: Any) -> None:
    data = loaded(shelf, "kgcn-music", MUSIC)
    pairs = np.stack([data.interactions.users, data.interactions.items], axis=1)
    assert pairs.tolist() == [[0, 0], [1, 1], [1, 2]]
    assert data.users is not None
    assert data.users.decode([0, 1]).tolist() == [2, 3]
    assert data.interactions.n_items == 3
    assert len(data.tables["plays"]) == 4


def test_an_artist_is_the_entity_that_the_facts_are_about(shelf: Any) -> None:
    data = loaded(shelf, "kgcn-music", MUSIC)
    assert data.relation_names == ("album", "born")
    assert facts(data) == [(0, 1, 3), (2, 0, 4), (1, 1, 4)]
    assert data.items is not None
    assert data.items.decode([0, 1, 2]).tolist() == [10, 20, 30]


# --- groceries


def test_groceries_keep_time_category_and_both_lists(shelf: Any) -> None:
    data = loaded(shelf, "grocery-relations", GROCERY)
    assert data.interactions.timestamps is not None
    assert data.interactions.timestamps.tolist() == [100, 200, 300]
    assert named(data) == {
        (0, "complement", 1),
        (0, "complement", 2),  # item 7, known from a list alone
        (1, "substitute", 0),
        (0, "in_category", 3),
        (1, "in_category", 4),
    }
    assert data.item_features is not None
    assert data.item_features.toarray().tolist() == [[1, 0], [0, 1], [0, 0]]
    assert data.item_feature_names == ("category=0", "category=3")


# --- outfits


def test_outfits_are_the_first_entities_and_an_empty_line_is_a_user(shelf: Any) -> None:
    data = loaded(shelf, "alibaba-fashion-kg", FASHION_KG)
    pairs = np.stack([data.interactions.users, data.interactions.items], axis=1)
    assert pairs.tolist() == [[0, 5], [0, 7], [2, 5]]
    assert (data.interactions.n_users, data.interactions.n_items) == (3, 30_040)
    assert facts(data) == [(0, 0, 30041), (30041, 1, 30042)]
    assert data.relation_names == ("including", "having-category-a b")


# --- catalogues


def test_a_title_may_hold_commas(shelf: Any) -> None:
    products = loaded(shelf, "fashion-products-meta", STYLE_FILES).tables["products"]
    assert products["productDisplayName"].tolist() == ["Top", "Turtle, Check Shirt"]
    assert products[["item", "id"]].to_numpy().tolist() == [[0, "10"], [1, "20"]]


def test_attributes_are_facts_and_categories_hang_under_one_another(shelf: Any) -> None:
    data = loaded(shelf, "fashion-products-meta", STYLE_FILES)
    names = data.item_feature_names
    assert names is not None and "baseColour=NA" not in names and "usage=" not in names
    found = {
        (names[head - 2] if head > 1 else head, kind, names[tail - 2])
        for head, kind, tail in named(data)
    }
    assert (1, "baseColour", "baseColour=Blue") in found
    assert (0, "articleType", "articleType=Tops") in found
    assert ("articleType=Tops", "sub_of", "subCategory=Topwear") in found
    assert ("subCategory=Topwear", "sub_of", "masterCategory=Apparel") in found
    assert len([1 for _, kind, _ in found if kind == "sub_of"]) == 3
    assert data.interactions.n_users == len(data.interactions) == 0
    assert data.interactions.n_items == 2


def test_texts_and_truth_values_are_facts_and_numbers_stay_in_the_table(shelf: Any) -> None:
    data = loaded(shelf, "chorus-icecat", ICECAT)
    assert data.item_feature_names is not None
    found = {(h, kind, data.item_feature_names[t - 3]) for h, kind, t in named(data)}
    assert found == {
        (0, "supplier", "supplier=LG"),
        (0, "smart", "smart=False"),
        (1, "supplier", "supplier=AB"),
        (1, "colour", "colour=Black"),
        (2, "supplier", "supplier=LG"),
        (2, "colour", "colour=Black"),
    }
    table = data.tables["attributes"]
    assert table[table["kind"] == "n"].to_numpy().tolist() == [[1, "weight", "n", "2.5"]]
    assert data.tables["products"]["title"].tolist() == ["Cup", "Fan", "TV"]


def test_grades_point_at_products(shelf: Any) -> None:
    data = loaded(shelf, "chorus-icecat", ICECAT)
    assert data.tables["grades"][["item", "rating"]].to_numpy().tolist() == [[1, 3], [2, 0]]
    assert data.tables["raters"]["agent_3_rating"].tolist() == [2]


MALFORMED = [
    (
        *("kgcn-music", MUSIC, "kg.txt", b"0\tborn\t3\n1\tborn\t-4\n"),
        "line 2: tail must be integers of at least 0, got '-4'",
    ),
    (
        *("kgcn-music", MUSIC, "item_index2entity_id.txt", b"10\t0\n20\t2\n"),
        "line 2: entity must count from 0 while the artists ascend, got '2'",
    ),
    (
        *("grocery-relations", GROCERY, "item_meta.csv"),
        b"item_id\ti_category\tr_complement\tr_substitute\n1\t0\t[4, x]\t[]\n",
        "line 2: r_complement must be a list of positive integers, got '[4, x]'",
    ),
    (
        *("alibaba-fashion-kg", FASHION_KG, "kg_final.txt", b"0 0 1\n0 2 1\n"),
        "line 2: relation must be below 2, got '2'",
    ),
    (
        *("alibaba-fashion-kg", FASHION_KG, "kg_final.txt", b"0 0 1\n0 2\n"),
        "line 2: it must hold 3 ids of at least 0, got '0 2'",
    ),
    (
        *("alibaba-fashion-kg", FASHION_KG, "test.txt", b"0 1\n\n"),
        "line 2: it must hold ids of at least 0, got ''",
    ),
    (
        *("alibaba-fashion-kg", FASHION_KG, "relation_list.txt", b"org_id remap_id\na 1\n"),
        "line 2: remap_id must be 0, got '1'",
    ),
    (
        *("fashion-products-meta", STYLE_FILES, "styles.csv.zip"),
        zipped("styles.csv", f"{HEAD}1,Men\n"),
        "line 2: it must hold 10 fields, got '1,Men'",
    ),
]


@pytest.mark.parametrize(("name", "files", "file", "content", "message"), MALFORMED)
def test_a_malformed_line_is_named(
    shelf: Any, name: str, files: Mapping[str, bytes], file: str, content: bytes, message: str
) -> None:
    put(shelf, name, {**files, file: content})
    with pytest.raises(ValueError) as error:
        load(name)
    assert str(error.value) == f"{name}/{file} {message}"


def test_a_product_that_stands_twice_is_refused(shelf: Any) -> None:
    put(shelf, "chorus-icecat", {**ICECAT, "2.json.zip": ICECAT["1.json.zip"]})
    with pytest.raises(ValueError, match="^id must stand on one product only, got '9' twice$"):
        load("chorus-icecat")


# --- the real files, against the counts that the registry prints


REAL = [
    ("kgcn-music", 1_872, 3_846, 21_173, (15_518, 9_366, 60)),
    ("grocery-relations", 14_681, 8_713, 121_892, (248_444 + 124_933 + 8_713, 8_770, 3)),
    ("alibaba-fashion-kg", 114_737, 30_040, 400_583, (279_155, 89_196, 51)),
]


@pytest.mark.parametrize(("name", "users", "items", "events", "triples"), REAL)
def test_published_graphs_have_the_printed_counts(
    real: Any, name: str, users: int, items: int, events: int, triples: tuple[int, int, int]
) -> None:
    data = real(name)
    found = data.interactions
    assert (found.n_users, found.n_items, len(found)) == (users, items, events)
    assert sizes(data.triples) == triples


def test_published_clicks_touch_as_many_outfits_as_printed(real: Any) -> None:
    data = real("alibaba-fashion-kg")
    assert np.unique(data.interactions.items).size == 28_101


def test_published_groceries_bought_are_as_many_as_printed(real: Any) -> None:
    data = real("grocery-relations")
    assert np.unique(data.interactions.items).size == 8_687
    assert data.item_features.shape == (8_713, 57)


def test_published_fashion_has_three_levels_of_categories(real: Any) -> None:
    data = real("fashion-products-meta")
    assert data.interactions.n_items == 44_446
    levels = ["masterCategory", "subCategory", "articleType"]
    assert data.tables["products"][levels].nunique().tolist() == [7, 45, 143]


def test_published_electronics_have_the_printed_counts(real: Any) -> None:
    data = real("chorus-icecat")
    products, table = data.tables["products"], data.tables["attributes"]
    assert (len(products), products["supplier"].nunique()) == (19_406, 161)
    assert len(table) == 371_405
    assert (table["kind"] + table["attribute"]).nunique() == 5_354
    assert (data.tables["grades"]["rating"].value_counts().sort_index().tolist()) == [
        1_853, 238, 105, 1_472,
    ]  # fmt: skip
    assert (data.tables["grades"]["query"].nunique(), len(data.tables["raters"])) == (135, 3_188)
