"""What trainings of one network at a time have in common: their checkpoint, the check of the file, facts for the card."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fairpress.core.canonical_json import digest
from fairpress.core.errors import FairpressError
from fairpress.core.progress import OnMessage
from fairpress.datasets.dataset import Dataset
from fairpress.runtime.backends.onnxruntime import run
from fairpress.training.checkpoints import TrainingCheckpoint
from fairpress.training.config import ImageFitConfig, TextFitConfig
from fairpress.training.constant_baseline import constant_answer, constant_baseline_warning
from fairpress.training.result import TrainingResult
from fairpress.training.schedule import Schedule

TOLERANCE = 1e-3
Config = ImageFitConfig | TextFitConfig


def schedule_of(config: Config) -> Schedule:
    """Return the course of the learning rate that a config describes."""
    assert config.batch_size is not None
    return Schedule(
        config.max_epochs, config.batch_size, config.learning_rate, config.weight_decay, config.schedule
    )


def open_checkpoint(
    folder: Path | None,
    dataset: Dataset,
    seed: int,
    config: Config,
    depends_on: Mapping[str, Any],
    notify: OnMessage,
) -> TrainingCheckpoint | None:
    """Return the checkpoint of a training in a folder, which is made; None without a folder.

    `depends_on` is what the training depends on besides config, data, seed and torch's version. Raises UserError if the
    folder cannot be made.
    """
    if folder is None:
        return None
    key = {
        **depends_on,
        "training": config.model_dump(mode="json"),
        "data": dataset.fingerprint,
        "seed": seed,
        "torch": version("torch"),
    }
    checkpoint = TrainingCheckpoint(folder, digest(key))
    checkpoint.prepare()
    if checkpoint.of_another():
        notify(f"the unfinished training in {folder} had other data or options; starting again")
    return checkpoint


def check_export(file: bytes, module: nn.Module, rows: Tensor, device: torch.device) -> None:
    """Raise FairpressError unless ONNX Runtime computes the same from the file as torch from the network."""
    with torch.no_grad():
        expected = module(rows.to(device)).float().cpu().numpy()
    max_difference = float(np.abs(run(file, rows.numpy()) - expected).max())
    if max_difference > TOLERANCE * max(1.0, float(np.abs(expected).max())):
        raise FairpressError(
            f"the exported file does not reproduce the network (scores differ by {max_difference:.2g}); it is not written: "
            "train on another device, and report this."
        )


def constant_baseline_facts(dataset: Dataset, trained: TrainingResult, config: Config) -> dict[str, Any]:
    """Return the card's facts on the constant baseline, with a warning if a network without class weights is no better."""
    train_labels, labels = (dataset.labels[dataset.index(part)] for part in ("train", "validation"))
    constant = constant_answer(labels, dataset.task.classes, train_labels)
    accuracy = trained.best.validation_accuracy
    if config.class_weights is not None or accuracy is None:
        return {"constant_answer": constant}
    warnings = constant_baseline_warning(accuracy, constant["accuracy"], constant["class"])
    return {"constant_answer": constant, **({"warnings": warnings} if warnings else {})}


def provenance(
    trained: TrainingResult,
    config: Config,
    device: torch.device,
    way: str,
    module: nn.Module,
    started_from: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the facts of a training for the card; `way` is the name of its format (`precision.FORMATS`)."""
    return {
        "training": config.model_dump(mode="json"),
        "device": str(device),
        "threads": torch.get_num_threads(),
        "way": way,
        "seconds": round(trained.seconds, 1),
        "epochs": len(trained.epochs),
        "resumed_after": trained.resumed_after,
        "best_epoch": trained.best_epoch,
        "validation_loss": trained.best.validation_loss,
        "validation_accuracy": trained.best.validation_accuracy,
        "curve": [[e.loss, e.validation_loss, e.validation_accuracy] for e in trained.epochs],
        "parameters": int(sum(p.numel() for p in module.parameters())),
        **({"started_from": dict(started_from)} if started_from else {}),
    }


def versions(*packages: str) -> dict[str, str]:
    """Return the versions of torch, of the exporters and of further packages, for the card."""
    return {name: version(name) for name in ("torch", "onnx", "onnxscript", *packages)}
