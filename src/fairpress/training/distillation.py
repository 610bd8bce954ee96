"""Distillation: a student also learns from its teacher (Hinton, Vinyals and Dean 2015, arXiv 1503.02531)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from fairpress.core.output_kind import OutputKind
from fairpress.training.group_means import means

Teach = Callable[[Tensor], Tensor]


class _Divergence(torch.autograd.Function):
    """KL(q‖p) of every row, with the gradient p − q with respect to the logits of p.

    Computed as a difference of probabilities, the gradient of equal networks is exactly 0; that of ``log_softmax`` is a
    rounding error then, which Adam would scale up to whole steps.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, expected: Tensor) -> Tensor:
        result, probabilities = logits.log_softmax(-1), expected.exp()
        ctx.save_for_backward(result.exp() - probabilities)
        return (probabilities * (expected - result)).sum(-1)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (difference,) = ctx.saved_tensors
        return grads[0][..., None] * difference, None


def divergence(logits: Tensor, expected: Tensor) -> Tensor:
    """Return the Kullback-Leibler divergence KL(expected‖softmax of logits) of every row […].

    `expected` are log-probabilities […, classes].
    """
    return cast("Tensor", _Divergence.apply(logits, expected))


def target_of(outputs: Tensor, kind: OutputKind) -> Tensor:
    """Return what a student is to reproduce of a teacher's outputs […, width]: log-probabilities of classes, probabilities
    of several labels, else the outputs themselves.
    """
    return (
        outputs.log_softmax(-1) if kind == "classes" else outputs.sigmoid() if kind == "labels" else outputs
    )


def distance(outputs: Tensor, target: Tensor, kind: OutputKind) -> Tensor:
    """Return how far outputs are from a teacher's `target_of` in every row […].

    Of classes the divergence of the probabilities, of several labels its mean over the labels, of a number or an embedding
    the mean squared difference. Its gradient is exactly 0 where both are equal.
    """
    if kind == "classes":
        return divergence(outputs, target)
    if kind == "labels":
        entropy = nn.functional.binary_cross_entropy(target, target, reduction="none")
        loss = nn.functional.binary_cross_entropy_with_logits(outputs, target, reduction="none")
        return (loss - entropy).mean(-1)
    return (outputs - target).square().mean(-1)


class Distillation:
    """weight · T²·KL(teacher‖student), both softened by the temperature T, added to the cross-entropy of the labels.

    With groups, the rows of a group weigh w_g in that term. All w_g begin at 1; after every epoch those of groups whose
    divergence D_g was above the average D grow, w_g ← w_g · exp(step · (D_g / D − 1)), and all are scaled so that the mean
    weight of a row stays 1: multiplicative weights, as in Sagawa et al. (2020, arXiv 1911.08731), who weigh groups alike at
    first. With `hold` they stay at 1.

    Parameters
    ----------
    teach
        Inputs [networks, rows, …] → the teachers' logits [networks, rows, classes], as the rows are seen then.
    shares
        Share of the training rows in each group [networks, groups]; None without groups.
    outputs
        What the networks predict (`distance`); of a number or an embedding the temperature has no effect.
    """

    inner = 1
    uses_labels = True

    def __init__(
        self,
        teach: Teach,
        temperature: float,
        weight: float,
        shares: Tensor | None = None,
        step: float = 0.0,
        *,
        hold: bool = False,
        outputs: OutputKind = "classes",
    ) -> None:
        self.teach, self.temperature, self.weight, self.outputs = teach, temperature, weight, outputs
        self.shares, self.step, self.hold = shares, step, hold
        self.weights = None if shares is None else torch.ones_like(shares)
        self.used = self.weights
        self._wanted: Tensor | None = None
        self._sums = None if shares is None else torch.zeros_like(shares)
        self._rows = None if shares is None else torch.zeros_like(shares)
        self.divergence = None if shares is None else torch.zeros_like(shares)

    @torch.no_grad()
    def see(self, inputs: Tensor) -> None:
        """Compute the teachers' outputs for a batch [networks, rows, …]."""
        self._wanted = target_of(self.teach(inputs) / self.temperature, self.outputs)

    def loss(self, logits: Tensor, labels: Tensor, groups: Tensor) -> Tensor:
        """Return each network's term [networks]; rows of no group weigh 1."""
        assert self._wanted is not None
        apart = distance(logits / self.temperature, self._wanted, self.outputs) * self.temperature**2
        if self.weights is None or self._sums is None or self._rows is None:
            return self.weight * apart.mean(-1)
        weights = self.weights.to(apart.device)
        row_weights = weights.gather(1, groups.clamp_min(0)).where(groups >= 0, 1.0)
        mean, rows = means(apart.detach(), groups, weights.shape[1])
        self._sums += (mean * rows).cpu()
        self._rows += rows.cpu()
        return self.weight * (row_weights * apart).mean(-1)

    def violation(self, logits: Tensor, labels: Tensor, groups: Tensor) -> Tensor:
        """Nothing is constrained."""
        return torch.zeros(len(logits))

    def dual(self) -> None:
        """Weights move once an epoch."""

    def epoch(self) -> None:
        """Let rows of groups that are further from their teacher weigh more in the next epoch."""
        if self.weights is None or self._sums is None or self._rows is None or self.shares is None:
            return
        self.used = self.weights.clone()
        self.divergence = self._sums / self._rows.clamp_min(1)
        observed = self._rows > 0
        average = self._sums.sum(1, keepdim=True) / self._rows.sum(1, keepdim=True).clamp_min(1)
        if not self.hold:
            relative = torch.where(observed, self.divergence / average.clamp_min(1e-12) - 1, 0.0)
            updated = self.weights * torch.exp(self.step * relative)
            total = self.shares.sum(1, keepdim=True)
            self.weights = updated * total / (self.shares * updated).sum(1, keepdim=True).clamp_min(1e-12)
        self._sums, self._rows = torch.zeros_like(self._sums), torch.zeros_like(self._rows)

    def only(self, which: Sequence[int]) -> None:
        """Students train to their last epoch, all together."""
        raise TypeError("students do not leave the batch")

    def tensors(self) -> dict[str, Tensor]:
        """Return what an interrupted training must remember."""
        return {} if self.weights is None else {"weights": self.weights}

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Go on from what `tensors` returned."""
        self.weights = tensors.get("weights")

    def facts(self, network: int) -> dict[str, Any]:
        """Return the facts for the card: each group's divergence from the teacher in the last epoch, and its weight."""
        if self.used is None or self.divergence is None:
            return {}
        return {
            "divergence": self.divergence[network].tolist(),
            "weights": self.used[network].tolist(),
            "hold": self.hold,
        }
