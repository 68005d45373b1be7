r"""How good a ranking, a predicted probability or a set of recommended lists is.

.. math::

    \mathrm{DCG@}k = \sum_{r=1}^{k} \frac{\mathrm{rel}_r}{\log_2(r+1)}, \qquad
    \mathrm{nDCG@}k = \frac{\mathrm{DCG@}k}{\max \mathrm{DCG@}k}

Ranking metrics take ``scores`` (U, I) and ``relevance`` (U, I) and give one float64 value per user;
the caller takes the mean. Their corner cases are the same everywhere:

- an item is relevant where relevance > 0; only :func:`ndcg` uses the grade;
- a user without a relevant item gets NaN;
- equal scores: lower item id first;
- ``k`` above I counts as I;
- a score of -inf masks an item: it is never recommended, so it is never a hit, but a relevant one
  still counts in the denominator;
- NaN scores, negative or non-finite relevance, ``k`` below 1 and unequal shapes raise ValueError.

Anything that NumPy turns into an array is accepted beside tensors.

Source: Järvelin and Kekäläinen (2002), ACM TOIS 20(4), for nDCG; Fawcett (2006), Pattern
Recognition Letters 27(8), for AUC; Zhou et al. (2018), arXiv:1706.06978, for GAUC; Guo et al.
(2017), arXiv:1706.04599, for calibration error; Castells, Hurley and Vargas (2022), Recommender
Systems Handbook, for novelty and diversity.

Differences from the paper:
    1. nDCG: rank r is discounted by log2(r + 1); the paper discounts by log_b(r), and ranks below
       the base b not at all.
    2. Average precision divides by min(k, number of relevant items); TREC divides by the number of
       relevant items, so that a short list cannot reach 1.
    3. Novelty is in nats; the handbook uses bits.

Chapter: ``foundations/evaluation``.
"""

import operator
from typing import Any

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

__all__ = [
    "auc",
    "auc_by_user",
    "average_precision",
    "calibration_error",
    "coverage",
    "diversity",
    "gauc",
    "gini",
    "hit_rate",
    "log_loss",
    "metrics_from_ranks",
    "ndcg",
    "novelty",
    "precision",
    "recall",
    "reciprocal_rank",
]

_NAN = float("nan")


def recall(scores: Any, relevance: Any, *, k: int) -> Tensor:
    """Share of the user's relevant items that are in the top ``k``: (U,) in [0, 1]."""
    gains, relevance = _top_gains(scores, relevance, k)
    return (gains > 0).sum(1).double() / _n_relevant(relevance)


def precision(scores: Any, relevance: Any, *, k: int) -> Tensor:
    """Share of the top ``k`` that is relevant, divided by min(k, I): (U,) in [0, 1]."""
    gains, relevance = _top_gains(scores, relevance, k)
    return _nan_without(relevance, (gains > 0).double().mean(1))


def hit_rate(scores: Any, relevance: Any, *, k: int) -> Tensor:
    """1 where at least one relevant item is in the top ``k``, else 0: (U,)."""
    gains, relevance = _top_gains(scores, relevance, k)
    return _nan_without(relevance, (gains > 0).any(1).double())


def reciprocal_rank(scores: Any, relevance: Any, *, k: int) -> Tensor:
    """1 / rank of the first relevant item in the top ``k``, 0 where there is none: (U,)."""
    gains, relevance = _top_gains(scores, relevance, k)
    hits = (gains > 0).double()  # (U, K)
    ranks = torch.arange(1, hits.shape[1] + 1, device=hits.device)
    return _nan_without(relevance, (hits * (hits.cumsum(1) == 1) / ranks).sum(1))


def average_precision(scores: Any, relevance: Any, *, k: int) -> Tensor:
    """Sum of precision@r over the hits r <= k, divided by min(k, relevant items): (U,)."""
    gains, relevance = _top_gains(scores, relevance, k)
    hits = (gains > 0).double()  # (U, K)
    ranks = torch.arange(1, hits.shape[1] + 1, device=hits.device)
    best = _n_relevant(relevance).clamp(max=hits.shape[1])
    return (hits * hits.cumsum(1) / ranks).sum(1) / best


