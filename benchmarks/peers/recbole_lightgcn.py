"""Seconds that an epoch of RecBole's LightGCN takes: its dataset, loader, model, loss and trainer.

Runs in an environment of its own, since RecBole needs older libraries than this project:

    python3 -m venv recbole
    recbole/bin/pip install torch==2.13.0 'numpy<2' 'pandas<3' scipy==1.11.4 recbole==1.2.1
    recbole/bin/python benchmarks/peers/recbole_lightgcn.py train.npz 8192 2048

``train.npz`` holds ``users``, ``items`` and ``shape`` (U, I); each further number is a
batch size. ``--layers``, ``--factors``, ``--epochs`` and ``--threads`` have the defaults of the
comparison. Prints one line of JSON; the first epoch of each size warms up and is not counted.
"""

import argparse
import contextlib
import json
import logging
import os
import statistics
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np

_COLUMNS = "user_id:token\titem_id:token"


def trainer_and_loader(train: Any, batch_size: int, args: argparse.Namespace) -> tuple[Any, Any]:
    """RecBole's trainer with a fresh model, and the loader of all events with one negative each."""
    from recbole.config import Config
    from recbole.data import create_dataset, data_preparation
    from recbole.utils import get_model, get_trainer, init_seed

    path = Path("train") / "train.inter"
    path.parent.mkdir(exist_ok=True)
    pairs = np.stack([train["users"], train["items"]], axis=1)
    np.savetxt(path, pairs, fmt="%d", delimiter="\t", header=_COLUMNS, comments="")
    config = Config(
        model="LightGCN",
        dataset="train",
        config_dict={
            "data_path": ".",
            "load_col": {"inter": ["user_id", "item_id"]},
            "eval_args": {"split": {"RS": [1, 0, 0]}, "order": "RO", "group_by": "none"},
            "embedding_size": args.factors,
            "n_layers": args.layers,
            "reg_weight": 1e-4,
            "train_batch_size": batch_size,
            "learner": "adam",
            "learning_rate": 1e-3,
            "use_gpu": False,
            "seed": 0,
        },
    )
    init_seed(config["seed"], config["reproducibility"])
    loader, _, _ = data_preparation(config, create_dataset(config))
    if len(loader.dataset) != len(pairs):
        sys.exit(f"RecBole must train on {len(pairs)} events, got {len(loader.dataset)}")
    model = get_model("LightGCN")(config, loader.dataset)
    return get_trainer(config["MODEL_TYPE"], "LightGCN")(config, model), loader


def seconds_of(train: Any, batch_size: int, args: argparse.Namespace) -> dict[str, Any]:
    """Seconds and loss of each epoch after the first."""
    trainer, loader = trainer_and_loader(train, batch_size, args)
    seconds, losses = [], []
    for epoch in range(args.epochs + 1):
        start = time.perf_counter()
        total = trainer._train_epoch(loader, epoch, show_progress=False)
        seconds.append(time.perf_counter() - start)
        losses.append(total / len(loader))
    return {"epoch": statistics.median(seconds[1:]), "epochs": seconds, "losses": losses}


def main() -> None:
    """Read the arguments, time, print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("train")
    parser.add_argument("batch_sizes", type=int, nargs="+")
    parser.add_argument("--layers", type=int, default=3)
    parser.add_argument("--factors", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(args.threads)  # before torch is loaded
    import recbole
    import torch

    torch.set_num_threads(args.threads)
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")  # RecBole's own, about libraries newer than it
    train = np.load(args.train)
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):  # it writes where it is
        seconds = {str(size): seconds_of(train, size, args) for size in args.batch_sizes}
    versions = {"recbole": recbole.__version__, "torch": torch.__version__}
    print(json.dumps({"versions": versions, "threads": args.threads, "seconds": seconds}))


if __name__ == "__main__":
    main()
