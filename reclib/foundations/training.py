"""The training loop: batches in, gradient steps, and a run that can be stopped and taken up again.

    w  <-  w - eta * step(d loss(batch; w) / d w)     for every batch of every epoch

A network is any ``nn.Module`` with ``loss(batch)``, the mean over the rows of the batch. Batches
are any object with ``epoch(n, rank, world)`` and ``steps(world)``, where epoch n is the same
whenever it is asked for. All else here is what a run needs: a device, a schedule, early stopping,
checkpoints, several processes, and errors that say what went wrong.

- A run that was killed goes on from its checkpoint with ``Options(resume=True)`` and ends, on a
  CPU, with the same bits as one that was not. The randomness of a step (dropout) depends on the
  seed and the number of the step alone, so nothing of it must be stored.
- Under ``torchrun`` each process takes its part of a batch that is ``world`` times as large, and
  gradients are averaged by weight: two processes equal one with the doubled batch.

Source: Adam, D. Kingma and J. Ba, ICLR 2015; decoupled weight decay, I. Loshchilov and F. Hutter,
ICLR 2019; the optimisers are torch's.
Differences from the paper: none.
Chapter: foundations/training
"""

from __future__ import annotations

import math
import os
import sys
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, Protocol

import pandas as pd
import torch
import torch.distributed as dist
from torch import Tensor, nn
from tqdm import tqdm

from reclib.foundations.evaluation import evaluate
from reclib.foundations.interactions import Interactions

__all__ = ["Batches", "Diverged", "History", "Network", "Options", "fit", "ranking_validation"]

Validate = Callable[[], "float | Mapping[str, float]"]
_FORMAT = 1
_CHOICES = {
    "optimizer": ("adam", "adamw", "sgd", "adagrad"),
    "schedule": ("constant", "linear", "cosine"),
    "precision": ("auto", "float32", "bfloat16"),
}
# Changing these does not make it another run: a checkpoint may be taken up with other values.
_FREE = {"epochs", "patience", "checkpoint", "checkpoint_every", "resume", "progress", "device"}


class Diverged(ValueError):
    """The loss, or a weight, is not a finite number any more."""


class Network(Protocol):
    """What can be trained: an ``nn.Module`` that gives a scalar loss, the mean over the rows."""

    def loss(self, batch: Any, /) -> Tensor:
        """The mean loss of a batch."""
        ...


