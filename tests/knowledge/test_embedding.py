import functools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from reclib.foundations.batching import Pairs, UserRows
from reclib.foundations.interactions import Triples
from reclib.foundations.persistence import load, save
from reclib.foundations.training import Options
from reclib.knowledge import _softmax
from reclib.knowledge._network import TripleNetwork, negatives_loss
from reclib.knowledge._questions import Questions
from reclib.knowledge._softmax import total_logsumexp
from reclib.knowledge.completion import TailFrequency, filtered_ranks, rank_metrics
from reclib.knowledge.embedding import ComplEx, DistMult, RotatE, TransE

MODELS: list[Any] = [TransE, DistMult, ComplEx, RotatE]
each_model = pytest.mark.parametrize("make", MODELS)
FAST = Options(epochs=3, batch_size=16, learning_rate=0.1, optimizer="adagrad", progress=False)
LONG = replace(FAST, epochs=60, batch_size=64, learning_rate=0.3)
E, R = 13, 3


def drawn(n: int = 40, seed: int = 0) -> Triples:
    generator = np.random.default_rng(seed)
    columns = (generator.integers(size, size=n) for size in (E, R, E))
    return Triples(*columns, n_entities=E, n_relations=R)


def rows(*parts: tuple[Any, int, Any], n_entities: int, n_relations: int) -> Triples:
    """Triples from (heads, relation, tails)."""
    heads, tails = (np.concatenate([part[k] for part in parts]) for k in (0, 2))
    relations = np.concatenate([np.full(len(part[0]), part[1]) for part in parts])
    return Triples(heads, relations, tails, n_entities, n_relations)


# --- the softmax over all entities


