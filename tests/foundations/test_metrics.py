"""Metrics against fractions by hand, plain loops, scikit-learn and ranx."""

import json
import math
import os
import re
import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import sparse

from reclib.foundations import metrics

RANKING = ["recall", "precision", "hit_rate", "reciprocal_rank", "average_precision", "ndcg"]
NAN, INF = math.nan, math.inf


def values(name, scores, relevance, k):
    return getattr(metrics, name)(scores, relevance, k=k).numpy()


def equal(actual, expected, **tolerance):
    tolerance = {"rtol": 1e-12, "atol": 1e-15} | tolerance
    np.testing.assert_allclose(np.asarray(actual), np.asarray(expected, dtype=float), **tolerance)


def fails(message, function, *arguments, **options):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        function(*arguments, **options)


# ------------------------------------------------------------------------------------- by hand
# Items in the order of their scores: 3, 1, 4, 0, 2. Relevant: 1, 0, 2, at ranks 2, 4, 5.
SCORES = [[0.2, 0.8, 0.1, 0.9, 0.5]]
RELEVANCE = [[1, 1, 1, 0, 0]]
LOG = math.log2
BY_HAND = [
    ("recall", 1, 0),
    ("recall", 2, Fraction(1, 3)),
    ("recall", 4, Fraction(2, 3)),
    ("recall", 5, 1),
    ("precision", 1, 0),
    ("precision", 2, Fraction(1, 2)),
    ("precision", 4, Fraction(1, 2)),
    ("precision", 5, Fraction(3, 5)),
    ("precision", 99, Fraction(3, 5)),  # above the catalogue of 5
    ("hit_rate", 1, 0),
    ("hit_rate", 2, 1),
    ("hit_rate", 5, 1),
    ("reciprocal_rank", 1, 0),
    ("reciprocal_rank", 2, Fraction(1, 2)),
    ("reciprocal_rank", 5, Fraction(1, 2)),
    ("average_precision", 1, 0),
    ("average_precision", 2, Fraction(1, 2) / 2),
    ("average_precision", 4, (Fraction(1, 2) + Fraction(2, 4)) / 3),
    ("average_precision", 5, (Fraction(1, 2) + Fraction(2, 4) + Fraction(3, 5)) / 3),
    ("average_precision", 99, (Fraction(1, 2) + Fraction(2, 4) + Fraction(3, 5)) / 3),
    ("ndcg", 1, 0),
    ("ndcg", 2, (1 / LOG(3)) / (1 + 1 / LOG(3))),
    ("ndcg", 4, (1 / LOG(3) + 1 / LOG(5)) / (1 + 1 / LOG(3) + 1 / 2)),
    ("ndcg", 99, (1 / LOG(3) + 1 / LOG(5) + 1 / LOG(6)) / (1 + 1 / LOG(3) + 1 / 2)),
]


@pytest.mark.parametrize(("name", "k", "expected"), BY_HAND)
def test_a_ranking_metric_equals_the_fraction_by_hand(name, k, expected):
    equal(values(name, SCORES, RELEVANCE, k), [float(expected)])


@pytest.mark.parametrize(("name", "k", "expected"), BY_HAND)
def test_metrics_from_ranks_equal_the_fraction_by_hand(name, k, expected):
    found = metrics.metrics_from_ranks([5, 2, 4], [0, 0, 0], 1, min(k, 5))
    equal(found[name], [float(expected)])


def test_ndcg_gains_are_linear_in_graded_relevance():
    graded = [[3, 1, 0, 0, 2]]  # at ranks 4, 2 and 3
    best = 3 + 2 / LOG(3) + 1 / 2
    equal(values("ndcg", SCORES, graded, 4), [(1 / LOG(3) + 2 / 2 + 3 / LOG(5)) / best])


@pytest.mark.parametrize("name", [n for n in RANKING if n != "ndcg"])
def test_only_ndcg_uses_the_grade(name):
    graded = np.array(RELEVANCE) * [0.1, 7, 2, 1, 1]
    equal(values(name, SCORES, graded, 4), values(name, SCORES, RELEVANCE, 4))


