"""Class probabilities of an artifact for rows of a dataset."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from fairpress.core.errors import UserError
from fairpress.runtime.artifact import Artifact
from fairpress.runtime.backends.base import Backend
from fairpress.runtime.backends.batching import outputs, rows_at_once
from fairpress.runtime.backends.registry import open_session


def score(
    artifact: Artifact,
    inputs: np.ndarray,
    index: np.ndarray,
    runtime: Backend | None = None,
    progress: Callable[[int], None] | None = None,
) -> tuple[np.ndarray, Mapping[str, Any]]:
    """Return class probabilities [len(index), classes], float32, and the facts of the runtime that computed them.

    Parameters
    ----------
    inputs
        [rows, …] of the whole dataset; only the rows `index` are read, a batch at a time.
    runtime
        ONNX Runtime with one thread by default.
    progress
        Called with the number of finished rows.

    Raises
    ------
    UserError
        The runtime cannot load the file, the rows do not fit its input, or an output is not a number (NaN).
    """
    if not len(index):
        raise UserError("there are no rows to predict; choose another part of the data.")
    batch = min(rows_at_once(artifact.onnx), max(len(index), 1))
    session = open_session(artifact.onnx, runtime or Backend(), batch)
    shape = session.input.shape[1:]
    if len(shape) != inputs.ndim - 1 or any(
        a not in (None, b) for a, b in zip(shape, inputs.shape[1:], strict=True)
    ):
        raise UserError(
            f"the file reads rows of {_format_shape(shape)}, the data have rows of {_format_shape(inputs.shape[1:])}; "
            "use the data the model was trained on."
        )
    if session.input.dtype != inputs.dtype:
        raise UserError(
            f"the file reads {session.input.dtype}, the data are {inputs.dtype}; use the data the model was "
            "trained on."
        )
    raw = outputs(session, inputs, index, batch, progress)
    n_outputs = int(np.prod(raw.shape[1:]))
    if n_outputs != (1 if artifact.card.activation == "sigmoid" else len(artifact.card.classes)):
        raise UserError(
            f"the file outputs {n_outputs} numbers per row, but its card names {len(artifact.card.classes)} classes with "
            f"the activation {artifact.card.activation!r}; create the model again."
        )
    probability = probabilities(raw.reshape(len(raw), n_outputs), artifact.card.activation)
    n_nan = int(np.isnan(probability).any(axis=1).sum())
    if n_nan:
        raise UserError(
            f"the model outputs NaN for {n_nan:,} of {len(index):,} rows; check that its inputs are scaled as in training."
        )
    return probability, session.facts


def probabilities(out: np.ndarray, activation: str) -> np.ndarray:
    """Return class probabilities [rows, classes], float32, from a file's output and the activation on its card."""
    if activation == "softmax":
        shifted = np.exp(out - out.max(axis=1, keepdims=True))
        out = shifted / shifted.sum(axis=1, keepdims=True)
    elif activation == "sigmoid":
        positive = 1 / (1 + np.exp(-out.reshape(len(out), -1)[:, 0]))
        out = np.stack([1 - positive, positive], axis=1)
    return out.astype(np.float32)


def _format_shape(shape: tuple[int | None, ...]) -> str:
    return " × ".join("any" if d is None else str(d) for d in shape) or "single numbers"
