"""The customers: their public profile, and the taste behind it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from reclib.shop import _words as words
from reclib.shop._catalogue import (
    Catalogue,
    Floats,
    Geometry,
    directions,
    geometry_of,
    sample_rows,
    unit,
)
from reclib.shop._config import DAY, START, SimConfig

SEGMENTS = 8
_RHO, _ACTIVITY_CORRELATION = 0.6, 0.25  # of a customer's taste and activity in both domains
_SHOCKED = 2  # segments whose taste for a style jumps
_SHOCK = 0.8


def customers(config: SimConfig, geometry: Geometry, catalogue: Catalogue) -> dict[str, Any]:
    """Columns of `World` about customers.

    Taste in the domain ``sport`` is .6 of the taste at home and otherwise new; everything else
    about a person is the same in both.
    """
    home = geometry if config.domain == "home" else geometry_of(config.in_domain("home"))
    random, n_users, n = config.stream("users"), config.n_users, config.n_factors
    favourites = random.random((SEGMENTS, len(home.shelf))).argsort(1)[:, :3]
    segments = home.unit_vectors[favourites].sum(1)
    segments = unit(segments + 0.5 * directions(random, SEGMENTS, n))
    shares = random.dirichlet(np.full(SEGMENTS, 0.7), n_users)
    segment = shares.argmax(1)
    profile, effect = _profile(config, home, segment, random)
    own = random.normal(size=(n_users, n)) / n**0.5
    vectors = 0.7 * unit(np.einsum("us,sk->uk", shares, segments)) + 0.2 * effect
    vectors = unit(vectors + 0.7 * own)
    activity = random.normal(size=n_users)
    if config.domain != "home":
        random = config.own_stream("users")
        new = directions(random, n_users, n)
        vectors = unit(_RHO * vectors + (1 - _RHO**2) ** 0.5 * new)
        segments = unit(_RHO * segments + (1 - _RHO**2) ** 0.5 * directions(random, SEGMENTS, n))
        rho = _ACTIVITY_CORRELATION
        activity = rho * activity + (1 - rho**2) ** 0.5 * random.normal(size=n_users)

    traits = config.stream("traits")
    shock = np.zeros((n_users, n))
    trend = traits.integers(0, len(words.STYLES))
    shock[segment < _SHOCKED] = _SHOCK * home.values["style"][trend]
    return {
        "users": profile.drop(columns="z_income"),
        "segment": segment,
        "segment_vectors": segments,
        "start_vectors": vectors,
        "drift_vectors": config.drift * directions(traits, n_users, n),
        "shock_vectors": shock,
        "level": _level(config, geometry, catalogue, vectors),
        "price_sensitivity": np.minimum(-0.6 + 0.5 * profile["z_income"].to_numpy(), 0.0),
        "activity": config.visit_rate * np.exp(0.8 * activity - 0.5 * 0.8**2),
        "loyalty": traits.exponential(0.3, n_users),
        "novelty": traits.normal(0, 0.3, n_users),
        "patience": np.exp(traits.normal(0, 0.2, n_users)),
        "desktop": (profile["device"] == "desktop").to_numpy(),
    }


def _profile(
    config: SimConfig, home: Geometry, segment: np.ndarray, random: np.random.Generator
) -> tuple[pd.DataFrame, Floats]:
    """The public table with the income in standard deviations, and its effect on taste (U, K)."""
    n_users = config.n_users
    ages = random.dirichlet(np.full(len(words.AGE_BANDS), 1.5), SEGMENTS)
    age = sample_rows(ages[segment], random)
    gender = random.choice(3, n_users, p=(0.49, 0.48, 0.03))
    effect = home.values["audience"][np.array([1, 0, 2])[gender]]
    effect = effect + home.values["style"][age % len(words.STYLES)]
    income = random.normal(size=n_users)
    missing = random.random(n_users)
    hidden = (missing < 0.2) | ((missing < 0.45) & (income > 0.84))  # 5 % are rich and silent
    signed_up = START - DAY * random.exponential(400, n_users).astype(np.int64)
    table = pd.DataFrame(
        {
            "user": np.arange(n_users),
            "age_band": np.array(words.AGE_BANDS)[age],
            "gender": np.array(words.GENDERS)[gender],
            "region": np.array(words.REGIONS)[random.integers(0, 8, n_users)],
            "device": np.array(words.DEVICES)[random.choice(3, n_users, p=(0.6, 0.32, 0.08))],
            "household": np.array(words.HOUSEHOLDS)[random.integers(0, 4, n_users)],
            "income": np.where(hidden, np.nan, np.round(np.exp(10.3 + 0.45 * income), -2)),
            "signup_day": (signed_up - START) // DAY,
            "consent_personalization": random.random(n_users) < 0.9,
            "consent_sharing": random.random(n_users) < 0.35,
            "z_income": income,
        }
    )
    return table, effect


def _level(config: SimConfig, geometry: Geometry, catalogue: Catalogue, vectors: Floats) -> Floats:
    """(U,) mean liking of the products on the shelves a customer asks for."""
    scale = config.n_factors**0.5
    affinity = config.focus * scale * np.einsum("uk,lk->ul", vectors, geometry.unit_vectors)
    weights = np.exp(affinity - affinity.max(1, keepdims=True))
    weights /= weights.sum(1, keepdims=True)
    liking = np.einsum("uk,lk->ul", vectors, catalogue.leaf_means)
    return config.taste * scale * (weights * liking).sum(1)
