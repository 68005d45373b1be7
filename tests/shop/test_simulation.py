"""The simulated shop: settings, streams, tables, two domains, three worlds."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from scipy.stats import chisquare

from reclib.shop import Shop, SimConfig, _config, load, open_shop, simulate
from reclib.shop import _words as words
from reclib.shop._catalogue import geometry_of
from reclib.shop._shelves import first_memory, open_day
from reclib.shop._visits import run_block
from reclib.shop._world import World, build_world
from reclib.shop.realism import fitted_eta
from reclib.shop.simulation import PUBLIC

START = 1_704_067_200
DAY = 86_400

COLUMNS = {
    "products": "item title department category leaf brand colour material pattern style audience "
    "season size feature origin tier price arrival_day",
    "users": "user age_band gender region device household income signup_day "
    "consent_personalization consent_sharing",
    "sessions": "session user start",
    "queries": "request session user timestamp text",
    "impressions": "request session user item position timestamp surface policy propensity price "
    "click",
    "clicks": "session user item timestamp position surface dwell",
    "carts": "session user item timestamp",
    "purchases": "session user item timestamp price quantity returned",
    "ratings": "user item timestamp rating",
    "promotions": "item first_day last_day discount",
    "stockouts": "item first_day last_day",
    "texts": "item title description bullets",
}


@pytest.fixture(scope="module")
def tiny() -> Shop:
    return simulate(SimConfig.of("tiny", 0))


@pytest.fixture(scope="module")
def sport() -> Shop:
    return simulate(SimConfig.of("tiny", 0, domain="sport"))


@pytest.fixture(scope="module")
def small_world() -> World:
    return build_world(SimConfig.of("small", 0))


def checksums(shop: Shop) -> dict[str, str]:
    sums = {}
    for name, table in shop._tables.items():
        rows = pd.util.hash_pandas_object(table).to_numpy()
        sums[name] = hashlib.sha256(rows.tobytes()).hexdigest()
    return sums


def looks(shop: Shop) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Clicks on slates and second looks."""
    again = (shop.clicks["surface"] == "history").to_numpy()
    return shop.clicks[~again], shop.clicks[again]


def day_of(timestamps: Any) -> NDArray[np.int64]:
    return np.asarray((np.asarray(timestamps) - START) // DAY)


# --- settings


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": -1}, "seed must be at least 0, got -1"),
        ({"seed": 1.5}, "seed must be an integer, got 1.5"),
        ({"seed": True}, "seed must be a number, got True"),
        ({"n_users": "5"}, "n_users must be a number, got '5'"),
        ({"n_users": 0}, "n_users must be between 1 and 10000000, got 0"),
        ({"n_categories": 5}, "n_categories must be between 1 and 4, got 5"),
        ({"eta": float("nan")}, "eta must be between 0 and 3, got nan"),
        ({"cold_share": 0.6}, "cold_share must be between 0 and 0.5, got 0.6"),
        ({"domain": "garden"}, "domain must be one of ['home', 'sport'], got 'garden'"),
        (
            {"world": "best"},
            "world must be one of ['control', 'default', 'longterm'], got 'best'",
        ),
        (
            {"click_model": "dbn"},
            "click_model must be one of ['cascade', 'position', 'trust'], got 'dbn'",
        ),
        (
            {"n_candidates": 300},
            "n_candidates must be between n_slots and nine tenths of the products there on "
            "day 0, got 300",
        ),
        (
            {"n_candidates": 9},
            "n_candidates must be between n_slots and nine tenths of the products there on "
            "day 0, got 9",
        ),
    ],
)
def test_a_wrong_setting_is_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as error:
        dataclasses.replace(SimConfig.of("tiny", 0), **changes)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"profile": "huge"}, "profile must be one of ['full', 'small', 'tiny'], got 'huge'"),
        ({"domain": "shed"}, "domain must be one of ['home', 'sport'], got 'shed'"),
        ({"world": "x"}, "world must be one of ['control', 'default', 'longterm'], got 'x'"),
    ],
)
def test_an_unknown_name_is_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as error:
        SimConfig.of(**arguments)
    assert str(error.value) == message


def test_simulate_takes_settings_only() -> None:
    with pytest.raises(TypeError) as error:
        simulate("tiny")  # type: ignore[arg-type]
    assert str(error.value) == "config must be a SimConfig, got str"


