"""What is trained: a vector for each entity and each relation, and the loss of their scores.

    softmax     l = -s(h, r, t) + log(sum over all entities e of exp(s(h, r, e)))
    negatives   l = -log sigmoid(gamma + s(h, r, t))
                    - sum over n of p_n log sigmoid(-gamma - s(h, r, n)), halved
                p = softmax over n of s(h, r, n), held fixed;   n: no known answer to (h, r, ?)

    penalty     lambda times the sum of the cubed moduli of h, r and t (N3)

Source: for the softmax T. Lacroix, N. Usunier, G. Obozinski, Canonical Tensor Decomposition for
Knowledge Base Completion, ICML 2018, arXiv:1806.07297, as for N3; for the weighted negatives
Z. Sun, Z.-H. Deng, J.-Y. Nie, J. Tang, RotatE, ICLR 2019, arXiv:1902.10197.
Differences from the paper:
1. A batch holds questions with all their answers, so that answers share the scores (papers: a batch
   holds triples). The loss of a triple is the same.
2. Negatives are never known answers (Sun et al.: any entity).
3. The weights p of the negatives have temperature 1 (Sun et al.: 0.5 on WN18RR).
Chapter: knowledge/embedding
"""

from __future__ import annotations

import math
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reclib.foundations.batching import PairBatch, UserBatch
from reclib.foundations.networks import embedding_table
from reclib.knowledge._questions import Questions
from reclib.knowledge._softmax import total_logsumexp

__all__ = ["LOSSES", "Geometry", "TripleNetwork", "similarities"]

LOSSES = ("softmax", "negatives")
_MARGIN = 6.0  # gamma where distances score, as in RotatE on WN18RR; dot products need none


class Geometry(Protocol):
    """How a relation acts on an entity, and how what comes out is compared with entities."""

    distance: bool  # compare by the negative distance; otherwise by the dot product
    complex: bool  # the first half of a vector is real, the second imaginary
    angles: bool  # a relation is one angle for each complex number

    def act(self, entities: Tensor, relations: Tensor) -> Tensor:
        """(B, D) where relations take entities."""
        ...

    def inverse(self, relations: Tensor) -> Tensor:
        """The relations that lead back."""
        ...


def similarities(queries: Tensor, entities: Tensor, *, distance: bool) -> Tensor:
    """(..., ) scores of vectors that stand beside each other."""
    if distance:
        return -torch.linalg.vector_norm(queries - entities, dim=-1)
    return (queries * entities).sum(-1)


class TripleNetwork(nn.Module):
    """Vectors of entities and relations.

    Args:
        questions: what is asked in training.
        n_entities, n_relations: E and R.
        geometry: TransE's, DistMult's, ...
        dimension: numbers a vector, real or complex, >= 1.
        loss: "softmax" or "negatives".
        regularization: lambda, the price of the cubed moduli behind each answer, >= 0.
        dropout: share of a query's numbers set to 0 while training, in [0, 1).
        seed: for the vectors at the start.
    """

    asked_entities: Tensor  # (Q,)
    asked_relations: Tensor  # (Q,)

    def __init__(
        self,
        questions: Questions,
        n_entities: int,
        n_relations: int,
        *,
        geometry: Geometry,
        dimension: int,
        loss: str = "softmax",
        regularization: float = 0.0,
        dropout: float = 0.0,
        std: float = 0.1,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if dimension < 1:
            raise ValueError(f"dimension must be at least 1, got {dimension}")
        if loss not in LOSSES:
            raise ValueError(f"loss must be one of {LOSSES}, got {loss!r}")
        if not 0 <= regularization < math.inf:
            raise ValueError(f"regularization must be at least 0, got {regularization}")
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout must be in [0, 1), got {dropout}")
        width = dimension * (2 if geometry.complex else 1)
        self.entities = embedding_table(n_entities, width, std=std, seed=seed, stream=0)
        if geometry.angles:  # nearly even around the circle
            self.relations = embedding_table(n_relations, dimension, std=2.0, seed=seed, stream=1)
        else:
            self.relations = embedding_table(n_relations, width, std=std, seed=seed, stream=1)
        for name in ("entities", "relations"):
            asked = torch.tensor(getattr(questions, name))
            self.register_buffer(f"asked_{name}", asked, persistent=False)
        self.geometry, self.kind = geometry, loss
        self.regularization, self.dropout = regularization, dropout

    def forward(self) -> tuple[Tensor, Tensor]:
        """(E, D) entities and (2 R, ·) relations, the inverse ones behind the others."""
        relations = self.relations.weight
        return self.entities.weight, torch.cat([relations, self.geometry.inverse(relations)])

    def loss(self, batch: PairBatch | UserBatch) -> Tensor:
        """Mean over the answers of the batch, plus the penalty."""
        entities, relations = self()
        asked = self.asked_entities[batch.users]
        acting = F.embedding(self.asked_relations[batch.users], relations)
        if isinstance(batch, PairBatch):
            answers = torch.cat([batch.positives, batch.negatives.flatten()])
        else:
            answers = batch.items
        # One lookup, since each leaves a gradient of the size of the table.
        rows = F.embedding(torch.cat([asked, answers]), entities)
        sources, answering = rows[: len(asked)], rows[len(asked) :]
        queries = self.geometry.act(sources, acting)
        queries = F.dropout(queries, self.dropout, training=self.training)
        distance = self.geometry.distance
        if isinstance(batch, PairBatch):
            targets, others = answering[: len(asked)], answering[len(asked) :]
            good = similarities(queries, targets, distance=distance)
            shape = (*batch.negatives.shape, queries.shape[1])
            bad = similarities(queries[:, None], others.view(shape), distance=distance)
            loss = negatives_loss(good, bad, margin=_MARGIN if distance else 0.0)
            return loss + self._penalty(sources, acting, targets)
        own = similarities(queries[batch.rows], answering, distance=distance)
        counts = torch.bincount(batch.rows, minlength=len(queries))
        total = total_logsumexp(queries, entities, counts, distance=distance)
        loss = (total - own.sum()) / len(own)
        return loss + self._penalty(sources, acting, answering, counts)

    def _penalty(
        self, sources: Tensor, acting: Tensor, targets: Tensor, counts: Tensor | None = None
    ) -> Tensor | float:
        """Lambda times the cubed moduli of each answer's triple, a mean over answers."""
        if not self.regularization:
            return 0.0
        asked = self._cubes(sources)
        if not self.geometry.angles:
            asked = asked + self._cubes(acting)
        if counts is not None:
            asked = asked * counts
        return self.regularization * (asked.sum() + self._cubes(targets).sum()) / len(targets)

    def _cubes(self, vectors: Tensor) -> Tensor:
        """(B,) sums of the cubed moduli."""
        if not self.geometry.complex:
            return vectors.abs().pow(3).sum(1)
        real, imaginary = vectors.chunk(2, dim=1)
        return (real.square() + imaginary.square()).clamp(min=1e-20).pow(1.5).sum(1)


def negatives_loss(good: Tensor, bad: Tensor, *, margin: float) -> Tensor:
    """Cross-entropy of true triples against false ones, which count by how true they look.

    Args:
        good: (B,) scores of the true triples.
        bad: (B, N) scores of the false ones.
        margin: gamma, added to all scores.

    Returns:
        Scalar, in nats: the mean over the B rows.
    """
    weights = bad.detach().softmax(dim=1)
    of_bad = (weights * F.logsigmoid(-margin - bad)).sum(1)
    return -(F.logsigmoid(margin + good) + of_bad).mean() / 2
