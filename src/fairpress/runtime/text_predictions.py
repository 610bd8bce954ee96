"""Scores of artifacts that read texts, with notes on texts that are cut and answers that depend on the batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from fairpress.core.errors import UserError
from fairpress.datasets.dataset import Dataset
from fairpress.runtime.artifact import Artifact
from fairpress.runtime.backends.base import Backend
from fairpress.runtime.backends.registry import open_session
from fairpress.runtime.backends.text_batches import outputs_of_batches
from fairpress.runtime.batch_dependence import (
    MAX_ROWS,
    PADDED_LENGTH,
    PREDICTED_ALONE,
    SIZES,
    BatchDependence,
    compare_batches,
    evenly_spaced,
)
from fairpress.runtime.decision_rule import decide
from fairpress.runtime.probabilities import probabilities, score
from fairpress.runtime.truncation import truncation_note
from fairpress.tokenization.padding import text_lengths
from fairpress.tokenization.tokenizer import TokenIds

UNKNOWN_TRAINING_ROWS = (
    "which rows the model was trained on is not recorded, so rows of the test part may be among them"
)
"""What the cards of models from other tools warn of, and so do those of the models compressed from them."""

EncodedTexts = dict[tuple[str, int, int], TokenIds]
"""(sha256 of tokenizer.json, maximum length, padding id) → the token ids of the predicted rows."""


def score_texts(
    model: Artifact,
    dataset: Dataset,
    index: np.ndarray,
    runtime: Backend,
    progress: Callable[[int], None],
    encoded: EncodedTexts,
    batch_dependence: bool | None,
) -> tuple[np.ndarray, Mapping[str, Any], tuple[str, ...]]:
    """Return class probabilities [len(index), classes] of texts, the facts of the runtime, and notes.

    Parameters
    ----------
    encoded
        Token ids that other models with the same tokenizer need again; those of this model are added.
    batch_dependence
        Whether to measure how many predictions depend on the batch; None: if the file computes ranges in each call.

    Raises
    ------
    UserError
        As `probabilities.score`.
    """
    tokenizer = model.text_tokenizer
    if tokenizer is None or dataset.texts is None:
        raise UserError("it has no tokenizer.json, without which it reads no text; copy the whole folder.")
    key = (str(model.card.inputs["tokenizer"]), tokenizer.max_length, tokenizer.pad_id)
    if key not in encoded:
        encoded[key] = tokenizer.encode(dataset.texts[index])
    texts = encoded[key]
    probability, facts = score(model, texts.ids, np.arange(len(index)), runtime, progress)
    attributes = {name: values[index] for name, values in dataset.attributes.items()}
    notes = [truncation_note(texts.truncated, attributes, tokenizer.max_length)]
    provenance = model.card.provenance
    if UNKNOWN_TRAINING_ROWS in [
        *provenance.get("warnings", ()),
        *provenance.get("origin", {}).get("warnings", ()),
    ]:
        notes.append(UNKNOWN_TRAINING_ROWS)
    alone = facts["rows_per_call"] == 1
    if batch_dependence or (batch_dependence is None and alone):
        measured = measure_batch_dependence(model, texts.ids, runtime)
        facts = {**facts, "batch_dependence": measured.to_dict()}
        notes.append(f"{PREDICTED_ALONE}; {measured.sentence()}" if alone else measured.sentence())
    return probability, facts, tuple(note for note in notes if note is not None)


def measure_batch_dependence(
    artifact: Artifact,
    ids: np.ndarray,
    runtime: Backend,
    *,
    max_rows: int = MAX_ROWS,
    sizes: Sequence[int] = SIZES,
    seed: int = 0,
) -> BatchDependence:
    """Run the same texts alone, in batches, in other orders and with more padding, and compare the answers.

    Every text is also padded to 128 token ids, or to the longest text if that is longer, but not beyond the maximum length.

    Parameters
    ----------
    ids
        Token ids [rows, maximum length] of the model's tokenizer; at most `max_rows` of them are used, evenly spaced.
    sizes
        Numbers of rows in a batch, in the order of the table; the middle one is also reversed and shuffled.
    seed
        Seed of the shuffled order.

    Raises
    ------
    UserError
        The runtime cannot run the file.
    """
    ids = ids[evenly_spaced(len(ids), max_rows)]
    card, pad_id = artifact.card, int(artifact.card.inputs["pad_id"])
    lengths = text_lengths(ids, pad_id)
    session = open_session(artifact.onnx, runtime)

    def run(batches: list[np.ndarray], length: int | None) -> np.ndarray:
        raw = outputs_of_batches(session, ids, lengths, pad_id, batches, length=length)
        return probabilities(raw.reshape(len(ids), -1), card.activation)

    def decided(probability: np.ndarray) -> np.ndarray:
        return decide(probability, card.classes, card.positive, card.threshold)

    padded = min(ids.shape[1], max(PADDED_LENGTH, int(lengths.max())))
    return compare_batches(run, decided, len(ids), padded, sizes=sizes, seed=seed)
