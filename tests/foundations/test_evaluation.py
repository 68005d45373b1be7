"""Evaluation against a plain loop, with ties; cases, intervals, comparisons and refusals."""

import math

import numpy as np
import pytest

from reclib.foundations.evaluation import (
    Cases,
    Report,
    cases_from_sessions,
    cases_from_split,
    compare,
    evaluate,
)
from reclib.foundations.interactions import Histories, Interactions
from reclib.foundations.splitting import Split, split_last


class Fixed:
    """A model whose scores are given, by user."""

    def __init__(self, scores: np.ndarray) -> None:
        self.scores = np.asarray(scores, dtype=np.float32)

    def score(self, users, items=None):
        full = self.scores[np.asarray(users)]
        return full if items is None else np.take_along_axis(full, np.asarray(items), axis=1)


class FromHistories(Fixed):
    """The same, where the last item of the history says which row."""

    def score_histories(self, histories, items=None):
        return self.score([row[-1] for row in histories], items)


def slow(scores, exclude, targets, k):
    """One case with plain Python: the ranking by (-score, id), then each metric by its formula."""
    allowed = [i for i in range(len(scores)) if i not in set(exclude)]
    ranking = sorted(allowed, key=lambda i: (-scores[i], i))
    wanted = [t for t in targets if t not in set(exclude)]
    if not wanted:
        return None
    ranks = sorted(ranking.index(t) + 1 for t in wanted)
    top = [r for r in ranks if r <= k]
    best = sum(1 / math.log2(r + 1) for r in range(1, min(k, len(wanted)) + 1))
    return {
        "recall": len(top) / len(wanted),
        "precision": len(top) / min(k, len(scores)),
        "hit_rate": float(bool(top)),
        "reciprocal_rank": 1 / top[0] if top else 0.0,
        "average_precision": sum((n + 1) / r for n, r in enumerate(top)) / min(k, len(wanted)),
        "ndcg": sum(1 / math.log2(r + 1) for r in top) / best,
    }


def random_problem(levels: int, seed: int = 0):
    """30 users, 19 items, scores with few levels (ties), several targets, some of them excluded."""
    generator = np.random.default_rng(seed)
    scores = generator.integers(0, levels, (30, 19)).astype(np.float32)
    exclude = [generator.choice(19, generator.integers(0, 8), replace=False) for _ in range(30)]
    targets = [generator.choice(19, generator.integers(0, 6), replace=False) for _ in range(30)]
    cases = Cases(
        histories=Histories.from_lists(exclude),
        targets=Histories.from_lists(targets),
        exclude=Histories.from_lists(exclude),
        users=np.arange(30),
    )
    return scores, exclude, targets, cases


@pytest.mark.parametrize("levels", [2, 4, 10_000])
@pytest.mark.parametrize("batch_size", [None, 7])
def test_every_metric_equals_a_plain_loop_with_and_without_ties(levels, batch_size) -> None:
    scores, exclude, targets, cases = random_problem(levels)
    report = evaluate(Fixed(scores), cases, k=(1, 3, 10, 50), batch_size=batch_size)
    for k in (1, 3, 10, 50):
        expected = [slow(*row, k) for row in zip(scores, exclude, targets, strict=True)]
        for name in next(e for e in expected if e):
            column = [math.nan if e is None else e[name] for e in expected]
            np.testing.assert_allclose(report.values[f"{name}@{k}"], column, rtol=1e-12)


def test_ties_are_the_share_of_targets_whose_hit_depends_on_the_order() -> None:
    scores = [[5, 5, 1, 0], [5, 4, 3, 2], [1, 1, 1, 1], [9, 1, 1, 1]]
    cases = Cases(
        histories=Histories.from_lists([[]] * 4),
        targets=Histories.from_lists([[1], [1], [3], [2]]),
        exclude=Histories.from_lists([[]] * 4),
        users=np.arange(4),
    )
    report = evaluate(Fixed(scores), cases, k=(1, 2, 4))
    # k=1: rows 0 and 2 are tied across the cut; k=2: rows 2 and 3; k=4: everything is in
    assert report.ties == {1: 0.5, 2: 0.5, 4: 0.0}
    assert report.values["hit_rate@1"].tolist() == [0, 0, 0, 0]
    assert report.values["hit_rate@2"].tolist() == [1, 1, 0, 0]


def test_counts_say_who_was_left_out_and_what_was_cold() -> None:
    cases = Cases(
        histories=Histories.from_lists([[0], [], [1]]),
        targets=Histories.from_lists([[0], [2], [3]]),
        exclude=Histories.from_lists([[0], [], [1]]),
        users=np.arange(3),
        item_counts=np.array([1, 1, 0, 4]),
    )
    report = evaluate(Fixed(np.arange(12).reshape(3, 4)), cases)
    assert report.counts == {
        "cases": 3,
        "cases left out": 1,
        "targets excluded": 1,
        "cold users": 1,
        "cold targets": 1,
    }
    assert math.isnan(report.values["recall@10"][0])
    assert report["recall@10"] == 1.0


