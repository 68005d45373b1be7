"""The softmax over a whole catalogue without its table of scores.

    Z = sum over b of w_b log(sum over i of exp(q_b . y_i))
    dZ/dq_b = w_b sum over i of p_bi y_i,   dZ/dy_i = sum over b of w_b p_bi q_b,   p = softmax

A block of rows at a time gives its part of Z and of both gradients, and is forgotten: the scores
stay in the cache, and memory does not grow with the batch.

Source: the formulas are textbook; the fusion follows P.-L. Hsu et al., Liger Kernel: Efficient
Triton Kernels for LLM Training, 2024, arXiv:2410.10989.
Differences from the paper: none.
Chapter: foundations/networks
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

__all__ = ["total_logsumexp"]

_CPU_CELLS = 2**19  # scores held at once: 2 MB, about what a core's cache holds
_GPU_CELLS = 2**26


def total_logsumexp(queries: Tensor, items: Tensor, weights: Tensor) -> Tensor:
    """The weighted sum over rows of the logarithm of the softmax's denominator.

    Args:
        queries: (B, D) float.
        items: (I, D) float.
        weights: (B,), how often each row counts; no gradient is taken with respect to them.

    Returns:
        Scalar, in nats.
    """
    if weights.shape != queries.shape[:1]:
        raise ValueError(f"weights must have shape ({len(queries)},), got {tuple(weights.shape)}")
    return cast(Any, _TotalLogSumExp).apply(queries, items, weights.to(queries.dtype))


class _TotalLogSumExp(torch.autograd.Function):
    """Value and gradients in one pass over blocks of rows."""

    @staticmethod
    def forward(ctx: Any, queries: Tensor, items: Tensor, weights: Tensor) -> Tensor:
        total = queries.new_zeros(())
        wanted = any(ctx.needs_input_grad)
        of_queries, of_items = torch.empty_like(queries), torch.zeros_like(items)
        cells = _CPU_CELLS if queries.device.type == "cpu" else _GPU_CELLS
        for rows in torch.arange(len(queries)).split(max(1, cells // len(items))):
            block = slice(int(rows[0]), int(rows[-1]) + 1)
            scores = (queries[block] @ items.T).to(queries.dtype)  # (b, I)
            highest = scores.amax(dim=1, keepdim=True)
            sums = scores.sub_(highest).exp_().sum(dim=1, keepdim=True)
            total += weights[block] @ (sums.log() + highest)[:, 0]
            if wanted:
                scale = weights[block, None] / sums
                of_queries[block] = (scores @ items) * scale
                of_items += scores.T @ (queries[block] * scale)
        ctx.save_for_backward(of_queries, of_items)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        of_queries, of_items = ctx.saved_tensors
        return gradients[0] * of_queries, gradients[0] * of_items, None
