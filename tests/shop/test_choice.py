"""The choice model against plain Python: attraction, slates, three click models, the draw."""

from __future__ import annotations

import dataclasses
import itertools
import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import chisquare

from reclib.shop import SimConfig
from reclib.shop._shelves import first_memory, open_day
from reclib.shop._visits import goals
from reclib.shop._world import World, build_world
from reclib.shop.choice import Choice, Situation, cart_intent, checkout, plackett_luce, sigmoid

SURFACES = ("search", "recommendations", "related")
DAY = 38  # some products are new, some no longer, and the season is not at a turning point


@pytest.fixture(scope="module")
def world() -> World:
    return build_world(SimConfig.of("tiny", 0))


def in_world(world: World, /, **changes: Any) -> World:
    """The same world under other settings that do not enter its making."""
    return dataclasses.replace(world, config=dataclasses.replace(world.config, **changes))


def situations(world: World, n: int, seed: int = 0) -> tuple[Situation, NDArray[np.int64]]:
    """(n) sessions in which everything that matters occurs, and (n, 10) candidates of theirs."""
    random = np.random.default_rng(seed)
    day = open_day(world, first_memory(world), DAY)
    users, leaf = random.integers(0, 400, n), random.integers(0, 24, n)
    vectors = world.vectors(users, DAY)
    shelf = np.where(random.random(n) < 0.5, leaf, random.integers(0, 24, n))
    items = random.permuted(day.items[shelf], axis=1)[:, :10]
    recent = np.where(random.random((n, 5)) < 0.5, items[:, :5], -1)
    recent[random.random(n) < 0.3] = -1
    recent = np.take_along_axis(recent, (recent < 0).argsort(1, kind="stable"), axis=1)
    situation = Situation(
        users=users,
        vectors=vectors,
        goals=goals(world, vectors, leaf, random.integers(-1, 20, (n, 3))),
        intent=random.integers(0, 5, n),
        price_cap=np.where(random.random(n) < 0.5, random.normal(0, 0.3, n), np.inf),
        surface=random.integers(0, 3, n),
        shelf=shelf,
        satisfaction=random.uniform(-2.5, 2.5, n),
        recent=recent,
        last_brand=np.where(random.random(n) < 0.6, world.brand[items[:, 1]], -1),
    )
    return situation, items


def slow_logit(world: World, situation: Situation, row: int, item: int) -> float:
    """The docstring of `reclib.shop.choice`, term by term."""
    config, user = world.config, int(situation.users[row])
    sd = math.sqrt(config.n_factors)
    vector = world.item_vectors[item]
    of_shelf = [
        world.item_vectors[i] for i in range(300) if world.leaves[i] == situation.shelf[row]
    ]
    mean = sum(of_shelf) / len(of_shelf)
    taste = 1.8 * sd * float(situation.vectors[row] @ vector) - world.level[user]
    goal = 0.6 * sd * float(situation.goals[row] @ (vector - mean))
    same = [world.price[i] for i in range(300) if world.leaves[i] == world.leaves[item]]
    paid = world.price[item] * (0.8 if world.promoted(DAY)[item] else 1.0)
    gap = math.log(paid) - sum(map(math.log, same)) / len(same)
    price = world.price_sensitivity[user] * gap
    if gap > situation.price_cap[row]:
        price -= 0.8
    popularity = 0.5 * world.base[item] + world.hidden[item]
    bait = 0.8 * (world.bait[item] - 0.3)
    content = (0.0 if config.world == "control" else 0.8) * situation.satisfaction[row]
    repeat = 0.3 if item in situation.recent[row].tolist() else 0.0
    season = 0.2 * math.cos(2 * math.pi * (DAY / 365 - (world.codes["season"][item] / 4 + 0.125)))
    brand = world.loyalty[user] if world.brand[item] == situation.last_brand[row] else 0.0
    new = 0 < world.arrival[item] <= DAY < world.arrival[item] + 14
    novelty = world.novelty[user] if new else 0.0
    surface = (-1.6, -2.4, -2.1)[situation.surface[row]]
    total = surface + taste + goal + price + popularity + bait + content + repeat + season
    return float(total + brand + novelty)


