"""PathEASE against plain loops and dense algebra, a shop with planted taste, and broken graphs."""

from collections.abc import Sequence

import numpy as np
import pytest

from reclib.collaborative import EASE, PathEASE
from reclib.collaborative._paths import Attributes, ItemFacts, checked_triples
from reclib.collaborative.paths import reasons
from reclib.foundations.interactions import Interactions, Triples
from reclib.foundations.persistence import load, save

N_USERS, N_ITEMS, N_ENTITIES, N_RELATIONS = 29, 13, 21, 4
NEW = 12  # an item without events
BRAND, LEAF, UNDER, WITH = range(4)


def graph(seed: int = 0) -> Triples:
    """A brand (13-15) and a leaf (16-18) each, leaves under categories (19-20), links of items."""
    generator = np.random.default_rng(seed)
    items = np.arange(N_ITEMS)
    links = generator.choice(N_ITEMS, (9, 2))
    links = links[links[:, 0] != links[:, 1]]
    heads = [items, items, [16, 17, 18], links[:, 0], [NEW]]
    tails = [13 + items % 3, 16 + items // 2 % 3, [19, 19, 20], links[:, 1], [4]]
    kinds = np.repeat([BRAND, LEAF, UNDER, WITH, WITH], [len(each) for each in heads])
    return Triples(np.concatenate(heads), kinds, np.concatenate(tails), N_ENTITIES, N_RELATIONS)


def events(seed: int = 0) -> Interactions:
    """Random pairs; the last item and the last user have none."""
    taken = np.random.default_rng(seed).random((N_USERS, N_ITEMS)) < 0.4
    taken[-1], taken[:, NEW] = False, False
    users, items = np.nonzero(taken)
    return Interactions(users, items, n_users=N_USERS, n_items=N_ITEMS)


def facts_of(triples: Triples) -> list[tuple[int, int, int]]:
    columns = np.stack([triples.heads, triples.relations, triples.tails], axis=1)
    return [(int(h), int(r), int(t)) for h, r, t in columns]


def attributes_by_hand(triples: Triples, hops: int = 3) -> np.ndarray:
    """(I, F) from sets and loops: each (relation, entity) that two items can reach."""
    facts = facts_of(triples)
    reached: list[set[tuple[int, int]]] = []
    for item in range(N_ITEMS):
        found = {(r, t) for h, r, t in facts if h == item and t >= N_ITEMS}
        found |= {(r + N_RELATIONS, h) for h, r, t in facts if t == item and h >= N_ITEMS}
        front = {entity for _, entity in found}
        for _ in range(hops - 1):
            step = {(r, t) for h, r, t in facts if h in front and t >= N_ITEMS}
            found, front = found | step, {entity for _, entity in step}
        reached.append(found)
    names = sorted(set().union(*reached))
    shared = [name for name in names if sum(name in each for each in reached) > 1]
    matrix = np.array([[name in each for name in shared] for each in reached], dtype=float)
    return matrix / np.sqrt(np.maximum(matrix.sum(1, keepdims=True), 1))


def found_attributes(triples: Triples, hops: int = 3) -> np.ndarray:
    known = checked_triples(triples, N_ITEMS)
    attributes = Attributes.of(known, N_ITEMS, hops).shared(known, N_ITEMS)
    return attributes.matrix(ItemFacts.of(known, N_ITEMS), N_ITEMS).toarray()


@pytest.mark.parametrize("hops", [1, 2, 3])
def test_attributes_are_the_entities_that_paths_reach(hops: int) -> None:
    np.testing.assert_allclose(
        found_attributes(graph(), hops), attributes_by_hand(graph(), hops), rtol=1e-12
    )


def test_facts_are_read_from_their_tail_as_well() -> None:
    triples = Triples([20, 20, 19], [0, 0, 1], [2, 5, 5], N_ENTITIES, N_RELATIONS)
    expected = np.zeros((N_ITEMS, 1))
    expected[[2, 5]] = 1
    np.testing.assert_array_equal(found_attributes(triples), expected)


def test_a_cycle_among_entities_ends() -> None:
    triples = Triples([0, 1, 14, 15], [0, 0, 1, 1], [14, 14, 15, 14], N_ENTITIES, 2)
    assert (found_attributes(triples, hops=9)[:2] > 0).sum(1).tolist() == [3, 3]


def item_weights(model: PathEASE | EASE) -> np.ndarray:
    return np.asarray(model.item_weights_)


def weights_by_hand(
    train: Interactions, triples: Triples, regularization: float, mu: float
) -> tuple[np.ndarray, np.ndarray]:
    """(I, I) float64 by the formulas of the module, dense: paths, and all."""
    taken = train.matrix().toarray()
    gram, identity = taken.T @ taken, np.eye(N_ITEMS)
    seen = np.diag(gram) > 0
    matrix = attributes_by_hand(triples)
    targets, off = matrix * seen[:, None], gram * (1 - identity)
    inner = np.linalg.inv(matrix.T @ gram @ matrix + regularization * np.eye(matrix.shape[1]))
    outer = np.linalg.inv(targets.T @ targets + mu * np.eye(matrix.shape[1]))
    paths = matrix @ (inner @ matrix.T @ off @ targets @ outer) @ matrix.T * (1 - identity)
    links = []
    for relation in range(N_RELATIONS):
        link = np.zeros((N_ITEMS, N_ITEMS))
        for h, r, t in facts_of(checked_triples(triples, N_ITEMS)):
            if r == relation and h < N_ITEMS and t < N_ITEMS and h != t:
                link[h, t] = 1
        links += [link, link.T] if link.any() else []
    wanted = [(taken @ link)[:, seen].ravel() for link in links]
    # The target is not its own evidence: what is left is taken user by user without it.
    left = np.array([(link * (off - gram @ paths))[:, seen].sum() for link in links])
    squares = np.array([[one @ two for two in wanted] for one in wanted])
    squares += 1e-3 * np.trace(squares) / len(links) * np.eye(len(links))
    paths = paths + np.einsum("r,rij->ij", np.linalg.solve(squares, left), np.array(links))
    inverse = np.linalg.inv(gram + regularization * identity)
    rest = inverse @ gram @ (identity - paths)
    rest = rest - inverse * (np.diag(rest) / np.diag(inverse))
    rest[~seen], rest[:, ~seen] = 0, 0
    return paths, paths + rest


def test_item_weights_equal_the_formulas() -> None:
    train, triples = events(), graph()
    model = PathEASE(regularization=2.0, attribute_regularization=0.5).fit(train, triples=triples)
    paths, expected = weights_by_hand(train, triples, 2.0, 0.5)
    np.testing.assert_allclose(item_weights(model), expected, rtol=2e-4, atol=2e-5)  # float32
    assert np.abs(paths[:, NEW]).max() > 0.01  # an item without events is reached


def test_without_facts_it_is_ease() -> None:
    train = events(1)
    nothing = Triples([], [], [], N_ITEMS, 1)
    found = PathEASE(regularization=3.0).fit(train, triples=nothing)
    expected = item_weights(EASE(regularization=3.0).fit(train))
    np.testing.assert_allclose(item_weights(found), expected, rtol=1e-4, atol=1e-6)


def test_a_fact_that_stands_twice_counts_once() -> None:
    one, train = graph(), events()
    heads, relations, tails = (np.tile(each, 2) for each in (one.heads, one.relations, one.tails))
    two = Triples(heads, relations, tails, N_ENTITIES, N_RELATIONS)
    models = [PathEASE(regularization=2.0).fit(train, triples=each) for each in (one, two)]
    np.testing.assert_array_equal(models[0].item_weights_, models[1].item_weights_)


def planted(seed: int = 0) -> tuple[Interactions, Triples, np.ndarray]:
    """60 items of 6 leaves, 200 users who want leaf a and then leaf a + 1; item 59 is new."""
    generator = np.random.default_rng(seed)
    leaves = np.arange(60) % 6
    wants = generator.integers(6, size=200)
    liked = (leaves == wants[:, None]) | (leaves == (wants[:, None] + 1) % 6)
    taken = generator.random((200, 60)) < np.where(liked, 0.4, 0.02)
    taken[:, 59] = False
    users, items = np.nonzero(taken)
    noise = 66 + generator.integers(9, size=60)
    triples = Triples(
        np.tile(np.arange(60), 2), np.repeat([0, 1], 60), np.append(60 + leaves, noise), 75, 2
    )
    return Interactions(users, items, n_users=200, n_items=60), triples, liked[:, 59]


def test_a_new_item_is_found_through_its_leaf_and_the_leaf_that_goes_with_it() -> None:
    train, triples, liked = planted()
    scores = PathEASE(regularization=10.0).fit(train, triples=triples).score(range(200))[:, 59]
    above = (scores[liked][:, None] > scores[~liked]).mean()
    assert above > 0.9


def test_with_the_facts_of_others_a_new_item_is_not_found() -> None:
    train, triples, liked = planted()
    mixed = np.random.default_rng(1).permutation(60)
    other = Triples(mixed[triples.heads], triples.relations, triples.tails, 75, 2)
    scores = PathEASE(regularization=10.0).fit(train, triples=other).score(range(200))[:, 59]
    assert abs((scores[liked][:, None] > scores[~liked]).mean() - 0.5) < 0.2


# --- reasons


def fitted() -> PathEASE:
    return PathEASE(regularization=2.0).fit(events(), triples=graph())


def fall_without(model: PathEASE, user: int, item: int, fact: Sequence[int]) -> float:
    """What the score loses when the model scores with a graph that lacks the fact."""
    head, relation, tail = fact
    other = model.without([head], [relation], [tail])
    return float(model.score([user])[0, item] - other.score([user])[0, item])


def test_without_the_cited_fact_the_score_falls_by_the_effect() -> None:
    model, checked = fitted(), 0
    for user in range(6):
        for item in set(range(N_ITEMS)) - set(events().histories()[user].tolist()):
            found = reasons(model, user, item, k=9)
            facts = found[["head", "relation", "tail"]].to_numpy()
            for fact, effect in zip(facts.tolist(), found["effect"], strict=True):
                fall = fall_without(model, user, item, fact)
                assert fall > 0
                assert effect == pytest.approx(fall, rel=1e-3, abs=1e-6)
                checked += 1
    assert checked > 50


def test_no_other_fact_of_the_item_carries_more() -> None:
    model, user = fitted(), 3
    found = reasons(model, user, NEW, k=1)
    about = [fact for fact in facts_of(model.triples_) if NEW in (fact[0], fact[2])]
    falls = [fall_without(model, user, NEW, fact) for fact in about]
    np.testing.assert_allclose(found["effect"][0], max(falls), rtol=1e-3)


def test_reasons_name_a_product_that_the_user_took() -> None:
    model = fitted()
    history = events().histories()
    for user in range(8):
        products = reasons(model, user, NEW)["product"]
        assert set(products) <= set(history[user].tolist())


def test_the_reason_of_a_planted_item_is_its_leaf() -> None:
    train, triples, liked = planted()
    model = PathEASE(regularization=10.0).fit(train, triples=triples)
    first = [reasons(model, user, 59, k=1) for user in np.flatnonzero(liked)[:20].tolist()]
    assert [(int(r["relation"][0]), int(r["tail"][0])) for r in first] == [(0, 60 + 59 % 6)] * 20


def test_a_link_to_something_taken_is_cited() -> None:
    model = fitted()
    user = int(np.flatnonzero(events().matrix().toarray()[:, 4])[0])
    model.relation_weights_[:] = 5.0
    found = reasons(model, user, NEW, k=1)
    assert found.iloc[0][["product", "head", "relation", "tail"]].tolist() == [4, NEW, WITH, 4]
    assert found["effect"][0] == pytest.approx(5.0)


def test_a_user_without_history_gets_no_reason() -> None:
    assert len(reasons(fitted(), N_USERS - 1, 0)) == 0


def test_reasons_survive_saving(tmp_path) -> None:  # type: ignore[no-untyped-def]
    model = fitted()
    save(model, tmp_path / "model")
    loaded = load(PathEASE, tmp_path / "model")
    one, two = (reasons(each, 2, NEW, k=5) for each in (model, loaded))
    assert one.equals(two)
    fact = one.iloc[0]
    parts = [int(fact["head"])], [int(fact["relation"])], [int(fact["tail"])]
    np.testing.assert_array_equal(
        model.without(*parts).item_weights_, loaded.without(*parts).item_weights_
    )


TAKEN = int(events().histories()[0][0])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: reasons(m, 0, NEW, k=0), "k must be at least 1, got 0"),
        (lambda m: reasons(m, 99, NEW), "user must be below 29, got 99"),
        (lambda m: reasons(m, 0, 13), "item must be below 13, got 13"),
        (
            lambda m: reasons(m, 0, TAKEN),
            f"item must not be in the user's history, got {TAKEN}",
        ),
        (
            lambda m: m.without([0], [UNDER], [13]),
            r"facts must be in the graph, got \(0, 2, 13\)",
        ),
        (lambda m: m.without([0], [4], [13]), "n_relations must be at least 5 .*, got 4"),
    ],
)
def test_bad_questions_are_refused(call, message) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=f"^{message}$"):
        call(fitted())


@pytest.mark.parametrize(
    ("options", "triples", "message"),
    [
        ({}, None, "triples must be given to a model that reads a graph, got None"),
        ({}, [(0, 0, 1)], "triples must be Triples, got list"),
        (
            {},
            Triples([0], [0], [1]),
            "triples must have at least 13 entities, one for each item, got 2",
        ),
        ({"regularization": 0.0}, graph(), "regularization must be above 0, got 0.0"),
        (
            {"attribute_regularization": -1.0},
            graph(),
            "attribute_regularization must be above 0, got -1.0",
        ),
        ({"hops": 0}, graph(), "hops must be at least 1, got 0"),
    ],
)
def test_bad_input_is_refused(options, triples, message) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=f"^{message}$"):
        PathEASE(**options).fit(events(), triples=triples)
