"""How satisfaction moves in the shop's three worlds: one rule for logs, environments, oracle."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

Floats = NDArray[np.float64]

LIMIT = 2.5  # satisfaction stays within [-LIMIT, LIMIT]
_QUALITY, _BAIT = 0.6, 0.3  # a click on a product with these changes nothing
_HALF_LIFE = 20.0  # days


@dataclass(frozen=True)
class Dynamics:
    """How satisfaction moves clicks, changes by them, and brings customers back.

    Attributes:
        bait_weight: logits of a click per unit of bait.
        satisfaction_weight: logits of a click per unit of satisfaction.
        eta: how strongly a click moves satisfaction.
        rho: share of satisfaction kept at a click, or on a slate without one.
        omega: weight of bait against quality.
        phi: weight of similarity with the last products clicked.
        return_intercept: logit of coming back at satisfaction 0.
        return_slope: logits of coming back per unit of satisfaction.
    """

    bait_weight: float = 0.8
    satisfaction_weight: float = 0.8
    eta: float = 0.5
    rho: float = 0.9
    omega: float = 0.5
    phi: float = 0.1
    return_intercept: float = 0.5
    return_slope: float = 1.5

    def __post_init__(self) -> None:
        """Check every value once, here."""
        for field in fields(self):
            value = getattr(self, field.name)
            if not math.isfinite(value):
                raise ValueError(f"{field.name} must be finite, got {value}")
        if not 0 <= self.rho <= 1:
            raise ValueError(f"rho must be between 0 and 1, got {self.rho}")


WORLDS = {
    "control": Dynamics(satisfaction_weight=0.0, return_slope=0.0),
    "default": Dynamics(),
    "longterm": Dynamics(return_slope=3.0),
}


def updated(
    satisfaction: Floats,
    clicked: NDArray[np.bool_],
    quality: Floats,
    bait: Floats,
    similarity: Floats,
    dynamics: Dynamics,
) -> Floats:
    """Satisfaction after one slate: one step for each click, from the top of the slate.

    Args:
        satisfaction: (B,) before the slate.
        clicked: (B, K) which slots were clicked.
        quality: (B, K) quality of the products shown, in [0, 1].
        bait: (B, K) bait of the products shown, in [0, 1].
        similarity: (B, K) mean cosine with the last products clicked; 0 where there is none.
        dynamics: the world.

    Returns:
        (B,) in [-LIMIT, LIMIT]; ``rho`` times the old value without a click.

    Raises:
        ValueError: if the shapes do not fit together.
    """
    if satisfaction.ndim != 1 or clicked.ndim != 2 or len(clicked) != len(satisfaction):
        raise ValueError(
            "clicked must be (B, K) for satisfaction (B,), "
            f"got {clicked.shape} and {satisfaction.shape}"
        )
    for name, values in (("quality", quality), ("bait", bait), ("similarity", similarity)):
        if values.shape != clicked.shape:
            raise ValueError(f"{name} must have shape {clicked.shape}, got {values.shape}")
    worth = (quality - _QUALITY) - dynamics.omega * (bait - _BAIT) - dynamics.phi * similarity
    after = satisfaction
    for slot in range(clicked.shape[1]):  # the clip after each click rules out a closed form
        step = np.clip(dynamics.rho * after + dynamics.eta * worth[:, slot], -LIMIT, LIMIT)
        after = np.where(clicked[:, slot], step, after)
    return np.where(clicked.any(1), after, np.clip(dynamics.rho * satisfaction, -LIMIT, LIMIT))


def decayed(satisfaction: Floats, days: Floats | float) -> Floats:
    """Satisfaction after ``days`` >= 0 without a visit; half is left after 20 days."""
    return np.asarray(satisfaction * 0.5 ** (np.asarray(days) / _HALF_LIFE))


def return_probability(satisfaction: Floats, dynamics: Dynamics) -> Floats:
    """Probability that a customer who leaves with ``satisfaction`` comes back at all."""
    return np.asarray(expit(dynamics.return_intercept + dynamics.return_slope * satisfaction))
