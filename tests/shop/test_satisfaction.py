"""Satisfaction: its update against a plain loop."""

from __future__ import annotations

import numpy as np
import pytest

from reclib.shop.satisfaction import LIMIT, WORLDS, Dynamics, decayed, return_probability, updated


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