@pytest.mark.parametrize("name", RANKING)
def test_a_user_without_a_relevant_item_is_nan_and_the_others_are_not(name):
    scores = SCORES * 3
    relevance = [RELEVANCE[0], [0] * 5, RELEVANCE[0]]
    alone = values(name, SCORES, RELEVANCE, 4)[0]
    equal(values(name, scores, relevance, 4), [alone, NAN, alone])


# At k = 2: (scores, relevance, recall). Equal scores: lower item id first.
TIES = [
    ([1, 1, 1, 1], [1, 1, 0, 0], 1),
    ([1, 1, 1, 1], [0, 0, 1, 1], 0),
    ([1, 1, 1, 1], [0, 1, 1, 0], Fraction(1, 2)),
    ([0, 1, 1, 2], [0, 1, 0, 1], 1),
    ([0, 1, 1, 2], [0, 0, 1, 1], Fraction(1, 2)),
    ([-0.0, 0.0, 0.0, -0.0], [1, 0, 0, 1], Fraction(1, 2)),  # signed zeros are equal
    ([INF, INF, 1, INF], [0, 0, 0, 1], 0),
]


@pytest.mark.parametrize(("scores", "relevance", "expected"), TIES)
def test_equal_scores_put_the_lower_item_id_first(scores, relevance, expected):
    equal(values("recall", [scores], [relevance], 2), [float(expected)])


def test_a_tie_inside_the_list_is_ordered_by_item_id_too():
    scores = [[2, 5, 5, 5, 1]]
    equal(values("reciprocal_rank", scores, [[0, 0, 0, 1, 0]], 4), [1 / 3])
    equal(values("reciprocal_rank", scores, [[0, 1, 0, 0, 0]], 4), [1])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("recall", 1 / 2),
        ("precision", 1 / 3),
        ("hit_rate", 1),
        ("reciprocal_rank", 1),
        ("average_precision", 1 / 2),
        ("ndcg", 1 / (1 + 1 / LOG(3))),
    ],
)
def test_a_masked_item_is_never_a_hit_but_stays_relevant(name, expected):
    scores, relevance = [[-INF, 0.5, -INF]], [[1, 1, 0]]
    equal(values(name, scores, relevance, 3), [expected])
    masked_rank = 4  # above the catalogue
    equal(metrics.metrics_from_ranks([1, masked_rank], [0, 0], 1, 3)[name], [expected])


@pytest.mark.parametrize("name", RANKING)
def test_no_users_and_no_items_give_empty_and_nan(name):
    assert values(name, np.zeros((0, 4)), np.zeros((0, 4)), 2).shape == (0,)
    equal(values(name, np.zeros((3, 0)), np.zeros((3, 0)), 2), [NAN] * 3)
    equal(metrics.metrics_from_ranks([], [], 2, 3)[name], [NAN] * 2)
    assert metrics.metrics_from_ranks([], [], 0, 3)[name].shape == (0,)


@pytest.mark.parametrize("name", RANKING)
@pytest.mark.parametrize("kind", ["list", "float32", "float16", "int", "bool", "reversed"])
def test_array_likes_give_the_same_float64_values(name, kind):
    grid = np.array([[4, 1, 3, 0], [0, 2, 4, 1]])
    relevance = np.array([[0, 1, 1, 0], [1, 0, 0, 1]])
    expected = values(name, torch.tensor(grid).double(), torch.tensor(relevance).double(), 2)
    scores, relevant = {
        "list": (grid.tolist(), relevance.tolist()),
        "float32": (grid.astype(np.float32), relevance.astype(np.float32)),
        "float16": (torch.tensor(grid).half(), torch.tensor(relevance).half()),
        "int": (grid, relevance),
        "bool": (grid, relevance.astype(bool)),
        "reversed": (grid[:, ::-1][:, ::-1], np.asfortranarray(relevance)),
    }[kind]
    found = getattr(metrics, name)(scores, relevant, k=2)
    assert found.dtype == torch.float64
    np.testing.assert_array_equal(found, expected)