def test_settings_survive_json() -> None:
    config = dataclasses.replace(SimConfig.of("small", 3, domain="sport"), click_model="trust")
    again = SimConfig(**json.loads(config.to_json()))
    assert again == config and again.hash == config.hash


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(SimConfig)])
def test_each_setting_changes_the_hash(name: str) -> None:
    config = SimConfig.of("small", 3)
    names = {"profile": "tiny", "domain": "sport", "world": "control", "click_model": "trust"}
    old = getattr(config, name)
    new: Any = names[name] if name in names else old - 1 if isinstance(old, int) else old + 1e-9
    assert dataclasses.replace(config, **{name: new}).hash != config.hash


def test_another_generator_changes_the_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    config = SimConfig.of("tiny", 0)
    before = config.hash
    assert len(before) == 12 and int(before, 16) >= 0
    monkeypatch.setattr(_config, "VERSION", _config.VERSION + 1)
    assert config.hash != before


def test_the_other_domain_differs_in_its_products_alone() -> None:
    config = dataclasses.replace(SimConfig.of("small", 5, world="control"), n_users=77)
    other = config.in_domain("sport")
    assert (other.domain, other.n_items) == ("sport", 800)
    assert other.in_domain("home") == config
    assert SimConfig.of("small", 5, domain="sport").in_domain("home") == SimConfig.of("small", 5)


# --- random streams


def test_a_stream_hangs_on_seed_name_and_key() -> None:
    config = SimConfig.of("tiny", 0)
    keys: list[tuple[Any, ...]] = [
        ("visits",), ("visits", 0), ("visits", 0, 0), ("visits", 0, 1), ("visits", 1, 0),
        ("clicks", 0, 0),
    ]  # fmt: skip
    draws = [config.stream(*key).random() for key in keys]
    draws.append(config.own_stream("visits", 0, 1).random())
    draws.append(config.in_domain("sport").own_stream("visits", 0, 1).random())
    draws.append(SimConfig.of("tiny", 1).stream("visits", 0, 1).random())
    assert len(set(draws)) == len(keys) + 3
    assert config.stream("visits", 0, 1).random() == draws[3]
    assert config.in_domain("sport").stream("visits", 0, 1).random() == draws[3]


def short(**changes: Any) -> SimConfig:
    return dataclasses.replace(SimConfig.of("tiny", 0), n_days=4, **changes)


def test_an_added_stream_moves_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    before = checksums(simulate(short()))
    stream = SimConfig.stream

    def with_another(self: SimConfig, name: str, *key: int) -> np.random.Generator:
        stream(self, "another", *key).random(1_000)
        return stream(self, name, *key)

    monkeypatch.setattr(SimConfig, "stream", with_another)
    assert checksums(simulate(short())) == before


def test_what_is_drawn_more_from_one_stream_moves_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    before = checksums(simulate(short()))
    stream = SimConfig.stream

    def advanced(self: SimConfig, name: str, *key: int) -> np.random.Generator:
        generator = stream(self, name, *key)
        if name == "home/queries":
            generator.random(1_000)
        return generator

    monkeypatch.setattr(SimConfig, "stream", advanced)
    after = checksums(simulate(short()))
    assert {name for name in before if after[name] != before[name]} <= {"queries", "truth_queries"}
    assert after["queries"] != before["queries"]


def test_the_same_settings_give_the_same_bytes_and_another_seed_others() -> None:
    first = checksums(simulate(short()))
    assert checksums(simulate(short())) == first
    other = checksums(simulate(short(seed=1)))
    assert not set(first.values()) & set(other.values())


def test_other_clicks_leave_the_catalogue_the_customers_and_the_first_day_s_visits() -> None:
    one, other = (simulate(short(eta=eta)) for eta in (0.6, 1.2))
    pd.testing.assert_frame_equal(other.products, one.products)
    pd.testing.assert_frame_equal(other.users, one.users)
    first, same = (shop.sessions[shop.sessions["start"] < START + DAY] for shop in (one, other))
    assert first.equals(same) and len(first) > 100
    assert len(other.clicks) < len(one.clicks)


def test_more_customers_leave_the_catalogue_alone(tiny: Shop) -> None:
    more = build_world(dataclasses.replace(tiny.config, n_users=700))
    pd.testing.assert_frame_equal(more.products, tiny.products.drop(columns="title"))


# --- tables


def test_public_tables_have_the_columns_of_the_docstring_and_no_others(tiny: Shop) -> None:
    found = {name: " ".join(getattr(tiny, name).columns) for name in PUBLIC}
    assert found == COLUMNS
    for name, columns in COLUMNS.items():
        if name != "impressions":
            assert all(column in str(Shop.__doc__) for column in columns.split())