def logistic(x: float) -> float:
    return 1 / (1 + math.exp(-x))


# --- attraction


@pytest.mark.parametrize("which", ["default", "control", "longterm"])
def test_attraction_is_the_formula_of_the_docstring(world: World, which: str) -> None:
    world = in_world(world, world=which)
    situation, items = situations(world, 40)
    slow = [
        [logistic(slow_logit(world, situation, row, int(item))) for item in items[row]]
        for row in range(40)
    ]
    np.testing.assert_allclose(Choice(world, DAY).attraction(situation, items), slow, atol=1e-5)


def test_every_term_of_the_formula_occurs_in_the_comparison(world: World) -> None:
    situation, items = situations(world, 40)
    gap = world.gap(DAY)[items]
    assert world.promoted(DAY)[items].any() and world.is_new(DAY)[items].any()
    assert (gap > situation.price_cap[:, None]).any()
    assert (items == situation.recent[:, :1]).any() and (situation.recent[:, 0] < 0).any()
    assert (world.brand[items] == situation.last_brand[:, None]).any()
    assert set(situation.surface) == {0, 1, 2}


def test_rows_do_not_depend_on_each_other(world: World) -> None:
    situation, items = situations(world, 60)
    choice, some = Choice(world, DAY), np.array([31, 2, 2])
    np.testing.assert_allclose(
        choice.click_probabilities(situation.rows(some), items[some]),
        choice.click_probabilities(situation, items)[some],
        rtol=1e-5,
    )


def test_prices_are_those_of_the_whole_day_and_the_season_goes_on(world: World) -> None:
    situation, items = situations(world, 40)
    morning, evening = (Choice(world, day).attraction(situation, items) for day in (DAY, DAY + 0.9))
    logit = np.log(evening / (1 - evening)) - np.log(morning / (1 - morning))
    assert 0 < np.abs(logit).max() < 0.01  # a promotion would move some logits by .1 and more


def test_in_a_slate_what_resembles_the_products_above_attracts_less(world: World) -> None:
    situation, slates = situations(world, 40)
    vectors = world.item_vectors
    slow = np.empty((40, 10))
    for row in range(40):
        for k, item in enumerate(slates[row]):
            logit = slow_logit(world, situation, row, int(item))
            above = [float(vectors[item] @ vectors[other]) for other in slates[row, :k]]
            if above:
                mean = sum(above) / len(above)
                logit -= 0.3 * (mean - world.shelf_cosine[situation.shelf[row]])
            slow[row, k] = logistic(logit)
    np.testing.assert_allclose(
        Choice(world, DAY).slate_attraction(situation, slates), slow, atol=1e-5
    )


def test_the_mean_cosine_of_a_shelf_is_that_of_drawn_candidates(world: World) -> None:
    random = np.random.default_rng(0)
    order = world.tiers + random.random((60, 24, 300))
    shelves = order.argsort(2)[:, :, :60]
    vectors = world.item_vectors[shelves]
    total = np.einsum("rlck,rlck->rl", vectors.sum(2, keepdims=True), vectors.sum(2, keepdims=True))
    drawn = (total - 60) / (60 * 59)
    np.testing.assert_allclose(world.shelf_cosine, drawn.mean(0), atol=0.01)
    assert world.shelf_cosine.std() > 0.03


def test_a_candidate_s_share_is_how_often_it_is_drawn(world: World) -> None:
    order = world.tiers[7] + np.random.default_rng(0).random((2_000, 300))
    drawn = np.bincount(order.argsort(1)[:, :60].ravel(), minlength=300) / 2_000
    share = world.candidate_share(7)
    assert share.sum() == pytest.approx(60)
    assert ((share > 0) & (share < 1)).any() and (share == 1).any()
    np.testing.assert_allclose(drawn, share, atol=0.05)


# --- clicks


