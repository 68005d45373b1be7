"""LightGCN against dense matrix powers, PyTorch Geometric with copied weights, and plain loops."""

import copy

import numpy as np
import pytest
import torch
from torch import Tensor

from reclib.collaborative.factorization import DotProduct
from reclib.collaborative.graph import LightGCN, LightGCNNetwork, Propagation, normalized_graph
from reclib.foundations.batching import PairBatch, Pairs, UserRows
from reclib.foundations.interactions import Interactions
from reclib.foundations.training import Options


def events(seed: int = 0, n_users: int = 13, n_items: int = 8) -> Interactions:
    """Random pairs, some of them twice; the last user and the last item have none."""
    generator = np.random.default_rng(seed)
    taken = generator.random((n_users, n_items)) < np.linspace(0.2, 0.7, n_items)
    taken[-1], taken[:, -1] = False, False
    users, items = np.nonzero(taken)
    again = generator.integers(users.size, size=5)
    users, items = np.append(users, users[again]), np.append(items, items[again])
    return Interactions(users, items, n_users=n_users, n_items=n_items)


def square(train: Interactions) -> Tensor:
    """(U + I, U + I) float64: D^-1/2 A D^-1/2, dense, as the paper writes it."""
    n = train.n_users + train.n_items
    adjacency = np.zeros((n, n))
    adjacency[train.users, train.n_users + train.items] = 1
    adjacency[train.n_users + train.items, train.users] = 1
    degrees = adjacency.sum(axis=1)
    inverse = np.diag([1 / np.sqrt(degree) if degree else 0.0 for degree in degrees])
    return torch.from_numpy(inverse @ adjacency @ inverse)


def tables(train: Interactions, size: int = 3, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    draw = torch.randn(train.n_users + train.n_items, size, generator=generator).double()
    users, items = draw.split([train.n_users, train.n_items])
    return users.clone().requires_grad_(), items.clone().requires_grad_()


def test_graph_weighs_each_pair_once_by_both_degrees() -> None:
    train = Interactions([0, 0, 0, 1, 2], [0, 0, 1, 0, 0], n_users=4, n_items=3)
    graph = normalized_graph(train)
    expected = np.zeros((4, 3))
    expected[0, 0], expected[0, 1] = 1 / np.sqrt(2 * 3), 1 / np.sqrt(2 * 1)
    expected[1, 0] = expected[2, 0] = 1 / np.sqrt(1 * 3)
    assert graph.dtype == np.float32
    np.testing.assert_allclose(graph.toarray(), expected, rtol=1e-6)


@pytest.mark.parametrize("layers", [0, 1, 2, 3, 5])
def test_propagation_is_the_mean_of_matrix_powers(layers: int) -> None:
    train = events()
    users, items = tables(train)
    step, start = square(train), torch.cat([users, items])
    powers = [torch.linalg.matrix_power(step, k) @ start for k in range(layers + 1)]
    expected = torch.stack(powers).mean(0)
    graph = normalized_graph(train).astype(np.float64)
    graph.data = step[: train.n_users, train.n_users :].numpy()[graph.nonzero()]  # not rounded
    found = torch.cat(Propagation(graph, layers=layers)(users, items))
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-14)


def test_gradient_equals_finite_differences() -> None:
    train = events()
    propagation = Propagation(normalized_graph(train), layers=3).double()
    assert torch.autograd.gradcheck(propagation, tables(train))
    assert torch.autograd.gradgradcheck(propagation, tables(train))


def test_gradient_equals_that_of_the_matrix_product() -> None:
    train = events(1)
    users, items = tables(train)
    step, start = square(train), torch.cat([users, items])
    weight = torch.arange(start.numel(), dtype=torch.float64).view_as(start).sin()
    mean = sum(torch.linalg.matrix_power(step, k) @ start for k in range(4)) / 4
    expected = torch.autograd.grad((mean * weight).sum(), (users, items))
    propagation = Propagation(normalized_graph(train), layers=3).double()
    loss = (torch.cat(propagation(users, items)) * weight).sum()
    found = torch.autograd.grad(loss, (users, items))
    for one, two in zip(found, expected, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-6, atol=1e-7)  # the graph is float32


