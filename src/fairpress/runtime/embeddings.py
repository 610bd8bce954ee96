"""Embeddings of an artifact for rows."""

from __future__ import annotations

from typing import Any

import numpy as np

from fairpress.core.errors import UserError
from fairpress.core.output_kind import DESCRIPTIONS
from fairpress.datasets.dataset import Dataset
from fairpress.runtime.artifact import Artifact
from fairpress.runtime.backends.base import Backend
from fairpress.runtime.probabilities import raw_outputs


def embeddings(artifact: Artifact, rows: Any, runtime: Backend | None = None) -> np.ndarray:
    """Return the embeddings [rows, length] float32 of an artifact for rows.

    Parameters
    ----------
    rows
        Inputs [rows, …] as the model reads them, an array or a tensor; texts, for a model that reads texts; or a dataset, of
        which all rows are taken in order.
    runtime
        ONNX Runtime with one thread by default.

    Raises
    ------
    UserError
        The model predicts something else, or cannot read the rows.
    """
    if artifact.card.output_kind != "embedding":
        raise UserError(
            f"the model predicts {DESCRIPTIONS[artifact.card.output_kind]}, not an embedding; compress the network that "
            "returns the vector with outputs='embedding'."
        )
    inputs = _inputs(artifact, rows.inputs if isinstance(rows, Dataset) else rows)
    raw, _ = raw_outputs(artifact, inputs, np.arange(len(inputs)), runtime)
    return np.asarray(raw, dtype=np.float32)


def _inputs(artifact: Artifact, rows: Any) -> np.ndarray:
    """Return rows as an array of the type that the file reads; whole numbers may be given for floats, and floats for them
    if they are whole.
    """
    if artifact.reads_texts:
        if isinstance(rows, str):
            raise UserError("embed reads several texts; pass a list, such as [text].")
        return np.asarray(rows, dtype=object) if not hasattr(rows, "dtype") else np.asarray(rows)
    if hasattr(rows, "detach"):  # a tensor, of which some types have no counterpart
        rows = rows.detach().cpu()
        rows = rows.float() if rows.is_floating_point() else rows
    try:
        array = np.asarray(rows)
    except ValueError as error:
        raise UserError(
            f"the rows are not an array of numbers ({error}); give all the same shape."
        ) from error
    if array.dtype.kind not in "fiub":
        raise UserError(
            f"the rows are {array.dtype}, and the model reads numbers; pass an array of its inputs, such as pixels."
        )
    expected = np.dtype(str(artifact.card.inputs.get("dtype") or array.dtype))
    converted = array.astype(expected)
    if expected.kind in "iu" and not np.array_equal(converted, array):
        raise UserError(
            f"the model reads {expected}, and the rows have other values; pass them as in training."
        )
    return converted
