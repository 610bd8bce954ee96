"""AdaRound: learn whether each weight is rounded up or down, by the error of what the weights compute.

Nagel et al. 2020, arXiv 2004.10568. Between its two integers a weight is a rectified sigmoid, which a regularizer pushes to
either end. Here the two integers are the start's and its neighbour towards the float weight, and learning starts at the
start's, not at the float weight as in the paper: from there a short training ends near rounding to nearest, whose error is
some times that of an error-compensated start. The regularizer is strong, so that weights leave the start only where that
lowers the error.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fairpress.core.time_left import counted
from fairpress.models.tracing import aten

STEPS = 300
ROWS = 32  # of a step
LEARNING_RATE = 0.02
REGULARIZATION = 100.0  # against a squared error that is 1 for the start
WARM_UP = 0.2  # share of the steps without regularizer
FIRST_POWER, LAST_POWER = 20.0, 2.0  # β of the regularizer Σ 1 − |2h − 1|^β
LOW, HIGH = -0.1, 1.1  # range of the sigmoid before it is rectified
MARGIN = 0.02  # of h, at first, from the end of the start, where its gradient would be 0
NEVER = -10.0  # logit of a weight that stays

Compute = Callable[[Tensor, Sequence[Tensor]], Tensor]
"""(positions of rows, weights) → the outputs [rows, …] of these rows."""


@dataclass(frozen=True)
class RoundedWeight:
    """A float weight, its integers at the start, and its step s (of either sign), smallest and largest integer.

    The latter three are broadcast to the weight.
    """

    weight: Tensor
    integers: Tensor
    scale: Tensor
    low: Tensor
    top: Tensor

    @property
    def grid(self) -> Tensor:
        """The weight at its integers."""
        return self.integers * self.scale

    @property
    def lower(self) -> Tensor:
        """The lower one of the two integers of each weight."""
        upwards = self.weight / self.scale >= self.integers
        return torch.clamp(torch.where(upwards, self.integers, self.integers - 1), self.low, self.top - 1)


def learn_rounding(
    compute: Compute,
    target: Tensor,
    weights: Sequence[RoundedWeight],
    *,
    steps: int = STEPS,
    learning_rate: float = LEARNING_RATE,
    regularization: float = REGULARIZATION,
    seed: int = 0,
) -> list[Tensor]:
    """Return the weights on their grids, learned, or those of the start if their squared error over all rows is not larger.

    Weights that are 0 (after pruning) stay as at the start.

    Parameters
    ----------
    compute
        The differentiable function of the weights.
    target
        What it should give for all rows [rows, …].
    """
    start = [weight.grid for weight in weights]
    before = squared_error(compute, target, start)
    if before == 0:
        return start
    learners = [_Learner(weight) for weight in weights]
    optimizer = torch.optim.Adam([learner.logits for learner in learners], learning_rate, fused=True)
    generator = torch.Generator().manual_seed(seed)
    factor = regularization / sum(weight.weight.numel() for weight in weights)
    for step in counted(range(steps), "learning the rounding, steps"):
        rows = torch.randint(len(target), (min(ROWS, len(target)),), generator=generator)
        soft = [learner.soft() for learner in learners]
        with torch.enable_grad():
            error = (compute(rows, soft) - target[rows]).square().mean() / before
            gradients = torch.autograd.grad(error, soft)
        progress = (step / steps - WARM_UP) / (1 - WARM_UP)
        power = LAST_POWER + (FIRST_POWER - LAST_POWER) * (1 - progress) if progress >= 0 else None
        for learner, gradient in zip(learners, gradients, strict=True):
            learner.set_gradient(gradient, power, factor)
        optimizer.step()
    learned = [learner.hard() for learner in learners]
    return learned if squared_error(compute, target, learned) < before else start


class _Learner:
    """The shares h ∈ [0, 1] by which weights lie above the lower one of their integers, and buffers to learn them in."""

    def __init__(self, weight: RoundedWeight) -> None:
        stays = weight.weight == 0
        self.scale = weight.scale
        self.lower = torch.where(stays, weight.integers, weight.lower)
        share = torch.where(weight.integers > self.lower, 1 - MARGIN, MARGIN)
        self.logits = torch.logit((share - LOW) / (HIGH - LOW)).masked_fill_(stays, NEVER)
        self.sigmoid, self.stretched, self.buffer = (torch.empty_like(self.logits) for _ in range(3))

    def soft(self) -> Tensor:
        """Return the weights between their integers."""
        torch.sigmoid(self.logits, out=self.sigmoid)
        torch.mul(self.sigmoid, HIGH - LOW, out=self.stretched).add_(LOW)
        return self.stretched.clamp(0, 1).add_(self.lower).mul_(self.scale).requires_grad_()

    def set_gradient(self, gradient: Tensor, power: float | None, factor: float) -> None:
        """Set the gradient of the error plus factor · Σ(1 − |2h − 1|^power), up to a constant, which Adam ignores."""
        total = torch.mul(gradient, self.scale, out=self.buffer)
        if power is not None:
            distance = self.stretched.clamp(0, 1).mul_(2).sub_(1)
            slope = distance.abs().log_().mul_(power - 1).exp_().copysign_(distance)
            total.sub_(slope, alpha=2 * power * factor)
        total = aten.hardtanh_backward.default(total, self.stretched, 0.0, 1.0)
        self.logits.grad = aten.sigmoid_backward.default(total, self.sigmoid)

    def hard(self) -> Tensor:
        """Return the weights at the nearer one of their two integers."""
        return (self.lower + (self.logits >= 0)) * self.scale


def squared_error(compute: Compute, target: Tensor, weights: Sequence[Tensor]) -> float:
    """Return the mean squared error of what the weights compute over all rows."""
    total = 0.0
    for rows in torch.arange(len(target)).split(4 * ROWS):
        total += float((compute(rows, weights) - target[rows]).square().sum(dtype=torch.float64))
    return total / target.numel()
