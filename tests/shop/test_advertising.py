"""Advertising in the shop: the auctions, the budgets, the log, the truth, the best pacing."""

from __future__ import annotations

import dataclasses
import itertools
import time
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from reclib.shop._advertisers import Advertisers
from reclib.shop._banners import BannerDay, Purse, outcomes
from reclib.shop._config import DAY, START, SimConfig
from reclib.shop._pacing import next_rate
from reclib.shop.advertising import (
    AdCatalogue,
    AdRequests,
    Advertising,
    Market,
    greedy_pacing,
    gsp,
    optimal_pacing,
    run_market,
    throttled_pacing,
    vcg,
)

EFFECTS = (1.0, 0.7)
N_DAYS = 8


def unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def world(n_items: int = 600, n_factors: int = 8) -> SimpleNamespace:
    random = np.random.default_rng(5)
    departments = np.arange(12) % 4
    leaves = random.integers(0, 12, n_items)
    tail = random.normal(size=(n_items, n_factors))
    return SimpleNamespace(
        item_vectors=unit(random.normal(size=(4, n_factors))[departments[leaves]] + tail),
        quality=random.beta(5, 2, n_items),
        bait=random.beta(2, 5, n_items),
        arrival=np.where(random.random(n_items) < 0.2, random.integers(1, N_DAYS, n_items), 0),
        leaves=leaves,
        leaf_department=departments,
        brand=np.minimum(random.geometric(0.06, n_items) - 1, 49),
        brand_names=tuple(f"brand {code}" for code in range(50)),
        department_names=("a", "b", "c", "d"),
    )


def requests_of(n: int, seed: int = 0, n_factors: int = 8) -> AdRequests:
    random = np.random.default_rng(seed)
    hours = np.clip(random.normal(16, 4, n), 0.5, 22.5)
    return AdRequests(
        request=np.arange(n),
        user=random.integers(0, 500, n),
        timestamp=START + random.integers(0, N_DAYS, n) * DAY + (3600 * hours).astype(np.int64),
        leaf=random.integers(0, 12, n),
        vectors=unit(random.normal(size=(n, n_factors))),
    )


CATALOGUE = AdCatalogue.of(world())
CONFIG = SimConfig.of("tiny", 0)
# Ads that are clicked often, so that 12,000 requests show what otherwise takes a million.
BUSY = Market(pull=-3.0, flight_requests=6_000, n_advertisers=12)


@pytest.fixture(scope="module")
def requests() -> AdRequests:
    return requests_of(12_000)


@pytest.fixture(scope="module")
def busy(requests: AdRequests) -> Advertising:
    return run_market(CONFIG, requests, CATALOGUE, BUSY)


@pytest.fixture(scope="module")
def usual() -> Advertising:
    """Ads that are clicked as rarely as in the shop."""
    return run_market(CONFIG, requests_of(60_000), CATALOGUE)


