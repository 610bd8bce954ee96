"""Further training of networks that were trained: as one batch, or one at a time where they read images."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from fairpress.models.functional_call import FastFunctionalCall
from fairpress.models.registry import Architecture
from fairpress.training.augment import Augment
from fairpress.training.data import Data
from fairpress.training.device import device_of
from fairpress.training.group_means import means
from fairpress.training.objective import Objective
from fairpress.training.precision import FORMATS
from fairpress.training.schedule import Schedule
from fairpress.training.stacked_networks import AfterStep, Batches, StackedNetworks, adamw, train_epoch
from fairpress.training.trainer import EVALUATION_BATCH, EpochResult, train_module

# Called before each epoch with all tensors of the networks [networks, …], which it may change in place.
BeforeEpoch = Callable[[Mapping[str, Tensor]], None]
Say = Callable[[str], None]
# Another stream of rows than the first training's, the same for a recipe and its placebo.
STREAM = 1_000_003


@dataclass(frozen=True)
class TrainingRun:
    """How long and how fast to train on: AdamW, the rate falling along a half cosine, no early stopping."""

    epochs: int
    learning_rate: float
    weight_decay: float
    batch_size: int


def trains_alone(architecture: Architecture) -> bool:
    """Tell whether networks of this architecture train one at a time."""
    return bool(getattr(architecture, "alone", architecture.reads == "images"))


def train_stack(
    stack: StackedNetworks,
    rows: Sequence[Data],
    seeds: Sequence[int],
    course: TrainingRun,
    say: Say | None = None,
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
        Receives the share of the training that is done, and the parameters [networks, …], which it may change in place.
    objective
        Adds to the loss; the rows then have groups.
    """
    device = next(iter(stack.parameters.values())).device
    optimizer = adamw(stack, course.learning_rate, course.weight_decay)
    batches = Batches(rows, [seed + STREAM for seed in seeds], course.batch_size)
    for epoch in range(course.epochs):
        if before_epoch is not None:
            before_epoch({**stack.parameters, **stack.buffers})
        for group in optimizer.param_groups:
            group["lr"] = course.learning_rate * (1 + math.cos(math.pi * epoch / course.epochs)) / 2
        train_epoch(
            stack,
            optimizer,
            batches,
            device,
            epoch / course.epochs,
            1 / course.epochs,
            after_step,
            objective=objective,
        )
        if say is not None:
            say(f"epoch {epoch + 1} of {course.epochs}")


def train_alone(
    module: nn.Module,
    rows: Data,
    seed: int,
    course: TrainingRun,
    origin: Mapping[str, Any],
    say: Say | None = None,
    after_step: AfterStep | None = None,
    before_epoch: BeforeEpoch | None = None,
    objective: Objective | None = None,
) -> dict[str, Tensor]:
    """Train one network in place and return its state.

    Images are changed as in the training that `origin` (a card's provenance) tells of, and lie in memory as they did
    there. Arithmetic is fp32 in any case: rounding to 8 bits in bf16, which has 8, would be another rounding, and
    a placebo must not differ from its recipe in anything else.
    """
    training = origin.get("training", {})
    images = rows.inputs.dtype == torch.uint8
    way = FORMATS["fp32-channels-last" if "channels-last" in str(origin.get("way")) else "fp32"]

    def tensors() -> dict[str, Tensor]:
        # Tied weights have two names, and a graph may read them by either.
        named = (
            module.named_parameters(remove_duplicate=False),
            module.named_buffers(remove_duplicate=False),
        )
        return {k: v.detach()[None] for part in named for k, v in part}

    def on_epoch(epoch: EpochResult) -> None:
        if before_epoch is not None and epoch.number < course.epochs:
            before_epoch(tensors())

    def masked(done: float, parameters: dict[str, Tensor]) -> None:
        assert after_step is not None
        after_step(done, {k: v.detach()[None] for k, v in parameters.items()})

    device = device_of(origin)
    module = way.place(module, device)
    if before_epoch is not None:
        before_epoch(tensors())
    trained = train_module(
        module,
        rows,
        Schedule(course.epochs, course.batch_size, course.learning_rate, course.weight_decay),
        seed=seed + STREAM,
        device=device,
        way=way,
        augment=Augment(training.get("flip", False), training.get("shift", 0.0)) if images else None,
        after_step=None if after_step is None else masked,
        on_epoch=on_epoch,
        say=say,
        objective=objective,
    )
    return trained.state


@torch.no_grad()
def accuracy_by_group(
    module: nn.Module, states: Sequence[Mapping[str, Tensor]], rows: Sequence[Data], count: int
) -> Tensor:
    """Return each network's accuracy in each group of its rows [networks, count]; 0 where it has none."""
    module.eval()
    slots, found = FastFunctionalCall(module), []
    for state, own in zip(states, rows, strict=True):
        assert own.groups is not None
        batches = torch.arange(len(own.labels)).split(EVALUATION_BATCH)
        decided = torch.cat([slots.call(dict(state), own.inputs[batch]).argmax(-1) for batch in batches])
        right = (decided.cpu() == own.labels).float()
        found.append(means(right[None], own.groups[None], count)[0][0])
    return torch.stack(found)
