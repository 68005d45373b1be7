"""Rows of knowledge graphs: completing WordNet and the shop's graph, and speed beside PyG.

WN18RR: options are chosen by filtered MRR on the validation facts among the entities near a few
random ones; with these options the model learns all of train, and the epoch is chosen by filtered
MRR on the whole validation part. Test is ranked once.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from statistics import median
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array

from benchmarks._learned import options_of
from benchmarks.measure import growth_mib
from benchmarks.protocol import grid, timed
from reclib.datasets import load
from reclib.foundations.interactions import Triples
from reclib.foundations.metrics import auc
from reclib.foundations.training import Options
from reclib.knowledge._questions import chosen
from reclib.knowledge.completion import (
    NeighborCopy,
    Ranks,
    TailFrequency,
    cross_fitted,
    filtered_ranks,
    rank_metrics,
    rank_table,
)
from reclib.knowledge.embedding import ComplEx, DistMult, RotatE, TransE

__all__ = ["ROWS"]

Make = Callable[..., Any]  # (training=, seed=, **options) -> model
_N_RESAMPLES = 1000


def _value(number: float, **more: float) -> dict[str, float]:
    return {"mean": float(number), "n_seeds": 1, **{k: float(v) for k, v in more.items()}}


# --- WN18RR


def _near(triples: Triples, n: int, seed: int = 0) -> NDArray[np.bool_]:
    """(E,) n entities: some drawn at random, and what is joined to them, step by step."""
    size, generator = triples.n_entities, np.random.default_rng(seed)
    ones = np.ones(len(triples))
    joined = csr_array((ones, (triples.heads, triples.tails)), shape=(size, size))
    joined = (joined + joined.T).tocsr()
    inside = np.zeros(size, dtype=bool)
    front = np.zeros(0, dtype=np.int64)
    while inside.sum() < n:
        if front.size == 0:
            front = generator.choice(np.flatnonzero(~inside), min(30, n - inside.sum()), False)
        inside[front] = True
        reached = np.unique(joined[front].indices)
        front = generator.permutation(reached[~inside[reached]])[: n - inside.sum()]
    return inside


def _within(triples: Triples, inside: NDArray[np.bool_]) -> Triples:
    """The triples with both ends inside, entities numbered anew."""
    number = inside.cumsum() - 1
    kept = inside[triples.heads] & inside[triples.tails]
    heads, tails = number[triples.heads[kept]], number[triples.tails[kept]]
    return Triples(heads, triples.relations[kept], tails, int(inside.sum()), triples.n_relations)


def _choose(
    make: Make,
    choices: Mapping[str, Sequence[Any]],
    train: Triples,
    validation: Triples,
    training: Options,
) -> tuple[dict[str, Any], dict[str, float]]:
    """The options that reach most on validation, and what each reached."""
    tried, values = list(grid(choices)), []
    for options in tried:
        model = make(training=training, seed=0, **options).fit(train, validation=validation)
        values.append(float(model.history_.table["mrr"].max()))
        print(f"  {options} {values[-1]:.4f}", flush=True)
    best = values.index(max(values))
    return tried[best], dict(zip(map(str, tried), values, strict=True))


def _interval(ranks: Ranks) -> tuple[float, float]:
    """95 % bootstrap interval of the MRR over triples."""
    values = (1 / ranks.heads + 1 / ranks.tails) / 2
    draws = np.random.default_rng(0).integers(values.size, size=(_N_RESAMPLES, values.size))
    low, high = np.quantile(values[draws].mean(axis=1), [0.025, 0.975])
    return float(low), float(high)


def _wordnet(
    make: Make, choices: Mapping[str, Sequence[Any]], training: Options, n_seeds: int = 1
) -> dict[str, Any]:
    data = load("wn18rr")
    near = _near(data.train, 6000)
    small = _within(data.train, near), _within(data.validation, near)
    trial = replace(training, epochs=20, validate_every=5, patience=None)
    options, reached = _choose(make, choices, *small, trial)
    tables, seconds, growth = [], [], 0.0
    epochs: list[int | None] = []
    for seed in range(n_seeds):
        model = make(training=training, seed=seed, **options)
        fitting = partial(model.fit, data.train, validation=data.validation)
        (_, spent), grown = growth_mib(partial(timed, fitting))
        ranks = filtered_ranks(model, data.test, data.train, data.validation)
        tables.append(rank_table(ranks, data.test, data.train))
        seconds.append(spent)
        growth = max(growth, grown)
        epochs.append(model.history_.best_epoch)
        print(f"  seed {seed}: {rank_metrics(ranks)} {spent:.0f} s, {epochs}", flush=True)
    low, high = _interval(ranks)
    metrics = {
        name if part == "all" and side == "both" else f"{name}, {part}, {side}": _over_seeds(
            [table.loc[(part, side), name] for table in tables]
        )
        for name in ("mrr", "hits@1", "hits@3", "hits@10")
        for part, side in tables[0].index
        if part == "all" or (name in ("mrr", "hits@10") and side != "both")
    }
    metrics["mrr"] |= {"low": low, "high": high}
    validation = model.history_.table["mrr"].dropna()
    return {
        "dataset": "wn18rr",
        "split": "published",
        "protocol": (
            "filtered ranks of heads and tails among all entities, ties by mean rank, all test"
            " triples, also those with entities that train never names; trained on train, options"
            " and epoch chosen on validation"
        ),
        "model": type(model).__name__,
        "options": options_of(model) | {"seed": f"0 to {n_seeds - 1}" if n_seeds > 1 else 0},
        "chosen_from": {key: list(values) for key, values in choices.items() if len(values) > 1},
        "validation": reached | {f"epoch {n}": value for n, value in validation.items()},
        "metrics": metrics,
        "counts": {part: int(tables[0].loc[(part, "tails"), "n"]) for part, _ in tables[0].index},
        "seconds": {"fit": median(seconds), "epoch": _epoch_seconds(model)},
        "memory_mib": {"fit": growth},
        "note": (
            "options chosen on the facts among 6,000 entities; best epoch of each seed: "
            f"{', '.join(map(str, epochs))}; interval of the last seed, over triples"
        ),
    }


def _over_seeds(values: Sequence[float]) -> dict[str, float]:
    spread = {"std": float(np.std(values, ddof=1))} if len(values) > 1 else {}
    return {"mean": float(np.mean(values)), "n_seeds": len(values), **spread}


def _epoch_seconds(model: Any) -> float:
    """Median seconds of an epoch, its validation included."""
    return median(np.diff(model.history_.table["seconds"], prepend=0))


# --- beside PyG


def _speed() -> dict[str, Any]:
    """Triples a second, ours and PyG's in turn: a batch of 1,000 with one negative each."""
    import torch_geometric
    from torch_geometric.nn import kge

    train = load("wn18rr").train
    rows = np.random.default_rng(0).permutation(len(train))[:10_000]
    columns = train.heads[rows], train.relations[rows], train.tails[rows]
    some = Triples(*columns, train.n_entities, train.n_relations)
    metrics, spent, theirs = {}, {}, {}
    for model in (TransE, DistMult, ComplEx, RotatE):
        name, options = model.__name__, {"p_norm": 2.0} if model is TransE else {}
        peer = getattr(kge, name)(train.n_entities, train.n_relations, 50, **options)
        pairs = [(_our_rate(model, some), _peer_rate(peer, columns)) for _ in range(3)]
        ours, others = (median(rates) for rates in zip(*pairs, strict=True))
        print(f"  {name}: {ours:.0f} and {others:.0f} triples a second", flush=True)
        metrics[f"ours to PyG, {name}"] = _value(ours / others)
        spent[f"1,000 triples, {name}"] = 1000 / ours
        theirs[f"1,000 triples, {name}"] = 1000 / others
    return {
        "dataset": "wn18rr",
        "split": "speed",
        "protocol": (
            "10,000 train triples, batches of 1,000, one negative each, logistic loss, Adam;"
            " an epoch after one that warms up, median of three, in turn"
        ),
        "model": "TransE, DistMult, ComplEx, RotatE",
        "options": {"dimension": 50, "threads": torch.get_num_threads()},
        "metrics": metrics,
        "peer": {"name": f"PyG {torch_geometric.__version__}", "seconds": theirs},
        "seconds": spent,
        "memory_mib": {},
        "note": (
            "ours asks for the head and the tail of each triple with a negative for each, PyG"
            " replaces one of the two: a question counts as a triple"
        ),
    }