def test_cases_of_a_split_know_history_and_exclude_it() -> None:
    interactions = Interactions([0, 0, 0, 1, 1, 1, 2], [3, 1, 2, 2, 0, 3, 1], n_items=5)
    split = split_last(interactions)
    test = cases_from_split(split)
    assert [list(row) for row in test.histories] == [[3, 1], [2, 0]]
    assert [list(row) for row in test.targets] == [[2], [3]]
    assert [list(row) for row in test.exclude] == [[3, 1], [2, 0]]
    assert test.users.tolist() == [0, 1]
    assert test.item_counts.tolist() == [1, 2, 1, 1, 0]
    validation = cases_from_split(split, "validation")
    assert [list(row) for row in validation.histories] == [[3], [2]]
    assert [list(row) for row in validation.targets] == [[1], [0]]


def test_sessions_exclude_nothing_so_a_repeat_can_be_found() -> None:
    cases = cases_from_sessions(Histories.from_lists([[1, 2], [0]]), [2, 1])
    report = evaluate(FromHistories(np.eye(3)), cases, k=1)
    assert report.values["hit_rate@1"].tolist() == [1, 0]


def test_histories_are_preferred_where_the_model_can_score_them() -> None:
    split = split_last(Interactions([0, 0, 0], [1, 0, 2]))
    scores = np.array([[0, 0, 1], [0, 0, 0], [0, 0, 0]])  # row 0: the last item of the history
    assert evaluate(FromHistories(scores), cases_from_split(split), k=1)["hit_rate@1"] == 1


def test_candidates_are_ranked_instead_of_the_catalogue() -> None:
    cases = Cases(
        histories=Histories.from_lists([[0], [0]]),
        targets=Histories.from_lists([[4], [2]]),
        exclude=Histories.from_lists([[], []]),
        users=np.array([0, 1]),
        candidates=np.array([[4, 1, 2], [3, 2, 0]]),
    )
    scores = [[9, 3, 1, 9, 2], [0, 9, 5, 7, 9]]
    report = evaluate(Fixed(scores), cases, k=2)
    assert report.values["reciprocal_rank@2"].tolist() == [1 / 2, 1 / 2]


@pytest.mark.parametrize("order", [[4, 1, 7, 2], [7, 2, 4, 1], [1, 2, 4, 7]])
def test_tied_candidates_stand_in_the_order_of_ids_wherever_the_target_is_put(order) -> None:
    cases = Cases(
        histories=Histories.from_lists([[0], [0]]),
        targets=Histories.from_lists([[4], [4, 7]]),
        exclude=Histories.from_lists([[], []]),
        users=np.array([0, 1]),
        candidates=np.array([order, order]),
    )
    report = evaluate(Fixed(np.zeros((2, 9))), cases, k=4)
    assert report.values["reciprocal_rank@4"].tolist() == [1 / 3, 1 / 3]
    assert report.values["average_precision@4"].tolist() == [1 / 3, (1 / 3 + 2 / 4) / 2]


def test_history_and_test_are_a_shorthand_for_cases() -> None:
    history = Interactions([0, 0, 1], [0, 1, 2], n_users=3, n_items=4)
    test = Interactions([0, 1], [3, 3], n_users=3, n_items=4)
    scores = np.array([[9, 9, 0, 1], [0, 0, 9, 0], [0, 0, 0, 0]])
    report = evaluate(Fixed(scores), history=history, test=test, k=1)
    assert report.values["hit_rate@1"].tolist() == [1, 0]  # user 1: items 0 and 1 tie before 3


def test_the_scores_of_the_model_are_not_written_to() -> None:
    scores, _, _, cases = random_problem(5)
    model = Fixed(scores)
    before = model.scores.copy()
    model.score = lambda users: model.scores[users[0] : users[-1] + 1]  # a view, not a copy
    evaluate(model, cases)
    np.testing.assert_array_equal(model.scores, before)


def test_interval_covers_the_true_mean_as_often_as_it_says() -> None:
    generator = np.random.default_rng(0)
    samples = generator.binomial(1, 0.3, (300, 120)).astype(float)
    covered = 0
    for row in samples:
        low, high = Report({"recall@10": row}, {}, {}).interval("recall@10", n_resamples=400)
        covered += low <= 0.3 <= high
    assert 0.90 <= covered / 300 <= 0.98


