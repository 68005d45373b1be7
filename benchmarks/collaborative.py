"""Rows of the collaborative part: popularity, neighbours, content and EASE on real data.

Options are chosen by nDCG on validation; the chosen model is fitted again on train and validation
and judged once on test. Where a peer exists, both run in turn on the same data and threads.
"""

import warnings
from collections.abc import Callable, Mapping
from functools import partial
from statistics import median
from typing import Any

import numpy as np
from scipy.sparse import csr_array, csr_matrix

from benchmarks.measure import growth_mib
from benchmarks.protocol import (
    CUTOFFS,
    Options,
    grid,
    metrics_of,
    metrics_over_seeds,
    split_of,
    timed,
)
from reclib.collaborative import EASE, ContentKNN, HybridKNN, ItemKNN, Popularity, UserKNN
from reclib.datasets import Dataset, load
from reclib.foundations.evaluation import Cases, Report, cases_from_split, evaluate
from reclib.foundations.interactions import Interactions
from reclib.foundations.recommender import blocks, recommend
from reclib.foundations.splitting import Split, split_last, split_random, split_time

__all__ = ["ROWS"]

Make = Callable[..., Any]

_FULL = "the whole catalogue is ranked, the history is masked; fitted on train and validation"
_NEIGHBORS: dict[str, list[Any]] = {
    "n_neighbors": [20, 100, 300],
    "shrinkage": [0.0, 5.0, 20.0, 50.0],
}

# The model, and the options to choose from on validation; one value each: nothing to choose.
MODELS: dict[str, tuple[Make, dict[str, list[Any]]]] = {
    "popularity": (Popularity, {}),
    "item-knn": (ItemKNN, {"n_neighbors": [100]}),
    "item-knn-tuned": (ItemKNN, {"similarity": ["cosine", "jaccard"], **_NEIGHBORS}),
    "user-knn": (UserKNN, {"n_neighbors": [50, 100, 300], "shrinkage": [0.0, 5.0, 20.0]}),
    "content-knn": (ContentKNN, {"n_neighbors": [20, 100, 300]}),
    "hybrid-knn": (
        HybridKNN,
        {"content_weight": [0.01, 0.03, 0.1, 0.3], "n_neighbors": [100], "shrinkage": [5.0, 20.0]},
    ),
    "ease": (EASE, {"regularization": [20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0]}),
}


def _fit(make: Make, options: Options, train: Interactions, data: Dataset) -> Any:
    model = make(**options)
    if make in (ContentKNN, HybridKNN):
        return model.fit(train, item_features=data.item_features)
    return model.fit(train)


def _choose(
    make: Make, choices: Mapping[str, list[Any]], split: Split, data: Dataset, metric: str
) -> Options:
    """The options with the best validation metric; the first of equals."""
    tried = list(grid(choices))
    if len(tried) == 1:
        return tried[0]
    cases = cases_from_split(split, "validation")
    k = int(metric.partition("@")[2])
    values = [evaluate(_fit(make, o, split.train, data), cases, k=k)[metric] for o in tried]
    return tried[int(np.argmax(values))]


def _row(
    name: str, kind: str, extra: Callable[..., dict[str, Any]] | None = None
) -> dict[str, Any]:
    """One model on one data set."""
    data = load(name)
    split, rule = split_of(data)
    make, choices = MODELS[kind]
    metric = "ndcg@20" if rule == "published" else "ndcg@10"
    options = _choose(make, choices, split, data, metric)
    history = split.train_and_validation
    (model, seconds), growth = growth_mib(
        lambda: timed(partial(_fit, make, options, history, data))
    )
    cases = cases_from_split(split)
    (report, judged), judging = growth_mib(lambda: timed(lambda: evaluate(model, cases, k=CUTOFFS)))
    row: dict[str, Any] = {
        "dataset": name,
        "split": rule,
        "protocol": _FULL,
        "model": type(model).__name__,
        "options": options,
        "chosen_from": {key: values for key, values in choices.items() if len(values) > 1},
        "metrics": metrics_of(report),
        "counts": dict(report.counts),
        "ties": {f"@{k}": share for k, share in report.ties.items()},
        "seconds": {"fit": seconds, "evaluate": judged},
        "memory_mib": {"fit": growth, "evaluate": judging},
        "note": f"chosen on validation by {metric}" if len(list(grid(choices))) > 1 else "",
    }
    more = extra(model, cases, history) if extra else {}
    merged = {key: row[key] | more.pop(key, {}) for key in ("seconds", "memory_mib")}
    return row | merged | more


