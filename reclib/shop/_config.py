"""The settings of one simulated shop, their hash, and its random streams."""

from __future__ import annotations

import hashlib
import json
import math
import zlib
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import numpy as np

from reclib.shop._dynamics import WORLDS
from reclib.shop._words import DOMAINS

VERSION = 2  # part of the hash: raise it when the same settings give another shop
START = 1_704_067_200  # Monday 1 January 2024, 00:00 UTC
DAY = 86_400
BLOCK = 1_024  # users simulated together
CLICK_MODELS = ("position", "cascade", "trust")

_PROFILES: dict[str, dict[str, Any]] = {
    "tiny": {
        "n_users": 400,
        "n_days": 42,
        "n_factors": 8,
        "n_categories": 2,
        "n_leaves": 2,
        "visit_rate": 0.6,
    },
    "small": {"n_users": 5_000, "n_days": 60, "n_factors": 16, "visit_rate": 0.23},
    "full": {"n_users": 200_000, "n_days": 120, "n_factors": 32, "visit_rate": 0.125},
}
_N_ITEMS = {
    "home": {"tiny": 300, "small": 2_000, "full": 50_000},
    "sport": {"tiny": 100, "small": 800, "full": 20_000},
}


@dataclass(frozen=True)
class SimConfig:
    """Settings of a simulated shop; the same settings give the same bytes.

    Attributes:
        profile: the profile the sizes come from: ``tiny``, ``small`` or ``full``.
        seed: integer >= 0.
        n_items, n_users, n_days: sizes of the shop and length of its log.
        n_factors: length of the latent vectors.
        domain: ``home`` (home and style) or ``sport`` (sport and play): other products and another
            log, the same customers.
        world: how satisfaction acts: ``control``, ``default`` or ``longterm``.
        click_model: ``position``, ``cascade``, or ``trust`` (position with trust bias).
        n_categories: categories used of each department, 1 to 4.
        n_leaves: most leaves used of each category, 1 to 3.
        visit_rate: mean sessions of a user and day.
        n_slots: products on one slate.
        n_candidates: products a slate is drawn from.
        temperature: of the Plackett-Luce draws of the shop's own policy.
        uniform_share: share of requests that are answered by a uniform draw.
        eta: position bias; position k is examined with probability k ** -eta.
        eta_desktop: the same on desktops.
        taste: how strongly taste moves a click, in logits per standard deviation of the cosine
            of two random vectors, 1 / sqrt(n_factors).
        goal: the same for what a session looks for.
        focus: how strongly taste moves the choice of a leaf, in the same unit.
        complement: probability that a session looks for what goes with the last purchase.
        drift: length of the change of a unit taste vector over the whole log.
        cold_share: share of products that arrive in the second half of the log.
    """

    profile: str
    seed: int
    n_items: int
    n_users: int
    n_days: int
    n_factors: int
    domain: str = "home"
    world: str = "default"
    click_model: str = "position"
    n_categories: int = 4
    n_leaves: int = 3
    visit_rate: float = 0.23
    n_slots: int = 10
    n_candidates: int = 60
    temperature: float = 1.0
    uniform_share: float = 0.1
    eta: float = 0.6
    eta_desktop: float = 0.9
    taste: float = 1.8
    goal: float = 0.6
    focus: float = 3.0
    complement: float = 0.25
    drift: float = 0.3
    cold_share: float = 0.15

    @classmethod
    def of(
        cls,
        profile: str = "small",
        seed: int = 0,
        *,
        domain: str = "home",
        world: str = "default",
    ) -> SimConfig:
        """The settings of a named profile.

        Raises:
            ValueError: if the profile, domain or world is unknown or the seed is not an
                integer >= 0.
        """
        if profile not in _PROFILES:
            raise ValueError(f"profile must be one of {sorted(_PROFILES)}, got {profile!r}")
        if domain not in _N_ITEMS:
            raise ValueError(f"domain must be one of {sorted(_N_ITEMS)}, got {domain!r}")
        return cls(
            profile=profile,
            seed=seed,
            n_items=_N_ITEMS[domain][profile],
            domain=domain,
            world=world,
            **_PROFILES[profile],
        )

    def __post_init__(self) -> None:
        """Check every setting once, here."""
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name in _CHOICES:
                if value not in _CHOICES[field.name]:
                    names = sorted(_CHOICES[field.name])
                    raise ValueError(f"{field.name} must be one of {names}, got {value!r}")
                continue
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise ValueError(f"{field.name} must be a number, got {value!r}")
            if field.type == "int" and not isinstance(value, int):
                raise ValueError(f"{field.name} must be an integer, got {value!r}")
            low, high = _BOUNDS[field.name]
            if not low <= value <= high:  # NaN fails too
                rule = f"at least {low}" if math.isinf(high) else f"between {low} and {high}"
                raise ValueError(f"{field.name} must be {rule}, got {value}")
        if not self.n_slots <= self.n_candidates <= self.n_items * (1 - self.cold_share) * 0.9:
            raise ValueError(
                "n_candidates must be between n_slots and nine tenths of the products there on "
                f"day 0, got {self.n_candidates}"
            )

    def to_json(self) -> str:
        """All settings as JSON, keys sorted."""
        return json.dumps(asdict(self), sort_keys=True)

    @property
    def hash(self) -> str:
        """Twelve hexadecimal digits that name this shop: settings and generator version."""
        text = f"{VERSION} {self.to_json()}"
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def stream(self, name: str, *key: int) -> np.random.Generator:
        """The random stream ``name``, split further by ``key`` (a block and a day).

        A stream depends on the seed, its name and its key only: drawing more from one, or adding
        one, changes no other. Both domains share the streams that carry no domain in their name.
        """
        sequence = np.random.SeedSequence(self.seed, spawn_key=(zlib.crc32(name.encode()), *key))
        return np.random.Generator(np.random.PCG64(sequence))

    def own_stream(self, name: str, *key: int) -> np.random.Generator:
        """The stream ``name`` of this domain alone."""
        return self.stream(f"{self.domain}/{name}", *key)

    def in_domain(self, domain: str) -> SimConfig:
        """The same shop's other domain: same customers, seed and days."""
        return replace(self, domain=domain, n_items=_N_ITEMS[domain][self.profile])


_CHOICES = {
    "profile": tuple(_PROFILES),
    "domain": DOMAINS,
    "world": tuple(WORLDS),
    "click_model": CLICK_MODELS,
}
_BOUNDS: dict[str, tuple[float, float]] = {
    "seed": (0, math.inf),
    "n_items": (70, 1_000_000),
    "n_users": (1, 10_000_000),
    "n_days": (2, 3_650),
    "n_factors": (2, 512),
    "n_categories": (1, 4),
    "n_leaves": (1, 3),
    "visit_rate": (0.001, 2),
    "n_slots": (1, 50),
    "n_candidates": (2, 500),
    "temperature": (0.05, 20),
    "uniform_share": (0, 1),
    "eta": (0, 3),
    "eta_desktop": (0, 3),
    "taste": (0, 10),
    "goal": (0, 10),
    "focus": (0, 10),
    "complement": (0, 0.9),
    "drift": (0, 2),
    "cold_share": (0, 0.5),
}
