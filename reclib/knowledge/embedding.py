"""Entities as points or arrows, relations as what takes one to another: four ways to say how.

    TransE     s(h, r, t) = -d(h + r, t)                a relation shifts; d: Euclidean distance
    DistMult   s(h, r, t) = sum over k of h_k r_k t_k   a relation weighs
    ComplEx    s(h, r, t) = Re(sum over k of h_k r_k conj(t_k)),  complex numbers
    RotatE     s(h, r, t) = -d(h r, t),  complex numbers, r_k = exp(i theta_k): a relation turns

Each is a query, made of head and relation, that is compared with every entity, by the dot product
or the distance. Heads are found the same way, by the inverse relation, which needs no numbers of
its own: -r, r, conj(r), -theta.

Source: A. Bordes et al., Translating Embeddings for Modeling Multi-relational Data, NIPS 2013;
B. Yang et al., Embedding Entities and Relations for Learning and Inference in Knowledge Bases, ICLR
2015, arXiv:1412.6575; T. Trouillon et al., Complex Embeddings for Simple Link Prediction, ICML
2016, arXiv:1606.06357; Z. Sun et al., RotatE, ICLR 2019, arXiv:1902.10197.
Differences from the paper:
1. All four learn by the softmax over all entities, for tails and heads (papers: TransE a margin,
   DistMult a margin, ComplEx the logistic loss, RotatE weighted negatives; the last is here
   ``loss="negatives"``).
2. The distance is the Euclidean norm, not its square (TransE: L1 or L2; RotatE: the sum of the
   moduli of the complex differences).
3. TransE's entities have any length (paper: length 1).
4. Penalty: the cubed moduli, N3 (DistMult, ComplEx: squares; TransE, RotatE: none).
Chapter: knowledge/embedding
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from reclib.foundations.batching import Pairs, UserRows
from reclib.foundations.interactions import Triples, checked_ids
from reclib.foundations.recommender import fitted, pack, unpack
from reclib.foundations.training import History, Options, fit
from reclib.knowledge._network import TripleNetwork, similarities
from reclib.knowledge._questions import Questions, checked_triples
from reclib.knowledge.completion import filtered_ranks, rank_metrics

__all__ = ["ComplEx", "DistMult", "RotatE", "TransE"]

Scores = NDArray[np.float32]
_TRAINING = Options(epochs=20, batch_size=512, learning_rate=0.1, optimizer="adagrad")


class _Embedding:
    """What the four share: everything but how a relation acts.

    ``fit`` sets ``entity_vectors_`` (E, D) and ``relation_vectors_`` (R, D), float32.
    """

    distance = False
    complex = False
    angles = False
    std = 0.1

    entity_vectors_: Scores
    relation_vectors_: Scores
    history_: History

    def __init__(
        self,
        *,
        dimension: int = 64,
        loss: Literal["softmax", "negatives"] = "softmax",
        n_negatives: int = 64,
        regularization: float = 0.0,
        dropout: float = 0.0,
        training: Options = _TRAINING,
        seed: int = 0,
    ) -> None:
        self.dimension = dimension
        self.loss = loss
        self.n_negatives = n_negatives
        self.regularization = regularization
        self.dropout = dropout
        self.training = training
        self.seed = seed

    def act(self, entities: Tensor, relations: Tensor) -> Tensor:
        """(B, D) where relations take entities."""
        raise NotImplementedError

    def inverse(self, relations: Tensor) -> Tensor:
        """The relations that lead back."""
        raise NotImplementedError

    def fit(self, triples: Triples, *, validation: Triples | None = None) -> Self:
        """Learn from ``triples``, repeats counting once.

        With ``validation``, the filtered mean reciprocal rank on it is watched and the best epoch
        kept. An entity without triples ends where its being nobody's answer has pushed it.
        """
        questions = Questions(checked_triples(triples))
        network = TripleNetwork(
            questions,
            triples.n_entities,
            triples.n_relations,
            geometry=self,
            dimension=self.dimension,
            loss=self.loss,
            regularization=self.regularization,
            dropout=self.dropout,
            std=self.std,
            seed=self.seed,
        )
        batches: UserRows | Pairs
        size = self.training.batch_size
        if self.loss == "softmax":
            batches = UserRows(questions.answers, batch_size=size, seed=self.seed)
        else:
            batches = Pairs(
                questions.answers, batch_size=size, n_negatives=self.n_negatives, seed=self.seed
            )

        def take() -> None:
            tables = network.entities.weight, network.relations.weight
            self.entity_vectors_, self.relation_vectors_ = (
                table.detach().cpu().numpy().copy() for table in tables
            )

        watch = None
        if validation is not None:
            checked_triples(validation, "validation")

            def watch() -> dict[str, float]:
                take()
                ranks = filtered_ranks(self, validation, triples)
                return {"mrr": rank_metrics(ranks)["mrr"]}

        self.history_ = fit(network, batches, replace(self.training, seed=self.seed), watch)
        take()
        return self

    def score(self, heads: ArrayLike, relations: ArrayLike, tails: ArrayLike) -> Scores:
        """(B,) scores of triples."""
        queries = self._queries(heads, relations, "heads")
        places = checked_ids(tails, "tails", len(self.entity_vectors_))
        if len(places) != len(queries):
            raise ValueError(f"tails must have shape ({len(queries)},), got {places.shape}")
        targets = torch.from_numpy(self.entity_vectors_[places])
        return similarities(queries, targets, distance=self.distance).numpy()

    def score_tails(self, heads: ArrayLike, relations: ArrayLike) -> Scores:
        """(B, E) scores of every entity as the tail."""
        return self._against_all(self._queries(heads, relations, "heads"))

    def score_heads(self, relations: ArrayLike, tails: ArrayLike) -> Scores:
        """(B, E) scores of every entity as the head."""
        return self._against_all(self._queries(tails, relations, "tails"))

    def state(self) -> dict[str, NDArray[Any]]:
        """What was learned, as arrays."""
        fitted(self, "entity_vectors_")
        return pack(self, "entity_vectors_", "relation_vectors_")

    def set_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take up what was learned elsewhere."""
        unpack(self, state, "entity_vectors_", "relation_vectors_")

    def _queries(self, entities: ArrayLike, relations: ArrayLike, name: str) -> Tensor:
        """(B, D) where the relations take heads, or the inverse relations tails."""
        known = fitted(self, "entity_vectors_")
        places = checked_ids(entities, name, len(known))
        kinds = checked_ids(relations, "relations", len(self.relation_vectors_))
        if places.shape != kinds.shape:
            raise ValueError(f"relations must have shape {places.shape}, got {kinds.shape}")
        acting = torch.from_numpy(self.relation_vectors_[kinds])
        acting = acting if name == "heads" else self.inverse(acting)
        return self.act(torch.from_numpy(known[places]), acting)

    def _against_all(self, queries: Tensor) -> Scores:
        entities = torch.from_numpy(self.entity_vectors_)
        if self.distance:
            mode = "use_mm_for_euclid_dist"
            return -torch.cdist(queries, entities, compute_mode=mode).numpy()
        return (queries @ entities.T).numpy()


