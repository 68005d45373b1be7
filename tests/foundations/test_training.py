"""The training loop: equal to a plain one, to itself after a kill, and to two processes."""

import math
import os
import pickle
import re
import signal
import socket
import subprocess
import sys
import traceback
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from reclib.foundations import _machine, training
from reclib.foundations.batching import Pairs, Rows, UserRows
from reclib.foundations.evaluation import evaluate
from reclib.foundations.interactions import Interactions
from reclib.foundations.networks import bpr_loss, embedding_table, softmax_loss
from reclib.foundations.training import Diverged, History, Options, fit, ranking_validation

ROOT = Path(__file__).parents[2]
GENERATOR = np.random.default_rng(4)
TRAIN = Interactions(
    GENERATOR.integers(0, 7, 53), GENERATOR.integers(0, 11, 53), n_users=7, n_items=11
)


class Toy(nn.Module):
    """Dot product of a user and an item, with dropout."""

    def __init__(self, dropout=0.0, n_items=11):
        super().__init__()
        self.user_table = embedding_table(7, 4, std=0.5, seed=3)
        self.item_table = embedding_table(n_items, 4, std=0.5, seed=3, stream=1)
        self.dropout = nn.Dropout(dropout)

    def loss(self, batch):
        users, positives, negatives = batch
        vectors = self.dropout(self.user_table(users))  # (B, D)
        positive_scores = (vectors * self.item_table(positives)).sum(1)
        negative_scores = torch.einsum("bd,bnd->bn", vectors, self.item_table(negatives))
        return bpr_loss(positive_scores, negative_scores)

    def value(self):
        """A validation that depends on the weights alone."""
        return float(torch.sin(20 * self.user_table.weight.detach().double().sum()))


class Other(Toy):
    """Another network of the same sizes."""


class UserToy(Toy):
    """The same factors under softmax, in batches of users with all their events."""

    def loss(self, batch):
        logits = self.user_table(batch.users)[batch.rows] @ self.item_table.weight.T
        return softmax_loss(logits, batch.items)


class Line(nn.Module):
    """Two weights, and a loss that a test gives: of the weights and of the batch."""

    def __init__(self, loss):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([1.0, -2.0]))
        self.given = loss

    def loss(self, batch):
        return self.given(self.weight, *batch)


class Given:
    """The batches a test gives, the same every epoch; ``n`` is what ``steps`` says."""

    def __init__(self, *batches, n=None):
        self.batches, self.n = batches, len(batches) if n is None else n

    def epoch(self, n, rank=0, world=1):
        return iter(self.batches)

    def steps(self, world=1):
        return self.n


def row(*values):
    return (torch.tensor(values).float(),)


def square(weight, targets):
    return ((weight - targets[:, None]) ** 2).mean()


def pairs(batch_size=8):
    return Pairs(TRAIN, batch_size=batch_size, n_negatives=2, seed=5)  # 7 steps, odd tail of 5


def options(**changes):
    defaults = {"epochs": 3, "batch_size": 8, "learning_rate": 0.05, "device": "cpu"}
    return Options(**(defaults | {"progress": False} | changes))


def weights(network):
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def assert_equal(network, expected):
    """Bit by bit."""
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, expected[name]), name


def assert_close(network, expected, atol):
    for name, tensor in network.state_dict().items():
        torch.testing.assert_close(tensor.cpu(), expected[name].cpu(), rtol=0, atol=atol)


def without_seconds(history):
    return [{name: v for name, v in each.items() if name != "seconds"} for each in history.rows]


# --- one step


KINDS = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "sgd": torch.optim.SGD,
    "adagrad": torch.optim.Adagrad,
}


def by_hand(network, opts, *, fused):
    """The loop as a tutorial has it."""
    optimizer = KINDS[opts.optimizer](
        network.parameters(), lr=opts.learning_rate, weight_decay=opts.weight_decay, fused=fused
    )
    losses = []
    for epoch in range(1, opts.epochs + 1):
        for batch in pairs().epoch(epoch):
            optimizer.zero_grad()
            loss = network.loss(batch)
            loss.backward()
            if opts.clip:
                nn.utils.clip_grad_norm_(network.parameters(), opts.clip)
            optimizer.step()
            losses.append((loss.item(), len(batch.users)))
    return losses


CHANGES = [
    {},
    {"optimizer": "adamw"},
    {"optimizer": "sgd"},
    {"optimizer": "adagrad"},
    {"weight_decay": 0.3},
    {"optimizer": "adamw", "weight_decay": 0.3},
    {"optimizer": "sgd", "weight_decay": 0.3},
    {"clip": 0.05},
    {"optimizer": "sgd", "clip": 0.05},
]


@pytest.mark.parametrize("changes", CHANGES, ids=str)
def test_the_loop_equals_a_plain_one_bit_by_bit(changes):
    ours, plain = Toy(), Toy()
    fit(ours, pairs(), options(**changes))
    by_hand(plain, options(**changes), fused=True)
    assert_equal(ours, weights(plain))


@pytest.mark.parametrize("changes", CHANGES, ids=str)
def test_the_loop_equals_a_plain_one_with_optimisers_that_are_not_fused(changes):
    ours, plain = Toy(), Toy()
    fit(ours, pairs(), options(**changes))
    by_hand(plain, options(**changes), fused=False)
    assert_close(ours, weights(plain), atol=2e-6)


@pytest.mark.parametrize("changes", CHANGES[2:], ids=str)  # adamw without decay is adam
def test_each_option_changes_the_result(changes):
    plain, changed = Toy(), Toy()
    fit(plain, pairs(), options())
    fit(changed, pairs(), options(**changes))
    assert not torch.allclose(plain.user_table.weight, changed.user_table.weight, atol=1e-3)