def test_read_only_arrays_are_accepted_silently_and_no_input_changes(recwarn):
    scores, relevance = np.array(SCORES), np.array(RELEVANCE)
    before = scores.copy()
    scores.flags.writeable = relevance.flags.writeable = False
    values("ndcg", scores, relevance, 3)
    tensor = torch.tensor(SCORES)
    values("ndcg", tensor, relevance, 3)
    np.testing.assert_array_equal(scores, before)
    assert torch.equal(tensor, torch.tensor(SCORES))
    assert len(recwarn) == 0


BAD_RANKING = [
    (SCORES, RELEVANCE, 0, "k must be at least 1, got 0"),
    (SCORES, RELEVANCE, -3, "k must be at least 1, got -3"),
    (SCORES, RELEVANCE, 2.5, "k must be an integer, got 2.5"),
    (
        *(SCORES, [[1, 0, 0, 0]], 2),
        "relevance must have shape torch.Size([1, 5]), got torch.Size([1, 4])",
    ),
    (
        *(SCORES * 2, RELEVANCE, 2),
        "relevance must have shape torch.Size([2, 5]), got torch.Size([1, 5])",
    ),
    (SCORES[0], RELEVANCE[0], 2, "scores must have shape (U, I), got torch.Size([5])"),
    ([[0.1, NAN]], [[1, 0]], 1, "scores must not be NaN, got NaN for user 0, item 1"),
    ([[1.0, 2.0]], [[1, -1]], 1, "relevance must be finite and at least 0, got -1"),
    ([[1.0, 2.0]], [[1, NAN]], 1, "relevance must be finite and at least 0, got nan"),
    ([[1.0, 2.0]], [[1, INF]], 1, "relevance must be finite and at least 0, got inf"),
]


@pytest.mark.parametrize("name", RANKING)
@pytest.mark.parametrize(
    ("scores", "relevance", "k", "message"), BAD_RANKING, ids=[row[3] for row in BAD_RANKING]
)
def test_bad_input_of_a_ranking_metric_is_named(name, scores, relevance, k, message):
    fails(message, getattr(metrics, name), scores, relevance, k=k)


BAD_RANKS = [
    ([0], [0], 1, 1, "ranks must be at least 1, got 0"),
    ([1.5], [0], 1, 1, "ranks must be integers, got torch.float64"),
    ([1], [1], 1, 1, "cases must be from 0 to 0, got 1"),
    ([1], [-1], 1, 1, "cases must be from 0 to 0, got -1"),
    ([1, 2], [0], 1, 1, "ranks must have shape torch.Size([1]), got torch.Size([2])"),
    ([[1]], [[0]], 1, 1, "cases must have shape (T,), got torch.Size([1, 1])"),
    ([2, 3, 3], [1, 0, 0], 2, 1, "ranks must be unique within a case, got 3 twice in case 0"),
    ([1], [0], 1, 0, "k must be at least 1, got 0"),
]


@pytest.mark.parametrize(
    ("ranks", "cases", "n_cases", "k", "message"), BAD_RANKS, ids=[row[4] for row in BAD_RANKS]
)
def test_bad_ranks_are_named(ranks, cases, n_cases, k, message):
    fails(message, metrics.metrics_from_ranks, ranks, cases, n_cases, k)


def test_the_same_rank_in_two_cases_is_no_repeat():
    equal(metrics.metrics_from_ranks([3, 3], [1, 0], 2, 3)["reciprocal_rank"], [1 / 3, 1 / 3])


# --------------------------------------------------------------------------------- plain loops
def loop(scores, relevance, k):
    """Every ranking metric of one user, the obvious way."""
    relevant = [item for item, grade in enumerate(relevance) if grade > 0]
    if not relevant:
        return dict.fromkeys(RANKING, NAN)
    k = min(k, len(scores))
    order = sorted(range(len(scores)), key=lambda item: (-scores[item], item))[:k]
    hits = [rank for rank, item in enumerate(order, start=1) if item in relevant]
    dcg = sum(relevance[item] / LOG(rank + 1) for rank, item in enumerate(order, start=1))
    ideal = sorted(relevance, reverse=True)[:k]
    return {
        "recall": len(hits) / len(relevant),
        "precision": len(hits) / k,
        "hit_rate": float(bool(hits)),
        "reciprocal_rank": 1 / hits[0] if hits else 0.0,
        "average_precision": sum((n + 1) / rank for n, rank in enumerate(hits))
        / min(k, len(relevant)),
        "ndcg": dcg / sum(grade / LOG(rank + 1) for rank, grade in enumerate(ideal, start=1)),
    }


