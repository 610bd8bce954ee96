"""Further training after which a network keeps its last state: what pruning and quantization-aware training share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from fairpress.compression.step import Network, Progress, Step
from fairpress.datasets.base import Dataset

if TYPE_CHECKING:
    from fairpress.training.loop import AfterStep, Stack


class FineTune(Step):
    """Train `epochs` more with AdamW, the rate falling along a half cosine; no early stopping.

    As a step of its own it is the placebo of every recipe that trains so: the same rows in the same order, the
    same steps, and nothing compressed. What pruning set to zero before stays zero.
    """

    trains: ClassVar[bool] = True

    epochs: int = Field(default=10, ge=1)
    learning_rate: float = Field(default=1e-3, gt=0)
    weight_decay: float = Field(default=1e-4, ge=0)
    batch_size: int = Field(default=128, ge=1)

    def apply(
        self,
        networks: Sequence[Network],
        datasets: Sequence[Dataset],
        seeds: Sequence[int],
        progress: Progress | None = None,
    ) -> list[Network]:
        """Fine-tune all networks as one batch."""
        import torch

        from fairpress.models.blank import blank
        from fairpress.training.loop import Stack

        module = blank(networks[0].architecture, datasets[0])
        stack = Stack.of(module, [dict(n.state) for n in networks], torch.device("cpu"))
        self.train(stack, networks, datasets, seeds, progress)
        return self.trained(networks, stack)

    def train(
        self,
        stack: Stack,
        networks: Sequence[Network],
        datasets: Sequence[Dataset],
        seeds: Sequence[int],
        progress: Progress | None,
        after_step: AfterStep | None = None,
        before_epoch: Callable[[int], None] | None = None,
    ) -> None:
        """Train a stack in place.

        Parameters
        ----------
        after_step
            May change the stacked parameters after every step.
        before_epoch
            Told the number of epochs done.
        """
        import math

        import torch

        from fairpress.compression.steps.prune import keep_zeros
        from fairpress.training.fit import tensors
        from fairpress.training.loop import Batches, adamw, train_epoch

        optimizer = adamw(stack, self.learning_rate, self.weight_decay)
        if after_step is None and any("sparsity" in n.details for n in networks):
            after_step = keep_zeros(stack.parameters)
        # Another stream than the first training's, the same for a recipe and its placebo.
        rows = [tensors(d, "train") for d in datasets]
        batches = Batches(rows, [seed + 1_000_003 for seed in seeds], self.batch_size)
        for epoch in range(self.epochs):
            if before_epoch is not None:
                before_epoch(epoch)
            for group in optimizer.param_groups:
                group["lr"] = self.learning_rate * (1 + math.cos(math.pi * epoch / self.epochs)) / 2
            done, share = epoch / self.epochs, 1 / self.epochs
            train_epoch(stack, optimizer, batches, torch.device("cpu"), done, share, after_step)
            if progress is not None:
                progress(f"epoch {epoch + 1} of {self.epochs}")

    def trained(self, networks: Sequence[Network], stack: Stack) -> list[Network]:
        """Return the networks with the states of a stack that was trained."""
        return [
            replace(
                n,
                state=state,
                details={**n.details, "extra_epochs": n.details.get("extra_epochs", 0) + self.epochs},
            )
            for n, state in zip(networks, stack.states(), strict=True)
        ]

    def placebo(self) -> FineTune:
        """Return the same training with nothing compressed."""
        return FineTune(**{k: getattr(self, k) for k in FineTune.model_fields})
