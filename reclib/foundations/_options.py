"""How to train, and what happened: the options of the training loop and the history of a run.

Source: none; the optimisers are torch's.
Differences from the paper: none.
Chapter: foundations/training
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from numbers import Integral
from typing import Any, Literal

import pandas as pd

__all__ = ["COLUMNS", "History", "Options"]

COLUMNS = ["epoch", "step", "loss", "learning_rate", "seconds"]  # of every history
_CHOICES = {
    "optimizer": ("adam", "adamw", "sgd", "adagrad"),
    "schedule": ("constant", "linear", "cosine"),
    "precision": ("auto", "float32", "bfloat16"),
}
_COUNTS = {"epochs": 1, "batch_size": 1, "warmup": 0, "validate_every": 1}


def _check_count(name: str, value: Any, least: int) -> None:
    if not isinstance(value, Integral) or int(value) < least:
        raise ValueError(f"{name} must be an integer of at least {least}, got {value!r}")


def _check_size(name: str, value: float, strictly: bool) -> None:
    if not (0 < value < math.inf or (value == 0 and not strictly)):
        raise ValueError(f"{name} must be {'above' if strictly else 'at least'} 0, got {value}")


@dataclass(frozen=True, kw_only=True)
class Options:
    """How to train; the defaults suit embedding tables of some ten thousand rows.

    Attributes:
        epochs: at most so many passes over the data, >= 1.
        batch_size: rows a step and process, >= 1; for those who make the batches.
        learning_rate: eta, > 0.
        optimizer: "adam", "adamw", "sgd" or "adagrad".
        weight_decay: L2 penalty, >= 0, in the gradient; "adamw" shrinks the weights instead.
        l1: L1 penalty, >= 0: adds ``l1 * sign(w)`` to the gradient.
        clip: largest norm of the whole gradient; None leaves it alone.
        schedule: how the rate falls to 0, which it would reach one step after the last: "constant"
            (it does not), "linear", "cosine".
        warmup: steps over which the rate rises from 0 first.
        patience: stop after so many validations without a better value; None, or a run without
            validation, never stops early.
        validate_every: epochs between validations, >= 1.
        device: "auto" (CUDA where there is one), "cpu", "cuda", "cuda:1", ...
        precision: "auto" is float32 on a CPU and bfloat16 autocast on CUDA.
        checkpoint: file to write checkpoints to; None writes none.
        checkpoint_every: steps between checkpoints; None writes one after each epoch.
        resume: go on from the checkpoint, where there is one.
        progress: a bar on stderr; None shows it where a person watches.
        seed: of the randomness inside the network, such as dropout.
    """

    epochs: int = 20
    batch_size: int = 1024
    learning_rate: float = 1e-3
    optimizer: Literal["adam", "adamw", "sgd", "adagrad"] = "adam"
    weight_decay: float = 0.0
    l1: float = 0.0
    clip: float | None = None
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    warmup: int = 0
    patience: int | None = None
    validate_every: int = 1
    device: str = "auto"
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    checkpoint: str | None = None
    checkpoint_every: int | None = None
    resume: bool = False
    progress: bool | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        for name, allowed in _CHOICES.items():
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} must be one of {allowed}, got {getattr(self, name)!r}")
        for name, least in _COUNTS.items():
            _check_count(name, getattr(self, name), least)
        for name, strictly in {"learning_rate": True, "weight_decay": False, "l1": False}.items():
            _check_size(name, getattr(self, name), strictly)
        if self.patience is not None:
            _check_count("patience", self.patience, 1)
        if self.checkpoint_every is not None:
            _check_count("checkpoint_every", self.checkpoint_every, 1)
        if self.clip is not None:
            _check_size("clip", self.clip, True)
        if self.resume and self.checkpoint is None:
            raise ValueError("checkpoint must name a file where resume is set, got None")


@dataclass
class History:
    """What happened in a run.

    Attributes:
        rows: one mapping an epoch: epoch, step (so far), loss (mean), learning_rate (last),
            seconds (so far), and the values of the validation, where there was one.
        metric: name of the value that chose the weights; None without validation.
        best_epoch: the epoch whose weights were kept: the last one without validation.
        stopped: "epochs" or "patience"; None while it runs.
    """

    rows: list[dict[str, Any]] = field(default_factory=list)
    metric: str | None = None
    best_epoch: int | None = None
    stopped: str | None = None

    @property
    def table(self) -> pd.DataFrame:
        """One row an epoch, indexed by epoch; NaN where an epoch was not validated."""
        table = pd.DataFrame(self.rows, columns=None if self.rows else COLUMNS)
        return table.set_index("epoch", drop=False).rename_axis(None)
