"""The storefront says what is true, fits into a page, and needs no other host."""

import base64
import html.parser
import io
import json
import re
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from book import generate, offline, storefront
from reclib.collaborative import ItemKNN, Popularity
from reclib.datasets import load
from reclib.foundations.interactions import Interactions
from reclib.foundations.splitting import split_last

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def shop():
    return load("shop", profile="tiny", seed=0)


@pytest.fixture(scope="module")
def split(shop):
    return split_last(shop.interactions.deduplicated())


@pytest.fixture(scope="module")
def timed(shop):
    start = time.perf_counter()
    fragment = storefront.build(shop)
    return fragment, time.perf_counter() - start


@pytest.fixture(scope="module")
def fragment(timed):
    return timed[0]


class Scripts(html.parser.HTMLParser):
    """What stands in the scripts of a page, as a browser reads it."""

    def __init__(self, text):
        super().__init__()
        self.found, self.inside = {}, None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.inside = dict(attrs).get("id", "code") if tag == "script" else None

    def handle_data(self, data):
        if self.inside:
            self.found[self.inside] = self.found.get(self.inside, "") + data

    def handle_endtag(self, tag):
        self.inside = None


@pytest.fixture(scope="module")
def data(fragment):
    return json.loads(Scripts(fragment).found["storefront-data"])


def bought_by(interactions, user):
    return interactions.items[interactions.users == user].tolist()


def test_the_tiny_page_is_built_in_less_than_ten_seconds(timed):
    assert timed[1] < 10


def test_the_page_is_at_most_three_megabytes(fragment):
    assert len(storefront.page(fragment).encode()) <= 3_000_000


def test_the_largest_page_that_may_be_built_is_at_most_three_megabytes(data):
    largest = max(len(json.dumps(row)) for row in data["products"].values())
    assert largest * storefront.MAX_PRODUCTS < 2_800_000


def test_nothing_is_loaded_from_another_host(fragment):
    assert offline.html_loads(storefront.page(fragment)) == []
    assert offline.html_loads(fragment + '<img src="https://e.org/a.png">') != []


def test_equal_shops_give_equal_bytes(shop, fragment):
    again = load("shop", profile="tiny", seed=0)
    assert storefront.build(again) == fragment


def test_two_dozen_different_customers_are_shown(data):
    ids = [customer["id"] for customer in data["customers"]]
    assert len(ids) == len(set(ids)) == storefront.N_CUSTOMERS


def test_what_was_bought_next_is_the_purchase_held_out(data, split):
    for customer in data["customers"]:
        assert customer["next"] == bought_by(split.test, customer["id"])


def test_what_was_bought_before_are_the_last_purchases_that_models_may_see(data, split):
    for customer in data["customers"]:
        known = bought_by(split.train_and_validation, customer["id"])
        assert customer["before"] == known[-storefront.N_BEFORE :]
        assert customer["n_before"] == len(known) >= storefront.MIN_HISTORY


def test_no_shelf_holds_what_the_customer_has(data, split):
    for customer in data["customers"]:
        known = set(bought_by(split.train_and_validation, customer["id"]))
        assert not any(known & set(items) for items in customer["lists"])


def test_every_shelf_has_ten_different_products(data):
    for customer in data["customers"]:
        assert [len(set(items)) for items in customer["lists"]] == [10] * len(data["shelves"])


def test_the_gain_of_a_shelf_is_that_of_the_place_of_the_hit(data):
    for customer in data["customers"]:
        [bought] = customer["next"]
        for items, value in zip(customer["lists"], customer["ndcg"], strict=True):
            place = items.index(bought) + 1 if bought in items else np.inf
            assert value == pytest.approx(1 / np.log2(1 + place), abs=6e-4)


def test_some_shelves_find_and_some_miss(data):
    found = [sum(value > 0 for value in customer["ndcg"]) for customer in data["customers"]]
    assert 0 in found and max(found) >= 2


def test_the_page_opens_with_a_customer_whose_shelves_differ_as_the_means_do(data):
    means = [shelf["mean"] for shelf in data["shelves"]]
    found = [c["ndcg"] for c in data["customers"] if len(set(c["ndcg"])) > 1]
    agreement = [np.corrcoef(means, values)[0, 1] for values in found]
    assert found[0] == data["customers"][0]["ndcg"]
    assert agreement[0] == pytest.approx(max(agreement), abs=0.01)


