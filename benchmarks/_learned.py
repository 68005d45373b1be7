"""The protocol of rows whose models are trained by gradient, or start from random numbers.

Options, and the number of epochs, are chosen by nDCG@10 on validation with seed 0. The chosen
model is fitted again on train and validation, for as many epochs, with three seeds: a model that
has a vector for each user cannot take up the validation item in another way.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, is_dataclass
from functools import partial
from statistics import median
from typing import Any

from benchmarks.measure import growth_mib
from benchmarks.protocol import CUTOFFS, Options, grid, metrics_over_seeds, split_of, timed
from reclib.datasets import Dataset, load
from reclib.foundations.evaluation import cases_from_split, evaluate
from reclib.foundations.interactions import Interactions
from reclib.foundations.splitting import Split, split_random
from reclib.foundations.training import Options as Training

__all__ = ["choose", "learned_row", "options_of", "training_options"]

_N_SEEDS = 3
_MOST_EPOCHS = 150
_FULL = (
    "the whole catalogue is ranked, the history is masked; options and epochs chosen on validation,"
    " then fitted on train and validation"
)

Make = Callable[..., Any]  # (epochs=, seed=, **options) -> model; epochs None: stop on validation


def training_options(epochs: int | None, **options: Any) -> Training:
    """So many epochs; None stops when two validations, five epochs apart, were not better."""
    if epochs is None:
        stop: dict[str, Any] = {"patience": 2, "validate_every": 5}
        return Training(epochs=_MOST_EPOCHS, progress=False, **stop, **options)
    return Training(epochs=epochs, progress=False, **options)


def options_of(model: Any) -> Options:
    """What the constructor was given, as JSON can hold it."""
    given = {name: value for name, value in vars(model).items() if not name.endswith("_")}
    return {name: asdict(v) if is_dataclass(v) else v for name, v in given.items()}  # type: ignore[arg-type]


def choose(
    make: Make, choices: Mapping[str, Sequence[Any]], split: Split
) -> tuple[Options, int | None, dict[str, float]]:
    """The options and epochs that are best on validation, and what each of the options reached."""
    tried: list[Options] = list(grid(choices))
    values: list[float] = []
    epochs: list[int | None] = []
    for options in tried:
        model = make(epochs=None, seed=0, **options)
        if hasattr(model, "training"):
            history = model.fit(split.train, validation=split.validation).history_
            values.append(float(history.table["ndcg@10"].max()))
            epochs.append(history.best_epoch)
        else:
            cases = cases_from_split(split, "validation")
            values.append(evaluate(model.fit(split.train), cases)["ndcg@10"])
            epochs.append(None)
        print(f"  {options} {values[-1]:.4f} epochs {epochs[-1]}", flush=True)
    best = values.index(max(values))
    return tried[best], epochs[best], dict(zip(map(str, tried), values, strict=True))


def _splits_of(name: str, data: Dataset) -> tuple[list[Split], str]:
    """One split a seed: the same one where it is given, random ones on MovieLens."""
    if name != "ml-100k":
        split, rule = split_of(data)
        return [split] * _N_SEEDS, rule
    splits = []
    for seed in range(_N_SEEDS):
        whole = split_random(data.interactions, 0.2, seed=seed)
        held = split_random(whole.train, 0.1, seed=0)
        splits.append(Split(held.train, held.test, whole.test, "held"))
    return splits, "random 80/20"


def learned_row(
    name: str,
    make: Make,
    choices: Mapping[str, Sequence[Any]],
    extra: Callable[[Any, Split, int], dict[str, Any]] | None = None,
    *,
    variant: str | None = None,
) -> dict[str, Any]:
    """One model on one data set, over seeds; the variant tells rows of one class apart."""
    data = load(name)
    splits, rule = _splits_of(name, data)
    options, epochs, reached = choose(make, choices, splits[0])
    reports, seconds, growth = [], [], 0.0
    for seed, split in enumerate(splits):
        model = make(epochs=epochs, seed=seed, **options)
        train: Interactions = split.train_and_validation
        (_, fitting), grown = growth_mib(partial(timed, partial(model.fit, train)))
        reports.append(evaluate(model, cases_from_split(split), k=CUTOFFS))
        seconds.append(fitting)
        growth = max(growth, grown)
        print(f"  seed {seed}: {reports[-1]['ndcg@10']:.4f} in {fitting:.1f} s", flush=True)
    row: dict[str, Any] = {
        "dataset": name,
        "split": rule,
        "protocol": _FULL,
        "model": ", ".join(filter(None, [type(model).__name__, variant])),
        "options": options_of(model) | {"seed": f"0 to {_N_SEEDS - 1}"},
        "chosen_from": {key: list(values) for key, values in choices.items() if len(values) > 1},
        "validation": reached,
        "metrics": metrics_over_seeds(reports),
        "counts": dict(reports[0].counts),
        "seconds": {"fit": median(seconds)},
        "memory_mib": {"fit": growth},
        "note": "chosen on validation by ndcg@10; interval of the first seed, over users",
    }
    more = extra(model, splits[-1], _N_SEEDS) if extra else {}
    merged = {key: row[key] | more.pop(key, {}) for key in ("seconds", "memory_mib", "metrics")}
    return row | merged | more