def test_columns_have_the_smallest_type_that_holds_them(tiny: Shop) -> None:
    kinds = {
        "int32": "request session user item",
        "int8": "position quantity rating",
        "int64": "timestamp start",
        "float32": "propensity price dwell",
        "category": "surface policy",
        "bool": "click returned",
        "str": "text",
    }
    expected = {column: kind for kind, columns in kinds.items() for column in columns.split()}
    logs = ("sessions", "queries", "impressions", "clicks", "carts", "purchases", "ratings")
    for name in logs:
        types = getattr(tiny, name).dtypes
        assert {column: str(kind) for column, kind in types.items()} == {
            column: expected[column] for column in types.index
        }


def test_what_is_public_holds_nothing_of_the_truth(tiny: Shop) -> None:
    public = tiny.public
    assert set(public) == {*PUBLIC, "reviews"}
    hidden = {"intent", "probability", "quality", "bait", "satisfaction", "wanted0", "price_cap"}
    for name, table in public.items():
        assert not hidden & set(table.columns), name
        for time in ("timestamp", "start"):
            if time in table:
                assert table[time].max() < START + DAY * tiny.config.n_days, name
    with pytest.raises(AttributeError):
        tiny.truth_sessions  # noqa: B018
    with pytest.raises(TypeError):
        public["clicks"] = tiny.carts  # type: ignore[index]


def test_ids_count_from_zero_without_a_gap(tiny: Shop) -> None:
    assert (tiny.products["item"] == np.arange(300)).all()
    assert (tiny.texts["item"] == np.arange(300)).all()
    assert (tiny.users["user"] == np.arange(400)).all()
    assert (tiny.sessions["session"] == np.arange(len(tiny.sessions))).all()
    requests = tiny.impressions["request"].to_numpy().reshape(-1, 10)
    assert (requests == np.arange(len(requests))[:, None]).all()
    assert (tiny.texts["title"] == tiny.products["title"]).all()


def test_a_customer_comes_at_most_once_a_day(tiny: Shop) -> None:
    day = day_of(tiny.sessions["start"])
    assert (np.diff(day) >= 0).all()
    assert set(day) == set(range(42))
    assert not pd.DataFrame({"user": tiny.sessions["user"], "day": day}).duplicated().any()


def test_a_slate_has_ten_different_products_that_have_arrived(tiny: Shop) -> None:
    table = tiny.impressions
    request = table.groupby("request")
    assert (request["item"].nunique() == 10).all()
    assert (table["position"].to_numpy().reshape(-1, 10) == np.arange(1, 11)).all()
    for column in ("session", "user", "timestamp", "surface", "policy"):
        assert (request[column].nunique() == 1).all(), column
    arrival = tiny.products["arrival_day"].to_numpy()
    assert (arrival[table["item"]] <= day_of(table["timestamp"])).all()
    assert (arrival > 0).sum() == 45 and arrival.max() < 42
    # On the day itself some are shown, so none is late by a day.
    assert (arrival[table["item"]] == day_of(table["timestamp"])).any()


def test_what_is_out_of_stock_is_not_shown_and_is_around_it(tiny: Shop) -> None:
    shown = set(zip(tiny.impressions["item"], day_of(tiny.impressions["timestamp"]), strict=True))
    before, during, after = [], [], []
    for item, first, last in tiny.stockouts.itertuples(index=False):
        assert last == 41 or 3 <= last - first + 1 <= 7
        assert 0 < first <= last <= 41  # the log's days only
        during += [(item, day) in shown for day in range(first, last + 1)]
        before.append((item, first - 1) in shown)
        if last + 1 < 42:
            after.append((item, last + 1) in shown)
    assert len(tiny.stockouts) >= 8
    assert not any(during)
    assert np.mean(before) > 0.8 and np.mean(after) > 0.8


def test_products_run_out_by_their_sales(tiny: Shop) -> None:
    week = day_of(tiny.purchases["timestamp"])
    for item, first in tiny.stockouts[["item", "first_day"]].itertuples(index=False):
        sold = (tiny.purchases["item"] == item) & (week >= first - 8) & (week <= first)
        assert sold.any()


def test_prices_shown_are_a_fifth_less_in_a_promotion(tiny: Shop) -> None:
    promoted = np.zeros((300, 42), dtype=bool)
    for item, first, last, discount in tiny.promotions.itertuples(index=False):
        assert first % 7 == 0 and last == first + 6 and discount == 0.2
        promoted[item, first : last + 1] = True
    assert 0.06 < promoted.mean() < 0.10
    shown = tiny.impressions
    item, day = shown["item"].to_numpy(), day_of(shown["timestamp"])
    list_price = tiny.products["price"].to_numpy()
    price = list_price[item] * np.where(promoted[item, day], 0.8, 1.0)
    np.testing.assert_allclose(shown["price"], price, rtol=1e-6)
    assert promoted[item, day].mean() > 0.05
    bought = tiny.purchases
    day = day_of(tiny.sessions["start"].to_numpy()[bought["session"]])
    item = bought["item"].to_numpy()
    price = list_price[item] * np.where(promoted[item, day], 0.8, 1.0)
    np.testing.assert_allclose(bought["price"], price, rtol=1e-6)