def patterns(
    world: World, choice: Choice, situation: Situation, slate: NDArray[np.int64]
) -> dict[tuple[bool, ...], float]:
    """Probability of each pattern of clicks on one slate, by going through all that can happen."""
    attraction = choice.slate_attraction(situation, slate[None])[0].astype(float)
    n, config = len(slate), world.config
    if config.click_model == "cascade":
        found: dict[tuple[bool, ...], float] = {}

        def on(seen: tuple[bool, ...], chance: float) -> None:
            """Look at the next slot; the customer goes on with .85 unless a click satisfies."""
            if len(seen) == n:
                found[seen] = found.get(seen, 0.0) + chance
                return
            k = len(seen)
            satisfied = 0.5 * world.quality[slate[k]]
            for click in (True, False):
                here = chance * (attraction[k] if click else 1 - attraction[k])
                further = 0.85 * (1 - satisfied) if click else 0.85
                on((*seen, click), here * further)
                rest = (*seen, click, *[False] * (n - k - 1))
                found[rest] = found.get(rest, 0.0) + here * (1 - further)

        on((), 1.0)
        return found
    eta = 0.9 if world.desktop[situation.users[0]] else 0.6
    probs = []
    for k in range(n):
        prob = (k + 1) ** -eta * attraction[k]
        if config.click_model == "trust" and world.leaves[slate[k]] != situation.shelf[0]:
            prob *= 1 + 0.15 / (k + 1)
        probs.append(min(prob, 1.0))
    return {
        clicked: math.prod(p if c else 1 - p for p, c in zip(probs, clicked, strict=True))
        for clicked in itertools.product((True, False), repeat=n)
    }


def one(world: World, device: str) -> tuple[Situation, NDArray[np.int64]]:
    """An eager session on the device and four products for it, some of another leaf."""
    situation, items = situations(world, 200)
    attraction = Choice(world, DAY).attraction(situation, items[:, :4])
    outside = (world.leaves[items[:, :4]] != situation.shelf[:, None]).sum(1)
    fits = (world.desktop[situation.users] == (device == "desktop")) & (outside >= 2)
    fits &= (outside <= 3) & (attraction.max(1) < 0.9)
    row = np.flatnonzero(fits)[attraction[fits].min(1).argmax()]
    return situation.rows(np.array([row])), items[row, :4]


@pytest.mark.parametrize("device", ["mobile", "desktop"])
@pytest.mark.parametrize("model", ["position", "cascade", "trust"])
def test_click_probabilities_are_those_of_all_that_can_happen(
    world: World, model: str, device: str
) -> None:
    world = in_world(world, click_model=model)
    situation, slate = one(world, device)
    choice = Choice(world, DAY)
    exact = patterns(world, choice, situation, slate)
    assert sum(exact.values()) == pytest.approx(1)
    marginal = [sum(p for clicked, p in exact.items() if clicked[k]) for k in range(4)]
    probs = choice.click_probabilities(situation, slate[None])[0]
    np.testing.assert_allclose(probs, marginal, rtol=1e-6)


@pytest.mark.parametrize("model", ["position", "cascade", "trust"])
def test_clicks_are_drawn_as_often_as_all_that_can_happen_says(world: World, model: str) -> None:
    world = in_world(world, click_model=model)
    situation, slate = one(world, "mobile")
    choice, n = Choice(world, DAY), 200_000
    exact = patterns(world, choice, situation, slate)
    rows = situation.rows(np.zeros(n, dtype=int))
    slates = np.tile(slate, (n, 1))
    clicks, probs = choice.draw_clicks(rows, slates, np.random.default_rng(0))
    np.testing.assert_allclose(probs, choice.click_probabilities(rows, slates))
    code = clicks @ (1 << np.arange(4))
    seen = np.bincount(code, minlength=16)
    expected = np.zeros(16)
    for clicked, chance in exact.items():
        expected[np.array(clicked) @ (1 << np.arange(4))] = n * chance
    assert expected.min() > 5
    assert chisquare(seen, expected).pvalue > 0.001


def test_no_probability_exceeds_one_even_where_trust_raises_it(world: World) -> None:
    world = in_world(world, click_model="trust", taste=10.0)
    situation, slates = situations(world, 200)
    probs = Choice(world, DAY).click_probabilities(situation, slates)
    assert probs.max() == 1.0 and probs.min() >= 0