def ndcg(scores: Any, relevance: Any, *, k: int) -> Tensor:
    """Normalised discounted cumulative gain at cutoff ``k``, one value per user.

    DCG@k = sum over ranks r = 1..k of relevance[r] / log2(r + 1); nDCG divides by the best DCG@k.

    Args:
        scores: (U, I) float, higher is better; equal scores keep item-id order.
        relevance: (U, I) float, >= 0; gain is linear.
        k: cutoff, k >= 1; more than I counts as I.

    Returns:
        (U,) float64 in [0, 1]; NaN where a user has no relevant item.

    Raises:
        ValueError: if the shapes differ, a score is NaN or ``k`` is below 1.
    """
    gains, relevance = _top_gains(scores, relevance, k)
    discount = 1 / torch.arange(2, gains.shape[1] + 2, device=gains.device).double().log2()  # (K,)
    best = relevance.topk(gains.shape[1], dim=1).values.double()  # (U, K)
    return (gains * discount).sum(1) / (best * discount).sum(1)


def metrics_from_ranks(ranks: Any, cases: Any, n_cases: int, k: int) -> dict[str, Tensor]:
    """All ranking metrics at cutoff ``k`` from the ranks of the targets, relevance being binary.

    Agrees with the functions above; for evaluation, which counts ranks instead of sorting scores.

    Args:
        ranks: (T,) int64, 1-based rank of each target, unique within a case. A masked target has a
            rank above the catalogue.
        cases: (T,) int64 in [0, n_cases), the case (user, session) of each target, in any order.
        n_cases: number of cases; one without targets gets NaN.
        k: cutoff, k >= 1; precision divides by it, so the caller bounds it by the catalogue.

    Returns:
        (n_cases,) float64 under ``recall``, ``precision``, ``hit_rate``, ``reciprocal_rank``,
        ``average_precision`` and ``ndcg``.

    Raises:
        ValueError: if ranks repeat within a case, or ranks, cases or ``k`` are out of range.
    """
    k, ranks, cases = _cutoff(k), _tensor(ranks), _tensor(cases)
    _check_ids("ranks", ranks, 1, None)
    _check_ids("cases", cases, 0, n_cases)
    if cases.ndim != 1:
        raise ValueError(f"cases must have shape (T,), got {cases.shape}")
    if ranks.shape != cases.shape:
        raise ValueError(f"ranks must have shape {cases.shape}, got {ranks.shape}")
    order = ranks.argsort(stable=True)
    order = order[cases[order].argsort(stable=True)]  # by case, then by rank
    ranks, cases = ranks[order], cases[order].long()
    repeated = (ranks[1:] == ranks[:-1]) & (cases[1:] == cases[:-1])
    if repeated.any():
        rank, case = int(ranks[1:][repeated][0]), int(cases[1:][repeated][0])
        raise ValueError(f"ranks must be unique within a case, got {rank} twice in case {case}")

    def per_case(values: Tensor) -> Tensor:  # (T,) -> (n_cases,)
        zeros = torch.zeros(n_cases, dtype=torch.float64, device=values.device)
        return zeros.index_add_(0, cases, values.double())

    counts = torch.bincount(cases, minlength=n_cases)  # targets of each case
    first = counts.cumsum(0) - counts  # where each case begins
    nth = torch.arange(len(cases), device=cases.device) - first[cases] + 1  # nth target of its case
    hits = (ranks <= k).double()
    n_hits, best = per_case(hits), counts.clamp(max=k)
    longest = int(best.max()) if n_cases else 0
    discount = 1 / torch.arange(2, longest + 2, device=cases.device).double().log2()
    ideal = torch.cat([discount.new_zeros(1), discount.cumsum(0)])[best]  # (n_cases,)
    known = torch.where(counts > 0, 1.0, _NAN).double()
    return {
        "recall": n_hits / counts,
        "precision": known * n_hits / k,
        "hit_rate": known * (n_hits > 0),
        "reciprocal_rank": known * per_case(hits * (nth == 1) / ranks),
        "average_precision": per_case(hits * nth / ranks) / best,
        "ndcg": per_case(hits / (ranks + 1).double().log2()) / ideal,
    }