def random_auctions(n: int, n_bidders: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    bids = random.lognormal(-0.5, 0.8, (n, n_bidders)) * (random.random((n, n_bidders)) < 0.8)
    return bids, random.uniform(0.01, 0.3, (n, n_bidders))


def spend_of(market: Advertising) -> pd.Series:
    """Money spent by (flight, advertiser)."""
    table = market.auctions
    first = market.flights["first_day"].to_numpy()
    flight = np.searchsorted(first, (table["timestamp"] - START) // DAY, side="right") - 1
    return (table["price"] * table["click"]).groupby([flight, table["advertiser"]]).sum()


# --- auctions


def slow_ranking(bids: np.ndarray, quality: np.ndarray, reserve: float) -> list[int]:
    able = [a for a in range(len(bids)) if bids[a] >= reserve and bids[a] > 0]
    return sorted(able, key=lambda a: (-bids[a] * quality[a], a))


def best_welfare(scores: list[float], effects: tuple[float, ...]) -> float:
    """Most of the sum of effect * score, over all ways to give bidders slots."""
    padded = scores + [0.0] * len(effects)
    return max(
        sum(effect * score for effect, score in zip(effects, chosen, strict=True))
        for chosen in itertools.permutations(padded, len(effects))
    )


@pytest.mark.parametrize("effects", [(1.0,), (1.0, 0.7), (1.0, 0.7, 0.7)])
@pytest.mark.parametrize("reserve", [0.0, 0.4])
def test_gsp_is_the_slow_auction(effects: tuple[float, ...], reserve: float) -> None:
    bids, quality = random_auctions(100, 5, seed=1)
    winners, prices = gsp(bids, quality, reserve=reserve, slot_effects=effects)
    for row in range(len(bids)):
        order = slow_ranking(bids[row], quality[row], reserve)
        for slot in range(len(effects)):
            if slot >= len(order):
                assert winners[row, slot] == -1
                assert np.isnan(prices[row, slot])
                continue
            own, rest = order[slot], order[slot + 1 :]
            below = bids[row, rest[0]] * quality[row, rest[0]] if rest else 0.0
            assert winners[row, slot] == own
            assert prices[row, slot] == pytest.approx(max(below / quality[row, own], reserve))


@pytest.mark.parametrize("effects", [(1.0,), (1.0, 0.7), (1.0, 0.6, 0.2)])
@pytest.mark.parametrize("reserve", [0.0, 0.4])
def test_a_vcg_price_is_what_the_winner_costs_the_others(
    effects: tuple[float, ...], reserve: float
) -> None:
    bids, quality = random_auctions(60, 4, seed=2)
    winners, prices = vcg(bids, quality, reserve=reserve, slot_effects=effects)
    for row in range(len(bids)):
        order = slow_ranking(bids[row], quality[row], reserve)
        assert winners[row].tolist() == (order + [-1] * len(effects))[: len(effects)]
        for slot, own in enumerate(order[: len(effects)]):
            # the seller stands behind each slot with its reserve, at the winner's quality
            seller = [reserve * quality[row, own]] * len(effects)
            others = [bids[row, a] * quality[row, a] for a in order if a != own] + seller
            best = best_welfare(others, effects)
            elsewhere = tuple(np.delete(effects, slot))
            with_own = best_welfare(others, elsewhere) if elsewhere else 0.0
            clicks = effects[slot] * quality[row, own]
            assert prices[row, slot] * clicks == pytest.approx(best - with_own)


@pytest.mark.parametrize("auction", [gsp, vcg])
def test_equal_scores_go_to_the_lower_advertiser(auction: Any) -> None:
    winners, prices = auction(
        [[0.3, 0.5, 0.5, 0.5]], [[0.1] * 4], reserve=0.0, slot_effects=EFFECTS
    )
    assert winners.tolist() == [[1, 2]]
    np.testing.assert_allclose(prices, [[0.5, 0.5]])


@pytest.mark.parametrize("auction", [gsp, vcg])
def test_prices_lie_between_the_reserve_and_the_bid(auction: Any) -> None:
    bids, quality = random_auctions(2_000, 6, seed=3)
    winners, prices = auction(bids, quality, reserve=0.2, slot_effects=EFFECTS)
    taken = winners >= 0
    bid = np.take_along_axis(bids, np.maximum(winners, 0), axis=1)
    assert 0 < (~taken).sum() < taken.sum()
    assert (prices[taken] >= 0.2 - 1e-12).all()
    assert (prices[taken] <= bid[taken]).all()
    assert np.isnan(prices[~taken]).all()


@pytest.mark.parametrize("auction", [gsp, vcg])
def test_an_auction_without_bidders_has_no_winner(auction: Any) -> None:
    nobody = np.zeros((3, 0))
    winners, prices = auction(nobody, nobody, reserve=0.0, slot_effects=EFFECTS)
    assert (winners == -1).all()
    assert np.isnan(prices).all()


def gain_of(auction: Any, bids: np.ndarray, quality: np.ndarray, values: np.ndarray) -> np.ndarray:
    """(B,) expected gain of bidder 0 of each auction, whose clicks are worth ``values`` (B,)."""
    winners, prices = auction(bids, quality, reserve=0.05, slot_effects=EFFECTS)
    mine = winners == 0
    clicks = np.asarray(EFFECTS) * quality[:, [0]]
    return np.where(mine, clicks * (values[:, None] - prices), 0.0).sum(1)


def test_no_bid_gains_more_than_the_value_in_vcg() -> None:
    bids, quality = random_auctions(200, 4, seed=4)
    bids[:, 0] = values = np.random.default_rng(0).lognormal(-0.5, 0.8, 200)
    honest = gain_of(vcg, bids, quality, values)
    assert (honest > 0).mean() > 0.3
    for factor in (0.0, 0.2, 0.5, 0.8, 0.95, 1.05, 1.3, 2.0, 5.0):
        other = bids.copy()
        other[:, 0] *= factor
        assert (gain_of(vcg, other, quality, values) <= honest + 1e-12).all()


def test_a_lower_bid_gains_more_than_the_value_in_gsp() -> None:
    # first slot at 4: 10 - 4 = 6; second slot at 2: .7 (10 - 2) = 5.6; with 6 to beat: 4 < 5.6
    bids, quality = np.array([[10.0, 6.0, 2.0]]), np.ones((1, 3))
    values = np.array([10.0])
    honest = gain_of(gsp, bids, quality, values)
    lower = gain_of(gsp, np.array([[5.0, 6.0, 2.0]]), quality, values)
    np.testing.assert_allclose([honest[0], lower[0]], [4.0, 5.6])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"bids": [0.5, 0.2]}, "bids must have 2 dimensions, got shape (2,)"),
        ({"quality": [[0.1]]}, "quality must have shape (1, 2), got (1, 1)"),
        ({"bids": [[0.5, -1]]}, "bids must be finite and at least 0, got another value"),
        ({"bids": [[0.5, np.nan]]}, "bids must be finite and at least 0, got another value"),
        ({"quality": [[0.5, 1.1]]}, "quality must be between 0 and 1, got another value"),
        ({"reserve": -0.1}, "reserve must be finite and at least 0, got -0.1"),
        ({"slot_effects": []}, "slot_effects must be in (0, 1] and not rise, got []"),
        (
            {"slot_effects": [0.5, 0.6]},
            "slot_effects must be in (0, 1] and not rise, got [0.5, 0.6]",
        ),
        ({"slot_effects": [2.0]}, "slot_effects must be in (0, 1] and not rise, got [2.0]"),
    ],
)
@pytest.mark.parametrize("auction", [gsp, vcg])
def test_an_auction_says_what_is_wrong(auction: Any, changes: dict, message: str) -> None:
    arguments: dict[str, Any] = {
        "bids": [[0.5, 0.2]], "quality": [[0.1, 0.2]], "reserve": 0.0, "slot_effects": EFFECTS,
    } | changes  # fmt: skip
    with pytest.raises(ValueError) as error:
        auction(arguments.pop("bids"), arguments.pop("quality"), **arguments)
    assert str(error.value) == message


