"""GPTQ: round a weight column by column, and let the columns that follow make up for the error.

Frantar et al. 2023, arXiv 2210.17323, a faster Optimal Brain Quantizer (Frantar and Alistarh 2022, arXiv 2208.11580). The
recursion is computed in the form of Chee et al. 2023 (QuIP, arXiv 2307.13304, theorem 6), which needs one Cholesky
factorization and no inverse: with H = V·Vᵀ, V upper triangular, the squared error of the outputs is |(w − ŵ)·V|², whose k-th
entry depends on the columns up to k alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

DAMPING = 0.01  # of the mean of the diagonal, added to it
BLOCK = 128  # columns whose effects on the following blocks are applied together


@dataclass(frozen=True)
class Factor:
    """The order in which columns are rounded [groups, k], and V [groups, k, k] with V·Vᵀ = H in that order."""

    order: Tensor
    v: Tensor


def factorize(moments: Tensor, damping: float = DAMPING) -> Factor:
    """Return the factor of moments H [groups, k, k], columns of the largest input power first (the paper's order).

    `damping` times the mean of the diagonal is added to it, so that inputs that are always 0 have no influence on others;
    ten times as much as often as rounding errors leave H indefinite. Raises ValueError for values that are not finite.
    """
    power = moments.diagonal(dim1=-2, dim2=-1)
    if not bool(moments.isfinite().all()) or not bool(power.sum(-1).isfinite().all()):
        raise ValueError("moments must be finite")  # no damping makes them positive definite
    order = torch.argsort(power, dim=-1, descending=True, stable=True)
    back = order.flip(
        -1
    )  # H = V·Vᵀ with an upper V is a Cholesky factorization from the last column to the first
    h = moments.gather(-2, back[..., None].expand_as(moments)).gather(-1, back[:, None].expand_as(moments))
    mean = power.mean(-1)
    unit = torch.where(mean > 0, mean, torch.ones_like(mean))
    diagonal = h.diagonal(dim1=-2, dim2=-1)
    bare = diagonal.clone()
    while True:
        diagonal.copy_(bare + damping * unit[:, None])
        lower, failed = torch.linalg.cholesky_ex(h)
        if not bool(failed.any()):
            return Factor(order, lower.flip(-1, -2))
        damping *= 10


def error_compensated(
    weight: Tensor, factor: Factor, scale: Tensor, low: Tensor | float, high: Tensor | float
) -> tuple[Tensor, Tensor]:
    """Return integers [groups, channels, k], chosen so that the error of the outputs is small, and that error.

    A weight of 0 stays 0: it was pruned. The error [groups, channels] is (w − s·q)·H·(w − s·q)ᵀ.

    Parameters
    ----------
    weight
        [groups, channels, k] float; a layer without groups has one.
    factor
        Of the moments of what the channels of each group read.
    scale
        Step of every channel [groups, channels], or of every weight [groups, channels, k].
    low, high
        Smallest and largest integer, one for all or [groups, channels].
    """
    columns = factor.order[:, None].expand_as(weight)
    w = weight.gather(-1, columns)
    v = factor.v.to(w)
    diagonal = v.diagonal(dim1=-2, dim2=-1)
    feedback = v / diagonal[:, None]
    left = w == 0
    steps = scale.gather(-1, columns) if scale.dim() == 3 else scale[..., None].expand_as(w)
    inverse = steps.reciprocal()
    integers, errors = torch.empty_like(w), torch.empty_like(w)
    for start in range(0, w.shape[-1], BLOCK):
        end = min(start + BLOCK, w.shape[-1])
        aims = w[..., start:end] + errors[..., :start] @ feedback[:, :start, start:end]
        for i in range(start, end):
            aim = aims[..., i - start]
            if i > start:
                aim = aim + (errors[..., start:i] @ feedback[:, start:i, i, None])[..., 0]
            q = torch.clamp((aim * inverse[..., i]).round_(), low, high).masked_fill_(left[..., i], 0)
            integers[..., i] = q
            errors[..., i] = w[..., i] - q * steps[..., i]
    loss = (errors @ v).square_().sum(-1)
    return torch.empty_like(integers).scatter_(-1, columns, integers), loss
