"""Train networks on images, one after another: keep the best epoch, verify the file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from fairpress.core.card import ModelCard
from fairpress.core.progress import OnMessage
from fairpress.datasets.dataset import Dataset
from fairpress.datasets.images.decode import PREPARATION
from fairpress.datasets.reload import dataset_facts
from fairpress.models.export import INPUT, export_many
from fairpress.models.registry import build
from fairpress.models.weights_io import to_bytes
from fairpress.runtime.artifact import Artifact
from fairpress.training.augment import Augment
from fairpress.training.config import ImageFitConfig
from fairpress.training.data import tensors, verification_rows
from fairpress.training.group_objective import make_objective, with_groups
from fairpress.training.one_network import (
    check_export,
    constant_baseline_facts,
    open_checkpoint,
    provenance,
    schedule_of,
    versions,
)
from fairpress.training.trainer import train_module
from fairpress.training.training_format import choose_format

if TYPE_CHECKING:
    from fairpress.models.image_architecture import ImageNetwork

CHECKED_ROWS = 32


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
    depends_on = {"architecture": described, "started_from": started_from, "device": device.type}
    checkpoint = open_checkpoint(checkpoints, dataset, seed, config, depends_on, notify)
    chosen = choose_format(module, data, config, device, checkpoint)
    training_format = chosen.training_format
    notify(chosen.sentence(device, "images"))
    trained = train_module(
        module,
        data,
        schedule_of(config),
        seed=seed,
        device=device,
        training_format=training_format,
        augment=Augment(config.flip, config.shift),
        validation=validation,
        patience=config.patience if config.keep == "best" else None,
        checkpoint=None if checkpoint is None else replace(checkpoint, remember=chosen.remember()),
        on_message=on_message,
        objective=objective,
    )
    notify("exporting the network, and comparing the file with it")
    (file,) = export_many(module, [trained.state], data.inputs[:2], rows=[verification_rows(dataset)])
    check_export(file, module, validation.inputs[:CHECKED_ROWS], device)
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
            **provenance(trained, config, device, training_format.name, module, started_from),
            "images_per_second": round(trained.rows_per_second, 1),
            "images_per_second_tried": {name: round(rate, 1) for name, rate in chosen.tried.items()},
            "versions": versions(*architecture.packages, "pillow"),
            **constant_baseline_facts(dataset, trained, config),
            **({} if objective is None else {"fairness": objective.facts(0)}),
        },
    )
    return Artifact(card, file, to_bytes(trained.state))