# --- best pacing


def brute_force_single(gain: np.ndarray, cost: np.ndarray, budget: float) -> float:
    """Best of all sets of whole opportunities, filled up with a part of one more."""
    best = 0.0
    for chosen in itertools.product((False, True), repeat=len(gain)):
        mask = np.array(chosen)
        left = budget - cost[mask].sum()
        if left >= 0:
            part = np.minimum(left / cost, 1) * gain * ~mask
            best = max(best, gain[mask].sum() + part.max())
    return best


def test_the_best_pacing_of_one_advertiser_is_brute_force() -> None:
    for seed in range(5):
        random = np.random.default_rng(seed)
        gain, cost = random.random(9), random.random(9) + 0.05
        plan = optimal_pacing(gain, cost, 1.5)
        assert plan.value == pytest.approx(brute_force_single(gain, cost, 1.5))
        assert plan.spend[0] == pytest.approx(1.5)
        assert plan.value == pytest.approx((plan.share * gain).sum())


def test_the_dual_price_of_the_budget_says_what_to_enter() -> None:
    random = np.random.default_rng(1)
    gain, cost = random.random(200), random.random(200) + 0.05
    plan = optimal_pacing(gain, cost, 20.0)
    inside = (plan.share > 1e-9) & (plan.share < 1 - 1e-9)
    assert inside.sum() <= 1
    np.testing.assert_array_equal(
        plan.share[~inside] > 0.5, (gain > plan.multiplier[0] * cost)[~inside]
    )