def test_events_of_a_session_belong_to_its_customer_and_follow_its_start(tiny: Shop) -> None:
    owner, start = tiny.sessions["user"].to_numpy(), tiny.sessions["start"].to_numpy()
    for name in ("impressions", "queries", "clicks", "carts", "purchases"):
        table = getattr(tiny, name)
        assert (owner[table["session"]] == table["user"]).all(), name
        assert (start[table["session"]] <= table["timestamp"]).all(), name


def test_a_request_follows_what_was_clicked_and_read_before_it(tiny: Shop) -> None:
    first = tiny.impressions[tiny.impressions["position"] == 1]
    clicks, _ = looks(tiny)
    clicks = clicks.assign(request=tiny.impressions.loc[tiny.impressions["click"], "request"].array)
    end = clicks["timestamp"] + np.floor(clicks["dwell"])
    last = end.groupby(clicks["request"]).max().reindex(first["request"]).to_numpy()
    last = np.where(np.isnan(last), first["timestamp"], last)
    same = np.diff(first["session"]) == 0
    gap = first["timestamp"].to_numpy()[1:] - last[:-1]
    assert same.sum() > 10_000
    assert gap[same].min() >= 9  # ten, in whole seconds


def test_clicks_of_a_session_are_in_their_order(tiny: Shop) -> None:
    clicks = tiny.clicks
    same = np.diff(clicks["session"]) == 0
    wait = np.diff(clicks["timestamp"]) - np.floor(clicks["dwell"].to_numpy()[:-1])
    assert wait[same].min() >= 0  # nothing is clicked before the last page was left


def test_clicks_on_slates_are_the_clicked_impressions(tiny: Shop) -> None:
    first, _ = looks(tiny)
    shown = tiny.impressions[tiny.impressions["click"]]
    keys = ["session", "item", "position", "surface"]
    assert sorted(map(tuple, first[keys].astype(str).to_numpy())) == sorted(
        map(tuple, shown[keys].astype(str).to_numpy())
    )
    joined = first.merge(shown, on=keys[:3], suffixes=("", "_shown"))
    wait = (joined["timestamp"] - joined["timestamp_shown"]).to_numpy()
    nearest = joined.assign(wait=np.where(wait < 0, np.inf, wait)).groupby([*keys[:3], "timestamp"])
    assert (nearest["wait"].min() >= 2).all() and np.isfinite(nearest["wait"].min()).all()


def test_a_second_look_is_at_the_product_clicked_last(tiny: Shop, sport: Shop) -> None:
    for shop in (tiny, sport):
        table = shop.clicks
        same = table["session"].eq(table["session"].shift())
        again = (table["surface"] == "history") & same
        assert again.sum() > 300
        assert (table["item"] == table["item"].shift())[again].all()
        assert (table["timestamp"] > table["timestamp"].shift())[again].all()
        assert (table.loc[table["surface"] == "history", "position"] == 0).all()


def test_a_session_that_begins_with_a_look_replaces_what_is_used_up(sport: Shop) -> None:
    table = sport.clicks
    starts = ~table.duplicated("session") & (table["surface"] == "history")
    sessions = sport.truth.sessions
    assert starts.sum() > 5
    used_up = np.array([leaf in words.CONSUMABLES for leaf in sport.products["leaf"]])
    every = sport.purchases
    for session, user, item, time in table.loc[
        starts, ["session", "user", "item", "timestamp"]
    ].itertuples(index=False):
        assert used_up[item] and sessions["intent"][session] == "reorder"
        mine = every[(every["user"] == user) & (every["item"] == item)]
        waited = (time - mine["timestamp"]) / DAY
        assert (waited > 30 * np.exp(-0.25 * 1.7) - 1.5).any()


def test_nothing_is_replaced_where_nothing_is_used_up(tiny: Shop) -> None:
    assert not set(tiny.products["leaf"]) & words.CONSUMABLES
    table = tiny.clicks
    assert not (~table.duplicated("session") & (table["surface"] == "history")).any()


