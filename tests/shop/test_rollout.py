"""The shop under other policies: its own log again, slates by hand, and what bait costs later."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from reclib.shop import Shop, SimConfig, simulate
from reclib.shop import rollout as module
from reclib.shop._config import START
from reclib.shop._shelves import Day, first_memory, open_day, shop_policy
from reclib.shop._world import World, build_world
from reclib.shop.choice import Choice, Situation
from reclib.shop.rollout import (
    Outcome,
    ThresholdGain,
    gain,
    myopic,
    rollout,
    threshold,
    threshold_gain,
)

DAY = 86_400
WORLDS = ("control", "default", "longterm")


def small(world: str = "default", **sizes: Any) -> SimConfig:
    return replace(SimConfig.of("tiny", 0, world=world), **sizes)


@pytest.fixture(scope="module")
def own() -> tuple[Shop, Outcome]:
    """A log of two blocks of customers, and the same days by `rollout`."""
    config = small(n_users=1_100, n_days=5)
    return simulate(config), rollout(config, shop_policy)


def test_the_shops_own_policy_gives_the_clicks_of_its_log(own: tuple[Shop, Outcome]) -> None:
    shop, outcome = own
    # A click may fall after midnight: its day is that of its session.
    start = shop.sessions["start"].to_numpy()[shop.clicks["session"]]
    expected = np.zeros((5, 1_100))
    np.add.at(expected, ((start - START) // DAY, shop.clicks["user"]), 1)
    np.testing.assert_array_equal(outcome.clicks, expected)


def test_the_shops_own_policy_gives_the_visits_of_its_log(own: tuple[Shop, Outcome]) -> None:
    shop, outcome = own
    day = (shop.sessions["start"].to_numpy() - START) // DAY
    expected = np.zeros((5, 1_100), dtype=bool)
    expected[day, shop.sessions["user"]] = True
    np.testing.assert_array_equal(outcome.visits, expected)


def test_the_shops_own_policy_satisfies_as_its_log_does(own: tuple[Shop, Outcome]) -> None:
    shop, outcome = own
    np.testing.assert_array_equal(outcome.satisfaction[-1], shop.truth.satisfaction)


@pytest.fixture(scope="module")
def shelf() -> tuple[World, Day, Situation]:
    """Customers of all sorts before the same three shelves."""
    world = build_world(small(n_users=60))
    random = np.random.default_rng(0)
    users = np.arange(60)
    day = open_day(world, first_memory(world), 3)
    situation = Situation(
        users=users,
        vectors=world.vectors(users, 3),
        goals=world.vectors(users[::-1], 3),
        intent=random.integers(0, 5, 60),
        price_cap=np.where(users % 3 == 0, 0.2, np.inf),
        surface=users % 3,
        shelf=random.integers(0, 3, 60),
        satisfaction=np.linspace(-1, 1, 60),
        recent=random.integers(-1, 300, (60, 5)),
        last_brand=random.integers(-1, 9, 60),
    )
    return world, day, situation


def by_hand(
    world: World, day: Day, situation: Situation, level: float, penalty: float
) -> list[list[int]]:
    """The slates of a threshold policy, a product at a time."""
    slates = []
    choice = Choice(world, day.number)
    for row, shelf in enumerate(situation.shelf):
        items = day.items[shelf]
        probs = choice.attraction(situation.rows([row]), items[None])[0]
        scores = {}
        for item, prob in zip(items.tolist(), probs.astype(float).tolist(), strict=True):
            scores[item] = math.log(prob / (1 - prob))
            if situation.satisfaction[row] >= level:
                scores[item] -= penalty * world.bait[item]
        slates.append(sorted(scores, key=lambda item: -scores[item])[: world.config.n_slots])
    return slates


@pytest.mark.parametrize("level", [-math.inf, 0.0, 0.5, math.inf])
@pytest.mark.parametrize("penalty", [None, 3.0])
def test_slates_are_those_of_a_loop_over_products(
    shelf: tuple[World, Day, Situation], level: float, penalty: float | None
) -> None:
    world, day, situation = shelf
    act = threshold(level, penalty=penalty)(world)
    slates = act(day, situation, np.random.default_rng(0)).items
    expected = by_hand(world, day, situation, level, 0.8 if penalty is None else penalty)
    np.testing.assert_array_equal(slates, expected)


def test_the_myopic_policy_shows_most_attraction(shelf: tuple[World, Day, Situation]) -> None:
    world, day, situation = shelf
    slates = myopic(world)(day, situation, np.random.default_rng(0)).items
    attraction = Choice(world, 3).attraction(situation, day.items[situation.shelf])
    best = -np.sort(-attraction, axis=1)[:, :10]
    np.testing.assert_allclose(Choice(world, 3).attraction(situation, slates), best)


def test_a_policy_keeps_up_with_the_day(shelf: tuple[World, Day, Situation]) -> None:
    world, day, situation = shelf
    act, random = myopic(world), np.random.default_rng(0)
    later = open_day(world, first_memory(world), 30)
    act(day, situation, random)  # the choice model of day 3 must not serve day 30
    expected = myopic(world)(later, situation, random).items
    np.testing.assert_array_equal(act(later, situation, random).items, expected)
    attraction = Choice(world, 30).attraction(situation, later.items[situation.shelf])
    assert Choice(world, 30).attraction(situation, expected)[:, 0] == pytest.approx(
        attraction.max(1)
    )


def test_slates_of_a_threshold_have_propensity_one(shelf: tuple[World, Day, Situation]) -> None:
    world, day, situation = shelf
    slates = threshold(0.0)(world)(day, situation, np.random.default_rng(0))
    assert slates.propensities.shape == slates.items.shape == (60, 10)
    assert (slates.propensities == 1).all()


Runs = dict[tuple[str, float], Outcome]


@pytest.fixture(scope="module")
def runs() -> Runs:
    """Never to show bait, at a penalty that shows within 42 days, and never to mind it."""
    return {
        (world, level): rollout(small(world), threshold(level, penalty=4.0))
        for world in WORLDS
        for level in (-math.inf, math.inf)
    }


def without_bait(runs: Runs, world: str, what: str) -> float:
    """Gain in clicks or visits where bait is not shown."""
    without, myopically = (getattr(runs[world, x], what).sum(0) for x in (-math.inf, math.inf))
    return gain(without, myopically).value


def test_shelves_without_bait_cost_clicks_where_satisfaction_does_not_matter(runs: Runs) -> None:
    assert without_bait(runs, "control", "clicks") < -0.03


def test_shelves_without_bait_earn_clicks_where_satisfaction_matters(runs: Runs) -> None:
    control, default, longterm = (without_bait(runs, world, "clicks") for world in WORLDS)
    assert default > max(0, control + 0.05)
    assert longterm > default


def test_shelves_without_bait_bring_back_more_the_more_satisfaction_decides(runs: Runs) -> None:
    default, longterm = (without_bait(runs, world, "visits") for world in WORLDS[1:])
    assert default > 0.02
    assert longterm > default + 0.01  # two standard errors


@pytest.mark.parametrize("world", WORLDS)
def test_shelves_without_bait_satisfy_more(runs: Runs, world: str) -> None:
    without, myopically = (runs[world, level].satisfaction for level in (-math.inf, math.inf))
    assert without[-1].mean() > myopically[-1].mean() + 0.1


def test_visits_do_not_hang_on_the_policy_in_control(runs: Runs) -> None:
    without, myopically = (runs["control", level].visits for level in (-math.inf, math.inf))
    np.testing.assert_array_equal(without, myopically)


@pytest.mark.parametrize(("world", "same"), [("control", True), ("default", False)])
def test_satisfaction_at_the_start_moves_clicks_only_where_it_acts(
    monkeypatch: pytest.MonkeyPatch, world: str, same: bool
) -> None:
    config = small(world, n_users=100, n_days=3)
    before = rollout(config, myopic)

    def content(world: World) -> dict[str, NDArray[Any]]:
        memory = first_memory(world)
        memory["customer/satisfaction"] += 2.0
        return memory

    monkeypatch.setattr(module, "first_memory", content)
    after = rollout(config, myopic)
    assert after.satisfaction.mean() > before.satisfaction.mean() + 0.5
    assert np.array_equal(before.clicks, after.clicks) is same


def test_customers_without_a_visit_have_no_click_and_forget() -> None:
    outcome = rollout(small(n_users=200, n_days=6), myopic)
    assert (outcome.clicks[~outcome.visits] == 0).all()
    away = ~outcome.visits[1:]
    before, after = outcome.satisfaction[:-1][away], outcome.satisfaction[1:][away]
    np.testing.assert_allclose(after, before * 0.5 ** (1 / 20))


def test_myopic_slates_are_clicked_far_more_than_those_of_the_shop() -> None:
    config = small(n_users=100, n_days=3)
    shops, myopically = (rollout(config, policy).clicks.sum() for policy in (shop_policy, myopic))
    assert myopically > 1.8 * shops


def test_the_same_settings_give_the_same_outcome() -> None:
    config = small(n_users=100, n_days=3)
    first, second = (rollout(config, threshold(0.0)) for _ in range(2))
    np.testing.assert_array_equal(first.clicks, second.clicks)
    np.testing.assert_array_equal(first.satisfaction, second.satisfaction)


def test_a_rollout_of_the_tiny_shop_takes_at_most_two_seconds() -> None:
    start = time.process_time()
    rollout(SimConfig.of("tiny", 0), threshold(0.0))
    assert time.process_time() - start < 2


def test_the_error_of_a_gain_is_that_of_resampled_customers() -> None:
    random = np.random.default_rng(0)
    reference = random.poisson(20 * random.exponential(size=400))
    values = random.poisson(1.1 * reference)
    rows = random.integers(0, 400, (4_000, 400))
    resampled = values[rows].sum(1) / reference[rows].sum(1) - 1
    measured = gain(values, reference)
    assert measured.value == pytest.approx(values.sum() / reference.sum() - 1)
    assert measured.standard_error == pytest.approx(resampled.std(), rel=0.05)


def test_a_policy_gains_nothing_over_itself_and_for_certain() -> None:
    clicks = np.array([3, 0, 5])
    assert gain(clicks, clicks) == (0.0, 0.0)


@pytest.mark.parametrize(
    ("values", "reference", "message"),
    [
        (np.ones(3), np.ones(2), r"values and reference must be \(U,\) both, got \(3,\) and"),
        (np.ones((2, 3)), np.ones((2, 3)), r"must be \(U,\) both, got \(2, 3\)"),
        (np.ones(1), np.ones(1), "values must have at least 2 customers, got 1"),
        (np.ones(3), np.zeros(3), "reference must have a sum above 0, got 0.0"),
    ],
)
def test_clicks_that_cannot_be_compared_are_refused(
    values: NDArray[np.float64], reference: NDArray[np.float64], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        gain(values, reference)


@pytest.mark.parametrize(
    ("level", "penalty", "message"),
    [
        (math.nan, None, "level must be a number, got nan"),
        (0.0, -1.0, r"penalty must be finite and at least 0, got -1\.0"),
        (0.0, math.inf, "penalty must be finite and at least 0, got inf"),
        (0.0, math.nan, "penalty must be finite and at least 0, got nan"),
    ],
)
def test_thresholds_out_of_range_are_refused(
    level: float, penalty: float | None, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        threshold(level, penalty=penalty)


def planted(monkeypatch: pytest.MonkeyPatch, clicks: dict[float, list[int]]) -> ThresholdGain:
    """`threshold_gain` where each threshold brings four customers the clicks given."""

    def fake(config: SimConfig, level: float) -> Outcome:
        row = np.array([clicks[level]])
        return Outcome(row > 0, row, np.zeros(row.shape))

    monkeypatch.setattr(module, "threshold", lambda level, penalty: level)
    monkeypatch.setattr(module, "rollout", fake)
    return threshold_gain(small(), thresholds=[level for level in clicks if level < math.inf])


def test_a_threshold_is_judged_by_the_customers_it_was_not_chosen_by(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clicks = {-1.0: [9, 1, 9, 1], 1.0: [2, 7, 2, 7], math.inf: [4, 4, 4, 4]}
    found = planted(monkeypatch, clicks)
    assert found.chosen == (-1.0, 1.0)
    # Even customers get what the odd ones chose, 1.0: 2 clicks; the odd ones 1 click.
    assert found.best.value == pytest.approx((2 + 1 + 2 + 1) / 16 - 1)


def test_the_myopic_policy_can_be_the_best(monkeypatch: pytest.MonkeyPatch) -> None:
    found = planted(monkeypatch, {0.0: [1, 2, 3, 3], math.inf: [4, 4, 4, 4]})
    assert found.chosen == (math.inf, math.inf)
    assert found.best == (0.0, 0.0)
    assert found.gains[0.0].value == pytest.approx(9 / 16 - 1)


def test_the_gains_of_thresholds_are_those_of_their_rollouts() -> None:
    config = small(n_users=50, n_days=2)
    found = threshold_gain(config, thresholds=(-math.inf,), penalty=3.0)
    without, follows = (
        rollout(config, threshold(level, penalty=3.0)) for level in (-math.inf, math.inf)
    )
    assert found.gains[-math.inf] == gain(without.clicks.sum(0), follows.clicks.sum(0))
    assert found.visits[-math.inf] == gain(without.visits.sum(0), follows.visits.sum(0))
    assert list(found.gains) == [-math.inf, math.inf]
