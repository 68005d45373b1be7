"""Tuning: judge a model on several folds, and search its options without looking at the test.

    cross-validation:   mean over folds f of  judge(fit(all but f), f)
    search:             best options = argmax over trials t of  judge(make(options_t))

The best of many noisy values is too good to be true, however the trials were chosen: what a
search found is reported on data that the search has not seen.

Source: random search, J. Bergstra and Y. Bengio, JMLR 2012; TPE, J. Bergstra et al., Algorithms for
Hyper-Parameter Optimization, NIPS 2011, as in Optuna, T. Akiba et al., KDD 2019.
Differences from the paper:
1. A trial that diverged ranks below all others (Optuna: a failed trial is forgotten).
2. A search that was cut off asks its sampler again for what was already tried, so that it ends as
   an uninterrupted one does (Optuna: the sampler starts from another random state).
Chapter: foundations/tuning
"""

from __future__ import annotations

import inspect
import json
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from reclib.foundations._proposals import (
    METHODS,
    Choice,
    Float,
    Integer,
    Options,
    Space,
    grid,
)
from reclib.foundations.evaluation import cases_from_split, evaluate
from reclib.foundations.interactions import Interactions
from reclib.foundations.splitting import Split
from reclib.foundations.training import Diverged

__all__ = [
    "Choice",
    "Float",
    "Integer",
    "Search",
    "cross_validate",
    "folds",
    "grid",
    "on_validation",
    "ranking_metrics",
    "rating_errors",
    "search",
]

Judge = Callable[[Any], float]
FoldJudge = Callable[[Any, Interactions, Interactions], Mapping[str, float]]
_FORMAT = 1
_COLUMNS = ("trial", "value", "seconds", "error")  # of the table, beside the options


# --- cross-validation


def folds(
    interactions: Interactions, n_folds: int = 5, *, seed: int = 0
) -> Iterator[tuple[Interactions, Interactions]]:
    """Train and test, ``n_folds`` times; each event is in the test exactly once.

    All events of a (user, item) pair fall into the same fold, so that nothing that is asked for
    stands in train. Folds differ in size by at most one pair. They share the calendar: the future
    of other users, and the user's own, stands in train.

    Args:
        interactions: any.
        n_folds: from 2 to the number of pairs.
        seed: of the draw.
    """
    pairs = interactions.users * max(interactions.n_items, 1) + interactions.items
    _, first, pair = np.unique(pairs, return_index=True, return_inverse=True)
    if not 2 <= n_folds <= first.size:
        raise ValueError(f"n_folds must be from 2 to the {first.size} pairs, got {n_folds}")
    number = np.empty(first.size, dtype=np.int64)
    number[np.argsort(first)] = np.random.default_rng(seed).permutation(first.size) % n_folds
    fold = number[pair]
    return (
        (interactions.select(fold != n), interactions.select(fold == n)) for n in range(n_folds)
    )


def ranking_metrics(
    model: Any, train: Interactions, test: Interactions, *, k: int | Sequence[int] = (10,)
) -> dict[str, float]:
    """The means of :func:`reclib.foundations.evaluation.evaluate`, by name."""
    report = evaluate(model, history=train, test=test, k=k)
    return {name: report[name] for name in report.values}


def rating_errors(model: Any, train: Interactions, test: Interactions) -> dict[str, float]:
    """``rmse`` and ``mae`` of ``model.predict``, clipped to the range of the ratings in train."""
    if train.ratings is None or test.ratings is None:
        raise ValueError("interactions must have ratings, got none")
    predicted = model.predict(test.users, test.items)
    errors = np.clip(predicted, train.ratings.min(), train.ratings.max()) - test.ratings
    return {"rmse": float(np.sqrt((errors**2).mean())), "mae": float(np.abs(errors).mean())}