def test_carts_come_from_clicks_and_hold_a_product_once(tiny: Shop) -> None:
    keys = ["session", "user", "item"]
    carts = tiny.carts
    assert not carts.duplicated(keys).any()
    joined = carts.merge(tiny.clicks, on=keys, suffixes=("", "_click"))
    wait = joined["timestamp"] - joined["timestamp_click"]
    put = (wait == joined["dwell"].astype(np.int64)).groupby([joined[key] for key in keys]).any()
    assert len(put) == len(carts) and put.all()


def test_a_cart_is_bought_as_a_whole_or_left(tiny: Shop) -> None:
    bought = pd.concat([tiny.purchases, tiny.truth.late_purchases])
    keys = ["session", "user", "item"]
    joined = bought.merge(tiny.carts, on=keys, suffixes=("", "_cart"))
    assert len(joined) == len(bought) > 2_000
    assert (joined["timestamp"] > joined["timestamp_cart"]).all()
    lines = tiny.carts.groupby("session").size()
    sold = bought.groupby("session").size()
    assert (lines[sold.index] == sold).all()
    assert 0.1 < len(sold) / len(lines) < 0.6
    assert set(bought["quantity"]) == {1, 2}


def test_orders_follow_a_session_by_some_hours(tiny: Shop) -> None:
    late, start = tiny.truth.late_purchases, tiny.sessions["start"].to_numpy()
    bought = pd.concat([tiny.purchases, late]).drop_duplicates("session")
    wait = (bought["timestamp"] - start[bought["session"]]) / 3600
    assert abs(wait.mean() - 8) < 1.0
    end = START + 42 * DAY
    assert len(late) > 10 and (late["timestamp"] >= end).all()
    assert (start[late["session"]] < end).all()


def test_ratings_are_of_products_bought_at_least_two_days_before(tiny: Shop) -> None:
    ratings = tiny.ratings
    joined = ratings.merge(tiny.purchases, on=["user", "item"], suffixes=("", "_bought"))
    wait = joined["timestamp"] - joined["timestamp_bought"]
    assert (
        wait.groupby([joined["user"], joined["item"], joined["timestamp"]]).max() >= 2 * DAY
    ).all()
    assert len(ratings.merge(joined[wait >= 2 * DAY], on=["user", "item", "timestamp"])) >= len(
        ratings
    )
    assert 0.1 < len(ratings) / len(tiny.purchases) < 0.3
    assert set(ratings["rating"]) == {1, 2, 3, 4, 5}


def test_queries_are_those_of_search_requests(tiny: Shop) -> None:
    first = tiny.impressions[tiny.impressions["position"] == 1]
    searched = first[first["surface"] == "search"]
    keys = ["request", "session", "user", "timestamp"]
    np.testing.assert_array_equal(tiny.queries[keys], searched[keys])
    assert 0.55 < len(searched) / len(first) < 0.65
    assert tiny.queries["text"].str.len().gt(0).all()


def test_visits_follow_the_weekday(tiny: Shop) -> None:
    visits = np.bincount(day_of(tiny.sessions["start"]) % 7, minlength=7)
    assert visits[5] < 0.75 * visits[1] and visits[1] == visits.max()


def test_one_request_in_ten_is_answered_by_chance(tiny: Shop) -> None:
    first = tiny.impressions[tiny.impressions["position"] == 1]
    n = len(first)
    uniform = (first["policy"] == "uniform").mean()
    assert abs(uniform - 0.1) < 3 * (0.1 * 0.9 / n) ** 0.5


def test_income_is_missing_at_random_and_more_often_for_the_rich(small_world: World) -> None:
    income = small_world.users["income"]
    assert 0.22 < income.isna().mean() < 0.28
    # What is public is already thinned at the top: 84 % of a normal lies below +1 sd.
    known = np.log(income.dropna())
    assert (known > 10.3 + 0.45).mean() < 0.14


def test_customers_signed_up_before_the_log(small_world: World) -> None:
    users = small_world.users
    assert users["signup_day"].max() <= 0 and users["signup_day"].median() < -200
    assert abs(users["consent_personalization"].mean() - 0.9) < 0.02
    assert abs(users["consent_sharing"].mean() - 0.35) < 0.03


def test_materials_and_styles_follow_their_rules(small_world: World) -> None:
    products = small_world.products
    for department, materials in words.ALLOWED_MATERIALS.items():
        found = set(products.loc[products["department"] == department, "material"])
        assert found <= set(materials), department
    favourite = products.groupby("brand")["style"].agg(lambda style: style.value_counts().iloc[0])
    assert favourite.sum() / len(products) > 0.5
    assert products["leaf"].nunique() == 60


