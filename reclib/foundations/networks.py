"""The few parts that networks are built from: a table of numbers, losses, layers, a soft lookup.

    BPR:      l = -log sigmoid(s[+] - s[-])
    binary:   l = -log sigmoid(s[+]) - sum over n of log(1 - sigmoid(s[n])), divided by 1 + N
    softmax:  l = -s[+] + log(sum over all items i of exp(s[i]))
    sampled:  l = -s[+] + log(exp(s[+]) + sum over n of exp(s[n]) / q[n])
    attention(Q, K, V) = softmax(Q K' / sqrt(D)) V

Source: S. Rendle, C. Freudenthaler, Z. Gantner, L. Schmidt-Thieme, BPR: Bayesian Personalized
Ranking from Implicit Feedback, UAI 2009; for sampled softmax Y. Bengio, J.-S. Senécal, Adaptive
Importance Sampling to Accelerate Training of a Neural Probabilistic Language Model, IEEE
Transactions on Neural Networks 2008; for attention A. Vaswani et al., Attention Is All You Need,
NeurIPS 2017, arXiv:1706.03762.
Differences from the paper:
1. Means over the batch, where the papers sum (BPR) or state one example.
2. BPR without its regularization term: weight decay belongs to the optimizer.
3. Sampled softmax takes the positive in full and weighs the negatives alone (paper: all terms are
   drawn).
4. A query that may look at nothing gets zeros (paper: undefined).
Chapter: foundations/networks
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reclib.foundations._catalogue import total_logsumexp

__all__ = [
    "MLP",
    "attention",
    "binary_loss",
    "bpr_loss",
    "embedding_table",
    "sampled_softmax_loss",
    "softmax_loss",
    "total_logsumexp",
]


def embedding_table(
    n_rows: int, size: int, *, std: float, seed: int, stream: int = 0
) -> nn.Embedding:
    """A trainable table (n_rows, size) float32 of normal numbers around 0.

    The numbers depend on ``seed`` and ``stream`` alone: a larger table starts with the same rows.

    Args:
        n_rows: number of ids, >= 1.
        size: D, numbers an id, >= 1.
        std: their standard deviation, >= 0.
        seed: of the whole network.
        stream: tells apart the tables of one network.
    """
    for name, value in (("n_rows", n_rows), ("size", size)):
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")
    if not std >= 0:
        raise ValueError(f"std must be at least 0, got {std}")
    weight = np.random.default_rng([seed, stream]).standard_normal((n_rows, size), dtype=np.float32)
    weight *= np.float32(std)
    return nn.Embedding.from_pretrained(torch.from_numpy(weight), freeze=False)


def _check_pairs(positive_scores: Tensor, negative_scores: Tensor) -> None:
    """(B,) against (B, N): broadcasting would hide a mistake."""
    if positive_scores.ndim != 1:
        shape = tuple(positive_scores.shape)
        raise ValueError(f"positive_scores must have shape (B,), got {shape}")
    if negative_scores.ndim != 2 or len(negative_scores) != len(positive_scores):
        expected, shape = len(positive_scores), tuple(negative_scores.shape)
        raise ValueError(f"negative_scores must have shape ({expected}, N), got {shape}")


def bpr_loss(positive_scores: Tensor, negative_scores: Tensor) -> Tensor:
    """Mean of -log sigmoid(positive - negative): each positive should beat its negatives.

    Args:
        positive_scores: (B,).
        negative_scores: (B, N).

    Returns:
        Scalar, in nats.
    """
    _check_pairs(positive_scores, negative_scores)
    return F.softplus(negative_scores - positive_scores[:, None]).mean()


def binary_loss(positive_scores: Tensor, negative_scores: Tensor) -> Tensor:
    """Binary cross-entropy of B positives (label 1) and B x N negatives (label 0), all alike.

    Args:
        positive_scores: (B,) logits.
        negative_scores: (B, N) logits.

    Returns:
        Scalar, in nats: the mean over all B (1 + N) labels.
    """
    _check_pairs(positive_scores, negative_scores)
    losses = torch.cat([F.softplus(-positive_scores[:, None]), F.softplus(negative_scores)], dim=1)
    return losses.mean()


def softmax_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy over the whole catalogue: the target should beat all items together.

    Args:
        logits: (B, I).
        targets: (B,) int64 ids below I.

    Returns:
        Scalar, in nats: the mean over the B rows.
    """
    if logits.ndim != 2:
        raise ValueError(f"logits must have shape (B, I), got {tuple(logits.shape)}")
    if targets.shape != logits.shape[:1]:
        raise ValueError(f"targets must have shape ({len(logits)},), got {tuple(targets.shape)}")
    return F.cross_entropy(logits, targets)


