"""Fine-tune trained networks: as one batch, or one at a time if they read images or texts."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fairpress.compression.step import TrainedNetwork
from fairpress.core.progress import OnMessage
from fairpress.core.time_left import describe_seconds
from fairpress.datasets.dataset import Dataset
from fairpress.models.functional_call import FastFunctionalCall
from fairpress.models.initialize import initialize
from fairpress.models.registry import Architecture
from fairpress.training.augment import Augment
from fairpress.training.data import Data
from fairpress.training.device import device_of
from fairpress.training.distillation import Teach
from fairpress.training.group_means import means
from fairpress.training.objective import Objective
from fairpress.training.precision import FORMATS, TrainingFormat
from fairpress.training.result import EpochResult
from fairpress.training.schedule import Schedule
from fairpress.training.stacked_networks import AfterStep, Batches, StackedNetworks, adamw, train_epoch
from fairpress.training.trainer import EVALUATION_BATCH, LEFT_SECONDS, train_module

# Called before each epoch with all tensors of the networks [networks, …], which it may change in place.
BeforeEpoch = Callable[[Mapping[str, Tensor]], None]
# Offset of the seed that orders the rows: unlike the first training's, the same for a recipe and its placebo.
STREAM = 1_000_003


@dataclass(frozen=True)
class TrainingRun:
    """Length and rate of fine-tuning: AdamW, cosine decay of the learning rate, no early stopping."""

    epochs: int
    learning_rate: float
    weight_decay: float
    batch_size: int


def baselines_of(networks: Sequence[TrainedNetwork], dataset: Dataset) -> Teach:
    """Return the function that computes the logits of the networks' baselines, in evaluation mode.

    Each batch is computed as it comes: images are augmented, and a network is to answer as its baseline does on the image
    that it is shown (Beyer et al. 2022, arXiv 2106.05237). That is a forward pass more for each step.
    """
    baselines = [n.baseline or n for n in networks]
    architecture = baselines[0].architecture
    blank, states = initialize(architecture, dataset).eval(), [dict(n.state) for n in baselines]
    if not trains_alone(architecture):
        return StackedNetworks.from_states(blank, states, torch.device("cpu")).forward
    modules = []
    for network, state in zip(networks, states, strict=True):
        module = copy.deepcopy(blank)
        module.load_state_dict(state)
        modules.append(training_format(network.origin).move_module(module, device_of(network.origin)))
    return lambda inputs: torch.stack([m(rows) for m, rows in zip(modules, inputs, strict=True)])


def training_format(origin: Mapping[str, Any]) -> TrainingFormat:
    """Return the format of a network's fine-tuning: fp32, with the memory order of its first training."""
    return FORMATS["fp32-channels-last" if "channels-last" in str(origin.get("way")) else "fp32"]


def trains_alone(architecture: Architecture) -> bool:
    """Tell whether networks of this architecture train one at a time."""
    return bool(getattr(architecture, "trains_alone", architecture.reads != "table"))


def train_stack(
    stack: StackedNetworks,
    rows: Sequence[Data],
    seeds: Sequence[int],
    training_run: TrainingRun,
    on_message: OnMessage | None = None,
    after_step: AfterStep | None = None,
    before_epoch: BeforeEpoch | None = None,
    objective: Objective | None = None,
) -> None:
    """Train all networks of a stack in place.

    Parameters
    ----------
    rows, seeds
        Training rows and seed of each network.
    after_step
        Receives the completed share of the training and the parameters [networks, …], which it may change in place.
    objective
        A term added to the loss; the rows must then have groups.
    """
    device = next(iter(stack.parameters.values())).device
    optimizer = adamw(stack, training_run.learning_rate, training_run.weight_decay)
    batches = Batches(rows, [seed + STREAM for seed in seeds], training_run.batch_size)
    started = time.monotonic()
    for epoch in range(training_run.epochs):
        if before_epoch is not None:
            before_epoch({**stack.parameters, **stack.buffers})
        for group in optimizer.param_groups:
            group["lr"] = (
                training_run.learning_rate * (1 + math.cos(math.pi * epoch / training_run.epochs)) / 2
            )
        train_epoch(
            stack,
            optimizer,
            batches,
            device,
            epoch / training_run.epochs,
            1 / training_run.epochs,
            after_step,
            objective=objective,
        )
        if on_message is not None:
            seconds = (time.monotonic() - started) / (epoch + 1) * (training_run.epochs - epoch - 1)
            left = f", about {describe_seconds(seconds)} left" if seconds > LEFT_SECONDS else ""
            on_message(f"epoch {epoch + 1} of {training_run.epochs}{left}")


