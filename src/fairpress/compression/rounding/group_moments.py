"""Moments of a layer's inputs in which no group is drowned by the others: H = Σ a_g·H_g with Σ a_g = 1."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.fx import Node

from fairpress.compression.rounding.gptq import Factor, factorize
from fairpress.compression.rounding.input_moments import input_moments

Moments = Literal["pooled", "balanced", "minimax"]
ROUNDS = 5
RATE = 1.0  # of a_g ← a_g·(e_g / max e)^RATE


def weights_of_rows(groups: Tensor) -> Tensor:
    """Return weights [rows] with which every group counts alike; 0 for group −1."""
    present, position, counts = groups.unique(return_inverse=True, return_counts=True)
    weights = torch.where(present < 0, 0.0, len(groups) / counts)
    return weights[position]


def minimax_factor(
    node: Node,
    inputs: Sequence[Tensor],
    weight: Tensor,
    part: slice,
    groups: Tensor,
    rounded: Callable[[Factor], Tensor],
    checked: Callable[[Tensor], Tensor] = lambda moments: moments,
) -> Factor:
    """Return the factor of the Σ a_g·H_g whose rounding has the least output error in the worst group.

    Starting from the shares of the groups, a_g grows with the group's mean squared error of the layer's outputs
    (multiplicative weights; Freund and Schapire 1999). The best of all rounds is taken, so at these scales the worst group's
    error on the calibration rows is never above that of pooled moments.

    Parameters
    ----------
    groups
        The group of every row [rows]; rows of group −1 are not counted.
    rounded
        Returns the rounded values [channels, k] of the part for a factor.
    checked
        Returns the moments of a group, or raises an error for values that are not finite.
    """
    chunks = groups.split([len(x) for x in inputs])
    present = [g for g in groups.unique().tolist() if g >= 0]
    by_group = [
        checked(
            input_moments(
                node,
                [x[codes == g] for x, codes in zip(inputs, chunks, strict=True)],
                weight.shape,
                part=part,
            )
        )
        for g in present
    ]
    shares = torch.tensor([float((groups == g).sum()) for g in present])
    best: tuple[float, Factor] | None = None
    for _ in range(ROUNDS):
        shares = shares / shares.sum()
        factor = factorize(
            sum((a * h for a, h in zip(shares.tolist(), by_group, strict=True)), by_group[0] * 0)
        )
        change = rounded(factor) - weight.flatten(1)[:, part]
        errors = torch.stack([_output_error(change, h) for h in by_group])
        if best is None or float(errors.max()) < best[0]:
            best = float(errors.max()), factor
        if float(errors.max()) == 0:  # nothing is rounded, or nothing is read
            break
        shares = shares.to(errors) * (errors / errors.max()) ** RATE
    assert best is not None
    return best[1]


def _output_error(change: Tensor, moments: Tensor) -> Tensor:
    """Return Σ d·H·dᵀ over the channels of a change of the weight [channels, k]."""
    d = change.view(len(moments), -1, change.shape[1])
    return ((d @ moments) * d).sum().clamp_min(0)
