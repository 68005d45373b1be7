from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from reclib.foundations.interactions import Triples
from reclib.foundations.persistence import load, save
from reclib.knowledge.completion import (
    NeighborCopy,
    Ranks,
    TailFrequency,
    cross_fitted,
    filtered_ranks,
    log_probabilities,
    missing_tails,
    rank_metrics,
    rank_table,
    relation_categories,
)

E, R = 13, 3


class Table:
    """Scores that stand in a table (E, R, E); whole numbers, so that many are equal."""

    def __init__(self, seed: int = 0, high: int = 5) -> None:
        self.scores = np.random.default_rng(seed).integers(high, size=(E, R, E)).astype(np.float32)

    def score_tails(self, heads: Any, relations: Any) -> Any:
        return self.scores[heads, relations]

    def score_heads(self, relations: Any, tails: Any) -> Any:
        return self.scores[:, relations, tails].T


def drawn(n: int, seed: int) -> Triples:
    """Random facts, some of them twice."""
    generator = np.random.default_rng(seed)
    columns = (generator.integers(size, size=n) for size in (E, R, E))
    return Triples(*columns, n_entities=E, n_relations=R)


def listed(triples: Triples) -> list[tuple[int, int, int]]:
    columns = np.stack([triples.heads, triples.relations, triples.tails], axis=1)
    return [(h, r, t) for h, r, t in columns.tolist()]


def slow_ranks(scores: Any, triples: Triples, *known: Triples) -> list[tuple[float, float]]:
    """Rank of head and tail, one comparison at a time."""
    facts = {fact for part in (triples, *known) for fact in listed(part)}
    ranks = []
    for h, r, t in listed(triples):
        heads = [scores[e, r, t] for e in range(E) if e != h and (e, r, t) not in facts]
        tails = [scores[h, r, e] for e in range(E) if e != t and (h, r, e) not in facts]
        own = scores[h, r, t]
        ranks.append(
            tuple(
                1 + sum(s > own for s in others) + sum(s == own for s in others) / 2
                for others in (heads, tails)
            )
        )
    return ranks


@pytest.mark.parametrize("batch_size", [None, 1, 7])
def test_ranks_equal_a_slow_count(batch_size: int | None) -> None:
    model, test, known = Table(), drawn(30, seed=1), (drawn(60, seed=2), drawn(20, seed=3))
    found = filtered_ranks(model, test, *known, batch_size=batch_size)
    np.testing.assert_array_equal(np.stack(found, axis=1), slow_ranks(model.scores, test, *known))


def test_equal_scores_get_their_mean_rank() -> None:
    model = Table(high=1)
    ranks = filtered_ranks(model, Triples([2], [1], [5], E, R))
    assert (ranks.heads.tolist(), ranks.tails.tolist()) == ([(E + 1) / 2], [(E + 1) / 2])


def test_a_known_answer_does_not_compete() -> None:
    model = Table(high=1)
    model.scores[2, 1, [5, 7, 8]] = [1, 2, 3]
    test, known = Triples([2], [1], [5], E, R), Triples([2, 0], [1, 1], [8, 7], E, R)
    assert filtered_ranks(model, test).tails.tolist() == [3]
    assert filtered_ranks(model, test, known).tails.tolist() == [2]


def test_a_score_that_is_no_number_is_refused() -> None:
    model = Table()
    model.scores[2, 1, 3] = np.nan
    with pytest.raises(ValueError, match="scores must not be NaN"):
        filtered_ranks(model, Triples([2], [1], [5], E, R))


def test_facts_of_another_graph_are_refused() -> None:
    with pytest.raises(ValueError) as error:
        filtered_ranks(Table(), Triples([2], [1], [5], E, R), Triples([2], [1], [5], E + 1, R))
    assert str(error.value) == "known must have the sizes (E, R) = (13, 3), got (14, 3)"


def test_metrics_of_a_few_ranks_are_as_by_hand() -> None:
    expected = {"mrr": (1 + 1 / 2 + 1 / 2.5 + 1 / 10) / 4}
    expected |= {"hits@1": 1 / 4, "hits@3": 3 / 4, "hits@10": 1.0}
    assert rank_metrics([1, 2, 2.5, 10]) == pytest.approx(expected)
    assert rank_metrics(Ranks(np.array([1, 2]), np.array([2.5, 10]))) == pytest.approx(expected)


def test_without_a_rank_there_is_no_mean() -> None:
    assert np.isnan(list(rank_metrics([]).values())).all()


