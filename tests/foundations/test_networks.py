"""Losses, layers and attention against torch, against float64 loops, and by hand."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from reclib.foundations.networks import (
    MLP,
    attention,
    binary_loss,
    bpr_loss,
    embedding_table,
    sampled_softmax_loss,
    softmax_loss,
)


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 3 * torch.randn(shape, generator=generator, dtype=dtype)


# --- tables ------------------------------------------------------------------------------------


def test_a_larger_table_starts_with_the_same_rows() -> None:
    small = embedding_table(5, 3, std=0.1, seed=4).weight
    large = embedding_table(700, 3, std=0.1, seed=4).weight
    assert torch.equal(large[:5], small)


def test_a_table_has_the_spread_it_is_told() -> None:
    weight = embedding_table(20_000, 8, std=0.05, seed=0).weight
    assert weight.dtype == torch.float32 and weight.requires_grad
    assert abs(weight.std().item() / 0.05 - 1) < 5 / math.sqrt(2 * weight.numel())
    assert abs(weight.mean().item()) < 5 * 0.05 / math.sqrt(weight.numel())


@pytest.mark.parametrize("other", [{"seed": 1}, {"stream": 1}])
def test_another_seed_or_stream_gives_another_table(other: dict[str, int]) -> None:
    first = embedding_table(4, 2, std=1.0, seed=0).weight
    second = embedding_table(4, 2, **({"std": 1.0, "seed": 0} | other)).weight
    assert not (first == second).any()


def test_building_leaves_the_global_generator_alone() -> None:
    before = torch.random.get_rng_state()
    embedding_table(4, 2, std=1.0, seed=0)
    MLP([3, 4, 1], 0.5)
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_rows": 0}, "n_rows must be at least 1, got 0"),
        ({"size": 0}, "size must be at least 1, got 0"),
        ({"std": -1.0}, "std must be at least 0, got -1.0"),
        ({"std": float("nan")}, "std must be at least 0, got nan"),
    ],
)
def test_impossible_tables_are_refused(options: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        embedding_table(**({"n_rows": 2, "size": 2, "std": 1.0, "seed": 0} | options))


# --- losses ------------------------------------------------------------------------------------


def test_bpr_by_hand() -> None:
    positives = torch.tensor([0.0, math.log(3)])
    negatives = torch.tensor([[0.0, -math.log(3)], [0.0, math.log(3)]])
    # sigmoid of the four differences 0, log 3, log 3, 0 is 1/2, 3/4, 3/4, 1/2
    expected = torch.tensor(-(2 * math.log(1 / 2) + 2 * math.log(3 / 4)) / 4)
    torch.testing.assert_close(bpr_loss(positives, negatives), expected)


def test_binary_loss_equals_torch_on_all_labels() -> None:
    positives, negatives = normal(7), normal(7, 4, seed=1)
    logits = torch.cat([positives, negatives.flatten()])
    labels = torch.cat([torch.ones(7), torch.zeros(28)]).double()
    expected = F.binary_cross_entropy_with_logits(logits, labels)
    torch.testing.assert_close(binary_loss(positives, negatives), expected, rtol=1e-12, atol=0)


def test_softmax_loss_equals_torch_and_a_slow_sum() -> None:
    logits, targets = normal(6, 11), torch.tensor([3, 0, 10, 3, 5, 7])
    loss = softmax_loss(logits, targets)
    terms = [
        math.log(sum(math.exp(score) for score in row)) - row[target]
        for row, target in zip(logits.tolist(), targets.tolist(), strict=True)
    ]
    assert loss.item() == pytest.approx(math.fsum(terms) / 6, rel=1e-12)
    torch.testing.assert_close(loss, F.cross_entropy(logits, targets), rtol=1e-12, atol=0)


@pytest.fixture
def full() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Logits (6, 11), targets, and the scores of all other items (6, 10)."""
    logits, targets = normal(6, 11), torch.tensor([3, 0, 10, 3, 5, 7])
    others = logits[torch.arange(11) != targets[:, None]].reshape(6, 10)
    return logits, targets, others


def test_sampling_every_other_item_once_is_the_full_softmax(full) -> None:
    logits, targets, others = full
    positives = logits.gather(1, targets[:, None])[:, 0]
    loss = sampled_softmax_loss(positives, others)
    torch.testing.assert_close(loss, softmax_loss(logits, targets), rtol=1e-12, atol=0)