def sampled_softmax_loss(
    positive_scores: Tensor, negative_scores: Tensor, log_q: Tensor | None = None
) -> Tensor:
    """Softmax cross-entropy of the positive against a sample of negatives.

    With ``log_q`` the sum over the sample estimates, without bias, the sum over all other items;
    where the negatives are all other items, once each, the loss is ``softmax_loss``.

    Args:
        positive_scores: (B,).
        negative_scores: (B, N).
        log_q: (B, N) or (N,), natural logarithm of how often each negative is expected among its
            row's N, e.g. log(N / (I - 1)) for uniform ones; None counts every negative as one item.

    Returns:
        Scalar, in nats: the mean over the B rows.
    """
    _check_pairs(positive_scores, negative_scores)
    if log_q is not None:
        if log_q.shape not in (negative_scores.shape, negative_scores.shape[1:]):
            shape, expected = tuple(log_q.shape), tuple(negative_scores.shape)
            raise ValueError(f"log_q must have shape {expected} or {expected[1:]}, got {shape}")
        negative_scores = negative_scores - log_q
    logits = torch.cat([positive_scores[:, None], negative_scores], dim=1)  # (B, 1 + N)
    return (logits.logsumexp(dim=1) - positive_scores).mean()


class MLP(nn.Module):
    """Linear layers with ReLU and dropout between them; the last layer is linear alone.

    Weights start as normal numbers with variance 2 / inputs, biases as 0.

    Args:
        sizes: width of the input, of each hidden layer, and of the output; at least two.
        dropout: share of the hidden values set to 0 while training, in [0, 1).
        seed: of the whole network.
        stream: tells apart the parts of one network.
    """

    def __init__(
        self, sizes: Sequence[int], dropout: float = 0.0, *, seed: int = 0, stream: int = 0
    ) -> None:
        super().__init__()
        if len(sizes) < 2 or min(sizes) < 1:
            raise ValueError(f"sizes must be two or more numbers of at least 1, got {sizes}")
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout must be in [0, 1), got {dropout}")
        self.sizes, self.dropout = tuple(sizes), dropout
        generator = np.random.default_rng([seed, stream])
        self.layers = nn.ModuleList(_linear(n, m, generator) for n, m in pairwise(sizes))

    def forward(self, inputs: Tensor) -> Tensor:
        """(..., sizes[0]) to (..., sizes[-1])."""
        hidden = inputs
        for layer in self.layers[:-1]:
            hidden = F.dropout(F.relu(layer(hidden)), self.dropout, training=self.training)
        return self.layers[-1](hidden)


def _linear(n_inputs: int, n_outputs: int, generator: np.random.Generator) -> nn.Linear:
    # skip_init: torch would draw the weights from its global generator first.
    layer = nn.utils.skip_init(nn.Linear, n_inputs, n_outputs)
    weight = generator.standard_normal((n_outputs, n_inputs), dtype=np.float32)
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(weight * np.float32(np.sqrt(2 / n_inputs))))
        layer.bias.zero_()
    return layer


def attention(queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None = None) -> Tensor:
    """A lookup by likeness: each query gets the mean of the values, weighted by its keys.

    Args:
        queries: (..., L, D).
        keys: (..., M, D), one for each value.
        values: (..., M, E).
        mask: (..., L, M) bool, True where a query may look; None: everywhere. A query that may
            look nowhere gets zeros.

    Returns:
        (..., L, E).
    """
    if keys.shape[-1] != queries.shape[-1]:
        expected, got = queries.shape[-1], keys.shape[-1]
        raise ValueError(f"keys must have {expected} numbers a row like the queries, got {got}")
    if keys.shape[-2] != values.shape[-2]:
        expected, got = keys.shape[-2], values.shape[-2]
        raise ValueError(f"values must have {expected} rows like the keys, got {got}")
    logits = queries @ keys.transpose(-1, -2) / queries.shape[-1] ** 0.5  # (..., L, M)
    if mask is None:
        return logits.softmax(dim=-1) @ values
    if mask.dtype != torch.bool:
        raise ValueError(f"mask must be bool, got {mask.dtype}")
    # Not -inf: a row without any allowed key would pass through NaN on its way to zeros.
    weights = logits.masked_fill(~mask, torch.finfo(logits.dtype).min).softmax(dim=-1)
    return weights.masked_fill(~mask, 0.0) @ values