def test_a_brand_has_one_tier_and_the_dear_ones_are_dear(small_world: World) -> None:
    products = small_world.products
    assert (products.groupby("brand")["tier"].nunique() == 1).all()
    gap = pd.Series(small_world.price_gap).groupby(products["tier"]).mean()
    assert abs(gap["premium"] - gap["mid"] - 0.45) < 0.1
    assert abs(gap["mid"] - gap["value"] - 0.35) < 0.1
    cents = np.round(products["price"] * 100).astype(int) % 100
    assert set(cents) == {49, 99}


# --- interactions and features


def test_interactions_are_the_purchases_with_the_shops_sizes(tiny: Shop) -> None:
    inside = tiny.interactions
    assert (inside.n_users, inside.n_items) == (400, 300)
    expected = tiny.purchases.sort_values(["user", "timestamp"], kind="stable")
    np.testing.assert_array_equal(inside.users, expected["user"])
    np.testing.assert_array_equal(inside.items, expected["item"])
    np.testing.assert_array_equal(inside.timestamps, expected["timestamp"])


def test_events_name_their_kind(tiny: Shop) -> None:
    assert len(tiny.events("clicks")) == len(tiny.clicks)
    assert len(tiny.events("carts")) == len(tiny.carts)
    ratings = tiny.events("ratings").ratings
    assert ratings is not None and len(ratings) == len(tiny.ratings)
    with pytest.raises(ValueError) as error:
        tiny.events("views")
    message = "kind must be one of ('clicks', 'carts', 'purchases', 'ratings'), got 'views'"
    assert str(error.value) == message


def test_features_are_the_attributes_of_the_tables(tiny: Shop) -> None:
    items, names = tiny.item_features, tiny.item_feature_names
    assert items.shape == (300, len(names)) and (items.sum(axis=1) == 11).all()
    for item in (0, 7, 299):
        row = tiny.products.iloc[item]
        columns = [names[column] for column in items[[item]].indices]
        for attribute in ("colour", "brand", "leaf", "tier"):
            assert f"{attribute}={row[attribute]}" in columns
    users, names = tiny.user_features, tiny.user_feature_names
    assert users.shape == (400, len(names)) and (users.sum(axis=1) == 6).all()
    unknown = users[:, [names.index("income=unknown")]].toarray()[:, 0]
    np.testing.assert_array_equal(unknown == 1, tiny.users["income"].isna())


def test_a_shop_says_what_it_is(tiny: Shop) -> None:
    assert repr(tiny) == (
        f"Shop(tiny, home, seed 0, {tiny.config.hash}: 300 products, 400 users, 42 days, "
        f"{len(tiny.purchases)} purchases)"
    )
    with pytest.raises(AttributeError) as error:
        tiny.orders  # noqa: B018
    assert str(error.value) == "Shop has no attribute 'orders'"


# --- folders and the cache


def test_a_kept_shop_is_the_simulated_one(tmp_path: Path) -> None:
    expected, users = simulate(short()), [0, 3, 399]
    for shop in (simulate(short(), tmp_path / "shop"), open_shop(tmp_path / "shop")):
        assert shop.config == short() and checksums(shop) == checksums(expected)
        assert (shop.truth.relevance(users) == expected.truth.relevance(users)).all()


def test_loading_keeps_the_shop_of_its_settings_in_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECLIB_DATA", str(tmp_path))
    monkeypatch.setitem(_config._PROFILES["tiny"], "n_days", 4)
    shop = load("tiny", 2, domain="sport", world="control")
    assert shop.config == dataclasses.replace(
        SimConfig.of("tiny", 2, domain="sport", world="control"), n_days=4
    )
    assert checksums(open_shop(tmp_path / "shop" / shop.config.hash)) == checksums(shop)


def test_the_sibling_is_the_other_domain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECLIB_DATA", str(tmp_path))
    other = simulate(short()).sibling("sport")
    assert other.config == short().in_domain("sport")
    assert checksums(other) == checksums(simulate(other.config))


def test_an_unknown_profile_is_refused_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECLIB_DATA", str(tmp_path))
    with pytest.raises(ValueError, match="profile must be one of"):
        load("medium", 0)
    assert not list(tmp_path.iterdir())


# --- two domains


def test_both_domains_have_the_same_customers(tiny: Shop, sport: Shop) -> None:
    pd.testing.assert_frame_equal(tiny.users, sport.users)
    home, away = tiny._world, sport._world
    for name in ("segment", "price_sensitivity", "loyalty", "novelty", "patience"):
        np.testing.assert_array_equal(getattr(home, name), getattr(away, name))


