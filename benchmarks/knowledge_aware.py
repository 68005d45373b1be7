"""Rows of models that read a knowledge graph: new and rare products of the shop, and artists.

The shop is cut by its calendar: the last ten days are the test, the ten before them validation. The
shelf that is judged holds the products that nobody clicked before, and of the others the half with
the fewest clicks; all of the shelf is ranked. Options are chosen on validation.

kgcn-music follows the code of KGCN: as many negatives as positives, drawn for each user from the
artists that he has not played; all pairs are split 6:2:2; AUC and F1 over the pairs of the test.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from statistics import median
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array

from benchmarks._learned import options_of
from benchmarks.measure import growth_mib
from benchmarks.protocol import Options, grid, timed
from reclib.collaborative import EASE, ContentKNN, HybridKNN, ImplicitALS, Popularity
from reclib.collaborative._paths import Attributes, ItemFacts
from reclib.collaborative.knowledge_aware import CFKG, KGAT, KGCN
from reclib.collaborative.paths import PathEASE
from reclib.datasets import load
from reclib.foundations.batching import sample_negatives
from reclib.foundations.evaluation import Report, compare, evaluate
from reclib.foundations.interactions import Interactions, Triples
from reclib.foundations.metrics import auc
from reclib.foundations.training import Options as Training
from reclib.shop import Shop
from reclib.shop._config import DAY, START

__all__ = ["ROWS", "Period", "cold_periods", "knowledge_of", "shuffled"]

Bools = NDArray[np.bool_]
Make = Callable[..., Any]
_DAYS = 10  # of validation, and of the test


def _value(number: float, **more: float) -> dict[str, float]:
    return {"mean": float(number), "n_seeds": 1, **{k: float(v) for k, v in more.items()}}


# --- new and rare products of the shop


@dataclass(frozen=True)
class Period:
    """What is known when a period begins, what is clicked in it, and what is judged.

    Attributes:
        train, test: clicks before and in the period, each pair once.
        cold: (I,) products of the period that nobody clicked before.
        tail: (I,) of the others, the half with the fewest clicks.
    """

    train: Interactions
    test: Interactions
    cold: Bools
    tail: Bools

    def judge(self, model: Any, shelf: Bools | None = None) -> Report:
        """nDCG@10 and so on of the clicks on a shelf, by default all that is cold or rare."""
        shelf = self.cold | self.tail if shelf is None else shelf
        test = self.test.select(shelf[self.test.items])
        return evaluate(_Shelf(model, shelf), history=self.train, test=test, k=10)


class _Shelf:
    """A model that may recommend from a shelf only."""

    def __init__(self, model: Any, shelf: Bools) -> None:
        self.model, self.shelf = model, shelf

    def score(self, users: Any) -> NDArray[Any]:
        """(B, I), -inf outside the shelf."""
        scores = np.array(self.model.score(users))
        scores[:, ~self.shelf] = -np.inf
        return scores


def cold_periods(shop: Shop) -> tuple[Period, Period]:
    """Validation and test: ten days each, at the end of the log."""
    n_days = shop.config.n_days
    return _period(shop, n_days - 2 * _DAYS), _period(shop, n_days - _DAYS)


def _period(shop: Shop, first: int) -> Period:
    clicks = shop.events("clicks")
    assert clicks.timestamps is not None
    day = (clicks.timestamps - START) // DAY
    train = clicks.select(day < first).deduplicated()
    test = clicks.select((day >= first) & (day < first + _DAYS)).deduplicated()
    counts = train.item_counts()
    there = (shop.products["arrival_day"] < first + _DAYS).to_numpy()
    rare = counts <= np.median(counts[counts > 0])
    return Period(train, test, there & (counts == 0), (counts > 0) & rare)


def knowledge_of(shop: Shop) -> Triples:
    """The public graph but for ``sold_with``, which counts the purchases of the test as well."""
    graph = shop.knowledge
    [leaking] = graph.relations.loc[graph.relations["name"] == "sold_with", "relation"]
    kept = graph.triples.relations != leaking
    return Triples(
        graph.triples.heads[kept],
        graph.triples.relations[kept],
        graph.triples.tails[kept],
        graph.triples.n_entities,
        graph.triples.n_relations,
    )


def shuffled(triples: Triples, n_items: int, seed: int = 0) -> Triples:
    """The same graph, but each item has the facts of another one."""
    names = np.arange(triples.n_entities)
    names[:n_items] = np.random.default_rng(seed).permutation(n_items)
    return Triples(
        names[triples.heads],
        triples.relations,
        names[triples.tails],
        triples.n_entities,
        triples.n_relations,
    )


def _features(triples: Triples, n_items: int, links: bool) -> csr_array:
    """(I, F) the facts as attributes: those PathEASE reads, and the products an item goes with."""
    facts = ItemFacts.of(triples, n_items)
    found = Attributes.of(triples, n_items, 3).matrix(facts, n_items)
    found.data[:] = 1
    if not links:
        return found
    columns = facts.kinds * n_items + facts.sources
    _, places = np.unique(columns, return_inverse=True)
    shape = (n_items, int(places.max()) + 1)
    joined = csr_array((np.ones(places.size), (facts.targets, places)), shape=shape)
    return csr_array(np.hstack([found.toarray(), joined.toarray()]))


@lru_cache
def _ease(train: Interactions, regularization: float) -> EASE:
    """Fitted once for all weights that its scores are added with."""
    return EASE(regularization=regularization).fit(train)


class _Fusion:
    """EASE and content neighbours, their scores added with a weight."""

    def __init__(self, *, weight: float, regularization: float, n_neighbors: int) -> None:
        self.weight, self.regularization = weight, regularization
        self.content = ContentKNN(n_neighbors=n_neighbors)

    def fit(self, train: Interactions, *, item_features: csr_array) -> Any:
        """Fit both."""
        self.ease = _ease(train, self.regularization)
        self.content.fit(train, item_features=item_features)
        return self

    def score(self, users: Any) -> NDArray[Any]:
        """(B, I) the weighted sum."""
        return self.ease.score(users) + self.weight * self.content.score(users)


class _Contender(NamedTuple):
    """A model with the options to choose from, and what it reads beside the events."""

    make: Make
    choices: Mapping[str, Sequence[Any]]
    reads: str = ""


_PENALTIES, _NEIGHBORS = [500.0, 1000.0], [10, 20, 50]
_SIDES = ["attributes", "attributes and links"]
_FEW: dict[str, Any] = {"batch_size": 512, "learning_rate": 0.01, "progress": False}


def _trained(kind: Make, *, epochs: int, **options: Any) -> Any:
    return kind(training=Training(epochs=epochs, **_FEW), **options)


_CONTENDERS = {
    "popularity": _Contender(Popularity, {}),
    "EASE": _Contender(EASE, {"regularization": _PENALTIES}),
    "content neighbours": _Contender(ContentKNN, {"n_neighbors": _NEIGHBORS}, "features"),
    "neighbours with content": _Contender(
        HybridKNN,
        {"n_neighbors": [20], "shrinkage": [10.0], "content_weight": [0.2, 0.5, 0.8]},
        "features",
    ),
    "EASE with content": _Contender(
        _Fusion,
        {
            "regularization": [500.0, 1000.0],
            "n_neighbors": [10, 20],
            "weight": [0.003, 0.01, 0.03, 0.1],
        },
        "features",
    ),
    "PathEASE": _Contender(
        PathEASE,
        {"regularization": _PENALTIES, "attribute_regularization": [0.1, 0.3]},
        "triples",
    ),
    "CFKG": _Contender(partial(_trained, CFKG), {"epochs": [20]}, "triples"),
    "KGCN": _Contender(partial(_trained, KGCN), {"epochs": [10]}, "triples"),
    "KGAT": _Contender(partial(_trained, KGAT), {"epochs": [20]}, "triples"),
}


def _fitted(contender: _Contender, train: Interactions, side: Any, options: Options) -> Any:
    more = {"item_features": side} if contender.reads == "features" else {}
    if contender.reads == "triples":
        more = {"triples": side}
    return contender.make(**options).fit(train, **more)


def _sides(contender: _Contender, triples: Triples, n_items: int) -> Iterator[tuple[str, Any]]:
    """What a model may read, by name; content may choose whether links are attributes too."""
    if contender.reads == "features":
        for name in _SIDES:
            yield name, _features(triples, n_items, name != _SIDES[0])
    else:
        yield contender.reads, triples


def _chosen(
    contender: _Contender, period: Period, triples: Triples
) -> tuple[float, str, Any, Options]:
    """Validation nDCG@10, what to read, and the options of the best choice."""
    tried = [
        (
            period.judge(_fitted(contender, period.train, side, options))["ndcg@10"],
            name,
            side,
            options,
        )
        for name, side in _sides(contender, triples, period.train.n_items)
        for options in grid(contender.choices)
    ]
    return max(tried, key=lambda each: each[0])


def _cold() -> dict[str, Any]:
    """nDCG@10 of every contender on the shelf, and what PathEASE is ahead of the others."""
    shop = load("shop", profile="small", seed=0)
    validation, test = cold_periods(shop)
    triples = knowledge_of(shop)
    shelves = {"": None, ", new": test.cold, ", rare": test.tail}
    reports: dict[str, dict[str, Report]] = {shelf: {} for shelf in shelves}
    metrics, chosen, seconds = {}, {}, {}
    for name, contender in _CONTENDERS.items():
        _, reads, side, options = _chosen(contender, validation, triples)
        chosen[name] = options | ({"reads": reads} if contender.reads == "features" else {})
        versions = {name: side}
        if contender.reads == "triples":
            versions[f"{name}, shuffled"] = shuffled(triples, test.train.n_items)
        for version, given in versions.items():
            model, seconds[version] = timed(partial(_fitted, contender, test.train, given, options))
            for shelf, items in shelves.items():
                report = test.judge(model, items)
                low, high = report.interval("ndcg@10")
                reports[shelf][version] = report
                metrics[f"ndcg@10{shelf}, {version}"] = _value(
                    report["ndcg@10"], low=low, high=high
                )
            print(f"  {version}: {reports[''][version]['ndcg@10']:.4f} {options}", flush=True)
    for shelf, found in reports.items():
        for other in found:
            if other != "PathEASE":
                pair = {other: found[other], "PathEASE": found["PathEASE"]}
                row: Any = compare(pair).loc["PathEASE"]
                metrics[f"gain{shelf}, PathEASE over {other}"] = _value(
                    row["difference"], low=row["difference_low"], high=row["difference_high"]
                )
    return {
        "dataset": "shop",
        "split": "new and rare products",
        "protocol": (
            "clicks of the last ten days on products that are new or among the less clicked half; "
            "all of these are ranked, the history is masked"
        ),
        "model": "PathEASE",
        "options": chosen,
        "metrics": metrics,
        "counts": {
            "users": len(np.unique(test.test.users)),
            "new": int(test.cold.sum()),
            "rare": int(test.tail.sum()),
            "clicks on new": int(test.cold[test.test.items].sum()),
            "clicks on rare": int(test.tail[test.test.items].sum()),
        },
        "seconds": seconds,
        "memory_mib": {},
        "note": (
            "options chosen on the ten days before by ndcg@10; sold_with is left out of the graph, "
            "since it counts purchases of the test; shuffled: each product has another's facts"
        ),
    }


# --- artists


class Pairs(NamedTuple):
    """Labelled pairs of users and items."""

    users: NDArray[np.int64]
    items: NDArray[np.int64]
    labels: NDArray[np.bool_]

    def select(self, rows: Any) -> Any:
        """Some of the pairs."""
        return Pairs(*(column[rows] for column in self))


def labelled(interactions: Interactions, seed: int) -> tuple[Pairs, Pairs, Pairs]:
    """Positives with as many negatives, split 6:2:2 at random."""
    generator = np.random.default_rng(seed)
    users = interactions.users
    wrong = sample_negatives(users, 1, interactions, generator)[:, 0]
    labels = np.repeat([True, False], users.size)
    pairs = Pairs(np.tile(users, 2), np.concatenate([interactions.items, wrong]), labels)
    order = generator.permutation(labels.size)
    first, second = round(0.6 * order.size), round(0.8 * order.size)
    parts = order[:first], order[first:second], order[second:]
    train, validation, test = (pairs.select(part) for part in parts)
    return train, validation, test


def _scores(model: Any, pairs: Pairs) -> NDArray[Any]:
    users, places = np.unique(pairs.users, return_inverse=True)
    found: NDArray[Any] = model.score(users)[places, pairs.items]
    return found


def _auc(model: Any, pairs: Pairs) -> float:
    return float(auc(torch.from_numpy(pairs.labels), torch.from_numpy(_scores(model, pairs))))


def _f1(model: Any, validation: Pairs, test: Pairs) -> float:
    """F1 of the test at the threshold that is best on validation."""
    scores = _scores(model, validation)
    order = np.argsort(-scores, kind="stable")
    hits = validation.labels[order].cumsum()
    values = 2 * hits / (np.arange(1, hits.size + 1) + validation.labels.sum())
    said = _scores(model, test) >= scores[order[values.argmax()]]
    return float(2 * (said & test.labels).sum() / (said.sum() + test.labels.sum()))


def _music(
    name: str,
    make: Make,
    choices: Mapping[str, Sequence[Any]],
    *,
    triples: str = "",
    n_seeds: int = 5,
) -> dict[str, Any]:
    """One model over splits; options chosen by AUC on the validation pairs of the first."""
    data = load("kgcn-music")
    sizes = {"n_users": data.interactions.n_users, "n_items": data.interactions.n_items}
    graph = data.triples
    if triples == "shuffled":
        graph = shuffled(graph, sizes["n_items"])
    more = {"triples": graph} if triples else {}

    def fitted(pairs: Pairs, options: Options) -> Any:
        taken = pairs.select(pairs.labels)
        return make(**options).fit(Interactions(taken.users, taken.items, **sizes), **more)

    train, validation, _ = labelled(data.interactions, 0)
    reached = {}
    for options in grid(choices):
        reached[str(options)] = _auc(fitted(train, options), validation)
        print(f"  {options} {reached[str(options)]:.4f}", flush=True)
    best = list(grid(choices))[int(np.argmax(list(reached.values())))]
    found: dict[str, list[float]] = {"auc": [], "f1": []}
    seconds, growth = [], 0.0
    for seed in range(n_seeds):
        train, validation, test = labelled(data.interactions, seed)
        (model, fitting), grown = growth_mib(partial(timed, partial(fitted, train, best)))
        found["auc"].append(_auc(model, test))
        found["f1"].append(_f1(model, validation, test))
        seconds.append(fitting)
        growth = max(growth, grown)
        print(f"  split {seed}: AUC {found['auc'][-1]:.4f} in {fitting:.1f} s", flush=True)
    return {
        "dataset": "kgcn-music",
        "split": "random 6:2:2 of pairs",
        "protocol": "as many uniform negatives as positives; AUC and F1 over the test pairs",
        "model": name,
        "options": options_of(model),
        "chosen_from": {key: list(values) for key, values in choices.items() if len(values) > 1},
        "validation": reached,
        "metrics": {
            metric: {
                "mean": float(np.mean(values)),
                "std": float(np.std(values, ddof=1)),
                "n_seeds": n_seeds,
            }
            for metric, values in found.items()
        },
        "seconds": {"fit": median(seconds)},
        "memory_mib": {"fit": growth},
        "note": "spread over splits and negatives; F1 at the threshold that is best on validation",
    }


_OF_KGCN: dict[str, list[Any]] = {
    "factors": [16],
    "epochs": [5, 10, 20],
    "regularization": [0.01, 0.1, 0.3],
}
ROWS: dict[str, Callable[[], dict[str, Any]]] = {
    "shop-cold": _cold,
    "kgcn-music-popularity": partial(_music, "Popularity", Popularity, {}),
    "kgcn-music-mf": partial(
        _music,
        "ImplicitALS",
        ImplicitALS,
        {"factors": [8], "alpha": [1.0, 3.0, 10.0], "regularization": [0.1, 1.0, 10.0]},
    ),
    "kgcn-music-kgcn": partial(_music, "KGCN", partial(_trained, KGCN), _OF_KGCN, triples="true"),
    "kgcn-music-kgcn-shuffled": partial(
        _music, "KGCN, shuffled facts", partial(_trained, KGCN), _OF_KGCN, triples="shuffled"
    ),
    "kgcn-music-cfkg": partial(
        _music,
        "CFKG",
        partial(_trained, CFKG),
        {"factors": [16], "epochs": [5, 10, 20], "regularization": [0.1, 0.3]},
        triples="true",
    ),
    "kgcn-music-paths": partial(
        _music,
        "PathEASE",
        PathEASE,
        {"regularization": [30.0, 100.0, 300.0], "attribute_regularization": [0.3, 3.0]},
        triples="true",
    ),
}
