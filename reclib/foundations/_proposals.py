"""What may be chosen in a search, and the three ways to propose it.

    grid:    every combination, in order
    random:  each option from its own range, independently of all that was seen
    TPE:     argmax of l(x) / g(x), the densities of the options of good and of other trials

Source: J. Bergstra and Y. Bengio, JMLR 2012 (random); J. Bergstra et al., NIPS 2011 (TPE, by
Optuna).
Differences from the paper: a trial that diverged ranks below all others (Optuna: a failed trial is
forgotten).
Chapter: foundations/tuning
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

__all__ = ["METHODS", "Choice", "Float", "Integer", "Options", "Space", "grid"]

Options = dict[str, Any]


@dataclass(frozen=True, init=False)
class Choice:
    """One of the given values, in no order."""

    values: tuple[Any, ...]

    def __init__(self, values: Sequence[Any]) -> None:
        plain = tuple(v.item() if isinstance(v, np.generic) else v for v in values)
        if not plain:
            raise ValueError("values must hold at least one value, got none")
        object.__setattr__(self, "values", plain)


def _check_range(low: float, high: float, log: bool) -> None:
    if not -math.inf < low < high < math.inf:
        raise ValueError(f"low must be below high, both finite, got {low} and {high}")
    if log and low <= 0:
        raise ValueError(f"low must be above 0 where log is set, got {low}")


@dataclass(frozen=True)
class Float:
    """A number from ``low`` to ``high``; with ``log`` each order of magnitude is as likely."""

    low: float
    high: float
    log: bool = False

    def __post_init__(self) -> None:
        _check_range(self.low, self.high, self.log)


@dataclass(frozen=True)
class Integer:
    """A whole number from ``low`` to ``high``, both included; ``log`` as for ``Float``."""

    low: int
    high: int
    log: bool = False

    def __post_init__(self) -> None:
        _check_range(self.low, self.high, self.log)


Space = Mapping[str, Choice | Float | Integer]


def grid(space: Space) -> list[Options]:
    """All combinations; the last option changes fastest. A ``Float`` has no grid: give a Choice."""
    values = []
    for name, one in space.items():
        if isinstance(one, Float):
            raise ValueError(f"space must hold no Float for a grid, got {one} for {name!r}")
        values.append(range(one.low, one.high + 1) if isinstance(one, Integer) else one.values)
    return [dict(zip(space, row, strict=True)) for row in product(*values)]


# --- who proposes: generators that yield options and are sent the value, None if it diverged

Proposals = Generator[Options, float | None, None]


def _grid(space: Space, seed: int) -> Proposals:
    for options in grid(space):
        _ = yield options


def _random(space: Space, seed: int) -> Proposals:
    generator = np.random.default_rng(seed)
    while True:
        yield {name: _draw(one, generator) for name, one in space.items()}


def _draw(one: Choice | Float | Integer, generator: np.random.Generator) -> Any:
    if isinstance(one, Choice):
        return one.values[generator.integers(len(one.values))]
    if isinstance(one, Integer):
        low, high = one.low - 0.5, one.high + 0.5  # each whole number owns its surroundings
        return min(max(round(_uniform(low, high, one.log, generator)), one.low), one.high)
    value = _uniform(one.low, one.high, one.log, generator)
    return min(max(value, one.low), one.high)  # exp(log(x)) may miss x by a rounding


def _uniform(low: float, high: float, log: bool, generator: np.random.Generator) -> float:
    if log:
        return math.exp(generator.uniform(math.log(low), math.log(high)))
    return float(generator.uniform(low, high))


def _tpe(space: Space, seed: int) -> Proposals:
    try:
        import optuna
    except ImportError as error:
        raise ImportError("method 'tpe' needs optuna: pip install -e '.[tune]'") from error
    distributions = {name: _distribution(one) for name, one in space.items()}
    said = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))
    optuna.logging.set_verbosity(said)
    while True:
        trial = study.ask(distributions)
        value = yield {
            name: one.values[trial.params[name]] if isinstance(one, Choice) else trial.params[name]
            for name, one in space.items()
        }
        if value is None:  # the sampler puts what was pruned below all that has a value
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        else:
            study.tell(trial, value)


def _distribution(one: Choice | Float | Integer) -> Any:
    """The same range as Optuna names it."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(one, Choice):
        return CategoricalDistribution(range(len(one.values)))  # so that any value is allowed
    if isinstance(one, Integer):
        return IntDistribution(one.low, one.high, log=one.log)
    return FloatDistribution(one.low, one.high, log=one.log)


METHODS: dict[str, Callable[[Space, int], Proposals]] = {
    "tpe": _tpe,
    "random": _random,
    "grid": _grid,
}
