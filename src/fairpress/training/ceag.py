"""CEAG (Hashemizadeh et al. 2024, Balancing Act, arXiv 2310.20673): no group loses more than the average plus ε."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from fairpress.training.group_means import means, row_losses

MEMORY_ROWS = 512  # rows of each group whose predictions are remembered


class Ceag:
    """Constrains, for every group g, ψ_g = (drop of g's accuracy) − (overall drop, by rows) ≤ ε.

    Drops are from the dense network's accuracy on training rows. Accuracy has no gradient: the network descends on
    Σ_g λ_g (ℓ_g − ℓ), cross-entropies, while the multipliers ascend, λ_g ← max(0, λ_g + η(ψ_g − ε)), on true accuracies of
    the last `MEMORY_ROWS` rows of each group.

    Parameters
    ----------
    dense, shares
        [networks, groups]: accuracy of the dense network, and share of the constrained rows.
    active
        [networks, groups] bool: which groups are constrained in which network.
    """

    inner = 1
    uses_labels = True

    def __init__(
        self, tolerance: float, step: float, dense: Tensor, shares: Tensor, active: Tensor, hold: bool = False
    ) -> None:
        self.tolerance, self.step, self.hold = tolerance, step, hold
        self.dense, self.shares, self.active = dense, shares, active
        self.multipliers = torch.zeros(active.shape)
        self._right = torch.zeros(*active.shape, MEMORY_ROWS)
        self._known = torch.zeros(*active.shape, MEMORY_ROWS, dtype=torch.bool)
        self._next = torch.zeros(active.shape, dtype=torch.long)

    def see(self, inputs: Tensor) -> None:
        """Logits are enough."""

    def loss(self, logits: Tensor, labels: Tensor, groups: Tensor) -> Tensor:
        """Return what is added to each network's mean cross-entropy [networks], and record which predictions were right."""
        self._move(logits.device)
        rows = row_losses(logits, labels)
        mean, count = means(rows, groups, self.active.shape[1])
        with torch.no_grad():
            self._remember((logits.argmax(-1) == labels).float(), groups)
        excess = mean - rows.mean(1, keepdim=True)
        return (self.multipliers * excess * (count > 0)).sum(1)

    def violation(self, logits: Tensor, labels: Tensor, groups: Tensor) -> Tensor:
        """Return 0 [networks]: recipes, which this is for, do not stop early."""
        return logits.new_zeros(len(logits))

    def dual(self) -> None:
        """Move the multipliers by how much each group lost beyond the average; groups without rows so far are unchanged."""
        if self.hold:
            return
        count = self._known.sum(-1)
        drop = self.dense - (self._right * self._known).sum(-1) / count.clamp_min(1)
        observed = self.active & (count > 0)
        weight = self.shares * observed
        overall = (drop * weight).sum(1, keepdim=True) / weight.sum(1, keepdim=True).clamp_min(1e-12)
        updated = (self.multipliers + self.step * (drop - overall - self.tolerance)).clamp_min(0)
        self.multipliers = torch.where(observed, updated, self.multipliers)

    def epoch(self) -> None:
        """The step stays as it is."""

    def only(self, which: Sequence[int]) -> None:
        """Go on with some of the networks."""
        indices = list(which)
        for name in ("dense", "shares", "active", "multipliers", "_right", "_known", "_next"):
            setattr(self, name, getattr(self, name)[indices])

    def tensors(self) -> dict[str, Tensor]:
        """Return what an interrupted training must remember."""
        names = ("multipliers", "_right", "_known", "_next")
        return {name.strip("_"): getattr(self, name) for name in names}

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Go on from what `tensors` returned."""
        self.multipliers = tensors["multipliers"]
        self._right, self._known, self._next = (tensors[n] for n in ("right", "known", "next"))

    def facts(self, network: int) -> dict[str, Any]:
        return {
            "tolerance": self.tolerance,
            "step": self.step,
            "dense_accuracy": self.dense[network].tolist(),
            "multipliers": self.multipliers[network].tolist(),
        }

    def _remember(self, right: Tensor, groups: Tensor) -> None:
        """Put a batch's correctness [networks, rows] into each group's ring buffer, overwriting the oldest."""
        count = self.active.shape[1]
        member = torch.nn.functional.one_hot(groups.clamp_min(0), count) * (groups >= 0)[..., None]
        slots = (self._next[:, None, :] + member.cumsum(1) - 1) % MEMORY_ROWS
        network, row = torch.nonzero(groups >= 0, as_tuple=True)
        group = groups[network, row]
        slot = slots[network, row, group]
        self._right[network, group, slot] = right[network, row]
        self._known[network, group, slot] = True
        self._next = (self._next + member.sum(1)) % MEMORY_ROWS

    def _move(self, device: torch.device) -> None:
        for name in ("dense", "shares", "active", "multipliers", "_right", "_known", "_next"):
            setattr(self, name, getattr(self, name).to(device))