@pytest.mark.parametrize("n_levels", [1, 2, 4, 1000])
@pytest.mark.parametrize("k", [1, 3, 10, 17, 50])
def test_ranking_metrics_equal_a_plain_loop_with_ties(n_levels, k):
    random = np.random.default_rng(n_levels)
    scores = random.integers(n_levels, size=(40, 17)) / 8
    grades = random.integers(1, 4, size=(40, 17)) * (random.random((40, 17)) < 0.2)
    grades[7] = 0
    expected = [loop(*rows, k) for rows in zip(scores.tolist(), grades.tolist(), strict=True)]
    for name in RANKING:
        found = values(name, scores.astype(np.float32), grades, k)
        equal(found, [row[name] for row in expected], rtol=1e-12)
    assert np.isnan([row["recall"] for row in expected]).any()


@pytest.mark.parametrize("k", [1, 2, 5, 12])
def test_metrics_from_ranks_agree_with_the_dense_functions(k):
    random = np.random.default_rng(k)
    scores = random.integers(3, size=(60, 12))
    relevant = random.random((60, 12)) < 0.15
    order = np.argsort(-scores, axis=1, kind="stable")
    ranks = np.empty_like(order)
    np.put_along_axis(ranks, order, np.arange(1, 13)[None].repeat(60, 0), axis=1)
    cases, items = relevant.nonzero()
    mixed = random.permutation(len(cases))  # targets may come in any order
    found = metrics.metrics_from_ranks(ranks[cases, items][mixed], cases[mixed], 60, k)
    assert list(found) == RANKING
    for name in RANKING:
        assert found[name].dtype == torch.float64
        equal(found[name], values(name, scores, relevant, k))
    assert found["recall"].isnan().sum() == (relevant.sum(1) == 0).sum() > 0


def auc_loop(labels, probs):
    pairs = [
        (p > q) + (p == q) / 2
        for p, y in zip(probs, labels, strict=True)
        for q, z in zip(probs, labels, strict=True)
        if y > z
    ]
    return sum(pairs) / len(pairs) if pairs else NAN


@pytest.mark.parametrize("n_levels", [1, 3, 1000])
def test_auc_and_gauc_equal_a_loop_over_pairs_with_ties(n_levels):
    random = np.random.default_rng(7)
    labels = random.integers(2, size=90)
    probs = random.integers(n_levels, size=90) / n_levels
    users = random.choice([3, 10, 11, 12, 13, 50], p=[0.5, 0.2, 0.2, 0.05, 0.03, 0.02], size=90)
    users[:2] = 50
    labels[users == 50] = 1  # one class only
    by_user = {
        user: (auc_loop(labels[users == user], probs[users == user]), (users == user).sum())
        for user in sorted(set(users.tolist()))
    }
    equal(metrics.auc(labels, probs), auc_loop(labels, probs))
    aucs, counts = metrics.auc_by_user(labels, probs, users)
    equal(aucs, [row[0] for row in by_user.values()])
    assert counts.tolist() == [row[1] for row in by_user.values()]
    kept = [row for row in by_user.values() if not math.isnan(row[0])]
    assert 0 < len(kept) < len(by_user)
    mean = sum(value * n for value, n in kept) / sum(n for _, n in kept)
    equal(metrics.gauc(labels, probs, users), mean)


# ------------------------------------------------------------------------------ probabilities
AUC_BY_HAND = [
    ([0, 1], [0.2, 0.3], 1),
    ([1, 0], [0.2, 0.3], 0),
    ([1, 0], [0.3, 0.3], Fraction(1, 2)),
    ([1, 0, 1, 0], [0.9, 0.8, 0.8, 0.1], Fraction(7, 8)),
    ([1, 0, 0, 0], [-5.0, -7.0, -5.0, 3.0], Fraction(1, 2)),  # scores need not be probabilities
    ([1, 1], [0.1, 0.2], NAN),
    ([], [], NAN),
]


