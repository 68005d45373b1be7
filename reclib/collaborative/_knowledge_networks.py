"""The networks of the models that read a graph: sums along edges, attention, and losses of facts.

    n[h] = sum over edges (h, r, t) of a(h, r, t) e[t]
    softmax over the items that somebody took; one without events was no choice to be refused

Source: see ``reclib.collaborative.knowledge_aware``.
Differences from the paper: see there.
Chapter: collaborative/knowledge_aware
"""

from __future__ import annotations

import warnings
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from reclib.collaborative._factors import FactorNetwork
from reclib.foundations.batching import PairBatch, UserBatch
from reclib.foundations.interactions import Interactions, Triples
from reclib.foundations.networks import embedding_table, total_logsumexp

__all__ = ["CFKGNetwork", "EdgeSum", "KGATNetwork", "KGCNNetwork", "edge_softmax"]

Ids = NDArray[np.int64]


class _EdgeSum(torch.autograd.Function):
    """A sparse product whose gradient is the product with the transpose."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, values: Tensor, edges: EdgeSum) -> Tensor:
        ctx.values, ctx.edges = values, edges
        with torch.autocast(x.device.type, enabled=False):
            return edges.matrix("there", values) @ x.to(values.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        values = ctx.values[ctx.edges.back_order]
        return ctx.edges.matrix("back", values) @ gradients[0].to(values.dtype), None, None


class EdgeSum(nn.Module):
    """For each head the weighted sum of the rows of its tails; no parameters.

    Args:
        heads, tails: (A,) ends of the edges, below ``n_heads`` and ``n_tails``.
        n_heads, n_tails: rows that come out, rows that go in.

    Attributes:
        order: (A,) which edge stands where; values come in this order.
    """

    def __init__(self, heads: Ids, tails: Ids, n_heads: int, n_tails: int) -> None:
        super().__init__()
        self.shape = n_heads, n_tails
        self.order = np.lexsort((tails, heads))
        heads, tails = heads[self.order], tails[self.order]
        back = np.lexsort((heads, tails))
        self._keep("there", heads, tails, n_heads)
        self._keep("back", tails[back], heads[back], n_tails)
        self.register_buffer("back_order", torch.from_numpy(back), persistent=False)

    def _keep(self, side: str, rows: Ids, columns: Ids, n_rows: int) -> None:
        starts = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=n_rows))])
        for part, values in (("starts", starts), ("columns", columns)):
            tensor = torch.from_numpy(values.astype(np.int32))
            self.register_buffer(f"{side}_{part}", tensor, persistent=False)

    def matrix(self, side: str, values: Tensor) -> Tensor:
        """The sparse matrix, or its transpose for ``back``."""
        starts, columns = getattr(self, f"{side}_starts"), getattr(self, f"{side}_columns")
        shape = self.shape if side == "there" else self.shape[::-1]
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")
            return torch.sparse_csr_tensor(starts, columns, values, shape, check_invariants=False)

    def forward(self, x: Tensor, values: Tensor) -> Tensor:
        """(n_heads, D) from (n_tails, D) and the values (A,), which get no gradient."""
        return cast(Tensor, _EdgeSum.apply(x, values, self))


def edge_softmax(scores: Tensor, heads: Tensor, n_heads: int) -> Tensor:
    """(A,) the softmax of the scores (A,) over the edges of each head."""
    highest = torch.full((n_heads,), -torch.inf, dtype=scores.dtype, device=scores.device)
    highest.scatter_reduce_(0, heads, scores, "amax")
    weights = (scores - highest[heads]).exp()
    return weights / torch.zeros_like(highest).index_add_(0, heads, weights)[heads]


def _both_ways(triples: Triples) -> tuple[Ids, Ids, Ids]:
    """Heads, relations and tails, and the same facts read back with relations R higher."""
    heads = np.concatenate([triples.heads, triples.tails])
    tails = np.concatenate([triples.tails, triples.heads])
    return (
        heads,
        np.concatenate([triples.relations, triples.relations + triples.n_relations]),
        tails,
    )


class _KnowledgeNetwork(FactorNetwork):
    """Vectors of users and entities that answer for events and for facts.

    Args:
        train: who took what.
        triples: the facts; item i is entity i.
        factors, regularization, temperature, seed: as in ``FactorNetwork``.
        fact_weight: what the loss of the facts counts beside that of the events, >= 0.
        n_facts: facts drawn for each step, >= 1.
    """

    known: Tensor
    facts: Tensor

    def __init__(
        self,
        train: Interactions,
        triples: Triples,
        *,
        factors: int,
        regularization: float,
        fact_weight: float,
        n_facts: int,
        temperature: float | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(
            train.n_users,
            triples.n_entities,
            factors=factors,
            regularization=regularization,
            temperature=temperature,
            seed=seed,
        )
        if not 0 <= fact_weight < np.inf:
            raise ValueError(f"fact_weight must be at least 0, got {fact_weight}")
        self.n_items, self.n_entities = train.n_items, triples.n_entities
        self.fact_weight, self.n_facts = fact_weight, n_facts
        known = torch.from_numpy(np.flatnonzero(train.item_counts()))
        self.register_buffer("known", known, persistent=False)
        facts = torch.from_numpy(np.stack(_both_ways(triples)))  # (3, 2T)
        self.register_buffer("facts", facts, persistent=False)

    def loss(self, batch: PairBatch | UserBatch) -> Tensor:
        """Mean over the events of the batch, the penalty, and the facts."""
        assert isinstance(batch, UserBatch)
        users, items = self()
        queries = F.embedding(batch.users, users)  # (B, D)
        own = (F.embedding(batch.rows, queries) * F.embedding(batch.items, items)).sum(1)  # (P,)
        events = torch.bincount(batch.rows, minlength=len(queries))  # (B,)
        every = total_logsumexp(queries, F.embedding(self.known, items), events)
        loss = (every - own.sum()) / len(own)
        loss = loss + self._penalty(batch.users[batch.rows], batch.items)
        if not self.fact_weight or not self.facts.shape[1]:
            return loss
        drawn = torch.randint(self.facts.shape[1], (self.n_facts,), device=self.facts.device)
        return loss + self.fact_weight * self.fact_loss(self.facts[:, drawn])

    def fact_loss(self, facts: Tensor) -> Tensor:
        """Mean over facts (3, n): heads, relations, tails."""
        raise NotImplementedError


class CFKGNetwork(_KnowledgeNetwork):
    """Everything is an entity, and taking is one more relation: head + relation points at tail."""

    def __init__(self, train: Interactions, triples: Triples, **options: Any) -> None:
        super().__init__(train, triples, **options)
        n, factors, seed = 2 * triples.n_relations + 1, options["factors"], options["seed"]
        self.relations = embedding_table(n, factors, std=0.1, seed=seed, stream=2)

    def embeddings(self) -> tuple[Tensor, Tensor]:
        """(U, D) users moved by the relation of taking; (I, D) items."""
        return self.users.weight + self.relations.weight[-1], self.items.weight[: self.n_items]

    def fact_loss(self, facts: Tensor) -> Tensor:
        """The tail should beat all entities together."""
        heads, relations, tails = facts
        queries = self.items(heads) + self.relations(relations)
        every = total_logsumexp(queries, self.items.weight, torch.ones_like(heads))
        return (every - (queries * self.items(tails)).sum()) / len(heads)


class KGATNetwork(_KnowledgeNetwork):
    """Each node is mixed with its neighbours, weighted by attention, layer after layer.

    Attention is worked out anew every ``refresh`` steps, and no gradient passes through it.
    """

    attention: Tensor
    steps: Tensor
    heads: Tensor
    tails: Tensor

    def __init__(
        self, train: Interactions, triples: Triples, *, layers: int, refresh: int, **options: Any
    ) -> None:
        super().__init__(train, triples, **options)
        if layers < 1:
            raise ValueError(f"layers must be at least 1, got {layers}")
        size, seed, n_relations = options["factors"], options["seed"], 2 * triples.n_relations + 2
        self.refresh = refresh
        heads, relations, tails = _joint_edges(train, triples)
        n_nodes = triples.n_entities + train.n_users
        self.edges = EdgeSum(heads, tails, n_nodes, n_nodes)
        heads, relations, tails = (each[self.edges.order] for each in (heads, relations, tails))
        self.of_relation = [np.flatnonzero(relations == r) for r in range(n_relations)]
        for name, column in (("heads", heads), ("tails", tails)):
            self.register_buffer(name, torch.from_numpy(column), persistent=False)
        self.register_buffer("attention", torch.zeros(len(heads)))
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        self.relations = embedding_table(n_relations, size, std=0.1, seed=seed, stream=2)
        maps = (n_relations + 2 * layers) * size
        table = embedding_table(maps, size, std=size**-0.5, seed=seed, stream=3).weight.detach()
        into, mixing = table.view(-1, size, size).split([n_relations, 2 * layers])
        self.into_relation, self.mixing = nn.Parameter(into.clone()), nn.Parameter(mixing.clone())

    def embeddings(self) -> tuple[Tensor, Tensor]:
        """(U, (1 + layers) D) and (I, ...): the nodes after 0, 1, ... layers, side by side."""
        nodes = self._nodes()
        outputs = [nodes]
        for add, multiply in self.mixing.unflatten(0, (-1, 2)):
            around = self.edges(nodes, self.attention)
            sums, products = (nodes + around) @ add, (nodes * around) @ multiply
            nodes = F.leaky_relu(sums) + F.leaky_relu(products)
            outputs.append(F.normalize(nodes))
        whole = torch.cat(outputs, dim=1)
        return whole[self.n_entities :], whole[: self.n_items]

    def loss(self, batch: PairBatch | UserBatch) -> Tensor:
        """As of any model with facts; now and then with new attention."""
        if self.training:
            if self.steps % self.refresh == 0:
                self.attend()
            self.steps += 1
        return super().loss(batch)

    def fact_loss(self, facts: Tensor) -> Tensor:
        """TransR: the tail of a fact should be nearer than one drawn at random."""
        heads, relations, tails = facts
        wrong = torch.randint(self.n_entities, tails.shape, device=tails.device)
        near, far = (self._distance(heads, relations, each) for each in (tails, wrong))
        return F.softplus(near - far).mean()

    @torch.no_grad()
    def attend(self) -> None:
        """Work out the attention of every edge from the vectors as they are."""
        nodes = self._nodes().float()
        scores = torch.empty_like(self.attention)
        for relation, edges in enumerate(self.of_relation):
            into, shift = self.into_relation[relation], self.relations.weight[relation]
            heads, tails = nodes[self.heads[edges]] @ into, nodes[self.tails[edges]] @ into
            scores[edges] = (tails * (heads + shift).tanh()).sum(1)
        self.attention.copy_(edge_softmax(scores, self.heads, len(nodes)))

    def _nodes(self) -> Tensor:
        return torch.cat([self.items.weight, self.users.weight])

    def _distance(self, heads: Tensor, relations: Tensor, tails: Tensor) -> Tensor:
        apart = (self.items(heads) - self.items(tails))[:, None]  # (n, 1, D)
        moved = (apart @ self.into_relation[relations])[:, 0] + self.relations(relations)
        return moved.square().sum(1)


def _joint_edges(train: Interactions, triples: Triples) -> tuple[Ids, Ids, Ids]:
    """Facts and events, both ways; users stand behind the entities, events behind the relations."""
    heads, relations, tails = _both_ways(triples)
    users, n = triples.n_entities + train.users, 2 * triples.n_relations
    taking = np.repeat([n, n + 1], len(train))
    return (
        np.concatenate([heads, users, train.items]),
        np.concatenate([relations, taking]),
        np.concatenate([tails, train.items, users]),
    )


class KGCNNetwork(nn.Module):
    """A user's scores of all entities, spread along the facts by what the user thinks of relations.

    z[0] = E u,   z[h] = z[h - 1] + sum over r of a_r A_r z[h - 1] / sum over r of a_r n_r

    with a = exp(relations u), A_r the facts of a relation and n_r how many a node has. Everything
    is linear in E, so that numbers are spread instead of vectors.

    Args:
        triples: the facts; item i is entity i.
        n_users, n_items: U and I.
        known: (I,) which items have events; the others have no vector of their own.
        factors: D, >= 1.
        layers: H, >= 1.
        regularization: lambda, the price of the squared vectors of each event's pair, >= 0.
        seed: for the vectors at the start.
    """

    known: Tensor
    own: Tensor

    def __init__(
        self,
        triples: Triples,
        n_users: int,
        n_items: int,
        known: NDArray[np.bool_],
        *,
        factors: int,
        layers: int,
        regularization: float,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if layers < 1:
            raise ValueError(f"layers must be at least 1, got {layers}")
        n, n_relations = triples.n_entities, 2 * triples.n_relations
        self.users = embedding_table(n_users, factors, std=0.1, seed=seed, stream=0)
        self.entities = embedding_table(n, factors, std=0.1, seed=seed, stream=1)
        self.relations = embedding_table(max(n_relations, 1), factors, std=0.1, seed=seed, stream=2)
        facts = _both_ways(triples)
        self.steps = nn.ModuleList(
            _RelationMean(*facts, n if layer < layers - 1 else n_items, n, max(n_relations, 1))
            for layer in range(layers)
        )
        self.n_items, self.regularization = n_items, regularization
        own = np.ones((n, 1), dtype=np.float32)
        own[:n_items, 0] = known
        self.register_buffer("own", torch.from_numpy(own), persistent=False)
        self.register_buffer("known", torch.from_numpy(np.flatnonzero(known)), persistent=False)

    def forward(self, users: Tensor) -> Tensor:
        """(B, I) scores of users (B,)."""
        wishes = self.users(users).T  # (D, B)
        scores = (self.entities.weight * self.own) @ wishes  # (E, B)
        weights = (self.relations.weight @ wishes).softmax(dim=0)  # (2R, B)
        for step in self.steps:
            scores = scores[: step.n_heads] + step(scores, weights)
        return scores.T

    def loss(self, batch: UserBatch) -> Tensor:
        """Softmax over the items with events, a mean over the events of the batch."""
        scores = self(batch.users).float()
        every = scores[:, self.known].logsumexp(dim=1)
        loss = (every[batch.rows] - scores[batch.rows, batch.items]).mean()
        squares = self.users(batch.users[batch.rows]).square().sum()
        squares = squares + self.entities(batch.items).square().sum()
        return loss + self.regularization / 2 * squares / len(batch.items)


class _RelationMean(nn.Module):
    """The mean of the tails' scores, weighted by relation, user by user; 0 without facts."""

    kinds: Tensor

    def __init__(
        self, heads: Ids, relations: Ids, tails: Ids, n_heads: int, n_tails: int, n_relations: int
    ) -> None:
        super().__init__()
        used = heads < n_heads
        # The tails of one head and one relation share a weight: they are added up first.
        pairs, places = np.unique(heads[used] * n_relations + relations[used], return_inverse=True)
        owners, kinds = np.divmod(pairs, n_relations)
        self.n_heads = n_heads
        self.gather = EdgeSum(places, tails[used], pairs.size, n_tails)
        self.scatter = EdgeSum(owners, np.arange(pairs.size), n_heads, pairs.size)
        self.count = EdgeSum(owners, kinds, n_heads, n_relations)
        sizes = torch.from_numpy(np.bincount(places, minlength=pairs.size).astype(np.float32))
        self.register_buffer("ones", torch.ones(places.size), persistent=False)
        self.register_buffer("sizes", sizes[self.count.order], persistent=False)
        self.register_buffer("kinds", torch.from_numpy(kinds), persistent=False)

    def forward(self, scores: Tensor, weights: Tensor) -> Tensor:
        """(n_heads, B) from scores (n_tails, B) and weights (2R, B)."""
        ones = cast(Tensor, self.ones)
        found = self.gather(scores, ones) * F.embedding(self.kinds, weights)  # (pairs, B)
        total = self.count(weights, cast(Tensor, self.sizes))
        mean: Tensor = self.scatter(found, ones[: len(found)]) / total.clamp_min(1e-20)
        return mean
