"""Paths through a knowledge graph: what you took, a fact it shares, an item you do not know yet.

    s(u, i) = sum over j of R[u, j] B[j, i],   B = G W G' + sum over r of w_r L_r + S
    G[i, f]: attributes of item i, a row of length 1;   L_r[j, i] = 1 where (j, r, i) is a fact
    W = (G'CG + lambda I)^-1 G'(C - diag C)G (G'G + mu I)^-1,   C = R'R

The three parts are fitted one after the other, each by least squares to what those before left: W
says which attribute of what you took speaks for which attribute of what you may take, w_r what a
relation between two items is worth, and S, an EASE, what the graph does not explain. S needs
events; the others reach an item that nobody has taken. Taking the diagonal out of C keeps an item
from explaining itself.

All is a sum over paths, so a reason is exact: the fact without which the score would fall most.

Source: the book's own. Its parts: H. Steck, Embarrassingly Shallow Autoencoders for Sparse Data,
WWW 2019 (S); O. Jeunen, J. Van Balen, B. Goethals, Closed-Form Models for Collaborative Filtering
with Side-Information, RecSys 2020, stack attributes and events in one such problem instead.
Differences from the paper: none is reproduced.
Chapter: collaborative/knowledge_aware
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import cho_factor, cho_solve
from scipy.sparse import csr_array

from reclib.collaborative._paths import Attributes, ItemFacts, checked_triples
from reclib.collaborative.linear import regularized_inverse
from reclib.foundations.interactions import Interactions, Triples, checked_ids
from reclib.foundations.recommender import (
    LinearScores,
    blocks,
    checked_train,
    fitted,
    pack,
    unpack,
)

__all__ = ["PathEASE", "reasons"]

Floats = NDArray[np.floating[Any]]
_RIDGE = 1e-3  # of the weights of relations, as a share of their mean square


class PathEASE(LinearScores):
    """Linear item-item weights that follow the graph, and behaviour where there is some.

    A user without history scores 0 everywhere. An item without events is scored by its facts, one
    without events and facts 0. Time grows with I^3 and memory with I^2, as for EASE.

    Args:
        regularization: lambda of W and of S, > 0; larger for sparser data.
        attribute_regularization: mu, > 0; larger trusts common attributes more.
        hops: facts between an item and its furthest attribute, >= 1.
        seed: unused; nothing is random.
    """

    def __init__(
        self,
        *,
        regularization: float = 500.0,
        attribute_regularization: float = 0.3,
        hops: int = 3,
        seed: int = 0,
    ) -> None:
        self.regularization = regularization
        self.attribute_regularization = attribute_regularization
        self.hops = hops
        self.seed = seed

    def fit(self, train: Interactions, *, triples: Triples | None = None) -> Self:
        """Solve for all weights.

        Args:
            train: the histories of the users.
            triples: facts; item i is entity i.
        """
        history = checked_train(train).matrix().astype(np.float32)
        self._check_options()
        n_items = train.n_items
        graph = checked_triples(triples, n_items)
        attributes = Attributes.of(graph, n_items, self.hops).shared(graph, n_items)
        facts = ItemFacts.of(graph, n_items)
        gram = (history.T @ history).toarray(order="F")
        seen = np.diag(gram) > 0
        self.history_, self.triples_, self.attributes_ = history, graph, attributes
        self.attribute_weights_ = _attribute_weights(
            attributes.matrix(facts, n_items),
            gram,
            seen,
            self.regularization,
            self.attribute_regularization,
        )
        self.relation_weights_ = np.zeros(2 * graph.n_relations, dtype=np.float32)
        paths = self._weights_of_paths()
        self.relation_weights_ = _relation_weights(facts, gram, paths, seen, graph.n_relations)
        self.behavior_weights_ = _remainder(
            gram, self._weights_of_paths(), seen, self.regularization
        )
        self._join()
        return self

    def without(self, heads: ArrayLike, relations: ArrayLike, tails: ArrayLike) -> PathEASE:
        """The same weights over a graph that lacks some facts.

        Args:
            heads: (n,) of the facts to take out; each fact must be in the graph.
            relations: (n,).
            tails: (n,).
        """
        graph = fitted(self, "triples_")
        given = Triples(heads, relations, tails, graph.n_entities, graph.n_relations)
        gone, known = _keys(given), _keys(graph)
        missing = ~np.isin(gone, known)
        if missing.any():
            n = int(np.argmax(missing))
            fact = tuple(int(each[n]) for each in (given.heads, given.relations, given.tails))
            raise ValueError(f"facts must be in the graph, got {fact}")
        kept = ~np.isin(known, gone)
        other = copy.copy(self)
        heads, relations, tails = (c[kept] for c in (graph.heads, graph.relations, graph.tails))
        rest = Triples(heads, relations, tails, graph.n_entities, graph.n_relations)
        other.triples_ = rest
        step = Attributes.of(rest, self.history_.shape[1], self.hops)
        other.attributes_ = _with_columns(step, self.attributes_.keys)
        other._join()
        return other

    def state(self) -> dict[str, NDArray[Any]]:
        """What was learned, as arrays, with the facts."""
        graph, attributes = fitted(self, "triples_"), self.attributes_
        beyond = csr_array(attributes.beyond)
        return pack(self, *_LEARNED) | {
            "triples": np.stack([graph.heads, graph.relations, graph.tails]),
            "sizes": np.array([graph.n_entities, graph.n_relations]),
            "keys": attributes.keys,
            "beyond": np.stack(beyond.nonzero()),
        }

    def set_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take up what was learned elsewhere."""
        unpack(self, state, *_LEARNED)
        n_entities, n_relations = (int(size) for size in state["sizes"])
        heads, relations, tails = state["triples"]
        self.triples_ = Triples(heads, relations, tails, n_entities, n_relations)
        rows, columns = state["beyond"]
        shape = (n_entities, len(state["keys"]))
        beyond = csr_array((np.ones(rows.size), (rows, columns)), shape=shape)
        self.attributes_ = Attributes(state["keys"], beyond)
        self._join()

    def _weights_of_paths(self) -> NDArray[np.float32]:
        """(I, I) what the graph gives: G W G' and the facts that join two items."""
        n_items = self.history_.shape[1]
        facts = ItemFacts.of(self.triples_, n_items)
        matrix = self.attributes_.matrix(facts, n_items).astype(np.float32)
        weights: NDArray[np.float32] = matrix @ (matrix @ self.attribute_weights_.T).T
        np.fill_diagonal(weights, 0)
        np.add.at(weights, (facts.sources, facts.targets), self.relation_weights_[facts.kinds])
        return weights

    def _join(self) -> None:
        self.item_weights_ = self._weights_of_paths() + self.behavior_weights_

    def _check_options(self) -> None:
        for name in ("regularization", "attribute_regularization"):
            if not 0 < getattr(self, name) < np.inf:
                raise ValueError(f"{name} must be above 0, got {getattr(self, name)}")
        if self.hops < 1:
            raise ValueError(f"hops must be at least 1, got {self.hops}")