@pytest.mark.parametrize("ranks", [[0.5], [np.nan], [[1, 2]]])
def test_what_is_no_rank_is_refused(ranks: Any) -> None:
    with pytest.raises(ValueError, match="ranks must be numbers of at least 1"):
        rank_metrics(ranks)


FAMILY = Triples(
    heads=[0, 1, 2, 3, 4, 4, 4, 0, 0, 1, 1],
    relations=[0, 0, 1, 1, 2, 2, 2, 3, 3, 3, 3],
    tails=[5, 6, 7, 7, 8, 9, 10, 8, 9, 8, 9],
    n_entities=12,
    n_relations=5,
)


def test_a_relation_is_many_where_questions_have_more_than_one_answer() -> None:
    assert relation_categories(FAMILY).tolist() == [
        *("one-to-one", "many-to-one", "one-to-many", "many-to-many"),
        "",
    ]


def test_the_table_tells_directions_categories_and_unseen_triples_apart() -> None:
    test = Triples([0, 2, 11, 0], [0, 1, 1, 4], [6, 7, 7, 5], 12, 5)
    ranks = Ranks(np.array([1.0, 2.0, 4.0, 5.0]), np.array([2.0, 1.0, 10.0, 20.0]))
    table = rank_table(ranks, test, FAMILY)
    assert table["n"].to_dict() == {
        **{("all", "both"): 8, ("all", "heads"): 4, ("all", "tails"): 4},
        **{("many-to-one", "both"): 4, ("many-to-one", "heads"): 2, ("many-to-one", "tails"): 2},
        **{("one-to-one", "both"): 2, ("one-to-one", "heads"): 1, ("one-to-one", "tails"): 1},
        **{("unseen", "both"): 4, ("unseen", "heads"): 2, ("unseen", "tails"): 2},
    }
    assert table.loc[("many-to-one", "heads"), "mrr"] == pytest.approx((1 / 2 + 1 / 4) / 2)
    assert table.loc[("unseen", "tails"), "hits@10"] == pytest.approx(1 / 2)


def test_plausibility_equals_a_slow_softmax() -> None:
    model, test, known = Table(), drawn(20, seed=1), drawn(40, seed=2)
    facts = set(listed(test)) | set(listed(known))
    slow = []
    for h, r, t in listed(test):
        heads = [e for e in range(E) if e == h or (e, r, t) not in facts]
        tails = [e for e in range(E) if e == t or (h, r, e) not in facts]
        own = model.scores[h, r, t].astype(float)
        of_heads = own - np.log(np.exp(model.scores[heads, r, t].astype(float)).sum())
        of_tails = own - np.log(np.exp(model.scores[h, r, tails].astype(float)).sum())
        slow.append((of_heads + of_tails) / 2)
    np.testing.assert_allclose(log_probabilities(model, test, known), slow, rtol=1e-5)


def test_candidates_are_the_best_tails_that_are_not_known() -> None:
    model = Table(high=1)
    model.scores[2, 1, [5, 7, 8]] = [1, 2, 3]
    known = Triples([2], [1], [8], E, R)
    found = missing_tails(model, [2, 2], [1, 0], known, k=2)
    assert found.items.tolist() == [[7, 5], [0, 1]]
    assert found.scores.tolist() == [[2, 1], [0, 0]]


def test_both_triples_of_a_fact_are_left_out_together() -> None:
    ends = np.array([[0, 1], [2, 3], [4, 5], [6, 7], [8, 9]])
    triples = Triples([*ends[:, 0], *ends[:, 1]], [1] * 10, [*ends[:, 1], *ends[:, 0]], E, R)
    parts = []

    def fit(part: Triples) -> Table:
        parts.append(set(listed(part)))
        return Table()

    cross_fitted(fit, triples, n_folds=3)
    assert len(parts) == 3
    assert all((t, r, h) in part for part in parts for h, r, t in part)
    assert sorted(len(part) for part in parts) == [6, 6, 8]


def test_each_triple_is_judged_by_the_model_that_did_not_see_it() -> None:
    triples = drawn(40, seed=4)

    class Memory(Table):
        def __init__(self, part: Triples) -> None:
            super().__init__(high=1)
            self.scores[part.heads, part.relations, part.tails] = -50

    values = cross_fitted(Memory, triples, n_folds=4)
    assert (values > -40).all()  # those it saw would be below


