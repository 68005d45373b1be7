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
- A loss that is not finite stops the run before its step is taken.

Source: Adam, D. Kingma and J. Ba, ICLR 2015; decoupled weight decay, I. Loshchilov and F. Hutter,
ICLR 2019; the optimisers are torch's.
Differences from the paper: none.
Chapter: foundations/training
"""

from __future__ import annotations

import math
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

import torch
import torch.distributed as dist
from torch import Tensor, nn
from tqdm import tqdm

from reclib.foundations._machine import (
    device_of,
    names_batch_size,
    processes,
    read,
    watched,
    write,
)
from reclib.foundations._options import COLUMNS, History, Options
from reclib.foundations.evaluation import evaluate
from reclib.foundations.interactions import Interactions

__all__ = ["Batches", "Diverged", "History", "Network", "Options", "fit", "ranking_validation"]

Validate = Callable[[], "float | Mapping[str, float]"]
_FORMAT = 1
# Changing these does not make it another run: its checkpoint may be taken up with other values.
_FREE = {"epochs", "patience", "checkpoint", "checkpoint_every", "resume", "progress", "device"}


class Diverged(ValueError):
    """The loss, the gradient or a weight is not a finite number any more."""


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
    cutoff = metric.partition("@")[2]
    if not cutoff.isdecimal():
        raise ValueError(f"metric must end in its cutoff, such as 'ndcg@10', got {metric!r}")
    k = int(cutoff)
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
        Diverged: if the loss (with ``clip``: or the gradient) is not finite, before the step is
            taken, so that the weights are the last good ones; or if a weight is not finite at the
            end of an epoch. The last checkpoint is always one of finite weights.
        MemoryError: if memory does not suffice.
        ValueError: for an empty batch or epoch, a device that is not there, a validation without
            a finite value, or a checkpoint of another network, run or version.
        OSError: if a checkpoint cannot be written; the one before is then unharmed.
    """
    run = _Run(network, batches, options, validate)
    cuda = [run.device] if run.device.type == "cuda" else []
    with torch.random.fork_rng(cuda), run.bar:
        try:
            run.begin()
            while run.history.stopped is None:
                with names_batch_size(options.batch_size, run.device):
                    run.train_epoch()
                run.end_epoch()
            run.end()
        finally:
            network.eval()
    return run.history


