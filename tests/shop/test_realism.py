"""Statistics of logs against slow versions and planted truth; the table; the ranking check."""

from __future__ import annotations

import os
import pickle
import zipfile
from collections import Counter
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from scipy.special import zeta
from scipy.stats import spearmanr
from sklearn.metrics import ndcg_score

from reclib.collaborative import EASE, Popularity
from reclib.foundations.interactions import Interactions
from reclib.shop import Shop, SimConfig, simulate
from reclib.shop import realism as r
from reclib.shop._config import DAY, START
from reclib.shop._expectations import ROWS
from reclib.shop._slates import ChiSquare


@pytest.fixture(scope="module")
def tiny() -> Shop:
    return simulate(SimConfig.of("tiny", 0))


@pytest.fixture
def random() -> np.random.Generator:
    return np.random.default_rng(0)


# --- popularity


def test_gini_is_half_the_mean_difference_over_the_mean(random: np.random.Generator) -> None:
    counts = random.integers(0, 50, 40)
    difference = np.mean([abs(a - b) for a in counts for b in counts])
    assert r.gini(counts) == pytest.approx(difference / (2 * counts.mean()))


@pytest.mark.parametrize(("counts", "value"), [([3, 3, 3], 0.0), ([0, 0, 0, 9], 0.75)])
def test_gini_of_equal_counts_is_0_and_of_one_owner_nearly_1(
    counts: list[int], value: float
) -> None:
    assert r.gini(counts) == pytest.approx(value)


@pytest.mark.parametrize(
    ("share", "value"), [(0.01, 4 / 10), (0.5, 7 / 10), (0.74, 7 / 10), (1, 1.0)]
)
def test_top_share_counts_whole_products_and_at_least_one(share: float, value: float) -> None:
    assert r.top_share([1, 4, 2, 3], share) == pytest.approx(value)


def zipf(alpha: float, xmin: int, n: int, random: np.random.Generator) -> NDArray[np.int64]:
    """Exact draws of P(x) = x ** -alpha / zeta(alpha, xmin) by search in the cumulated law."""
    x = np.arange(xmin, 200_000)
    return x[np.searchsorted(np.cumsum(x**-alpha / zeta(alpha, xmin)), random.random(n) * 0.9999)]


@pytest.mark.parametrize("alpha", [2.2, 3.1])
def test_tail_exponent_recovers_a_planted_law(alpha: float, random: np.random.Generator) -> None:
    tail = r.tail_exponent(zipf(alpha, 5, 20_000, random), xmin=5)
    assert abs(tail.alpha - alpha) < 3 * (alpha - 1) / 20_000**0.5
    assert tail.ks < 1.63 / 20_000**0.5  # 99 % of Kolmogorov's distribution
    assert tail.n == 20_000


def test_tail_exponent_finds_where_a_planted_tail_begins(random: np.random.Generator) -> None:
    body = random.integers(1, 20, 10_000)
    tail = r.tail_exponent(np.concatenate([body, zipf(2.5, 20, 5_000, random)]))
    assert 18 <= tail.xmin <= 26
    assert abs(tail.alpha - 2.5) < 0.1


def test_tail_exponent_agrees_with_the_formula_for_large_xmin(random: np.random.Generator) -> None:
    x = zipf(2.5, 30, 5_000, random)
    approximation = 1 + len(x) / np.log(x / 29.5).sum()
    assert r.tail_exponent(x, xmin=30).alpha == pytest.approx(approximation, abs=2e-3)


def test_tail_exponent_is_the_best_of_a_slow_search(random: np.random.Generator) -> None:
    counts = np.concatenate([random.integers(0, 6, 300), zipf(2.4, 5, 200, random)])
    best = (np.inf, 0, 0.0)
    grid = np.arange(1.01, 6, 0.002)
    for xmin in range(1, int(counts.max())):
        tail = counts[counts >= xmin]
        if len(tail) < 50 or xmin not in counts:
            continue
        likelihood = -len(tail) * np.log(zeta(grid, xmin)) - grid * np.log(tail).sum()
        alpha = grid[likelihood.argmax()]
        distance = 0.0
        for x in range(xmin, int(tail.max()) + 2):  # every integer, seen or not
            law = zeta(alpha, x) / zeta(alpha, xmin)
            distance = max(distance, abs((tail >= x).mean() - law))
        best = min(best, (distance, xmin, float(alpha)))
    found = r.tail_exponent(counts)
    assert found.xmin == best[1]
    assert found.alpha == pytest.approx(best[2], abs=2e-3)
    assert found.ks == pytest.approx(best[0], abs=1e-3)


