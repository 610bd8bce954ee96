"""The rows that networks train on, as tensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from fairpress.core.errors import UserError, did_you_mean
from fairpress.core.output_kind import DESCRIPTIONS, OutputKind
from fairpress.core.values import resolve
from fairpress.datasets.dataset import Dataset, Part

if TYPE_CHECKING:
    from torch import Tensor

    from fairpress.models.registry import Architecture


@dataclass(frozen=True)
class Data:
    """Rows of one network: inputs [rows, …] float32 or token ids [rows, length] int64, labels [rows] int64, and where they
    matter groups [rows] int64 and weights [rows] of the rows in the loss.

    Labels of other `outputs` than classes are float32: numbers [rows], or 0 and 1 [rows, labels].
    """

    inputs: Tensor
    labels: Tensor
    groups: Tensor | None = None
    weights: Tensor | None = None
    outputs: OutputKind = "classes"


ClassWeights = Literal["balanced"] | Mapping[str, float]


def tensors(dataset: Dataset, part: Part, class_weights: ClassWeights | None = None) -> Data:
    """Return one part's inputs and labels as tensors: numbers as float32, codes as int64; pixels as uint8, read on access.

    Token ids of an encoded dataset are int64, cut to the longest of the rows that are accessed (`TokenRows`).

    With `class_weights` every row has the weight of its class (`weights_of_classes`).
    """
    import torch

    from fairpress.training.memmap_rows import MemmapRows
    from fairpress.training.token_rows import TokenRows

    index, kind = dataset.index(part), dataset.task.outputs
    labels = torch.from_numpy(dataset.labels[index])
    labels = labels if kind in ("classes", "embedding") else labels.float()
    inputs: Any
    if dataset.inputs.dtype == np.uint8:
        inputs = MemmapRows(dataset.inputs, index)
    elif dataset.pad_id is not None:
        inputs = TokenRows(dataset.inputs, index, dataset.pad_id)
    else:
        inputs = torch.from_numpy(np.ascontiguousarray(dataset.inputs[index]))
        inputs = inputs.long() if dataset.inputs.dtype.kind in "iu" else inputs.float()
    data = Data(inputs, labels, outputs=kind)
    if class_weights is None:
        return data
    return replace(data, weights=torch.from_numpy(weights_of_classes(dataset, class_weights))[data.labels])


def weights_of_classes(dataset: Dataset, chosen: ClassWeights) -> np.ndarray:
    """Return the weight of each class [classes] float32, scaled so that training rows weigh 1 on average.

    Raises UserError for a class that the task does not have.
    """
    classes = dataset.task.classes
    counts = np.bincount(dataset.labels[dataset.index("train")], minlength=len(classes))
    if chosen == "balanced":
        weights = np.where(counts > 0, 1.0 / np.maximum(counts, 1), 1.0 / counts.sum())
    else:
        weights = np.ones(len(classes))
        for name, weight in chosen.items():
            class_name = resolve(name, classes)
            if class_name not in classes:
                raise UserError(
                    f"class_weights: {name!r} is not a class of {dataset.task.target!r}."
                    + did_you_mean(name, classes)
                )
            weights[classes.index(class_name)] = weight
    scaled: np.ndarray = (weights * counts.sum() / (weights * counts).sum()).astype(np.float32)
    return scaled


def verification_rows(dataset: Dataset) -> Tensor:
    """Return rows for comparing files with their networks: from the calibration part, else from the training part."""
    from fairpress.models.equivalence import check_rows

    return check_rows(
        tensors(dataset, "calibration" if len(dataset.index("calibration")) else "train").inputs
    )


def check_trainable(dataset: Dataset) -> None:
    """Raise UserError for data that cannot be trained on, before any work is done."""
    if dataset.inputs.dtype.kind == "f":  # whole numbers are neither missing nor infinite
        bad = ~np.isfinite(dataset.inputs).reshape(len(dataset), -1)
        if bad.any():
            column = int(bad.sum(0).argmax())
            name = dataset.input_names[column] if dataset.input_names else f"input {column}"
            raise UserError(
                f"{dataset.name}: column {name!r} has {int(bad[:, column].sum())} missing or infinite values; "
                "fill them or drop those rows."
            )
    if dataset.task.outputs != "classes":
        raise UserError(
            f"{dataset.name!r} has {DESCRIPTIONS[dataset.task.outputs]} in each row, and fairpress trains classifiers; "
            "train the network yourself, and compress it in Python: fairpress.compress(module, recipe, data=dataset)."
        )
    present = np.unique(dataset.labels[dataset.index("train")])
    if len(present) < 2:
        raise UserError(
            f"{dataset.name}: all training rows have one class of {dataset.task.target!r}; two are needed."
        )


def check_readable(architecture: Architecture, dataset: Dataset) -> None:
    """Raise UserError for a network that reads another kind of data."""
    from fairpress.models.registry import architectures_for

    if dataset.kind != architecture.reads:
        read = {"table": "tables", "images": "images", "text": "texts"}[architecture.reads]
        given = {"table": "a table", "images": "images", "text": "text"}[dataset.kind]
        # A network of Hugging Face is named by its folder, as a backbone of `text`.
        fitting = ", ".join(name for name in architectures_for(dataset.kind) if name != "huggingface")
        raise UserError(f"{architecture.name} reads {read} and {dataset.name!r} is {given}; take {fitting}.")