def _our_rate(model: Any, triples: Triples) -> float:
    training = Options(epochs=2, batch_size=1000, learning_rate=0.001, progress=False)
    made = model(dimension=50, loss="negatives", n_negatives=1, training=training).fit(triples)
    first, second = made.history_.table["seconds"]
    return 2 * len(triples) / (second - first)


def _peer_rate(model: Any, columns: tuple[Any, ...]) -> float:
    heads, relations, tails = map(torch.tensor, columns)
    loader = model.loader(heads, relations, tails, batch_size=1000, shuffle=True)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.001)
    loss_of = torch.nn.functional.binary_cross_entropy_with_logits
    start = 0.0
    for _ in range(2):
        start = time.perf_counter()
        for batch in loader:
            optimizer.zero_grad()
            scores = torch.cat([model(*batch), model(*model.random_sample(*batch))])
            labels = torch.arange(len(scores)) < len(batch[0])
            loss_of(scores, labels.float()).backward()
            optimizer.step()
    return len(heads) / (time.perf_counter() - start)


# --- the shop


def _held_out(triples: Triples, share: float, seed: int) -> tuple[Triples, Triples]:
    """Triples without and with a share of the facts; both directions of a fact stay together."""
    ends = np.sort(np.stack([triples.heads, triples.tails]), axis=0)
    facts, mine = np.unique(np.vstack([triples.relations, ends]), axis=1, return_inverse=True)
    parts = np.less(np.random.default_rng(seed).random(facts.shape[1]), share)
    held = parts[mine.ravel()]
    return chosen(triples, ~held), chosen(triples, held)