def test_examination_falls_with_position_and_more_steeply_on_desktops(world: World) -> None:
    users = np.array([np.flatnonzero(world.desktop == desktop)[0] for desktop in (False, True)])
    looked = Choice(world, DAY).examination(users, 12)
    k = np.arange(1, 13)
    np.testing.assert_allclose(looked, [k**-0.6, k**-0.9])


# --- carts and orders


def test_the_cart_follows_liking_price_quality_and_bait(world: World) -> None:
    situation, items = situations(world, 50)
    users, clicked = situation.users, items[:, 0]
    slow = []
    for user, vector, item in zip(users, situation.vectors, clicked, strict=True):
        liking = 1.8 * 8**0.5 * float(vector @ world.item_vectors[item]) - world.level[user]
        liking += world.price_sensitivity[user] * world.gap(DAY)[item]
        quality = 1.5 * (world.quality[item] - 0.7)
        slow.append(-1.0 + 0.5 * liking + quality - (world.bait[item] - 0.3))
    np.testing.assert_allclose(Choice(world, DAY).cart(users, situation.vectors, clicked), slow)


def test_those_who_come_to_buy_do() -> None:
    buy, compare, browse, gift, reorder = checkout(np.arange(5))
    assert reorder > buy > gift > compare > browse
    assert buy == pytest.approx(logistic(-1.25 + 1.2))
    assert cart_intent().argmin() == 2


def test_the_logistic_curve_keeps_precision_and_does_not_overflow() -> None:
    logits = np.array([-1e4, -2.0, 0.0, 2.0, 1e4])
    exact = [0.0, logistic(-2), 0.5, logistic(2), 1.0]
    for kind in (np.float32, np.float64):
        values = sigmoid(logits.astype(kind))
        assert values.dtype == kind
        np.testing.assert_allclose(values, exact, atol=1e-7)


# --- slates


def test_plackett_luce_draws_each_ordered_triple_with_its_probability() -> None:
    weights = np.array([5.0, 1.0, 2.0, 0.5])
    n = 60_000
    columns, propensity = plackett_luce(np.tile(weights, (n, 1)), 3, np.random.default_rng(0))
    triples = list(itertools.permutations(range(4), 3))
    exact = {}
    for triple in triples:
        left, chances = weights.sum(), []
        for column in triple:
            chances.append(weights[column] / left)
            left -= weights[column]
        exact[triple] = tuple(chances)
    logged = [exact[tuple(row)] for row in columns.tolist()]
    np.testing.assert_allclose(propensity, logged, rtol=1e-12)
    seen = np.array([(columns == triple).all(1).sum() for triple in triples])
    expected = n * np.array([math.prod(exact[triple]) for triple in triples])
    assert chisquare(seen, expected).pvalue > 0.001


def test_a_slate_of_all_candidates_ends_with_certainty() -> None:
    weights = np.exp(np.random.default_rng(0).normal(size=(50, 6)))
    columns, propensity = plackett_luce(weights, 6, np.random.default_rng(1))
    assert (np.sort(columns, axis=1) == np.arange(6)).all()
    np.testing.assert_allclose(propensity[:, -1], 1)


def test_a_hopeless_candidate_keeps_a_propensity_above_zero() -> None:
    weights = np.tile([1.0, 1.0, 1e-6], (2_000, 1))
    _, propensity = plackett_luce(weights, 3, np.random.default_rng(0))
    assert (propensity > 0).all() and (propensity <= 1).all()


@pytest.mark.parametrize("n_slots", [1, 3])
def test_inverse_propensities_count_the_choices_there_were(n_slots: int) -> None:
    random = np.random.default_rng(0)
    weights = np.exp(random.normal(size=(50_000, 8)))
    _, propensity = plackett_luce(weights, n_slots, random)
    inverse = 1 / propensity
    error = inverse.std(0) / len(inverse) ** 0.5
    assert (np.abs(inverse.mean(0) - (8 - np.arange(n_slots))) < 3 * error).all()


def test_a_slate_never_repeats_a_candidate() -> None:
    columns, _ = plackett_luce(np.full((3_000, 60), 1.0), 10, np.random.default_rng(3))
    ordered = np.sort(columns, axis=1)
    assert (np.diff(ordered, axis=1) > 0).all()
