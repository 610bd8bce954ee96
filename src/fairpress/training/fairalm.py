"""FairALM (Lokhande et al. 2020, arXiv 2004.01355): an augmented Lagrangian on differences of a loss between groups."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from fairpress.training.group_means import means, row_losses

GROWTH = 1.01  # of the step, each epoch, in the variant celeba


class FairAlm:
    """Keeps a multiplier per group for every constraint; with two groups it is the published algorithm to the letter.

    ``paper``, Algorithm 2: v ∈ ∂[ê + (λ+η) μ₀ − (λ−η) μ₁], λ ← λ + η(μ₀ − μ₁). For K groups every pair has such a λ and such
    a term, and the mean over pairs is taken, so that the terms weigh the same for any K. Since λᵢⱼ is the sum of
    η(μᵢ − μⱼ), it is Λᵢ − Λⱼ with Λᵢ ← Λᵢ + η(μᵢ − μ̄), and a group's coefficient is 2/K · [η + K/(K−1) · (Λᵢ − Λ̄)].

    ``celeba``: coefficients η/4 + (λ₀−λ₁)/2 and η/4 + (λ₁−λ₀)/2; λ₀ ← ½(λ₀−λ₁) + ½η(ℓ₀−ℓ₁), λ₁ alike with the old λ₀;
    η grows by 1 % an epoch. In terms of means, which hold for K groups: 2/K · [η/4 + (λᵢ − λ̄)], and
    λᵢ ← (λᵢ − λ̄) + η(ℓᵢ − ℓ̄).

    The losses of the dual step are those before the last step on the batch. Groups without rows in a batch have no part in
    it. The term with η alone re-weights the constrained rows before any multiplier acts: the control is `hold`.

    Parameters
    ----------
    labels
        Per constraint: 1, the cross-entropy among positives; 0, among negatives; None, the mean score of all rows.
    active
        [networks, groups] bool: which groups are constrained in which network.
    """

    uses_labels = True

    def __init__(
        self,
        variant: Literal["paper", "celeba"],
        step: float,
        inner: int,
        labels: Sequence[int | None],
        positive: int,
        active: Tensor,
        hold: bool = False,
    ) -> None:
        self.variant, self.step, self.inner, self.hold = variant, step, inner, hold
        self.labels, self.positive, self.active = labels, positive, active
        self.multipliers = torch.zeros(len(active), len(labels), active.shape[1])
        self._seen: list[tuple[Tensor, Tensor]] = []

    def see(self, inputs: Tensor) -> None:
        """Logits are enough."""

    def loss(self, logits: Tensor, labels: Tensor, groups: Tensor) -> Tensor:
        """Return what is added to each network's mean cross-entropy [networks]."""
        self.multipliers, self.active = self.multipliers.to(logits.device), self.active.to(logits.device)
        total, self._seen = logits.new_zeros(len(logits)), []
        for number, (mean, rows) in enumerate(self._means(logits, labels, groups)):
            self._seen.append((mean.detach(), rows > 0))
            total = total + (self._coefficients(number) * mean).sum(1)
        return total

    def violation(self, logits: Tensor, labels: Tensor, groups: Tensor) -> Tensor:
        """Return the largest difference between two groups' means [networks], over all constraints; 0 without a step."""
        if not self.step:
            return logits.new_zeros(len(logits))
        widest = [logits.new_zeros(len(logits))]
        for mean, rows in self._means(logits, labels, groups):
            high = mean.masked_fill(rows == 0, -torch.inf).amax(1)
            low = mean.masked_fill(rows == 0, torch.inf).amin(1)
            widest.append((high - low).clamp_min(0))
        return torch.stack(widest).amax(0)

    def dual(self) -> None:
        """Move the multipliers by the losses that `loss` saw last."""
        if self.hold:
            return
        for number, (mean, present) in enumerate(self._seen):
            now = self.multipliers[:, number]
            if self.variant == "celeba":
                now = _centred(now, self.active)
            self.multipliers[:, number] = now + self.step * _centred(mean, present & self.active)

    def epoch(self) -> None:
        """Let the step grow, in the variant that does."""
        if self.variant == "celeba":
            self.step *= GROWTH

    def only(self, which: Sequence[int]) -> None:
        """Go on with some of the networks."""
        self.multipliers, self.active = self.multipliers[list(which)], self.active[list(which)]

    def tensors(self) -> dict[str, Tensor]:
        """Return what an interrupted training must remember."""
        return {"multipliers": self.multipliers, "step": torch.tensor(self.step, dtype=torch.float64)}

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Go on from what `tensors` returned."""
        self.multipliers, self.step = tensors["multipliers"], float(tensors["step"])

    def facts(self, network: int) -> dict[str, Any]:
        return {"variant": self.variant, "step": self.step, "multipliers": self.multipliers[network].tolist()}

    def _means(self, logits: Tensor, labels: Tensor, groups: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield, per constraint, what is to be equal: each group's mean and rows, both [networks, groups]."""
        for label in self.labels:
            values = logits.softmax(-1)[..., self.positive] if label is None else row_losses(logits, labels)
            chosen = None if label is None else (labels == self.positive) == bool(label)
            yield means(values, groups, self.active.shape[1], chosen)

    def _coefficients(self, number: int) -> Tensor:
        """Return what each group's loss is multiplied by [networks, groups]; it is not part of the gradient."""
        centred = _centred(self.multipliers[:, number], self.active)
        count = self.active.sum(1, keepdim=True)
        if self.variant == "celeba":
            return (self.step / 4 + centred) * self.active * 2 / count
        return (self.step + centred * count / (count - 1).clamp_min(1)) * self.active * 2 / count


def _centred(values: Tensor, among: Tensor) -> Tensor:
    """Return values [networks, groups] minus their mean over some groups; 0 for the others."""
    mean = (values * among).sum(1, keepdim=True) / among.sum(1, keepdim=True).clamp_min(1)
    return (values - mean) * among