@pytest.mark.parametrize("counts", [[1, 2, 3], [7] * 100])
def test_too_few_or_too_equal_counts_have_no_tail(counts: list[int]) -> None:
    tail = r.tail_exponent(counts)
    assert np.isnan(tail.alpha) and tail.n == 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: r.gini([0, 0]), "counts must be at least 0 and not all 0, got [0. 0.]"),
        (lambda: r.gini([[1]]), "counts must have one dimension, got shape (1, 1)"),
        (lambda: r.gini([1, np.nan]), "counts must be at least 0 and not all 0, got [ 1. nan]"),
        (lambda: r.top_share([1], 0), "share must be above 0 and at most 1, got 0"),
        (lambda: r.tail_exponent([1], xmin=0), "xmin must be at least 1, got 0"),
        (
            lambda: r.density([1, 2], [3]),
            "items must have one dimension and the length of users, (2,), got (1,)",
        ),
        (lambda: r.fitted_eta([1], [1], [1], first=0), "first must be at least 1, got 0"),
        (
            lambda: r.propensity_check([0.5, 0.0], 2),
            "propensities must be above 0 and at most 1, got 0.0 to 0.5",
        ),
        (
            lambda: r.first_slot_check([0], [1], [[1, 2]], [[1.0]]),
            "candidates and probs must have shape (1, C), got (1, 2) and (1, 1)",
        ),
        (
            lambda: r.first_slot_check([0], [1], [[1, 2]], [[0.5, 0.4]]),
            "probs must sum to 1 in each row, got 0.9",
        ),
        (
            lambda: r.first_slot_check([0], [3], [[1, 2]], [[0.5, 0.5]]),
            "items must be among their candidates, got others",
        ),
        (
            lambda: r.describe(SimpleNamespace(), popularity="likes"),
            "popularity must be one of ('clicks', 'carts', 'purchases'), got 'likes'",
        ),
    ],
)
def test_a_wrong_argument_is_named(call: Any, message: str) -> None:
    with pytest.raises(ValueError) as error:
        call()
    assert str(error.value) == message


# --- sessions, histories, queries


@pytest.fixture
def log(random: np.random.Generator) -> pd.DataFrame:
    n = 3_000
    return pd.DataFrame(
        {
            "session": random.integers(0, 700, n),
            "user": random.integers(0, 90, n),
            "item": random.zipf(1.5, n) % 60,
        }
    )


def test_session_lengths_are_those_of_a_count(log: pd.DataFrame) -> None:
    sizes = [n for n in Counter(log["session"]).values() if n >= 3]
    expected = (np.mean(sizes), np.median(sizes), np.percentile(sizes, 95), len(sizes))
    assert r.session_lengths(log["session"], min_length=3) == pytest.approx(expected)


@pytest.mark.parametrize("min_length", [1, 2, 4])
def test_repeats_are_those_of_a_loop(log: pd.DataFrame, min_length: int) -> None:
    sessions: dict[int, list[int]] = {}
    for session, item in zip(log["session"], log["item"], strict=True):
        sessions.setdefault(session, []).append(item)
    long = [items for items in sessions.values() if len(items) >= min_length]
    with_repeat = np.mean([len(set(items)) < len(items) for items in long])
    repeats = sum(items[:k].count(items[k]) > 0 for items in long for k in range(len(items)))
    expected = (with_repeat, repeats / sum(map(len, long)))
    assert r.repeat_statistics(log["session"], log["item"], min_length=min_length) == (
        pytest.approx(expected)
    )


def test_transitions_stay_within_sessions_and_keep_their_order() -> None:
    sessions = [7, 3, 7, 3, 7, 9]
    categories = [0, 2, 1, 2, 1, 0]  # session 7: 0 1 1, session 3: 2 2
    expected = [[0, 1, 0], [0, 1, 0], [0, 0, 1]]
    np.testing.assert_array_equal(r.category_transitions(sessions, categories), expected)


def test_conversion_counts_a_session_once() -> None:
    assert r.session_conversion([4, 5, 6, 8], [5, 5, 8, 99]) == 0.5


