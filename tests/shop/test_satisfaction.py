"""Satisfaction: its update against a loop; the check problem against slow solutions and figures."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from reclib.shop.satisfaction import (
    CHECKS,
    LEVELS,
    LIMIT,
    WORLDS,
    Dynamics,
    check_problem,
    decayed,
    planner_gain,
    policy_value,
    return_probability,
    rollouts,
    updated,
    value_iteration,
)

ALWAYS, NEVER = np.eye(6)[[5]], np.eye(6)[[0]]
RANDOM = np.full((1, 6), 1 / 6)


def loop(start: float, clicks: list[tuple[bool, float, float, float]], world: Dynamics) -> float:
    """One customer, click after click, as the specification's text says it."""
    value, clicked = start, False
    for click, quality, bait, similarity in clicks:
        if click:
            clicked = True
            value = world.rho * value + world.eta * (
                (quality - 0.6) - world.omega * (bait - 0.3) - world.phi * similarity
            )
            value = min(max(value, -2.5), 2.5)
    return value if clicked else world.rho * start


@pytest.mark.parametrize("world", WORLDS.values(), ids=list(WORLDS))
def test_the_update_takes_a_step_for_each_click_from_the_top(world: Dynamics) -> None:
    random = np.random.default_rng(0)
    start = random.uniform(-LIMIT, LIMIT, 200)
    clicked = random.random((200, 7)) < 0.3
    quality, bait, similarity = random.random((3, 200, 7))
    expected = [
        loop(s, list(zip(*row, strict=True)), world)
        for s, *row in zip(start, clicked, quality, bait, similarity, strict=True)
    ]
    np.testing.assert_allclose(
        updated(start, clicked, quality, bait, similarity, world), expected, rtol=1e-12
    )


def test_satisfaction_is_clipped_after_each_click_and_not_only_at_the_end() -> None:
    world = Dynamics(eta=20.0)
    ones = np.ones((1, 2), dtype=bool)
    zeros = np.zeros((1, 2))
    quality = np.array([[1.0, 0.6]])  # first click: far above the limit; second: +.15 eta = 3
    after = updated(np.array([0.0]), ones, quality, zeros + 0.3 + 0.3, zeros, world)
    assert after[0] == pytest.approx(max(-LIMIT, 0.9 * LIMIT - 20 * 0.15))


def test_a_slate_without_a_click_keeps_rho_of_satisfaction() -> None:
    none, values = np.zeros((2, 3), dtype=bool), np.ones((2, 3))
    after = updated(np.array([-2.0, 1.0]), none, values, values, values, WORLDS["default"])
    np.testing.assert_allclose(after, [-1.8, 0.9])


def test_half_of_satisfaction_is_left_after_twenty_days() -> None:
    np.testing.assert_allclose(decayed(np.array([2.0, -1.0]), np.array([20.0, 40.0])), [1.0, -0.25])


def test_nobody_returns_for_satisfaction_in_the_control_world() -> None:
    chance = return_probability(np.array([-2.5, 0.0, 2.5]), WORLDS["control"])
    np.testing.assert_allclose(chance, 1 / (1 + np.exp(-0.5)))


def test_the_return_probability_is_a_logistic_curve_of_satisfaction() -> None:
    chance = return_probability(np.array([-1.0, 0.0, 1.0]), WORLDS["longterm"])
    np.testing.assert_allclose(chance, [1 / (1 + np.exp(-x)) for x in (-2.5, 0.5, 3.5)])


@pytest.mark.parametrize("name", ["quality", "bait", "similarity"])
def test_arrays_of_another_shape_than_the_slate_are_refused(name: str) -> None:
    values = {key: np.zeros((2, 3)) for key in ("quality", "bait", "similarity")}
    values[name] = np.zeros((2, 1))
    with pytest.raises(ValueError, match=rf"{name} must have shape \(2, 3\), got \(2, 1\)"):
        updated(np.zeros(2), np.zeros((2, 3), bool), *values.values(), WORLDS["default"])