def cross_validate(
    make: Callable[[], Any],
    interactions: Interactions,
    *,
    judge: FoldJudge = ranking_metrics,
    n_folds: int = 5,
    seed: int = 0,
) -> pd.DataFrame:
    """Fit a new model on each fold's train and judge it on the fold.

    ``.agg(["mean", "std"])`` of the table gives mean and spread. The folds' models share most of
    their train, so the spread divided by the root of ``n_folds`` is too small for a standard error.

    Args:
        make: makes a model that is not fitted, e.g. the class.
        interactions: with ratings where the judge needs them.
        judge: ``judge(model, train, test)`` gives the values of a fold by name:
            ``ranking_metrics``, ``rating_errors``, or your own.
        n_folds: from 2 to the number of (user, item) pairs.
        seed: of the folds.

    Returns:
        One row a fold (1, 2, ...), one column a value.
    """
    parts = folds(interactions, n_folds, seed=seed)
    rows = [judge(make().fit(train), train, test) for train, test in parts]
    return pd.DataFrame(rows, index=pd.RangeIndex(1, n_folds + 1, name="fold"))


# --- the search


@dataclass(frozen=True, eq=False)
class Search:
    """What a search tried and found.

    Attributes:
        table: one row a trial: trial (from 0), the options, value (NaN if it diverged), seconds,
            error (empty, or why it diverged).
        options: the options of each trial, as they were given to ``make``.
    """

    table: pd.DataFrame
    options: list[Options]

    @property
    def best(self) -> Options:
        """The options with the highest value; the first of several."""
        if self.table["value"].isna().all():
            raise ValueError(f"trials must hold a value, got {len(self.table)} that diverged")
        return dict(self.options[int(self.table["value"].argmax())])

    @property
    def value(self) -> float:
        """The highest value: optimistic, since it was chosen for being high."""
        return float(self.table["value"].max())


def on_validation(split: Split, metric: str = "ndcg@10") -> Judge:
    """A judge that fits on ``split.train`` and ranks for ``split.validation``; no test is read.

    Models whose ``fit`` takes ``validation`` get it, for early stopping.
    """
    cases, k = cases_from_split(split, "validation"), int(metric.partition("@")[2])

    def judge(model: Any) -> float:
        takes = "validation" in inspect.signature(model.fit).parameters
        extra = {"validation": split.validation} if takes else {}
        return evaluate(model.fit(split.train, **extra), cases, k=k)[metric]

    return judge


def search(
    make: Callable[..., Any],
    space: Space,
    judge: Judge,
    *,
    n_trials: int | None = None,
    method: Literal["tpe", "random", "grid"] = "tpe",
    seed: int = 0,
    path: str | os.PathLike[str] | None = None,
) -> Search:
    """Try options and keep those whose model is judged best.

    A trial whose training diverges (:class:`reclib.foundations.training.Diverged`) counts as worst,
    and the search goes on; any other error ends it.

    Args:
        make: gives a model from options, e.g. a class.
        space: what may be chosen for each option.
        judge: fits the model and gives a number, higher is better; see ``on_validation``.
        n_trials: how many options to try, >= 1; those on file count. None tries a whole grid.
        method: "tpe" proposes where good trials were denser than bad ones (needs the extra
            ``tune``), "random" draws independently, "grid" takes all combinations in order.
        seed: of the proposals; more trials begin with the same ones.
        path: file (JSON lines) that every trial is written to; a search that was cut off goes on
            from it and ends as it would have. It knows method, space and seed, not the data:
            another split needs another file. One process at a time.

    Raises:
        ImportError: for "tpe" without the extra ``tune``.
        ValueError: for an empty space, an option that ``make`` does not have, ``n_trials`` below 1
            or beyond the grid, a value that is not finite, or a file of another search.
    """
    _check_space(make, space)
    n_trials = _n_trials(n_trials, method, space)
    journal = None if path is None else _Journal(Path(path), space, method, seed)
    proposals = METHODS[method](space, seed)
    options, trials = next(proposals), []
    for number in range(n_trials):
        told = None if journal is None else journal.told(number, options)
        if told is None:
            told = _try(make, options, judge)
            if journal is not None:
                journal.write(options, told)
        trials.append((options, told))
        if number + 1 < n_trials:
            options = proposals.send(told["value"])
    rows = [{"trial": n, **options, **told} for n, (options, told) in enumerate(trials)]
    table = pd.DataFrame(rows).astype({"value": float})
    return Search(table, [options for options, _ in trials])


