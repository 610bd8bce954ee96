"""Training of one network: any module that maps inputs to logits, an exported graph included."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from fairpress.core.errors import UserError
from fairpress.core.progress import OnMessage
from fairpress.core.time_left import describe_seconds
from fairpress.training.augment import Augment
from fairpress.training.batches import evaluation_batches, training_batches
from fairpress.training.checkpoints import TrainingCheckpoint
from fairpress.training.data import Data
from fairpress.training.label_loss import label_loss
from fairpress.training.precision import FORMATS, TrainingFormat
from fairpress.training.result import EpochResult, TrainingResult
from fairpress.training.schedule import Schedule
from fairpress.training.stacked_networks import AfterStep

if TYPE_CHECKING:
    from fairpress.training.objective import Objective

EVALUATION_BATCH = 256
MESSAGE_SECONDS = 15.0
LEFT_SECONDS = 10.0
"""Shorter rests are not worth a word."""


@dataclass
class _Progress:
    """The state of a training between epochs."""

    epochs: list[EpochResult] = field(default_factory=list)
    best: dict[str, Tensor] | None = None
    best_epoch: int = 0

    def ran_out(self, patience: int | None) -> bool:
        return patience is not None and len(self.epochs) - self.best_epoch >= patience


def train_module(
    module: nn.Module,
    data: Data,
    schedule: Schedule,
    *,
    seed: int,
    device: torch.device | str = "cpu",
    training_format: TrainingFormat = FORMATS["fp32"],
    augment: Augment | None = None,
    validation: Data | None = None,
    patience: int | None = None,
    until: int | None = None,
    after_step: AfterStep | None = None,
    on_epoch: Callable[[EpochResult], None] | None = None,
    checkpoint: TrainingCheckpoint | None = None,
    on_message: OnMessage | None = None,
    objective: Objective | None = None,
) -> TrainingResult:
    """Train a network in place by AdamW on the mean cross-entropy, and return its state.

    The order of rows, the augmentation and dropout depend on `seed` and the number of the epoch alone, so that an
    interrupted training ends as one that was not; torch's global generator is not changed.

    Parameters
    ----------
    module
        Maps inputs [rows, …] to logits [rows, classes]. It may be a graph from torch.export: one that refuses
        ``train()`` and ``eval()`` is left in the mode it was exported in. Afterwards it holds the returned state, in
        evaluation mode, on `device`.
    data, validation
        Inputs [rows, …] and labels [rows] int64; `MemmapRows` or `TokenRows` in place of a tensor read rows
        when they are needed.
    training_format
        Precision and memory order of training; evaluation is always in fp32, as the network is shipped.
    augment
        Changes batches of images.
    patience
        Stop after this number of epochs without a lower validation loss (plus violation), and return the best epoch's state.
        None: take every epoch and return the last.
    until
        Stop after this number of epochs; the schedule keeps its full length.
    after_step
        Receives the share of all training done and the parameters by name, which it may change in place: pruning
        masks, projections.
    on_epoch
        Receives the result of each epoch of this run.
    checkpoint
        Stores the state after each epoch; training resumes from it if it belongs to the same training.
    on_message
        Receives a message each epoch, and every quarter of a minute of a long one.
    objective
        Adds to the loss (or is the loss, where it uses no labels), and its violation on validation rows to theirs. Rows
        without groups are of group −1.

    Raises
    ------
    UserError
        The loss became infinite, or the checkpoint cannot be written.
    """
    device = torch.device(device)
    run = _Run(
        training_format.move_module(module, device),
        data,
        schedule,
        device,
        training_format,
        augment,
        after_step,
        on_message,
        objective,
        "about" if patience is None or validation is None else "at most",
    )
    progress = _Progress()
    if checkpoint is not None:
        _resume(checkpoint, run, progress)
    resumed_after = len(progress.epochs)
    if resumed_after and on_message is not None:
        on_message(
            f"resuming after epoch {resumed_after} of {schedule.epochs}, the last that an interrupted training finished"
        )
    last = min(schedule.epochs, until or schedule.epochs)
    while len(progress.epochs) < last and not progress.ran_out(patience):
        number = len(progress.epochs) + 1
        started = time.perf_counter()
        with _seeded_randomness(device, _draw(seed, -number)):
            loss, rate = run.epoch(number, torch.Generator().manual_seed(_draw(seed, number)))
        if not math.isfinite(loss):
            raise UserError(
                f"training diverged in epoch {number} (the loss is {loss}); lower the learning rate, now "
                f"{schedule.learning_rate:g}."
            )
        measured = (None, None) if validation is None else evaluate(module, validation, device, objective)
        epoch = EpochResult(number, loss, time.perf_counter() - started, rate, *measured)
        progress.epochs.append(epoch)
        _keep_best(progress, module, patience)
        if checkpoint is not None:
            _write(checkpoint, run, progress)
        if on_epoch is not None:
            on_epoch(epoch)
        if on_message is not None:
            on_message(_sentence(epoch, schedule.epochs, run.bound))
    if progress.best is not None:
        module.load_state_dict(progress.best)
    set_mode(module, training=False)
    return TrainingResult(_state(module), progress.best_epoch, tuple(progress.epochs), resumed_after)


class _Run:
    """One training, from its first step to its last."""

    def __init__(
        self,
        module: nn.Module,
        data: Data,
        schedule: Schedule,
        device: torch.device,
        training_format: TrainingFormat,
        augment: Augment | None,
        after_step: AfterStep | None,
        on_message: OnMessage | None,
        objective: Objective | None = None,
        bound: str = "about",
    ) -> None:
        self.bound = bound  # early stopping may end it sooner
        self.module, self.data, self.schedule, self.device, self.training_format = (
            module,
            data,
            schedule,
            device,
            training_format,
        )
        self.augment, self.after_step, self.on_message, self.objective = (
            augment,
            after_step,
            on_message,
            objective,
        )
        self.parameters = {k: p for k, p in module.named_parameters() if p.requires_grad}
        decayed = [p for p in self.parameters.values() if p.dim() >= 2]
        plain = [p for p in self.parameters.values() if p.dim() < 2]
        self.optimizer = torch.optim.AdamW(
            [
                {"params": decayed, "weight_decay": schedule.weight_decay},
                {"params": plain, "weight_decay": 0.0},
            ],
            lr=schedule.learning_rate,
            fused=True,  # one pass over the weights: a tenth of a step's time where images are small
        )

    def epoch(self, number: int, generator: torch.Generator) -> tuple[float, float]:
        """Take one epoch of `training_batches`; return the mean loss and the rows a second."""
        set_mode(self.module, training=True)
        batches = training_batches(self.data.inputs, self.schedule.batch_size, generator)
        seen = 0
        total = torch.zeros((), device=self.device)
        started = last_message = time.perf_counter()
        for step, batch in enumerate(batches):
            for group in self.optimizer.param_groups:
                group["lr"] = self.schedule.rate((number - 1 + step / len(batches)) / self.schedule.epochs)
            total += self.step(
                batch, generator, (number - 1 + (step + 1) / len(batches)) / self.schedule.epochs
            )
            seen += len(batch)
            now = time.perf_counter()
            if self.on_message is not None and now - last_message > MESSAGE_SECONDS:
                last_message, speed = now, seen / (now - started)
                share = (step + 1) / len(batches)
                seconds = (now - started) / share * (self.schedule.epochs - number + 1 - share)
                left = f"{self.bound} {describe_seconds(seconds)} left"
                self.on_message(
                    f"epoch {number} of {self.schedule.epochs}, {share:.0%}: {speed:.0f} rows/s, {left}"
                )
        if self.objective is not None:
            self.objective.epoch()
        mean = total.item() / len(batches)  # waits for the device
        return mean, seen / (time.perf_counter() - started)

    def step(self, batch: Tensor, generator: torch.Generator, done: float) -> Tensor:
        """Take a step on these rows (or as many as the objective asks for) and return their loss before it.

        That is the mean loss of the labels, or the objective's term where labels are not used. `done` is the share of all
        training that is done afterwards.
        """
        x, y = self.data.inputs[batch], self.data.labels[batch].to(self.device)
        x = self.training_format.inputs(
            x if self.augment is None else self.augment(x, generator), self.device
        )
        if self.objective is not None:
            self.objective.see(x[None])
        weights = None if self.data.weights is None else self.data.weights[batch].to(self.device)
        uses_labels = self.objective is None or self.objective.uses_labels
        first: Tensor | None = None
        for _ in range(1 if self.objective is None else self.objective.inner):
            with self.training_format.arithmetic(self.device):
                logits = self.module(x)
            if not uses_labels:
                loss = logits.new_zeros(())
            elif weights is None:
                loss = label_loss(logits.float(), y, self.data.outputs)
            else:
                loss = (weights * label_loss(logits.float(), y, self.data.outputs, "none")).mean()
            labels_loss = loss.detach()
            if self.objective is not None:
                groups = torch.full((len(y),), -1) if self.data.groups is None else self.data.groups[batch]
                loss = (
                    loss
                    + self.objective.loss(logits.float()[None], y[None], groups[None].to(self.device)).sum()
                )
            first = first if first is not None else labels_loss if uses_labels else loss.detach()
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            self.optimizer.step()
            if self.after_step is not None:
                with torch.no_grad():
                    self.after_step(done, dict(self.parameters))
        if self.objective is not None:
            self.objective.dual()
        assert first is not None
        return first


@torch.no_grad()
def evaluate(
    module: nn.Module, data: Data, device: torch.device, objective: Objective | None = None
) -> tuple[float, float, float]:
    """Return the mean cross-entropy, the accuracy and the violation, computed in fp32 and evaluation mode.

    The cross-entropy is weighted where rows have weights.
    """
    set_mode(module, training=False)
    loss = right = violation = 0.0
    every = []
    batches = evaluation_batches(data.inputs, EVALUATION_BATCH)
    for batch in batches:
        y = data.labels[batch].to(device)
        logits = module(data.inputs[batch].to(device))
        if data.weights is None:
            loss += nn.functional.cross_entropy(logits, y, reduction="sum").item()
        else:
            weights = data.weights[batch].to(device)
            loss += (weights * nn.functional.cross_entropy(logits, y, reduction="none")).sum().item()
        right += (logits.argmax(1) == y).sum().item()
        every.append(logits)
    if objective is not None and data.groups is not None:
        order = torch.cat(batches)
        labels, groups = data.labels[order][None].to(device), data.groups[order][None].to(device)
        whole = (torch.cat(every)[None], labels, groups)
        violation = objective.violation(*whole).item()
    return loss / len(data.labels), right / len(data.labels), violation


def set_mode(module: nn.Module, *, training: bool) -> None:
    """Call ``train()`` or ``eval()``; a graph from torch.export that refuses both keeps the mode it was exported in."""
    try:
        module.train() if training else module.eval()
    except NotImplementedError:
        return


def _keep_best(progress: _Progress, module: nn.Module, patience: int | None) -> None:
    now, before = progress.epochs[-1], progress.epochs[progress.best_epoch - 1]
    if patience is None or now.criterion is None:
        progress.best_epoch = now.number
    elif progress.best is None or now.criterion < (before.criterion or 0.0):
        progress.best_epoch, progress.best = now.number, _state(module)


def _state(module: nn.Module) -> dict[str, Tensor]:
    return {k: v.detach().cpu().contiguous().clone() for k, v in module.state_dict().items()}


def _write(checkpoint: TrainingCheckpoint, run: _Run, progress: _Progress) -> None:
    tensors = {f"network {k}": v for k, v in run.module.state_dict().items()}
    tensors |= {f"best {k}": v for k, v in (progress.best or {}).items()}
    for name, parameter in run.parameters.items():
        tensors |= {f"{slot} {name}": value for slot, value in run.optimizer.state[parameter].items()}
    if run.objective is not None:
        tensors |= {f"objective {k}": v for k, v in run.objective.tensors().items()}
    facts = {"best_epoch": progress.best_epoch, "epochs": [asdict(e) for e in progress.epochs]}
    checkpoint.write(tensors, facts)


def _resume(checkpoint: TrainingCheckpoint, run: _Run, progress: _Progress) -> None:
    """Restore the state from the checkpoint, if it has one."""
    saved = checkpoint.read()
    if saved is None:
        return
    tensors, facts = saved
    states: dict[str, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        slot, _, name = key.partition(" ")
        states.setdefault(slot, {})[name] = value
    run.module.load_state_dict(states.pop("network"))
    progress.best = states.pop("best", None)
    if run.objective is not None:
        run.objective.load(states.pop("objective"))
    progress.best_epoch = facts["best_epoch"]
    progress.epochs = [EpochResult(**e) for e in facts["epochs"]]
    for name, parameter in run.parameters.items():
        for slot, values in states.items():
            value = values[name]
            # Moments lie in memory as their weights do; the count of steps is a scalar on the CPU.
            same = value.shape == parameter.shape and value.dim() > 0
            run.optimizer.state[parameter][slot] = torch.empty_like(parameter).copy_(value) if same else value


def _sentence(epoch: EpochResult, n_epochs: int, bound: str) -> str:
    text = f"epoch {epoch.number} of {n_epochs}: loss {epoch.loss:.3f}"
    if epoch.validation_accuracy is not None:
        text += f", validation loss {epoch.validation_loss:.3f}, accuracy {epoch.validation_accuracy:.3f}"
    left = (n_epochs - epoch.number) * epoch.seconds
    text += f", {epoch.rows_per_second:.0f} rows/s"
    return text + (f", {bound} {describe_seconds(left)} left" if left > LEFT_SECONDS else "")


def _draw(seed: int, number: int) -> int:
    """Return a seed of its own for each epoch (and for dropout in it)."""
    digest = hashlib.blake2b(f"{seed}/{number}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


@contextmanager
def _seeded_randomness(device: torch.device, seed: int) -> Iterator[None]:
    """Seed layers that draw random numbers (dropout), and restore the global generator afterwards."""
    kind: dict[str, Any] = {"devices": []}
    if device.type != "cpu":
        kind = {"devices": [device.index or 0], "device_type": device.type}
    with torch.random.fork_rng(**kind):
        torch.manual_seed(seed)
        yield