def auc(labels: Any, probs: Any) -> Tensor:
    """Chance that a positive has a higher score than a negative; ties count half.

    ``labels`` (B,) are 0 or 1, ``probs`` (B,) any scores; a scalar, NaN where one class is missing.
    """
    labels, probs = _labeled(labels, probs)
    return _grouped_auc(labels, probs, torch.zeros_like(labels, dtype=torch.long), 1)[0]


def auc_by_user(labels: Any, probs: Any, users: Any) -> tuple[Tensor, Tensor]:
    """AUC and number of impressions of each user seen, in order of user id: (U,) and (U,).

    A user with one class has AUC NaN.
    """
    labels, probs = _labeled(labels, probs)
    users = _tensor(users)
    if users.shape != labels.shape:
        raise ValueError(f"users must have shape {labels.shape}, got {users.shape}")
    _, groups, counts = users.unique(return_inverse=True, return_counts=True)
    return _grouped_auc(labels, probs, groups, len(counts)), counts


def gauc(labels: Any, probs: Any, users: Any) -> Tensor:
    """Mean of the users' AUCs weighted by their impressions, a scalar.

    Users with one class have no AUC and are left out, with their impressions;
    ``auc_by_user(...)[0].isnan().sum()`` counts them. NaN where no user is left.
    """
    aucs, counts = auc_by_user(labels, probs, users)
    return aucs.nan_to_num(0).mul(counts).sum() / counts[~aucs.isnan()].sum()


def log_loss(labels: Any, probs: Any) -> Tensor:
    """Mean negative log-likelihood of ``labels`` (B,) under ``probs`` (B,), in nats; a scalar.

    Probabilities are clipped to [eps, 1 - eps]: eps is 2.2e-16 in float64, 1.2e-7 in float32.
    """
    labels, probs = _labeled(labels, probs, bounded=True)
    eps = torch.finfo(probs.dtype).eps
    probs = probs.clamp(eps, 1 - eps).double()
    return -torch.where(labels > 0, probs.log(), (-probs).log1p()).mean()


def calibration_error(labels: Any, probs: Any, *, n_bins: int = 10) -> Tensor:
    """Expected calibration error, a scalar: how far probabilities are from frequencies.

    The distance between mean label and mean probability of each bin, weighted by its rows. Bins are
    [b / n_bins, (b + 1) / n_bins), the last one closed; an empty bin adds 0.
    """
    labels, probs = _labeled(labels, probs, bounded=True)
    if n_bins < 1:
        raise ValueError(f"n_bins must be at least 1, got {n_bins}")
    edges = torch.arange(1, n_bins, device=probs.device).double() / n_bins
    bins = torch.bucketize(probs.double(), edges, right=True)  # (B,)
    gaps = torch.zeros(n_bins, dtype=torch.float64, device=probs.device)
    return gaps.index_add_(0, bins, labels - probs.double()).abs().sum() / len(labels)


def coverage(rankings: Any, n_items: int) -> Tensor:
    """Share of the catalogue in at least one of the ``rankings`` (B, K), a scalar.

    Slots of id -1 are ignored.
    """
    if n_items < 1:
        raise ValueError(f"n_items must be at least 1, got {n_items}")
    rankings = _checked_rankings(rankings, n_items)
    return torch.tensor(rankings[rankings >= 0].unique().numel() / n_items, dtype=torch.float64)


def novelty(rankings: Any, popularity: Any) -> Tensor:
    """Mean self-information -ln p of the items in each list, in nats: (B,).

    p is ``popularity`` (I,) divided by its sum. Slots of id -1 are ignored; an empty list gives
    NaN; a recommended item of popularity 0 raises (add one to all counts to allow cold items).
    """
    popularity = _nonnegative("popularity", popularity).double()
    rankings = _checked_rankings(rankings, len(popularity))
    filled = rankings >= 0
    missing = rankings[filled][popularity[rankings[filled]] == 0]
    if len(missing):
        raise ValueError(
            f"popularity must be above 0 for recommended items, got 0 for item {int(missing[0])}"
        )
    information = popularity.sum().log() - popularity.log()  # (I,)
    return information[rankings].where(filled, 0).sum(1) / filled.sum(1)