_LEARNED = ("history_", "attribute_weights_", "relation_weights_", "behavior_weights_")


def _attribute_weights(
    matrix: csr_array, gram: Floats, seen: NDArray[np.bool_], regularization: float, mu: float
) -> NDArray[np.float32]:
    """(F, F) W; only items that somebody took are explained."""
    targets = csr_array(matrix * seen[:, None])
    identity = np.eye(matrix.shape[1])
    taken = matrix.T @ gram  # (F, I)
    left = (matrix.T @ taken.T).T + regularization * identity
    right = (targets.T @ (taken - (matrix * np.diag(gram)[:, None]).T.toarray()).T).T
    norm = (targets.T @ targets).toarray() + mu * identity
    if not identity.size:
        return np.zeros((0, 0), dtype=np.float32)
    solved = cho_solve(cho_factor(left), right)
    weights: NDArray[np.float32] = cho_solve(cho_factor(norm), solved.T).T.astype(np.float32)
    return weights


def _relation_weights(
    facts: ItemFacts, gram: Floats, paths: Floats, seen: NDArray[np.bool_], n_relations: int
) -> NDArray[np.float32]:
    """(2R,) w, the least squares for what the attributes left."""
    weights = np.zeros(2 * n_relations, dtype=np.float32)
    judged = seen[facts.targets]
    sources, targets, kinds = (each[judged] for each in (facts.sources, facts.targets, facts.kinds))
    present, places = np.unique(kinds, return_inverse=True)
    if not present.size:
        return weights
    squares = np.empty((present.size, present.size))
    for n in range(present.size):
        chosen = places == n
        link = csr_array(
            (np.ones(chosen.sum()), (sources[chosen], targets[chosen])), shape=gram.shape
        )
        reached = link.T @ gram  # (I, I), target by source
        squares[n] = np.bincount(places, reached[targets, sources], present.size)
    found = np.empty(sources.size)
    for block in blocks(sources.size, len(gram), None):
        found[block] = (gram[sources[block]] * paths.T[targets[block]]).sum(1)
    left = np.bincount(places, gram[sources, targets] - found, present.size)
    squares[np.diag_indices(present.size)] += _RIDGE * np.trace(squares) / present.size
    weights[present] = np.linalg.solve(squares, left)
    return weights


