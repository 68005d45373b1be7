"""Evaluation: rank the whole catalogue for each case, and say how sure the mean is.

    rank(t) = 1 + #{i : s_i > s_t} + #{i < t : s_i = s_t},   over the items that are not excluded

Source: full ranking as argued by W. Krichene, S. Rendle, On Sampled Metrics for Item
Recommendation, KDD 2020; intervals by the percentile bootstrap of B. Efron (1979).
Differences from the paper: none.
Chapter: foundations/evaluation
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike, NDArray

from reclib.foundations.interactions import Histories, Ids, Interactions, checked_ids
from reclib.foundations.metrics import metrics_from_ranks
from reclib.foundations.recommender import blocks, checked_scores, mask_scores
from reclib.foundations.splitting import Split

__all__ = [
    "Cases",
    "Report",
    "cases_from_sessions",
    "cases_from_split",
    "compare",
    "evaluate",
]

Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True, eq=False)
class Cases:
    """Questions to a recommender: given this history, which items come next?

    Attributes:
        histories: B rows; what is known of each case, oldest first.
        targets: B rows; the items to be found.
        exclude: B rows; items that may not be recommended. A target among them cannot be found and
            is left out.
        users: (B,) fitted user of each case, or None where the cases are unseen sessions.
        candidates: (B, C) items to rank instead of the whole catalogue, or None. Targets must be
            among them.
        item_counts: (I,) events of each item in what the model learned from, or None; it tells cold
            targets.
    """

    histories: Histories
    targets: Histories
    exclude: Histories
    users: Ids | None = None
    candidates: Ids | None = None
    item_counts: Ids | None = None

    def __post_init__(self) -> None:
        n = len(self.targets)
        for name in ("histories", "exclude", "users", "candidates"):
            value = getattr(self, name)
            if value is not None and len(value) != n:
                raise ValueError(f"{name} must have {n} rows, got {len(value)}")

    def __len__(self) -> int:
        return len(self.targets)


def cases_from_split(split: Split, part: str = "test") -> Cases:
    """One case for each user with events in a part of a split.

    For ``"validation"`` the history is train; for ``"test"`` it is train and validation. The
    history is excluded from the ranking.
    """
    if part not in ("validation", "test"):
        raise ValueError(f"part must be 'validation' or 'test', got {part!r}")
    if part == "test":
        return _cases(split.train_and_validation, split.test)
    return _cases(split.train, split.validation)


def _cases(history: Interactions, test: Interactions) -> Cases:
    sizes, other = (history.n_users, history.n_items), (test.n_users, test.n_items)
    if sizes != other:
        raise ValueError(f"test must have sizes {sizes}, got {other}")
    users = np.unique(test.users)
    known = history.histories().select(users)
    return Cases(
        histories=known,
        targets=test.deduplicated().histories().select(users),
        exclude=known,
        users=users,
        item_counts=history.item_counts(),
    )


def cases_from_sessions(prefixes: Histories, targets: ArrayLike) -> Cases:
    """One case for each session prefix; nothing is excluded, since sessions repeat items.

    Args:
        prefixes: B rows, what was seen so far.
        targets: (B,) the next item of each.
    """
    targets = checked_ids(targets, "targets")
    if targets.size != len(prefixes):
        raise ValueError(f"targets must have shape ({len(prefixes)},), got {targets.shape}")
    nothing = Histories(np.zeros(0, dtype=np.int64), np.zeros(targets.size + 1, dtype=np.int64))
    return Cases(prefixes, Histories(targets, np.arange(targets.size + 1)), nothing)


@dataclass(frozen=True, eq=False)
class Report:
    """Values of each case first; means and intervals are derived from them.

    Attributes:
        values: name such as ``"ndcg@10"`` to (B,) float64; NaN where a case has no target that can
            be found.
        ties: cutoff to the share of targets whose hit depends on how equal scores are ordered.
        counts: ``cases``, ``cases left out``, ``targets excluded``, ``cold users``, ``cold
            targets``.
    """

    values: Mapping[str, NDArray[np.float64]]
    ties: Mapping[int, float]
    counts: Mapping[str, int]

    def __getitem__(self, name: str) -> float:
        if name not in self.values:
            raise KeyError(f"name must be one of {', '.join(self.values)}, got {name!r}")
        values = self.values[name]
        judged = ~np.isnan(values)
        return float(values[judged].mean()) if judged.any() else float("nan")

    def interval(
        self, name: str, *, level: float = 0.95, n_resamples: int = 1000, seed: int = 0
    ) -> tuple[float, float]:
        """Percentile bootstrap interval of the mean over cases."""
        if not 0 < level < 1:
            raise ValueError(f"level must be above 0 and below 1, got {level}")
        means = _resampled_means(self.values[name], n_resamples, seed)
        low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
        return float(low), float(high)

    def to_frame(self) -> pd.DataFrame:
        """One row for each metric: mean, low, high."""
        rows = {name: (self[name], *self.interval(name)) for name in self.values}
        return pd.DataFrame.from_dict(rows, orient="index", columns=["mean", "low", "high"])

    def __repr__(self) -> str:
        return "Report(" + ", ".join(f"{name} {self[name]:.4f}" for name in self.values) + ")"


def _resampled_means(values: NDArray[np.float64], n_resamples: int, seed: int) -> Floats:
    """(n_resamples,) means of bootstrap samples of the cases that could be judged."""
    values = values[~np.isnan(values)]
    if values.size == 0:
        return np.full(n_resamples, np.nan)
    # Equal values are drawn together: the counts of the distinct values are multinomial.
    distinct, counts = np.unique(values, return_counts=True)
    generator = np.random.default_rng(seed)
    draws = generator.multinomial(values.size, counts / values.size, size=n_resamples)
    return draws @ distinct / values.size


def _scorer(model: Any, cases: Cases) -> Any:
    """How to score a block of rows: from the histories where the model can, else by fitted user."""
    items = cases.candidates

    def candidates(rows: slice) -> tuple[Ids, ...]:
        return () if items is None else (items[rows],)

    if hasattr(model, "score_histories"):
        index = np.arange(len(cases))
        return lambda rows: model.score_histories(
            cases.histories.select(index[rows]), *candidates(rows)
        )
    if cases.users is None:
        name = type(model).__name__
        raise ValueError(f"cases must have users for a model without score_histories, got {name}")
    users = cases.users
    return lambda rows: model.score(users[rows], *candidates(rows))


class _Ranks(NamedTuple):
    """Of each target (T,): its case, its rank, the ranks that ties allow, may it be found."""

    rows: Ids
    ranks: Ids
    best: Ids
    worst: Ids
    allowed: NDArray[np.bool_]
    width: int


def _rank_block(
    scores: Floats,
    targets: Histories,
    columns: Ids,
    allowed: NDArray[np.bool_],
    candidates: Ids | None,
) -> tuple[Ids, Ids, Ids]:
    """Rank, best and worst rank of each target, whose column in ``scores`` is given; all (T,).

    Equal scores stand in the order of item ids, wherever a candidate stands in its row: were it
    the order of columns, a target that is always put first would win every tie.

    The work goes target by target: the first target of every row, then the second of those that
    have one, so that nothing is copied in the common case of one target a row.
    """
    ranks, best, worst = np.zeros((3, columns.size), dtype=np.int64)
    rows, width = targets.rows, scores.shape[1]
    nth = np.arange(columns.size) - targets.offsets[rows]
    for n in range(int(targets.lengths.max(initial=0))):
        chosen = np.flatnonzero((nth == n) & allowed)
        row, column = rows[chosen], columns[chosen]
        part = scores if chosen.size == len(scores) else scores[row]
        own = scores[row, column][:, None]
        above = np.count_nonzero(part > own, axis=1)
        level = np.count_nonzero(part >= own, axis=1)
        best[chosen], worst[chosen], ranks[chosen] = above + 1, level, above + 1
        tied: Any = np.flatnonzero(level > above + 1)
        if 2 * tied.size > chosen.size:
            tied = slice(None)  # most rows: looking at all costs less than copying some
        ids = np.arange(width, dtype=np.int32) if candidates is None else candidates[row[tied]]
        before = ids < targets.items[chosen[tied], None].astype(ids.dtype)
        before &= part[tied] == own[tied]
        ranks[chosen[tied]] += np.count_nonzero(before, axis=1)
    return ranks, best, worst


def _columns(candidates: Ids | None, targets: Histories) -> Ids:
    """The column of each target: its id, or its place among the candidates."""
    if candidates is None:
        return targets.items
    match = candidates[targets.rows] == targets.items[:, None]
    if not match.any(axis=1).all():
        missing = targets.items[~match.any(axis=1)][0]
        raise ValueError(f"candidates must hold every target of their case, got no {missing}")
    return match.argmax(axis=1)


def _keys(rows: Histories) -> Ids:
    """(row, item) as one number."""
    return rows.rows * (1 << 40) + rows.items


def _rank(model: Any, cases: Cases, batch_size: int | None) -> _Ranks:
    score = _scorer(model, cases)
    width = None if cases.item_counts is None else cases.item_counts.size
    if cases.candidates is not None:
        width = cases.candidates.shape[1]
    parts = []
    for block in blocks(len(cases), width or 50_000, batch_size):
        rows = np.arange(block.start, block.stop)
        scores = checked_scores(score(block), rows.size, width)
        width = scores.shape[1]
        targets, exclude = cases.targets.select(rows), cases.exclude.select(rows)
        candidates = None if cases.candidates is None else cases.candidates[block]
        columns = checked_ids(_columns(candidates, targets), "targets", width)
        if candidates is None:
            scores = mask_scores(scores, exclude)
        allowed = ~np.isin(_keys(targets), _keys(exclude))
        ranks = _rank_block(scores, targets, columns, allowed, candidates)
        parts.append((targets.rows + block.start, *ranks, allowed))
    joined: list[Any] = [np.concatenate(part) for part in zip(*parts, strict=True)]
    return _Ranks._make([*joined, width or 0])


def evaluate(
    model: Any,
    cases: Cases | None = None,
    *,
    history: Interactions | None = None,
    test: Interactions | None = None,
    k: int | Sequence[int] = (10,),
    batch_size: int | None = None,
) -> Report:
    """Judge a fitted model by full ranking, in bounded memory.

    The model is scored from the histories of the cases where it can be (``score_histories``), else
    by user. Equal scores: the lower id stands first.

    Args:
        model: a fitted recommender.
        cases: what to ask; or ``history`` and ``test``, whose users with test events become the
            cases.
        history: what is known; it is excluded from the ranking.
        test: what is to be found.
        k: cutoffs, each >= 1; above the catalogue they count as the catalogue.
        batch_size: cases scored at once; None chooses by the size of the catalogue.

    Returns:
        The report, with ``recall``, ``precision``, ``hit_rate``, ``reciprocal_rank``,
        ``average_precision`` and ``ndcg`` at each cutoff.

    Raises:
        ValueError: for a cutoff below 1, scores of a wrong shape or NaN, or if there is nothing to
            judge.
    """
    cutoffs = (k,) if isinstance(k, int) else tuple(k)
    if not cutoffs or min(cutoffs) < 1:
        raise ValueError(f"k must be at least 1, got {min(cutoffs, default=None)}")
    if cases is None:
        if history is None or test is None:
            raise ValueError("cases must be given, or history and test, got neither")
        cases = _cases(history, test)
    if len(cases) == 0:
        raise ValueError("cases must hold at least one case, got 0")
    found = _rank(model, cases, batch_size)
    ranks, rows, best, worst = (
        column[found.allowed] for column in (found.ranks, found.rows, found.best, found.worst)
    )
    tensors = torch.from_numpy(ranks), torch.from_numpy(rows)
    values = {
        f"{name}@{cutoff}": column.numpy()
        for cutoff in cutoffs
        for name, column in metrics_from_ranks(
            *tensors, len(cases), k=min(cutoff, found.width)
        ).items()
    }
    ties = {c: float(((best <= c) & (c < worst)).mean()) if ranks.size else 0.0 for c in cutoffs}
    return Report(values, ties, _counts(cases, found))


def _counts(cases: Cases, found: _Ranks) -> dict[str, int]:
    counts = {
        "cases": len(cases),
        "cases left out": len(cases) - np.unique(found.rows[found.allowed]).size,
        "targets excluded": int((~found.allowed).sum()),
        "cold users": int((cases.histories.lengths == 0).sum()),
    }
    if cases.item_counts is not None:
        counts["cold targets"] = int((cases.item_counts[cases.targets.items] == 0).sum())
    return counts


def compare(
    reports: Mapping[str, Report],
    metric: str = "ndcg@10",
    *,
    n_resamples: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """Reports on the same cases, each against the first, with 95 % intervals.

    The difference is paired: case by case first, then resampled over cases, which is far sharper
    than looking at whether two intervals overlap.

    Returns:
        One row for each report: mean, low, high, difference, difference_low, difference_high.
    """
    if not reports:
        raise ValueError("reports must hold at least one report, got 0")
    first = next(iter(reports.values()))
    rows = {}
    for name, report in reports.items():
        values, reference = report.values[metric], first.values[metric]
        if values.shape != reference.shape:
            n, m = reference.size, values.size
            raise ValueError(f"reports must be on the same {n} cases, got {m} for {name!r}")
        change = Report({metric: values - reference}, {}, {})
        rows[name] = [
            report[metric],
            *report.interval(metric, n_resamples=n_resamples, seed=seed),
            change[metric],
            *change.interval(metric, n_resamples=n_resamples, seed=seed),
        ]
    columns = ["mean", "low", "high", "difference", "difference_low", "difference_high"]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns)