def test_frequent_tails_are_counted_by_relation_and_direction() -> None:
    model = TailFrequency().fit(FAMILY)
    none = np.log(1 / 12)
    tails, heads = [none] * 12, [none] * 12
    tails[7], heads[4] = np.log(2 + 1 / 12), np.log(3 + 1 / 12)
    np.testing.assert_allclose(model.score_tails([11], [1])[0], tails, rtol=1e-5)
    np.testing.assert_allclose(model.score_heads([2], [11])[0], heads, rtol=1e-5)
    np.testing.assert_allclose(model.score([11, 0], [1, 1], [7, 6]), [tails[7], none], rtol=1e-5)


def slow_copy(triples: Triples, n_neighbors: int) -> np.ndarray:
    """(E, 2 R, E) scores of answers, one entity at a time."""
    facts = [set() for _ in range(E)]
    for h, r, t in set(listed(triples)):
        facts[h].add((r, t))
        facts[t].add((R + r, h))
    n_having = {fact: sum(fact in other for other in facts) for own in facts for fact in own}

    def cosine(one: set[Any], two: set[Any]) -> float:
        weight = {fact: np.log(E / n) ** 2 for fact, n in n_having.items()}
        norms = [sum(weight[fact] for fact in each) for each in (one, two)]
        both = sum(weight[fact] for fact in one & two)
        return both / np.sqrt(norms[0] * norms[1]) if both else 0.0

    scores = np.zeros((E, 2 * R, E))
    for r in range(2 * R):
        for e in range(E):
            scores[:, r, e] = sum((r, e) in own for own in facts) + 1 / E
    scores /= scores.sum(axis=2, keepdims=True)
    for h in range(E):
        near = np.array([cosine(facts[h], facts[e]) if e != h else 0.0 for e in range(E)])
        least = np.sort(near)[::-1][n_neighbors - 1] if n_neighbors < E else 0.0
        for e in range(E):
            if near[e] >= least:
                for r, t in facts[e]:
                    scores[h, r, t] += near[e]
    return np.log(scores)


@pytest.mark.parametrize("n_neighbors", [1, 4, 50])
def test_answers_of_neighbours_equal_a_slow_copy(n_neighbors: int) -> None:
    triples = drawn(50, seed=5)
    model = NeighborCopy(n_neighbors=n_neighbors).fit(triples)
    slow = slow_copy(triples, n_neighbors)
    every = np.arange(E)
    for r in range(R):
        relation = np.full(E, r)
        tails, heads = model.score_tails(every, relation), model.score_heads(relation, every)
        np.testing.assert_allclose(tails, slow[:, r], rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(heads, slow[:, R + r], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("make", [TailFrequency, lambda: NeighborCopy(n_neighbors=3)])
def test_what_was_counted_can_be_kept(make: Callable[[], Any], tmp_path: Any) -> None:
    model = make().fit(drawn(40, seed=6))
    again = load(type(model), save(model, tmp_path))
    asked = np.arange(E), np.full(E, 2)
    np.testing.assert_array_equal(again.score_tails(*asked), model.score_tails(*asked))


FAULTS: list[tuple[Callable[[], Any], str]] = [
    (lambda: filtered_ranks(Table(), drawn(0, 0)), "triples must hold at least one fact, got 0"),
    (lambda: TailFrequency().fit([]), "triples must be Triples, got list"),
    (lambda: NeighborCopy(n_neighbors=0).fit(FAMILY), "n_neighbors must be at least 1, got 0"),
    (
        lambda: NeighborCopy().score_tails([0], [0]),
        "NeighborCopy must be fitted before it scores, got no fit",
    ),
    (lambda: TailFrequency().fit(FAMILY).score_tails([0], [5]), "relations must be below 5, got 5"),
    (
        lambda: TailFrequency().fit(FAMILY).score_tails([12], [0]),
        "heads must be below 12, got 12",
    ),
    (
        lambda: TailFrequency().fit(FAMILY).score_tails([0, 1], [0]),
        "relations must have shape (2,), got (1,)",
    ),
    (lambda: missing_tails(Table(), [0], [0, 1], k=1), "relations must have shape (1,), got (2,)"),
    (lambda: cross_fitted(Table, FAMILY, n_folds=1), "n_folds must be at least 2, got 1"),
    (
        lambda: rank_table(Ranks(np.ones(2), np.ones(2)), FAMILY, FAMILY),
        "ranks must have shape (11,), got (2,)",
    ),
]


@pytest.mark.parametrize(("call", "message"), FAULTS, ids=[message for _, message in FAULTS])
def test_what_makes_no_sense_is_refused(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError) as error:
        call()
    assert str(error.value) == message
