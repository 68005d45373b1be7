"""Three ways to let a network read a knowledge graph: as more data, as a filter, as neighbours.

    CFKG: s(u, i) = (x_u + taking) . e_i,   and for facts (x_h + r) . e_t, one space for all
    KGCN: s(u, i) = z_u[i] + sum over facts (i, r, t) of softmax(u . r) z_u[t],   z_u = E x_u
    KGAT: e <- f((e + n) W) + f((e * n) V),   n[h] = sum over (h, r, t) of a(h, r, t) e[t]
          a = softmax over the edges of h of (W_r e_t) . tanh(W_r e_h + r),   users are nodes too

Item i is entity i. The loss of all three is the softmax over the items that somebody took. An item
without events has what the graph gives it, and is scored like any other; so is an item whose facts
the model never saw: by its vector at the start (CFKG, KGAT), or 0 (KGCN).

Source: CFKG: Y. Zhang, Q. Ai, X. Chen, P. Wang, Learning over Knowledge-Base Embeddings for
Recommendation, SIGIR 2018 workshop, arXiv:1803.06540. KGCN: H. Wang, M. Zhao, X. Xie, W. Li,
M. Guo, Knowledge Graph Convolutional Networks for Recommender Systems, WWW 2019, arXiv:1904.12575.
KGAT: X. Wang, X. He, Y. Cao, M. Liu, T.-S. Chua, KGAT: Knowledge Graph Attention Network for
Recommendation, KDD 2019, arXiv:1905.07854.
Differences from the paper:
1. Softmax over all items with events (CFKG: a few negatives; KGCN: binary; KGAT: BPR).
2. CFKG's facts meet all entities in a softmax too (paper: a few negatives), read both ways.
3. KGCN has no weight matrix and no tanh between its steps, as LightGCN has none, and reads all
   facts of a node (paper: K drawn ones); an item without events has no vector of its own.
4. KGAT's score is a cosine over a temperature (paper: the dot product); all layers have one size
   (paper: 64, 32, 16), no bias and no dropout; the facts are learned in the same step (paper: in
   turns). Attention is worked out once an epoch, without gradient, as in the authors' code.
Chapter: collaborative/knowledge_aware
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from reclib.collaborative._factors import FactorScores, train_factors
from reclib.collaborative._knowledge_networks import CFKGNetwork, KGATNetwork, KGCNNetwork
from reclib.collaborative._paths import checked_triples
from reclib.foundations.batching import UserRows
from reclib.foundations.interactions import Interactions, Triples, checked_ids
from reclib.foundations.recommender import (
    Scores,
    blocks,
    checked_candidates,
    checked_train,
    fitted,
    take_candidates,
)
from reclib.foundations.training import History, Options, fit, ranking_validation

__all__ = ["CFKG", "KGAT", "KGCN"]

_TRAINING = Options(epochs=20, batch_size=512, learning_rate=0.01)
_MOST_FACTS = 4096  # drawn for one step


def _facts_a_step(train: Interactions, triples: Triples, batch_size: int) -> int:
    """So many that an epoch sees each fact about once, from either end."""
    steps = -(-np.unique(train.users).size // batch_size)
    return int(np.clip(-(-2 * len(triples) // steps), 1, _MOST_FACTS))


class CFKG(FactorScores):
    """Users, items and all other entities in one space, where a relation is a step.

    Facts put an item without events beside items that share them. A user without events scores 0
    everywhere.

    Args:
        factors: D, size of each vector, >= 1.
        fact_weight: what a fact counts beside an event, >= 0; 0 leaves the graph out.
        regularization: lambda, the price of the squared rows behind each event, >= 0.
        training: epochs, batch size (users), learning rate, ...
        seed: for the vectors at the start, the order of the data, the facts drawn.
    """

    history_: History

    def __init__(
        self,
        *,
        factors: int = 64,
        fact_weight: float = 0.1,
        regularization: float = 0.1,
        training: Options = _TRAINING,
        seed: int = 0,
    ) -> None:
        self.factors = factors
        self.fact_weight = fact_weight
        self.regularization = regularization
        self.training = training
        self.seed = seed

    def fit(
        self,
        train: Interactions,
        *,
        validation: Interactions | None = None,
        triples: Triples | None = None,
    ) -> Self:
        """Learn from events, repeats counting once, and from facts; item i is entity i.

        With ``validation``, nDCG@10 on it is watched and the best epoch kept.
        """
        taken = checked_train(train).deduplicated()
        graph = checked_triples(triples, train.n_items)
        network = CFKGNetwork(
            taken,
            graph,
            factors=self.factors,
            regularization=self.regularization,
            fact_weight=self.fact_weight,
            n_facts=_facts_a_step(taken, graph, self.training.batch_size),
            seed=self.seed,
        )
        self.history_ = train_factors(
            self,
            network,
            taken,
            validation,
            training=self.training,
            zero_items=False,
            seed=self.seed,
        )
        return self


class KGAT(FactorScores):
    """Attention over one graph of users, items and entities, and what its layers make of a node.

    A user without events scores 0 everywhere.

    Args:
        factors: D, size of a layer, >= 1; vectors have (1 + layers) D numbers.
        layers: >= 1.
        fact_weight: what the facts, which teach attention, count beside the events, >= 0.
        temperature: divides the cosines, > 0.
        regularization: lambda, the price of the squared rows behind each event, >= 0.
        training: epochs, batch size (users), learning rate, ...
        seed: for the weights at the start, the order of the data, the facts drawn.
    """

    history_: History

    def __init__(
        self,
        *,
        factors: int = 32,
        layers: int = 2,
        fact_weight: float = 0.5,
        temperature: float = 0.2,
        regularization: float = 0.01,
        training: Options = _TRAINING,
        seed: int = 0,
    ) -> None:
        self.factors = factors
        self.layers = layers
        self.fact_weight = fact_weight
        self.temperature = temperature
        self.regularization = regularization
        self.training = training
        self.seed = seed

    def fit(
        self,
        train: Interactions,
        *,
        validation: Interactions | None = None,
        triples: Triples | None = None,
    ) -> Self:
        """Learn from events, repeats counting once, and from facts; item i is entity i.

        With ``validation``, nDCG@10 on it is watched and the best epoch kept.
        """
        taken = checked_train(train).deduplicated()
        graph = checked_triples(triples, train.n_items)
        size = self.training.batch_size
        network = KGATNetwork(
            taken,
            graph,
            layers=self.layers,
            refresh=UserRows(taken, batch_size=size).steps(),
            factors=self.factors,
            regularization=self.regularization,
            temperature=self.temperature,
            fact_weight=self.fact_weight,
            n_facts=_facts_a_step(taken, graph, size),
            seed=self.seed,
        )
        self.history_ = train_factors(
            self,
            network,
            taken,
            validation,
            training=self.training,
            zero_items=False,
            seed=self.seed,
        )
        return self


class KGCN:
    """Scores that each user's own view of the relations spreads along the facts.

    A user without events scores 0 everywhere.

    Args:
        factors: D, size of each vector, >= 1.
        layers: H, facts between an item and the furthest entity that it hears of, >= 1.
        regularization: lambda, the price of the squared vectors of each event's user and item, >=
            0; entities are free, so that it is cheaper to explain events by facts.
        training: epochs, batch size (users), learning rate, ...
        seed: for the vectors at the start and the order of the data.
    """

    network_: KGCNNetwork
    history_: History

    def __init__(
        self,
        *,
        factors: int = 32,
        layers: int = 1,
        regularization: float = 0.01,
        training: Options = _TRAINING,
        seed: int = 0,
    ) -> None:
        self.factors = factors
        self.layers = layers
        self.regularization = regularization
        self.training = training
        self.seed = seed

    def fit(
        self,
        train: Interactions,
        *,
        validation: Interactions | None = None,
        triples: Triples | None = None,
    ) -> Self:
        """Learn from events, repeats counting once; item i is entity i.

        With ``validation``, nDCG@10 on it is watched and the best epoch kept.
        """
        taken = checked_train(train).deduplicated()
        graph = checked_triples(triples, train.n_items)
        if not 0 <= self.regularization < np.inf:
            raise ValueError(f"regularization must be at least 0, got {self.regularization}")
        known = taken.item_counts() > 0
        network = self._network(graph, train.n_users, known)
        absent = np.bincount(taken.users, minlength=train.n_users) == 0
        with torch.no_grad():  # no batch has them, so they stay at 0
            network.users.weight[torch.from_numpy(absent)] = 0
        batches = UserRows(taken, batch_size=self.training.batch_size, seed=self.seed)
        self.network_, self.triples_, self.known_ = network, graph, known
        watch = None if validation is None else ranking_validation(self, taken, validation)
        self.history_ = fit(network, batches, replace(self.training, seed=self.seed), watch)
        return self

    @torch.inference_mode()
    def score(self, users: ArrayLike, items: ArrayLike | None = None) -> Scores:
        """(B, I) float32 scores of fitted users, or (B, C) for the candidates ``items`` (B, C)."""
        network = fitted(self, "network_")
        device = network.users.weight.device
        rows = checked_ids(users, "users", network.users.num_embeddings)
        if items is not None:
            checked_candidates(items, len(rows), network.n_items)
        scores = torch.empty(len(rows), network.n_items)
        width = 2 * len(self.triples_) + network.own.shape[0]
        for block in blocks(len(rows), width, None):
            scores[block] = network(torch.from_numpy(rows[block]).to(device)).cpu()
        return take_candidates(scores.numpy(), items)

    def state(self) -> dict[str, NDArray[Any]]:
        """What was learned, as arrays, with the facts."""
        weights = fitted(self, "network_").state_dict()
        graph = self.triples_
        return {name: tensor.cpu().numpy() for name, tensor in weights.items()} | {
            "triples": np.stack([graph.heads, graph.relations, graph.tails]),
            "sizes": np.array([graph.n_entities, graph.n_relations]),
            "known": self.known_,
        }

    def set_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take up what was learned elsewhere."""
        weights = {name: torch.tensor(array) for name, array in state.items() if "." in name}
        n_entities, n_relations = (int(size) for size in state["sizes"])
        heads, relations, tails = state["triples"]
        self.triples_ = Triples(heads, relations, tails, n_entities, n_relations)
        self.known_ = state["known"].astype(bool)
        self.network_ = self._network(self.triples_, len(weights["users.weight"]), self.known_)
        self.network_.load_state_dict(weights)
        self.network_.eval()

    def _network(self, triples: Triples, n_users: int, known: NDArray[np.bool_]) -> KGCNNetwork:
        """The network before training."""
        return KGCNNetwork(
            triples,
            n_users,
            known.size,
            known,
            factors=self.factors,
            layers=self.layers,
            regularization=self.regularization,
            seed=self.seed,
        )