def test_the_loss_of_an_epoch_is_the_mean_over_its_rows():
    losses = by_hand(Toy(), options(epochs=1), fused=True)
    history = fit(Toy(), pairs(), options(epochs=1))
    mean = sum(loss * n for loss, n in losses) / sum(n for _, n in losses)
    assert history.rows[0]["loss"] == pytest.approx(mean, rel=1e-12)


def test_a_batch_with_a_weight_counts_by_it():
    network, batches = UserToy(), UserRows(TRAIN, batch_size=3, seed=1)
    frozen = [(network.loss(batch).item(), batch.weight) for batch in batches.epoch(1)]
    assert len({weight for _, weight in frozen}) > 1
    history = fit(network, batches, options(epochs=1, learning_rate=1e-30))
    mean = sum(loss * weight for loss, weight in frozen) / len(TRAIN)
    assert history.rows[0]["loss"] == pytest.approx(mean, rel=1e-6)


def test_l1_finds_the_soft_threshold():
    target = torch.tensor([0.9, -0.1])
    network = Line(lambda weight, _: ((weight - target) ** 2).sum() / 2)
    settings = options(optimizer="sgd", l1=0.3, learning_rate=0.1, schedule="linear", epochs=300)
    fit(network, Given(row(0)), settings)
    soft = torch.tensor([0.6, 0.0])
    torch.testing.assert_close(network.weight.detach(), soft, rtol=0, atol=1e-3)


def test_l1_makes_weights_that_nothing_needs_vanish():
    network = Toy()
    fit(network, pairs(), options(l1=1.0, epochs=30, schedule="cosine"))
    assert max(table.abs().max() for table in network.state_dict().values()) < 1e-3


def test_a_parameter_that_the_loss_does_not_use_stays_where_it_is():
    network = Line(square)
    network.unused = nn.Parameter(torch.tensor([7.0]))
    fit(network, Given(row(1)), options(l1=0.1, weight_decay=0.1, clip=1.0))
    assert network.unused.item() == 7


def test_a_frozen_parameter_stays_where_it_is():
    network = Toy()
    before = network.item_table.weight.detach().clone()
    network.item_table.weight.requires_grad_(False)
    fit(network, pairs(), options(weight_decay=0.1))
    assert torch.equal(network.item_table.weight, before)


def rates(**changes):
    """The learning rate of each of six steps."""
    history = fit(Line(square), Given(row(1)), options(epochs=6, learning_rate=0.5, **changes))
    return history.table["learning_rate"].to_numpy()


def test_the_rate_is_constant_without_a_schedule():
    assert (rates() == 0.5).all()


def of_torch(scheduler, **changes):
    optimizer = torch.optim.SGD(Line(square).parameters(), lr=0.5)
    schedule = scheduler(optimizer, **changes)
    found = []
    for _ in range(6):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return found


def test_the_linear_schedule_is_that_of_torch():
    change = {"start_factor": 1.0, "end_factor": 0.0, "total_iters": 6}
    expected = of_torch(torch.optim.lr_scheduler.LinearLR, **change)
    np.testing.assert_allclose(rates(schedule="linear"), expected, rtol=1e-12)


def test_the_cosine_schedule_is_that_of_torch():
    expected = of_torch(torch.optim.lr_scheduler.CosineAnnealingLR, T_max=6)
    np.testing.assert_allclose(rates(schedule="cosine"), expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("schedule", "shares"),
    [
        ("constant", [1 / 3, 2 / 3, 1, 1, 1, 1]),
        ("linear", [1 / 3, 2 / 3, 1, 3 / 4, 2 / 4, 1 / 4]),
        ("cosine", [1 / 3, 2 / 3, *((1 + math.cos(math.pi * d / 4)) / 2 for d in range(4))]),
    ],
)
def test_warmup_rises_to_the_full_rate_and_the_schedule_runs_over_the_rest(schedule, shares):
    np.testing.assert_allclose(rates(schedule=schedule, warmup=2), 0.5 * np.array(shares))


def test_a_warmup_longer_than_the_run_only_rises():
    np.testing.assert_allclose(rates(schedule="linear", warmup=9), 0.05 * np.arange(1, 7))


# --- what is left behind


def test_the_global_generators_are_left_as_they_were():
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()
    fit(Toy(dropout=0.5), pairs(), options())
    assert torch.equal(torch.get_rng_state(), torch_state)
    for before, after in zip(numpy_state, np.random.get_state(), strict=True):
        np.testing.assert_array_equal(before, after)


def test_the_global_generator_does_not_matter():
    results = []
    for seed in (1, 2):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            network = Toy(dropout=0.5)
            fit(network, pairs(), options())
        results.append(weights(network))
    assert_equal(network, results[0])


def test_another_seed_gives_another_dropout():
    first, second = Toy(dropout=0.5), Toy(dropout=0.5)
    fit(first, pairs(), options(seed=1))
    fit(second, pairs(), options(seed=2))
    assert not torch.equal(first.user_table.weight, second.user_table.weight)


def test_every_step_has_another_dropout():
    masks = []
    network = Line(square)
    network.dropout = nn.Dropout(0.5)
    network.given = lambda w, _: (masks.append(network.dropout(torch.ones(40))), w.sum())[1]
    fit(network, Given(row(0), row(0)), options(epochs=2))
    assert len({tuple(mask.tolist()) for mask in masks}) == 4