def test_interval_is_that_of_resampling_cases_one_by_one() -> None:
    values = np.random.default_rng(1).choice([0, 0.5, 1.0], 200, p=[0.7, 0.2, 0.1])
    generator = np.random.default_rng(2)
    means = values[generator.integers(0, 200, (20_000, 200))].mean(axis=1)
    report = Report({"x": np.append(values, np.nan)}, {}, {})
    found = report.interval("x", n_resamples=20_000)
    np.testing.assert_allclose(found, np.quantile(means, [0.025, 0.975]), atol=0.005)


def test_compare_pairs_the_cases() -> None:
    generator = np.random.default_rng(0)
    base = generator.random(400)
    reports = {
        "first": Report({"ndcg@10": base}, {}, {}),
        "better": Report({"ndcg@10": base + 0.01}, {}, {}),
        "shuffled": Report({"ndcg@10": generator.permutation(base)}, {}, {}),
    }
    table = compare(reports)
    np.testing.assert_allclose(table.loc["first", ["difference", "difference_low"]], 0, atol=1e-15)
    row = table.loc["better", ["difference", "difference_low", "difference_high"]]
    np.testing.assert_allclose(row, 0.01, rtol=1e-9)
    assert table.loc["shuffled", "difference_low"] < 0 < table.loc["shuffled", "difference_high"]
    short = {**reports, "short": Report({"ndcg@10": base[:-1]}, {}, {})}
    with pytest.raises(ValueError, match="must be on the same 400 cases, got 399 for 'short'"):
        compare(short)
    with pytest.raises(ValueError, match="^reports must hold at least one report, got 0$"):
        compare({})


def test_report_names_what_it_has() -> None:
    report = Report({"recall@5": np.array([1.0, np.nan, 0.0])}, {}, {})
    assert report["recall@5"] == 0.5
    assert report.to_frame().loc["recall@5", "mean"] == 0.5
    with pytest.raises(KeyError, match=r"name must be one of recall@5, got 'ndcg@10'"):
        report["ndcg@10"]
    assert math.isnan(Report({"x": np.array([np.nan])}, {}, {})["x"])


def bad(**changes) -> Cases:
    whole = dict(
        histories=Histories.from_lists([[0]]),
        targets=Histories.from_lists([[1]]),
        exclude=Histories.from_lists([[0]]),
        users=np.array([0]),
    )
    return Cases(**{**whole, **changes})


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: evaluate(m, bad(), k=0), "k must be at least 1, got 0"),
        (lambda m: evaluate(m, bad(), k=(10, -1)), "k must be at least 1, got -1"),
        (lambda m: evaluate(m, bad(), k=()), "k must be at least 1, got None"),
        (lambda m: evaluate(m), "cases must be given, or history and test, got neither"),
        (
            lambda m: evaluate(m, cases_from_sessions(Histories.from_lists([]), [])),
            "cases must hold at least one case, got 0",
        ),
        (
            lambda m: evaluate(m, bad(users=None)),
            "cases must have users for a model without score_histories, got Fixed",
        ),
        (lambda m: bad(users=np.array([0, 1])), "users must have 1 rows, got 2"),
        (
            lambda m: evaluate(m, bad(targets=Histories.from_lists([[7]]))),
            "targets must be below 3, got 7",
        ),
        (
            lambda m: evaluate(m, bad(item_counts=np.ones(5, dtype=int))),
            r"scores must have shape \(1, 5\), got \(1, 3\)",
        ),
        (
            lambda m: evaluate(Fixed([[0.0, np.nan, 1.0]]), bad()),
            "scores must not be NaN, got NaN",
        ),
        (
            lambda m: evaluate(m, bad(candidates=np.array([[0, 2]]))),
            "candidates must hold every target of their case, got no 1",
        ),
        (lambda m: cases_from_split(None, "train"), "part must be 'validation' or 'test'"),
        (
            lambda m: cases_from_sessions(Histories.from_lists([[1]]), [1, 2]),
            r"targets must have shape \(1,\), got \(2,\)",
        ),
        (
            lambda m: evaluate(m, history=Interactions([0], [3]), test=Interactions([0], [1])),
            r"test must have sizes \(1, 4\), got \(1, 2\)",
        ),
        (
            lambda m: Report({"x": np.ones(2)}, {}, {}).interval("x", level=1.0),
            "level must be above 0 and below 1, got 1.0",
        ),
    ],
)
def test_bad_input_is_refused(call, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        call(Fixed([[0, 1, 2]]))


def test_repeated_events_of_the_test_count_once() -> None:
    nothing = Interactions([], [], n_users=1, n_items=3)
    test = Interactions([0, 0, 0], [1, 1, 2])
    split = Split(Interactions([0], [0], n_items=3), nothing, test, "by hand")
    cases = cases_from_split(split)
    assert [list(row) for row in cases.targets] == [[1, 2]]
