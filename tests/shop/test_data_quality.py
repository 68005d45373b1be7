"""Faults made on purpose, their log, and how well each detector finds them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from reclib.shop import SimConfig, simulate
from reclib.shop import data_quality as quality
from reclib.shop._config import DAY, START
from reclib.shop.data_quality import KINDS, Detection, Faults, corrupt, detection, restore

Tables = dict[str, pd.DataFrame]
Soiled = tuple[Tables, pd.DataFrame]
HOUR = 3_600
MANY = Faults(  # enough cases in 300 products to measure a rate by
    duplicate_products=0.1, wrong_category=0.1, unit_mistakes=0.05, mojibake=0.1, leaked_column=0
)


@pytest.fixture(scope="module")
def tables() -> Tables:
    return quality.tables_of(simulate(SimConfig.of("tiny", 0)))


@pytest.fixture(scope="module")
def soiled(tables: Tables) -> Soiled:
    return corrupt(tables)


@pytest.fixture(scope="module")
def many(tables: Tables) -> Soiled:
    names = ("products", "texts", "pictures")
    return corrupt({name: tables[name] for name in names}, MANY)


# The soiling and its log.


def test_undoing_by_the_log_gives_the_clean_tables_bit_by_bit(
    tables: Tables, soiled: Soiled
) -> None:
    restored = restore(*soiled)
    assert list(restored) == list(tables)
    for name, table in tables.items():
        pd.testing.assert_frame_equal(restored[name], table, check_exact=True)


def test_every_kind_soils_something_and_is_in_the_log(tables: Tables, soiled: Soiled) -> None:
    _, log = soiled
    assert set(log["kind"]) == set(KINDS)
    for kind in KINDS:
        alone, _ = corrupt(tables, Faults.only(kind))
        assert any(not alone[name].equals(table) for name, table in tables.items()), kind


def test_clean_tables_are_left_as_they_are() -> None:
    table = pd.DataFrame({"item": range(50), "title": "red mug", "leaf": ["Mug", "Rug"] * 25})
    table["price"] = 9.99
    before = table.copy()
    corrupt({"products": table}, MANY)
    pd.testing.assert_frame_equal(table, before)


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_switched_off_leaves_the_others_where_they_were(
    tables: Tables, soiled: Soiled, kind: str
) -> None:
    small = {name: table.head(2_000) for name, table in tables.items()}
    _, every = corrupt(small)
    _, fewer = corrupt(small, Faults(**{kind: 0.0}))
    assert kind not in set(fewer["kind"])
    for other in set(every["kind"]) - {kind}:
        pd.testing.assert_series_equal(_what(every, other), _what(fewer, other))


def _what(log: pd.DataFrame, kind: str) -> pd.Series:
    """New values of a kind; rows of tables move when rows before them are repeated or not."""
    mine = log[log["kind"] == kind]
    if kind == "duplicate_events":  # what is new is the row itself, so the number of them
        return mine["table"].astype(str).value_counts().sort_index()
    if kind in ("before_signup", "out_of_order", "time_zone"):
        return pd.Series((mine["new"] - mine["old"]).to_numpy())
    return mine["new"].reset_index(drop=True)


def test_the_same_seed_soils_the_same_and_another_seed_others(tables: Tables) -> None:
    products = {"products": tables["products"]}
    first, second, third = (corrupt(products, MANY, seed)[1] for seed in (0, 0, 1))
    pd.testing.assert_frame_equal(first, second)
    assert not first["key"].equals(third["key"])


def test_rows_in_the_log_are_rows_of_the_dirty_table(soiled: Soiled) -> None:
    dirty, log = soiled
    cells = log[(log["column"] != "") & (log["row"] >= 0)]
    last = cells.drop_duplicates(["table", "column", "row"], keep="last")  # the later kind wins
    for (table, column), part in last.groupby(["table", "column"], observed=True):
        there = dirty[table][column].iloc[part["row"]].tolist()
        pd.testing.assert_series_equal(pd.Series(there), pd.Series(part["new"].tolist()))


def test_rates_are_shares_of_what_is_soiled(tables: Tables, many: Soiled) -> None:
    dirty, log = many
    keys = log[log["table"] == "products"].groupby("kind", observed=True)["key"].nunique()
    n = len(tables["products"])
    for kind in ("duplicate_products", "wrong_category", "unit_mistakes", "mojibake"):
        assert keys[kind] == round(getattr(MANY, kind) * n)
    assert len(dirty["products"]) == n + keys["duplicate_products"]


def test_events_of_a_duplicate_product_are_divided_between_its_two_ids(tables: Tables) -> None:
    dirty, log = corrupt(tables, Faults.only("duplicate_products"))
    moved = dirty["clicks"]["item"] != tables["clicks"]["item"]
    pairs = log[log["table"] == "products"].set_index("key")["old"]
    assert (
        pairs[dirty["clicks"]["item"][moved]].to_numpy() == tables["clicks"]["item"][moved]
    ).all()
    share = moved.sum() / tables["clicks"]["item"].isin(pairs).sum()
    assert 0.2 < share < 0.55  # half of the customers, from some day of the first half on


def test_every_event_names_a_product_a_customer_and_a_session_that_exist(soiled: Soiled) -> None:
    dirty, _ = soiled
    for name in ("queries", "impressions", "clicks", "carts", "purchases", "ratings"):
        for column, home in (("item", "products"), ("user", "users"), ("session", "sessions")):
            if column in dirty[name]:
                assert dirty[name][column].isin(dirty[home][column]).all()


def test_a_kind_without_its_tables_or_columns_makes_nothing() -> None:
    users = pd.DataFrame({"user": [0, 1, 2]})  # no region, no day of sign-up
    dirty, log = corrupt({"users": users})
    pd.testing.assert_frame_equal(dirty["users"], users)
    assert log.empty


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"bots": -0.1}, "bots must be between 0 and 1, got -0.1"),
        ({"mojibake": 1.5}, "mojibake must be between 0 and 1, got 1.5"),
        ({"label_flips": float("nan")}, "label_flips must be between 0 and 1, got nan"),
        ({"bot_rate": 0}, "bot_rate must be above 0 and finite, got 0"),
    ],
)
def test_rates_that_are_no_shares_are_refused(values: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        Faults(**values)


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="kind must be one of .*, got 'ghosts'"):
        Faults.only("ghosts")
    with pytest.raises(ValueError, match="kind must be one of .*, got 'ghosts'"):
        detection([], pd.DataFrame(), "ghosts")


@pytest.mark.parametrize("seed", [-1, 1.0, True])
def test_a_seed_that_is_no_natural_number_is_refused(seed: int) -> None:
    with pytest.raises(ValueError, match="seed must be an integer of at least 0"):
        corrupt({}, seed=seed)


def test_detection_counts_each_key_once() -> None:
    log = pd.DataFrame({"kind": "bots", "table": "users", "key": [3, 3, 5, 7]})
    assert detection([3, 3, 9, 5], log, "bots") == Detection(2 / 3, 2 / 3, 3)


def test_detection_of_nothing_has_no_precision_and_of_a_clean_shop_no_recall() -> None:
    log = pd.DataFrame({"kind": ["bots"], "table": ["users"], "key": [3]})
    none = detection([], log, "bots")
    assert np.isnan(none.precision) and none.recall == 0
    clean = detection([3], log, "mojibake")
    assert clean.precision == 0 and np.isnan(clean.recall)


# Detectors of the catalogue: measured on 300 products with 15 to 30 faults of each kind.


def test_duplicate_products_are_found_where_equal_titles_find_none(many: Soiled) -> None:
    products, log = many[0]["products"], many[1]
    pairs = quality.find_duplicate_products(products)
    found = detection(pairs["item"], log, "duplicate_products")
    assert found.precision >= 0.95 and found.recall >= 0.9
    truth = log[log["table"] == "products"].query("kind == 'duplicate_products'")
    assert set(zip(truth["key"], truth["old"], strict=True)) >= set(
        zip(pairs["item"], pairs["duplicate_of"], strict=True)
    )
    naive = products["item"][products["title"].duplicated()]
    assert not detection(naive, log, "duplicate_products").recall > 0


def test_equal_titles_at_other_prices_are_no_duplicates_and_a_missing_price_is_no_objection() -> (
    None
):
    products = pd.DataFrame({"item": [4, 2, 9], "title": "red mug", "brand": "Rilan"})
    products["price"] = [9.99, 14.99, np.nan]
    found = quality.find_duplicate_products(products)
    pairs = list(zip(found["item"], found["duplicate_of"], strict=True))
    assert pairs == [(9, 2), (9, 4)]


def test_wrong_categories_are_found_better_than_by_the_missing_word(many: Soiled) -> None:
    products, log = many[0]["products"], many[1]
    found = detection(quality.find_wrong_categories(products)["item"], log, "wrong_category")
    assert found.precision >= 0.75 and found.recall >= 0.35
    said = [leaf.lower() in title.lower() for leaf, title in products[["leaf", "title"]].to_numpy()]
    naive = detection(products["item"][~np.array(said)], log, "wrong_category")
    assert naive.precision < 0.4


def test_unit_mistakes_are_found_where_a_z_score_of_all_prices_finds_few(many: Soiled) -> None:
    products, log = many[0]["products"], many[1]
    found = detection(quality.find_unit_mistakes(products), log, "unit_mistakes")
    assert found.precision >= 0.8 and found.recall >= 0.85
    price = products["price"]
    naive = detection(
        products["item"][price > price.mean() + 3 * price.std()], log, "unit_mistakes"
    )
    assert naive.recall < 0.5


def test_mojibake_is_found_exactly_and_accents_are_left_alone(many: Soiled) -> None:
    products, log = many[0]["products"], many[1]
    titles = products["title"].where(products["item"] % 7 != 0, "Café " + products["title"])
    damaged = log[(log["kind"] == "mojibake") & (log["table"] == "products")]["key"]
    titles = titles.where(~products["item"].isin(damaged), products["title"])
    found = products["item"][quality.repair_encoding(titles) != titles]
    assert detection(found, log, "mojibake") == Detection(1.0, 1.0, 30)
    assert detection(products["item"][~titles.map(str.isascii)], log, "mojibake").precision < 0.6


def test_repaired_titles_read_as_they_were_meant() -> None:
    damaged = pd.Series(["Caf\u00c3\u00a9 cup", "Café cup", "cup", "CafÃ"])
    assert quality.repair_encoding(damaged).tolist() == ["Café cup", "Café cup", "cup", "CafÃ"]


def test_a_picture_of_another_product_is_found_by_its_color(tables: Tables) -> None:
    products = tables["products"].assign(colour=np.array(["red", "green", "blue"] * 100))
    random = np.random.default_rng(0)
    colors = np.array([[200, 40, 40], [40, 160, 60], [50, 60, 190]])[np.arange(300) % 3]
    pictures = np.full((300, 32, 32, 3), 240)
    pictures[:, 6:26, 6:26] = colors[:, None, None]
    pictures = (pictures + random.normal(0, 8, pictures.shape)).clip(0, 255).astype(np.uint8)
    dirty, log = corrupt(tables, Faults(mislabelled_images=0.02))
    shown = dirty["pictures"]["picture"].to_numpy()[:300]
    found = quality.find_wrong_pictures(products, pictures[shown])
    other = np.flatnonzero(shown % 3 != np.arange(300) % 3)
    assert sorted(found["item"]) == other.tolist()
    wrong = detection(found["item"], log, "mislabelled_images")
    assert wrong == Detection(1.0, len(other) / 6, 6)
    assert quality.find_wrong_pictures(products, pictures).empty


def test_a_leaked_column_is_found_and_honest_columns_are_not(soiled: Soiled) -> None:
    dirty, log = soiled
    at = START + 21 * DAY
    found = quality.find_leaked_columns(dirty["products"], dirty["purchases"], at)
    assert found["column"].tolist() == ["sold_total"]
    assert detection(found["column"], log, "leaked_column") == Detection(1.0, 1.0, 1)


def test_a_column_of_past_sales_is_honest_though_it_predicts_the_future(tables: Tables) -> None:
    at, purchases = START + 21 * DAY, tables["purchases"]
    products = tables["products"]
    past = np.bincount(purchases["item"][purchases["timestamp"] < at], minlength=len(products))
    future = np.bincount(purchases["item"][purchases["timestamp"] >= at], minlength=len(products))
    assert np.corrcoef(past, future)[0, 1] > 0.4  # a bare correlation would accuse it
    found = quality.find_leaked_columns(products.assign(sold=past), purchases, at)
    assert found.empty


# Detectors of the log.


@pytest.mark.parametrize("table", ["clicks", "carts", "purchases"])
def test_repeated_events_are_found_where_equal_rows_find_a_quarter(
    soiled: Soiled, table: str
) -> None:
    dirty, log = soiled
    found = quality.find_duplicate_events(dirty[table])
    result = detection(found, log, "duplicate_events", table=table)
    assert result.precision == 1 and result.recall == 1
    naive = np.flatnonzero(dirty[table].duplicated())
    assert detection(naive, log, "duplicate_events", table=table).recall < 0.5


def test_bots_as_fast_as_people_are_found_by_where_they_click(tables: Tables) -> None:
    dirty, log = corrupt(tables, Faults(bots=0.02, bot_rate=3))
    found = quality.find_bots(dirty["impressions"], dirty["clicks"])
    result = detection(found["user"], log, "bots")
    assert result.precision == 1 and result.recall == 1
    rate = dirty["clicks"].groupby("user").size()
    naive = rate.index[rate > rate.mean() + 3 * rate.std()]
    assert not detection(naive, log, "bots").recall > 0.9


def test_a_shifted_region_is_found_with_its_hours(soiled: Soiled) -> None:
    dirty, log = soiled
    found = quality.find_shifted_regions(dirty["sessions"], dirty["users"])
    assert detection(found["region"], log, "time_zone") == Detection(1.0, 1.0, 1)
    moved = log[log["kind"] == "time_zone"].iloc[0]
    assert found["hours"].tolist() == [(moved["new"] - moved["old"]) / HOUR]


def test_clicks_before_their_impression_are_found(soiled: Soiled) -> None:
    dirty, log = soiled
    found = quality.find_out_of_order(dirty["clicks"], dirty["impressions"], dirty["sessions"])
    result = detection(found, log, "out_of_order")
    assert result.precision >= 0.95 and result.recall >= 0.97
    start = dirty["sessions"].set_index("session")["start"]
    before = dirty["clicks"]["timestamp"] < start[dirty["clicks"]["session"]].to_numpy()
    naive = detection(np.flatnonzero(before), log, "out_of_order")
    assert naive.recall < result.recall


def test_a_second_look_at_a_product_of_another_day_is_bound_by_its_session_only() -> None:
    sessions = pd.DataFrame({"session": [0], "start": [100]})
    impressions = pd.DataFrame({"session": [0], "item": [7], "timestamp": [200]})
    clicks = pd.DataFrame({"session": 0, "item": 7, "position": [0, 0, 1, 1]})
    clicks["timestamp"] = [150, 99, 150, 201]
    assert quality.find_out_of_order(clicks, impressions, sessions).tolist() == [1, 2]


def test_sessions_before_sign_up_are_found(soiled: Soiled) -> None:
    dirty, log = soiled
    found = quality.find_before_signup(dirty["sessions"], dirty["users"])
    result = detection(found, log, "before_signup")
    assert result.precision >= 0.9 and result.recall == 1
    naive = dirty["sessions"]["session"][dirty["sessions"]["start"] < START - DAY]
    assert detection(naive, log, "before_signup").recall <= result.recall


def test_flipped_labels_are_found_by_the_other_table(soiled: Soiled) -> None:
    dirty, log = soiled
    found = quality.find_flipped_labels(dirty["impressions"], dirty["clicks"])
    result = detection(found, log, "label_flips")
    assert result.precision >= 0.95 and result.recall >= 0.99


def test_the_hour_of_wrong_propensities_is_found_where_uncapped_weights_err(
    tables: Tables,
) -> None:
    wrong, false_alarms = 0, 0
    for seed in range(4):
        dirty, log = corrupt(tables, Faults.only("wrong_propensity"), seed)
        found = quality.find_wrong_propensities(dirty["impressions"])
        assert detection(found["hour"], log, "wrong_propensity") == Detection(1.0, 1.0, 1)
        naive = quality.find_wrong_propensities(dirty["impressions"], cap=1e9)
        result = detection(naive["hour"], log, "wrong_propensity")
        wrong += not result.recall == 1
        false_alarms += result.precision < 1
    assert wrong + false_alarms > 0


def test_a_clean_shop_raises_few_alarms(tables: Tables) -> None:
    products, at = tables["products"], START + 30 * DAY  # products have arrived since day 21
    clicks, impressions = tables["clicks"], tables["impressions"]
    assert len(quality.find_duplicate_products(products)) <= 1
    assert len(quality.find_wrong_categories(products)) <= 3
    assert len(quality.find_unit_mistakes(products)) <= 1
    assert (quality.repair_encoding(products["title"]) == products["title"]).all()
    assert quality.find_leaked_columns(products, tables["purchases"], at).empty
    assert not any(len(quality.find_duplicate_events(tables[name])) for name in ("clicks", "carts"))
    assert quality.find_bots(impressions, clicks).empty
    assert quality.find_shifted_regions(tables["sessions"], tables["users"]).empty
    assert not len(quality.find_out_of_order(clicks, impressions, tables["sessions"]))
    assert not len(quality.find_before_signup(tables["sessions"], tables["users"]))
    assert len(quality.find_flipped_labels(impressions, clicks)) <= 1e-4 * len(impressions)
    assert quality.find_wrong_propensities(impressions).empty


def test_nan_free_weights_of_a_small_log_by_hand() -> None:
    hours: NDArray[np.int64] = np.repeat([0, 1, 2], 400)
    log = pd.DataFrame({"position": 1, "timestamp": hours * HOUR, "propensity": 0.1})
    log.loc[hours == 1, "propensity"] = 0.3
    found = quality.find_wrong_propensities(log)
    # 1/p is 10, 10/3, 10: mean 70/9, so the ratios are 9/7, 3/7, 9/7.
    assert found["hour"].tolist()[0] == 1
    np.testing.assert_allclose(found["ratio"][0], 3 / 7)