# --- beside a peer ---


def _beside_implicit(model: ItemKNN, cases: Cases, history: Interactions) -> dict[str, Any]:
    """Fit and recommend for all users, ours and implicit's in turn; and what evaluating adds."""
    from implicit.nearest_neighbours import CosineRecommender

    counts = csr_matrix(history.matrix())
    users = np.arange(history.n_users)
    peer = CosineRecommender(K=model.n_neighbors + 1)  # it counts the item itself as one

    def ours() -> Any:
        fresh = ItemKNN(n_neighbors=model.n_neighbors).fit(history)
        return recommend(fresh, users, k=10, exclude=history)

    def theirs() -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # implicit warns about a conversion of its own
            peer.fit(counts, show_progress=False)
        return peer.recommend(users, counts, N=10)

    def scoring() -> None:
        for block in blocks(len(cases), history.n_items, None):
            model.score(users[block])

    def judging() -> Report:
        return evaluate(model, cases)

    times: dict[str, list[float]] = {"ours": [], "theirs": [], "scoring": [], "judging": []}
    for _ in range(5):
        for name, call in zip(times, (ours, theirs, scoring, judging), strict=True):
            times[name].append(timed(call)[1])
    middle = {name: median(values) for name, values in times.items()}
    scores = theirs()[1]
    return {
        "peer": {
            "name": "implicit 0.7.3, CosineRecommender",
            "seconds": {"fit and recommend to all": middle["theirs"]},
            "time ratio, ours to theirs": middle["ours"] / middle["theirs"],
            **_agreement(model, csr_array(peer.similarity), history, scores),
        },
        "seconds": {
            "fit and recommend to all": middle["ours"],
            "score all": middle["scoring"],
            "evaluate adds": middle["judging"] - middle["scoring"],
        },
    }


def _agreement(
    model: ItemKNN, similarity: csr_array, history: Interactions, scores: Any
) -> dict[str, float]:
    """Whether two sets of neighbours are the same up to ties, and the lists that follow from them.

    Many similarities on sparse data are equal, and which of the equal ones is the last neighbour
    kept is arbitrary. So weights are compared sorted within each item; neighbours that only one
    side keeps must weigh as much as the last one kept; and lists are compared from the same
    neighbours.
    """
    similarity.setdiag(0)
    similarity.eliminate_zeros()
    weights: Any = model.item_weights_
    mine = weights.astype(np.float64)
    sizes = np.diff(mine.indptr)
    rows = np.repeat(np.arange(sizes.size), sizes)
    ordered = [m.data[np.lexsort((m.data, rows))] for m in (mine, similarity)]
    last = np.full(sizes.size, np.inf)
    np.minimum.at(last, rows, mine.data)
    apart = (mine - similarity).tocoo()
    one_sided = abs(apart.data) > 1e-6
    beyond = abs(abs(apart.data) - last[apart.row]) > 1e-6
    same = ItemKNN(n_neighbors=model.n_neighbors).fit(history)
    same.item_weights_ = similarity.astype(np.float32)
    found = recommend(same, np.arange(history.n_users), k=10, exclude=history)
    filled = scores > 0
    return {
        "largest difference of weights, sorted within items": float(
            abs(ordered[0] - ordered[1]).max()
        ),
        "neighbours kept by one side only": int(one_sided.sum()),
        "of these, not tied with the last one kept": int((one_sided & beyond).sum()),
        "largest difference of scores, same neighbours": float(
            abs(found.scores - scores)[filled].max()
        ),
    }


