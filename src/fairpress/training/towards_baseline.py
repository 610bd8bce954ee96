"""Training towards the baseline's own answers, with the labels or without them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from fairpress.core.output_kind import OutputKind
from fairpress.training.distillation import Distillation, Teach
from fairpress.training.objective import Objective


class TowardsBaseline:
    """KL(baseline‖network) of the class probabilities, in place of the cross-entropy of the labels or (`both`) added to it.

    The term of distillation (Hinton, Vinyals and Dean 2015, arXiv 1503.02531) at a temperature of 1 and a weight of 1,
    between a network and itself before compression. A constraint's term is added.

    Parameters
    ----------
    teach
        Inputs [networks, rows, …] → the baselines' logits [networks, rows, classes].
    constraint
        A term that is added.
    both
        Whether the labels' cross-entropy counts too, with the same weight.
    outputs
        What the networks predict: other outputs than classes have other distances (`distillation.distance`).
    """

    def __init__(
        self,
        teach: Teach,
        constraint: Objective | None = None,
        *,
        both: bool = False,
        outputs: OutputKind = "classes",
    ) -> None:
        self.constraint, self.uses_labels = constraint, both
        self.inner = 1 if constraint is None else constraint.inner
        self._term = Distillation(teach, 1.0, 1.0, outputs=outputs)
        self._sum: Tensor | None = None
        self._batches = 0
        self.divergence: Tensor | None = None

    def see(self, inputs: Tensor) -> None:
        """Compute the baselines' outputs for a batch [networks, rows, …], as it was augmented."""
        self._term.see(inputs)
        if self.constraint is not None:
            self.constraint.see(inputs)

    def loss(self, logits: Tensor, labels: Tensor, groups: Tensor) -> Tensor:
        """Return each network's divergence and the constraint's term [networks]."""
        apart = self._term.loss(logits, labels, groups)
        self._sum = apart.detach() if self._sum is None else self._sum + apart.detach()
        self._batches += 1
        return apart if self.constraint is None else apart + self.constraint.loss(logits, labels, groups)

    def violation(self, logits: Tensor, labels: Tensor, groups: Tensor) -> Tensor:
        """Return the constraint's violation [networks]; 0 without one."""
        if self.constraint is None:
            return torch.zeros(len(logits))
        return self.constraint.violation(logits, labels, groups)

    def dual(self) -> None:
        """Let the constraint move its multipliers."""
        if self.constraint is not None:
            self.constraint.dual()

    def epoch(self) -> None:
        """Keep the mean divergence of the epoch that is over."""
        if self._sum is not None:
            self.divergence = (self._sum / self._batches).cpu()
        self._sum, self._batches = None, 0
        if self.constraint is not None:
            self.constraint.epoch()

    def only(self, which: Sequence[int]) -> None:
        """Fine-tuning takes all networks to its last epoch."""
        raise TypeError("networks that are fine-tuned do not leave the batch")

    def tensors(self) -> dict[str, Tensor]:
        """Return what an interrupted training must remember."""
        constraint = {} if self.constraint is None else self.constraint.tensors()
        divergence = {} if self.divergence is None else {"divergence": self.divergence}
        return {**{f"constraint.{k}": v for k, v in constraint.items()}, **divergence}

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Go on from what `tensors` returned."""
        self.divergence = tensors.get("divergence")
        if self.constraint is not None:
            self.constraint.load(
                {k.removeprefix("constraint."): v for k, v in tensors.items() if k != "divergence"}
            )

    def facts(self, network: int) -> dict[str, Any]:
        """Return the facts for the card: the mean divergence of training rows in the last epoch, in nats."""
        divergence = None if self.divergence is None else float(self.divergence[network])
        return {"loss": "both" if self.uses_labels else "baseline", "divergence": divergence}