def test_conversion_by_weekend_splits_at_saturday_midnight() -> None:
    saturday = START + 5 * DAY  # day 0 is a Monday
    starts = [saturday - 1, saturday, saturday + 2 * DAY - 1, saturday + 2 * DAY]
    assert r.conversion_by_weekend([0, 1, 2, 3], starts, [0, 1, 2]) == (0.5, 1.0)


def test_five_core_is_that_of_a_loop_over_sets(log: pd.DataFrame) -> None:
    log = log.head(700)
    pairs = set(zip(log["user"].tolist(), log["item"].tolist(), strict=True))
    while True:
        users, items = (Counter(pair[side] for pair in pairs) for side in (0, 1))
        core = {(u, i) for u, i in pairs if users[u] >= 5 and items[i] >= 5}
        if core == pairs:
            break
        pairs = core
    assert 0 < len(pairs) < len(log.drop_duplicates(["user", "item"]))
    found = r.five_core(log["user"], log["item"])
    assert list(zip(*(ids.tolist() for ids in found), strict=True)) == sorted(pairs)


def test_density_counts_a_pair_once() -> None:
    users, items = [0, 0, 0, 4], [1, 1, 2, 7]
    assert r.density(users, items) == 3 / (2 * 3)
    assert r.density(users, items, size=(5, 10)) == 3 / 50


def test_dwell_leaves_out_what_is_missing() -> None:
    assert r.dwell([1, 2, np.nan, 3, 4, 5]) == (2, 3, 4)


TITLES = ["Nordal Oak Lamp 12", "blue Sofa", "Blue lamp, large"]
QUERIES = ["blue lamp", "bleu sofa xyz", "oak lampshade lampe", "large blue lamp 12", ""]


def test_unknown_words_are_long_runs_of_letters_that_no_title_has() -> None:
    found = r.query_statistics(TITLES, QUERIES)
    assert found.unknown_words == 3 / 9  # bleu, lampshade, lampe; oak and xyz are short
    assert found.unknown_queries == 2 / 5
    assert np.isnan(found.overlap_correlation)


def test_overlap_is_the_share_of_the_querys_words_in_the_title(
    random: np.random.Generator,
) -> None:
    rows, columns = (values.ravel() for values in np.mgrid[0:5, 0:3])
    labels = random.integers(0, 4, 15)
    overlap = []
    for row, column in zip(rows, columns, strict=True):
        title = TITLES[column].lower().replace(",", "").split()
        words = QUERIES[row].split()
        overlap.append(np.mean([word in title for word in words]) if words else 0.0)
    found = r.query_statistics(TITLES, QUERIES, (rows, columns, labels))
    assert found.overlap_correlation == pytest.approx(spearmanr(overlap, labels).statistic)


# --- slates