def diversity(rankings: Any, item_features: Any) -> Tensor:
    """One minus the mean cosine over all pairs of items in each list: (B,).

    ``item_features`` (I, F) is dense or scipy sparse; an item of all zeros has cosine 0 with every
    item. Slots of id -1 are ignored; a list of fewer than two items gives NaN.
    """
    features: Any  # dense or sparse, both have *, @ and sum
    if hasattr(item_features, "tocsr"):
        features = sparse.csr_array(item_features.tocsr(), dtype=np.float64)
    else:
        features = _tensor(item_features).double().cpu().numpy()
    if features.ndim != 2:
        raise ValueError(f"item_features must have shape (I, F), got {features.shape}")
    rankings = _checked_rankings(rankings, features.shape[0])
    rows, slots = (rankings >= 0).nonzero(as_tuple=True)
    items = rankings[rows, slots].cpu().numpy()
    shape = (len(rankings), features.shape[0])
    lists = sparse.csr_array((np.ones(len(items)), (rows.cpu().numpy(), items)), shape=shape)
    norms = np.sqrt((features * features).sum(axis=1))  # (I,)
    if not np.isfinite(norms).all():
        item = int(np.isfinite(norms).argmin())
        raise ValueError(f"item_features must be finite, got {norms[item]} in row {item}")
    units = sparse.diags_array(1 / np.where(norms > 0, norms, 1)) @ features  # (I, F)
    sums = (
        lists @ units
    )  # (B, F): |sum of units|^2 holds every pair twice and each item with itself
    counts = lists.sum(axis=1)
    doubled = (sums * sums).sum(axis=1) - lists @ (norms > 0).astype(np.float64)
    pairs = counts * (counts - 1)
    means = np.divide(doubled, pairs, out=np.full(len(counts), np.nan), where=pairs > 0)
    return torch.as_tensor(1 - means, device=rankings.device)


def gini(exposure: Any) -> Tensor:
    """Gini coefficient of ``exposure`` (I,) >= 0, a scalar.

    0 where all items are shown equally, (I - 1) / I where one has all, NaN where none is shown.
    """
    ordered = _nonnegative("exposure", exposure).double().sort().values
    n_items = len(ordered)
    weights = 2 * torch.arange(1, n_items + 1, device=ordered.device) - n_items - 1
    return (weights * ordered).sum() / (n_items * ordered.sum())


def _tensor(values: Any) -> Tensor:
    """A tensor of numbers: read-only arrays are copied; booleans, which have no topk, are 0/1."""
    if not isinstance(values, Tensor):
        values = torch.as_tensor(np.require(values, requirements=["C", "W"]))
    return values.byte() if values.dtype == torch.bool else values


def _real(values: Any) -> Tensor:
    tensor = _tensor(values)
    return tensor if tensor.is_floating_point() else tensor.double()


def _cutoff(k: int) -> int:
    try:
        cutoff = operator.index(k)
    except TypeError:
        raise ValueError(f"k must be an integer, got {k}") from None
    if cutoff < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    return cutoff


def _top_gains(scores: Any, relevance: Any, k: int) -> tuple[Tensor, Tensor]:
    """Relevance of the top k items in ranking order (U, K) float64, and the checked relevance."""
    k, scores, relevance = _cutoff(k), _tensor(scores), _nonnegative("relevance", relevance)
    if scores.ndim != 2:
        raise ValueError(f"scores must have shape (U, I), got {scores.shape}")
    if relevance.shape != scores.shape:
        raise ValueError(f"relevance must have shape {scores.shape}, got {relevance.shape}")
    if scores.isnan().any():
        user, item = scores.isnan().nonzero()[0].tolist()
        raise ValueError(f"scores must not be NaN, got NaN for user {user}, item {item}")
    ranking = _ranking(scores, min(k, scores.shape[1]))
    masked = scores.gather(1, ranking) == -torch.inf
    return relevance.gather(1, ranking).double().masked_fill(masked, 0), relevance