def _check_space(make: Callable[..., Any], space: Space) -> None:
    if not space:
        raise ValueError("space must name at least one option, got none")
    parameters = inspect.signature(make).parameters
    anything = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values())
    name = getattr(make, "__name__", type(make).__name__)
    for option, one in space.items():
        if option in _COLUMNS:
            raise ValueError(f"space must not name {', '.join(_COLUMNS)}, got {option!r}")
        if not isinstance(one, Choice | Float | Integer):
            raise ValueError(f"space must hold Choice, Float or Integer, got {one!r}")
        if option not in parameters and not anything:
            raise ValueError(f"space must name options of {name}, got {option!r}")


def _n_trials(n_trials: int | None, method: str, space: Space) -> int:
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}, got {method!r}")
    if n_trials is None and method != "grid":
        raise ValueError(f"n_trials must be given for method {method!r}, got None")
    if n_trials is not None and n_trials < 1:
        raise ValueError(f"n_trials must be at least 1, got {n_trials}")
    if method != "grid":
        assert n_trials is not None
        return n_trials
    size = len(grid(space))
    if n_trials not in (None, size):
        raise ValueError(f"n_trials must be the {size} of the grid, got {n_trials}")
    return size


def _try(make: Callable[..., Any], options: Options, judge: Judge) -> dict[str, Any]:
    """Value, seconds and error of one trial."""
    start, value, error = time.perf_counter(), None, ""
    try:
        value = float(judge(make(**options)))
    except Diverged as diverged:
        error = str(diverged)
    if value is not None and not math.isfinite(value):
        raise ValueError(f"judge must return a finite number, got {value} for {options}")
    return {"value": value, "seconds": time.perf_counter() - start, "error": error}


class _Journal:
    """One line says whose file it is, then one line a trial; a line cut off is written anew."""

    def __init__(self, path: Path, space: Space, method: str, seed: int) -> None:
        self.path = path
        kinds = {name: [type(one).__name__, asdict(one)] for name, one in space.items()}
        head = {"format": _FORMAT, "method": method, "seed": seed, "space": kinds}
        try:
            line = json.dumps(head)
        except TypeError as error:
            raise ValueError(f"space must hold JSON values for a file, got {error}") from error
        written = path.read_bytes() if path.exists() else b""
        end = written.rfind(b"\n") + 1
        lines = written[:end].decode(errors="replace").splitlines()
        if lines[:1] != [line] and not (end == 0 and line.encode().startswith(written)):
            found = written.decode(errors="replace").partition("\n")[0]
            raise ValueError(f"{path} must be of this search, {line}, got {found}")
        try:
            self.trials = [dict(json.loads(each)) for each in lines[1:]]
        except (TypeError, ValueError) as error:
            raise ValueError(f"{path} must hold one trial a line, got {error}") from error
        if end == 0:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(line + "\n", encoding="utf-8")
        elif end < len(written):
            os.truncate(path, end)

    def told(self, number: int, options: Options) -> dict[str, Any] | None:
        """What is on file about a trial; None if nothing."""
        if number >= len(self.trials):
            return None
        trial = dict(self.trials[number])
        found, wanted = trial.pop("options", None), json.loads(json.dumps(options))
        if found != wanted:
            raise ValueError(f"{self.path} must hold {wanted} as trial {number}, got {found}")
        return trial

    def write(self, options: Options, told: dict[str, Any]) -> None:
        """Add a trial, on the disk before the next one starts."""
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"options": options, **told}) + "\n")
            file.flush()
            os.fsync(file.fileno())
