"""What a training returns: the state of a network, and the figures of each epoch."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class EpochResult:
    """The results of one epoch; validation figures are None without validation rows."""

    number: int
    loss: float
    seconds: float
    rows_per_second: float
    validation_loss: float | None = None
    validation_accuracy: float | None = None
    violation: float = 0.0

    @property
    def criterion(self) -> float | None:
        """What early stopping looks at: the validation loss, and how far a constraint is violated there."""
        return None if self.validation_loss is None else self.validation_loss + self.violation


@dataclass(frozen=True)
class TrainingResult:
    """A network's state after training and how it came about.

    Attributes
    ----------
    state
        The state dict on the CPU, contiguous.
    best_epoch
        The epoch it is of: that of lowest validation loss under early stopping, else the last.
    epochs
        One entry per epoch taken, those before an interruption included.
    resumed_after
        Epochs that an interrupted run had finished; 0 for a run in one go.
    """

    state: dict[str, Tensor]
    best_epoch: int
    epochs: tuple[EpochResult, ...]
    resumed_after: int = 0

    @property
    def best(self) -> EpochResult:
        return self.epochs[self.best_epoch - 1]

    @property
    def seconds(self) -> float:
        return sum(e.seconds for e in self.epochs)

    @property
    def rows_per_second(self) -> float:
        """The median epoch's speed of training, evaluation left out."""
        return sorted(e.rows_per_second for e in self.epochs)[len(self.epochs) // 2]