def vertices_best(gain: np.ndarray, cost: np.ndarray, budget: np.ndarray) -> float:
    """Best corner of the programme of all advertisers with one slot, corner by corner."""
    n_times, n_ads = gain.shape
    n = n_times * n_ads
    rows = [np.where(np.arange(n) % n_ads == a, cost.ravel(), 0.0) for a in range(n_ads)]
    rows += [(np.arange(n) // n_ads == t).astype(float) for t in range(n_times)]
    matrix = np.vstack([*rows, np.eye(n), -np.eye(n)])
    limits = np.concatenate([budget, np.ones(n_times), np.ones(n), np.zeros(n)])
    best = 0.0
    for active in itertools.combinations(range(len(limits)), n):
        corner = matrix[list(active)]
        if abs(np.linalg.det(corner)) < 1e-9:
            continue
        x = np.linalg.solve(corner, limits[list(active)])
        if (matrix @ x <= limits + 1e-9).all():
            best = max(best, float(gain.ravel() @ x))
    return best


def test_the_best_pacing_of_all_is_the_best_corner() -> None:
    for seed in range(5):
        random = np.random.default_rng(seed)
        gain, cost = random.random((2, 2)), random.random((2, 2)) + 0.1
        budget = np.array([0.3, 0.5])
        plan = optimal_pacing(gain, cost, budget)
        assert plan.value == pytest.approx(vertices_best(gain, cost, budget))


def test_a_plan_of_all_respects_slots_and_budgets() -> None:
    random = np.random.default_rng(2)
    gain, cost = random.random((40, 5)), random.random((40, 5))
    gain[random.random(gain.shape) < 0.3] = np.nan  # not a target
    plan = optimal_pacing(gain, cost, np.linspace(0.5, 8, 5), slot_effects=EFFECTS)
    assert plan.share.shape == (40, 5, 2)
    assert (plan.spend <= np.linspace(0.5, 8, 5) + 1e-9).all()
    assert (plan.share.sum(1) <= 1 + 1e-9).all()  # one advertiser to a slot
    assert (plan.share.sum(2) <= 1 + 1e-9).all()  # one slot to an advertiser
    assert (plan.share[np.isnan(gain)] == 0).all()
    value = (plan.share * EFFECTS * np.nan_to_num(gain)[..., None]).sum()
    assert plan.value == pytest.approx(value)


def test_the_best_plan_of_all_is_better_than_the_highest_bid_while_money_lasts() -> None:
    for seed in range(10):
        random = np.random.default_rng(seed)
        gain = random.lognormal(-1, 0.8, (120, 6))
        budget = random.uniform(2, 8, 6)
        left, value = budget.copy(), 0.0
        for row in gain:  # gain is what is paid
            able = np.where(row <= left, row, 0.0)
            value += able.max()
            left[able.argmax()] -= able.max()
        best = optimal_pacing(gain, gain, budget).value
        assert 0.5 * best - gain.max() * 6 <= value <= best + 1e-9


def test_no_rule_that_sees_the_past_beats_the_best_plan() -> None:
    for seed in range(20):
        random = np.random.default_rng(seed)
        gain, cost = random.lognormal(-1, 0.5, 400), random.lognormal(-1, 0.8, 400)
        best = optimal_pacing(gain, cost, 30.0)
        greedy = greedy_pacing(gain, cost, 30.0)
        throttled = throttled_pacing(gain, cost, 30.0, generator=random)
        assert max(greedy.spend[0], throttled.spend[0]) <= 30.0
        assert max(greedy.value, throttled.value) <= best.value
        assert best.value > 1.1 * greedy.value


def test_the_throttle_spreads_the_spend() -> None:
    random = np.random.default_rng(0)
    gain = cost = random.lognormal(-1, 0.5, 2_000)
    half = np.arange(2_000) < 1_000
    greedy = greedy_pacing(gain, cost, 200.0)
    throttled = throttled_pacing(gain, cost, 200.0, generator=random)
    assert (greedy.share * cost)[half].sum() / greedy.spend[0] == pytest.approx(1.0)
    assert 0.4 < (throttled.share * cost)[half].sum() / throttled.spend[0] < 0.6
    assert throttled.spend[0] > 190.0


def test_a_plan_without_money_or_gain_is_empty() -> None:
    assert optimal_pacing([1.0, 2.0], [1.0, 1.0], 0.0).value == 0.0
    plan = optimal_pacing([-1.0, np.nan], [1.0, 1.0], 5.0)
    assert plan.value == 0.0
    assert plan.share.tolist() == [0.0, 0.0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((1.0, 1.0, 1.0), "gain must have 1 or 2 dimensions, got shape ()"),
        (([1.0, 2.0], [1.0], 1.0), "cost must have shape (2,), got (1,)"),
        (([1.0], [-1.0], 1.0), "cost must be finite and at least 0, got another value"),
        (([np.inf], [1.0], 1.0), "gain must be finite or NaN, got infinity"),
        (([[1.0, 2.0]], [[1.0, 1.0]], [1.0]), "budget must have shape (2,), got (1,)"),
        (([1.0], [1.0], np.nan), "budget must be at least 0, got another value"),
    ],
)
def test_pacing_says_what_is_wrong(arguments: Any, message: str) -> None:
    with pytest.raises(ValueError) as error:
        optimal_pacing(*arguments)
    assert str(error.value) == message


def test_a_throttle_needs_a_step() -> None:
    with pytest.raises(ValueError, match="every must be at least 1, got 0"):
        throttled_pacing([1.0], [1.0], 1.0, generator=np.random.default_rng(0), every=0)


# --- the market


def test_the_hourly_runs_are_one_auction_after_the_other(requests: AdRequests) -> None:
    market = BUSY
    ads = Advertisers(CONFIG, CATALOGUE, market)
    rows = np.lexsort((requests.request, requests.timestamp))
    rows = rows[(requests.timestamp[rows] - START) // DAY == 1]
    day = BannerDay(CONFIG, requests, rows, 1, ads, market)
    passed, budget = np.linspace(0, 1, 24), 15 * ads.bid
    entered, outcome, clicks = day.serve(Purse(ads.bid, budget), passed)

    left, rate, hour = budget.copy(), np.ones(len(budget)), 0
    n_ended = 0
    for row in range(len(rows)):
        while (day.time[row] - START) % DAY // 3600 > hour:
            rate = next_rate(rate, budget - left, budget * passed[hour])
            hour += 1
        enters = (day.ad[row] >= 0) & (day.draws["throttle"][row] < rate) & (left >= ads.bid)
        np.testing.assert_array_equal(entered[row], enters)
        winners, prices = gsp(
            [enters * ads.bid], [day.quality[row]], reserve=0.05, slot_effects=EFFECTS
        )
        np.testing.assert_array_equal(outcome.winners[row], winners[0])
        np.testing.assert_allclose(outcome.prices[row], prices[0])
        for slot, a in enumerate(winners[0]):
            hit = a >= 0 and day.draws["clicks"][row, a] < EFFECTS[slot] * day.ctr[row, a]
            assert clicks[row, slot] == hit
            if hit:
                left[a] -= prices[0, slot]
                n_ended += left[a] < ads.bid[a]
    assert n_ended >= 3


def test_no_budget_is_overspent_and_many_are_used(busy: Advertising) -> None:
    spent = spend_of(busy).unstack()
    budget = busy.advertisers["budget"].to_numpy()
    assert (spent <= budget[None, :] + 1e-9).all(axis=None)
    assert len(busy.flights) == 2
    assert (spent / budget > 0.9).mean(axis=None) > 0.4


def test_without_a_throttle_the_money_is_gone_earlier(
    busy: Advertising, requests: AdRequests
) -> None:
    greedy = run_market(CONFIG, requests, CATALOGUE, dataclasses.replace(BUSY, throttle=False))

    def early(market: Advertising) -> float:
        table = market.auctions
        paid = (table["price"] * table["click"]).fillna(0)
        first = (table["timestamp"] - START) // DAY % (N_DAYS // 2) < N_DAYS // 4
        return float(paid[first].sum() / paid.sum())

    assert (spend_of(greedy).unstack() <= greedy.advertisers["budget"].to_numpy()).all(axis=None)
    assert early(greedy) > early(busy) + 0.1
    assert 0.4 < early(busy) < 0.65


def test_a_bidder_sees_no_price_of_what_it_lost(busy: Advertising) -> None:
    table = busy.auctions
    lost = ~table["won"]
    assert lost.mean() > 0.2
    assert table.loc[lost, "price"].isna().all()
    assert table.loc[~lost, "price"].notna().all()
    assert not table.loc[lost, ["click", "conversion"]].any(axis=None)
    assert (table.loc[lost, "slot"] == 0).all()


def test_the_public_tables_hold_no_truth(busy: Advertising) -> None:
    assert list(busy.advertisers) == ["advertiser", "name", "items", "departments", "bid", "budget"]
    assert list(busy.auctions) == [
        "request", "timestamp", "advertiser", "item", "slot", "bid", "won", "price", "click",
        "conversion",
    ]  # fmt: skip


def test_auctions_are_the_bids_that_entered(busy: Advertising) -> None:
    bids = busy.truth.bids
    entered = bids[bids["entered"]].reset_index(drop=True)
    assert 0.3 < len(entered) / len(bids) < 0.95
    for column in ("request", "advertiser", "item"):
        np.testing.assert_array_equal(entered[column], busy.auctions[column])


def dense(busy: Advertising, column: str) -> np.ndarray:
    """(B, A) a column of the true bids; 0 where there is none."""
    bids = busy.truth.bids
    values = np.zeros((12_000, len(busy.advertisers)))
    values[bids["request"], bids["advertiser"]] = bids[column]
    return values


def test_the_price_to_win_is_where_a_bid_begins_to_win(busy: Advertising) -> None:
    quality, entered = dense(busy, "quality"), dense(busy, "entered") > 0
    price = dense(busy, "price_to_win")
    bids = entered * busy.advertisers["bid"].to_numpy()
    for a in range(len(busy.advertisers)):
        rows = np.flatnonzero(quality[:, a] > 0)
        for factor, wins in ((1 + 1e-9, True), (1 - 1e-9, False)):
            other = bids[rows].copy()
            other[:, a] = price[rows, a] * factor
            winners = gsp(other, quality[rows], reserve=0.05, slot_effects=EFFECTS).winners
            assert ((winners == a).any(1) == wins).all()


def test_the_true_vcg_price_takes_true_values_and_click_rates(busy: Advertising) -> None:
    entered = dense(busy, "entered") > 0
    values = entered * busy.truth.advertisers["value"].to_numpy()
    winners, prices = vcg(values, dense(busy, "ctr"), reserve=0.05, slot_effects=EFFECTS)
    expected = np.full(values.shape, np.nan)
    for slot in range(2):
        rows = np.flatnonzero(winners[:, slot] >= 0)
        expected[rows, winners[rows, slot]] = prices[rows, slot]
    bids = busy.truth.bids
    np.testing.assert_array_equal(bids["vcg_price"], expected[bids["request"], bids["advertiser"]])


def test_clicks_and_revenue_come_as_expected(busy: Advertising) -> None:
    bids = busy.truth.bids[busy.truth.bids["entered"]].reset_index(drop=True)
    won = busy.auctions["won"]
    table = busy.auctions[won]
    chance = bids.loc[won, "ctr"] * np.asarray(EFFECTS)[table["slot"] - 1]
    error = np.sqrt((chance * (1 - chance)).sum())
    assert abs(table["click"].sum() - chance.sum()) < 3 * error
    np.testing.assert_allclose(bids.loc[won, "expected_revenue"], chance * table["price"])
    assert (busy.truth.bids.loc[~busy.truth.bids["entered"], "expected_revenue"] == 0).all()
    spread = np.sqrt((chance * (1 - chance) * table["price"] ** 2).sum())
    revenue = (table["price"] * table["click"]).sum()
    assert abs(revenue - bids["expected_revenue"].sum()) < 3 * spread


def test_the_platform_knows_click_rates_with_the_stated_noise(busy: Advertising) -> None:
    error = np.log(busy.truth.bids["quality"] / busy.truth.bids["ctr"])
    assert error.mean() == pytest.approx(0, abs=0.01)
    assert error.std() == pytest.approx(0.2, abs=0.01)


def test_each_advertiser_shows_its_own_product_of_the_shelfs_department(
    busy: Advertising, requests: AdRequests
) -> None:
    bids = busy.truth.bids
    department = CATALOGUE.leaf_department[CATALOGUE.leaf[bids["item"]]]
    asked = CATALOGUE.leaf_department[requests.leaf[bids["request"]]]
    np.testing.assert_array_equal(department, asked)
    owners = busy.advertisers.explode("items").set_index("items")["advertiser"]
    np.testing.assert_array_equal(owners.loc[bids["item"]], bids["advertiser"])
    assert busy.advertisers["items"].map(len).between(3, 10).all()
    assert (CATALOGUE.arrival[bids["item"]] <= bids["day"]).all()
    targeted = busy.advertisers["departments"].map(len)
    assert targeted.between(1, 2).all()


def test_each_advertiser_shows_the_product_this_customer_clicks_most(
    busy: Advertising, requests: AdRequests
) -> None:
    ads = busy.truth.ads
    first = busy.truth.bids.iloc[:300]
    for bid in first.itertuples():
        item = ads["item"].to_numpy()
        department = CATALOGUE.leaf_department[CATALOGUE.leaf]
        mine = (ads["advertiser"] == bid.advertiser) & (CATALOGUE.arrival[item] <= bid.day)
        mine &= department[item] == department[bid.item]
        logit = (
            BUSY.pull
            + 0.5 * 8**0.5 * CATALOGUE.vectors[item] @ requests.vectors[bid.request]
            + 0.8 * (CATALOGUE.bait[item] - 0.3)
            + ads["response"]
        )
        assert bid.ctr == pytest.approx((1 / (1 + np.exp(-logit[mine]))).max())


def test_outcomes_with_and_without_an_ad_come_as_their_probabilities(busy: Advertising) -> None:
    uplift = busy.truth.uplift
    for name in ("with", "without"):
        chance, bought = uplift[f"purchase_{name}"], uplift[f"bought_{name}"]
        assert chance.between(0, 1).all()
        error = np.sqrt((chance * (1 - chance)).sum())
        assert abs(bought.sum() - chance.sum()) < 3 * error
    both = (uplift["bought_with"] & uplift["bought_without"]).mean()
    assert both > 0.5 * uplift["bought_without"].mean()  # one customer, not two coins


@pytest.mark.parametrize("lost", [0.0, 0.1, 0.2, 0.3])
def test_outcomes_are_drawn_with_their_probabilities_and_share_customers(lost: float) -> None:
    random, n = np.random.default_rng(0), 40_000
    by_ad, without = np.full(n, 0.2), np.full(n, 0.35)
    alone, shown = outcomes(
        without, by_ad, np.full(n, lost), random.random(n) < by_ad, random.random(n)
    )
    assert alone.mean() == pytest.approx(0.35, abs=0.008)
    assert shown.mean() == pytest.approx(0.55 - lost, abs=0.008)
    # a customer changes only as far as the ad sells or displaces
    assert (alone & ~shown).mean() == pytest.approx(max(lost - 0.2, 0), abs=0.008)


def test_ads_raise_leave_or_lower_sales_by_what_they_displace(usual: Advertising) -> None:
    uplift = usual.truth.uplift
    effect = uplift["purchase_with"] - uplift["purchase_without"]
    displaced = usual.truth.ads.set_index("item")["displaced"].loc[uplift["item"]].to_numpy()
    covered = uplift["purchase_without"] > 0.005  # what is displaced must be there
    assert (effect[displaced < 1] > 0).all()
    assert effect[(displaced == 1) & covered].abs().max() < 1e-12
    assert (effect[(displaced > 1) & covered] < 0).all()
    assert min((displaced < 1).mean(), (displaced == 1).mean(), (displaced > 1).mean()) > 0.02


def test_a_conversion_is_a_purchase_of_a_clicked_ad(busy: Advertising) -> None:
    shown = busy.auctions[busy.auctions["won"]].set_index(["request", "advertiser"])
    uplift = busy.truth.uplift.set_index(["request", "advertiser"]).loc[shown.index]
    assert shown["conversion"].sum() > 30
    assert shown.loc[shown["conversion"], "click"].all()
    assert uplift.loc[shown["conversion"], "bought_with"].all()
    np.testing.assert_array_equal(uplift["slot"], shown["slot"])


def test_conversions_overstate_what_ads_sell(usual: Advertising) -> None:
    uplift = usual.truth.uplift
    effect = (uplift["purchase_with"] - uplift["purchase_without"]).mean()
    converted = usual.auctions.loc[usual.auctions["won"], "conversion"].mean()
    assert 0 < effect < 0.7 * converted


def test_the_same_settings_give_the_same_market_in_any_order(
    busy: Advertising, requests: AdRequests
) -> None:
    shuffled = np.random.default_rng(0).permutation(12_000)
    again = run_market(
        CONFIG,
        AdRequests(*(column[shuffled] for column in vars(requests).values())),
        CATALOGUE,
        BUSY,
    )
    pd.testing.assert_frame_equal(again.auctions, busy.auctions)
    for name, table in vars(busy.truth).items():
        pd.testing.assert_frame_equal(getattr(again.truth, name), table)


def test_another_seed_gives_another_market(busy: Advertising, requests: AdRequests) -> None:
    other = run_market(SimConfig.of("tiny", 1), requests, CATALOGUE, BUSY)
    assert other.advertisers["bid"].tolist() != busy.advertisers["bid"].tolist()


def test_customers_answer_an_ad_alike_whatever_the_prices(
    busy: Advertising, requests: AdRequests
) -> None:
    other = run_market(CONFIG, requests, CATALOGUE, dataclasses.replace(BUSY, mechanism="vcg"))
    keys = ["request", "advertiser", "slot"]
    columns = [*keys, "item", "click", "conversion", "price"]
    both = busy.auctions.query("won")[columns].merge(other.auctions.query("won")[columns], on=keys)
    assert len(both) > 5_000
    assert (both["click_x"] == both["click_y"]).all()
    assert (both["conversion_x"] == both["conversion_y"]).all()
    assert both["price_y"].mean() < 0.98 * both["price_x"].mean()  # at equal bids VCG is cheaper


def test_the_best_plan_of_an_advertiser_beats_what_the_market_gave_it(
    requests: AdRequests,
) -> None:
    free = dataclasses.replace(BUSY, budget_clicks=(1e6, 1e6), throttle=False)
    market = run_market(CONFIG, requests, CATALOGUE, free)
    bids = market.truth.bids.query("day == 1")
    for a in (0, 3):
        mine = bids[bids["advertiser"] == a]
        value = market.truth.advertisers["value"][a]
        gain, cost = value * mine["ctr"].to_numpy(), (mine["price_to_win"] * mine["ctr"]).to_numpy()
        budget = 0.3 * cost.sum()
        best = optimal_pacing(gain, cost, budget)
        greedy = greedy_pacing(gain, cost, budget)
        throttled = throttled_pacing(gain, cost, budget, generator=np.random.default_rng(a))
        assert best.value > 1.1 * max(greedy.value, throttled.value)


def test_flights_share_the_days_and_budgets_follow_the_requests(requests: AdRequests) -> None:
    market = dataclasses.replace(BUSY, flight_requests=4_000)
    three = run_market(CONFIG, requests, CATALOGUE, market)
    assert three.flights.to_numpy().tolist() == [[0, 0, 2], [1, 3, 4], [2, 5, 7]]
    clicks = three.advertisers["budget"] / three.advertisers["bid"]
    assert clicks.between(20, 60).all()
    one = run_market(CONFIG, requests, CATALOGUE, dataclasses.replace(BUSY, flight_requests=48_000))
    assert one.flights.to_numpy().tolist() == [[0, 0, 7]]
    assert (one.advertisers["budget"] / one.advertisers["bid"]).between(5, 15).all()


def test_ads_are_clicked_as_rarely_as_banners_in_real_shops(usual: Advertising) -> None:
    shown = usual.auctions[usual.auctions["won"]]
    assert 0.002 < shown["click"].mean() < 0.01
    assert 0.03 < shown["conversion"].sum() / shown["click"].sum() < 0.25


def test_a_quarter_of_a_million_requests_take_less_than_five_seconds() -> None:
    requests = requests_of(250_000)
    start = time.process_time()
    run_market(CONFIG, requests, CATALOGUE, Market(n_advertisers=30))
    assert time.process_time() - start < 5


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_advertisers": 0}, "n_advertisers must be at least 1, got 0"),
        ({"flight_requests": 0}, "flight_requests must be at least 1, got 0"),
        ({"reserve": float("nan")}, "reserve must be at least 0, got nan"),
        ({"noise": -1}, "noise must be at least 0, got -1"),
        ({"taste": -1}, "taste must be at least 0, got -1"),
        ({"mechanism": "first"}, "mechanism must be 'gsp' or 'vcg', got 'first'"),
        ({"budget_clicks": (5, 2)}, "budget_clicks must be 0 <= least <= most, got (5, 2)"),
        ({"slot_effects": (0.5, 1)}, "slot_effects must be in (0, 1] and not rise, got [0.5, 1.0]"),
    ],
)
def test_a_market_says_what_is_wrong(changes: dict, message: str) -> None:
    with pytest.raises(ValueError) as error:
        Market(**changes)
    assert str(error.value) == message


def test_requests_must_be_of_equal_length(requests: AdRequests) -> None:
    with pytest.raises(ValueError, match="leaf must have length 12000, got 3"):
        dataclasses.replace(requests, leaf=requests.leaf[:3])


def test_a_market_needs_requests_and_a_brand_with_products(requests: AdRequests) -> None:
    with pytest.raises(ValueError, match="request must have at least 1 row, got 0"):
        AdRequests(*(column[:0] for column in vars(requests).values()))
    shattered = dataclasses.replace(
        CATALOGUE, brand=np.arange(600), brand_names=tuple(map(str, range(600)))
    )
    with pytest.raises(ValueError, match="catalogue must have a brand with 3 products, got none"):
        run_market(CONFIG, requests, shattered)