def _ranking(scores: Tensor, k: int) -> Tensor:
    """Ids of the k best items, best first, equal scores by id: (U, K).

    ``topk`` is unstable but several times faster than a stable sort of every row, so only the rows
    with a tie across the cutoff are sorted whole.
    """
    values, items = scores.topk(k, dim=1)
    crowded = (scores >= values[:, -1:]).sum(1) > k  # (U,)
    items[crowded] = scores[crowded].argsort(dim=1, descending=True, stable=True)[:, :k]
    items = items.sort(1).values
    return items.gather(1, scores.gather(1, items).argsort(dim=1, descending=True, stable=True))


def _n_relevant(relevance: Tensor) -> Tensor:
    return (relevance > 0).sum(1).double()


def _nan_without(relevance: Tensor, values: Tensor) -> Tensor:
    return values.masked_fill(~(relevance > 0).any(1), _NAN)


def _grouped_auc(labels: Tensor, scores: Tensor, groups: Tensor, n_groups: int) -> Tensor:
    """AUC of each group (G,), from runs of equal scores instead of pairs."""
    order = scores.argsort(stable=True)
    order = order[groups[order].argsort(stable=True)]  # by group, then by score
    labels, scores, groups = labels[order], scores[order], groups[order]
    starts = torch.ones_like(labels, dtype=torch.bool)
    starts[1:] = (scores[1:] != scores[:-1]) | (groups[1:] != groups[:-1])
    runs, group_of_run = starts.cumsum(0) - 1, groups[starts]  # (B,), (runs,)
    positives = labels.new_zeros(len(group_of_run)).index_add_(0, runs, labels)
    negatives = labels.new_zeros(len(group_of_run)).index_add_(0, runs, 1 - labels)
    n_positives = labels.new_zeros(n_groups).index_add_(0, groups, labels)
    n_negatives = labels.new_zeros(n_groups).index_add_(0, groups, 1 - labels)
    earlier = (n_negatives.cumsum(0) - n_negatives)[group_of_run]  # negatives of earlier groups
    below = negatives.cumsum(0) - negatives - earlier  # of the same group, with a lower score
    wins = labels.new_zeros(n_groups)
    wins.index_add_(0, group_of_run, positives * (below + negatives / 2))
    return wins / (n_positives * n_negatives)


def _labeled(labels: Any, probs: Any, *, bounded: bool = False) -> tuple[Tensor, Tensor]:
    labels, probs = _tensor(labels).double(), _real(probs)
    if labels.ndim != 1:
        raise ValueError(f"labels must have shape (B,), got {labels.shape}")
    if probs.shape != labels.shape:
        raise ValueError(f"probs must have shape {labels.shape}, got {probs.shape}")
    for label in labels[(labels != 0) & (labels != 1)][:1].tolist():
        raise ValueError(f"labels must be 0 or 1, got {label:g}")
    wrong = ~((probs >= 0) & (probs <= 1)) if bounded else probs.isnan()
    for value in probs[wrong][:1].tolist():
        rule = "in [0, 1]" if bounded else "numbers"
        raise ValueError(f"probs must be {rule}, got {value:g}")
    return labels, probs


def _nonnegative(name: str, values: Any) -> Tensor:
    tensor = _tensor(values)
    for value in torch.stack(tensor.aminmax()).tolist() if tensor.numel() else []:  # NaN spreads
        if not 0 <= value < torch.inf:
            raise ValueError(f"{name} must be finite and at least 0, got {value:g}")
    return tensor


def _check_ids(name: str, ids: Tensor, low: int, stop: int | None) -> None:
    if ids.is_floating_point() and ids.numel():
        raise ValueError(f"{name} must be integers, got {ids.dtype}")
    wrong = ids[(ids < low) | (ids >= (torch.inf if stop is None else stop))]
    for value in wrong[:1].tolist():
        rule = f"at least {low}" if stop is None else f"from {low} to {stop - 1}"
        raise ValueError(f"{name} must be {rule}, got {value}")


def _checked_rankings(rankings: Any, n_items: int) -> Tensor:
    rankings = _tensor(rankings)
    if rankings.ndim != 2:
        raise ValueError(f"rankings must have shape (B, K), got {rankings.shape}")
    _check_ids("rankings", rankings, -1, n_items)
    return rankings.long()