def test_a_table_that_is_not_used_gets_the_gradient_through_the_other() -> None:
    train = events()
    users, items = tables(train)
    propagation = Propagation(normalized_graph(train), layers=1).double()
    (gradient,) = torch.autograd.grad(propagation(users, items)[0].sum(), items)
    assert gradient[: train.n_items - 1].abs().min() > 0


def test_users_and_items_without_events_keep_their_share_of_themselves() -> None:
    train = events()
    users, items = tables(train)
    found = Propagation(normalized_graph(train), layers=3).double()(users, items)
    torch.testing.assert_close(found[0][-1], users[-1] / 4)
    torch.testing.assert_close(found[1][-1], items[-1] / 4)


def test_propagation_can_be_copied_and_has_nothing_to_save() -> None:
    train = events()
    propagation = Propagation(normalized_graph(train), layers=2).double()
    users, items = tables(train)
    torch.testing.assert_close(
        copy.deepcopy(propagation)(users, items), propagation(users, items), rtol=0, atol=0
    )
    assert not propagation.state_dict()
    assert not list(propagation.parameters())


def test_propagation_is_float32_under_autocast() -> None:
    train = events()
    propagation = Propagation(normalized_graph(train), layers=2)
    users, items = (table.detach().float() for table in tables(train))
    with torch.autocast("cpu", torch.bfloat16):
        found = propagation(users, items)
    torch.testing.assert_close(found, propagation(users, items), rtol=0, atol=0)


def test_propagation_moves_with_its_module() -> None:
    propagation = Propagation(normalized_graph(events()), layers=2).to("meta")
    assert {buffer.device.type for buffer in propagation.buffers()} == {"meta"}


def test_layers_must_not_be_negative() -> None:
    with pytest.raises(ValueError, match="^layers must be at least 0, got -1$"):
        Propagation(normalized_graph(events()), layers=-1)


@pytest.mark.oracle
@pytest.mark.parametrize("layers", [0, 1, 3])
def test_propagation_equals_pytorch_geometric(layers: int) -> None:
    models = pytest.importorskip("torch_geometric.nn.models")
    train = events(2).deduplicated()
    peer = models.LightGCN(train.n_users + train.n_items, embedding_dim=3, num_layers=layers)
    edges = torch.from_numpy(np.stack([train.users, train.n_users + train.items]))
    both = torch.cat([edges, edges.flip(0)], dim=1)
    users, items = peer.embedding.weight.detach().split([train.n_users, train.n_items])
    found = torch.cat(Propagation(normalized_graph(train), layers=layers)(users, items))
    torch.testing.assert_close(found, peer.get_embedding(both).detach(), rtol=1e-5, atol=1e-6)


# --- the network and the model


def pair_batch(train: Interactions) -> PairBatch:
    return next(Pairs(train, batch_size=9).epoch(1))


@pytest.mark.oracle
def test_bpr_and_its_gradient_equal_pytorch_geometric() -> None:
    models = pytest.importorskip("torch_geometric.nn.models")
    train = events(3).deduplicated()
    n = train.n_users
    peer = models.LightGCN(n + train.n_items, embedding_dim=4, num_layers=2)
    made = LightGCNNetwork(
        normalized_graph(train), factors=4, layers=2, loss="bpr", regularization=0.3
    )
    with torch.no_grad():
        made.users.weight.copy_(peer.embedding.weight[:n])
        made.items.weight.copy_(peer.embedding.weight[n:])
    batch = pair_batch(train)
    edges = torch.from_numpy(np.stack([train.users, n + train.items]))
    both = torch.cat([edges, edges.flip(0)], dim=1)
    negatives = batch.negatives[:, 0]
    pairs = [torch.stack([batch.users, n + side]) for side in (batch.positives, negatives)]
    # Its penalty has no 1/2, and counts the nodes it is given, here with repeats.
    nodes = torch.cat([batch.users, n + batch.positives, n + negatives])
    expected = peer.recommendation_loss(
        *(peer(both, pair) for pair in pairs), node_id=nodes, lambda_reg=0.15
    )
    found = made.loss(batch)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-7)
    expected.backward()
    found.backward()
    gradient = torch.cat([made.users.weight.grad, made.items.weight.grad])
    torch.testing.assert_close(gradient, peer.embedding.weight.grad, rtol=1e-4, atol=1e-6)