def _beside_inverse(model: EASE, cases: Cases, history: Interactions) -> dict[str, Any]:
    """Solve for the weights in turn with a general inverse of the same Gram matrix."""
    del cases
    counts = history.matrix().astype(np.float32)

    def gram() -> Any:
        dense = (counts.T @ counts).toarray(order="F")
        dense[np.diag_indices_from(dense)] += np.float32(model.regularization)
        return dense

    def theirs() -> Any:
        inverse = np.linalg.inv(gram())
        weights = inverse / -np.diag(inverse)
        np.fill_diagonal(weights, 0)
        return weights

    times: dict[str, list[float]] = {"ours": [], "theirs": []}
    for _ in range(2):
        times["ours"].append(
            timed(lambda: EASE(regularization=model.regularization).fit(history))[1]
        )
        weights, seconds = timed(theirs)
        times["theirs"].append(seconds)
    gap = float(np.abs(weights - model.item_weights_).max())
    middle = {name: median(values) for name, values in times.items()}
    return {
        "peer": {
            "name": "numpy.linalg.inv on the same Gram matrix",
            "seconds": {"fit": middle["theirs"]},
            "time ratio, ours to theirs": middle["ours"] / middle["theirs"],
            "largest difference of weights": gap,
        },
        "seconds": {"fit": middle["ours"]},
    }


# --- MovieLens: random split over seeds, other splits, ratings ---


def _movielens(kind: str) -> dict[str, Any]:
    """Random 80/20 over three seeds; options chosen on a tenth of the first seed's train."""
    data = load("ml-100k")
    make, choices = MODELS[kind]
    first = split_random(data.interactions, 0.2, seed=0)
    held = split_random(first.train, 0.1, seed=0)
    options = _choose(
        make, choices, Split(held.train, held.test, first.test, "held"), data, "ndcg@10"
    )
    reports, seconds = [], []
    for seed in range(3):
        split = split_random(data.interactions, 0.2, seed=seed)
        model, fitting = timed(partial(_fit, make, options, split.train, data))
        reports.append(evaluate(model, cases_from_split(split), k=CUTOFFS))
        seconds.append(fitting)
    return {
        "dataset": "ml-100k",
        "split": "random 80/20",
        "protocol": "all ratings count as positive; the whole catalogue is ranked, train is masked",
        "model": type(model).__name__,
        "options": options,
        "metrics": metrics_over_seeds(reports),
        "seconds": {"fit": median(seconds)},
        "memory_mib": {},
        "note": "interval of the first seed, over users",
    }


_SPLITS: dict[str, Callable[[Interactions], Split]] = {
    "random": lambda events: split_random(events, 0.2, seed=0),
    "last": lambda events: split_last(events, n_validation=0, n_test=20),
    "time": lambda events: split_time(events, at=int(np.quantile(_times(events), 0.8))),
}


def _times(events: Interactions) -> Any:
    assert events.timestamps is not None
    return events.timestamps


def _movielens_splits() -> dict[str, Any]:
    """The same models under three splits that all hold out a fifth of the events."""
    data = load("ml-100k")
    kinds = {"Popularity": Popularity, "ItemKNN": ItemKNN, "UserKNN": UserKNN}
    models: dict[str, Callable[[], Any]] = {
        **kinds,
        "ItemKNN shrunk": lambda: ItemKNN(shrinkage=50.0),
        "EASE": lambda: EASE(regularization=500.0),
    }
    metrics: dict[str, Any] = {}
    for rule, split_by in _SPLITS.items():
        split = split_by(data.interactions)
        cases = cases_from_split(split)
        for name, make in models.items():
            report = evaluate(make().fit(split.train_and_validation), cases)
            metrics[f"ndcg@10, {rule}, {name}"] = metrics_of(report)["ndcg@10"]
            if rule == "time":
                known = Report(
                    {"ndcg@10": report.values["ndcg@10"][cases.histories.lengths > 0]}, {}, {}
                )
                metrics[f"ndcg@10, time (known users), {name}"] = metrics_of(known)["ndcg@10"]
    return {
        "dataset": "ml-100k",
        "split": "random, last and time",
        "protocol": "random: a fifth of the pairs; last: the last 20 events of each user; time: "
        "the last fifth of the calendar (most of its users are new; known users have a history); "
        "all ratings positive, full ranking, history masked",
        "model": "several",
        "options": {},
        "metrics": metrics,
        "seconds": {},
        "memory_mib": {},
        "note": "options are fixed, not chosen: the row is about the order of the models",
    }