def test_popularity_s_shelf_is_the_best_sellers_that_the_customer_lacks(data, split):
    known = split.train_and_validation
    order = np.argsort(-np.bincount(known.items, minlength=known.n_items), kind="stable").tolist()
    for customer in data["customers"]:
        own = bought_by(known, customer["id"])
        expected = [item for item in order if item not in own][:10]
        assert customer["lists"][0] == expected


def test_the_mean_of_a_shelf_is_over_all_customers_that_can_be_judged(data, split):
    known = split.train_and_validation
    order = np.argsort(-np.bincount(known.items, minlength=known.n_items), kind="stable")
    gains = []
    for user, bought in zip(split.test.users, split.test.items, strict=True):
        shelf = [item for item in order if item not in bought_by(known, user)][:10]
        gains.append(1 / np.log2(2 + shelf.index(bought)) if bought in shelf else 0)
    assert data["shelves"][0]["mean"] == pytest.approx(np.mean(gains), abs=6e-4)
    assert data["shop"]["n_customers"] == len(gains)


def test_the_oracle_is_the_measure_of_the_others(data):
    shelves = {shelf["name"]: shelf for shelf in data["shelves"]}
    assert shelves["oracle"]["share"] == 1
    for shelf in shelves.values():
        share = shelf["mean"] / shelves["oracle"]["mean"]
        assert shelf["share"] == pytest.approx(share, abs=0.02)


def test_the_reason_of_a_neighbour_is_the_most_similar_purchase(data, split):
    model = ItemKNN(shrinkage=10.0).fit(split.train_and_validation)
    weights = model.item_weights_.toarray()
    place = [shelf["name"] for shelf in data["shelves"]].index("neighbours")
    n_reasons = 0
    for customer in data["customers"]:
        known = bought_by(split.train_and_validation, customer["id"])
        for item, reason in zip(customer["lists"][place], customer["reasons"][place], strict=True):
            values = weights[known, item]
            if reason == -1:
                assert values.max() == 0
            else:
                assert weights[reason, item] == values.max() > 0
                n_reasons += 1
    assert n_reasons > 100


def test_popularity_and_oracle_give_no_reason(data):
    for customer in data["customers"]:
        assert {*customer["reasons"][0], *customer["reasons"][-1]} == {-1}


def test_every_product_that_the_page_names_has_title_price_words_and_picture(data, shop):
    named = set()
    for customer in data["customers"]:
        for items in (customer["before"], customer["next"], *customer["lists"]):
            named |= set(items)
        for items in customer["reasons"]:
            named |= set(items) - {-1}
    assert {int(item) for item in data["products"]} == named
    for item, (title, price, alt, code) in data["products"].items():
        row = shop.products.iloc[int(item)]
        assert (title, float(price)) == (row["title"], round(row["price"], 2))
        assert alt.startswith(row["leaf"])
        with Image.open(io.BytesIO(base64.b64decode(code))) as image:
            assert (image.format, image.size) == ("WEBP", (64, 64))
            image.load()


def test_a_reason_has_its_picture_even_if_it_was_bought_long_ago(shop, monkeypatch):
    monkeypatch.setattr(storefront, "N_BEFORE", 1)
    found = storefront.storefront_data(shop, n_customers=5)
    reasons = {item for c in found["customers"] for row in c["reasons"] for item in row} - {-1}
    before = {item for c in found["customers"] for item in c["before"]}
    assert reasons - before
    assert reasons <= {int(item) for item in found["products"]}


def test_pictures_stay_what_the_shop_draws(data, shop):
    items = np.array([int(item) for item in data["products"]])[:20]
    for item, drawn in zip(items, shop.media.pictures(items), strict=True):
        code = base64.b64decode(data["products"][str(item)][3])
        shown = np.asarray(Image.open(io.BytesIO(code)), float)
        assert np.abs(shown - drawn).mean() < 8  # of 255; noise has a deviation of 4


def test_customers_agreed_to_personalisation_and_differ(data, shop):
    ids = [customer["id"] for customer in data["customers"]]
    people = shop.users.iloc[ids]
    assert people["consent_personalization"].all()
    assert people["region"].nunique() >= 6 and people["age_band"].nunique() >= 4


