"""The simulated shop: its rules, its statistics, its truth, and the order of models on it."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from scipy.stats import chisquare

from reclib.collaborative import EASE, ContentKNN, ItemKNN, Popularity
from reclib.foundations.evaluation import Report, cases_from_split, compare, evaluate
from reclib.foundations.splitting import split_last
from reclib.shop import Shop, SimConfig, simulate
from reclib.shop._visits import Shelves, log_weights, plackett_luce, shelf_tiers, shelves_of
from reclib.shop._world import build_world
from reclib.shop.simulation import TABLES

START = 1_704_067_200
DAY = 86_400


@pytest.fixture(scope="module")
def tiny() -> Shop:
    return simulate(SimConfig.of("tiny", 0))


@pytest.fixture(scope="module")
def small() -> Shop:
    return simulate(SimConfig.of("small", 0))


@pytest.fixture(scope="module")
def still() -> Shop:
    """A shop without drift of taste, so that the truth of the end holds all along."""
    config = SimConfig.of("tiny", 1)
    return simulate(dataclasses.replace(config, n_users=3_000, drift=0.0, cold_share=0.0))


class RandomScores:
    def score(self, users: NDArray[np.int64], items: None = None) -> NDArray[np.float64]:
        return np.random.default_rng(0).random((len(users), 2_000))


@pytest.fixture(scope="module")
def reports(small: Shop) -> dict[str, Report]:
    split = split_last(small.interactions.deduplicated())
    cases, train = cases_from_split(split), split.train_and_validation
    models: dict[str, Any] = {
        "random": RandomScores(),
        "popularity": Popularity().fit(train),
        "neighbors": ItemKNN(n_neighbors=100).fit(train),
        "ease": EASE(regularization=200).fit(train),
        "content": ContentKNN(n_neighbors=100).fit(train, item_features=small.item_features),
        "oracle": small.truth.oracle(),
    }
    return {name: evaluate(model, cases) for name, model in models.items()}


def checksums(shop: Shop) -> dict[str, str]:
    sums = {}
    for name in TABLES:
        rows = pd.util.hash_pandas_object(getattr(shop, name)).to_numpy()
        sums[name] = hashlib.sha256(rows.tobytes()).hexdigest()
    return sums


# --- settings and random streams


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
        (
            {"n_candidates": 300},
            "n_candidates must be between n_slots and the products there on day 0, got 300",
        ),
    ],
)
def test_a_wrong_setting_is_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as error:
        dataclasses.replace(SimConfig.of("tiny", 0), **changes)
    assert str(error.value) == message


def test_an_unknown_profile_is_named() -> None:
    with pytest.raises(ValueError) as error:
        SimConfig.of("huge", 0)
    assert str(error.value) == "profile must be one of ['full', 'small', 'tiny'], got 'huge'"


def test_simulate_takes_settings_only() -> None:
    with pytest.raises(TypeError) as error:
        simulate("tiny")  # type: ignore[arg-type]
    assert str(error.value) == "config must be a SimConfig, got str"


def test_settings_survive_json_and_each_of_them_changes_the_hash() -> None:
    config = SimConfig.of("small", 3)
    again = SimConfig(**json.loads(config.to_json()))
    assert again == config and again.hash == config.hash
    changed = {
        dataclasses.replace(config, **{field.name: getattr(config, field.name) + 0.001}).hash
        for field in dataclasses.fields(config)
        if isinstance(getattr(config, field.name), float) and field.name != "cold_share"
    }
    changed |= {SimConfig.of("small", 4).hash, SimConfig.of("tiny", 3).hash, config.hash}
    assert len(changed) == 9


def test_the_same_settings_give_the_same_bytes_and_another_seed_others(tiny: Shop) -> None:
    first = checksums(tiny)
    assert checksums(simulate(SimConfig.of("tiny", 0))) == first
    other = checksums(simulate(SimConfig.of("tiny", 1)))
    assert not set(first.values()) & set(other.values())


def test_streams_of_different_names_and_keys_do_not_move_each_other(tiny: Shop) -> None:
    config = tiny.config
    draws = [
        config.stream(*key).random()
        for key in (("visits", 0, 0), ("visits", 0, 1), ("visits", 1, 0), ("clicks", 0, 0))
    ]
    assert len(set(draws)) == 4
    assert config.stream("visits", 0, 1).random() == draws[1]
    # Another click model draws other clicks, yet the same catalogue, customers and first visits.
    other = simulate(dataclasses.replace(config, eta=1.2))
    pd.testing.assert_frame_equal(other.products, tiny.products)
    pd.testing.assert_frame_equal(other.users, tiny.users)
    first_day, same = (
        shop.sessions[shop.sessions["start"] < START + DAY] for shop in (tiny, other)
    )
    assert first_day.equals(same) and len(first_day) > 100
    assert len(other.clicks) != len(tiny.clicks)
    # More customers leave the catalogue alone.
    more = build_world(dataclasses.replace(config, n_users=700))
    pd.testing.assert_frame_equal(more.products, tiny.products)


# --- tables


def test_public_tables_have_the_agreed_columns_and_no_others(tiny: Shop) -> None:
    columns = {
        "products": "item title department category leaf brand colour material pattern style "
        "audience season tier price arrival_day",
        "users": "user age_band gender region device household income",
        "sessions": "session user start intent device",
        "impressions": "session user item position timestamp surface policy propensity click",
        "clicks": "session user item timestamp position surface",
        "purchases": "session user item timestamp price quantity",
        "ratings": "user item timestamp rating",
    }
    assert {name: list(getattr(tiny, name).columns) for name in TABLES} == {
        name: names.split() for name, names in columns.items()
    }


def test_a_slate_has_ten_different_products_that_have_arrived(tiny: Shop) -> None:
    table = tiny.impressions
    request = table.groupby(["session", "timestamp"])
    assert (request["item"].nunique() == 10).all()
    assert (request["position"].apply(list).map(tuple) == tuple(range(1, 11))).all()
    day = (table["timestamp"].to_numpy() - START) // DAY
    assert (tiny.products["arrival_day"].to_numpy()[table["item"]] <= day).all()
    assert tiny.products["arrival_day"].gt(0).sum() == 45


def test_clicks_are_the_clicked_impressions_and_second_looks(tiny: Shop) -> None:
    clicks, shown = tiny.clicks, tiny.impressions[tiny.impressions["click"]]
    first = clicks[clicks["surface"] != "history"]
    keys = ["session", "item", "position", "surface"]
    assert sorted(map(tuple, first[keys].astype(str).to_numpy())) == sorted(
        map(tuple, shown[keys].astype(str).to_numpy())
    )
    second = clicks[clicks["surface"] == "history"]
    assert len(second) > 100 and (second["position"] == 0).all()
    seen = first.groupby(["session", "item"])["timestamp"].min()
    looked = seen.loc[list(zip(second["session"], second["item"], strict=True))]
    assert (looked.to_numpy() < second["timestamp"].to_numpy()).all()


def test_a_purchase_follows_a_click_on_the_product_at_its_price_once_a_session(
    tiny: Shop,
) -> None:
    keys = ["session", "user", "item"]
    assert not tiny.purchases.duplicated(keys).any()
    joined = tiny.purchases.merge(tiny.clicks, on=keys, suffixes=("", "_click"))
    gap = joined["timestamp"] - joined["timestamp_click"]
    assert (gap.groupby([joined[key] for key in keys]).min() <= 2).all()
    assert joined[keys].drop_duplicates().shape[0] == len(tiny.purchases)
    price = tiny.products["price"].to_numpy()[tiny.purchases["item"]]
    np.testing.assert_array_equal(tiny.purchases["price"], price)
    rated = tiny.ratings.merge(tiny.purchases, on=["user", "item", "timestamp"])
    assert len(rated) == len(tiny.ratings)
    assert 0.2 < len(tiny.ratings) / len(tiny.purchases) < 0.3
    assert set(tiny.ratings["rating"]) <= {1, 2, 3, 4, 5}


def test_events_of_a_session_belong_to_its_user_and_follow_its_start(tiny: Shop) -> None:
    owner, start = tiny.sessions["user"].to_numpy(), tiny.sessions["start"].to_numpy()
    assert (tiny.sessions["session"] == np.arange(len(tiny.sessions))).all()
    for name in ("impressions", "clicks", "purchases"):
        table = getattr(tiny, name)
        assert (owner[table["session"]] == table["user"]).all()
        assert (start[table["session"]] <= table["timestamp"]).all()


def test_income_is_missing_at_random_and_more_often_for_the_rich(small: Shop) -> None:
    assert 0.22 < small.users["income"].isna().mean() < 0.28
    # What is public is already thinned at the top: 84 % of a normal lies below +1 sd.
    known = np.log(small.users["income"].dropna())
    assert (known > 10.3 + 0.45).mean() < 0.14


def test_materials_and_styles_follow_their_rules(small: Shop) -> None:
    products = small.products
    assert set(products.loc[products["department"] == "Clothing", "material"]) == {
        "cotton", "wool", "linen", "leather",
    }  # fmt: skip
    favourite = products.groupby("brand")["style"].agg(lambda style: style.value_counts().iloc[0])
    assert favourite.sum() / len(products) > 0.5
    assert products["title"].str.contains("frying pan").sum() > 0
    assert products["leaf"].nunique() == 60


# --- interactions and features


def test_interactions_are_the_purchases_with_the_shops_sizes(tiny: Shop) -> None:
    inside = tiny.interactions
    assert (inside.n_users, inside.n_items) == (400, 300)
    assert len(inside) == len(tiny.purchases)
    expected = tiny.purchases.sort_values(["user", "timestamp"], kind="stable")
    np.testing.assert_array_equal(inside.users, expected["user"])
    np.testing.assert_array_equal(inside.items, expected["item"])
    np.testing.assert_array_equal(inside.timestamps, expected["timestamp"])


def test_events_name_their_kind(tiny: Shop) -> None:
    assert len(tiny.events("clicks")) == len(tiny.clicks)
    ratings = tiny.events("ratings").ratings
    assert ratings is not None and len(ratings) == len(tiny.ratings)
    with pytest.raises(ValueError) as error:
        tiny.events("views")
    message = "kind must be one of ('clicks', 'purchases', 'ratings'), got 'views'"
    assert str(error.value) == message


def test_features_are_the_attributes_of_the_tables(tiny: Shop) -> None:
    items, names = tiny.item_features, tiny.item_feature_names
    assert items.shape == (300, len(names)) and (items.sum(axis=1) == 11).all()
    for item in (0, 7, 299):
        row = tiny.products.iloc[item]
        columns = [names[column] for column in items[[item]].indices]
        assert f"colour={row['colour']}" in columns and f"brand={row['brand']}" in columns
        assert f"leaf={row['leaf']}" in columns
    users, names = tiny.user_features, tiny.user_feature_names
    assert users.shape == (400, len(names)) and (users.sum(axis=1) == 6).all()
    unknown = users[:, [names.index("income=unknown")]].toarray()[:, 0]
    np.testing.assert_array_equal(unknown == 1, tiny.users["income"].isna())


# --- slates, propensities and position


def test_plackett_luce_draws_each_ordered_pair_with_its_probability() -> None:
    weights = np.array([5.0, 1.0, 2.0, 0.5])
    n = 40_000
    columns, propensity = plackett_luce(
        np.log(np.tile(weights, (n, 1))), 2, np.random.default_rng(0)
    )
    pairs = list(itertools.permutations(range(4), 2))
    exact = {
        (a, b): (weights[a] / weights.sum(), weights[b] / (weights.sum() - weights[a]))
        for a, b in pairs
    }
    np.testing.assert_allclose(propensity, [exact[a, b] for a, b in columns.tolist()], rtol=1e-12)
    seen = np.array([(columns == pair).all(1).sum() for pair in pairs])
    expected = n * np.array([np.prod(exact[pair]) for pair in pairs])
    assert chisquare(seen, expected).pvalue > 0.001


def test_a_slate_of_all_candidates_ends_with_certainty() -> None:
    logits = np.random.default_rng(0).normal(size=(50, 6))
    columns, propensity = plackett_luce(logits, 6, np.random.default_rng(1))
    assert (np.sort(columns, axis=1) == np.arange(6)).all()
    np.testing.assert_allclose(propensity[:, -1], 1)


def test_logged_propensities_weigh_every_slot_to_one_candidate(small: Shop) -> None:
    table = small.impressions
    left = small.config.n_candidates - table["position"].to_numpy() + 1
    weight = 1 / (left * table["propensity"].to_numpy())
    uniform = (table["policy"] == "uniform").to_numpy()
    np.testing.assert_allclose(weight[uniform], 1)
    assert 0.09 < uniform.mean() < 0.11
    requests = weight[~uniform].reshape(-1, 10).mean(1)
    error = requests.std() / len(requests) ** 0.5
    assert abs(requests.mean() - 1) < 3 * error
    assert error < 0.005


def test_weighting_by_propensity_recovers_the_clicks_of_the_uniform_policy(small: Shop) -> None:
    first = small.impressions[small.impressions["position"] == 1]
    uniform = first["policy"] == "uniform"
    truth = first.loc[uniform, "click"].astype(float)
    logged = first[~uniform]
    weighted = logged["click"] / (small.config.n_candidates * logged["propensity"])
    error = (truth.var() / len(truth) + weighted.var() / len(weighted)) ** 0.5
    assert abs(truth.mean() - weighted.mean()) < 3 * error
    # Unweighted, popular products make the logging policy look clearly better than uniform.
    assert logged["click"].mean() - truth.mean() > 5 * error


def test_clicks_fall_with_position_and_the_uniform_arm_shows_eta(small: Shop) -> None:
    table = small.impressions
    rates = table.groupby("position")["click"].mean().to_numpy()
    assert (np.diff(rates) < 0).all()
    uniform = table[table["policy"] == "uniform"].groupby("position")["click"]
    slope, _ = np.polyfit(
        np.log(np.arange(1, 11)), np.log(uniform.mean()), 1, w=np.sqrt(uniform.sum())
    )
    assert abs(-slope - small.truth.eta) < 0.05


# --- truth


def test_clicks_of_the_log_are_drawn_from_the_truth(still: Shop) -> None:
    table = still.impressions
    sizes = []
    for surface in ("search", "recommendations", "related"):
        shown = table[table["surface"] == surface]
        items = shown["item"].to_numpy().reshape(-1, 10)
        users = shown["user"].to_numpy()[::10]
        probs = still.truth.ctr(users, items, surface=surface).ravel()
        clicks = shown["click"].to_numpy()
        group = np.digitize(probs, np.quantile(probs, np.linspace(0.1, 0.9, 9)))
        expected = np.bincount(group, probs)
        spread = np.bincount(group, probs * (1 - probs)) ** 0.5
        sizes.append(expected.sum())
        assert (np.abs(np.bincount(group, clicks) - expected) < 4 * spread).all()
    assert min(sizes) > 1_000


def test_dear_products_repel_those_who_look_at_the_price(still: Shop) -> None:
    price = np.log(still.products["price"])
    gap = (price - price.groupby(still.products["leaf"]).transform("mean")).to_numpy()
    attraction = still.truth.attraction(np.arange(still.config.n_users))
    logits = np.log(attraction / (1 - attraction))
    sensitivity = still.truth.price_sensitivity
    assert (sensitivity <= 0).all()
    slopes = [
        np.polyfit(gap, logits[group].mean(0), 1)[0]
        for group in (sensitivity < -1, sensitivity == 0)
    ]
    assert slopes[0] < slopes[1] - 0.9
    clicks, shown = still.impressions["click"].to_numpy(), gap[still.impressions["item"]]
    assert clicks[shown < -0.3].mean() > 1.3 * clicks[shown > 0.3].mean()


def test_relevance_counts_the_purchases_of_a_request(still: Shop) -> None:
    requests = still.impressions[still.impressions["position"] == 1].groupby("user").size()
    counts = requests.reindex(range(still.config.n_users), fill_value=0).to_numpy()
    relevance = still.truth.relevance(np.arange(still.config.n_users))
    assert relevance.dtype == np.float32 and relevance.shape == (3_000, 300)
    bought = still.interactions
    # Second looks, one click in seven, bring the purchases that a slate alone does not.
    assert 0.85 < counts @ relevance.sum(1) / len(bought) < 1.0
    by_item = counts @ relevance
    seen = np.bincount(bought.items, minlength=300)
    assert np.corrcoef(by_item, seen)[0, 1] > 0.98
    # And for each user: purchases fall where the truth expects them.
    rank = (-relevance).argsort(1).argsort(1)[bought.users, bought.items]
    uniform_rank = (relevance.shape[1] - 1) / 2
    assert rank.mean() < 0.2 * uniform_rank


def test_expected_examination_agrees_with_drawn_slates(tiny: Shop) -> None:
    world, config = build_world(tiny.config), tiny.config
    recent = tiny.clicks["timestamp"] >= START + (config.n_days - 7) * DAY
    clicks = np.bincount(tiny.clicks.loc[recent, "item"], minlength=300).astype(float)
    leaf, drawn, n = 3, np.zeros(300), 4_000
    random = np.random.default_rng(0)
    logits = log_weights(world, clicks, shelf_tiers(world))[leaf]
    tiers = shelf_tiers(world)[leaf]
    shelf = np.argsort(tiers + random.random((n, 300)), axis=1)[:, : config.n_candidates]
    columns, _ = plackett_luce(logits[shelf], 10, random)
    uniform = random.random((n, config.n_candidates)).argsort(1)[:, :10]
    gain = np.broadcast_to(np.arange(1, 11) ** -config.eta, (n, 10))
    for share, chosen in ((0.9, columns), (0.1, uniform)):
        items = np.take_along_axis(shelf, chosen, axis=1)
        drawn += share * np.bincount(items.ravel(), gain.ravel(), minlength=300) / n
    expected = tiny.truth.shelf_examination[leaf]
    assert abs(expected.sum() / drawn.sum() - 1) < 0.02
    assert np.abs(expected - drawn).max() < 0.03
    assert expected.max() > 0.3


def test_candidates_are_the_leaf_first_and_never_a_product_to_come(tiny: Shop) -> None:
    world = build_world(tiny.config)
    shelves: Shelves = shelves_of(world, np.zeros(300), 0)
    assert shelves.items.shape == (24, 60)
    assert (world.arrival[shelves.items] == 0).all()
    there = world.arrival == 0
    for leaf, items in enumerate(shelves.items):
        assert set(np.flatnonzero(there & (world.leaves == leaf))) <= set(items)
        assert len(set(items)) == 60


def test_the_oracle_scores_candidates_as_in_the_full_list(tiny: Shop) -> None:
    oracle = tiny.truth.oracle()
    users, items = np.array([5, 399, 5]), np.array([[1, 7], [299, 0], [3, 3]])
    full = oracle.score(users)
    np.testing.assert_array_equal(full, tiny.truth.relevance(users))
    np.testing.assert_array_equal(oracle.score(users, items), np.take_along_axis(full, items, 1))


def test_knowing_the_last_purchase_turns_to_its_leaf_and_its_complements(tiny: Shop) -> None:
    world = build_world(tiny.config)
    leaves = np.arange(24)
    items = np.array([np.flatnonzero(world.leaves == leaf)[0] for leaf in leaves])
    users = np.zeros(24, dtype=int)
    free = tiny.truth.relevance(users, np.full(24, -1)) @ np.eye(24)[world.leaves]
    after = tiny.truth.relevance(users, items) @ np.eye(24)[world.leaves]
    change = (after / after.sum(1, keepdims=True)) / (free / free.sum(1, keepdims=True))
    category = world.leaf_category
    elsewhere = (category[:, None] != category) & (world.complements == 0)
    assert (change[leaves, leaves] > 1.2).all()
    complements = np.median(change[world.complements > 0])
    assert complements > 1.3 * np.median(change[elsewhere])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda truth: truth.examination([1, 0]), "position must be at least 1, got 0"),
        (lambda truth: truth.relevance([400]), "users must be between 0 and 399, got 400"),
        (lambda truth: truth.relevance([-1]), "users must be between 0 and 399, got -1"),
        (
            lambda truth: truth.relevance([0.5]),
            "users must be integers with 1 dimension(s), got float64 of shape (1,)",
        ),
        (
            lambda truth: truth.relevance([0], [300]),
            "last_items must be between -1 and 299, got 300",
        ),
        (lambda truth: truth.relevance([0], [1, 2]), "last_items must have length 1, got 2"),
        (lambda truth: truth.attraction([0], [[1], [2]]), "items must have 1 rows, got 2"),
        (
            lambda truth: truth.ctr([0], [[1]], surface="mail"),
            "surface must be one of ('search', 'recommendations', 'related'), got 'mail'",
        ),
    ],
)
def test_the_truth_names_a_wrong_argument(tiny: Shop, call: Any, message: str) -> None:
    with pytest.raises(ValueError) as error:
        call(tiny.truth)
    assert str(error.value) == message


def test_vectors_are_sums_of_attribute_vectors_in_known_shares(small: Shop) -> None:
    shares = small.truth.variance_share
    assert sum(shares.values()) == pytest.approx(1)
    assert shares["attribute"] == pytest.approx(0.375 / 1.165)
    # Regressing the vectors on the attributes leaves about the share of the noise.
    features = small.item_features.toarray()
    vectors = small.truth.item_vectors
    fitted = features @ np.linalg.lstsq(features, vectors, rcond=None)[0]
    unexplained = ((vectors - fitted) ** 2).sum() / ((vectors - vectors.mean(0)) ** 2).sum()
    assert unexplained < 2 * shares["noise"]


# --- realism


def five_core(users: NDArray[Any], items: NDArray[Any]) -> NDArray[Any]:
    """Users of the rows that remain when users and items with fewer than 5 go, repeatedly."""
    while True:
        keep = (np.bincount(users)[users] >= 5) & (np.bincount(items)[items] >= 5)
        if keep.all():
            return users
        users, items = users[keep], items[keep]


def test_popularity_has_the_long_tail_of_real_shops(small: Shop) -> None:
    counts = np.sort(small.interactions.item_counts())
    n, total = len(counts), counts.sum()
    gini = (2 * np.arange(1, n + 1) - n - 1) @ counts / (n * total)
    assert 0.45 < gini < 0.70
    assert 0.07 < counts[-n // 100 :].sum() / total < 0.22
    assert 0.35 < counts[-n // 10 :].sum() / total < 0.55


def test_histories_and_density_are_those_of_real_shops(small: Shop) -> None:
    once = small.interactions.deduplicated()
    assert 0.0005 < len(once) / (once.n_users * once.n_items) < 0.02
    lengths = np.bincount(five_core(once.users, once.items))
    lengths = lengths[lengths > 0]
    assert 6 < lengths.mean() < 14
    assert 5 <= np.median(lengths) <= 9
    assert 15 < np.percentile(lengths, 95) < 35
    assert len(lengths) > 2_000


def test_sessions_stay_in_a_category_and_repeat_like_real_ones(small: Shop) -> None:
    clicks = small.clicks.sort_values(["session", "timestamp"], kind="stable")
    session = clicks["session"].to_numpy()
    category = small.products["category"].to_numpy()[clicks["item"]]
    same_session = session[1:] == session[:-1]
    assert 0.75 < (category[1:] == category[:-1])[same_session].mean() < 0.88
    sizes = clicks.groupby("session").size()
    long = sizes[sizes >= 2]
    assert 4 < long.mean() < 7 and 3 <= long.median() <= 5 and 10 <= long.quantile(0.95) <= 24
    repeats = clicks.duplicated(["session", "item"])
    assert 0.08 < repeats.mean() < 0.35
    assert 0.2 < repeats.groupby(session).any()[long.index].mean() < 0.65


def test_the_next_visit_looks_for_what_goes_with_the_last_purchase(small: Shop) -> None:
    bought = small.purchases.sort_values(["user", "timestamp"], kind="stable")
    world = build_world(small.config)
    leaf = world.leaves[bought["item"]]
    user, session = bought["user"].to_numpy(), bought["session"].to_numpy()
    follows = (user[1:] == user[:-1]) & (session[1:] != session[:-1])
    related = world.complements > 0
    observed = related[leaf[:-1], leaf[1:]][follows].mean()
    shuffled = np.random.default_rng(0).permutation(leaf[1:][follows])
    chance = related[leaf[:-1][follows], shuffled].mean()
    assert observed > 2 * chance


# --- what a chapter stands on


def test_models_are_ordered_random_popularity_neighbours_ease_oracle(
    reports: dict[str, Report],
) -> None:
    value = {name: report["ndcg@10"] for name, report in reports.items()}
    factors = {
        ("popularity", "random"): 5,
        ("neighbors", "popularity"): 1.3,
        ("ease", "neighbors"): 1.03,
        ("oracle", "ease"): 1.3,
    }
    for (better, worse), factor in factors.items():
        assert value[better] > factor * value[worse]
        pair = compare({worse: reports[worse], better: reports[better]})
        assert pair["difference_low"].iloc[1] > 0
    assert 0.15 < value["popularity"] / value["oracle"] < 0.6


def test_attributes_find_cold_products_that_popularity_cannot(
    small: Shop, reports: dict[str, Report]
) -> None:
    targets = cases_from_split(split_last(small.interactions.deduplicated())).targets.items
    cold = np.isin(targets, small.truth.cold_items)
    assert cold.sum() > 200
    gain = [reports[name].values["ndcg@10"][cold] for name in ("content", "popularity")]
    difference = gain[0] - gain[1]
    assert difference.mean() > 3 * difference.std() / len(difference) ** 0.5
    assert difference.mean() > 0.01