@pytest.mark.parametrize(("labels", "probs", "expected"), AUC_BY_HAND)
def test_auc_equals_the_fraction_by_hand(labels, probs, expected):
    equal(metrics.auc(labels, probs), float(expected))


def test_gauc_weights_users_by_impressions_and_leaves_out_one_class_users():
    labels = [1, 0, 0, 0, 1, 1, 1]
    probs = [0.5, 0.9, 0.1, 0.2, 0.7, 0.9, 0.1]
    users = [4, 4, 4, 2, 2, 9, 9]  # AUC 1/2 of 3 rows, 1 of 2 rows, none of 2 rows
    equal(metrics.gauc(labels, probs, users), 0.5 * 3 / 5 + 1 * 2 / 5)
    assert metrics.auc_by_user(labels, probs, users)[0].isnan().sum() == 1


def test_gauc_ignores_the_order_between_users_that_auc_rewards():
    labels, users = [1, 0, 1, 0], [0, 0, 1, 1]
    probs = [0.9, 0.8, 0.2, 0.1]
    equal(metrics.gauc(labels, probs, users), 1)
    equal(metrics.auc(labels, probs), 0.75)


def test_gauc_of_users_with_one_class_only_is_nan():
    equal(metrics.gauc([1, 1, 0], [0.1, 0.2, 0.3], [0, 0, 1]), NAN)


def test_log_loss_is_in_nats():
    expected = -(math.log(0.8) + math.log(1 - 0.3)) / 2
    equal(metrics.log_loss([1, 0], [0.8, 0.3]), expected)
    equal(metrics.log_loss([1, 0, 1], [0.5] * 3), math.log(2))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_log_loss_clips_at_the_resolution_of_the_dtype(dtype):
    found = metrics.log_loss([0], torch.tensor([1.0], dtype=dtype))
    equal(found, -math.log(torch.finfo(dtype).eps))


CALIBRATION = [
    ([1, 0], [1.0, 0.0], 10, 0),
    ([0, 1], [1.0, 0.0], 10, 1),
    ([1, 0, 0, 0], [0.25] * 4, 4, 0),
    ([1, 0, 0, 1], [0.25, 0.5, 0.5, 0.5], 2, (0.75 + 0.5) / 4),  # an edge opens the upper bin
    ([0, 0, 1], [0.29, 0.29, 0.28], 100, (0.58 + 0.72) / 3),  # 100 * 0.29 rounds below 29
    ([1, 0], [0.9, 0.2], 1, abs(1 - 1.1) / 2),
    ([1, 0], [0.9, 0.2], 10, (0.1 + 0.2) / 2),  # eight empty bins add nothing
    ([], [], 10, NAN),
]


@pytest.mark.parametrize(("labels", "probs", "n_bins", "expected"), CALIBRATION)
def test_calibration_error_equals_the_bins_by_hand(labels, probs, n_bins, expected):
    equal(metrics.calibration_error(labels, probs, n_bins=n_bins), expected, atol=1e-15)


def test_calibration_error_equals_a_loop_over_bins():
    random = np.random.default_rng(3)
    probs = random.random(500) ** 3  # few rows in the upper bins
    labels = (random.random(500) < probs * 0.7).astype(int)
    expected = 0.0
    for b in range(15):
        rows = (probs >= b / 15) & (probs < (b + 1) / 15)
        if rows.any():
            expected += abs(labels[rows].mean() - probs[rows].mean()) * rows.mean()
    equal(metrics.calibration_error(labels, probs, n_bins=15), expected)


BAD_LABELS = [
    ([0, 2], [0.1, 0.2], "labels must be 0 or 1, got 2"),
    ([0, 0.5], [0.1, 0.2], "labels must be 0 or 1, got 0.5"),
    ([0, NAN], [0.1, 0.2], "labels must be 0 or 1, got nan"),
    ([0, 1], [0.1], "probs must have shape torch.Size([2]), got torch.Size([1])"),
    ([[0, 1]], [[0.1, 0.2]], "labels must have shape (B,), got torch.Size([1, 2])"),
]