@pytest.mark.parametrize("distance", [False, True])
def test_the_sum_over_tiles_equals_autograd_over_the_whole_table(
    distance: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_softmax, "_ROWS", {"cpu": 4})
    monkeypatch.setattr(_softmax, "_ENTITIES", {"cpu": 5})
    generator = torch.Generator().manual_seed(0)
    draw = {"generator": generator, "dtype": torch.float64, "requires_grad": True}
    queries, entities = torch.randn(11, 3, **draw), torch.randn(17, 3, **draw)  # type: ignore[call-overload]
    weights = torch.arange(11) % 4
    ours = total_logsumexp(queries, entities, weights, distance=distance)
    gradients = torch.autograd.grad(3 * ours, (queries, entities))
    scores = queries @ entities.T
    if distance:
        scores = -(queries[:, None] - entities).norm(dim=-1)
    slow = (weights * scores.logsumexp(dim=1)).sum()
    torch.testing.assert_close(ours, slow, rtol=1e-10, atol=1e-10)
    expected = torch.autograd.grad(3 * slow, (queries, entities))
    torch.testing.assert_close(gradients, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("distance", [False, True])
def test_scores_of_any_size_leave_finite_numbers(distance: bool) -> None:
    queries = torch.tensor([[1e3, 0.0], [0.0, -1e3]], requires_grad=True)
    entities = torch.tensor([[1e3, 0.0], [-1e3, 0.0], [0.0, 1e3]], requires_grad=True)
    total = total_logsumexp(queries, entities, torch.ones(2), distance=distance)
    total.backward()
    assert total.isfinite()
    assert queries.grad.isfinite().all() and entities.grad.isfinite().all()  # type: ignore[union-attr]


def test_weights_need_the_shape_of_the_rows() -> None:
    with pytest.raises(ValueError, match=r"weights must have shape \(2,\), got \(2, 1\)"):
        total_logsumexp(torch.ones(2, 3), torch.ones(4, 3), torch.ones(2, 1))


# --- losses


def network(make: Any, triples: Triples, **options: Any) -> TripleNetwork:
    return TripleNetwork(
        Questions(triples),
        triples.n_entities,
        triples.n_relations,
        geometry=make(),
        dimension=4,
        std=0.7,
        **options,
    )


def whole_batch(triples: Triples, **options: Any) -> Any:
    """All that training would see in an epoch, as one batch."""
    answers = Questions(triples).answers
    kind: Any = Pairs if options else UserRows
    return next(kind(answers, batch_size=1000, **options).epoch(1))


@each_model
def test_the_loss_is_the_cross_entropy_of_every_tail_and_head(make: Any) -> None:
    triples = drawn()
    net = network(make, triples)
    model = make()
    model.set_state(vectors(net))
    facts = np.unique(np.stack([triples.heads, triples.relations, triples.tails], 1), axis=0).T
    tails = torch.tensor(model.score_tails(facts[0], facts[1]))
    heads = torch.tensor(model.score_heads(facts[1], facts[2]))
    slow = torch.nn.functional.cross_entropy
    expected = slow(tails, torch.tensor(facts[2])) / 2 + slow(heads, torch.tensor(facts[0])) / 2
    torch.testing.assert_close(net.loss(whole_batch(triples)), expected, rtol=1e-5, atol=1e-5)


def vectors(net: TripleNetwork) -> dict[str, Any]:
    return {
        "entity_vectors_": net.entities.weight.detach().numpy(),
        "relation_vectors_": net.relations.weight.detach().numpy(),
    }


@each_model
def test_negatives_count_by_how_true_they_look(make: Any) -> None:
    triples = drawn()
    net, model, questions = network(make, triples, loss="negatives"), make(), Questions(triples)
    model.set_state(vectors(net))
    batch = whole_batch(triples, n_negatives=3)
    margin = 6.0 if model.distance else 0.0
    total = 0.0
    for question, good, bad in zip(*(part.tolist() for part in batch), strict=True):
        entity, relation = questions.entities[question], questions.relations[question]
        if relation < R:
            scores = model.score_tails([entity], [relation])[0].astype(float)
        else:
            scores = model.score_heads([relation - R], [entity])[0].astype(float)
        likely = np.exp(scores[bad]) / np.exp(scores[bad]).sum()
        total += np.log1p(np.exp(-margin - scores[good])) / 2
        total += (likely * np.log1p(np.exp(margin + scores[bad]))).sum() / 2
    expected = torch.tensor(total / len(batch.users), dtype=torch.float32)
    torch.testing.assert_close(net.loss(batch), expected, rtol=1e-5, atol=1e-5)


def test_with_one_negative_the_loss_is_the_logistic_one_of_torch() -> None:
    good, bad = torch.tensor([1.0, -2.0]), torch.tensor([[0.5], [3.0]])
    scores = torch.cat([good, bad[:, 0]])
    labels = torch.tensor([1.0, 1.0, 0.0, 0.0])
    expected = torch.nn.functional.binary_cross_entropy_with_logits(scores, labels)
    torch.testing.assert_close(negatives_loss(good, bad, margin=0.0), expected)


@pytest.mark.parametrize("make", [DistMult, ComplEx, RotatE])
def test_the_penalty_is_the_cubed_moduli_of_each_triple_twice(make: Any) -> None:
    triples = drawn()
    plain, priced = (network(make, triples, regularization=price) for price in (0.0, 0.3))
    batch = whole_batch(triples)
    entities, relations = (t.weight.detach().numpy() for t in (plain.entities, plain.relations))
    if make is not DistMult:
        entities = np.hypot(*np.split(entities, 2, axis=1))
    if make is RotatE:
        relations = np.zeros((R, 1))
    elif make is ComplEx:
        relations = np.hypot(*np.split(relations, 2, axis=1))
    facts = np.unique(np.stack([triples.heads, triples.relations, triples.tails], 1), axis=0).T
    cubes = [(np.abs(t) ** 3).sum(1) for t in (entities, relations)]
    expected = 0.3 * (cubes[0][facts[0]] + cubes[1][facts[1]] + cubes[0][facts[2]]).mean()
    assert (priced.loss(batch) - plain.loss(batch)).item() == pytest.approx(expected, rel=1e-4)


@each_model
@pytest.mark.parametrize("loss", ["softmax", "negatives"])
def test_gradients_reach_every_vector(make: Any, loss: str) -> None:
    triples = Triples([0, 1, 2], [0, 1, 2], [3, 4, 5], 6, 3)
    net = network(make, triples, loss=loss)
    net.loss(
        whole_batch(triples, **({"n_negatives": 40} if loss == "negatives" else {}))
    ).backward()
    for table in (net.entities.weight, net.relations.weight):
        assert (table.grad != 0).any(dim=1).all()  # type: ignore[union-attr]


# --- scores


@pytest.mark.oracle
@each_model
def test_scores_equal_those_of_torch_geometric(make: Any) -> None:
    kge = pytest.importorskip("torch_geometric.nn.kge")
    torch.manual_seed(0)
    options = {"p_norm": 2.0} if make is TransE else {}
    peer = getattr(kge, make.__name__)(E, R, 5, **options)
    entities, relations = peer.node_emb.weight.data, peer.rel_emb.weight.data
    if make is TransE:  # the peer shortens entities when it scores
        entities = torch.nn.functional.normalize(entities, dim=-1)
    if make in (ComplEx, RotatE):
        entities = torch.cat([entities, peer.node_emb_im.weight.data], dim=1)
    if make is ComplEx:
        relations = torch.cat([relations, peer.rel_emb_im.weight.data], dim=1)
    model, asked = make(), drawn(60, seed=1)
    state = {"entity_vectors_": entities.numpy(), "relation_vectors_": relations.numpy()}
    model.set_state(state)
    columns = asked.heads, asked.relations, asked.tails
    with torch.no_grad():
        expected = peer(*(torch.tensor(column) for column in columns)).numpy()
    if make is RotatE:  # the peer adds a margin
        expected = expected - peer.margin
    np.testing.assert_allclose(model.score(*columns), expected, rtol=1e-5, atol=1e-5)


@each_model
def test_all_tails_and_all_heads_hold_the_scores_of_single_triples(make: Any) -> None:
    model, asked = make(dimension=6, training=FAST).fit(drawn()), drawn(50, seed=2)
    every, place = (asked.heads, asked.relations, asked.tails), np.arange(50)
    single = model.score(*every)
    tails = model.score_tails(asked.heads, asked.relations)
    heads = model.score_heads(asked.relations, asked.tails)
    assert tails.shape == heads.shape == (50, E)
    # Distances come from a matrix product, which rounds before the root is taken.
    np.testing.assert_allclose(tails[place, asked.tails], single, rtol=1e-5, atol=2e-4)
    np.testing.assert_allclose(heads[place, asked.heads], single, rtol=1e-5, atol=2e-4)


# --- what a model can say

RING = 24
PLACES = np.arange(RING)


def ring(seed: int = 0) -> tuple[Triples, dict[str, Triples]]:
    """A ring of entities: next, previous, opposite, next but one; some facts are held out."""
    order = np.random.default_rng(seed).permutation(RING)
    facts = {
        "next": (PLACES, 0, (PLACES + 1) % RING),
        "inverse": (PLACES, 1, (PLACES - 1) % RING),
        "symmetric": (PLACES, 2, (PLACES + RING // 2) % RING),
        "composed": (PLACES, 3, (PLACES + 2) % RING),
    }
    held = {"inverse": order[:6], "symmetric": order[6:10], "composed": order[10:16]}

    def part(name: str, places: Any) -> tuple[Any, int, Any]:
        heads, relation, tails = facts[name]
        return heads[places], relation, tails[places]

    kept = [part(name, np.setdiff1d(PLACES, held.get(name, []))) for name in facts]
    sizes = {"n_entities": RING, "n_relations": 4}
    test = {name: rows(part(name, places), **sizes) for name, places in held.items()}
    return rows(*kept, **sizes), test


@functools.cache
def taught(make: Any) -> Any:
    return make(dimension=16, training=LONG).fit(ring()[0])


def mrr(model: Any, name: str) -> float:
    train, test = ring()
    return rank_metrics(filtered_ranks(model, test[name], train))["mrr"]


@pytest.mark.parametrize("make", [ComplEx, RotatE])
@pytest.mark.parametrize("pattern", ["inverse", "symmetric", "composed"])
def test_turns_learn_inverse_symmetric_and_composed_relations(make: Any, pattern: str) -> None:
    assert mrr(taught(make), pattern) > 0.9


def test_transe_finds_itself_before_the_partner_of_a_symmetric_relation() -> None:
    model = taught(TransE)
    partners = (PLACES + RING // 2) % RING
    asked = rows((PLACES, 2, partners), n_entities=RING, n_relations=4)
    tails = filtered_ranks(model, asked).tails
    # Of h -> t and t -> h, one is at least as far as the shift is long, and that is where h is.
    assert (np.maximum(tails, tails[partners]) >= 1.5).all()


def test_distmult_cannot_tell_a_triple_from_its_reverse() -> None:
    model = taught(DistMult)
    forward = model.score(PLACES, np.zeros(RING, dtype=int), (PLACES + 1) % RING)
    backward = model.score((PLACES + 1) % RING, np.zeros(RING, dtype=int), PLACES)
    np.testing.assert_allclose(forward, backward, rtol=1e-6)
    assert rank_metrics(filtered_ranks(model, ring()[0], ring()[0]))["hits@1"] < 0.8


def test_transe_can_say_inverse_and_composed_shifts_along_a_line() -> None:
    places = np.arange(20)
    direction = np.array([1.0, -2.0, 0.5], dtype=np.float32)
    model = TransE()
    model.set_state(
        {
            "entity_vectors_": places[:, None] * direction,
            "relation_vectors_": np.array([[1], [-1], [2]]) * direction,
        }
    )
    steps = rows(
        (places[:-1], 0, places[1:]),
        (places[1:], 1, places[:-1]),
        (places[:-2], 2, places[2:]),
        n_entities=20,
        n_relations=3,
    )
    assert rank_metrics(filtered_ranks(model, steps))["hits@1"] == 1


def planted() -> tuple[Triples, Triples]:
    """31 products of 5 kinds; a kind has its brand, season and two shelves."""
    generator = np.random.default_rng(0)
    products, kinds = np.arange(31), np.sort(generator.integers(5, size=31))
    facts = rows(
        (products, 0, 31 + kinds),
        (products, 1, 36 + kinds % 3),
        (np.repeat(products, 2), 2, 39 + (kinds[:, None] + [0, 1]).ravel() % 4),
        n_entities=43,
        n_relations=3,
    )
    held = np.random.default_rng(1).random(len(facts)) < 0.15
    columns = [
        np.stack([facts.heads, facts.relations, facts.tails])[:, part] for part in (~held, held)
    ]
    train, test = (Triples(*part, 43, 3) for part in columns)
    return train, test


@each_model
def test_missing_facts_of_planted_kinds_are_found_before_frequent_tails(make: Any) -> None:
    train, test = planted()
    model = make(dimension=8, training=LONG).fit(train)
    tails, frequent = (
        rank_metrics(filtered_ranks(each, test, train).tails)["mrr"]
        for each in (model, TailFrequency().fit(train))
    )
    assert tails > frequent + 0.2


@each_model
def test_negatives_teach_a_few_facts_by_heart(make: Any) -> None:
    train, _ = planted()
    model = make(dimension=8, loss="negatives", n_negatives=8, training=LONG).fit(train)
    assert rank_metrics(filtered_ranks(model, train).tails)["mrr"] > 0.9


# --- the contract


@each_model
def test_options_are_stored_as_given(make: Any) -> None:
    options = {
        **{"dimension": 3, "loss": "negatives", "n_negatives": 2, "regularization": 0.5},
        **{"dropout": 0.25, "training": FAST, "seed": 7},
    }
    assert vars(make(**options)) == options


@each_model
def test_the_same_seed_gives_the_same_model_and_a_second_fit_starts_afresh(make: Any) -> None:
    make_one = lambda seed: make(dimension=3, training=FAST, seed=seed)  # noqa: E731
    first, second, other = make_one(0).fit(drawn()), make_one(0), make_one(1).fit(drawn())
    second.fit(drawn(seed=3)).fit(drawn())
    np.testing.assert_array_equal(first.entity_vectors_, second.entity_vectors_)
    assert (first.entity_vectors_ != other.entity_vectors_).all()


@each_model
def test_repeats_count_once(make: Any) -> None:
    once, twice = drawn(), drawn()
    columns = [np.concatenate([getattr(twice, c)] * 2) for c in ("heads", "relations", "tails")]
    models = [
        make(dimension=3, training=FAST).fit(each) for each in (once, Triples(*columns, E, R))
    ]
    np.testing.assert_array_equal(models[0].entity_vectors_, models[1].entity_vectors_)


@each_model
def test_a_saved_model_scores_the_same(make: Any, tmp_path: Any) -> None:
    model = make(dimension=3, training=FAST).fit(drawn())
    again = load(make, save(model, tmp_path))
    np.testing.assert_array_equal(
        again.score_tails([1, 5], [0, 2]), model.score_tails([1, 5], [0, 2])
    )


def test_validation_keeps_the_best_epoch() -> None:
    train, test = planted()
    model = ComplEx(dimension=8, training=replace(FAST, epochs=12)).fit(train, validation=test)
    values = model.history_.table["mrr"]
    assert model.history_.best_epoch == values.idxmax()
    assert rank_metrics(filtered_ranks(model, test, train))["mrr"] == values.max()


def test_an_entity_without_triples_has_scores_and_ranks() -> None:
    train = Triples([0, 1], [0, 0], [2, 2], n_entities=6, n_relations=2)
    model = RotatE(dimension=3, training=FAST).fit(train)
    ranks = filtered_ranks(model, Triples([0], [1], [5], 6, 2), train)
    assert 1 <= ranks.heads[0] <= 6 and 1 <= ranks.tails[0] <= 6


FITTED = TransE(dimension=3, training=FAST)
FAULTS: list[tuple[Callable[[], Any], str]] = [
    (lambda: TransE().score([0], [0], [0]), "TransE must be fitted before it scores, got no fit"),
    (lambda: TransE().fit([]), "triples must be Triples, got list"),
    (lambda: TransE().fit(drawn(0)), "triples must hold at least one fact, got 0"),
    (
        lambda: TransE().fit(drawn(), validation=drawn(0)),
        "validation must hold at least one fact, got 0",
    ),
    (lambda: TransE(dimension=0).fit(drawn()), "dimension must be at least 1, got 0"),
    (
        lambda: TransE(loss="margin").fit(drawn()),  # type: ignore[arg-type]
        "loss must be one of ('softmax', 'negatives'), got 'margin'",
    ),
    (
        lambda: TransE(loss="negatives", n_negatives=0).fit(drawn()),
        "n_negatives must be at least 1, got 0",
    ),
    (lambda: TransE(regularization=-1).fit(drawn()), "regularization must be at least 0, got -1"),
    (lambda: TransE(dropout=1).fit(drawn()), "dropout must be in [0, 1), got 1"),
    (lambda: FITTED.fit(drawn()).score([0], [R], [0]), "relations must be below 3, got 3"),
    (lambda: FITTED.fit(drawn()).score([E], [0], [0]), "heads must be below 13, got 13"),
    (lambda: FITTED.fit(drawn()).score_heads([0], [-1]), "tails must be at least 0, got -1"),
    (
        lambda: FITTED.fit(drawn()).score_tails([0, 1], [0]),
        "relations must have shape (2,), got (1,)",
    ),
    (lambda: FITTED.fit(drawn()).score([0], [0], [0, 1]), "tails must have shape (1,), got (2,)"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "message"), FAULTS, ids=[message for _, message in FAULTS])
def test_what_makes_no_sense_is_refused(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError) as error:
        call()
    assert str(error.value) == message
