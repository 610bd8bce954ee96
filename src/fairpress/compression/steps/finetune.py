"""Further training after which a network keeps its last state: the common part of pruning and its placebo."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from fairpress.compression.step import Network, Progress, Step
from fairpress.datasets.base import Dataset

if TYPE_CHECKING:
    from fairpress.training.loop import AfterStep


class FineTune(Step):
    """Train `epochs` more with Adam, the rate falling along a half cosine; no early stopping.

    As a step of its own it is the placebo: what pruning does to a network, less the pruning.
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
        return self.train(networks, datasets, seeds, progress, None)

    def train(
        self,
        networks: Sequence[Network],
        datasets: Sequence[Dataset],
        seeds: Sequence[int],
        progress: Progress | None,
        after_step: AfterStep | None,
    ) -> list[Network]:
        """Run the training; `after_step` may change the stacked parameters after every step."""
        import math

        import torch

        from fairpress.models.registry import build
        from fairpress.training.fit import tensors
        from fairpress.training.loop import Batches, Stack, train_epoch

        data = [tensors(d, "train") for d in datasets]
        device = torch.device("cpu")
        classes = len(datasets[0].task.classes)
        module = build(networks[0].architecture, data[0].inputs.shape[1], classes)
        stack = Stack.of(module, [dict(n.state) for n in networks], device)
        optimizer = torch.optim.AdamW(
            stack.parameters.values(), lr=self.learning_rate, weight_decay=self.weight_decay
        )
        # Another stream than the first training's, the same for pruning and placebo.
        batches = Batches(data, [seed + 1_000_003 for seed in seeds], self.batch_size)
        for epoch in range(self.epochs):
            for group in optimizer.param_groups:
                group["lr"] = self.learning_rate * (1 + math.cos(math.pi * epoch / self.epochs)) / 2
            train_epoch(stack, optimizer, batches, device, epoch / self.epochs, 1 / self.epochs, after_step)
            if progress is not None:
                progress(f"epoch {epoch + 1} of {self.epochs}")
        return [
            replace(n, state=state, details={**n.details, "extra_epochs": self.epochs})
            for n, state in zip(networks, stack.states(), strict=True)
        ]