def test_a_network_is_trained_in_training_mode_and_validated_and_left_in_evaluation_mode():
    modes = []
    network = Line(square)
    network.given = lambda w, t: (modes.append(("loss", network.training)), square(w, t))[1]

    def validate():
        modes.append(("validate", network.training, torch.is_grad_enabled()))
        return 0.0

    fit(network, Given(row(0)), options(epochs=2), validate)
    assert modes == [("loss", True), ("validate", False, False)] * 2
    assert not network.training


def test_nothing_is_printed(capfd):
    fit(Toy(), pairs(), options())
    assert capfd.readouterr() == ("", "")


def test_no_bar_is_shown_where_nobody_watches(capfd):
    fit(Toy(), pairs(), options(progress=None))
    assert capfd.readouterr() == ("", "")


def test_a_bar_with_the_rate_is_shown_on_stderr_and_wiped_off(capfd):
    fit(Toy(), pairs(), options(progress=True))
    stdout, stderr = capfd.readouterr()
    assert stdout == ""
    assert "step/s" in stderr
    assert "\n" not in stderr
    assert stderr.split("\r")[-2].strip() == ""


def test_the_history_has_a_row_an_epoch():
    history = fit(Toy(), pairs(), options(), lambda: {"ndcg@10": 0.5, "recall@10": 0.25})
    table = history.table
    assert list(table.columns) == [
        *("epoch", "step", "loss", "learning_rate", "seconds", "ndcg@10", "recall@10"),
    ]
    assert list(table.index) == list(table["epoch"]) == [1, 2, 3]
    assert list(table["step"]) == [7, 14, 21]
    assert (np.diff(table["seconds"], prepend=0) > 0).all()
    assert (history.metric, history.best_epoch, history.stopped) == ("ndcg@10", 1, "epochs")


def test_without_validation_the_last_epoch_counts():
    history = fit(Toy(), pairs(), options())
    assert (history.metric, history.best_epoch, history.stopped) == (None, 3, "epochs")


def test_an_empty_history_is_an_empty_table():
    assert list(History().table.columns)[:3] == ["epoch", "step", "loss"]
    assert len(History().table) == 0


# --- validation


def scripted(values, network=None):
    """A validation that returns the given values in turn, and the weights it saw."""
    seen, turn = [], iter(values)

    def validate():
        if network is not None:
            seen.append(weights(network))
        return next(turn)

    return validate, seen


def test_the_best_weights_are_kept():
    network = Toy()
    validate, seen = scripted([0.1, 0.3, 0.2], network)
    history = fit(network, pairs(), options(), validate)
    assert history.best_epoch == 2
    assert_equal(network, seen[1])
    assert not torch.equal(seen[1]["user_table.weight"], seen[2]["user_table.weight"])


@pytest.mark.parametrize(
    ("values", "patience", "epochs", "best", "stopped"),
    [
        ([0.1, 0.3, 0.2, 0.2, 0.9], 2, 4, 2, "patience"),
        ([0.1, 0.3, 0.2, 0.4, 0.1], 2, 5, 4, "epochs"),
        ([0.3, 0.3, 0.3, 0.3, 0.3], 3, 4, 1, "patience"),  # equal is not better
        ([0.5, 0.4, 0.6, 0.6, 0.6], 1, 2, 1, "patience"),
        ([-3, -2, -1, -2, -1], None, 5, 3, "epochs"),
    ],
)
def test_patience_ends_a_run_that_gets_no_better(values, patience, epochs, best, stopped):
    history = fit(Toy(), pairs(), options(epochs=5, patience=patience), scripted(values)[0])
    assert len(history.rows) == epochs
    assert (history.best_epoch, history.stopped) == (best, stopped)


def test_validation_comes_every_so_many_epochs_and_after_the_last():
    validate, _ = scripted([0.1, 0.2, 0.3])
    history = fit(Toy(), pairs(), options(epochs=5, validate_every=2), validate)
    found = history.table["validation"].to_numpy()
    np.testing.assert_array_equal(found, [np.nan, 0.1, np.nan, 0.2, 0.3])
    assert list(history.table.columns)[-2:] == ["seconds", "validation"]


