"""The batches of a data loader as test rows, for predictions of a compressed network."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from fairpress.compression.batch_inputs import InputForm, PackedInputs, TokenInputs
from fairpress.compression.data_loader import collect
from fairpress.core.errors import UserError, listed
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
        raise UserError("embeddings are not predictions; compute them with fairpress.embed(model, rows).")
    tokens, parts = card.inputs.get("tokens"), card.inputs.get("parts")
    collected = collect(
        batches,
        trains=False,
        pad_id=None if tokens is None else tokens["pad_id"],
        order=[name for name in parts or () if name is not None],
        max_rows=None,
        min_rows=1,
    )
    labels, dataset = collected.labels, collected.dataset
    assert labels is not None
    if parts is not None:
        _check_parts(collected.form, parts)
    if tokens is not None:
        dataset = _as_long(dataset, collected.form, tokens, card.inputs.get("shape"))
    names = tuple(card.outputs.get("names", ()))
    task = Task(card.target, card.classes, card.positive, outputs=card.output_kind, label_names=names)
    dtype = np.dtype(str(card.inputs.get("dtype") or dataset.inputs.dtype))
    empty = np.zeros(0, np.int64)
    return replace(
        dataset,
        name="the batches",
        task=task,
        inputs=_inputs_as(dataset.inputs, dtype),
        input_names=tuple(card.inputs.get("columns") or ()),
        labels=_labels(labels, task),
        parts={"train": empty, "calibration": empty, "validation": empty, "test": np.arange(len(labels))},
    )


def _inputs_as(inputs: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Return inputs in the type that the model reads; numbers that are not whole stay floats, which it does not read."""
    if dtype == np.int64 and inputs.dtype == np.float32 and bool((inputs != np.round(inputs)).any()):
        raise UserError(
            "the model reads integers, and the batches have numbers that are not whole; give whole numbers."
        )
    return inputs.astype(dtype) if dtype.kind == "f" or dtype == np.int64 else inputs


def _check_parts(form: InputForm, expected: Sequence[str | None]) -> None:
    """Raise UserError unless the batches have the inputs of the model, under the same names."""
    names = [part.name for part in form.parts] if isinstance(form, PackedInputs) else None
    if names == list(expected):
        return
    read = listed([name or f"input {i + 1}" for i, name in enumerate(expected)])
    given = (
        "one input" if names is None else listed([name or f"input {i + 1}" for i, name in enumerate(names)])
    )
    raise UserError(
        f"the model reads {read}, and the batches have {given}; give "
        f"{'a tuple of these inputs, in this order' if expected[0] is None else 'a dictionary of these names'}."
    )


def _as_long(
    dataset: Dataset, form: InputForm, tokens: Mapping[str, Any], shape: Sequence[int] | None
) -> Dataset:
    """Return rows of token ids filled up to the length of the model's.

    Raises UserError where the file would compute another mask than that of the batches, or the rows are longer.
    """
    if not isinstance(form, TokenInputs):
        return dataset
    pad_id = tokens["pad_id"]
    if form.pad_id != pad_id or (
        form.masked and not tokens["masked"] and bool((dataset.inputs == pad_id).any())
    ):
        raise UserError(
            f"the batches are padded with the id {form.pad_id}, and the model was compressed with rows that "
            f"{'were not padded' if pad_id is None or not tokens['masked'] else f'were padded with {pad_id}'}, from which "
            "its file computes the mask; compress the network with batches that are padded like these."
        )
    length, longest = dataset.inputs.shape[1], int(shape[0]) if shape else dataset.inputs.shape[1]
    if length > longest:
        raise UserError(
            f"the batches have rows of {length} token ids, and the model reads {longest} at most, as many as it was "
            f"compressed with; cut them, such as by tokenizer(texts, truncation=True, max_length={longest}), or compress "
            "the network with the longer rows."
        )
    if length == longest or pad_id is None or not tokens["masked"]:
        return dataset
    return replace(
        dataset, inputs=np.pad(dataset.inputs, ((0, 0), (0, longest - length)), constant_values=pad_id)
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
        raise UserError(f"{expected} that are not class indices; give an integer from 0 for each row.")
    if labels.min() < 0 or labels.max() >= len(task.classes):
        invalid = labels.max() if labels.max() >= len(task.classes) else labels.min()
        raise UserError(
            f"the batches have the label {invalid:g}, and the model has {len(task.classes)} classes (labels 0 … "
            f"{len(task.classes) - 1}); give class indices in the order of its outputs."
        )
    return labels.astype(np.int64)