def _ratings(make: Callable[[], Any] | None) -> dict[str, Any]:
    """Predicted ratings by five-fold cross-validation, clipped to 1 to 5."""
    events = load("ml-100k").interactions
    assert events.ratings is not None
    fold = np.random.default_rng(0).permutation(len(events)) % 5
    errors: dict[str, list[float]] = {"rmse": [], "mae": []}
    for held in range(5):
        train, test = events.select(fold != held), events.select(fold == held)
        assert test.ratings is not None and train.ratings is not None
        model = (make or ItemKNN)().fit(train)
        if make is None:
            guess = np.full(len(test), train.ratings.mean())
        else:
            guess = model.predict(test.users, test.items)
        wrong = np.clip(guess, 1, 5) - test.ratings
        errors["rmse"].append(float(np.sqrt((wrong**2).mean())))
        errors["mae"].append(float(np.abs(wrong).mean()))
    options = vars(make()) if make else {}
    return {
        "dataset": "ml-100k",
        "split": "5-fold",
        "protocol": "every rating is predicted once, from the other four fifths",
        "model": make().__class__.__name__ if make else "mean of all ratings",
        "options": {key: value for key, value in options.items() if not key.endswith("_")},
        "metrics": {
            name: {"mean": float(np.mean(v)), "std": float(np.std(v, ddof=1)), "n_seeds": 5}
            for name, v in errors.items()
        },
        "seconds": {},
        "memory_mib": {},
        "note": "spread over folds",
    }


# --- why sampled metrics mislead ---


def _sampled() -> dict[str, Any]:
    """The same models, ranked against the whole catalogue and against 99 sampled negatives."""
    data = load("s3rec-beauty")
    split = split_last(data.interactions)
    cases = cases_from_split(split)
    candidates = _with_negatives(cases, data.interactions.n_items, 99)
    small = Cases(cases.histories, cases.targets, cases.exclude, cases.users, candidates)
    models: dict[str, Callable[[], Any]] = {
        "Popularity": Popularity,
        "ItemKNN": lambda: ItemKNN(n_neighbors=100),
        "ItemKNN K=10": lambda: ItemKNN(n_neighbors=10),
        "UserKNN": lambda: UserKNN(n_neighbors=100),
        "EASE": lambda: EASE(regularization=200.0),
    }
    metrics: dict[str, Any] = {}
    for name, make in models.items():
        model = make().fit(split.train_and_validation)
        for kind, asked in (("full", cases), ("1+99", small)):
            metrics[f"ndcg@10, {kind}, {name}"] = metrics_of(evaluate(model, asked))["ndcg@10"]
    return {
        "dataset": "s3rec-beauty",
        "split": "split_last, sampled beside full",
        "protocol": "1+99: the target among 99 uniform negatives the user has not taken",
        "model": "several",
        "options": {},
        "metrics": metrics,
        "seconds": {},
        "memory_mib": {},
        "note": "the two kinds of numbers must never stand in one column",
    }


def _with_negatives(cases: Cases, n_items: int, n: int) -> Any:
    """(B, 1 + n) the target, and n distinct items outside history and target."""
    keys = np.random.default_rng(0).random((len(cases), n_items), dtype=np.float32)
    for known in (cases.exclude, cases.targets):
        keys[known.rows, known.items] = 2.0
    negatives = np.argpartition(keys, n, axis=1)[:, :n]
    return np.concatenate([cases.targets.items[:, None], negatives], axis=1)


ROWS: dict[str, Callable[[], dict[str, Any]]] = {}
for _set in ("s3rec-beauty", "s3rec-sports", "s3rec-lastfm"):
    ROWS |= {f"{_set}-{_kind}": partial(_row, _set, _kind) for _kind in MODELS}
ROWS["s3rec-beauty-item-knn"] = partial(_row, "s3rec-beauty", "item-knn", _beside_implicit)
ROWS["s3rec-beauty-ease"] = partial(_row, "s3rec-beauty", "ease", _beside_inverse)
for _kind in ("popularity", "item-knn", "item-knn-tuned", "user-knn", "ease"):
    ROWS[f"lastfm-social-{_kind}"] = partial(_row, "lastfm-social", _kind)
ROWS |= {f"ml-100k-{_kind}": partial(_movielens, _kind) for _kind in MODELS}
ROWS["ml-100k-splits"] = _movielens_splits
ROWS["ml-100k-ratings-mean"] = partial(_ratings, None)
ROWS["ml-100k-ratings-item-knn"] = partial(
    _ratings, partial(ItemKNN, n_neighbors=50, similarity="pearson", shrinkage=50.0)
)
ROWS["ml-100k-ratings-user-knn"] = partial(
    _ratings, partial(UserKNN, n_neighbors=50, shrinkage=20.0)
)
ROWS["s3rec-beauty-sampled"] = _sampled
