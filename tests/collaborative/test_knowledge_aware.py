"""CFKG, KGCN and KGAT against plain loops, PyTorch Geometric, and a shop with planted taste."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from reclib.collaborative import CFKG, KGAT, KGCN
from reclib.collaborative._knowledge_networks import (
    CFKGNetwork,
    EdgeSum,
    KGATNetwork,
    KGCNNetwork,
    edge_softmax,
)
from reclib.foundations.batching import UserRows
from reclib.foundations.interactions import Interactions, Triples
from reclib.foundations.training import Options

N_USERS, N_ITEMS, N_ENTITIES = 7, 5, 9
FACTS = [(0, 0, 5), (1, 0, 5), (1, 1, 6), (2, 1, 7), (3, 0, 8), (3, 1, 6), (4, 0, 5), (2, 0, 0)]
NEW = 4  # an item without events


def triples() -> Triples:
    heads, relations, tails = np.array(FACTS).T
    return Triples(heads, relations, tails, N_ENTITIES, 2)


def events() -> Interactions:
    """The last item and the last user have none."""
    taken = np.random.default_rng(3).random((N_USERS, N_ITEMS)) < 0.5
    taken[-1], taken[:, NEW] = False, False
    users, items = np.nonzero(taken)
    return Interactions(users, items, n_users=N_USERS, n_items=N_ITEMS)


def both_ways() -> list[tuple[int, int, int]]:
    return FACTS + [(t, r + 2, h) for h, r, t in FACTS]


# --- sums along edges


def edges() -> tuple[np.ndarray, np.ndarray]:
    """Some twice, some heads and tails without any."""
    generator = np.random.default_rng(0)
    return generator.integers(0, 6, 20), generator.integers(2, 11, 20)


def test_edge_sum_is_a_loop_over_edges() -> None:
    heads, tails = edges()
    x, values = torch.randn(11, 3).double(), torch.rand(20).double()
    made = EdgeSum(heads, tails, 7, 11)
    expected = torch.zeros(7, 3).double()
    for head, tail, value in zip(heads, tails, values, strict=True):
        expected[head] += value * x[tail]
    torch.testing.assert_close(made(x, values[made.order]), expected, rtol=1e-12, atol=1e-14)


def test_gradient_of_the_edge_sum_equals_finite_differences() -> None:
    made = EdgeSum(*edges(), 7, 11)
    values = torch.rand(20).double()
    x = torch.randn(11, 3).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda each: made(each, values), (x,))


@pytest.mark.oracle
def test_edge_softmax_equals_pytorch_geometric() -> None:
    utils = pytest.importorskip("torch_geometric.utils")
    heads = torch.from_numpy(edges()[0])
    scores = 30 * torch.randn(20, generator=torch.Generator().manual_seed(0))
    expected = utils.softmax(scores, heads, num_nodes=7)
    torch.testing.assert_close(edge_softmax(scores, heads, 7), expected, rtol=1e-5, atol=1e-7)


# --- KGCN


def kgcn(layers: int) -> KGCNNetwork:
    known = events().item_counts() > 0
    made = KGCNNetwork(
        triples(), N_USERS, N_ITEMS, known, factors=3, layers=layers, regularization=0.2, seed=1
    )
    with torch.no_grad():
        made.relations.weight.mul_(20)  # so that relations differ
    return made


@torch.no_grad()
def scores_of_kgcn(made: KGCNNetwork, user: int, layers: int) -> list[float]:
    """Vectors instead of numbers: what the paper does without its weights and tanh."""
    u = made.users.weight[user]
    vectors = [row for row in made.entities.weight * made.own]
    for _ in range(layers):
        mixed = []
        for entity in range(N_ENTITIES):
            around = [(r, t) for h, r, t in both_ways() if h == entity]
            weights = torch.stack([made.relations.weight[r] @ u for r, _ in around]).softmax(0)
            mean = sum(w * vectors[t] for w, (_, t) in zip(weights, around, strict=True))
            mixed.append(vectors[entity] + mean)
        vectors = mixed
    return [(vectors[item] @ u).item() for item in range(N_ITEMS)]


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_kgcn_mixes_neighbours_by_the_users_view_of_the_relation(layers: int) -> None:
    made = kgcn(layers)
    expected = torch.tensor([scores_of_kgcn(made, user, layers) for user in range(N_USERS)])
    torch.testing.assert_close(made(torch.arange(N_USERS)), expected, rtol=1e-5, atol=1e-6)


def test_kgcn_loss_is_the_softmax_over_items_with_events() -> None:
    made = kgcn(1)
    batch = next(UserRows(events(), batch_size=4).epoch(1))
    losses, penalty = [], 0.0
    for row, item in zip(batch.rows.tolist(), batch.items.tolist(), strict=True):
        user = int(batch.users[row])
        scores = made(torch.tensor([user]))[0]
        losses.append(torch.logsumexp(scores[:NEW], 0) - scores[item])
        squares = made.users.weight[user].square().sum() + made.entities.weight[item].square().sum()
        penalty += 0.1 * squares.item()
    expected = torch.stack(losses).mean() + penalty / len(losses)
    torch.testing.assert_close(made.loss(batch), expected, rtol=1e-5, atol=1e-6)


def test_an_item_without_events_has_no_vector_of_its_own_in_kgcn() -> None:
    made = kgcn(2)
    before = made(torch.arange(N_USERS))
    with torch.no_grad():
        made.entities.weight[NEW] += 5
    torch.testing.assert_close(made(torch.arange(N_USERS)), before, rtol=0, atol=0)


# --- CFKG


def knowing(kind: Any, **options: Any) -> Any:
    given = {"factors": 3, "regularization": 0.2, "fact_weight": 0.7, "n_facts": 4, "seed": 1}
    return kind(events(), triples(), **given, **options)


def test_cfkg_compares_users_moved_by_taking_with_items_that_have_events() -> None:
    made = knowing(CFKGNetwork)
    made.fact_weight = 0
    batch = next(UserRows(events(), batch_size=4).epoch(1))
    users, items = made.users.weight + made.relations.weight[4], made.items.weight[:N_ITEMS]
    losses = []
    for row, item in zip(batch.rows.tolist(), batch.items.tolist(), strict=True):
        user = batch.users[row]
        scores = items @ users[user]
        squares = made.users.weight[user].square().sum() + items[item].square().sum()
        losses.append(torch.logsumexp(scores[:NEW], 0) - scores[item] + 0.1 * squares)
    torch.testing.assert_close(made.loss(batch), torch.stack(losses).mean(), rtol=1e-5, atol=1e-6)


def test_cfkg_facts_meet_all_entities() -> None:
    made = knowing(CFKGNetwork)
    losses = []
    for head, relation, tail in both_ways():
        scores = made.items.weight @ (made.items.weight[head] + made.relations.weight[relation])
        losses.append(torch.logsumexp(scores, 0) - scores[tail])
    found = made.fact_loss(torch.tensor(both_ways()).T)
    torch.testing.assert_close(found, torch.stack(losses).mean(), rtol=1e-5, atol=1e-6)
    assert made.facts.T.tolist() == [list(fact) for fact in both_ways()]


# --- KGAT


def joint() -> list[tuple[int, int, int]]:
    """All edges of the joint graph; users stand behind the entities."""
    train = events()
    pairs = list(zip((N_ENTITIES + train.users).tolist(), train.items.tolist(), strict=True))
    return both_ways() + [(u, 4, i) for u, i in pairs] + [(i, 5, u) for u, i in pairs]


def kgat(layers: int = 2) -> KGATNetwork:
    made: KGATNetwork = knowing(KGATNetwork, layers=layers, refresh=3, temperature=0.5)
    made.attend()
    return made


@torch.no_grad()
def attention_by_hand(made: KGATNetwork) -> dict[tuple[int, int, int], float]:
    nodes = torch.cat([made.items.weight, made.users.weight])
    scores = {
        (h, r, t): (nodes[t] @ made.into_relation[r])
        @ torch.tanh(nodes[h] @ made.into_relation[r] + made.relations.weight[r])
        for h, r, t in joint()
    }
    total: dict[int, float] = {}
    for (h, _, _), score in scores.items():
        total[h] = total.get(h, 0.0) + float(score.exp())
    return {edge: float(score.exp()) / total[edge[0]] for edge, score in scores.items()}


def test_kgat_embeddings_are_those_of_a_loop_over_nodes() -> None:
    made = kgat()
    attention = attention_by_hand(made)
    nodes = torch.cat([made.items.weight, made.users.weight])
    outputs = [nodes]
    for layer in range(2):
        add, multiply = made.mixing[2 * layer], made.mixing[2 * layer + 1]
        around = torch.zeros_like(nodes)
        for (h, _, t), weight in attention.items():
            around[h] += weight * nodes[t]
        nodes = F.leaky_relu((nodes + around) @ add) + F.leaky_relu((nodes * around) @ multiply)
        outputs.append(F.normalize(nodes))
    expected = torch.cat(outputs, 1)
    users, items = made.embeddings()
    torch.testing.assert_close(users, expected[N_ENTITIES:], rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(items, expected[:N_ITEMS], rtol=1e-4, atol=1e-6)


@pytest.mark.oracle
def test_transr_distance_is_that_of_translation_in_the_relations_space() -> None:
    made = kgat()
    heads, relations, tails = torch.tensor(both_ways()).T
    expected = [
        (made.items.weight[h] @ made.into_relation[r] + made.relations.weight[r]
         - made.items.weight[t] @ made.into_relation[r]).square().sum()
        for h, r, t in both_ways()
    ]  # fmt: skip
    found = made._distance(heads, relations, tails)
    torch.testing.assert_close(found, torch.stack(expected), rtol=1e-4, atol=1e-6)


def test_attention_is_worked_out_anew_every_so_many_steps() -> None:
    made = kgat().train()
    batch = next(UserRows(events(), batch_size=4).epoch(1))
    seen = []
    for _ in range(7):
        made.loss(batch)
        seen.append(made.attention.clone())
        with torch.no_grad():
            made.items.weight.mul_(1.5)
    changed = [not torch.equal(one, two) for one, two in pairwise(seen)]
    assert changed == [False, False, True, False, False, True]


def test_attention_is_left_alone_while_judging() -> None:
    made = kgat().eval()
    made.attention.fill_(0.25)
    made.loss(next(UserRows(events(), batch_size=4).epoch(1)))
    assert (made.attention == 0.25).all()


@pytest.mark.parametrize("made", [kgcn(2), knowing(CFKGNetwork), kgat()], ids=repr)
def test_gradients_reach_every_parameter(made: Any) -> None:
    if hasattr(made, "n_facts"):
        made.n_facts = 200
    made.train().loss(next(UserRows(events(), batch_size=N_USERS).epoch(1))).backward()
    for name, parameter in made.named_parameters():
        assert parameter.grad is not None, name
        rows = parameter.grad.flatten(1).abs().sum(1) > 0
        absent = {"users.weight": [N_USERS - 1], "entities.weight": []}.get(name, [])
        assert rows.sum() >= max(1, len(rows) - len(absent) - 2), name


# --- the models


def small(kind: Any, **options: Any) -> Any:
    training = Options(epochs=12, batch_size=64, learning_rate=0.03, progress=False)
    return kind(factors=8, training=training, **options)


MODELS = {
    "CFKG": lambda: small(CFKG),
    "KGCN": lambda: small(KGCN),
    "KGAT": lambda: small(KGAT, layers=1, temperature=0.2),
}


def planted(seed: int = 0) -> tuple[Interactions, Triples, np.ndarray]:
    """60 items of 6 leaves, 200 users who want one leaf; items 54 to 59 are new."""
    generator = np.random.default_rng(seed)
    leaves = np.arange(60) % 6
    wants = generator.integers(6, size=200)
    liked = leaves == wants[:, None]
    taken = generator.random((200, 60)) < np.where(liked, 0.6, 0.02)
    taken[:, 54:] = False
    users, items = np.nonzero(taken)
    noise = 66 + generator.integers(9, size=60)
    graph = Triples(
        np.tile(np.arange(60), 2), np.repeat([0, 1], 60), np.append(60 + leaves, noise), 75, 2
    )
    return Interactions(users, items, n_users=200, n_items=60), graph, liked[:, 54:]


def found_new(model: Any, train: Interactions, graph: Triples, liked: np.ndarray) -> float:
    """Share of users whose first new item is of their leaf."""
    scores = model.fit(train, triples=graph).score(range(200))[:, 54:]
    return float(liked[np.arange(200), scores.argmax(1)].mean())


@pytest.mark.parametrize("make", MODELS.values(), ids=list(MODELS))
def test_new_items_are_found_by_their_facts(make: Any) -> None:
    assert found_new(make(), *planted()) > 0.5  # chance: 1 / 6


@pytest.mark.parametrize("make", MODELS.values(), ids=list(MODELS))
def test_with_the_facts_of_others_new_items_are_not_found(make: Any) -> None:
    train, graph, liked = planted()
    of_new = (graph.heads >= 54) & (graph.relations == 0)
    tails = np.where(of_new, 60 + (graph.tails - 60 + 1) % 6, graph.tails)  # the next leaf
    wrong = Triples(graph.heads, graph.relations, tails, 75, 2)
    assert found_new(make(), train, wrong, liked) < 0.3


@pytest.mark.parametrize("make", MODELS.values(), ids=list(MODELS))
def test_validation_keeps_the_best_epoch(make: Any) -> None:
    train, graph, _ = planted()
    held = np.arange(len(train)) % 9 == 0
    model = make().fit(train.select(~held), validation=train.select(held), triples=graph)
    table = model.history_.table
    assert model.history_.best_epoch == table["ndcg@10"].idxmax()


@pytest.mark.parametrize("make", MODELS.values(), ids=list(MODELS))
def test_an_entity_without_facts_and_an_unused_relation_do_no_harm(make: Any) -> None:
    train, graph, liked = planted()
    larger = Triples(graph.heads, graph.relations, graph.tails, 80, 5)
    assert found_new(make(), train, larger, liked) > 0.5


@pytest.mark.parametrize("make", MODELS.values(), ids=list(MODELS))
def test_without_any_fact_the_model_still_learns(make: Any) -> None:
    train, _, _ = planted()
    model = make().fit(train, triples=Triples([], [], [], 60, 0))
    scores = model.score(range(200))
    taken = train.matrix().toarray() > 0
    assert scores[taken].mean() > scores[:, :54][~taken[:, :54]].mean()


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (small(CFKG, fact_weight=-1.0), "fact_weight must be at least 0, got -1.0"),
        (small(KGAT, layers=0), "layers must be at least 1, got 0"),
        (small(KGAT, temperature=0.0), "temperature must be above 0 or None, got 0.0"),
        (small(KGCN, layers=0), "layers must be at least 1, got 0"),
        (small(KGCN, regularization=-1.0), "regularization must be at least 0, got -1.0"),
    ],
)
def test_bad_options_are_refused(model: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        model.fit(events(), triples=triples())


@pytest.mark.parametrize("make", MODELS.values(), ids=list(MODELS))
def test_a_graph_must_be_given_and_hold_the_items(make: Any) -> None:
    with pytest.raises(ValueError, match="^triples must be given to a model that reads a graph"):
        make().fit(events())
    few = "^triples must have at least 5 entities, one for each item, got 2$"
    with pytest.raises(ValueError, match=few):
        make().fit(events(), triples=Triples([0], [0], [1]))
