"""The precision of a training: named, by the processor, or the fastest; a resumed training keeps that of its first run.

No two ways give equal weights, not even two memory orders of fp32: sums are then taken in another order. Timing therefore
decides nothing unless it is asked to.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from fairpress.training.checkpoints import TrainingCheckpoint
from fairpress.training.config import ImageFitConfig, TextFitConfig
from fairpress.training.data import Data
from fairpress.training.precision import FORMATS, TrainingFormat, fastest, format_by_processor

TRIED_ROWS = 32
Config = ImageFitConfig | TextFitConfig


@dataclass(frozen=True)
class ChosenFormat:
    """The format of a training, and rows per second of each one that was timed to choose it."""

    training_format: TrainingFormat
    tried: Mapping[str, float] = field(default_factory=dict)

    def sentence(self, device: torch.device, unit: str) -> str:
        """Return the message with which a training on `unit` (``"images"``) begins."""
        speeds = ", ".join(f"{name} {rate:.0f}" for name, rate in self.tried.items())
        trials = f" (tried, {unit}/s: {speeds})" if speeds else ""
        count = torch.get_num_threads()
        threads = f" with {count} thread{'s' * (count > 1)}" if device.type == "cpu" else ""
        return f"training on {device.type}{threads} in {self.training_format.name}{trials}"

    def remember(self) -> dict[str, Any]:
        """Return the facts for the checkpoint from which `choose_format` resumes."""
        return {"way": self.training_format.name, "tried": dict(self.tried)}


def choose_format(
    module: nn.Module,
    data: Data,
    config: Config,
    device: torch.device,
    checkpoint: TrainingCheckpoint | None,
) -> ChosenFormat:
    """Return the format that a config names or asks to choose.

    Parameters
    ----------
    data
        The training rows, of which some are timed.
    checkpoint
        If it has a state of this training, that state's format is kept.
    """
    remembered = None if checkpoint is None else checkpoint.remembered()
    if remembered is not None:
        return ChosenFormat(FORMATS[remembered["way"]], remembered["tried"])
    images = isinstance(config, ImageFitConfig)
    if config.way == "processor":
        return ChosenFormat(format_by_processor(device, images=images))
    if config.way != "fastest":
        return ChosenFormat(FORMATS[config.way])
    formats = [way for way in FORMATS.values() if images or not way.channels_last]
    assert config.batch_size is not None
    rows = torch.arange(min(config.batch_size, TRIED_ROWS, len(data.labels)))
    with torch.random.fork_rng(devices=[]):
        return ChosenFormat(*fastest(module, data.inputs[rows], data.labels[rows], device, formats))
