"""Train networks on images, one after another: choose the fastest format, keep the best epoch, verify the file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from fairpress.core.canonical_json import digest
from fairpress.core.card import ModelCard
from fairpress.core.errors import FairpressError
from fairpress.core.progress import OnMessage
from fairpress.datasets.dataset import Dataset
from fairpress.datasets.images.decode import PREPARATION
from fairpress.datasets.reload import dataset_facts
from fairpress.models.export import INPUT, export_many
from fairpress.models.registry import build
from fairpress.models.weights_io import to_bytes
from fairpress.runtime.artifact import Artifact
from fairpress.runtime.backends.onnxruntime import run
from fairpress.training.augment import Augment
from fairpress.training.checkpoints import TrainingCheckpoint
from fairpress.training.config import ImageFitConfig
from fairpress.training.constant_baseline import constant_answer, constant_baseline_warning
from fairpress.training.data import Data, tensors, verification_rows
from fairpress.training.group_objective import make_objective, with_groups
from fairpress.training.precision import FORMATS, TrainingFormat, fastest
from fairpress.training.result import TrainingResult
from fairpress.training.schedule import Schedule
from fairpress.training.trainer import train_module

if TYPE_CHECKING:
    from fairpress.models.image_architecture import ImageNetwork

TRIED_ROWS, CHECKED_ROWS = 32, 32
TOLERANCE = 1e-3


def fit_image_network(
    architecture: ImageNetwork,
    dataset: Dataset,
    seed: int,
    config: ImageFitConfig,
    device: torch.device,
    on_message: OnMessage | None = None,
    checkpoints: Path | None = None,
) -> Artifact:
    """Train one network on uint8 images [rows, 3, height, width] and return its artifact.

    Parameters
    ----------
    on_message
        Receives progress messages.
    checkpoints
        A folder for the state after each epoch; the same call resumes from it. The caller removes it
        after saving the artifact.

    Raises
    ------
    UserError
        Weights to start from do not fit, the training diverges, or the checkpoint cannot be written.
    FairpressError
        The exported file does not compute what the network computes.
    """
    notify = on_message or (lambda _: None)
    shape, classes = dataset.inputs.shape[1:], dataset.task.classes
    module = build(architecture, shape, len(classes), seed)
    started_from = architecture.start(module)
    described = {"name": architecture.name, **architecture.model_dump(mode="json")}
    (data,), objective = make_objective(config, [dataset], [tensors(dataset, "train", config.class_weights)])
    (validation,) = with_groups(
        objective, [dataset], [tensors(dataset, "validation", config.class_weights)], "validation"
    )
    checkpoint = None
    if checkpoints is not None:
        depends_on = {
            "architecture": described,
            "started_from": started_from,
            "training": config.model_dump(mode="json"),
            "data": dataset.fingerprint,
            "seed": seed,
            "device": device.type,
            "torch": version("torch"),
        }
        checkpoint = TrainingCheckpoint(checkpoints, digest(depends_on))
        checkpoint.prepare()
        if checkpoint.of_another():
            notify(f"the unfinished training in {checkpoints} had other data or options; starting again")
    training_format, tried = _choose(module, data, config, device, checkpoint)
    notify(_format_message(training_format, tried, device))
    trained = train_module(
        module,
        data,
        Schedule(
            config.max_epochs, config.batch_size, config.learning_rate, config.weight_decay, config.schedule
        ),
        seed=seed,
        device=device,
        training_format=training_format,
        augment=Augment(config.flip, config.shift),
        validation=validation,
        patience=config.patience if config.keep == "best" else None,
        checkpoint=None
        if checkpoint is None
        else replace(checkpoint, remember={"way": training_format.name, "tried": tried}),
        on_message=on_message,
        objective=objective,
    )
    (file,) = export_many(module, [trained.state], data.inputs[:2], rows=[verification_rows(dataset)])
    _check_export(file, module, validation, device)
    card = ModelCard(
        target=dataset.task.target,
        classes=classes,
        positive=dataset.task.positive,
        architecture=described,
        inputs={
            "name": INPUT,
            "shape": list(shape),
            "dtype": str(dataset.inputs.dtype),
            "columns": [],
            "preparation": f"RGB, {PREPARATION}",
        },
        data=dataset_facts(dataset),
        seed=seed,
        provenance={
            **_provenance(
                trained, config, device, training_format, tried, module, started_from, architecture.packages
            ),
            **_constant_baseline_facts(dataset, trained, config),
            **({} if objective is None else {"fairness": objective.facts(0)}),
        },
    )
    return Artifact(card, file, to_bytes(trained.state))


def _constant_baseline_facts(
    dataset: Dataset, trained: TrainingResult, config: ImageFitConfig
) -> dict[str, Any]:
    """Return the card's facts on the constant baseline, with a warning if a network without class weights is no better."""
    train_labels, labels = (dataset.labels[dataset.index(part)] for part in ("train", "validation"))
    constant = constant_answer(labels, dataset.task.classes, train_labels)
    accuracy = trained.best.validation_accuracy
    if config.class_weights is not None or accuracy is None:
        return {"constant_answer": constant}
    warnings = constant_baseline_warning(accuracy, constant["accuracy"], constant["class"])
    return {"constant_answer": constant, **({"warnings": warnings} if warnings else {})}