def test_the_first_of_several_values_decides():
    values = [{"a": 0.2, "b": 0.1}, {"a": 0.1, "b": 0.9}]
    assert fit(Toy(), pairs(), options(epochs=2), scripted(values)[0]).best_epoch == 1


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (float("nan"), "validate must return a finite validation, got nan"),
        ({"ndcg@10": float("inf"), "a": 1}, "validate must return a finite ndcg@10, got inf"),
        ({}, r"validate must name values other than \['epoch', .*\], got \{\}"),
        ({"loss": 1}, r"validate must name values other than \['epoch', .*\], got \{'loss': 1.0"),
    ],
)
def test_a_validation_without_a_usable_value_is_refused(found, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        fit(Toy(), pairs(), options(), lambda: found)


class Fixed:
    """Scores that do not depend on the user."""

    def score(self, users, items=None):
        return np.tile(np.arange(11.0), (len(users), 1))


def test_the_ranking_validation_is_an_evaluation_on_the_validation_set():
    validation = Interactions([0, 2, 5], [1, 10, 4], n_users=7, n_items=11)
    report = evaluate(Fixed(), history=TRAIN, test=validation, k=5)
    found = ranking_validation(Fixed(), TRAIN, validation, "recall@5")()
    assert found == {"recall@5": report["recall@5"]}
    assert list(ranking_validation(Fixed(), TRAIN, validation)()) == ["ndcg@10"]


NOTHING = Interactions([], [], n_users=7, n_items=11)


@pytest.mark.parametrize(
    ("validation", "metric", "message"),
    [
        (NOTHING, "ndcg@10", "validation must be Interactions with at least one event, got 0"),
        (None, "ndcg@10", "validation must be Interactions with .* one event, got NoneType"),
        (TRAIN, "ndcg", "metric must end in its cutoff, such as 'ndcg@10', got 'ndcg'"),
    ],
)
def test_a_ranking_validation_without_targets_is_refused(validation, metric, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        ranking_validation(Fixed(), TRAIN, validation, metric)


def test_a_validation_whose_targets_are_all_known_already_is_refused():
    with pytest.raises(ValueError, match=r"^validate must return a finite ndcg@10, got nan$"):
        fit(Toy(), pairs(), options(), ranking_validation(Fixed(), TRAIN, TRAIN))


# --- what goes wrong


BAD_OPTIONS = [
    (
        {"optimizer": "lion"},
        "optimizer must be one of ('adam', 'adamw', 'sgd', 'adagrad'), got 'lion'",
    ),
    ({"schedule": None}, "schedule must be one of ('constant', 'linear', 'cosine'), got None"),
    (
        {"precision": "float16"},
        "precision must be one of ('auto', 'float32', 'bfloat16'), got 'float16'",
    ),
    ({"epochs": 0}, "epochs must be an integer of at least 1, got 0"),
    ({"epochs": None}, "epochs must be an integer of at least 1, got None"),
    ({"epochs": 2.5}, "epochs must be an integer of at least 1, got 2.5"),
    ({"batch_size": -1}, "batch_size must be an integer of at least 1, got -1"),
    ({"validate_every": 0}, "validate_every must be an integer of at least 1, got 0"),
    ({"patience": 0}, "patience must be an integer of at least 1, got 0"),
    ({"checkpoint_every": 0}, "checkpoint_every must be an integer of at least 1, got 0"),
    ({"warmup": -1}, "warmup must be an integer of at least 0, got -1"),
    ({"learning_rate": 0}, "learning_rate must be above 0, got 0"),
    ({"learning_rate": math.nan}, "learning_rate must be above 0, got nan"),
    ({"learning_rate": math.inf}, "learning_rate must be above 0, got inf"),
    ({"clip": 0}, "clip must be above 0, got 0"),
    ({"weight_decay": -0.1}, "weight_decay must be at least 0, got -0.1"),
    ({"l1": math.nan}, "l1 must be at least 0, got nan"),
    ({"resume": True}, "checkpoint must name a file where resume is set, got None"),
]


@pytest.mark.parametrize(("changes", "message"), BAD_OPTIONS, ids=[row[1] for row in BAD_OPTIONS])
def test_options_that_cannot_be_are_refused(changes, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        Options(**changes)


def test_options_that_do_not_exist_are_refused():
    with pytest.raises(TypeError, match="momentum"):
        Options(momentum=0.9)


def test_whole_numbers_of_numpy_are_counts():
    assert Options(epochs=np.int64(3)).epochs == 3


def test_what_may_differ_between_a_run_and_its_checkpoint_is_an_option():
    assert set(Options.__dataclass_fields__) >= training._FREE


@pytest.mark.parametrize("name", ["cuda:99", "tpu", "cpu:x"])
def test_a_device_that_is_not_there_is_refused(name):
    with pytest.raises(ValueError, match=f"^device must be there, got '{name}': "):
        fit(Toy(), pairs(), options(device=name))


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_not_finite_stops_the_run_before_its_step(bad):
    network, seen = Line(None), []

    def loss(weight, targets):
        seen.append(weight.detach().clone())
        return square(weight, targets) + (bad if len(seen) == 6 else 0)

    network.given = loss
    message = f"loss must be finite, got {bad} at step 5 (epoch 3, batch 1) with learning_rate 0.05"
    with pytest.raises(Diverged, match=f"^{re.escape(message)}$"):
        fit(network, Given(row(1), row(2)), options())
    assert torch.equal(network.weight, seen[5])  # where the loss was taken, and finite
    assert not network.training


def test_a_learning_rate_far_too_high_is_caught_and_the_last_checkpoint_loads(tmp_path):
    settings = {"optimizer": "sgd", "epochs": 50, "checkpoint": str(tmp_path / "run.pt")}
    network = Line(square)
    with pytest.raises(Diverged, match="with learning_rate 1000$"):
        fit(network, Given(row(1)), options(learning_rate=1e3, checkpoint_every=1, **settings))
    assert network.weight.isfinite().all()
    state = torch.load(tmp_path / "run.pt", weights_only=True)["state"]
    assert state["weights"]["weight"].isfinite().all()
    assert state["step"] > 3


def test_a_gradient_that_is_not_finite_stops_a_clipped_run_before_its_step():
    network = Line(lambda weight, targets: (weight - weight.detach()).abs().sqrt().sum())
    message = r"^norm of the gradient must be finite, got (nan|inf) at step 0 \(epoch 1, batch 0\)"
    with pytest.raises(Diverged, match=message):
        fit(network, Given(row(1)), options(clip=1.0))
    assert network.weight.tolist() == [1, -2]


def test_weights_that_are_not_finite_never_reach_a_checkpoint(tmp_path):
    calls = []

    def loss(weight, targets):
        calls.append(1)
        spoil = (weight - weight.detach()).abs().sqrt().sum() if len(calls) == 4 else 0
        return square(weight, targets) + spoil

    settings = options(checkpoint=str(tmp_path / "run.pt"), checkpoint_every=1)
    message = r"^weights must be finite, got weight with NaN or infinity at step 4 \(epoch 3, "
    with pytest.raises(Diverged, match=message):
        fit(Line(loss), Given(row(1), row(2)), settings)
    state = torch.load(tmp_path / "run.pt", weights_only=True)["state"]
    assert state["step"] == 3
    assert state["weights"]["weight"].isfinite().all()


def test_weights_that_are_not_finite_are_found_without_a_checkpoint():
    network = Line(lambda weight, targets: (weight - weight.detach()).abs().sqrt().sum())
    with pytest.raises(Diverged, match="^weights must be finite, got weight with NaN"):
        fit(network, Given(row(1)), options(epochs=1))


@pytest.mark.parametrize(
    ("batches", "message"),
    [
        (Given(row(1), row()), "batch must hold at least one row, got 0 at step 1 (epoch 1, batch"),
        (Given(), "batches must hold at least one batch an epoch, got 0"),
        (Given(n=2), "batches must give 2 batches an epoch, as steps() says, got 0 in epoch 1"),
        (Given(row(1), n=2), "batches must give 2 batches an epoch, as steps() says, got 1 in epo"),
        (
            Given(*[row(1)] * 5, n=2),
            "batches must give 2 batches an epoch, as steps() says, got 3 or more in epoch 1",
        ),
    ],
)
def test_empty_batches_and_wrong_counts_of_batches_are_refused(batches, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        fit(Line(square), batches, options())


def test_a_loss_that_is_no_scalar_is_refused():
    network = Line(lambda weight, targets: weight - targets)
    with pytest.raises(ValueError, match=r"^loss must be a scalar, got shape \(2,\)$"):
        fit(network, Given(row(1)), options())


def fail(error):
    def loss(weight, targets):
        raise error

    return loss


def allocate(weight, targets):
    return torch.empty(10**16).sum() * weight.sum()


SHORT = [
    fail(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")),
    fail(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")),
    fail(MemoryError("Unable to allocate 9. PiB for an array")),
    allocate,
]


@pytest.mark.parametrize("loss", SHORT)
def test_memory_that_does_not_suffice_names_the_batch_size(loss):
    message = "^batch_size must be smaller for the memory of cpu, got 512: .*llocate"
    with pytest.raises(MemoryError, match=message):
        fit(Line(loss), Given(row(1)), options(batch_size=512))


def test_another_error_of_the_network_comes_through():
    with pytest.raises(RuntimeError, match="^shapes do not fit$"):
        fit(Line(fail(RuntimeError("shapes do not fit"))), Given(row(1)), options())


# --- precision and device


def dtypes_in(precision):
    found = []

    def loss(weight, targets):
        found.append((weight[None] @ weight[:, None]).dtype)
        return square(weight, targets)

    network = Line(loss)
    fit(network, Given(row(1)), options(epochs=1, precision=precision))
    return found[0], network.weight.dtype


def test_a_product_is_taken_in_bfloat16_where_asked_for_and_weights_stay_in_float32():
    assert dtypes_in("bfloat16") == (torch.bfloat16, torch.float32)


@pytest.mark.parametrize("precision", ["auto", "float32"])
def test_a_cpu_computes_in_float32_by_itself(precision):
    assert dtypes_in(precision) == (torch.float32, torch.float32)


def test_bfloat16_on_a_cpu_learns_nearly_the_same():
    short, full = UserToy(), UserToy()
    for network, precision in ((short, "bfloat16"), (full, "float32")):
        batches = UserRows(TRAIN, batch_size=3, seed=1)
        fit(network, batches, options(precision=precision, optimizer="sgd"))
    assert_close(short, weights(full), atol=2e-3)
    assert not torch.equal(short.user_table.weight, full.user_table.weight)


@pytest.mark.gpu
@pytest.mark.parametrize("optimizer", list(KINDS))
def test_cuda_equals_the_cpu(optimizer):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    settings = {"optimizer": optimizer, "precision": "float32", "clip": 1.0, "schedule": "cosine"}
    networks = {}
    for device in ("cpu", "cuda"):
        networks[device] = UserToy()
        batches = UserRows(TRAIN, batch_size=3, seed=1)
        fit(networks[device], batches, options(device=device, **settings))
    assert networks["cuda"].user_table.weight.is_cuda
    assert_close(networks["cuda"], weights(networks["cpu"]), atol=1e-4)


@pytest.mark.gpu
def test_cuda_resumes_from_a_checkpoint_and_leaves_its_generator(tmp_path):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    state = torch.cuda.get_rng_state()
    settings = {"device": "cuda", "precision": "float32", "checkpoint": str(tmp_path / "run.pt")}
    whole, parts = Toy(dropout=0.3), Toy(dropout=0.3)
    fit(whole, pairs(), options(device="cuda", precision="float32"))
    fit(parts, pairs(), options(epochs=1, **settings))
    fit(parts, pairs(), options(resume=True, **settings))
    assert_close(parts, weights(whole), atol=1e-5)
    assert torch.equal(torch.cuda.get_rng_state(), state)


@pytest.mark.gpu
def test_cuda_computes_in_bfloat16_by_itself():
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    network = UserToy()
    fit(network, UserRows(TRAIN, batch_size=3, seed=1), options(device="auto"))
    full = UserToy()
    fit(full, UserRows(TRAIN, batch_size=3, seed=1), options())
    assert network.user_table.weight.is_cuda
    assert not torch.equal(network.user_table.weight.cpu(), full.user_table.weight)


# --- checkpoints


def kept(path, **changes):
    """Options of a run of four epochs that writes checkpoints and may take one up."""
    return options(**({"epochs": 4, "checkpoint": str(path), "resume": True} | changes))


def stopped_run(path, monkeypatch, error=KeyboardInterrupt, **changes):
    """A run that ends with an error in step 12 of 28."""
    network, calls = Toy(dropout=0.3), []
    loss = network.loss

    def stopping(batch):
        calls.append(1)
        if len(calls) == 13:
            raise error
        return loss(batch)

    monkeypatch.setattr(network, "loss", stopping)
    with pytest.raises(error):
        fit(network, pairs(), kept(path, **changes), network.value)


def whole_run(**changes):
    network = Toy(dropout=0.3)
    history = fit(network, pairs(), options(epochs=4, **changes), network.value)
    return weights(network), without_seconds(history), history.best_epoch


@pytest.mark.parametrize("every", [None, 1, 5])
def test_an_interrupted_run_goes_on_from_its_checkpoint(tmp_path, monkeypatch, every):
    path = tmp_path / "deep" / "run.pt"
    stopped_run(path, monkeypatch, checkpoint_every=every)
    network = Toy(dropout=0.3)
    history = fit(network, pairs(), kept(path, checkpoint_every=every), network.value)
    expected, rows, best = whole_run()
    assert_equal(network, expected)
    assert without_seconds(history) == rows
    assert history.best_epoch == best
    assert [each.name for each in path.parent.iterdir()] == ["run.pt"]


def test_the_seconds_before_the_checkpoint_count(tmp_path):
    fit(Toy(), pairs(), kept(tmp_path / "run.pt", epochs=1))
    content = torch.load(tmp_path / "run.pt", weights_only=True)
    content["state"]["seconds"] = 1000.0
    torch.save(content, tmp_path / "run.pt")
    history = fit(Toy(), pairs(), kept(tmp_path / "run.pt", epochs=2))
    assert history.rows[0]["seconds"] < 100 < 1000 < history.rows[1]["seconds"] < 1100


def test_without_a_checkpoint_there_a_run_that_would_resume_begins(tmp_path):
    history = fit(Toy(), pairs(), kept(tmp_path / "run.pt"))
    assert len(history.rows) == 4


def test_without_resume_a_checkpoint_is_written_over(tmp_path):
    fit(Toy(), pairs(), kept(tmp_path / "run.pt"))
    history = fit(Toy(), pairs(), kept(tmp_path / "run.pt", resume=False, learning_rate=0.2))
    assert len(history.rows) == 4


def test_a_run_that_had_finished_gives_its_result_again_without_a_step(tmp_path):
    first, second = Toy(dropout=0.3), Toy(dropout=0.3)
    history = fit(first, pairs(), kept(tmp_path / "run.pt"), first.value)
    assert history.best_epoch != 4  # so that best and last weights differ
    second.loss = None
    again = fit(second, pairs(), kept(tmp_path / "run.pt"), second.value)
    assert again == history
    assert_equal(second, weights(first))


def test_a_finished_run_goes_on_where_more_epochs_are_wanted(tmp_path):
    network = Toy(dropout=0.3)
    fit(network, pairs(), kept(tmp_path / "run.pt", epochs=2), network.value)
    network = Toy(dropout=0.3)
    history = fit(network, pairs(), kept(tmp_path / "run.pt"), network.value)
    expected, rows, _ = whole_run()
    assert_equal(network, expected)
    assert without_seconds(history) == rows


def test_a_run_that_had_lost_patience_goes_on_where_there_is_more_of_it(tmp_path):
    worse = scripted([0.5, 0.4, 0.3, 0.2, 0.1])[0]
    first = fit(Toy(), pairs(), kept(tmp_path / "run.pt", patience=1), worse)
    again = fit(Toy(), pairs(), kept(tmp_path / "run.pt", patience=1), worse)
    assert again == first
    more = fit(Toy(), pairs(), kept(tmp_path / "run.pt", patience=2), worse)
    assert [len(each.rows) for each in (first, more)] == [2, 3]
    assert more.best_epoch == 1


REFUSED = [
    ({"network": Other}, {}, "must have network {tests}.Other, got {tests}.Toy"),
    (
        {"network": lambda: Toy(n_items=12)},
        {},
        "must have sizes {{'user_table.weight': [7, 4], 'item_table.weight': [12, 4]}}, got {{'us",
    ),
    ({}, {"learning_rate": 0.06}, "must have options {{'batch_size': 8, 'learning_rate': 0.06, 'o"),
    (
        {},
        {"seed": 1},
        "must have options {{'batch_size': 8, 'learning_rate': 0.05, 'optimizer': 'a",
    ),
    ({"validate": lambda: 0.0}, {}, "must have validation True, got False"),
    ({"batches": pairs(9)}, {}, "must have steps 6, got 7"),
]


@pytest.mark.parametrize(("given", "changes", "message"), REFUSED, ids=[r[2] for r in REFUSED])
def test_a_checkpoint_of_another_run_is_refused_and_kept(tmp_path, given, changes, message):
    path = tmp_path / "run.pt"
    fit(Toy(), pairs(), kept(path, epochs=1))
    before = path.read_bytes()
    network = given.get("network", Toy)()
    start = re.escape(f"checkpoint {path} " + message.format(tests=__name__))
    with pytest.raises(ValueError, match=f"^{start}"):
        fit(network, given.get("batches", pairs()), kept(path, **changes), given.get("validate"))
    assert path.read_bytes() == before
    assert torch.equal(network.user_table.weight, Toy().user_table.weight)


def test_a_falling_rate_is_another_run_where_the_number_of_epochs_is_another(tmp_path):
    fit(Toy(), pairs(), kept(tmp_path / "run.pt", schedule="linear"))
    with pytest.raises(ValueError, match="must have options {'epochs': 5, "):
        fit(Toy(), pairs(), kept(tmp_path / "run.pt", schedule="linear", epochs=5))


def test_a_checkpoint_of_another_version_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(training, "_FORMAT", 99)
    fit(Toy(), pairs(), kept(tmp_path / "run.pt"))
    monkeypatch.undo()
    with pytest.raises(ValueError, match=rf"must have format {training._FORMAT}, got 99$"):
        fit(Toy(), pairs(), kept(tmp_path / "run.pt"))


class Bomb:
    """Pickles into a call that leaves a mark."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return (os.mkdir, (str(self.mark),))


def damaged(kind, whole, mark):
    return {
        "truncated": whole[: len(whole) // 2],
        "empty": b"",
        "text": b"weights\n" * 40,
        "pickle": pickle.dumps(Bomb(mark)),
    }[kind]


@pytest.mark.parametrize("kind", ["truncated", "empty", "text", "pickle"])
def test_a_file_that_is_no_checkpoint_is_refused_and_no_code_in_it_runs(tmp_path, kind):
    path, mark = tmp_path / "run.pt", tmp_path / "mark"
    fit(Toy(), pairs(), kept(path, epochs=1))
    path.write_bytes(damaged(kind, path.read_bytes(), mark))
    message = re.escape(f"checkpoint must be one of this loop, got {path}: ")
    with pytest.raises(ValueError, match=f"^{message}"):
        fit(Toy(), pairs(), kept(path))
    assert not mark.exists()


def test_a_file_of_torch_that_is_no_checkpoint_is_refused(tmp_path):
    for content in (Toy().state_dict(), [1], {"identity": 3, "state": {}}):
        torch.save(content, tmp_path / "run.pt")
        with pytest.raises(ValueError, match="^checkpoint must be one of this loop, got "):
            fit(Toy(), pairs(), kept(tmp_path / "run.pt"))


def half_written(content, file):
    file.write(b"half of it")
    raise KeyboardInterrupt


def no_rename(source, target):
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("place", "name", "broken"),
    [(torch, "save", half_written), (_machine.os, "replace", no_rename)],
)
def test_an_interrupt_while_a_checkpoint_is_written_leaves_the_one_before(
    tmp_path, monkeypatch, place, name, broken
):
    path = tmp_path / "run.pt"
    fit(Toy(dropout=0.3), pairs(), kept(path, epochs=2))
    before = path.read_bytes()
    monkeypatch.setattr(place, name, broken)
    with pytest.raises(KeyboardInterrupt):
        fit(Toy(dropout=0.3), pairs(), kept(path))
    monkeypatch.undo()
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["run.pt"]
    resumed, whole = Toy(dropout=0.3), Toy(dropout=0.3)
    fit(resumed, pairs(), kept(path))
    fit(whole, pairs(), options(epochs=4))
    assert_equal(resumed, weights(whole))


def test_what_a_killed_write_left_is_cleared_away(tmp_path):
    (tmp_path / ".run.pt-123").write_bytes(b"half")
    (tmp_path / ".other.pt-123").write_bytes(b"not ours")
    fit(Toy(), pairs(), kept(tmp_path / "run.pt"))
    assert sorted(each.name for each in tmp_path.iterdir()) == [".other.pt-123", "run.pt"]


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on file sizes")
def test_a_disk_without_room_raises_an_oserror_and_leaves_the_checkpoint_before(tmp_path):
    import resource

    path = tmp_path / "run.pt"
    fit(Toy(), pairs(), kept(path, epochs=1))
    before = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(OSError):
            fit(Toy(), pairs(), kept(path))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["run.pt"]


# --- kills: one process forks the trials, so that torch is imported once


class Deadly:
    """Batches that kill the process when so many have been given."""

    def __init__(self, batches, n):
        self.batches, self.left = batches, n

    def epoch(self, n, rank=0, world=1):
        for batch in self.batches.epoch(n, rank, world):
            if self.left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            self.left -= 1
            yield batch

    def steps(self, world=1):
        return self.batches.steps(world)


def trial(path, every, batches):
    """Dropout, Adam, a falling rate, negatives drawn anew, validation every second epoch."""
    network = Toy(dropout=0.3)
    settings = kept(path, checkpoint_every=every, schedule="cosine", warmup=3, validate_every=2)
    history = fit(network, batches, settings, network.value)
    last = torch.load(path, weights_only=True)["state"]
    return {
        "kept": weights(network),
        "last": last["weights"],
        "optimizer": last["optimizer"],
        "history": (without_seconds(history), history.best_epoch, history.stopped, history.metric),
    }


def same(first, second):
    """Equal to the last bit, at any depth."""
    if isinstance(first, torch.Tensor):
        return first.dtype == second.dtype and torch.equal(first, second)
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(same(first[k], second[k]) for k in first)
    if isinstance(first, list | tuple):
        return len(first) == len(second) and all(map(same, first, second))
    return bool(first == second)


def kill_and_resume(folder, whole):
    """Twenty trials, killed once or twice; a line each."""
    generator = np.random.default_rng(11)
    for number in range(20):
        path, every = folder / f"{number}.pt", [None, 1, 2, 3, 4, 5, 6, 7][number % 8]
        step = int(generator.integers(1, 28))
        for _ in range(1 + number % 2):  # the second time the count begins at the epoch's start
            deadly = Deadly(pairs(), step)
            status = os.waitpid(forked(lambda: trial(path, every, deadly)), 0)[1]  # noqa: B023
        killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        resumed = trial(path, every, pairs())
        equal = [f"{name}={same(whole[name], resumed[name])}" for name in whole]
        yield " ".join([f"{step} {every} {'killed' if killed else 'lived'}", *equal])


def forked(task):
    """Run a task in a child; gives its number."""
    child = os.fork()
    if child == 0:
        try:
            task()
            os._exit(0)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(1)
    return child


def processes(folder, port):
    """All that needs processes of its own, in one that has imported torch once."""
    folder = Path(folder)
    whole = trial(folder / "whole.pt", None, pairs())
    children = [forked(lambda: two_processes(folder, port, rank)) for rank in (0, 1)]  # noqa: B023
    failed = [os.waitpid(child, 0)[1] for child in children]
    (folder / "trials.txt").write_text("\n".join(kill_and_resume(folder, whole)))
    sys.exit(any(failed))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What the processes left."""
    if not hasattr(os, "fork"):
        pytest.skip("needs fork")
    folder = tmp_path_factory.mktemp("processes")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    code = f"from tests.foundations.test_training import *; processes({str(folder)!r}, {port})"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    return folder


def test_a_run_killed_at_twenty_random_steps_ends_with_the_same_bits(folder):
    lines = (folder / "trials.txt").read_text().splitlines()
    assert len(lines) == 20
    assert len({line.split()[0] for line in lines}) > 10  # different steps
    for line in lines:
        assert line.endswith("kept=True last=True optimizer=True history=True"), line
    assert all(" killed " in line for line in lines[::2])  # the second time it may have gone by


# --- two processes


DISTRIBUTED = {
    "even": (Toy, lambda size: Rows(*COLUMNS, batch_size=size, seed=2), {}),
    "odd tail": (Toy, lambda size: Pairs(TRAIN, batch_size=size, n_negatives=2), {"clip": 0.1}),
    "weights": (UserToy, lambda size: UserRows(TRAIN, batch_size=size), {"l1": 1e-3}),
    "more processes than rows": (Toy, lambda size: Single(size), {"optimizer": "sgd"}),
    "patience": (Toy, lambda size: Pairs(TRAIN, batch_size=size), {"patience": 1, "epochs": 9}),
}
COLUMNS = [TRAIN.users[:48], TRAIN.items[:48], (TRAIN.items[:48, None] + 1) % 11]


class Single:
    """One row a batch: of two processes one has nothing."""

    def __init__(self, size):
        self.rows = Rows(*[column[:3] for column in COLUMNS], batch_size=1)

    def epoch(self, n, rank=0, world=1):
        empty = [column[:0] for column in self.rows.columns]
        return (empty if rank else batch for batch in self.rows.epoch(n))

    def steps(self, world=1):
        return 3


def distributed_case(name, size, **changes):
    """Weights and history of one case; the validation gives what no process would by itself."""
    kind, make, given = DISTRIBUTED[name]
    network = kind()
    if os.environ.get("RANK", "0") != "0":
        network.item_table.weight.data += 1  # the first process's start is everybody's
    # Only the first process validates; others would fail.
    validate = scripted([0.3, 0.5, 0.4, 0.9])[0] if name == "patience" else None
    if validate and os.environ.get("RANK", "0") != "0":
        validate = fail(AssertionError("only the first process validates"))
    history = fit(network, make(size), options(batch_size=size, **(given | changes)), validate)
    return weights(network), without_seconds(history), history.stopped


def two_processes(folder, port, rank):
    """All cases in one of two processes; its results go to a file."""
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2"}
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank)}
    results = {name: distributed_case(name, 4) for name in DISTRIBUTED}
    two = {"checkpoint": f"{folder}/shared.pt", "resume": True}
    distributed_case("odd tail", 4, epochs=1, **two)
    torch.distributed.barrier()
    results["resumed"] = distributed_case("odd tail", 4, **two)
    try:
        fit(Toy(), Given((torch.zeros(0),)), options())
    except ValueError as error:
        results["empty"] = str(error)
    try:
        bad = math.nan if rank == 1 else 0.0
        fit(Line(lambda w, t: square(w, t) + bad), Given(row(1)), options())
    except Diverged as error:
        results["diverged"] = str(error)
    torch.save(results, folder / f"rank{rank}.pt")


@pytest.fixture(scope="module")
def both(folder):
    """The results of two gloo processes."""
    return [torch.load(folder / f"rank{rank}.pt", weights_only=True) for rank in (0, 1)]


@pytest.mark.parametrize("name", DISTRIBUTED)
def test_two_processes_equal_one_with_the_doubled_batch(both, name):
    found, rows, stopped = both[0][name]
    expected, expected_rows, expected_stopped = distributed_case(name, 8)
    for key, tensor in expected.items():
        torch.testing.assert_close(found[key], tensor, rtol=0, atol=1e-5)
    frame, expected_frame = pd.DataFrame(rows), pd.DataFrame(expected_rows)
    pd.testing.assert_frame_equal(frame, expected_frame, rtol=0, atol=1e-5)
    assert stopped == expected_stopped


@pytest.mark.parametrize("name", DISTRIBUTED)
def test_all_processes_end_with_the_same_bits(both, name):
    assert same(both[0][name], both[1][name])


def test_two_processes_stop_early_together(both):
    assert [result["patience"][2] for result in both] == ["patience", "patience"]
    assert len(both[1]["patience"][1]) == 3


def test_two_processes_resume_to_the_same_bits(both):
    for result in both:
        assert same(result["resumed"], result["odd tail"])


def test_a_batch_without_a_row_in_any_process_is_refused_by_all(both):
    message = "batch must hold at least one row, got 0 at step 0 (epoch 1, batch 0)"
    assert [result["empty"] for result in both] == [message] * 2


def test_a_loss_that_is_not_finite_in_one_process_stops_all(both):
    for result in both:
        assert result["diverged"].startswith("loss must be finite, got nan at step 0")
