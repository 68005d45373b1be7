"""What rows of several parts share: splits, grids of options, means over users and over seeds."""

import itertools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from reclib.datasets import Dataset
from reclib.foundations.evaluation import Report
from reclib.foundations.splitting import Split, split_last, split_random

__all__ = [
    "CUTOFFS",
    "Options",
    "grid",
    "metrics_of",
    "metrics_over_seeds",
    "split_of",
    "timed",
]

CUTOFFS = (5, 10, 20)

Options = dict[str, Any]


def grid(choices: Mapping[str, Sequence[Any]]) -> Iterator[Options]:
    """Every combination of the choices."""
    for values in itertools.product(*choices.values()):
        yield dict(zip(choices, values, strict=True))


def metrics_of(report: Report) -> dict[str, dict[str, float]]:
    """Mean and 95 % interval over users, of a model in which nothing is random."""
    metrics = {}
    for name in report.values:
        low, high = report.interval(name)
        metrics[name] = {"mean": report[name], "n_seeds": 1, "low": low, "high": high}
    return metrics


def metrics_over_seeds(reports: Sequence[Report]) -> dict[str, dict[str, float]]:
    """Mean and standard deviation over seeds, and the interval over users of the first seed."""
    metrics = {}
    for name in reports[0].values:
        means = [report[name] for report in reports]
        low, high = reports[0].interval(name)
        spread = {"mean": float(np.mean(means)), "std": float(np.std(means, ddof=1))}
        metrics[name] = {**spread, "n_seeds": len(reports), "low": low, "high": high}
    return metrics


def timed(call: Callable[[], Any]) -> tuple[Any, float]:
    """The result of a call, and its seconds."""
    start = time.perf_counter()
    return call(), time.perf_counter() - start


def split_of(data: Dataset) -> tuple[Split, str]:
    """The split of the data set, with validation, and its name."""
    if data.split is None:
        return split_last(data.interactions), "split_last"
    held = split_random(data.split.train, 0.1, seed=0)
    return Split(held.train, held.test, data.split.test, "published"), "published"