def test_softmax_compares_each_event_with_all_items_by_propagated_vectors() -> None:
    train = events(4)
    made = LightGCNNetwork(normalized_graph(train), factors=3, layers=2, seed=1)
    batch = next(UserRows(train, batch_size=5).epoch(1))
    start = torch.cat([made.users.weight, made.items.weight]).double()
    step = square(train)
    users, items = ((start + step @ start + step @ step @ start) / 3).split([13, 8])
    losses = []
    for row, item in zip(batch.rows.tolist(), batch.items.tolist(), strict=True):
        logits = items @ users[batch.users[row]]
        losses.append(logits.exp().sum().log() - logits[item])
    expected = torch.stack(losses).mean()
    torch.testing.assert_close(made.loss(batch).double(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("loss", ["softmax", "bpr"])
def test_zero_layers_are_matrix_factorization(loss: str) -> None:
    train = events(5).deduplicated()
    options = {"factors": 4, "loss": loss, "regularization": 0.01, "seed": 2}
    training = Options(epochs=3, batch_size=6, learning_rate=0.05)
    found = LightGCN(layers=0, training=training, **options).fit(train)
    expected = DotProduct(training=training, **options).fit(train)
    users = np.arange(train.n_users)
    np.testing.assert_allclose(found.score(users), expected.score(users), rtol=1e-5, atol=1e-7)


def test_factors_are_the_propagated_vectors() -> None:
    train = events(6)
    training = Options(epochs=1, learning_rate=1e-12)  # E stays where it starts
    model = LightGCN(factors=3, layers=2, training=training, seed=3).fit(train)
    start = LightGCNNetwork(normalized_graph(train), factors=3, layers=2, seed=3)
    users, items = (factors.detach().numpy() for factors in start())
    np.testing.assert_allclose(model.user_factors_[:-1], users[:-1], rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(model.item_factors_[:-1], items[:-1], rtol=1e-5, atol=1e-7)
    assert not model.user_factors_[-1].any()  # without events
    assert not model.item_factors_[-1].any()


def test_repeats_count_once() -> None:
    train = events(7)
    model = LightGCN(factors=3, layers=2, training=Options(epochs=2, batch_size=4))
    once, repeated = (model.fit(part).score([0, 5]) for part in (train.deduplicated(), train))
    np.testing.assert_array_equal(once, repeated)


def test_layers_reach_the_neighbors_neighbor() -> None:
    # User 0 shares item 0 with user 1, who also took item 1. Untrained, one layer cannot tell
    # items 1 and 2 apart for user 0; three can.
    train = Interactions([0, 1, 1, 2, 3], [0, 0, 1, 2, 2], n_users=4, n_items=3)
    graph = normalized_graph(train)
    users, items = torch.zeros(4, 3), torch.eye(3)
    one, three = (Propagation(graph, layers=k)(users, items)[0][0] for k in (1, 3))
    assert one[1] == one[2] == 0
    assert three[1] > 0.05
    assert three[2] == 0


def test_the_best_epoch_is_kept() -> None:
    train, validation = events(8), Interactions([0, 1, 2], [6, 6, 6], n_users=13, n_items=8)
    training = Options(epochs=6, batch_size=4, learning_rate=0.1)
    model = LightGCN(factors=3, layers=1, training=training).fit(train, validation=validation)
    best = model.history_.best_epoch
    shorter = Options(epochs=best, batch_size=4, learning_rate=0.1)
    again = LightGCN(factors=3, layers=1, training=shorter).fit(train)
    np.testing.assert_allclose(model.score([3]), again.score([3]), rtol=1e-5, atol=1e-6)


def test_another_seed_gives_another_model() -> None:
    train = events(9)
    one, two = (LightGCN(training=Options(epochs=1), seed=seed).fit(train) for seed in (0, 1))
    assert np.abs(one.score(np.arange(13)) - two.score(np.arange(13))).max() > 1e-3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layers": -1}, "layers must be at least 0, got -1"),
        ({"factors": 0}, "factors must be at least 1, got 0"),
        ({"loss": "hinge"}, r"loss must be one of \('softmax', 'bpr', 'binary'\), got 'hinge'"),
        ({"temperature": 0.0}, "temperature must be above 0 or None, got 0.0"),
    ],
)
def test_impossible_options_are_refused(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        LightGCN(**options).fit(events())
