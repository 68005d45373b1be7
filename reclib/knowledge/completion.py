"""Completing a graph: the rank of the true answer among all entities, what is missing, what false.

    rank(h, r, t) = 1 + #{e: s(h, r, e) > s(h, r, t)} + #{e: s(h, r, e) = s(h, r, t)} / 2
    MRR = mean of 1 / rank,   Hits@k = share of ranks up to k

The entities e are neither t nor another known answer to (h, r, ?): a model is not blamed for
ranking one truth above another. They include entities that training never saw. Heads are ranked the
same way, given r and t.

Source: A. Bordes et al., Translating Embeddings for Modeling Multi-relational Data, NIPS 2013, for
filtered ranks and the categories of relations; for ties Z. Sun, S. Vashishth, S. Sanyal, P.
Talukdar, Y. Yang, A Re-evaluation of Knowledge Graph Completion Methods, ACL 2020.
Differences from the paper:
1. Equal scores get their mean rank (Bordes et al.: not stated; Sun et al.: a random one, whose
   expectation this is).
Chapter: knowledge/embedding
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from reclib.foundations.interactions import Histories, Triples, checked_ids
from reclib.foundations.recommender import (
    Recommendations,
    Scores,
    blocks,
    checked_scores,
    mask_scores,
    recommend,
)
from reclib.knowledge._counting import NeighborCopy, TailFrequency
from reclib.knowledge._questions import Questions, checked_triples, chosen, joined

__all__ = [
    "NeighborCopy",
    "Ranks",
    "TailFrequency",
    "cross_fitted",
    "filtered_ranks",
    "log_probabilities",
    "missing_tails",
    "rank_metrics",
    "rank_table",
    "relation_categories",
]

Floats = NDArray[np.float64]
Ids = NDArray[np.int64]
_CUTOFFS = (1, 3, 10)
_MANY = 1.5  # so many answers to a question, in the mean, make it a question with many answers


class Ranks(NamedTuple):
    """Ranks of the true entities, 1 is best; halves where scores are equal.

    Attributes:
        heads: (T,) of the head, given relation and tail.
        tails: (T,) of the tail, given head and relation.
    """

    heads: Floats
    tails: Floats


def filtered_ranks(
    model: Any, triples: Triples, *known: Triples, batch_size: int | None = None
) -> Ranks:
    """Rank the true head and the true tail of each triple among all entities.

    Args:
        model: has ``score_tails`` and ``score_heads``.
        triples: what is to be found, T facts.
        known: facts whose answers do not compete; those of ``triples`` never do.
        batch_size: questions scored at once; None chooses by the number of entities.
    """
    ranks = []
    for side in _sides(model, triples, known, batch_size):
        found = np.empty(len(triples))
        for rows, scores, own in side:
            level = own[:, None]
            above, equal = np.count_nonzero(scores > level, 1), np.count_nonzero(scores == level, 1)
            found[rows] = 1 + above + equal / 2
        ranks.append(found)
    return Ranks(*ranks)


def log_probabilities(
    model: Any, triples: Triples, *known: Triples, batch_size: int | None = None
) -> Floats:
    """How plausible each triple is: the mean of log p(t | h, r) and log p(h | r, t), in nats.

    p is the softmax of the scores over all entities but the other known answers, which is what a
    model with that loss has learned.

    Args:
        model: has ``score_tails`` and ``score_heads``.
        triples: what is to be judged, T facts.
        known: facts whose answers do not compete.
        batch_size: questions scored at once; None chooses by the number of entities.

    Returns:
        (T,)
    """
    total = np.zeros(len(triples))
    for side in _sides(model, triples, known, batch_size):
        for rows, scores, own in side:
            highest = np.maximum(scores.max(axis=1), own)
            others = np.exp(scores - highest[:, None]).sum(axis=1)
            total[rows] += own - highest - np.log(others + np.exp(own - highest))
    return total / 2


def _sides(
    model: Any, triples: Triples, known: tuple[Triples, ...], batch_size: int | None
) -> Iterator[Iterator[tuple[slice, Scores, Scores]]]:
    """Heads, then tails: blocks of rows, the scores of all that compete, and of the answers.

    What does not compete, the answer itself among it, has -inf.
    """
    checked_triples(triples)
    questions = Questions(joined(triples, *known))
    heads, relations, tails = triples.heads, triples.relations, triples.tails

    def side(
        score: Callable[[slice], Any], entities: Any, kinds: Any, answers: Any
    ) -> Iterator[tuple[slice, Scores, Scores]]:
        for rows in blocks(len(triples), triples.n_entities, batch_size):
            found = questions.find(entities[rows], kinds[rows])
            scores = checked_scores(score(rows), len(found), triples.n_entities)
            own = np.take_along_axis(scores, answers[rows, None], axis=1)[:, 0]
            yield rows, mask_scores(scores, found), own

    inverse = relations + triples.n_relations
    yield side(lambda rows: model.score_heads(relations[rows], tails[rows]), tails, inverse, heads)
    yield side(
        lambda rows: model.score_tails(heads[rows], relations[rows]), heads, relations, tails
    )


def rank_metrics(ranks: Ranks | ArrayLike) -> dict[str, float]:
    """``mrr`` and ``hits@1``, ``hits@3``, ``hits@10`` of some ranks; NaN where there are none.

    Args:
        ranks: (n,), or the ranks of heads and tails, which count alike.
    """
    values = np.concatenate(ranks) if isinstance(ranks, Ranks) else np.asarray(ranks, dtype=float)
    if values.ndim != 1 or not (values >= 1).all():
        raise ValueError(f"ranks must be numbers of at least 1, got {values}")
    n = values.size or np.nan
    hits = {f"hits@{k}": float((values <= k).sum() / n) for k in _CUTOFFS}
    return {"mrr": float((1 / values).sum() / n), **hits}


def relation_categories(triples: Triples) -> NDArray[np.str_]:
    """(R,) "one-to-one", "one-to-many", "many-to-one" or "many-to-many"; "" without a triple.

    The second word says how many tails a head has, in the mean: from 1.5 on they are many.
    """
    questions = Questions(checked_triples(triples))
    n = 2 * triples.n_relations
    asked = np.bincount(questions.relations, minlength=n)
    answered = np.bincount(questions.relations[questions.answers.users], minlength=n)
    many = answered >= _MANY * np.maximum(asked, 1)
    tails, heads = (np.where(part, "many", "one") for part in np.split(many, 2))
    names = np.char.add(np.char.add(heads, "-to-"), tails)
    return np.where(asked[: triples.n_relations] > 0, names, "")


def rank_table(ranks: Ranks, triples: Triples, train: Triples) -> pd.DataFrame:
    """Metrics of all triples, by direction, by category of relation, and of unseen ones.

    Args:
        ranks: of ``triples``.
        triples: T facts.
        train: says which category a relation has, and which entities a model could know.

    Returns:
        A row for each part and direction: ``n`` ranks, ``mrr``, ``hits@1``, ``hits@3`` and
        ``hits@10``. "unseen" are triples with an entity or relation of no train triple; "all" has
        them too.
    """
    if not len(ranks.heads) == len(ranks.tails) == len(triples):
        raise ValueError(f"ranks must have shape ({len(triples)},), got {ranks.heads.shape}")
    categories = relation_categories(train)
    seen = np.isin(np.arange(triples.n_entities), np.concatenate([train.heads, train.tails]))
    mine = categories[triples.relations]
    parts = {"all": np.ones(len(triples), dtype=bool)}
    parts |= {name: mine == name for name in np.unique(mine).tolist() if name}
    parts["unseen"] = ~(seen[triples.heads] & seen[triples.tails]) | (mine == "")
    rows = {}
    for name, inside in parts.items():
        by_side = {"heads": ranks.heads[inside], "tails": ranks.tails[inside]}
        for side, values in {"both": np.concatenate([*by_side.values()]), **by_side}.items():
            rows[name, side] = {"n": values.size, **rank_metrics(values)}
    return pd.DataFrame(rows).T.astype({"n": int}).rename_axis(["part", "direction"])


def missing_tails(
    model: Any, heads: ArrayLike, relations: ArrayLike, *known: Triples, k: int
) -> Recommendations:
    """The ``k`` most likely tails that are not known: candidates to complete a graph with.

    Args:
        model: has ``score_tails``.
        heads: (B,) entities.
        relations: (B,) one for each head.
        known: facts that need no completion.
        k: candidates for each question, >= 1.

    Returns:
        items (B, k), the tails, best first, and their scores; -1 and -inf where none is left.
    """
    heads, relations = checked_ids(heads, "heads"), checked_ids(relations, "relations")
    if heads.shape != relations.shape:
        raise ValueError(f"relations must have shape {heads.shape}, got {relations.shape}")
    nothing = Histories([], np.zeros(heads.size + 1, dtype=np.int64))
    found = Questions(joined(*known)).find(heads, relations) if known else nothing

    return recommend(_Asked(model, heads, relations), np.arange(heads.size), k=k, exclude=found)


class _Asked:
    """Questions as users, whom tails are recommended to."""

    def __init__(self, model: Any, heads: Ids, relations: Ids) -> None:
        self.model, self.heads, self.relations = model, heads, relations

    def score(self, rows: Ids) -> Scores:
        """(B, E) scores of all tails."""
        scores: Scores = self.model.score_tails(self.heads[rows], self.relations[rows])
        return scores


def cross_fitted(
    fit: Callable[[Triples], Any], triples: Triples, *, n_folds: int = 5, seed: int = 0
) -> Floats:
    """The plausibility of each triple to a model that did not learn from it.

    Both triples of a fact that stands in two directions are left out together, so that none gives
    the other away.

    Args:
        fit: triples to a fitted model, called once for each fold.
        triples: T facts, true and false.
        n_folds: parts that are left out in turn, >= 2.
        seed: of the parts.

    Returns:
        (T,) see :func:`log_probabilities`; the lowest are the most suspicious. Other answers
        compete, so that of two answers to a question with one the less likely is suspicious.
    """
    if n_folds < 2:
        raise ValueError(f"n_folds must be at least 2, got {n_folds}")
    checked_triples(triples)
    ends = np.sort(np.stack([triples.heads, triples.tails]), axis=0)
    keys = (triples.relations * triples.n_entities + ends[0]) * triples.n_entities + ends[1]
    facts, mine = np.unique(keys, return_inverse=True)
    parts = np.random.default_rng(seed).permutation(facts.size) % n_folds
    values = np.empty(len(triples))
    for part in range(n_folds):
        held = parts[mine] == part
        model = fit(chosen(triples, ~held))
        values[held] = log_probabilities(model, chosen(triples, held))
    return values