class Batches(Protocol):
    """Where batches come from.

    A batch is a tuple of tensors with one row an example, or has an integer ``weight``: the number
    of terms its loss is the mean of. Process ``rank`` of ``world`` gets its part of each batch.
    """

    def epoch(self, n: int, rank: int = 0, world: int = 1) -> Iterator[Any]:
        """The batches of epoch ``n`` (from 1), the same whenever they are asked for."""
        ...

    def steps(self, world: int = 1) -> int:
        """How many batches an epoch has."""
        ...


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
        schedule: how the rate falls to 0 at the last step: "constant" (not), "linear", "cosine".
        warmup: steps over which the rate rises from 0 first.
        patience: stop after so many validations without a better value; None never stops early.
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
        for name in ("epochs", "batch_size", "validate_every", "patience", "checkpoint_every"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        for name in ("learning_rate", "clip"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise ValueError(f"{name} must be above 0, got {value}")
        for name in ("weight_decay", "l1", "warmup"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be at least 0, got {getattr(self, name)}")
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
        """One row an epoch, by epoch."""
        return pd.DataFrame(self.rows).set_index("epoch", drop=False).rename_axis(None)


def ranking_validation(
    model: Any, train: Interactions, validation: Interactions, metric: str = "ndcg@10"
) -> Validate:
    """A ``validate`` that ranks the whole catalogue, without what the user has in ``train``.

    Args:
        model: what ``evaluate`` can judge while it is being trained.
        train: what is known.
        validation: what is to be found; it must hold an event.
        metric: a name of the report, with its cutoff.
    """
    if not isinstance(validation, Interactions) or len(validation) == 0:
        got = 0 if isinstance(validation, Interactions) else type(validation).__name__
        raise ValueError(f"validation must be Interactions with at least one event, got {got}")
    k = int(metric.partition("@")[2])
    return lambda: {metric: evaluate(model, history=train, test=validation, k=k)[metric]}


def fit(
    network: nn.Module, batches: Batches, options: Options, validate: Validate | None = None
) -> History:
    """Train ``network`` in place; it ends in evaluation mode, on the device it was trained on.

    Args:
        network: has ``loss(batch)``.
        batches: gives the batches of each epoch.
        options: how to train.
        validate: called after every ``validate_every`` epochs with the network in evaluation mode;
            a number or a mapping of numbers, whose first decides; higher is better. The network
            ends with the weights that were best.

    Returns:
        The history of the run.

    Raises:
        Diverged: if the loss is not finite, before the step is taken.
        MemoryError: if memory does not suffice.
        ValueError: for an empty batch or epoch, a device that is not there, a validation without
            a finite value, or a checkpoint of another network, run or version.
    """
    run = _Run(network, batches, options, validate)
    devices = [run.device.index or 0] if run.device.type == "cuda" else []
    with torch.random.fork_rng(devices), run.bar:
        run.begin()
        while run.history.stopped is None:
            run.train_epoch()
            run.end_epoch()
        run.end()
    return run.history


class _Run:
    """One run: the network, its optimiser, and where in the data it is."""

    def __init__(
        self, network: nn.Module, batches: Batches, options: Options, validate: Validate | None
    ) -> None:
        self.rank, self.world = _processes()
        self.device = _device(options.device)
        self.network = network.to(self.device)
        self.batches, self.options, self.validate = batches, options, validate
        self.parameters = [p for p in network.parameters() if p.requires_grad]
        self.optimizer = _optimizer(self.parameters, options)
        self.steps = batches.steps(self.world)
        if self.steps < 1:
            raise ValueError(f"batches must hold at least one batch an epoch, got {self.steps}")
        self.history = History()
        self.step = 0  # taken so far
        self.loss_sum, self.weight_sum = 0.0, 0.0  # of this epoch so far
        self.seconds, self.started = 0.0, time.perf_counter()
        self.best: dict[str, Tensor] | None = None
        self.best_value, self.n_worse = -math.inf, 0
        bfloat16 = options.precision == "bfloat16" or (
            options.precision == "auto" and self.device.type == "cuda"
        )
        self.autocast = torch.autocast(self.device.type, torch.bfloat16, enabled=bfloat16)
        self.bar = tqdm(
            total=self.steps * options.epochs,
            unit="step",
            leave=False,
            disable=not _watched(options.progress) or self.rank > 0,
        )

    # --- beginning and end

    def begin(self) -> None:
        """Take up a checkpoint, where asked for and there; all processes start from one state."""
        options = self.options
        if options.resume and Path(str(options.checkpoint)).exists():
            self.load_state(_read(Path(str(options.checkpoint)), self.identity()))
        if self.world > 1:
            for tensor in self.network.state_dict().values():
                dist.broadcast(tensor, 0)
        self.bar.update(self.step - self.bar.n)

    def end(self) -> None:
        """Leave the best weights, or the last ones where nothing was validated."""
        if self.best is not None:
            self.network.load_state_dict(self.best)
        self.network.eval()

    # --- an epoch

    @property
    def epoch(self) -> int:
        """The epoch that the next step belongs to, from 1."""
        return self.step // self.steps + 1

    def train_epoch(self) -> None:
        """All steps of this epoch that were not taken before."""
        self.network.train()
        epoch, done = self.epoch, self.step % self.steps
        every = self.options.checkpoint_every
        for number, batch in enumerate(self.batches.epoch(epoch, self.rank, self.world)):
            if number < done:
                continue
            self.take_step(batch, epoch, number)
            if every and self.step % every == 0 and number + 1 < self.steps:
                self.save()  # the last step's is written at the end of the epoch
        if self.step != epoch * self.steps:
            raise ValueError(
                f"batches must hold {self.steps} batches an epoch, as steps() says,"
                f" got {self.step - (epoch - 1) * self.steps} in epoch {epoch}"
            )

    def take_step(self, batch: Any, epoch: int, number: int) -> None:
        """One gradient step."""
        weight: float = _weight(batch)
        if weight == 0 and self.world == 1:
            raise ValueError(f"batch must hold at least one row, got 0 in batch {number}")
        # A number of 32 bits is all that torch's generator on a CPU takes from a seed.
        torch.manual_seed(zlib.crc32(f"{self.options.seed}/{self.step}/{self.rank}".encode()))
        rate = _rate(self.options, self.step, self.steps * self.options.epochs)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad()
        try:
            loss = self.backward(batch, weight)
        except (MemoryError, RuntimeError) as error:
            _raise_if_memory(error, self.options.batch_size, self.device)
            raise
        loss, weight = self.averaged(loss, weight)
        if not math.isfinite(loss):
            raise Diverged(
                f"loss must be finite, got {loss} at step {self.step} (epoch {epoch}, batch"
                f" {number}) with learning_rate {rate:g}"
            )
        self.adjust_gradients()
        self.optimizer.step()
        self.step += 1
        self.loss_sum += loss * weight
        self.weight_sum += weight
        self.bar.set_description(f"epoch {epoch}, loss {loss:.4f}", refresh=False)
        self.bar.update()

    def backward(self, batch: Any, weight: float) -> float:
        """The loss of this process's part, whose gradient is left in the parameters."""
        if weight == 0:  # another process has the rest of a short batch
            return 0.0
        with self.autocast:
            loss: Tensor = self.network.loss(_moved(batch, self.device))  # type: ignore[operator]
        loss.backward()
        return loss.item()

    def averaged(self, loss: float, weight: float) -> tuple[float, float]:
        """Loss and weight of all processes together; gradients become those of the whole batch."""
        if self.world == 1:
            return loss, weight
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in self.parameters]
        sums = torch.tensor([loss * weight, weight], device=self.device)
        flat = torch.cat([*(g.flatten() * weight for g in gradients), sums])
        dist.all_reduce(flat)
        total = flat[-1].item()
        flat /= total
        start = 0
        for parameter, gradient in zip(self.parameters, gradients, strict=True):
            parameter.grad = flat[start : start + gradient.numel()].view_as(gradient)
            start += gradient.numel()
        return flat[-2].item(), total

    def adjust_gradients(self) -> None:
        """Add the L1 penalty and clip."""
        if self.options.l1:
            for parameter in self.parameters:
                if parameter.grad is not None:
                    parameter.grad.add_(parameter.detach().sign(), alpha=self.options.l1)
        if self.options.clip is not None:
            nn.utils.clip_grad_norm_(self.parameters, self.options.clip)

    # --- after an epoch

    def end_epoch(self) -> None:
        """Record the epoch, validate, keep the best weights, decide whether to go on."""
        epoch, options, history = self.epoch - 1, self.options, self.history
        row = {
            "epoch": epoch,
            "step": self.step,
            "loss": self.loss_sum / self.weight_sum,
            "learning_rate": self.optimizer.param_groups[0]["lr"],
        }
        self.loss_sum = self.weight_sum = 0.0
        if self.validate and (epoch % options.validate_every == 0 or epoch == options.epochs):
            row |= self.validated(epoch)
        elif not self.validate:
            history.best_epoch = epoch
        history.rows.append(row | {"seconds": self.elapsed()})
        if options.patience is not None and self.n_worse >= options.patience:
            history.stopped = "patience"
        elif epoch >= options.epochs:
            history.stopped = "epochs"
        self.save()

    def validated(self, epoch: int) -> dict[str, float]:
        """The values of the validation; all processes get those of the first."""
        assert self.validate is not None
        self.network.eval()
        values: list[Any] = [None]
        if self.rank == 0:
            with torch.no_grad():
                found = self.validate()
            named = found if isinstance(found, Mapping) else {"validation": found}
            values = [{name: float(value) for name, value in named.items()}]
        if self.world > 1:
            dist.broadcast_object_list(values, 0)
        result: dict[str, float] = values[0]
        self.history.metric, value = next(iter(result.items()))
        if not math.isfinite(value):
            raise ValueError(f"validate must return a finite {self.history.metric}, got {value}")
        if value > self.best_value:
            self.best_value, self.n_worse, self.history.best_epoch = value, 0, epoch
            self.best = {name: tensor.clone() for name, tensor in self.network.state_dict().items()}
        else:
            self.n_worse += 1
        return result

    def elapsed(self) -> float:
        """Seconds of training and validation, those before a checkpoint included."""
        now = time.perf_counter()
        self.seconds, self.started = self.seconds + now - self.started, now
        return self.seconds

    # --- checkpoints

    def identity(self) -> dict[str, Any]:
        """What must agree for a checkpoint to belong to this run."""
        network = self.network
        return {
            "format": _FORMAT,
            "network": f"{type(network).__module__}.{type(network).__qualname__}",
            "sizes": {name: list(t.shape) for name, t in network.state_dict().items()},
            "options": {n: v for n, v in asdict(self.options).items() if n not in _FREE},
            "steps": self.steps,
            "world": self.world,
        }

    def save(self) -> None:
        """Write a checkpoint beside the old one and rename it into place."""
        if self.options.checkpoint is None or self.rank > 0:
            return
        weights = self.network.state_dict()
        for name, tensor in weights.items():
            if tensor.is_floating_point() and not tensor.isfinite().all():
                raise Diverged(f"weights must be finite, got {name} at step {self.step}")
        state = {
            "weights": weights,
            "optimizer": self.optimizer.state_dict(),
            "best": self.best,
            "best_value": self.best_value,
            "n_worse": self.n_worse,
            "step": self.step,
            "loss_sum": self.loss_sum,
            "weight_sum": self.weight_sum,
            "seconds": self.elapsed(),
            "history": asdict(self.history),
        }
        _write(Path(self.options.checkpoint), {"identity": self.identity(), "state": state})

    def load_state(self, state: dict[str, Any]) -> None:
        """Stand where the checkpoint was written."""
        self.network.load_state_dict(state["weights"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.best = state["best"]
        self.best_value, self.n_worse = state["best_value"], state["n_worse"]
        self.step = state["step"]
        self.loss_sum, self.weight_sum = state["loss_sum"], state["weight_sum"]
        self.seconds = state["seconds"]
        self.history = History(**state["history"])
        if self.history.stopped == "epochs" and self.step < self.steps * self.options.epochs:
            self.history.stopped = None  # more epochs are wanted than before


# --- pieces


def _device(name: str) -> torch.device:
    """The device of that name, if it is there."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        if name == "cuda" and "LOCAL_RANK" in os.environ:
            device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # torch without CUDA asserts
        reason = str(error).splitlines()[0]
        raise ValueError(f"device must be there, got {name!r}: {reason}") from error
    return device


def _processes() -> tuple[int, int]:
    """This process's number and how many there are, as torchrun says."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and not dist.is_initialized():
        dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    return (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)


def _optimizer(parameters: list[nn.Parameter], options: Options) -> torch.optim.Optimizer:
    """Fused: one pass over the weights a step, which is what large tables cost."""
    kinds: dict[str, Callable[..., torch.optim.Optimizer]] = {
        "adam": torch.optim.Adam,
        "adamw": torch.optim.AdamW,
        "sgd": torch.optim.SGD,
        "adagrad": torch.optim.Adagrad,
    }
    return kinds[options.optimizer](
        parameters, lr=options.learning_rate, weight_decay=options.weight_decay, fused=True
    )


def _rate(options: Options, step: int, n_steps: int) -> float:
    """The learning rate of a step (from 0)."""
    if step < options.warmup:
        return options.learning_rate * (step + 1) / (options.warmup + 1)
    done = (step - options.warmup) / max(n_steps - options.warmup, 1)
    share = {
        "constant": 1.0,
        "linear": 1 - done,
        "cosine": (1 + math.cos(math.pi * done)) / 2,
    }[options.schedule]
    return options.learning_rate * share


def _weight(batch: Any) -> int:
    """How many terms the loss of a batch is the mean of."""
    if hasattr(batch, "weight"):
        return int(batch.weight)
    return len(batch if isinstance(batch, Tensor) else batch[0])


def _moved(batch: Any, device: torch.device) -> Any:
    """The batch on the device."""
    if device.type == "cpu":
        return batch
    if isinstance(batch, Tensor):
        return batch.to(device, non_blocking=True)
    moved = [part.to(device, non_blocking=True) for part in batch]
    return type(batch)(*moved) if hasattr(batch, "_fields") else tuple(moved)


def _raise_if_memory(error: BaseException, batch_size: int, device: torch.device) -> None:
    """Say what to do about an error, if it is about memory."""
    text = str(error)
    if isinstance(error, MemoryError | torch.OutOfMemoryError) or "allocate memory" in text:
        raise MemoryError(
            f"batch_size must be smaller for the memory of {device}, got {batch_size}: {text}"
        ) from error


def _watched(progress: bool | None) -> bool:
    """Whether to show a bar: a terminal, or a notebook that is not run by a machine."""
    if progress is not None:
        return progress
    return sys.stderr.isatty() or ("ipykernel" in sys.modules and "TQDM_DISABLE" not in os.environ)


def _write(path: Path, content: dict[str, Any]) -> None:
    """Write a file that is whole or not there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}-{os.getpid()}")
    try:
        with beside.open("wb") as file:
            torch.save(content, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def _read(path: Path, identity: dict[str, Any]) -> dict[str, Any]:
    """The state in a checkpoint, if it belongs to this run; no code in the file can run."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        found, state = content["identity"], content["state"]
    except Exception as error:  # torch raises many kinds for a file that is not its own
        raise ValueError(f"checkpoint must be one of this loop, got {path}: {error}") from error
    for name, value in identity.items():
        if found.get(name) != value:
            raise ValueError(f"checkpoint {path} must have {name} {value}, got {found.get(name)}")
    assert isinstance(state, dict)
    return state


assert _FREE <= {each.name for each in fields(Options)}
