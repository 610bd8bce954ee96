"""Quantization-aware training: fine-tuning with fake-quantized weights and activations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Literal

from fairpress.compression.step import TrainedNetwork
from fairpress.compression.steps.finetune import FineTune, with_trained_states, zero_mask
from fairpress.compression.steps.quantize import QuantizationOptions, quantizer_for, warn_of_differences
from fairpress.core.progress import OnMessage
from fairpress.datasets.dataset import Dataset
from fairpress.training.constraint_config import ConstraintConfig

if TYPE_CHECKING:
    from fairpress.training.objective import Objective


Start = Literal["nearest", "gptq"]


class TrainQuantized(FineTune, QuantizationOptions):
    """Fine-tune, constrained or not, with the quantization of the finished file in every forward pass.

    Jacob et al. 2018, arXiv 1712.05877.

    Gradients use the straight-through estimator. Ranges of weights and activations are re-estimated before every epoch, on
    calibration rows with quantization on, and fixed within it; the file has those of the last epoch. Batch norm runs in
    training mode. Since a weight has one scale per output channel, folding it afterwards only multiplies scales: the file
    contains the integers that were trained.

    Attributes
    ----------
    start
        ``"nearest"``: the float weights. ``"gptq"``: those that error compensation rounds them to on calibration rows
        (`rounding.compensate`), with its scales until others round the weights with less error.
    """

    final: ClassVar[bool] = True

    start: Start = "nearest"

    @property
    def reads_groups(self) -> bool:
        return True  # `QuantizationOptions` refuses a `by` that nothing reads

    def plain(self) -> TrainQuantized:
        """Return the same step, trained without a constraint and calibrated without regard to groups."""
        plain = {k: f.default for k, f in ConstraintConfig.model_fields.items()}
        return self.model_copy(update={**plain, **self.options_without_groups()})

    def apply(
        self,
        networks: Sequence[TrainedNetwork],
        datasets: Sequence[Dataset],
        seeds: Sequence[int],
        on_message: OnMessage | None = None,
    ) -> list[TrainedNetwork]:
        """Fine-tune all networks, small ones as one batch, then write each one's file."""
        import torch

        from fairpress.compression.finetuning import train_alone, train_stack, trains_alone
        from fairpress.compression.quantization.qat import QATGraphs
        from fairpress.compression.quantized_graph.rounded_chain import rounded_chain
        from fairpress.models.tracing import trainable
        from fairpress.training.stacked_networks import StackedNetworks

        architecture = networks[0].architecture
        training_run = self.training_run(architecture)
        calibration, sampling_facts = self.calibration_rows(datasets, seeds)
        validation, groups = self.validation_rows(datasets) or (None, None)
        engine = quantizer_for(networks[0], datasets[0])
        qat_graphs = QATGraphs.prepare(engine, self.scheme)
        float_states = [n.state for n in networks]
        tops, channel_facts = self.preserved(engine, float_states, calibration, datasets, seeds) or (
            None,
            [{}] * len(sampling_facts),
        )
        states = [qat_graphs.first_state(s) | (tops[i] if tops else {}) for i, s in enumerate(float_states)]
        methods = qat_graphs.choose(states, calibration, validation, self.weights, self.activations, groups)
        update_ranges = partial(qat_graphs.update_ranges, on_grid=self.start == "gptq")
        if self.start == "gptq":
            states = [
                qat_graphs.compensated(s, rows, method)
                for s, rows, (method, _) in zip(states, calibration, methods, strict=True)
            ]
        objectives: list[Objective | None] = []
        if not trains_alone(architecture):
            rows, objective = self.rows_and_objective(networks, datasets, on_message)
            objectives = [objective] * len(networks)
            graph = qat_graphs.training.graph
            stack = StackedNetworks.from_states(
                graph, states, torch.device("cpu"), chain=rounded_chain(graph)
            )
            update = partial(update_ranges, calibration=calibration, methods=methods)
            zeros = zero_mask(networks, stack.parameters)
            train_stack(stack, rows, seeds, training_run, on_message, zeros, update, objective)
            states = stack.states()
        else:
            graph = trainable(qat_graphs.training.graph)
            for i, (network, seed) in enumerate(zip(networks, seeds, strict=True)):
                graph.load_state_dict(states[i])
                update = partial(update_ranges, calibration=[calibration[i]], methods=[methods[i]])
                zeros = zero_mask([network], {k: v[None] for k, v in graph.named_parameters()})
                (data,), objective = self.rows_and_objective([network], [datasets[i]], on_message)
                objectives.append(objective)
                states[i] = train_alone(
                    graph, data, seed, training_run, network.origin, on_message, zeros, update, objective
                )
        quantized = list(map(qat_graphs.finish, states, calibration, methods))
        if on_message is not None:
            warn_of_differences(quantized, on_message)
        trained = with_trained_states(
            networks, states, training_run, objectives, one_at_a_time=trains_alone(architecture)
        )
        return [
            replace(
                n,
                onnx=q.onnx,
                details={**n.details, "calibration_rows": len(rows), **sampling, **channels, **q.details},
            )
            for n, q, rows, sampling, channels in zip(
                trained, quantized, calibration, sampling_facts, channel_facts, strict=True
            )
        ]
