"""Restore a network for images or texts after an earlier epoch by repeating its training from the seed; verified."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from torch import Tensor

from fairpress.core.errors import UserError
from fairpress.core.progress import OnMessage
from fairpress.models.registry import build
from fairpress.training.augment import Augment
from fairpress.training.config import ImageFitConfig, TextFitConfig, training_of
from fairpress.training.data import Data
from fairpress.training.device import device_of
from fairpress.training.group_objective import make_objective
from fairpress.training.one_network import schedule_of
from fairpress.training.precision import FORMATS
from fairpress.training.result import EpochResult
from fairpress.training.threads import use_threads
from fairpress.training.trainer import train_module

if TYPE_CHECKING:
    from fairpress.datasets.dataset import Dataset
    from fairpress.models.registry import Architecture


def replay_to_epoch(
    architecture: Architecture,
    rows: Data,
    dataset: Dataset,
    seed: int,
    origin: Mapping[str, Any],
    epochs: int,
    on_message: OnMessage | None = None,
) -> dict[str, Tensor]:
    """Return the state after `epochs` epochs of the training that `origin`, a card's provenance, records.

    `rows` are the training rows of `dataset`.
    The loss of each epoch must equal the card's to the last bit.

    Raises
    ------
    UserError
        The card lacks facts, there was no such epoch, the training began with weights that are not available,
        or an epoch had another loss: another seed, or a machine, device or release that computes differently.
    """
    if "curve" not in origin or "schedule" not in origin.get("training", {}):
        raise UserError(
            "checkpoints need a baseline that fairpress trained on images or texts; this network was trained in another way."
        )
    if "started_from" in origin:
        raise UserError(
            f"the baseline started from weights ({origin['started_from'].get('file')}) that its folder does not contain, "
            "so its training cannot be repeated."
        )
    curve = origin["curve"]
    if epochs > len(curve):
        raise UserError(
            f"there is no checkpoint after {epochs} epochs: the baseline trained for {len(curve)} epochs."
        )
    config: ImageFitConfig | TextFitConfig = (
        training_of(ImageFitConfig, origin)
        if architecture.reads == "images"
        else training_of(TextFitConfig, origin)
    )
    training_format = FORMATS.get(str(origin.get("way")))
    if training_format is None:
        raise UserError("the model's card does not name its training format; train the model again.")
    module = build(architecture, rows.inputs.shape[1:], len(dataset.task.classes), seed)
    (rows,), objective = make_objective(config, [dataset], [rows])

    def check_loss(epoch: EpochResult) -> None:
        expected_loss = curve[epoch.number - 1][0]
        if epoch.loss != expected_loss:
            raise UserError(
                f"the baseline's training is not reproducible here: the loss of epoch {epoch.number} is {epoch.loss:.9g} "
                f"and was {expected_loss:.9g}. A checkpoint needs the baseline's seed, and a machine and releases "
                f"like those that "
                "trained it; train the baseline here."
            )

    with use_threads(origin.get("threads")):  # sums depend on how they are split
        return train_module(
            module,
            rows,
            schedule_of(config),
            seed=seed,
            device=device_of(origin),
            training_format=training_format,
            augment=Augment(config.flip, config.shift) if isinstance(config, ImageFitConfig) else None,
            until=epochs,
            on_epoch=check_loss,
            on_message=on_message,
            objective=objective,
        ).state