def slates(
    eta: float, first_bonus: float, n: int, random: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    """Clicks on random slates of 6 and 10; customers differ a lot, so clicks of one cluster."""
    sizes = np.where(np.arange(n) % 3, 10, 6)
    request = np.repeat(np.arange(n), sizes)
    position = np.concatenate([np.arange(1, size + 1) for size in sizes])
    attraction = (random.beta(0.6, 1.5, n)[request] * random.random(len(request)) ** 2) * 0.6
    attraction *= np.where(position == 1, 1 + first_bonus, 1)
    click = random.random(len(request)) < position**-eta * attraction
    return request * 3 + 1, position, click


@pytest.mark.parametrize("eta", [0.0, 0.6, 0.9])
def test_eta_is_recovered_within_its_error(eta: float, random: np.random.Generator) -> None:
    fit = r.fitted_eta(*slates(eta, 0, 30_000, random))
    assert fit.se < 0.03
    assert abs(fit.value - eta) < min(0.05, 3 * fit.se)


def test_the_standard_error_of_eta_is_its_spread(random: np.random.Generator) -> None:
    fits = [r.fitted_eta(*slates(0.6, 0, 400, random)) for _ in range(200)]
    values, errors = np.array(fits).T
    assert errors.mean() == pytest.approx(values.std(), rel=0.15)
    assert abs(values.mean() - 0.6) < 4 * values.std() / 200**0.5


def test_the_standard_error_of_eta_allows_for_clicks_that_come_together(
    random: np.random.Generator,
) -> None:
    n, k = 300, np.arange(1, 11)
    request, position = np.repeat(np.arange(n), 10), np.tile(k, n)
    fits = []
    for _ in range(200):  # a request looks at the upper half or at the lower, each half the time
        half = np.where(k <= 5, 1, -1) * random.choice((-1, 1), (n, 1))
        click = random.random((n, 10)) < k**-0.3 * 0.5 * (1 + 0.9 * half)
        fits.append(r.fitted_eta(request, position, click.ravel()))
    values, errors = np.array(fits).T
    assert errors.mean() == pytest.approx(values.std(), rel=0.15)


def test_an_advantage_of_the_first_product_is_left_out(random: np.random.Generator) -> None:
    data = slates(0.6, 0.5, 60_000, random)
    assert r.fitted_eta(*data).value > 0.7
    fit = r.fitted_eta(*data, first=2)
    assert fit.se < 0.025 and abs(fit.value - 0.6) < 3 * fit.se


def test_eta_of_the_likelihood_is_that_of_a_grid(random: np.random.Generator) -> None:
    request, position, click = slates(0.7, 0, 300, random)
    grid = np.arange(0, 2, 0.001)
    likelihood = np.zeros_like(grid)
    for number in np.unique(request):
        size = position[request == number].max()
        norm = np.log((np.arange(1, size + 1)[:, None] ** -grid).sum(0))
        for k in position[(request == number) & click]:
            likelihood += -grid * np.log(k) - norm
    assert r.fitted_eta(request, position, click).value == pytest.approx(
        grid[likelihood.argmax()], abs=1e-3
    )


def test_the_position_curve_is_the_share_clicked() -> None:
    curve = r.position_curve([1, 2, 1, 2, 1, 2], [1, 0, 1, 1, 0, 0])
    assert curve["shown"].tolist() == [3, 3]
    assert curve["ctr"].tolist() == pytest.approx([2 / 3, 1 / 3])
    assert curve["se"].tolist() == pytest.approx([(2 / 27) ** 0.5] * 2)


def drawn(
    probs: NDArray[np.float64], random: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    columns = (random.random((len(probs), 1)) > probs.cumsum(1)).sum(1)
    return columns, np.take_along_axis(probs, columns[:, None], axis=1)[:, 0]


def test_the_propensity_check_tells_true_from_wrong_propensities(
    random: np.random.Generator,
) -> None:
    probs = random.dirichlet(np.full(8, 3.0), 5_000)
    _, propensity = drawn(probs, random)
    right = r.propensity_check(propensity, 8)
    assert abs(right.value - 1) < 3 * right.se
    wrong = r.propensity_check(np.minimum(propensity * 1.1, 1), 8)
    assert abs(wrong.value - 1) > 3 * wrong.se


def policy(n: int, random: np.random.Generator) -> tuple[NDArray[Any], ...]:
    """Requests of 4 shelves with 12 candidates each, whose probabilities differ a little."""
    shelf = random.integers(0, 4, n)
    candidates = 10 * shelf[:, None] + np.arange(12)  # shelves share two products
    logits = random.normal(0, 1, (4, 12))[shelf] + random.normal(0, 0.3, (n, 12))
    probs = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    return shelf, candidates, probs


def test_the_first_slot_check_accepts_what_was_drawn_and_refuses_what_was_not(
    random: np.random.Generator,
) -> None:
    shelf, candidates, probs = policy(4_000, random)
    columns, _ = drawn(probs, random)
    items = np.take_along_axis(candidates, columns[:, None], axis=1)[:, 0]
    right = r.first_slot_check(shelf, items, candidates, probs)
    assert right.dof == 4 * 11 and right.p > 0.001
    assert r.first_slot_check(shelf, items, candidates, np.full(probs.shape, 1 / 12)).p < 1e-6
    assert r.first_slot_check(shelf, candidates[:, 0], candidates, probs).p < 1e-6


def test_the_first_slot_check_is_uniform_where_the_policy_is_right(
    random: np.random.Generator,
) -> None:
    values = []
    for _ in range(200):
        shelf, candidates, _ = policy(400, random)
        probs = np.full(candidates.shape, 1 / 12)
        columns, _ = drawn(probs, random)
        items = np.take_along_axis(candidates, columns[:, None], axis=1)[:, 0]
        values.append(r.first_slot_check(shelf, items, candidates, probs).p)
    counts = np.histogram(values, np.linspace(0, 1, 5))[0]
    assert abs(counts - 50).max() < 4 * 50**0.5


def test_without_enough_requests_the_first_slot_check_has_no_verdict() -> None:
    found = r.first_slot_check([0, 1], [3, 4], [[3, 4], [3, 4]], np.full((2, 2), 0.5))
    assert found.dof == 0 and np.isnan(found.p)
    assert r.first_slot_check([], [], np.zeros((0, 2)), np.zeros((0, 2))) == (
        pytest.approx(ChiSquare(0.0, 0, np.nan), nan_ok=True)
    )


# --- the ranking check


class FakeTruth:
    """Every request has its own candidates; a candidate's true click probability is planted."""

    def __init__(self, items: NDArray[np.int64], probs: NDArray[np.float64]) -> None:
        self.items, self.probs = items, probs

    def candidates(self, requests: NDArray[np.int64]) -> NDArray[np.int64]:
        return self.items[requests]

    def request_attraction(
        self, requests: NDArray[np.int64], items: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        assert (items == self.items[requests]).all()
        return self.probs[requests]


def fake_shop(probs: NDArray[np.float64], n_users: int) -> Any:
    """Requests 0, 1, ... of users 0, 1, ..., two impressions each, all uniform and late."""
    n, c = probs.shape
    items = np.random.default_rng(9).permuted(np.tile(np.arange(2 * c), (n, 1)), axis=1)[:, :c]
    request = np.repeat(np.arange(n), 2)
    impressions = pd.DataFrame(
        {
            "request": request,
            "user": request % n_users,
            "timestamp": START + 9 * DAY,
            "policy": "uniform",
        }
    )
    config = SimpleNamespace(n_days=10, stream=lambda name: np.random.default_rng(len(name)))
    return SimpleNamespace(impressions=impressions, config=config, truth=FakeTruth(items, probs))


def test_held_out_requests_are_late_and_uniform() -> None:
    late, early = START + 8 * DAY, START + 8 * DAY - 1
    impressions = pd.DataFrame(
        {
            "request": [0, 0, 1, 2, 3, 3],
            "user": [5, 5, 6, 7, 8, 8],
            "timestamp": [early, early, late, late, late, late],
            "policy": ["uniform", "uniform", "softmax", "uniform", "uniform", "uniform"],
        }
    )
    shop = SimpleNamespace(impressions=impressions, config=SimpleNamespace(n_days=10))
    requests, users = r.held_out(shop, last_days=2)
    assert requests.tolist() == [2, 3] and users.tolist() == [7, 8]


def test_with_certain_clicks_the_ranking_check_is_the_usual_ndcg(
    random: np.random.Generator,
) -> None:
    probs = (random.random((50, 12)) < 0.3).astype(float)
    probs[0] = 0  # nothing to find: left out
    probs[1:, 0] = 1
    scores = random.random((50, 12))
    table = r.ranking_check(fake_shop(probs, 10), {"model": lambda users, items: scores}, k=5)
    kept = probs.any(1)
    expected = ndcg_score(probs[kept], scores[kept], k=5)
    values = table.set_index("model")["ndcg"]
    assert values["model"] == pytest.approx(expected)
    assert values["oracle"] == pytest.approx(1)
    assert table["requests"].unique() == [kept.sum()]
    orders = [ndcg_score(probs[kept], random.random((kept.sum(), 12)), k=5) for _ in range(64)]
    assert abs(values["chance"] - np.mean(orders)) < 4 * np.std(orders) / 8


@pytest.fixture(scope="module")
def ranked() -> pd.DataFrame:
    random = np.random.default_rng(3)
    probs = random.beta(0.5, 4, (400, 20))
    shop = fake_shop(probs, 80)
    noise = random.normal(0, 1, (2, *probs.shape))
    models = {
        "equal": lambda users, items: np.zeros(items.shape),
        "poor": lambda users, items: np.log(probs) + 4 * noise[0],
        "good": lambda users, items: np.log(probs) + noise[1],
        "same": lambda users, items: 3 * np.log(probs) + 7,
    }
    return r.ranking_check(shop, models).set_index("model")


def test_chance_is_0_and_the_true_order_1(ranked: pd.DataFrame) -> None:
    assert ranked.loc["chance", "normalized"] == 0
    assert ranked.loc["oracle", "normalized"] == 1
    assert ranked.loc["same", "normalized"] == pytest.approx(1)
    assert ranked.loc["oracle", "ndcg"] > 0.99
    assert ranked.loc["equal", "low"] < 0 < ranked.loc["equal", "high"]


def test_the_ideal_is_not_built_on_the_clicks_that_judge(random: np.random.Generator) -> None:
    probs = random.beta(2, 4, (300, 20))
    table = r.ranking_check(fake_shop(probs, 60), {}, n_draws=8).set_index("model")
    assert table.loc["oracle", "ndcg"] > 1  # the ideal of four draws is worse than the truth


def test_a_better_model_is_ahead_with_certainty(ranked: pd.DataFrame) -> None:
    assert (ranked.loc[["poor", "good", "same"], "ahead_low"] > 0).all()
    assert abs(ranked.loc["oracle", "ahead"]) < 1e-12
    assert 0.1 < ranked.loc["poor", "normalized"] < ranked.loc["good", "normalized"] < 0.95


def test_the_interval_of_customers_is_wider_than_that_of_requests(
    random: np.random.Generator,
) -> None:
    probs = random.beta(0.5, 4, (600, 20))
    skill = np.where(np.arange(600) % 12 < 6, 1.0, -1.0)[:, None]  # the same for all of a customer
    models = {"some": lambda users, items: probs * skill}
    few, many = (r.ranking_check(fake_shop(probs, n), models).loc[1] for n in (12, 600))
    assert few["high"] - few["low"] > 2 * (many["high"] - many["low"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_draws": 5}, "n_draws must be even and at least 2, got 5"),
        ({"last_days": 10}, "last_days must be between 1 and 9, got 10"),
        (
            {"models": {"flat": lambda users, items: np.zeros(len(users))}},
            "flat must give scores of shape (4, 3), got (4,)",
        ),
    ],
)
def test_a_wrong_argument_of_the_ranking_check_is_named(
    changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError) as error:
        r.ranking_check(fake_shop(np.full((4, 3), 0.5), 4), **{"models": {}, **changes})
    assert str(error.value) == message


def test_a_shop_without_late_uniform_requests_is_refused() -> None:
    shop = fake_shop(np.full((4, 3), 0.5), 4)
    shop.impressions["policy"] = "softmax"
    with pytest.raises(ValueError, match="must have uniform requests in the last 7 days, got none"):
        r.ranking_check(shop, {})


def test_in_the_shop_popularity_is_beaten_and_the_oracle_is_not_reached(tiny: Shop) -> None:
    seen = tiny.clicks[tiny.clicks["timestamp"] < START + (tiny.config.n_days - 7) * DAY]
    train = Interactions(
        seen["user"].to_numpy(np.int64),
        seen["item"].to_numpy(np.int64),
        n_users=tiny.config.n_users,
        n_items=tiny.config.n_items,
    ).deduplicated()
    models = {"popularity": Popularity().fit(train), "ease": EASE(regularization=500).fit(train)}
    scorers = {name: partial(_scores, model) for name, model in models.items()}
    ranked = r.ranking_check(tiny, scorers).set_index("model")
    assert 0.2 < ranked.loc["popularity", "normalized"] < 0.5
    assert 0.4 < ranked.loc["ease", "normalized"] < 0.9
    assert (ranked.loc[["popularity", "ease", "oracle"], "ahead_low"] > 0).all()
    assert ranked.loc["oracle", "ndcg"] > 0.9


def _scores(
    model: Popularity | EASE, users: NDArray[np.int64], items: NDArray[np.int64]
) -> NDArray[np.floating[Any]]:
    return np.asarray(model.score(users, items))


# --- the table


@pytest.fixture(scope="module")
def table(tiny: Shop) -> pd.DataFrame:
    return r.describe(tiny).set_index("statistic")


def test_the_table_has_the_statistics_of_the_log(tiny: Shop, table: pd.DataFrame) -> None:
    counts = np.bincount(tiny.clicks["item"])
    assert table.loc["Gini of products", "value"] == pytest.approx(r.gini(counts[counts > 0]))
    buyers = tiny.purchases["session"].nunique() / len(tiny.sessions)
    assert table.loc["sessions that buy", "value"] == pytest.approx(buyers, rel=0.05)
    slates = tiny.impressions[(tiny.impressions["policy"] == "uniform").to_numpy()]
    device = tiny.users["device"].to_numpy()[slates["user"]]
    for name, rows in (
        ("eta, desktop", device == "desktop"),
        ("eta, mobile and tablet", np.isin(device, ["mobile", "tablet"])),
    ):
        part = slates[rows]
        eta = r.fitted_eta(part["request"], part["position"], part["click"], first=2).value
        assert table.loc[name, "value"] == pytest.approx(eta)


def test_every_statistic_of_the_tiny_shop_lies_in_its_range(table: pd.DataFrame) -> None:
    judged = table[table["ok"].notna()]
    assert judged.index[~judged["ok"].astype(bool)].tolist() == []
    assert set(judged["test"]) == set(range(1, 15))


def test_popularity_and_histories_can_be_of_other_events(tiny: Shop) -> None:
    table = r.describe(tiny, popularity="purchases", histories="clicks").set_index("statistic")
    counts = np.bincount(tiny.purchases["item"])
    assert table.loc["Gini of products", "value"] == pytest.approx(r.gini(counts[counts > 0]))
    assert table.loc["density of the log", "value"] == pytest.approx(
        len(tiny.clicks.drop_duplicates(["user", "item"])) / (400 * 300)
    )


class Partial:
    """A shop without some tables."""

    truth: ClassVar[Any] = SimpleNamespace()

    def __init__(self, shop: Shop, lacking: set[str]) -> None:
        self._shop, self._lacking = shop, lacking

    def __getattr__(self, name: str) -> Any:
        if name in self._lacking:
            raise AttributeError(name)
        return getattr(self._shop, name)


def test_what_is_not_there_has_a_row_without_value_and_verdict(
    tiny: Shop, table: pd.DataFrame
) -> None:
    part = r.describe(Partial(tiny, {"queries", "clicks"})).set_index("statistic")
    assert list(part.index) == list(table.index)
    for name in ("Gini of products", "query words in no title", "first slot, p by shelf"):
        assert np.isnan(part.loc[name, "value"]) and pd.isna(part.loc[name, "ok"])
    assert part.loc["sessions that buy", "value"] == table.loc["sessions that buy", "value"]


def test_a_statistic_without_range_has_no_verdict(table: pd.DataFrame) -> None:
    assert (
        table["ok"].isna().tolist()
        == (np.isinf(table["low"]) & np.isinf(table["high"]) | table["value"].isna()).tolist()
    )


def test_a_statistic_outside_its_range_is_not_ok(tiny: Shop) -> None:
    idle = Partial(tiny, {"queries", "clicks", "impressions"})
    idle.purchases = tiny.purchases.head(20)
    assert not r.describe(idle).set_index("statistic").loc["sessions that buy", "ok"]


def test_overlap_and_labels_are_compared_on_what_search_showed(tiny: Shop) -> None:
    shop = Partial(tiny, {"clicks"})
    titles = tiny.products["title"].str.lower().str.findall(r"[^\W_]+").map(set).tolist()
    words = dict(zip(tiny.queries["request"], tiny.queries["text"].str.lower(), strict=True))

    def planted(requests: NDArray[np.int64], items: NDArray[np.int64]) -> NDArray[np.int64]:
        share = [
            np.mean([word in titles[item] for word in words[request].split()])
            for request, item in zip(requests.tolist(), items[:, 0].tolist(), strict=True)
        ]
        return np.round(3 * np.array(share)).astype(np.int64)[:, None]

    shop.truth = SimpleNamespace(grades=planted)
    table = r.describe(shop).set_index("statistic")
    assert table.loc["word overlap and label, rho", "value"] > 0.85


# --- real shops, where a mirror has them

MIRROR = Path(os.environ.get("RECLIB_MIRROR") or "/nowhere")
mirrored = pytest.mark.skipif(not MIRROR.is_dir(), reason="no mirror (RECLIB_MIRROR)")


class _Plain(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"{module}.{name} is not expected here")


def real_log(name: str) -> pd.DataFrame:
    """The session (or user) and item of each event of a data set of the mirror."""
    if name.endswith("-sessions"):
        with (MIRROR / name / "all_train_seq.txt").open("rb") as stream:
            lists = _Plain(stream).load()
    else:
        (path,) = (MIRROR / name).glob("*.txt")
        lists = [line.split()[1:] for line in path.read_text().splitlines()]
    sizes = [len(items) for items in lists]
    items = np.array([item for items in lists for item in items], dtype=np.int64)
    return pd.DataFrame({"session": np.repeat(np.arange(len(lists)), sizes), "item": items})


@mirrored
@pytest.mark.parametrize(
    ("name", "column", "told"),
    [
        ("s3rec-beauty", "Beauty", (2.34, 15)),
        ("s3rec-sports", "Sports", (2.54, 20)),
        ("s3rec-lastfm", "Last.fm", None),
        ("diginetica-sessions", "Diginetica", (2.66, 45)),
        ("tmall-sessions", "Tmall", (3.05, 28)),
    ],
)
def test_the_columns_of_real_shops_are_what_their_data_give(
    name: str, column: str, told: tuple[float, int] | None
) -> None:
    events = real_log(name)
    counts = events["item"].value_counts().to_numpy()
    tail = r.tail_exponent(counts, min_tail=len(counts) // 10)
    found = {
        "Gini of products": r.gini(counts),
        "share of the top 1 %": r.top_share(counts, 0.01),
        "share of the top 10 %": r.top_share(counts, 0.1),
        "tail exponent": tail.alpha,
        "tail from": tail.xmin,
        "distance from a power law": tail.ks,
    }
    lengths = r.session_lengths(events["session"], min_length=1)
    if name.endswith("-sessions"):
        names = [f"clicks a session, {what}" for what in ("mean", "median", "p95")]
        repeats = r.repeat_statistics(events["session"], events["item"])
        found |= dict(zip(("sessions with a repeat", "clicks that repeat"), repeats, strict=True))
    else:
        names = [f"history (5-core), {what}" for what in ("mean", "median", "p95")]
        found["density of the log"] = r.density(events["session"], events["item"])
    found |= dict(zip(names, lengths[:3], strict=True))
    printed = {
        row.name: row.real[r.REAL_SHOPS.index(column)] for rows in ROWS.values() for row in rows
    }
    for statistic, value in found.items():
        assert value == pytest.approx(printed[statistic], rel=0.006), statistic
    if told:  # the exponent that the specification prints, at its xmin
        assert r.tail_exponent(counts, xmin=told[1]).alpha == pytest.approx(told[0], abs=0.005)


@mirrored
def test_the_clothing_shops_column_is_what_its_data_give() -> None:
    (path,) = (MIRROR / "eshop-clothing-clicks").glob("*.zip")
    with zipfile.ZipFile(path) as archive, archive.open(archive.namelist()[0]) as stream:
        clicks = pd.read_csv(stream, sep=";")
    session, item = clicks["session ID"], pd.factorize(clicks["page 2 (clothing model)"])[0]
    steps = r.category_transitions(session, clicks["page 1 (main category)"])
    counts = np.bincount(item)
    lengths = r.session_lengths(session)
    repeats = r.repeat_statistics(session, item)
    found = (r.gini(counts), r.top_share(counts, 0.01), r.top_share(counts, 0.1), *lengths[:3])
    assert found == pytest.approx((0.409, 0.040, 0.279, 8.45, 5, 25), rel=0.006)
    assert (*repeats, steps.trace() / steps.sum()) == pytest.approx(
        (0.318, 0.107, 0.812), abs=0.0006
    )
    assert r.repeat_statistics(session, item, min_length=1) == pytest.approx(
        (0.252, 0.104), abs=0.0006
    )


@mirrored
def test_home_depots_queries_are_as_printed() -> None:
    with zipfile.ZipFile(MIRROR / "homedepot-search" / "train.csv.zip") as archive:
        with archive.open("train.csv") as stream:
            table = pd.read_csv(stream, encoding="latin-1")
    title, titles = pd.factorize(table["product_title"])
    query, queries = pd.factorize(table["search_term"])
    words = r.query_statistics(list(titles), list(queries), (query, title, table["relevance"]))
    assert words == pytest.approx((0.086, 0.206, 0.288), abs=0.0006)


@mirrored
def test_uci_468s_conversion_and_dwell_are_as_printed() -> None:
    (path,) = (MIRROR / "online-shoppers").glob("*.csv")
    table = pd.read_csv(path)
    weekend = np.where(table["Weekend"].astype(bool), START + 5 * DAY, START)
    sessions = np.arange(len(table))
    bought = sessions[table["Revenue"].astype(bool)]
    assert r.session_conversion(sessions, bought) == pytest.approx(0.155, abs=0.0006)
    assert r.conversion_by_weekend(sessions, weekend, bought) == pytest.approx(
        (0.149, 0.174), abs=0.0006
    )
    pages = table[table["ProductRelated"] > 0]
    seconds = pages["ProductRelated_Duration"] / pages["ProductRelated"]
    assert r.dwell(seconds) == pytest.approx((17.6, 28.9, 45.1), rel=0.01)