@pytest.mark.parametrize("name", ["auc", "log_loss", "calibration_error"])
@pytest.mark.parametrize(
    ("labels", "probs", "message"), BAD_LABELS, ids=[row[2] for row in BAD_LABELS]
)
def test_bad_labels_are_named(name, labels, probs, message):
    fails(message, getattr(metrics, name), labels, probs)


@pytest.mark.parametrize("name", ["log_loss", "calibration_error"])
@pytest.mark.parametrize(("value", "shown"), [(1.5, "1.5"), (-0.1, "-0.1"), (NAN, "nan")])
def test_a_value_that_is_no_probability_is_named(name, value, shown):
    fails(f"probs must be in [0, 1], got {shown}", getattr(metrics, name), [0, 1], [0.5, value])


def test_bad_input_of_auc_gauc_and_calibration_is_named():
    fails("probs must be numbers, got nan", metrics.auc, [0, 1], [NAN, 1.0])
    message = "users must have shape torch.Size([2]), got torch.Size([1])"
    fails(message, metrics.gauc, [0, 1], [0.1, 0.2], [5])
    fails("n_bins must be at least 1, got 0", metrics.calibration_error, [0], [0.1], n_bins=0)


# ----------------------------------------------------------------------------- beyond accuracy
def test_coverage_counts_each_recommended_item_once_and_no_empty_slot():
    equal(metrics.coverage([[0, 3, -1], [3, 0, 4]], 5), 3 / 5)
    equal(metrics.coverage([[-1, -1]], 5), 0)
    equal(metrics.coverage([[0, 1], [2, 2]], 3), 1)


def test_novelty_is_the_mean_self_information_in_nats():
    popularity = [8, 4, 2, 2]
    found = metrics.novelty([[0, 2, 3], [1, -1, -1], [-1, -1, -1]], popularity)
    equal(found, [(math.log(2) + 2 * math.log(8)) / 3, math.log(4), NAN])


def test_novelty_only_asks_for_the_share_of_popularity():
    equal(metrics.novelty([[0, 1]], [0.3, 0.1, 0.0]), metrics.novelty([[0, 1]], [3, 1, 0]))


def test_diversity_is_one_minus_the_mean_cosine_over_pairs():
    features = [[2.0, 0, 0], [0, 5, 0], [3, 3, 0], [0, 0, 0], [-1, 0, 0]]
    half = math.sqrt(0.5)
    found = metrics.diversity(
        [[0, 1, 2], [0, 0, -1], [0, -1, -1], [-1, 2, 1], [0, 3, -1], [0, 4, -1], [3, 3, -1]],
        features,
    )
    equal(found, [1 - (half + half) / 3, 0, NAN, 1 - half, 1, 2, 1], atol=1e-12)


@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_array, sparse.csr_matrix, torch.tensor])
def test_diversity_equals_a_loop_over_pairs_for_dense_and_sparse_features(kind):
    random = np.random.default_rng(5)
    features = random.normal(size=(9, 4)) * (random.random((9, 4)) < 0.6)
    rankings = np.array([random.choice(9, size=5, replace=False) for _ in range(12)])
    rankings[3, 2:] = -1
    expected = []
    for row in rankings:
        vectors = [features[item] for item in row if item >= 0]
        cosines = []
        for i, a in enumerate(vectors):
            for b in vectors[:i]:
                norm = np.linalg.norm(a) * np.linalg.norm(b)
                cosines.append(a @ b / norm if norm else 0.0)
        expected.append(1 - np.mean(cosines))
    equal(metrics.diversity(rankings, kind(features)), expected, atol=1e-12)


GINI = [([5, 5, 5, 5], 0), ([0, 0, 7, 0], 3 / 4), ([1, 3], 1 / 4), ([0, 0], NAN), ([9], 0)]


@pytest.mark.parametrize(("exposure", "expected"), GINI)
def test_gini_equals_the_fraction_by_hand(exposure, expected):
    equal(metrics.gini(exposure), expected)


