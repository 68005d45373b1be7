"""Rows about the simulated shop: how real it looks, what can be learned in it, how fast it is."""

import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import t as t_distribution

from benchmarks.measure import growth_mib
from reclib.collaborative import EASE, ItemKNN, Popularity
from reclib.foundations.interactions import Interactions
from reclib.shop import Shop, SimConfig, load, simulate
from reclib.shop._config import BLOCK, DAY, START
from reclib.shop._shelves import first_memory, open_day
from reclib.shop._visits import Visits, run_block
from reclib.shop._world import build_world
from reclib.shop.media import cached_pictures
from reclib.shop.realism import describe, fitted_eta, ranking_check
from reclib.shop.rollout import threshold_gain
from reclib.shop.satisfaction import CHECKS, WORLDS, planner_gain

__all__ = ["ROWS"]

SEEDS = (0, 1, 2, 3)
LAST_DAYS = 7
Scores = Callable[[NDArray[np.int64], NDArray[np.int64]], NDArray[Any]]


def _value(number: float, **more: float) -> dict[str, float]:
    return {"mean": float(number), "n_seeds": 1, **{k: float(v) for k, v in more.items()}}


def _row(split: str, protocol: str, metrics: dict[str, Any], **more: Any) -> dict[str, Any]:
    empty: dict[str, Any] = {"options": {}, "seconds": {}, "memory_mib": {}, "note": ""}
    return {
        "dataset": "shop",
        "split": split,
        "protocol": protocol,
        "model": "reclib.shop",
        "metrics": metrics,
        **empty,
        **more,
    }


def realism() -> dict[str, Any]:
    """Every statistic of the realism table at `small`, for four seeds."""
    metrics, wrong = {}, []  # a statistic without a range is judged neither way
    for seed in SEEDS:
        rows: Any = describe(load("small", seed)).itertuples()
        for row in rows:
            name = row.statistic.replace(", ", " ")
            if np.isfinite(row.value):
                metrics[f"value, seed {seed}, {row.test} {name}"] = _value(row.value)
            judged = np.isfinite(row.low) or np.isfinite(row.high)
            if judged and (pd.isna(row.ok) or not row.ok):
                wrong.append(f"seed {seed} {name}")
    outside = "all in the accepted range" if not wrong else f"outside: {'; '.join(wrong)}"
    return _row("realism", "statistics of the log at small", metrics, note=outside)


def learned(shop: Shop) -> dict[str, Scores]:
    """Models of the clicks before the last days; worst first."""
    clicks = shop.events("clicks")
    assert clicks.timestamps is not None
    before = clicks.timestamps < START + (shop.config.n_days - LAST_DAYS) * DAY
    train = Interactions(
        clicks.users[before],
        clicks.items[before],
        timestamps=clicks.timestamps[before],
        n_users=clicks.n_users,
        n_items=clicks.n_items,
    )
    once = train.deduplicated()
    return {
        "popularity": Popularity().fit(train).score,
        "item neighbours": ItemKNN(n_neighbors=300, shrinkage=10).fit(once).score,
        "EASE": EASE(regularization=1000.0).fit(once).score,
    }


def ranking() -> dict[str, Any]:
    """Test 15: what popularity, neighbours and EASE reach between chance and the truth."""
    metrics = {}
    for seed in SEEDS:
        shop = load("small", seed)
        rows: Any = ranking_check(shop, learned(shop), last_days=LAST_DAYS).itertuples()
        for row in rows:
            name = f"normalised nDCG@10, seed {seed}, {row.model}"
            metrics[name] = _value(row.normalized, low=row.low, high=row.high)
            if np.isfinite(row.ahead_low):
                name = f"ahead of the one before, seed {seed}, {row.model}"
                middle = (row.ahead_low + row.ahead_high) / 2
                metrics[name] = _value(middle, low=row.ahead_low, high=row.ahead_high)
    protocol = (
        "60 candidates of requests that the uniform policy answered in the last 7 days; half of "
        "1,000 redrawn clicks build the ideal order, half judge; 0 is chance, 1 the true order"
    )
    return _row("ranking", protocol, metrics, note="options fixed: the row is about the order")


def worlds() -> dict[str, Any]:
    """Test 9: what planning gains over the myopic choice in the check problem."""
    metrics = {}
    for start in (0.0, -1.0):
        for world, dynamics in CHECKS.items():
            gains = planner_gain(dynamics, start=start)
            metrics[f"gain at S = {start:g}, {world}, planner"] = _value(gains.planner)
            metrics[f"gain at S = {start:g}, {world}, best constant bait"] = _value(gains.constant)
    protocol = "exact value iteration; one decision is the bait of one slate"
    return _row("satisfaction", protocol, metrics)


def thresholds() -> dict[str, Any]:
    """Test 9 in the whole shop: the best bait threshold in true satisfaction against myopic."""
    seeds = range(6)
    gains = {
        world: np.array([_threshold(seed, world) for seed in seeds]) for world in WORLDS
    }  # (seeds, 3): best threshold, never bait, visits under never bait
    metrics = {}
    for world, values in gains.items():
        for column, name in enumerate(("best threshold", "never bait", "never bait visits")):
            metrics[f"gain, {world}, {name}"] = _over_seeds(values[:, column])
    for less, more in (("control", "default"), ("default", "longterm")):
        difference = gains[more][:, 0] - gains[less][:, 0]
        metrics[f"gain, {more} less {less}, best threshold"] = _over_seeds(difference)
    protocol = (
        "1,000 customers, 300 products, 120 days; clicks over those of the policy that ranks by the "  # noqa: E501
        "true click probability; the threshold is chosen on the other half of the customers"
    )
    note = "intervals over six seeds, Student's t; paired by seed"
    return _row("bait thresholds", protocol, metrics, note=note)


