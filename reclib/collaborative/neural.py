"""Neural collaborative filtering: a learned function of two vectors in place of their dot product.

    GMF    s(u, i) = h . (p_u * q_i)
    MLP    s(u, i) = f([p_u; q_i]) = W_n ReLU(... ReLU(W_1 [p_u; q_i] + b_1) ...) + b_n
    NeuMF  s(u, i) = GMF + MLP, each with vectors of its own

Source: X. He, L. Liao, H. Zhang, L. Nie, X. Hu, T.-S. Chua, Neural Collaborative Filtering,
WWW 2017, doi 10.1145/3038912.3052569.
Differences from the paper:
1. NeuMF starts from random numbers (paper: from a GMF and an MLP trained before, section 3.4.1).
2. h starts at 1, so that GMF starts as a dot product (paper: at random).
3. Vectors start with standard deviation 0.1, matrices with variance 2 / inputs (paper: 0.01 all).
4. BPR beside the paper's binary cross-entropy, and a price on the vectors (paper: none).
Chapter: collaborative/neural
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Literal, Self

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from reclib.foundations.batching import PairBatch, Pairs
from reclib.foundations.interactions import Interactions, checked_ids
from reclib.foundations.networks import MLP, binary_loss, bpr_loss, embedding_table
from reclib.foundations.recommender import Scores, checked_candidates, checked_train, fitted
from reclib.foundations.training import History, Options, fit, ranking_validation

__all__ = ["GMF", "NCF", "NCFNetwork", "PairMLP"]

_ARCHITECTURES = ("neumf", "gmf", "mlp")
_LOSSES = {"binary": binary_loss, "bpr": bpr_loss}
_TRAINING = Options(epochs=20, batch_size=2048, learning_rate=0.01)
_STD = 0.1
_BLOCK_CELLS = 1_000_000  # numbers of the widest layer held at once: 4 MB, near the cache


class GMF(nn.Module):
    """Generalised matrix factorisation: the dot product with a weight for each coordinate.

    Folding h into the users' vectors gives a dot product with the same scores, so GMF can express
    nothing that a dot product cannot.

    Args:
        n_users, n_items: sizes of the two tables.
        factors: D, size of each vector.
        seed: for the vectors at the start.
    """

    width = 1  # numbers held for each pair

    def __init__(self, n_users: int, n_items: int, *, factors: int, seed: int = 0) -> None:
        super().__init__()
        self.users = embedding_table(n_users, factors, std=_STD, seed=seed, stream=0)
        self.items = embedding_table(n_items, factors, std=_STD, seed=seed, stream=1)
        self.weights = nn.Parameter(torch.ones(factors))  # h (D,)

    def forward(self, users: Tensor, items: Tensor) -> Tensor:
        """(B, C) logits of users (B,) with items of their own (B, C), or all with the same (C,)."""
        queries, keys = self.users(users) * self.weights, self.items(items)
        if keys.ndim == 2:  # (C, D)
            return queries @ keys.T
        return (queries[:, None] * keys).sum(2)  # four times as fast as a batched product here


class PairMLP(nn.Module):
    """A multilayer perceptron on the user's and the item's vector side by side.

    The first layer is linear, so its matrix (H, 2D) is applied in halves: every vector is
    multiplied once, however many pairs it is part of, and only what follows the first ReLU is work
    for each pair. ``mlp`` on the vectors side by side gives the same numbers.

    Args:
        n_users, n_items: sizes of the two tables.
        factors: D, size of each vector.
        hidden: widths of the hidden layers, at least one.
        dropout: share of the hidden values set to 0 while training, in [0, 1).
        seed: for everything random at the start.
    """

    def __init__(
        self,
        n_users: int,
        n_items: int,
        *,
        factors: int,
        hidden: tuple[int, ...],
        dropout: float = 0.0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.users = embedding_table(n_users, factors, std=_STD, seed=seed, stream=2)
        self.items = embedding_table(n_items, factors, std=_STD, seed=seed, stream=3)
        self.mlp: Any = MLP((2 * factors, *hidden, 1), dropout, seed=seed, stream=4)
        self.width = max(hidden)

    def forward(self, users: Tensor, items: Tensor) -> Tensor:
        """(B, C) logits of users (B,) with items of their own (B, C), or all with the same (C,)."""
        first, *rest = self.mlp.layers
        user_half, item_half = first.weight.chunk(2, dim=1)  # (H, D) each
        from_users = F.linear(self.users(users), user_half, first.bias)  # (B, H)
        from_items = F.linear(self.items(items), item_half)  # (B, C, H) or (C, H)
        hidden = from_users[:, None] + from_items  # (B, C, H)
        for layer in rest:
            hidden = layer(F.dropout(hidden.relu_(), self.mlp.dropout, self.training))
        return hidden.squeeze(-1)


class NCFNetwork(nn.Module):
    """One part, or the sum of two, and the loss.

    The paper joins GMF and MLP by one linear layer on [p_u * q_i; last hidden layer]. Its weights
    are h and W_n side by side, so the layer is the sum of what the parts say alone.

    Args:
        parts: GMF, PairMLP or both.
        loss: "binary" or "bpr".
        regularization: lambda, >= 0.
    """

    def __init__(
        self, *parts: GMF | PairMLP, loss: str = "binary", regularization: float = 0.0
    ) -> None:
        super().__init__()
        self.parts: Any = nn.ModuleList(parts)
        self.criterion, self.regularization = _LOSSES[loss], regularization

    def forward(self, users: Tensor, items: Tensor) -> Tensor:
        """(B, C) logits of users (B,) with items of their own (B, C), or all with the same (C,)."""
        return torch.stack([part(users, items) for part in self.parts]).sum(0)

    def loss(self, batch: PairBatch) -> Tensor:
        """Mean over the batch, plus lambda / 2 times the squared vectors of its pairs."""
        items = torch.cat([batch.positives[:, None], batch.negatives], dim=1)  # (B, 1 + N)
        logits = self(batch.users, items)
        loss: Tensor = self.criterion(logits[:, 0], logits[:, 1:])
        if self.regularization:
            for part in self.parts:
                squares = part.users(batch.users).square().sum() + part.items(items).square().sum()
                loss = loss + self.regularization / 2 * squares / len(items)
        return loss


class NCF:
    """Neural collaborative filtering, trained on events against sampled items.

    A user without events has zero vectors. An item without events was only ever a negative, and
    scores low.

    Args:
        architecture: "gmf", "mlp" or "neumf", the sum of both.
        factors: D, size of each vector, >= 1.
        hidden: widths of the MLP's hidden layers, at least one; unused by GMF. The paper's three
            layers, (64, 32, 16), were worse on validation in the shop and on LastFM.
        dropout: share of the hidden values set to 0 while training, in [0, 1); unused by GMF.
        loss: "binary" (the paper's) or "bpr".
        n_negatives: N items for each event, drawn anew in each epoch, >= 1.
        regularization: lambda, the price of the squared vectors of each pair, >= 0.
        training: epochs, batch size, learning rate and so on.
        seed: for the weights at the start, the order of events and the negatives.
    """

    network_: NCFNetwork
    history_: History

    def __init__(
        self,
        *,
        architecture: Literal["neumf", "gmf", "mlp"] = "neumf",
        factors: int = 64,
        hidden: tuple[int, ...] = (64,),
        dropout: float = 0.0,
        loss: Literal["binary", "bpr"] = "binary",
        n_negatives: int = 4,
        regularization: float = 0.01,
        training: Options = _TRAINING,
        seed: int = 0,
    ) -> None:
        self.architecture = architecture
        self.factors = factors
        self.hidden = hidden
        self.dropout = dropout
        self.loss = loss
        self.n_negatives = n_negatives
        self.regularization = regularization
        self.training = training
        self.seed = seed

    def fit(self, train: Interactions, *, validation: Interactions | None = None) -> Self:
        """Learn from ``train``; with ``validation``, nDCG@10 is watched and the best epoch kept."""
        checked_train(train)
        self._check_options()
        network = self._network(train.n_users, train.n_items)
        absent = torch.from_numpy(np.bincount(train.users, minlength=train.n_users) == 0)
        with torch.no_grad():  # no batch has them, so they stay at 0
            for part in network.parts:
                part.users.weight[absent] = 0
        batches = Pairs(
            train, batch_size=self.training.batch_size, n_negatives=self.n_negatives, seed=self.seed
        )
        self.network_ = network
        watch = None if validation is None else ranking_validation(self, train, validation)
        self.history_ = fit(network, batches, replace(self.training, seed=self.seed), watch)
        return self

    @torch.inference_mode()
    def score(self, users: ArrayLike, items: ArrayLike | None = None) -> Scores:
        """(B, I) float32 logits of fitted users, or (B, C) for the candidates ``items`` (B, C).

        The pairs are taken in blocks, so that their hidden layers stay small, whatever the size of
        the catalogue.
        """
        network = fitted(self, "network_")
        part = network.parts[0]
        device, n_items = part.users.weight.device, part.items.num_embeddings
        checked = checked_ids(users, "users", part.users.num_embeddings)
        rows = torch.from_numpy(checked).to(device)
        own = None
        if items is not None:
            own = torch.from_numpy(checked_candidates(items, len(rows), n_items)).to(device)
        everything = torch.arange(n_items, device=device)
        scores = torch.empty(len(rows), n_items if own is None else own.shape[1])
        width = max(each.width for each in network.parts)
        for block, columns in _blocks(len(rows), scores.shape[1], width):
            chosen = everything[columns] if own is None else own[block, columns]
            scores[block, columns] = network(rows[block], chosen).cpu()
        return scores.numpy()

    def state(self) -> dict[str, NDArray[Any]]:
        """What was learned, as arrays."""
        weights = fitted(self, "network_").state_dict()
        return {name: tensor.cpu().numpy() for name, tensor in weights.items()}

    def set_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take up what was learned elsewhere."""
        n_users, n_items = (len(state[f"parts.0.{side}.weight"]) for side in ("users", "items"))
        self.network_ = self._network(n_users, n_items)
        self.network_.load_state_dict({name: torch.tensor(a) for name, a in state.items()})
        self.network_.eval()

    def _network(self, n_users: int, n_items: int) -> NCFNetwork:
        """The network before training."""
        sizes, factors, seed = (n_users, n_items), self.factors, self.seed
        parts: list[GMF | PairMLP] = []
        if self.architecture != "mlp":
            parts.append(GMF(*sizes, factors=factors, seed=seed))
        if self.architecture != "gmf":
            hidden, dropout = tuple(self.hidden), self.dropout
            parts.append(
                PairMLP(*sizes, factors=factors, hidden=hidden, dropout=dropout, seed=seed)
            )
        return NCFNetwork(*parts, loss=self.loss, regularization=self.regularization)

    def _check_options(self) -> None:
        """Refuse what cannot be and what the parts do not refuse."""
        for name, allowed in (("architecture", _ARCHITECTURES), ("loss", tuple(_LOSSES))):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} must be one of {allowed}, got {getattr(self, name)!r}")
        if self.factors < 1:
            raise ValueError(f"factors must be at least 1, got {self.factors}")
        if not self.hidden or min(self.hidden) < 1:
            raise ValueError(f"hidden must be one or more widths of at least 1, got {self.hidden}")
        if not 0 <= self.regularization < math.inf:
            raise ValueError(f"regularization must be at least 0, got {self.regularization}")


def _blocks(n_rows: int, n_columns: int, width: int) -> Iterator[tuple[slice, slice]]:
    """Nearly square blocks of pairs: the halves of the first layer are then small beside the rest.

    A block holds at most _BLOCK_CELLS numbers at ``width`` numbers a pair, but one pair at least.
    """
    pairs = max(1, _BLOCK_CELLS // width)
    height = max(1, min(n_rows, math.isqrt(pairs)))
    breadth = max(1, pairs // height)
    for top in range(0, n_rows, height):
        for left in range(0, n_columns, breadth):
            yield slice(top, top + height), slice(left, left + breadth)
