"""Train many networks as one batch, from their seeds to the best epoch of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from fairpress.core.progress import OnMessage
from fairpress.models.feature_scaling import fit_robust, fit_standardize
from fairpress.models.registry import build
from fairpress.training.data import Data
from fairpress.training.logistic_init import initialize_from_logistic
from fairpress.training.stacked_networks import (
    Batches,
    StackedNetworks,
    State,
    adamw,
    evaluate,
    row_losses,
    train_epoch,
)

if TYPE_CHECKING:
    from fairpress.models.registry import Architecture
    from fairpress.training.config import FitConfig
    from fairpress.training.objective import Objective


# With fewer validation rows of some class, the best of forty epochs may be the luckiest one.
MIN_VALIDATION_ROWS = 250
ONE_SIDED_Z = 1.645  # standard errors of a one-sided test at 95 %


@dataclass
class BestCheckpoint:
    """A network's best epoch: state, validation results, epochs trained, and facts of the fairness objective."""

    state: State
    validation_loss: float = float("inf")
    validation_accuracy: float = 0.0
    best_epoch: int = 0
    epochs: int = 0
    criterion: float = float("inf")
    fairness: dict[str, Any] | None = None


@dataclass(frozen=True)
class BatchTrainingResult:
    """An architecture's module (with no weights that mean anything) and what each network keeps."""

    module: nn.Module
    networks: list[BestCheckpoint]


@dataclass
class _Run:
    module: nn.Module
    stack: StackedNetworks
    optimizer: torch.optim.Optimizer
    batches: Batches


def _start(
    architecture: Architecture,
    train: Sequence[Data],
    classes: int,
    seeds: Sequence[int],
    config: FitConfig,
    device: torch.device,
) -> _Run:
    columns = train[0].inputs.shape[1]
    states = []
    for data, seed in zip(train, seeds, strict=True):
        state = {
            k: v.detach().clone() for k, v in build(architecture, columns, classes, seed).state_dict().items()
        }
        standardize = fit_robust if config.start == "linear" else fit_standardize
        state["0.mean"], state["0.scale"] = standardize(data.inputs)
        if config.start == "linear":
            state = initialize_from_logistic(state, data.inputs, data.labels, classes, data.weights)
        states.append(state)
    module = build(architecture, columns, classes)
    stack = StackedNetworks.from_states(module, states, device)
    assert config.batch_size is not None, "chosen by `fit.settled`"
    optimizer = adamw(stack, config.learning_rate, config.weight_decay)
    return _Run(module, stack, optimizer, Batches(train, seeds, config.batch_size))


def train_together(
    architecture: Architecture,
    train: Sequence[Data],
    validation: Sequence[Data],
    classes: int,
    seeds: Sequence[int],
    config: FitConfig,
    device: torch.device,
    on_message: OnMessage | None = None,
    objective: Objective | None = None,
) -> BatchTrainingResult:
    """Train each network until its patience has run out; one that is done leaves the batch to the others.

    With ``keep="last"`` in the config all train to the last epoch and keep its state. An `objective` adds to the
    loss, and its violation on validation rows to theirs; the rows then have groups.

    A network that starts from the logistic regression keeps that (epoch 0) unless an epoch's validation loss is lower; with
    fewer than `MIN_VALIDATION_ROWS` validation rows of some class, unless it is shown to be lower (one-sided, at 95 %).
    Under an `objective`, which the start does not optimize, it always keeps an epoch.
    """
    run = _start(architecture, train, classes, seeds, config, device)
    checkpoints = [BestCheckpoint(state) for state in run.stack.states()]
    active = list(range(len(seeds)))
    guarded = config.start == "linear" and config.keep == "best" and objective is None
    if guarded:
        first = [v.tolist() for v in evaluate(run.stack, validation, device)]
        for checkpoint, checkpoint.validation_loss, checkpoint.validation_accuracy in zip(
            checkpoints, *first[:2], strict=True
        ):
            checkpoint.criterion = checkpoint.validation_loss
    start = [replace(checkpoint) for checkpoint in checkpoints]
    for epoch in range(1, config.max_epochs + 1):
        train_epoch(run.stack, run.optimizer, run.batches, device, objective=objective)
        measured = evaluate(run.stack, [validation[i] for i in active], device, objective)
        losses, accuracies, violations = (v.tolist() for v in measured)
        states = run.stack.states()
        for i, state, loss, accuracy, violation in zip(
            active, states, losses, accuracies, violations, strict=True
        ):
            checkpoints[i].epochs = epoch
            if config.keep == "last" or loss + violation < checkpoints[i].criterion:
                checkpoints[i] = BestCheckpoint(state, loss, accuracy, epoch, epoch, loss + violation)
                checkpoints[i].fairness = None if objective is None else objective.facts(active.index(i))
        remaining = [p for p, i in enumerate(active) if epoch - checkpoints[i].best_epoch < config.patience]
        if on_message is not None:
            on_message(
                f"epoch {epoch} of at most {config.max_epochs}, {len(seeds) - len(remaining)} of {len(seeds)} stopped"
            )
        if not remaining:
            break
        if len(remaining) < len(active):
            run.stack.only(remaining, run.optimizer)
            run.batches.only(remaining)
            if objective is not None:
                objective.only(remaining)
            active = [active[p] for p in remaining]
    if guarded:
        checkpoints = _clearly_better(run.module, checkpoints, start, validation, device)
    return BatchTrainingResult(run.module, checkpoints)


def _clearly_better(
    module: nn.Module,
    best: list[BestCheckpoint],
    start: list[BestCheckpoint],
    validation: Sequence[Data],
    device: torch.device,
) -> list[BestCheckpoint]:
    """Return each network's checkpoint: its start if too few validation rows show that the best epoch is better."""
    before, after = (
        row_losses(StackedNetworks.from_states(module, [k.state for k in states], device), validation, device)
        for states in (start, best)
    )
    out = []
    for checkpoint, first, b, a, rows in zip(best, start, before, after, validation, strict=True):
        gain = (b - a).double()
        error = float(gain.std()) / len(gain) ** 0.5 if len(gain) > 1 else float("inf")
        few = int(rows.labels.unique(return_counts=True)[1].min()) < MIN_VALIDATION_ROWS
        better = float(gain.mean()) > (ONE_SIDED_Z * error if few else 0.0)
        out.append(checkpoint if better else replace(first, epochs=checkpoint.epochs))
    return out


def states_after(
    architecture: Architecture,
    train: Sequence[Data],
    classes: int,
    seeds: Sequence[int],
    config: FitConfig,
    epochs: float,
    device: torch.device,
    objective: Objective | None = None,
) -> list[State]:
    """Return each network's state after `epochs` epochs of `train_together`.

    A fraction of an epoch is that share of its steps. The same networks in the same batch take the same steps, to
    the last bit until the first of them leaves the batch there.
    """
    run = _start(architecture, train, classes, seeds, config, device)
    left = epochs
    while left > 1e-9:
        train_epoch(run.stack, run.optimizer, run.batches, device, part=min(left, 1.0), objective=objective)
        left -= 1
    return run.stack.states()