def _shop_models() -> dict[str, tuple[Make, Mapping[str, Sequence[Any]]]]:
    def counting(model: Any) -> Make:
        return lambda training, seed, **options: model(**options)

    penalties: Mapping[str, Sequence[Any]] = {
        **{"dimension": [32], "regularization": [0.003, 0.01, 0.03, 0.1]}
    }
    trained: list[Make] = [TransE, DistMult, ComplEx, RotatE]
    return {
        "frequent tails": (counting(TailFrequency), {}),
        "copy from neighbours": (counting(NeighborCopy), {"n_neighbors": [20, 50, 200]}),
        **{model.__name__: (model, penalties) for model in trained},
    }


def _shop() -> dict[str, Any]:
    """Missing facts found, and false ones suspected, by each model on the public graph."""
    shop = load("shop", profile="small", seed=0)
    public, log = shop.knowledge.triples, shop.truth.graphs.log
    columns = [
        (each.relations * each.n_entities + each.heads) * each.n_entities + each.tails
        for each in (public, log.false)
    ]
    false = np.isin(*columns)
    train, validation = _held_out(public, 0.1, seed=0)
    training = Options(
        epochs=20, batch_size=512, learning_rate=0.1, optimizer="adagrad", progress=False
    )
    metrics: dict[str, Any] = {}
    chosen: dict[str, Any] = {}
    seconds: dict[str, float] = {}
    for name, (make, choices) in _shop_models().items():
        trained = "dimension" in choices
        options, epochs = _best(make, choices, train, validation, training)
        final = replace(training, epochs=epochs)
        model, seconds[f"fit, {name}"] = timed(
            lambda: make(training=final, seed=0, **options).fit(public)  # noqa: B023
        )
        found = rank_metrics(filtered_ranks(model, log.missing, public))
        refit = partial(_fitted, make, final, options)
        n_folds = 5 if trained else 10
        plausible = cross_fitted(refit, public, n_folds=n_folds)
        least = np.argsort(plausible)[: false.sum()]
        chosen[name] = {**options, **({"epochs": epochs} if trained else {})}
        metrics |= {
            f"mrr of missing facts, {name}": _value(found["mrr"]),
            f"hits@10 of missing facts, {name}": _value(found["hits@10"]),
            f"AUC of false facts, {name}": _value(auc(false, -plausible).item()),
            f"precision at their number, {name}": _value(false[least].mean()),
        }
        print(f"  {name} {chosen[name]} {[m['mean'] for m in metrics.values()][-4:]}", flush=True)
    return {
        "dataset": "shop",
        "split": "public graph",
        "protocol": (
            "missing: filtered ranks of heads and tails among all entities, after learning from the"
            " public graph; false: plausibility to models that did not see the fact"
        ),
        "model": "graph completion",
        "options": chosen,
        "metrics": metrics,
        "counts": {"public": len(public), "missing": len(log.missing), "false": int(false.sum())},
        "seconds": seconds,
        "memory_mib": {},
        "note": "options and epochs chosen on a tenth of the public facts",
    }


def _fitted(make: Make, training: Options, options: Mapping[str, Any], triples: Triples) -> Any:
    return make(training=training, seed=0, **options).fit(triples)


def _best(
    make: Make,
    choices: Mapping[str, Sequence[Any]],
    train: Triples,
    validation: Triples,
    training: Options,
) -> tuple[dict[str, Any], int]:
    """The options and the number of epochs that reach most on validation."""
    tried: list[tuple[float, dict[str, Any], int]] = []
    for options in grid(choices):
        model = make(training=replace(training, validate_every=4), seed=0, **options)
        if "dimension" in options:
            history = model.fit(train, validation=validation).history_
            best = history.table["mrr"].max(), options, int(history.best_epoch or 1)
        else:
            ranks = filtered_ranks(model.fit(train), validation, train)
            best = rank_metrics(ranks)["mrr"], options, 1
        tried.append(best)
    _, options, epochs = max(tried, key=lambda each: each[0])
    return options, epochs


# --- the rows


def _training(epochs: int, learning_rate: float) -> Options:
    return Options(
        epochs=epochs,
        batch_size=512,
        learning_rate=learning_rate,
        optimizer="adagrad",
        patience=3,
        validate_every=2,
        progress=False,
    )


_PENALTIES = {"regularization": [0.01, 0.03, 0.1]}
ROWS: dict[str, Callable[[], dict[str, Any]]] = {
    "wn18rr-transe": partial(
        _wordnet, TransE, {"dimension": [100], "regularization": [0.0, 0.01]}, _training(28, 0.1)
    ),
    "wn18rr-distmult": partial(
        _wordnet, DistMult, {"dimension": [80], **_PENALTIES}, _training(20, 0.1), n_seeds=3
    ),
    "wn18rr-complex": partial(
        _wordnet, ComplEx, {"dimension": [64], **_PENALTIES}, _training(36, 0.1)
    ),
    "wn18rr-rotate": partial(
        _wordnet, RotatE, {"dimension": [64], "regularization": [0.0, 0.01]}, _training(26, 0.1)
    ),
    "wn18rr-speed": _speed,
    "shop-completion": _shop,
}