def test_log_q_undoes_how_often_each_item_was_drawn(full) -> None:
    logits, targets, others = full
    positives = logits.gather(1, targets[:, None])[:, 0]
    times = torch.arange(1, 11)  # item k of the others stands k times among the negatives
    repeated = others.repeat_interleave(times, dim=1)
    log_q = times.double().log().repeat_interleave(times)
    loss = sampled_softmax_loss(positives, repeated, log_q)
    torch.testing.assert_close(loss, softmax_loss(logits, targets), rtol=1e-12, atol=0)
    per_row = sampled_softmax_loss(positives, repeated, log_q.expand(6, -1))
    torch.testing.assert_close(per_row, loss, rtol=1e-12, atol=0)
    assert sampled_softmax_loss(positives, repeated) > loss + 0.5


def test_with_log_q_the_sum_over_the_sample_is_unbiased() -> None:
    generator, scores = np.random.default_rng(0), np.array([2.0, -1.0, 0.5, 1.0])
    probs = np.array([0.1, 0.4, 0.2, 0.3])
    drawn = generator.choice(4, size=(4000, 1, 3), p=probs)
    negatives, log_q = torch.tensor(scores[drawn]), torch.tensor(np.log(3 * probs)[drawn])
    positive = torch.zeros(1, dtype=torch.float64)
    pairs = zip(negatives, log_q, strict=True)
    each = [sampled_softmax_loss(positive, scores, weights) for scores, weights in pairs]
    sums = torch.stack(each).exp() - 1  # loss = log(1 + estimate)
    error = (sums.mean() - np.exp(scores).sum()).abs()
    assert error < 5 * sums.std() / math.sqrt(len(sums))


@pytest.mark.parametrize("loss", [bpr_loss, binary_loss, sampled_softmax_loss])
def test_gradients_of_the_losses_are_right(loss) -> None:
    scores = normal(4).requires_grad_(), normal(4, 3, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(loss, scores)


@pytest.mark.parametrize("loss", [bpr_loss, binary_loss, sampled_softmax_loss])
def test_the_losses_stay_finite_for_huge_scores(loss) -> None:
    positives, negatives = torch.tensor([1e4]), torch.tensor([[-1e4]])
    assert loss(positives, negatives) == 0
    assert loss(-positives, -negatives) in (1e4, 2e4)


@pytest.mark.parametrize("loss", [bpr_loss, binary_loss, sampled_softmax_loss])
@pytest.mark.parametrize(
    ("positives", "negatives", "message"),
    [
        ((4, 1), (4, 3), r"positive_scores must have shape \(B,\), got \(4, 1\)"),
        ((4,), (4,), r"negative_scores must have shape \(4, N\), got \(4,\)"),
        ((4,), (3, 4), r"negative_scores must have shape \(4, N\), got \(3, 4\)"),
    ],
)
def test_shapes_that_would_broadcast_are_refused(loss, positives, negatives, message) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        loss(normal(*positives), normal(*negatives))


def test_softmax_loss_refuses_other_shapes() -> None:
    with pytest.raises(ValueError, match=r"^logits must have shape \(B, I\), got \(4,\)$"):
        softmax_loss(normal(4), torch.tensor([0]))
    with pytest.raises(ValueError, match=r"^targets must have shape \(4,\), got \(4, 1\)$"):
        softmax_loss(normal(4, 3), torch.zeros(4, 1, dtype=torch.int64))


def test_log_q_must_fit_the_negatives() -> None:
    message = r"^log_q must have shape \(4, 3\) or \(3,\), got \(4,\)$"
    with pytest.raises(ValueError, match=message):
        sampled_softmax_loss(normal(4), normal(4, 3), normal(4))


# --- layers ------------------------------------------------------------------------------------


def test_the_layers_equal_matrix_products_with_relu_between() -> None:
    network = MLP([4, 5, 3, 2], seed=3).double()
    inputs, hidden = normal(6, 4), normal(6, 4).numpy()
    for number, layer in enumerate(network.layers):
        hidden = hidden @ layer.weight.detach().numpy().T + layer.bias.detach().numpy()
        if number < 2:
            hidden = np.maximum(hidden, 0)
    np.testing.assert_allclose(network(inputs).detach().numpy(), hidden, rtol=1e-12)


def test_the_size_of_signals_survives_many_layers() -> None:
    network = MLP([256] * 9, seed=0)
    outputs = network(normal(64, 256, dtype=torch.float32) / 3)
    assert 0.5 < (outputs**2).mean().item() / 2 < 2  # the last layer doubles, no ReLU halves it


def test_gradients_reach_every_layer() -> None:
    network = MLP([4, 8, 8, 1], 0.2, seed=0)
    network(normal(32, 4, dtype=torch.float32)).sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in network.parameters())