def _choose(
    module: nn.Module,
    data: Data,
    config: ImageFitConfig,
    device: torch.device,
    checkpoint: TrainingCheckpoint | None,
) -> tuple[TrainingFormat, Mapping[str, float]]:
    """Return the training format, and rows per second of each one tried; a resumed training keeps its format."""
    remembered = None if checkpoint is None else checkpoint.remembered()
    if remembered is not None:
        return FORMATS[remembered["way"]], remembered["tried"]
    if config.way != "auto":
        return FORMATS[config.way], {}
    batch = torch.arange(min(config.batch_size, TRIED_ROWS, len(data.labels)))
    with torch.random.fork_rng(devices=[]):
        return fastest(module, data.inputs[batch], data.labels[batch], device)


def _format_message(training_format: TrainingFormat, tried: Mapping[str, float], device: torch.device) -> str:
    speeds = ", ".join(f"{name} {rate:.0f}" for name, rate in tried.items())
    trials = f" (tried, images/s: {speeds})" if speeds else ""
    return f"training on {device.type} in {training_format.name}{trials}"


def _check_export(file: bytes, module: nn.Module, rows: Data, device: torch.device) -> None:
    """Raise FairpressError unless ONNX Runtime computes the same from the file as torch from the network."""
    x = rows.inputs[:CHECKED_ROWS]
    with torch.no_grad():
        expected = module(x.to(device)).float().cpu().numpy()
    max_difference = float(np.abs(run(file, x.numpy()) - expected).max())
    if max_difference > TOLERANCE * max(1.0, float(np.abs(expected).max())):
        raise FairpressError(
            f"the exported file does not reproduce the network (scores differ by {max_difference:.2g}); it is not written: "
            "train on another device, and report this."
        )


def _provenance(
    trained: TrainingResult,
    config: ImageFitConfig,
    device: torch.device,
    training_format: TrainingFormat,
    tried: Mapping[str, float],
    module: nn.Module,
    started_from: Mapping[str, Any],
    makers: Sequence[str],
) -> dict[str, Any]:
    return {
        "training": config.model_dump(mode="json"),
        "device": str(device),
        "threads": torch.get_num_threads(),
        "way": training_format.name,
        "images_per_second": round(trained.rows_per_second, 1),
        "images_per_second_tried": {name: round(rate, 1) for name, rate in tried.items()},
        "seconds": round(trained.seconds, 1),
        "epochs": len(trained.epochs),
        "resumed_after": trained.resumed_after,
        "best_epoch": trained.best_epoch,
        "validation_loss": trained.best.validation_loss,
        "validation_accuracy": trained.best.validation_accuracy,
        "curve": [[e.loss, e.validation_loss, e.validation_accuracy] for e in trained.epochs],
        "parameters": int(sum(p.numel() for p in module.parameters())),
        **({"started_from": dict(started_from)} if started_from else {}),
        "versions": {name: version(name) for name in ("torch", *makers, "onnx", "onnxscript", "pillow")},
    }