def test_a_profile_says_age_and_region_and_leaves_out_what_is_missing(data, shop):
    for customer in data["customers"]:
        row = shop.users.iloc[customer["id"]]
        for name in ("age_band", "region"):
            said = str(row[name]).replace("-", "–") if name == "age_band" else str(row[name])
            assert (said in customer["who"]) == (said not in {"", "nan", "None", "unknown"})
        assert "nan" not in customer["who"] and "unknown" not in customer["who"]


def test_a_page_that_would_hold_too_many_pictures_shows_fewer_customers(shop, monkeypatch):
    monkeypatch.setattr(storefront, "MAX_PRODUCTS", 60)
    few = storefront.storefront_data(shop, [storefront.SHELVES[0], storefront.SHELVES[-1]])
    assert 0 < len(few["customers"]) < storefront.N_CUSTOMERS
    assert len(few["products"]) <= 60


def test_a_later_part_adds_its_shelf_by_one_entry(shop):
    more = storefront.Shelf(
        "again", "Again", "as before", "foundations/evaluation",
        lambda shop, split: Popularity().fit(split.train_and_validation),
    )  # fmt: skip
    found = storefront.storefront_data(shop, [*storefront.SHELVES, more], n_customers=3)
    assert found["shelves"][-1]["mean"] == found["shelves"][0]["mean"]
    assert all(len(c["lists"]) == len(storefront.SHELVES) + 1 for c in found["customers"])


def test_no_title_can_end_the_script(shop, monkeypatch):
    evil = {"products": {"0": ["</script><b>&", "1.00", "<!--", ""]}}
    monkeypatch.setattr(storefront, "storefront_data", lambda *_, **__: evil)
    assert json.loads(Scripts(storefront.build(shop)).found["storefront-data"]) == evil


@pytest.mark.parametrize(
    ("shelves", "n", "message"),
    [
        (storefront.SHELVES[:2], 3, "shelves must hold one named oracle, got ['popularity', 'n"),
        (storefront.SHELVES, 0, "n_customers must be at least 1, got 0"),
    ],
)
def test_bad_arguments_are_refused(shop, shelves, n, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        storefront.storefront_data(shop, shelves, n_customers=n)


def test_every_shelf_leads_to_a_chapter_of_the_book():
    chapters = generate.toc_chapters(ROOT)
    assert [shelf.name for shelf in storefront.SHELVES if shelf.chapter not in chapters] == []


@pytest.mark.parametrize("shelf", storefront.SHELVES, ids=lambda shelf: shelf.name)
def test_no_shelf_learns_from_what_was_held_out(shelf, shop, split):
    test = split.test
    other = Interactions(
        test.users,
        np.roll(test.items, 1),
        timestamps=test.timestamps,
        n_users=test.n_users,
        n_items=test.n_items,
    )
    users = np.arange(50)
    honest = shelf.fit(shop, split).score(users)
    assert np.ptp(honest) > 0
    np.testing.assert_array_equal(shelf.fit(shop, replace(split, test=other)).score(users), honest)


def test_names_of_shelves_are_different():
    names = [shelf.name for shelf in storefront.SHELVES]
    assert len(names) == len(set(names))


def test_the_page_of_the_book_shows_the_shelves_only_where_they_were_made(tmp_path):
    assert "{raw}" not in generate.render_storefront(ROOT, tmp_path)
    (tmp_path / generate.SHELVES).write_text("<p>x</p>")
    assert f":file: {generate.SHELVES}" in generate.render_storefront(ROOT, tmp_path)


def test_the_picture_of_the_readme_is_small_and_wide():
    assert storefront.PICTURE.stat().st_size <= storefront.PHOTO_BYTES
    with Image.open(storefront.PICTURE) as image:
        assert image.width == storefront.PHOTO_WIDTH


def test_a_page_that_was_not_built_cannot_be_photographed(tmp_path):
    with pytest.raises(FileNotFoundError, match="page must exist, run `python run.py storefront`"):
        storefront.photograph(tmp_path / "index.html")


def test_the_command_writes_the_piece_and_the_page(tmp_path, fragment, monkeypatch):
    monkeypatch.setattr(storefront, "build", lambda _: fragment)
    assert storefront.main(["build", str(tmp_path / "new"), "--profile", "tiny"]) == 0
    assert (tmp_path / "new" / "shelves.html").read_text(encoding="utf-8") == fragment
    assert (tmp_path / "new" / "index.html").read_text(encoding="utf-8").count(fragment) == 1