def _remainder(
    gram: NDArray[np.float32], paths: Floats, seen: NDArray[np.bool_], regularization: float
) -> NDArray[np.float32]:
    """(I, I) S: EASE for R - R B, nothing to and from items without events; ``gram`` is used up.

    With P = (C + lambda I)^-1 the least squares are S = P C (I - B) less what empties the diagonal
    of the first term, and P C = I - lambda P.
    """
    inverse = regularized_inverse(gram, regularization)
    rest = -paths
    rest[np.diag_indices_from(rest)] += 1  # I - B
    rest -= np.float32(regularization) * (inverse @ rest)
    rest -= inverse * (rest.diagonal() / inverse.diagonal())
    rest[~seen], rest[:, ~seen] = 0, 0
    return rest


def _keys(triples: Triples) -> NDArray[np.int64]:
    """(T,) a number for each fact."""
    pairs = triples.heads * triples.n_relations + triples.relations
    return pairs * triples.n_entities + triples.tails


def _with_columns(attributes: Attributes, keys: NDArray[np.int64]) -> Attributes:
    """The same with given columns; those that no fact leads to any more are empty."""
    rows, columns = attributes.beyond.nonzero()
    places = np.searchsorted(keys, attributes.keys[columns])
    same = np.append(keys, -1)[places] == attributes.keys[columns]
    shape = (attributes.beyond.shape[0], keys.size)
    return Attributes(keys, csr_array((np.ones(same.sum()), (rows[same], places[same])), shape))


def reasons(model: PathEASE, user: int, item: int, *, k: int = 3) -> pd.DataFrame:
    """Why a user may want an item: the facts about it that carry most of its score.

    ``effect`` is exact: so much less is the score in ``model.without`` this fact.

    Args:
        model: fitted.
        user: a fitted user.
        item: an item that the user has not taken.
        k: at most so many facts, >= 1; those that do not speak for the item are left out.

    Returns:
        One row a fact, strongest first: product (the item of the history to which most of the
        effect goes back), head, relation, tail, effect.
    """
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    history = fitted(model, "history_")
    [row] = checked_ids([user], "user", history.shape[0])
    [target] = checked_ids([item], "item", history.shape[1])
    taken = history[[row]].toarray()[0]  # (I,)
    if taken[target]:
        raise ValueError(f"item must not be in the user's history, got {item}")
    graph, facts = model.triples_, ItemFacts.of(model.triples_, history.shape[1])
    found = pd.concat([_shared(model, facts, taken, target), _joined(model, facts, taken, target)])
    # One fact may work in both directions.
    total = found.groupby("fact")["effect"].sum()
    found = found.sort_values("effect", ascending=False, kind="stable").drop_duplicates("fact")
    found["effect"] = total[found["fact"]].to_numpy()
    found = found[found["effect"] > 0].nlargest(k, "effect")
    fact = found["fact"].to_numpy(np.int64)
    columns = {"head": graph.heads, "relation": graph.relations, "tail": graph.tails}
    named = {name: column[fact] for name, column in columns.items()}
    return pd.DataFrame(
        {"product": found["product"].to_numpy(np.int64), **named, "effect": found["effect"].array}
    )


def _shared(model: PathEASE, facts: ItemFacts, taken: Floats, item: np.int64) -> pd.DataFrame:
    """Fact, product and effect of the attributes of an item: its row of G with and without."""
    own = np.flatnonzero(facts.items == item)
    n = own.size
    copies, places = np.nonzero(~np.eye(n + 1, n, dtype=bool))  # the last one lacks nothing
    rows = model.attributes_.rows(
        copies, facts.relations[own][places], facts.entities[own][places], n + 1
    ).toarray()
    lost = rows[-1] - rows[:-1]  # (n, F)
    products = np.flatnonzero(taken)
    matrix = model.attributes_.matrix(facts, taken.size)[products]
    parts = taken[products, None] * (matrix @ model.attribute_weights_ @ lost.T)  # (history, n)
    best = products[parts.argmax(axis=0)] if products.size else np.full(n, -1)
    return pd.DataFrame({"fact": facts.facts[own], "product": best, "effect": parts.sum(axis=0)})


def _joined(model: PathEASE, facts: ItemFacts, taken: Floats, item: np.int64) -> pd.DataFrame:
    """The same of the facts between the item and one of the history."""
    own = np.flatnonzero((facts.targets == item) & (taken[facts.sources] > 0))
    product = facts.sources[own]
    effect = taken[product] * model.relation_weights_[facts.kinds[own]]
    return pd.DataFrame({"fact": facts.rows[own], "product": product, "effect": effect})