class _Run:
    """One run: the network, its optimiser, and where in the data it is."""

    def __init__(
        self, network: nn.Module, batches: Batches, options: Options, validate: Validate | None
    ) -> None:
        self.device = device_of(options.device)
        self.rank, self.world = processes(self.device)
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
            disable=not watched(options.progress) or self.rank > 0,
        )

    # --- beginning and end

    def begin(self) -> None:
        """Take up a checkpoint, where asked for and there; all processes start from one state."""
        path = Path(self.options.checkpoint or "")
        if self.options.resume and path.exists():
            self.load_state(read(path, self.identity()))
        if self.world > 1:
            for tensor in self.network.state_dict().values():
                dist.broadcast(tensor, 0)
        self.bar.n = self.bar.initial = self.step  # the rate counts from here

    def end(self) -> None:
        """Leave the best weights, or the last ones where nothing was validated."""
        if self.best is not None:
            self.network.load_state_dict(self.best)

    # --- an epoch

    @property
    def epoch(self) -> int:
        """The epoch that the next step belongs to, from 1."""
        return self.step // self.steps + 1

    @property
    def rate(self) -> float:
        """The learning rate of the next step."""
        return _rate(self.options, self.step, self.steps * self.options.epochs)

    @property
    def place(self) -> str:
        """Where the next step is, for a message."""
        number = self.step % self.steps
        return f"at step {self.step} (epoch {self.epoch}, batch {number})"

    def train_epoch(self) -> None:
        """All steps of this epoch that were not taken before."""
        self.network.train()
        epoch, done = self.epoch, self.step % self.steps
        every = self.options.checkpoint_every if self.options.checkpoint else None
        n = 0
        for n, batch in enumerate(self.batches.epoch(epoch, self.rank, self.world), start=1):
            if n > self.steps:
                break
            if n <= done:
                continue
            self.take_step(batch)
            if every and self.step % every == 0 and n < self.steps:
                self.check_weights()
                self.save()  # the last step's is written at the end of the epoch
        if n != self.steps:
            got = f"{n} or more" if n > self.steps else n
            raise ValueError(
                f"batches must give {self.steps} batches an epoch, as steps() says,"
                f" got {got} in epoch {epoch}"
            )

    def take_step(self, batch: Any) -> None:
        """One gradient step."""
        rate = self.rate
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad()
        _seed(self.device, f"{self.options.seed}/{self.step}/{self.rank}")
        loss, weight = self.averaged(*self.backward(batch))
        self.check_finite("loss", loss)
        self.adjust_gradients()
        self.optimizer.step()
        self.bar.set_description(f"epoch {self.epoch}, loss {loss:.4f}", refresh=False)
        self.bar.update()
        self.step += 1
        self.loss_sum += loss * weight
        self.weight_sum += weight

    def backward(self, batch: Any) -> tuple[float, float]:
        """Loss and weight of this process's part; its gradient is left in the parameters."""
        weight = _weight(batch)
        if weight == 0:  # of a short batch another process may have the rest
            return 0.0, 0.0
        with self.autocast:
            loss: Tensor = self.network.loss(_moved(batch, self.device))  # type: ignore[operator]
        if loss.ndim:
            raise ValueError(f"loss must be a scalar, got shape {tuple(loss.shape)}")
        loss.backward()
        return loss.item(), weight

    def check_finite(self, name: str, value: float) -> None:
        """Stop where training has diverged, and say where."""
        if not math.isfinite(value):
            raise Diverged(
                f"{name} must be finite, got {value} {self.place} with learning_rate {self.rate:g}"
            )

    def averaged(self, loss: float, weight: float) -> tuple[float, float]:
        """Loss and weight of all processes together; gradients become those of the whole batch."""
        if self.world > 1:
            gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in self.parameters]
            sums = torch.tensor([loss * weight, weight], device=self.device)
            flat = torch.cat([*(g.flatten() * weight for g in gradients), sums])
            dist.all_reduce(flat)
            weight = flat[-1].item()
            flat /= max(weight, 1.0)
            loss = flat[-2].item()
            parts = flat[:-2].split([g.numel() for g in gradients])
            for parameter, part in zip(self.parameters, parts, strict=True):
                parameter.grad = part.view_as(parameter)
        if weight == 0:
            raise ValueError(f"batch must hold at least one row, got 0 {self.place}")
        return loss, weight

    def adjust_gradients(self) -> None:
        """Add the L1 penalty and clip."""
        if self.options.l1:
            for parameter in self.parameters:
                if parameter.grad is not None:
                    parameter.grad.add_(parameter.detach().sign(), alpha=self.options.l1)
        if self.options.clip is not None:
            norm = nn.utils.clip_grad_norm_(self.parameters, self.options.clip)
            self.check_finite("norm of the gradient", norm.item())

    # --- after an epoch

    def end_epoch(self) -> None:
        """Record the epoch, validate, keep the best weights, decide whether to go on."""
        epoch = self.epoch - 1
        self.check_weights()
        row = {
            "epoch": epoch,
            "step": self.step,
            "loss": self.loss_sum / self.weight_sum,
            "learning_rate": self.optimizer.param_groups[0]["lr"],
            "seconds": 0.0,  # known after the validation
        }
        self.loss_sum = self.weight_sum = 0.0
        if self.validate is None:
            self.history.best_epoch = epoch
        elif epoch % self.options.validate_every == 0 or epoch == self.options.epochs:
            values = self.validated()
            self.keep_best(epoch, *next(iter(values.items())))
            row |= values
        self.history.rows.append(row | {"seconds": self.elapsed()})
        self.history.stopped = self.stopped()
        self.save()

    def validated(self) -> dict[str, float]:
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
        if not result or set(result) & set(COLUMNS):
            raise ValueError(f"validate must name values other than {COLUMNS}, got {result}")
        return result

    def keep_best(self, epoch: int, metric: str, value: float) -> None:
        """Keep a copy of the weights where they are better than all before."""
        if not math.isfinite(value):
            raise ValueError(f"validate must return a finite {metric}, got {value}")
        self.history.metric = metric
        if value > self.best_value:
            self.best_value, self.n_worse, self.history.best_epoch = value, 0, epoch
            self.best = {name: tensor.clone() for name, tensor in self.network.state_dict().items()}
        else:
            self.n_worse += 1

    def stopped(self) -> str | None:
        """Why the run is over, or None while it is not."""
        if self.options.patience is not None and self.n_worse >= self.options.patience:
            return "patience"
        return "epochs" if self.step >= self.steps * self.options.epochs else None

    def check_weights(self) -> None:
        """A gradient can be infinite where the loss is not, and spoil the weights."""
        for name, tensor in self.network.state_dict().items():
            if tensor.is_floating_point() and not tensor.isfinite().all():
                raise Diverged(
                    f"weights must be finite, got {name} with NaN or infinity {self.place}"
                    f" with learning_rate {self.rate:g}"
                )

    def elapsed(self) -> float:
        """Seconds of training and validation, those before a checkpoint included."""
        now = time.perf_counter()
        self.seconds, self.started = self.seconds + now - self.started, now
        return self.seconds

    # --- checkpoints

    def identity(self) -> dict[str, Any]:
        """What must agree for a checkpoint to belong to this run."""
        network, options = self.network, asdict(self.options)
        # A rate that falls depends on how many epochs there are.
        free = _FREE if self.options.schedule == "constant" else _FREE - {"epochs"}
        return {
            "format": _FORMAT,
            "network": f"{type(network).__module__}.{type(network).__qualname__}",
            "sizes": {name: list(t.shape) for name, t in network.state_dict().items()},
            "options": {name: value for name, value in options.items() if name not in free},
            "validation": self.validate is not None,
            "steps": self.steps,
            "world": self.world,
        }

    def save(self) -> None:
        """Write a checkpoint of weights that have been checked, if one is asked for."""
        if self.options.checkpoint is None or self.rank > 0:
            return
        state = {name: getattr(self, name) for name in _KEPT} | {
            "weights": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "seconds": self.elapsed(),
            "history": asdict(self.history),
        }
        write(Path(self.options.checkpoint), {"identity": self.identity(), "state": state})

    def load_state(self, state: dict[str, Any]) -> None:
        """Stand where the checkpoint was written."""
        self.network.load_state_dict(state["weights"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.seconds = state["seconds"]
        self.history = History(**state["history"])
        for name in _KEPT:
            setattr(self, name, state[name])
        self.history.stopped = self.stopped()  # more epochs or patience may be given than before


_KEPT = ("step", "loss_sum", "weight_sum", "best", "best_value", "n_worse")

# --- pieces


def _seed(device: torch.device, text: str) -> None:
    """Seed the generators of this device alone: ``torch.manual_seed`` would seed all there are."""
    number = zlib.crc32(text.encode())  # a generator on a CPU takes 32 bits
    torch.default_generator.manual_seed(number)
    if device.type == "cuda":
        torch.cuda.default_generators[device.index].manual_seed(number)


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