def test_taste_in_the_other_domain_is_six_tenths_the_same(small_world: World) -> None:
    other = build_world(small_world.config.in_domain("sport"))
    cosine = (small_world.start_vectors * other.start_vectors).sum(1)
    assert abs(cosine.mean() - 0.6) < 0.02
    stranger = (small_world.start_vectors * np.roll(other.start_vectors, 1, axis=0)).sum(1)
    assert cosine.mean() - stranger.mean() > 0.3
    activity = np.corrcoef(np.log(small_world.activity), np.log(other.activity))[0, 1]
    assert abs(activity - 0.25) < 0.05
    for world in (small_world, other):  # both as the settings say
        np.testing.assert_allclose(world.activity.mean(), 0.23, rtol=0.06)
        assert abs(np.log(world.activity).std() - 0.8) < 0.03


def test_the_domains_share_values_and_nothing_else_of_the_catalogue(
    tiny: Shop, sport: Shop
) -> None:
    for column in ("brand", "leaf", "category", "department", "title"):
        assert not set(tiny.products[column]) & set(sport.products[column]), column
    cosine = tiny.truth.item_vectors @ sport.truth.item_vectors.T
    assert cosine.max() < 0.999
    home, away = geometry_of(tiny.config), geometry_of(sport.config)
    for name, directions in home.values.items():
        np.testing.assert_array_equal(directions, away.values[name])
    assert (home.unit_vectors @ away.unit_vectors.T).max() < 0.999
    assert set(tiny.products["colour"]) == set(sport.products["colour"])


# --- three worlds


def planted(world: World, satisfaction: float, days: range) -> list[dict[str, Any]]:
    """Tables of days on which all customers come with this satisfaction."""
    memory, tables = first_memory(world), []
    customers = {
        name.removeprefix("customer/"): values
        for name, values in memory.items()
        if name.startswith("customer/")
    }
    customers["satisfaction"] = np.full(world.config.n_users, satisfaction)
    for day in days:
        tables.append(run_block(world, open_day(world, memory, day), customers, 0)[0])
    return tables


@pytest.mark.parametrize(
    ("which", "slope"), [("control", 0.0), ("default", 1.5), ("longterm", 3.0)]
)
def test_content_customers_come_back_as_often_as_their_world_says(which: str, slope: float) -> None:
    world = build_world(SimConfig.of("tiny", 0, world=which))
    seen = {}
    for planted_at in (-1.0, 0.0, 1.0):
        tables = planted(world, planted_at, range(7))
        seen[planted_at] = sum(len(day["sessions"]["session"]) for day in tables)
        now = planted_at * 0.5 ** (1 / 20)  # a day has passed
        ratio = (1 + np.exp(-0.5)) / (1 + np.exp(-0.5 - slope * now))
        weekday = np.array([1.14, 1.20, 1.12, 1.04, 0.97, 0.70, 0.80])
        chance = np.clip(world.activity[:, None] * ratio * weekday, 0, 0.95)
        spread = (chance * (1 - chance)).sum() ** 0.5
        assert abs(seen[planted_at] - chance.sum()) < 3 * spread
    if which == "control":
        assert len(set(seen.values())) == 1
    else:
        assert seen[-1.0] < 0.8 * seen[0.0] < 0.85 * seen[1.0]


def test_in_the_control_world_satisfaction_changes_nothing_but_itself() -> None:
    world = build_world(SimConfig.of("tiny", 0, world="control"))
    for low, high in zip(*(planted(world, s, range(2)) for s in (-2.0, 2.0)), strict=True):
        for name in ("sessions", "impressions", "clicks", "purchases"):
            for column, values in low[name].items():
                np.testing.assert_array_equal(values, high[name][column])
        satisfaction = [day["truth_requests"]["satisfaction"] for day in (low, high)]
        assert (satisfaction[0] < satisfaction[1]).all()


def test_content_customers_click_more_where_satisfaction_counts() -> None:
    world = build_world(SimConfig.of("tiny", 0))
    rate = {}
    for satisfaction in (-1.0, 1.0):
        (tables,) = planted(world, satisfaction, range(1))
        rate[satisfaction] = tables["impressions"]["click"].mean()
    assert rate[1.0] > 1.5 * rate[-1.0]


