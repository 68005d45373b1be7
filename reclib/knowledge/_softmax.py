"""The softmax over all entities, for dot products and for distances, without its table of scores.

    Z = sum over b of w_b log(sum over e of exp(s_be))
    dot         s_be = q_b . y_e      dZ/dq_b = w_b sum over e of p_be y_e
    distance    s_be = -d_be          dZ/dq_b = w_b sum over e of p_be / d_be (y_e - q_b)
                d_be^2 = q_b . q_b + y_e . y_e - 2 q_b . y_e

Both are matrix products. A tile of rows times entities is scored, exponentiated above its own
highest score, and kept until the denominator of its rows is known; then it gives its part of both
gradients. A tile fits a core's cache, a few hundred rows fill the processor's registers, and memory
grows neither with the batch nor with what autograd would keep.

Source: the tiles and their rescaling follow T. Dao et al., FlashAttention, NeurIPS 2022,
arXiv:2205.14135.
Differences from the paper:
1. Exponentials of all tiles of a block of rows are kept, not computed again (paper: the reverse).
Chapter: knowledge/embedding
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

__all__ = ["total_logsumexp"]

_ROWS, _ENTITIES = {"cpu": 256, "cuda": 1024}, {"cpu": 1024, "cuda": 65536}
_TINY = 1e-12  # a squared distance below it is rounding


def total_logsumexp(
    queries: Tensor, entities: Tensor, weights: Tensor, *, distance: bool = False
) -> Tensor:
    """The weighted sum over rows of the logarithm of the softmax's denominator.

    Args:
        queries: (B, D) float.
        entities: (E, D) float.
        weights: (B,), how often each row counts; no gradient is taken with respect to them.
        distance: score by the negative distance rather than the dot product.

    Returns:
        Scalar, in nats.
    """
    if weights.shape != queries.shape[:1]:
        raise ValueError(f"weights must have shape ({len(queries)},), got {tuple(weights.shape)}")
    weights = weights.to(queries.dtype)
    return cast(Any, _TotalLogSumExp).apply(queries, entities, weights, distance)


class _TotalLogSumExp(torch.autograd.Function):
    """Value and gradients in one pass over tiles."""

    @staticmethod
    def forward(
        ctx: Any, queries: Tensor, entities: Tensor, weights: Tensor, distance: bool
    ) -> Tensor:
        device = "cpu" if queries.device.type == "cpu" else "cuda"
        tiles = list(torch.arange(len(entities)).split(_ENTITIES[device]))
        places = [slice(int(tile[0]), int(tile[-1]) + 1) for tile in tiles]
        total = queries.new_zeros(())
        of_queries, of_entities = torch.zeros_like(queries), torch.zeros_like(entities)
        for rows in torch.arange(len(queries)).split(_ROWS[device]):
            block = slice(int(rows[0]), int(rows[-1]) + 1)
            asked, weight = queries[block], weights[block, None]
            kept = [_exponentials(asked, entities[place], distance) for place in places]
            highest = torch.cat([each[1] for each in kept], dim=1)  # (b, tiles)
            sums = torch.cat([each[2] for each in kept], dim=1)
            denominator = (highest + sums.log()).logsumexp(dim=1, keepdim=True)
            total += (weight * denominator).sum()
            shares = (highest - denominator).exp_() * weight
            for number, place in enumerate(places):
                share, tile = shares[:, number, None], kept[number][0]
                _add_gradients(
                    asked,
                    entities[place],
                    tile,
                    share,
                    distance,
                    of_queries[block],
                    of_entities[place],
                )
        ctx.save_for_backward(of_queries, of_entities)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        of_queries, of_entities = ctx.saved_tensors
        return gradients[0] * of_queries, gradients[0] * of_entities, None, None


def _exponentials(
    queries: Tensor, entities: Tensor, distance: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """exp(s - m) of a tile, divided by d where distances score; m, and the sums of exp(s - m)."""
    scores = (queries @ entities.T).to(queries.dtype)
    if not distance:
        highest = scores.amax(dim=1, keepdim=True)
        scores.sub_(highest).exp_()
        return scores, highest, scores.sum(dim=1, keepdim=True)
    squares = queries.square().sum(dim=1, keepdim=True), entities.square().sum(dim=1)
    distances = scores.mul_(-2).add_(squares[0]).add_(squares[1]).clamp_(min=_TINY).sqrt_()
    nearest = distances.amin(dim=1, keepdim=True)
    values = torch.sub(nearest, distances).exp_()
    sums = values.sum(dim=1, keepdim=True)
    return values.div_(distances), -nearest, sums


def _add_gradients(
    queries: Tensor,
    entities: Tensor,
    tile: Tensor,
    share: Tensor,
    distance: bool,
    of_queries: Tensor,
    of_entities: Tensor,
) -> None:
    """Add a tile's part of both gradients, in place."""
    pulls = (tile @ entities) * share  # (b, D)
    pushes = tile.T @ (queries * share)  # (e, D)
    if distance:
        pulls -= queries * (tile.sum(dim=1, keepdim=True) * share)
        pushes -= entities * (tile.T @ share)
    of_queries += pulls
    of_entities += pushes