def test_satisfaction_of_another_length_than_the_slate_is_refused() -> None:
    values = np.zeros((2, 3))
    with pytest.raises(ValueError, match="clicked must be"):
        updated(np.zeros(3), np.zeros((2, 3), bool), values, values, values, WORLDS["default"])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"eta": float("nan")}, "eta must be finite, got nan"),
        ({"return_slope": float("inf")}, "return_slope must be finite, got inf"),
        ({"rho": 1.1}, "rho must be between 0 and 1, got 1.1"),
        ({"rho": -0.1}, "rho must be between 0 and 1, got -0.1"),
    ],
)
def test_dynamics_out_of_range_are_refused(values: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Dynamics(**values)


class Slow:
    """The check problem as its text says it, one state and one bait level at a time."""

    def __init__(self, world: Dynamics, n_states: int) -> None:
        self.world, self.n = world, n_states
        self.grid = [-2.5 + 5 * i / (n_states - 1) for i in range(n_states)]

    def branches(self, i: int, a: int) -> list[tuple[float, float, float]]:
        """Probability, reward and satisfaction after the slate, with a click and without."""
        w, s, bait = self.world, self.grid[i], a / 5
        p = 1 / (1 + math.exp(1.2 - w.bait_weight * bait - w.satisfaction_weight * s))
        worth = (0.9 - 0.6 * bait - 0.6) - w.omega * (bait - 0.3)
        clicked = min(max(w.rho * s + w.eta * worth, -2.5), 2.5)
        return [(p, 1.0, clicked), (1 - p, 0.0, w.rho * s)]

    def spread(self, s: float) -> list[tuple[int, float]]:
        """The grid's states around ``s``, each with its share."""
        for low, high in itertools.pairwise(range(self.n)):
            if self.grid[low] - 1e-12 <= s <= self.grid[high] + 1e-12:
                share = (s - self.grid[low]) / (self.grid[high] - self.grid[low])
                return [(low, 1 - share), (high, share)]
        raise AssertionError(s)

    def row(self, i: int, a: int, discount: float) -> tuple[float, NDArray[np.float64]]:
        """Expected click, and discounted probability of each next state."""
        reward, row = 0.0, np.zeros(self.n)
        for chance, click, s in self.branches(i, a):
            w = self.world
            back = 1 / (1 + math.exp(-w.return_intercept - w.return_slope * s))
            reward += chance * click
            for state, share in self.spread(s):
                row[state] += chance * share * (0.78 + 0.22 * back * discount)
        return reward, row


@pytest.fixture(params=[CHECKS["default"], CHECKS["longterm"], WORLDS["default"]])
def world(request: pytest.FixtureRequest) -> Dynamics:
    dynamics: Dynamics = request.param
    return dynamics


def test_value_iteration_agrees_with_a_slow_loop_over_states_and_levels(world: Dynamics) -> None:
    slow = Slow(world, 9)
    rows = [[slow.row(i, a, 0.8) for a in range(6)] for i in range(9)]
    values = [0.0] * 9
    for _ in range(1_000):
        values = [
            max(r + sum(p * v for p, v in zip(row, values, strict=True)) for r, row in options)
            for options in rows
        ]
    plan = value_iteration(check_problem(world, 9), discount=0.8)
    np.testing.assert_allclose(plan.values, values, rtol=1e-8)
    np.testing.assert_allclose(plan.grid, slow.grid)


def test_policy_value_agrees_with_a_dense_linear_solve(world: Dynamics) -> None:
    policy = np.random.default_rng(0).dirichlet(np.ones(6), 9)
    slow = Slow(world, 9)
    moves, rewards = np.zeros((9, 9)), np.zeros(9)
    for i, a in itertools.product(range(9), range(6)):
        reward, row = slow.row(i, a, 0.95)
        rewards[i] += policy[i, a] * reward
        moves[i] += policy[i, a] * row
    expected = np.linalg.solve(np.eye(9) - moves, rewards)
    np.testing.assert_allclose(policy_value(check_problem(world, 9), policy), expected, rtol=1e-10)


def test_the_values_of_a_plan_are_those_of_its_policy(world: Dynamics) -> None:
    problem = check_problem(world, 101)
    plan = value_iteration(problem)
    np.testing.assert_allclose(policy_value(problem, plan.policy), plan.values, atol=2e-8)


def test_no_policy_beats_the_plan_in_any_state(world: Dynamics) -> None:
    problem, random = check_problem(world, 21), np.random.default_rng(0)
    best = value_iteration(problem).values
    for _ in range(50):
        policy = np.eye(6)[random.integers(6, size=21)]
        assert (policy_value(problem, policy) <= best + 1e-8).all()


def test_one_slate_is_worth_its_click(world: Dynamics) -> None:
    problem = check_problem(world, 5)
    values = policy_value(problem, ALWAYS, n_slates=1)
    np.testing.assert_allclose(values, problem.clicks[5])


def test_slates_without_end_are_the_limit_of_many(world: Dynamics) -> None:
    problem = check_problem(world, 21)
    many = policy_value(problem, RANDOM, n_slates=3_000)
    np.testing.assert_allclose(policy_value(problem, RANDOM), many, rtol=1e-8)


def test_the_rest_of_each_row_leaves_for_good(world: Dynamics) -> None:
    problem = check_problem(world, 51)
    np.testing.assert_allclose(problem.stay.sum(1), 0.78)
    assert problem.back.min() >= 0
    assert problem.back.sum(1).max() < 0.22


@pytest.mark.parametrize(
    ("name", "gain"), [("control", 0.0), ("default", 0.129), ("longterm", 0.705)]
)
def test_planning_gains_what_the_specification_states(name: str, gain: float) -> None:
    assert planner_gain(CHECKS[name]).planner == pytest.approx(gain, abs=0.0005)


def test_planning_gains_108_percent_when_satisfaction_decides_and_most_return() -> None:
    world = replace(CHECKS["longterm"], return_intercept=1.0)
    assert planner_gain(world).planner == pytest.approx(1.08, abs=0.0005)


def test_with_weak_coupling_the_myopic_policy_is_optimal() -> None:
    world = Dynamics(
        bait_weight=1.2, satisfaction_weight=0.5, eta=0.25, omega=0.0, return_slope=1.6
    )
    assert planner_gain(world).planner == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("name", ["default", "longterm"])
def test_twice_as_many_states_move_the_gain_by_less_than_a_thousandth(name: str) -> None:
    coarse, fine = (planner_gain(CHECKS[name], n_states=n).planner for n in (201, 401))
    assert coarse == pytest.approx(fine, abs=1e-3)


@pytest.mark.parametrize("name", ["default", "longterm"])
def test_the_planner_baits_only_where_satisfaction_is_far_down(name: str) -> None:
    plan = value_iteration(check_problem(CHECKS[name]))
    assert (plan.actions[plan.grid <= -1.25] == 5).all()
    assert (plan.actions[plan.grid >= 0] == 0).all()
    assert (np.diff(plan.actions) <= 0).all()


def test_the_planner_always_baits_in_the_control_world() -> None:
    assert (value_iteration(check_problem(CHECKS["control"])).actions == 5).all()


@pytest.mark.parametrize("name", ["default", "longterm"])
def test_at_zero_never_to_bait_gains_as_much_as_planning(name: str) -> None:
    gains = planner_gain(CHECKS[name])
    assert gains.level == 0
    assert gains.constant == pytest.approx(gains.planner, abs=1e-7)


@pytest.mark.parametrize(
    ("name", "start", "planner", "constant"),
    [("default", -0.5, 0.0242, 0.0131), ("longterm", -1.0, 0.0862, 0.0360)],
)
def test_below_zero_planning_gains_more_than_any_constant(
    name: str, start: float, planner: float, constant: float
) -> None:
    gains = planner_gain(CHECKS[name], start=start)
    assert gains[:2] == pytest.approx((planner, constant), abs=1e-4)


@pytest.mark.parametrize(
    ("omega", "name", "gain"), [(0.5, "default", 0.91), (0.5, "longterm", 2.74)]
)
def test_where_bait_itself_spoils_satisfaction_planning_gains_far_more(
    omega: float, name: str, gain: float
) -> None:
    world = replace(CHECKS[name], omega=omega)
    assert planner_gain(world).planner == pytest.approx(gain, abs=0.005)


def standard_error(values: NDArray[np.float64]) -> float:
    return float(values.std(ddof=1) / len(values) ** 0.5)


@pytest.mark.parametrize("name", list(CHECKS))
@pytest.mark.parametrize("policy", ["always", "never", "random", "mixed", "plan"])
def test_simulated_customers_earn_the_exact_value(name: str, policy: str) -> None:
    world, start = CHECKS[name], -1.0  # where the plan is neither constant
    problem = check_problem(world, 201)
    mixed = np.random.default_rng(1).dirichlet(np.ones(6), 1)
    rows = {"always": ALWAYS, "never": NEVER, "random": RANDOM, "mixed": mixed}
    chosen = rows[policy] if policy in rows else value_iteration(problem).policy
    clicks = rollouts(chosen, world, 5_000, np.random.default_rng(0), start=start)
    exact = float(np.interp(start, problem.grid, policy_value(problem, chosen)))
    assert abs(clicks.mean() - exact) < 3 * standard_error(clicks)


@pytest.mark.parametrize(
    ("policy", "clicks", "half"),
    [(ALWAYS, 3.46, 0.11), (NEVER, 4.34, 0.20), (RANDOM, 3.66, 0.13)],
    ids=["always", "never", "random"],
)
def test_the_specifications_sampled_clicks_cover_the_exact_ones(
    policy: NDArray[np.float64], clicks: float, half: float
) -> None:
    values = policy_value(check_problem(CHECKS["default"]), policy, discount=1, n_slates=200)
    assert abs(values[100] - clicks) < half


def test_rollouts_stop_after_the_slates_allowed() -> None:
    sure = Dynamics(bait_weight=1_000.0, return_intercept=1_000.0)
    clicks = rollouts(ALWAYS, sure, 10, np.random.default_rng(0), discount=1, n_slates=7)
    assert (clicks == 7).all()


def test_rollouts_of_the_same_generator_are_the_same() -> None:
    first, second = (
        rollouts(RANDOM, CHECKS["default"], 50, np.random.default_rng(4)) for _ in range(2)
    )
    np.testing.assert_array_equal(first, second)


PROBLEM = check_problem(CHECKS["default"], 5)


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        (np.ones(6), r"policy must be \(S, 6\), got \(6,\)"),
        (np.full((5, 5), 0.2), r"policy must be \(S, 6\), got \(5, 5\)"),
        (np.full((4, 6), 1 / 6), "policy must have 1 or 5 rows, got 4"),
        (np.full((1, 6), 0.2), "policy must have rows of probabilities"),
        (np.array([[1.5, -0.5, 0, 0, 0, 0]]), "policy must have rows of probabilities"),
        (np.full((1, 6), np.nan), "policy must have rows of probabilities"),
    ],
)
def test_policies_that_are_none_are_refused(policy: NDArray[np.float64], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        policy_value(PROBLEM, policy)


def test_values_outside_their_range_are_refused() -> None:
    world, random = CHECKS["default"], np.random.default_rng(0)
    with pytest.raises(ValueError, match="n_states must be at least 2, got 1"):
        check_problem(world, 1)
    with pytest.raises(ValueError, match="discount must be at least 0 and below 1, got 1"):
        value_iteration(PROBLEM, discount=1)
    with pytest.raises(ValueError, match="discount must be between 0 and 1, got 1.5"):
        policy_value(PROBLEM, RANDOM, discount=1.5)
    with pytest.raises(ValueError, match="start must be between -2.5 and 2.5, got 3"):
        planner_gain(world, start=3)
    with pytest.raises(ValueError, match="start must be between -2.5 and 2.5, got nan"):
        rollouts(RANDOM, world, 1, random, start=float("nan"))
    with pytest.raises(ValueError, match="n must be at least 1, got 0"):
        rollouts(RANDOM, world, 0, random)


def test_a_sum_without_end_is_refused() -> None:
    sure = check_problem(Dynamics(return_intercept=1_000.0, return_slope=0.0), 5)
    with pytest.raises(ValueError, match="discount must be below 1 where all return for sure, got"):
        policy_value(sure, RANDOM, discount=1)


def test_gains_count_from_the_policy_that_is_best_for_the_next_click() -> None:
    repelled = replace(CHECKS["default"], bait_weight=-0.8)  # no bait is best now and later
    assert planner_gain(repelled)[:2] == pytest.approx((0, 0), abs=1e-9)


def test_every_level_of_bait_is_a_fifth_apart() -> None:
    np.testing.assert_allclose(LEVELS, [0, 0.2, 0.4, 0.6, 0.8, 1])