def test_satisfaction_is_that_of_a_slow_replay_of_the_log() -> None:
    shop = simulate(dataclasses.replace(SimConfig.of("tiny", 2), n_days=10))
    truth, vectors = shop.truth, shop.truth.item_vectors
    first = shop.impressions[shop.impressions["position"] == 1]
    requests = truth.requests.assign(timestamp=first["timestamp"].to_numpy())
    compared = 0
    for user in range(40):
        satisfaction, last_day = 0.0, -1
        for session, start in shop.sessions.loc[
            shop.sessions["user"] == user, ["session", "start"]
        ].itertuples(index=False):
            day = (start - START) // DAY
            satisfaction *= 0.5 ** ((day - last_day) / 20)
            last_day = day
            recent: list[int] = []
            asked = requests[requests["session"] == session]
            clicks = shop.clicks[shop.clicks["session"] == session]
            steps = [(time, number, True) for number, time in zip(
                asked["request"], asked["timestamp"], strict=True
            )]  # fmt: skip
            again = clicks[clicks["surface"] == "history"]
            steps += [(time, row, False) for row, time in again["timestamp"].items()]
            shown = shop.impressions[shop.impressions["session"] == session]
            for _, key, slate in sorted(steps):
                if slate:
                    row = truth.requests.loc[key]
                    assert row["satisfaction"] == pytest.approx(satisfaction, abs=1e-5)
                    known = (recent + [-1] * 5)[:5]
                    assert [row[f"recent{k}"] for k in range(5)] == known
                    compared += 1
                    hit = shown[(shown["request"] == key) & shown["click"]]
                    items = hit["item"].tolist()
                else:
                    items = [int(again["item"][key])]
                satisfaction = 0.9 * satisfaction if not items else satisfaction
                before = [vectors[item] for item in recent]
                for item in items:
                    cosines = [float(vectors[item] @ vector) for vector in before]
                    alike = sum(cosines) / len(cosines) if cosines else 0.0
                    worth = (truth.quality[item] - 0.6) - 0.5 * (truth.bait[item] - 0.3)
                    satisfaction = 0.9 * satisfaction + 0.5 * (worth - 0.1 * alike)
                    satisfaction = max(-2.5, min(2.5, satisfaction))
                    recent = [item, *recent][:5]
        satisfaction *= 0.5 ** ((9 - last_day) / 20)
        assert truth.satisfaction[user] == pytest.approx(satisfaction, abs=1e-9)
    assert compared > 300


# --- position bias


def test_a_shop_of_chance_shows_the_position_bias_it_was_made_with() -> None:
    # Ten candidates for ten slots, so that an order is all that is drawn; taste for more clicks.
    config = dataclasses.replace(
        SimConfig.of("tiny", 0),
        uniform_share=1.0,
        n_candidates=10,
        n_users=2_000,
        n_days=18,
        visit_rate=2.0,
        taste=4.0,
    )
    shop = simulate(config)
    shown = shop.impressions
    assert (shown["policy"] == "uniform").all()
    desktop = (shop.users["device"] == "desktop").to_numpy()[shown["user"]]
    for rows, eta in ((~desktop, 0.6), (desktop, 0.9)):
        part = shown[rows]
        fit = fitted_eta(part["request"], part["position"], part["click"], first=2)
        assert fit.se < 0.015
        assert abs(fit.value - eta) < 0.05


def test_the_shop_of_chance_shows_every_candidate_equally_often(tiny: Shop) -> None:
    first = tiny.impressions[tiny.impressions["position"] == 1]
    uniform = first[first["policy"] == "uniform"]
    requests = uniform["request"].to_numpy(np.int64)
    there = tiny.truth.candidates(requests)
    place = (there == uniform["item"].to_numpy()[:, None]).argmax(1)
    assert chisquare(np.bincount(place, minlength=60)).pvalue > 0.001


def test_one_two_and_four_processes_write_the_same_bytes(tmp_path: Path) -> None:
    config = dataclasses.replace(SimConfig.of("tiny", 0), n_users=3_500, n_days=2)  # four blocks
    files = {}
    for workers in (1, 2, 4):
        simulate(config, tmp_path / str(workers), workers=workers)
        files[workers] = (tmp_path / str(workers) / "shop.json").read_text()  # all checksums
    assert "purchases" in files[1] and files[1] == files[2] == files[4]


def test_a_run_that_was_cut_ends_with_the_same_bytes(tmp_path: Path) -> None:
    config = dataclasses.replace(SimConfig.of("tiny", 0), n_users=1_500, n_days=4)
    simulate(config, tmp_path / "whole")

    def stop(day: int, n_days: int) -> None:
        if day == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        simulate(config, tmp_path / "cut", progress=stop)
    days: list[int] = []
    simulate(config, tmp_path / "cut", progress=lambda day, n_days: days.append(day))
    assert days[0] == 2  # the first two days were kept
    names = [(tmp_path / name / "shop.json").read_text() for name in ("whole", "cut")]
    assert names[0] == names[1]
