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
from fairpress.runtime.backends.text_batches import MAX_ROWS, outputs_of_texts
from fairpress.runtime.onnx.embedding_table import embedding_rows
from fairpress.runtime.onnx.per_call_ranges import computes_ranges_per_call


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
        [rows, …] of the whole dataset; only the rows `index` are read, a batch at a time. For a model that reads texts:
        the texts, ``object`` [rows] of str, or its tokenizer's token ids, int32 [rows, length].
    runtime, progress
        As for `raw_outputs`.

    Raises
    ------
    UserError
        As `raw_outputs`.

    Notes
    -----
    Texts are run in batches of similar length. A file that computes ranges of activations in each call would answer a text
    differently in another batch: it gets every text alone.
    """
    raw, facts = raw_outputs(artifact, inputs, index, runtime, progress)
    return probabilities(raw, artifact.card.activation), facts


def raw_outputs(
    artifact: Artifact,
    inputs: np.ndarray,
    index: np.ndarray,
    runtime: Backend | None = None,
    progress: Callable[[int], None] | None = None,
) -> tuple[np.ndarray, Mapping[str, Any]]:
    """Return the file's outputs [len(index), width] as they are, and the facts of the runtime that computed them.

    Parameters
    ----------
    inputs
        As for `score`.
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
    if artifact.reads_texts:
        raw, facts = _score_texts(artifact, inputs, index, runtime or Backend(), progress)
        return _checked_outputs(artifact, raw), facts
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
    return _checked_outputs(artifact, outputs(session, inputs, index, batch, progress)), session.facts


def token_ids(artifact: Artifact, inputs: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Return the token ids [len(index), length] that a model reads for rows of `inputs`: texts, or token ids already.

    Raises UserError for inputs that are neither, and for texts where the tokenizer is missing or damaged.
    """
    if inputs.ndim == 1 and inputs.dtype == object:
        tokenizer = artifact.text_tokenizer
        if tokenizer is None:
            raise UserError(
                "the model has no tokenizer.json, without which it reads no text; copy the whole folder."
            )
        return tokenizer.encode(inputs[index]).ids
    if inputs.ndim != 2 or inputs.dtype.kind not in "iu":
        raise UserError(
            "the model reads texts, and the data contain none; use the data the model was trained on."
        )
    return np.asarray(inputs[index])


def _score_texts(
    artifact: Artifact,
    inputs: np.ndarray,
    index: np.ndarray,
    runtime: Backend,
    progress: Callable[[int], None] | None,
) -> tuple[np.ndarray, Mapping[str, Any]]:
    """Return the file's outputs [len(index), …] for texts or their token ids, and the facts of the runtime."""
    ids = token_ids(artifact, inputs, index)
    alone = computes_ranges_per_call(artifact.onnx)
    session = open_session(artifact.onnx, runtime)
    check_ids(ids, artifact.onnx, session.input.name)
    raw = outputs_of_texts(session, ids, int(artifact.card.inputs["pad_id"]), alone=alone, progress=progress)
    return raw, {**session.facts, "rows_per_call": 1 if alone else MAX_ROWS}


def check_ids(ids: np.ndarray, onnx: bytes, input_name: str) -> None:
    """Raise UserError if token ids are outside the embedding of a file; some runtimes would read zeros without a word."""
    known, largest = embedding_rows(onnx, input_name), int(ids.max(initial=0))
    if known is not None and largest >= known:
        raise UserError(
            f"the tokenizer gives the token id {largest:,}, and the model's embedding has only {known:,} rows; put the "
            "tokenizer.json of this model back."
        )


def _checked_outputs(artifact: Artifact, raw: np.ndarray) -> np.ndarray:
    """Return a file's outputs as a matrix [rows, width]; raise UserError if they do not fit its card."""
    card, n_outputs = artifact.card, int(np.prod(raw.shape[1:]))
    one_logit = card.activation == "sigmoid" and card.output_kind == "classes"
    if n_outputs != (1 if one_logit else card.width):
        described = {
            "classes": f"names {len(card.classes)} classes with the activation {card.activation!r}",
            "number": "states that it predicts a number",
            "labels": f"names {card.width} labels",
            "embedding": f"states that an embedding has {card.width:,} numbers",
        }
        raise UserError(
            f"the file outputs {n_outputs} numbers per row, but its card {described[card.output_kind]}; create the model "
            "again."
        )
    raw = raw.reshape(len(raw), n_outputs)
    # The softmax of a class with an infinite logit beside others is NaN, too.
    checked = probabilities(raw, card.activation) if card.output_kind == "classes" else raw
    n_nan = int(np.isnan(checked).any(axis=1).sum())
    if n_nan:
        raise UserError(
            f"the model outputs NaN for {n_nan:,} of {len(raw):,} rows; check that its inputs are scaled as in training."
        )
    return raw


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