def _threshold(seed: int, world: str) -> tuple[float, float, float]:
    config = replace(SimConfig.of("tiny", seed, world=world), n_users=1_000, n_days=120)
    found = threshold_gain(config, thresholds=(-np.inf, -1.0, -0.5, 0.0))
    never = -np.inf
    return found.best.value, found.gains[never].value, found.visits[never].value


def _over_seeds(values: NDArray[np.float64]) -> dict[str, float]:
    n, std = len(values), float(values.std(ddof=1))
    half = float(t_distribution.ppf(0.975, n - 1)) * std / n**0.5
    mean = float(values.mean())
    return {"mean": mean, "std": std, "n_seeds": n, "low": mean - half, "high": mean + half}


def estimators() -> dict[str, Any]:
    """Position bias from slates in random order only: a randomised swap."""
    config = replace(SimConfig.of("small", 0), uniform_share=1.0, n_days=20)
    shop = simulate(config)
    shown = shop.impressions
    desktop = (shop.users["device"] == "desktop").to_numpy()[shown["user"]]
    metrics = {}
    for name, rows, truth in (
        ("mobile", ~desktop, config.eta),
        ("desktop", desktop, config.eta_desktop),
    ):
        part = shown[rows]
        fit = fitted_eta(part["request"], part["position"], part["click"])
        low, high = fit.value - 1.96 * fit.se, fit.value + 1.96 * fit.se
        metrics[f"eta, fitted, {name}"] = _value(fit.value, low=low, high=high)
        metrics[f"eta, true, {name}"] = _value(truth)
    return _row("position bias", "every slate in random order, 20 days of small", metrics)


def _seconds(call: Callable[[], Any], repeats: int) -> float:
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return median(times)


def _opened(config: SimConfig, folder: Path) -> None:
    shop = simulate(config, folder)
    assert len(shop.purchases) and len(shop.products)


def _core(n_days: int = 8) -> dict[str, float]:
    """Impressions a second on blocks whose customers nearly all come, in this process."""
    config = replace(SimConfig.of("small", 0), visit_rate=2.0)
    world = build_world(config)
    memory = first_memory(world)
    rows = {
        name.removeprefix("customer/"): values[:BLOCK]
        for name, values in memory.items()
        if name.startswith("customer/")
    }
    n_shown, core, whole = 0, 0.0, 0.0
    for day in range(n_days + 1):
        opened = open_day(world, memory, day)
        start = time.perf_counter()
        Visits(world, opened, rows, 0, None).run()
        middle = time.perf_counter()
        tables, _, _ = run_block(world, opened, rows, 0)
        end = time.perf_counter()
        if day:  # the first day warms up
            core, whole = core + middle - start, whole + end - middle
            n_shown += len(tables["impressions"]["item"])
    return {"sessions alone": n_shown / core, "with tables and query texts": n_shown / whole}


def speed() -> dict[str, Any]:
    """How long the shop takes: made with 1 and 2 processes, opened, drawn."""
    tiny, small = SimConfig.of("tiny", 0), SimConfig.of("small", 0)
    base = Path(tempfile.mkdtemp())
    try:
        seconds = {"tiny": _seconds(partial(simulate, tiny), 3)}
        start = time.perf_counter()
        shop, growth = growth_mib(partial(simulate, small, base / "one"))
        seconds["small, 1 process"] = time.perf_counter() - start
        start = time.perf_counter()
        simulate(small, base / "two", workers=2)
        seconds["small, 2 processes"] = time.perf_counter() - start
        seconds["open small"] = _seconds(partial(_opened, small, base / "one"), 3)
        start = time.perf_counter()
        cached_pictures(shop.media, base / "pictures")
        seconds["2,000 pictures"] = time.perf_counter() - start
        size = sum(file.stat().st_size for file in (base / "one").iterdir()) / 2**20
        n_shown = len(shop.impressions)
    finally:
        shutil.rmtree(base)
    rates = {
        **_core(),
        "small 1 process": n_shown / seconds["small, 1 process"],
        "small 2 processes": n_shown / seconds["small, 2 processes"],
    }
    metrics = {f"value, million a second, {k}": _value(v / 1e6) for k, v in rates.items()}
    metrics["value, MiB, small on disk"] = _value(size)
    return _row(
        "speed",
        "tables written and verified; sessions alone: the vectorised core on full blocks of 1,024 "
        "customers, without writing down, in one process",
        metrics,
        seconds=seconds,
        memory_mib={"small": growth},
    )


def full() -> dict[str, Any]:
    """Six days of `full`: memory, and what the first and the last day cost."""
    config = replace(SimConfig.of("full", 0), n_days=6)
    base, marks = Path(tempfile.mkdtemp()), [time.perf_counter()]
    try:
        shop, growth = growth_mib(
            partial(
                simulate,
                config,
                base / "full",
                workers=2,
                progress=lambda day, n_days: marks.append(time.perf_counter()),
            )
        )
        n_shown = len(shop.truth.probability)
    finally:
        shutil.rmtree(base)
    days = np.diff(marks[1:])
    metrics = {f"seconds, a day, day {day + 1}": _value(each) for day, each in enumerate(days)}
    return _row(
        "six days of full",
        f"{config.n_users:,} customers, {config.n_items:,} products, {n_shown:,} impressions",
        metrics,
        seconds={"six days": float(days.sum()), "with world and files": marks[-1] - marks[0]},
        memory_mib={"this process": growth},
    )


ROWS = {
    "shop-realism": realism,
    "shop-ranking": ranking,
    "shop-satisfaction": worlds,
    "shop-thresholds": thresholds,
    "shop-position-bias": estimators,
    "shop-speed": speed,
    "shop-full": full,
}
