"""LightGCN against dense matrix powers, PyTorch Geometric with copied weights, and plain loops."""

import copy

import numpy as np
import pytest
import torch
from torch import Tensor

from reclib.collaborative.graph import Propagation, normalized_graph
from reclib.foundations.interactions import Interactions


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
