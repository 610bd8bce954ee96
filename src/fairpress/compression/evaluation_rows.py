"""The batches of a data loader as test rows, for predictions of a compressed network."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np

from fairpress.compression.data_loader import collect
from fairpress.core.errors import UserError
from fairpress.core.output_kind import DESCRIPTIONS
from fairpress.datasets.dataset import Dataset, Task
from fairpress.runtime.artifact import Artifact


def rows_of_batches(batches: Iterable[Any], artifact: Artifact) -> Dataset:
    """Return the rows of batches (x, y), (x, y, groups) or dictionaries with labels as the test part of a dataset.

    Parameters
    ----------
    batches
        As for `torch_module.compress_module`, all of which are read; groups become the attribute ``group``.
    artifact
        A model whose card says what its inputs are, and what it predicts.

    Raises
    ------
    UserError
        A batch is something else, or its labels are not those of the model.
    """
    card = artifact.card
    if artifact.reads_texts:
        raise UserError(
            "this model reads texts; name their dataset with `data=`, or describe the table in YAML."
        )
    if card.output_kind == "embedding":
        raise UserError("embeddings are no predictions; compute them with fairpress.embed(model, rows).")
    collected = collect(batches, trains=False, max_rows=None, min_rows=1)
    labels, dataset = collected.labels, collected.dataset
    assert labels is not None
    names = tuple(card.outputs.get("names", ()))
    task = Task(card.target, card.classes, card.positive, outputs=card.output_kind, label_names=names)
    dtype = np.dtype(str(card.inputs.get("dtype") or dataset.inputs.dtype))
    empty = np.zeros(0, np.int64)
    return replace(
        dataset,
        name="the batches",
        task=task,
        inputs=dataset.inputs.astype(dtype)
        if collected.numbers == "integer" or dtype.kind == "f"
        else dataset.inputs,
        input_names=tuple(card.inputs.get("columns") or ()),
        labels=_labels(labels, task),
        parts={"train": empty, "calibration": empty, "validation": empty, "test": np.arange(len(labels))},
    )


def _labels(labels: np.ndarray, task: Task) -> np.ndarray:
    """Return labels as a dataset has them. Raises UserError unless they are those of the task."""
    expected = f"the model predicts {DESCRIPTIONS[task.outputs]}, and the batches have labels {labels.shape}"
    if task.outputs == "number":
        if labels.ndim != 1:
            raise UserError(f"{expected}; give a number for each row.")
        return labels.astype(np.float64)
    if task.outputs == "labels":
        if labels.ndim != 2 or labels.shape[1] != len(task.label_names) or not np.isin(labels, (0, 1)).all():
            raise UserError(f"{expected}; give 0 or 1 for each of the {len(task.label_names)} labels.")
        return labels.astype(np.int64)
    if labels.ndim != 1 or not (labels == np.round(labels)).all():
        raise UserError(f"{expected} that are no class indices; give an integer from 0 for each row.")
    if labels.min() < 0 or labels.max() >= len(task.classes):
        invalid = labels.max() if labels.max() >= len(task.classes) else labels.min()
        raise UserError(
            f"the batches have the label {invalid:g}, and the model has {len(task.classes)} classes (labels 0 … "
            f"{len(task.classes) - 1}); give class indices in the order of its outputs."
        )
    return labels.astype(np.int64)
