"""Quantization-aware training: the network trains on while its weights and activations are rounded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

from fairpress.compression.step import Network, Progress
from fairpress.compression.steps.finetune import FineTune
from fairpress.compression.steps.quantize import Widths, engine_for, inputs
from fairpress.datasets.base import Dataset


class TrainQuantized(FineTune, Widths):
    """Train as `FineTune` does, every forward pass rounded as the file will round (Jacob et al. 2018, arXiv 1712.05877).

    The gradient passes the rounding straight through. Ranges of weights and activations are found anew before
    every epoch, on calibration rows with the rounding on, and stand still within it; the last epoch's ship.
    Batch norm stays as it is in training. Since a weight's scale is one per output channel, folding it afterwards
    only multiplies scales: the integers that were trained are the integers that ship.
    """

    final: ClassVar[bool] = True

    def apply(
        self,
        networks: Sequence[Network],
        datasets: Sequence[Dataset],
        seeds: Sequence[int],
        progress: Progress | None = None,
    ) -> list[Network]:
        """Train all networks as one batch, then make each one's file."""
        import torch

        from fairpress.compression.learn import Learning
        from fairpress.training.loop import Stack

        calibration = [inputs(d, "calibration", self.rows) for d in datasets]
        auto = "auto" in (self.weights, self.activations)
        validation = [inputs(d, "validation", self.rows) for d in datasets] if auto else None
        learning = Learning.of(engine_for(networks[0], datasets[0]), self.scheme)
        states = [learning.first_state(n.state) for n in networks]
        methods = learning.choose(states, calibration, validation, self.weights, self.activations)
        stack = Stack.of(learning.training.graph, states, torch.device("cpu"))

        def before_epoch(_done: int) -> None:
            learning.update_ranges({**stack.parameters, **stack.buffers}, calibration, methods)

        self.train(stack, networks, datasets, seeds, progress, before_epoch=before_epoch)
        made = map(learning.finish, stack.states(), calibration, methods)
        return [
            replace(n, onnx=q.onnx, details={**n.details, "calibration_rows": len(rows), **q.details})
            for n, q, rows in zip(self.trained(networks, stack), made, calibration, strict=True)
        ]
