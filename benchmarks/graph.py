"""Rows of LightGCN: layers and losses, and the time of an epoch beside RecBole's.

RecBole runs in an environment of its own, whose Python the variable RECLIB_RECBOLE_PYTHON names;
``benchmarks/peers/recbole_lightgcn.py`` says how to make one.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from benchmarks._learned import choose, learned_row, training_options
from reclib.collaborative import LightGCN
from reclib.datasets import load
from reclib.foundations.evaluation import cases_from_split, compare, evaluate
from reclib.foundations.splitting import Split, split_last
from reclib.foundations.training import Options

__all__ = ["ROWS"]

PEER = Path(__file__).parent / "peers" / "recbole_lightgcn.py"


def _softmax(*, epochs: int | None, seed: int, **options: Any) -> LightGCN:
    training = training_options(epochs, batch_size=512, learning_rate=0.01)
    return LightGCN(seed=seed, training=training, **options)


def _bpr(*, epochs: int | None, seed: int, batch_size: int, **options: Any) -> LightGCN:
    training = training_options(epochs, batch_size=batch_size, learning_rate=0.01)
    return LightGCN(loss="bpr", seed=seed, training=training, **options)


def _gain(
    make: Callable[..., Any],
    choices: Mapping[str, Sequence[Any]],
    model: LightGCN,
    split: Split,
    n_seeds: int,
) -> dict[str, Any]:
    """nDCG@10 with layers less that without, user by user; zero layers choose their own options.

    Both are chosen on validation, epochs too, and fitted with the same last seed.
    """
    options, epochs, _ = choose(make, {**choices, "layers": [0]}, split)
    plain = make(epochs=epochs, seed=n_seeds - 1, **options).fit(split.train_and_validation)
    cases = cases_from_split(split)
    table = compare({"0 layers": evaluate(plain, cases), "layers": evaluate(model, cases)})
    row = table.loc["layers"]
    gain = {"mean": row["difference"], "low": row["difference_low"], "high": row["difference_high"]}
    return {"metrics": {"ndcg@10, gain over 0 layers": {**gain, "n_seeds": 1}}}


def _speed() -> dict[str, Any]:
    """Seconds of an epoch with BPR, 3 layers of size 64, at two batch sizes, ours and RecBole's."""
    split = split_last(load("s3rec-beauty").interactions)
    python = os.environ.get("RECLIB_RECBOLE_PYTHON")
    if not python:
        sys.exit("RECLIB_RECBOLE_PYTHON must name a Python that has RecBole, got none")
    train, sizes, threads = split.train, (8192, 2048), torch.get_num_threads()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "train.npz"
        shape = np.array([train.n_users, train.n_items])
        np.savez(path, users=train.users, items=train.items, shape=shape)
        command = [python, str(PEER), str(path), *map(str, sizes), "--threads", str(threads)]
        found = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    theirs = {size: found["seconds"][str(size)]["epoch"] for size in sizes}
    ours = {size: _epoch(split, size) for size in sizes}
    ratios = {f"ours to RecBole, batch {size}": ours[size] / theirs[size] for size in sizes}
    return {
        "dataset": "s3rec-beauty",
        "split": "speed",
        "protocol": "an epoch of training on train, the median of three after one that warms up",
        "model": "LightGCN",
        "options": {"loss": "bpr", "layers": 3, "factors": 64, "threads": threads},
        "metrics": {name: {"mean": value, "n_seeds": 1} for name, value in ratios.items()},
        "peer": {
            "name": f"RecBole {found['versions']['recbole']}",
            "seconds": {f"epoch, batch {size}": theirs[size] for size in sizes},
        },
        "seconds": {f"epoch, batch {size}": ours[size] for size in sizes},
        "memory_mib": {},
        "note": "",
    }


def _epoch(split: Split, batch_size: int) -> float:
    """Median seconds of three epochs, after one that warms up."""
    training = Options(epochs=4, batch_size=batch_size, progress=False)
    model = LightGCN(loss="bpr", layers=3, factors=64, regularization=1e-4, training=training)
    seconds = model.fit(split.train).history_.table["seconds"]
    return median(np.diff(seconds))


def _row(
    name: str,
    make: Callable[..., Any],
    choices: Mapping[str, Sequence[Any]],
    variant: str,
    penalties: Sequence[float] | None = None,
) -> dict[str, Any]:
    """A row whose zero-layer self chooses from the same options, or from penalties of its own."""
    own = choices if penalties is None else {**choices, "regularization": penalties}
    return learned_row(name, make, choices, partial(_gain, make, own), variant=variant)


_BEAUTY, _COSINE = "s3rec-beauty", "softmax of cosines"
_CHOICES: dict[str, list[Any]] = {"layers": [1, 2, 3], "regularization": [0.0]}
_BPR: dict[str, list[Any]] = {"layers": [3], "regularization": [1e-4, 1e-3, 1e-2]}
_OF_BPR = [0.03, 0.06, 0.1]  # a vector that is not averaged wants a penalty thirty times as large
ROWS: dict[str, Callable[[], dict[str, Any]]] = {
    "s3rec-beauty-lightgcn": partial(
        _row,
        _BEAUTY,
        _softmax,
        {"layers": [1, 3], "temperature": [0.1], "regularization": [0.0]},
        _COSINE,
    ),
    "s3rec-beauty-lightgcn-bpr": partial(
        _row, _BEAUTY, _bpr, _BPR | {"batch_size": [8192]}, "BPR", _OF_BPR
    ),
    "s3rec-beauty-lightgcn-speed": _speed,
    "lastfm-social-lightgcn-bpr": partial(
        _row, "lastfm-social", _bpr, _BPR | {"batch_size": [2048]}, "BPR", [0.005, 0.01, 0.02]
    ),
}
for _set in ("lastfm-social", "s3rec-lastfm", "ml-100k"):
    ROWS[f"{_set}-lightgcn"] = partial(
        _row, _set, _softmax, _CHOICES | {"temperature": [0.1, 0.15, 0.2]}, _COSINE
    )
