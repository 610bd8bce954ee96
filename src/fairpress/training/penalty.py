"""A penalty on differences of scores between groups: the simplest way to train for fairness."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from fairpress.training.group_means import means


class Penalty:
    """λ · Σ_c Σ_{i<j} w_ij (p_i − p_j)², p the mean score of the positive class in a group among the rows of a label.

    The weights w_ij ∝ nᵢnⱼ/(nᵢ+nⱼ) add up to 1 in every batch: differences of small groups are mostly noise there. With
    two groups it is the squared difference. A soft form of the gaps that it is named after (as in Beutel et al. 2019,
    arXiv 1901.04562).

    Parameters
    ----------
    labels
        Per constraint: 1 among positives, 0 among negatives, None among all rows.
    """

    inner = 1
    uses_labels = True

    def __init__(self, strength: float, labels: Sequence[int | None], positive: int, groups: int) -> None:
        self.strength, self.labels, self.positive, self.groups = strength, labels, positive, groups

    def see(self, inputs: Tensor) -> None:
        """Logits are enough."""

    def loss(self, logits: Tensor, labels: Tensor, groups: Tensor) -> Tensor:
        """Return what is added to each network's mean cross-entropy [networks]."""
        score, is_positive = logits.softmax(-1)[..., self.positive], labels == self.positive
        total = score.new_zeros(len(score))
        for label in self.labels:
            mean, rows = means(
                score, groups, self.groups, None if label is None else is_positive == bool(label)
            )
            total = total + between(mean, rows)
        return self.strength * total

    def violation(self, logits: Tensor, labels: Tensor, groups: Tensor) -> Tensor:
        """Return the penalty of whole parts [networks]."""
        return self.loss(logits, labels, groups)

    def dual(self) -> None:
        """A penalty has no multipliers."""

    def epoch(self) -> None:
        """A penalty stays as it is."""

    def only(self, which: Sequence[int]) -> None:
        """A penalty remembers nothing of a network."""

    def tensors(self) -> dict[str, Tensor]:
        return {}

    def load(self, tensors: dict[str, Tensor]) -> None:
        """A penalty remembers nothing."""

    def facts(self, network: int) -> dict[str, Any]:
        return {"strength": self.strength}


def between(mean: Tensor, rows: Tensor) -> Tensor:
    """Return the weighted mean square of the differences between groups [networks]; 0 where one group is alone."""
    n = rows.to(mean)
    first, second = torch.triu_indices(mean.shape[1], mean.shape[1], 1)
    weight = n[:, first] * n[:, second] / (n[:, first] + n[:, second]).clamp_min(1)
    squares = (mean[:, first] - mean[:, second]).square()
    return (weight * squares).sum(1) / weight.sum(1).clamp_min(1e-12)