def test_gini_is_half_the_relative_mean_absolute_difference():
    exposure = np.random.default_rng(2).exponential(size=31)
    difference = np.abs(exposure[:, None] - exposure).mean()
    equal(metrics.gini(exposure), difference / (2 * exposure.mean()))


def test_bad_input_of_lists_is_named():
    ids = "rankings must be from -1 to 1, got "
    for function, rest in [
        (metrics.coverage, 2),
        (metrics.novelty, [1, 1]),
        (metrics.diversity, np.eye(2)),
    ]:
        fails(ids + "2", function, [[0, 2]], rest)
        fails(ids + "-2", function, [[-2, 0]], rest)
        fails("rankings must be integers, got torch.float64", function, [[0.0]], rest)
        fails("rankings must have shape (B, K), got torch.Size([2])", function, [0, 1], rest)
    fails("n_items must be at least 1, got 0", metrics.coverage, [[-1]], 0)
    message = "popularity must be above 0 for recommended items, got 0 for item 1"
    fails(message, metrics.novelty, [[0, -1], [0, 1]], [3, 0])
    fails("popularity must be finite and at least 0, got -2", metrics.novelty, [[0]], [1, -2])
    fails("exposure must be finite and at least 0, got -2", metrics.gini, [1, -2])
    message = "item_features must have shape (I, F), got (2,)"
    fails(message, metrics.diversity, [[0]], [1.0, 2.0])
    message = "item_features must be finite, got nan in row 1"
    fails(message, metrics.diversity, [[0]], [[1.0], [NAN]])


# ------------------------------------------------------------------------------------- oracles
def untied(n_users=30, n_items=25):
    """Scores without ties, graded relevance, every user with at least one relevant item."""
    random = np.random.default_rng(11)
    scores = random.permuted(np.arange(n_items) / n_items + np.zeros((n_users, 1)), axis=1)
    relevance = random.integers(1, 4, size=scores.shape) * (random.random(scores.shape) < 0.15)
    relevance[np.arange(n_users), random.integers(n_items, size=n_users)] = 2
    return scores, relevance


@pytest.mark.oracle
@pytest.mark.parametrize("k", [1, 4, 10, 25])
def test_ndcg_equals_scikit_learn_without_ties(k):
    # scikit-learn averages over tied orders and gives 0 to a user without a relevant item.
    sklearn_metrics = pytest.importorskip("sklearn.metrics")
    scores, relevance = untied()
    expected = [
        sklearn_metrics.ndcg_score([r], [s], k=k) for s, r in zip(scores, relevance, strict=True)
    ]
    equal(values("ndcg", scores, relevance, k), expected, atol=1e-12)


@pytest.mark.oracle
@pytest.mark.parametrize("n_levels", [5, 10_000])
def test_auc_and_log_loss_equal_scikit_learn_with_ties(n_levels):
    # scikit-learn warns and gives NaN for AUC of one class; it clips log-loss as we do.
    sklearn_metrics = pytest.importorskip("sklearn.metrics")
    random = np.random.default_rng(13)
    probs = random.integers(n_levels + 1, size=400) / n_levels  # 0 and 1 included
    labels = (random.random(400) < probs).astype(int)
    labels[:5], probs[:5] = 1, 0
    equal(metrics.auc(labels, probs), sklearn_metrics.roc_auc_score(labels, probs))
    for dtype in (np.float32, np.float64):
        expected = sklearn_metrics.log_loss(labels, probs.astype(dtype))
        equal(metrics.log_loss(labels, probs.astype(dtype)), expected, rtol=1e-6)