def train_alone(
    module: nn.Module,
    rows: Data,
    seed: int,
    training_run: TrainingRun,
    origin: Mapping[str, Any],
    on_message: OnMessage | None = None,
    after_step: AfterStep | None = None,
    before_epoch: BeforeEpoch | None = None,
    objective: Objective | None = None,
) -> dict[str, Tensor]:
    """Train one network in place and return its state.

    Images are augmented as in the training that `origin` (a card's provenance) describes, with the same memory layout.
    Arithmetic is always fp32: bf16 has 8 significant bits, so rounding to 8 bits would differ there, and a placebo must
    differ from its recipe in the compression only.
    """
    training = origin.get("training", {})
    images = rows.inputs.dtype == torch.uint8
    precision = training_format(origin)

    def tensors() -> dict[str, Tensor]:
        # Tied weights have two names, and a graph may read them by either.
        named = (
            module.named_parameters(remove_duplicate=False),
            module.named_buffers(remove_duplicate=False),
        )
        return {k: v.detach()[None] for part in named for k, v in part}

    def on_epoch(epoch: EpochResult) -> None:
        if before_epoch is not None and epoch.number < training_run.epochs:
            before_epoch(tensors())

    def masked(done: float, parameters: dict[str, Tensor]) -> None:
        assert after_step is not None
        after_step(done, {k: v.detach()[None] for k, v in parameters.items()})

    device = device_of(origin)
    module = precision.move_module(module, device)
    if before_epoch is not None:
        before_epoch(tensors())
    trained = train_module(
        module,
        rows,
        Schedule(
            training_run.epochs,
            training_run.batch_size,
            training_run.learning_rate,
            training_run.weight_decay,
        ),
        seed=seed + STREAM,
        device=device,
        training_format=precision,
        augment=Augment(training.get("flip", False), training.get("shift", 0.0)) if images else None,
        after_step=None if after_step is None else masked,
        on_epoch=on_epoch,
        on_message=on_message,
        objective=objective,
    )
    return trained.state


@torch.no_grad()
def outputs_in_batches(network: TrainedNetwork, dataset: Dataset, inputs: Tensor) -> np.ndarray:
    """Return a float network's outputs [rows, width] for inputs [rows, …], in evaluation mode."""
    module = initialize(network.architecture, dataset)
    module.load_state_dict(dict(network.state))
    module.cpu().eval()
    batches = torch.arange(len(inputs)).split(EVALUATION_BATCH)
    return np.asarray(torch.cat([module(inputs[batch]).float() for batch in batches]).numpy())


@torch.no_grad()
def accuracy_by_group(
    module: nn.Module, states: Sequence[Mapping[str, Tensor]], rows: Sequence[Data], count: int
) -> Tensor:
    """Return each network's accuracy in each group of its rows [networks, count]; 0 for a group without rows."""
    module.eval()
    slots, accuracies = FastFunctionalCall(module), []
    for state, data in zip(states, rows, strict=True):
        assert data.groups is not None
        batches = torch.arange(len(data.labels)).split(EVALUATION_BATCH)
        predicted = torch.cat([slots.call(dict(state), data.inputs[batch]).argmax(-1) for batch in batches])
        correct = (predicted.cpu() == data.labels).float()
        accuracies.append(means(correct[None], data.groups[None], count)[0][0])
    return torch.stack(accuracies)