def test_dropout_acts_while_training_only() -> None:
    network, inputs = MLP([4, 64, 1], 0.5), normal(8, 4, dtype=torch.float32)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        assert not torch.equal(network(inputs), network(inputs))
    network.eval()
    assert torch.equal(network(inputs), network(inputs))


@pytest.mark.parametrize("other", [{"seed": 1}, {"stream": 1}])
def test_layers_depend_on_seed_and_stream(other: dict[str, int]) -> None:
    first, same, second = MLP([3, 2]), MLP([3, 2]), MLP([3, 2], **other)
    assert torch.equal(first.layers[0].weight, same.layers[0].weight)
    assert not (first.layers[0].weight == second.layers[0].weight).any()


@pytest.mark.parametrize(
    ("sizes", "dropout", "message"),
    [
        ([3], 0.0, r"sizes must be two or more numbers of at least 1, got \[3\]"),
        ([3, 0], 0.0, r"sizes must be two or more numbers of at least 1, got \[3, 0\]"),
        ([3, 1], 1.0, r"dropout must be in \[0, 1\), got 1.0"),
        ([3, 1], -0.1, r"dropout must be in \[0, 1\), got -0.1"),
    ],
)
def test_impossible_layers_are_refused(sizes: list[int], dropout: float, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        MLP(sizes, dropout)


# --- attention ---------------------------------------------------------------------------------


def test_attention_by_hand() -> None:
    query = torch.tensor([[2.0, 0, 0, 0]])
    keys = torch.tensor([[math.log(3), 5, 0, 0], [0.0, 0, 5, 0]])  # logits log 3 and 0: 3/4, 1/4
    values = torch.tensor([[8.0], [4.0]])
    torch.testing.assert_close(attention(query, keys, values), torch.tensor([[7.0]]))


@pytest.mark.parametrize("masked", [False, True])
def test_attention_equals_torch(masked: bool) -> None:
    queries, keys, values = normal(2, 3, 5, 4), normal(2, 3, 7, 4, seed=1), normal(2, 3, 7, 6)
    mask = None
    if masked:
        mask = normal(2, 1, 5, 7, seed=2) > 0
        mask[..., 0] = True
    expected = F.scaled_dot_product_attention(queries, keys, values, attn_mask=mask)
    torch.testing.assert_close(attention(queries, keys, values, mask), expected)


def test_masked_values_have_no_influence_whatever_they_are() -> None:
    queries, keys, values = normal(2, 4), normal(3, 4, seed=1), normal(3, 5, seed=2)
    mask = torch.tensor([[True, False, True]]).expand(2, 3)
    expected = attention(queries, keys[[0, 2]], values[[0, 2]])
    keys[1], values[1] = 1e6, -1e6
    torch.testing.assert_close(attention(queries, keys, values, mask), expected)


def test_a_query_that_may_look_nowhere_gets_zeros_and_finite_gradients() -> None:
    tensors = [normal(2, 4), normal(3, 4, seed=1), normal(3, 5, seed=2)]
    tensors = [tensor.requires_grad_() for tensor in tensors]
    mask = torch.tensor([[False, False, False], [True, False, True]])
    outputs = attention(*tensors, mask)
    assert not outputs[0].any() and outputs[1].all()
    outputs.sum().backward()
    assert all(torch.isfinite(tensor.grad).all() for tensor in tensors)


@pytest.mark.parametrize(
    ("keys", "values", "mask", "message"),
    [
        ((3, 5), (3, 2), None, "keys must have 4 numbers a row like the queries, got 5"),
        ((3, 4), (2, 2), None, "values must have 3 rows like the keys, got 2"),
        ((3, 4), (3, 2), torch.ones(2, 3), "mask must be bool, got torch.float32"),
    ],
)
def test_attention_refuses_what_does_not_fit(keys, values, mask, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        attention(normal(2, 4), normal(*keys), normal(*values), mask)
