"""Quantization-aware training: the network trains on while its weights and activations are rounded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import ClassVar

from fairpress.compression.step import Network, Progress
from fairpress.compression.steps.finetune import FineTune, trained, zeros_stay
from fairpress.compression.steps.quantize import Widths, engine_for, inputs, warn_of_saturation
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
        """Train all networks on, small ones as one batch, then make each one's file."""
        import torch

        from fairpress.compression.further import alone, train_alone, train_stack
        from fairpress.compression.learn import Learning
        from fairpress.models.graph import trainable
        from fairpress.training.fit import tensors
        from fairpress.training.loop import Stack

        architecture = networks[0].architecture
        course = self.course(architecture)
        rows = [tensors(d, "train") for d in datasets]
        calibration = [inputs(d, "calibration", self.rows) for d in datasets]
        auto = "auto" in (self.weights, self.activations)
        validation = [inputs(d, "validation", self.rows) for d in datasets] if auto else None
        learning = Learning.of(engine_for(networks[0], datasets[0]), self.scheme)
        states = [learning.first_state(n.state) for n in networks]
        methods = learning.choose(states, calibration, validation, self.weights, self.activations)
        if not alone(architecture):
            stack = Stack.of(learning.training.graph, states, torch.device("cpu"))
            update = partial(learning.update_ranges, calibration=calibration, methods=methods)
            zeros = zeros_stay(networks, stack.parameters)
            train_stack(stack, rows, seeds, course, progress, zeros, update)
            states = stack.states()
        else:
            graph = trainable(learning.training.graph)
            for i, (network, seed) in enumerate(zip(networks, seeds, strict=True)):
                graph.load_state_dict(states[i])
                update = partial(learning.update_ranges, calibration=[calibration[i]], methods=[methods[i]])
                zeros = zeros_stay([network], {k: v[None] for k, v in graph.named_parameters()})
                states[i] = train_alone(graph, rows[i], seed, course, network.origin, progress, zeros, update)
        made = list(map(learning.finish, states, calibration, methods))
        if progress is not None:
            warn_of_saturation(made, progress)
        return [
            replace(n, onnx=q.onnx, details={**n.details, "calibration_rows": len(own), **q.details})
            for n, q, own in zip(trained(networks, states, course), made, calibration, strict=True)
        ]