class TransE(_Embedding):
    """A relation is a shift."""

    distance = True

    def act(self, entities: Tensor, relations: Tensor) -> Tensor:
        """The sums h_k + r_k."""
        return entities + relations

    def inverse(self, relations: Tensor) -> Tensor:
        """The shift back."""
        return -relations


class DistMult(_Embedding):
    """A relation is a weight for each number, the same in both directions."""

    def act(self, entities: Tensor, relations: Tensor) -> Tensor:
        """The products h_k r_k."""
        return entities * relations

    def inverse(self, relations: Tensor) -> Tensor:
        """The relation itself: DistMult cannot tell head from tail."""
        return relations


class ComplEx(_Embedding):
    """A relation is a complex weight for each complex number."""

    complex = True

    def act(self, entities: Tensor, relations: Tensor) -> Tensor:
        """The complex products h_k r_k."""
        return _product(entities, *relations.chunk(2, dim=-1))

    def inverse(self, relations: Tensor) -> Tensor:
        """The conjugate of r."""
        real, imaginary = relations.chunk(2, dim=-1)
        return torch.cat([real, -imaginary], dim=-1)


class RotatE(_Embedding):
    """A relation is an angle for each complex number."""

    distance = True
    complex = True
    angles = True

    def act(self, entities: Tensor, relations: Tensor) -> Tensor:
        """h_k turned by theta_k."""
        return _product(entities, relations.cos(), relations.sin())

    def inverse(self, relations: Tensor) -> Tensor:
        """The angles the other way."""
        return -relations


def _product(vectors: Tensor, real: Tensor, imaginary: Tensor) -> Tensor:
    """Complex products; real parts stand before imaginary ones."""
    of_real, of_imaginary = vectors.chunk(2, dim=-1)
    return torch.cat(
        [of_real * real - of_imaginary * imaginary, of_real * imaginary + of_imaginary * real],
        dim=-1,
    )