@pytest.mark.oracle
def test_ranking_metrics_equal_ranx_without_ties():
    # ranx gives 0, not NaN, to a query without a relevant item (untied() has none), and divides
    # average precision by the number of relevant items, not by min(k, that number): k = 10 is
    # above every user's count here. Its names: mrr, map, ndcg (linear gain). It compiles for more
    # than a minute, so it runs uncompiled, which only a fresh process can choose.
    pytest.importorskip("ranx")
    scores, relevance = untied()
    assert (relevance > 0).sum(1).max() <= 10
    names = ["recall@10", "precision@10", "hit_rate@10", "mrr@10", "map@10", "ndcg@10"]
    program = "\n".join(
        [
            "import json, sys, ranx",
            "qrels, run, names = json.load(sys.stdin)",
            "found = ranx.evaluate(ranx.Qrels(qrels), ranx.Run(run), names, return_mean=False)",
            "json.dump({name: list(map(float, found[name])) for name in names}, sys.stdout)",
        ]
    )
    relevant = [{f"{i:02}": int(g) for i, g in enumerate(row) if g} for row in relevance]
    scored = [{f"{i:02}": float(score) for i, score in enumerate(row)} for row in scores]
    queries = [
        dict(zip(map("{:02}".format, range(30)), x, strict=True)) for x in (relevant, scored)
    ]
    finished = subprocess.run(
        [sys.executable, "-c", program],
        input=json.dumps([*queries, names]),
        env=os.environ | {"NUMBA_DISABLE_JIT": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    found = json.loads(finished.stdout)
    for name, theirs in zip(RANKING, names, strict=True):
        equal(values(name, scores, relevance, 10), found[theirs], atol=1e-6)


# ---------------------------------------------------------------------------------- properties
@st.composite
def tables(draw):
    shape = (draw(st.integers(1, 5)), draw(st.integers(1, 8)))
    levels = st.integers(-3, 3).map(float)
    scores = draw(hnp.arrays(np.float64, shape, elements=levels))
    relevance = draw(hnp.arrays(np.int64, shape, elements=st.integers(0, 2)))
    return scores, relevance, draw(st.integers(1, 9))


PROPERTY = settings(max_examples=60, deadline=None, derandomize=True)


@PROPERTY
@given(tables())
def test_ranking_metrics_are_between_0_and_1_and_nan_only_without_relevant_items(table):
    scores, relevance, k = table
    for name in RANKING:
        found = values(name, scores, relevance, k)
        np.testing.assert_array_equal(np.isnan(found), (relevance > 0).sum(1) == 0)
        known = found[~np.isnan(found)]
        assert ((known >= 0) & (known <= 1 + 1e-12)).all()


@PROPERTY
@given(tables())
def test_recall_hit_rate_and_reciprocal_rank_do_not_fall_with_k(table):
    scores, relevance, k = table
    for name in ["recall", "hit_rate", "reciprocal_rank"]:
        lower, higher = (values(name, scores, relevance, c) for c in (k, k + 1))
        assert (np.nan_to_num(lower) <= np.nan_to_num(higher)).all()


@PROPERTY
@given(tables(), st.sampled_from([np.exp, lambda s: 5 * s - 2, lambda s: s**3]))
def test_ranking_metrics_do_not_change_under_an_increasing_map_of_scores(table, increasing):
    scores, relevance, k = table
    for name in RANKING:
        np.testing.assert_array_equal(
            values(name, increasing(scores), relevance, k), values(name, scores, relevance, k)
        )


@PROPERTY
@given(tables(), st.randoms(use_true_random=False))
def test_relabelling_users_permutes_the_values(table, random):
    scores, relevance, k = table
    order = list(range(len(scores)))
    random.shuffle(order)
    for name in RANKING:
        np.testing.assert_array_equal(
            values(name, scores[order], relevance[order], k),
            values(name, scores, relevance, k)[order],
        )


@PROPERTY
@given(tables())
def test_scoring_by_relevance_is_perfect(table):
    _, relevance, k = table
    known = (relevance > 0).any(1)
    for name in ["hit_rate", "reciprocal_rank", "average_precision", "ndcg"]:
        equal(values(name, relevance, relevance, k)[known], np.ones(known.sum()))
    equal(values("recall", relevance, relevance, 8)[known], np.ones(known.sum()))


@PROPERTY
@given(tables())
def test_a_reversed_score_turns_auc_into_its_complement(table):
    scores, relevance, _ = table
    labels, probs = (relevance.ravel() > 0).astype(int), scores.ravel()
    equal(metrics.auc(labels, -probs), 1 - metrics.auc(labels, probs).numpy())
