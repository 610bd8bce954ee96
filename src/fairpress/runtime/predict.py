"""The predictions table: each model's prediction and scores for each row."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from fairpress.core.errors import UserError
from fairpress.core.json_file import parse_json
from fairpress.core.progress import Progress
from fairpress.datasets.dataset import Dataset, Part
from fairpress.datasets.grouping import keys_of_groups
from fairpress.runtime.artifact import Artifact
from fairpress.runtime.backends.base import Backend, processor
from fairpress.runtime.batch_dependence import PREDICTED_ALONE, measure_batch_dependence
from fairpress.runtime.decision_rule import decide, decides_by_threshold
from fairpress.runtime.external.model import ExternalModel, ExternalPredictions
from fairpress.runtime.fit import check_fit
from fairpress.runtime.predictions_file import TASK_KEY, task_json
from fairpress.runtime.probabilities import score
from fairpress.runtime.truncation import truncation_note
from fairpress.tokenization.tokenizer import TokenIds

if TYPE_CHECKING:
    import pyarrow as pa

RESERVED = {"row_id", "subject", "label", "seed", "fold"}
RUNTIMES_KEY = "fairpress.runtimes"
NOTES_KEY = "fairpress.notes"


def predictions(
    models: Mapping[str, Artifact | ExternalModel],
    dataset: Dataset,
    part: Part | Literal["all"] = "test",
    threads: int = 1,
    runtimes: Mapping[str, Backend] | None = None,
    progress: Progress | None = None,
    batch_dependence: bool | None = None,
) -> pa.Table:
    """Return row_id, subject, label, the sensitive attributes and, per model M, ``M`` and ``M.score``.

    A model's mitigation is applied. A model that outputs labels only has no score. Texts are encoded by each
    model's own tokenizer; a note says which share of each group is longer than a model reads.

    The table's metadata contains JSON: under ``fairpress.runtimes`` the runtime of each model,
    ``{M: {"runtime": "onnxruntime 1.31.0", "threads": 1, "precision": "f32", "threshold": 0.5, …}}``; under
    ``fairpress.task`` the task that the scores belong to, ``{"label": …, "classes": […], "positive": … or null}``; and under
    ``fairpress.notes``, if there are any, warnings as sentences, ``{M: […]}``.

    Parameters
    ----------
    models
        Name → artifact or external ONNX model; the names become columns.
    dataset
        Its `part` is predicted, or ``"all"`` rows. Labels and predictions are class names. Inputs may be larger than memory.
    threads
        Threads within an operator, for models not in `runtimes`.
    runtimes
        Model → backend; ONNX Runtime by default.
    progress
        Called with the model, the number of finished rows and the total.
    batch_dependence
        Whether to measure, for models that read texts, how many answers depend on batch size, order and padding
        (`runtime.batch_dependence`), and to note it; by default for files whose answers can.

    Raises
    ------
    UserError
        A model does not fit the data, or its name is that of another column.
    """
    import pyarrow as pa

    index = np.arange(len(dataset)) if part == "all" else dataset.index(part)
    if not len(index):
        raise UserError(f"{dataset.name!r} has no {part} rows to predict; choose another part.")
    task = dataset.task
    classes = np.array(task.classes)
    columns: dict[str, pa.Array] = {
        "row_id": pa.array([str(v) for v in dataset.row_ids[index]]),
        "subject": pa.array([str(v) for v in dataset.subjects[index]]),
        "label": pa.array(classes[dataset.labels[index]]),
        **{name: pa.array(values[index]) for name, values in dataset.attributes.items()},
    }
    runtime_facts: dict[str, Mapping[str, Any]] = {}
    encoded: dict[tuple[str, int], TokenIds] = {}
    notes: dict[str, list[str]] = {}
    taken = RESERVED | set(columns)
    for name, model in models.items():
        model_columns = {name, f"{name}.score", *(f"{name}.score.{c}" for c in dataset.task.classes)}
        if model_columns & taken:
            raise UserError(
                f"a model cannot be named {name!r}: a column of that name already exists; choose another name."
            )
        taken |= model_columns
        if isinstance(model, Artifact):
            check_fit(name, model, dataset)
    for name, model in models.items():
        runtime = (runtimes or {}).get(name, Backend(threads=threads))
        if isinstance(model, Artifact) and model.reads_texts:
            predicted, threshold, facts = _predict_texts(
                name, model, dataset, index, runtime, progress, encoded, batch_dependence
            )
        else:
            predicted, threshold, facts = _predict(name, model, dataset, index, runtime, progress)
        probability, decided = predicted.probabilities, predicted.decided
        binary = decides_by_threshold(dataset.task.classes, dataset.task.positive)
        runtime_facts[name] = {
            **facts,
            "threshold": threshold if binary and probability is not None else None,
        }
        if isinstance(model, Artifact):
            runtime_facts[name] = {**runtime_facts[name], "digest": model.digest}
        if predicted.notes:
            notes[name] = list(predicted.notes)
        if probability is not None and binary:
            positive = classes.tolist().index(dataset.task.positive)
            scores = probability[:, positive]
            if isinstance(model, Artifact) and model.mitigation is not None:
                scores, positive_rows = _apply_mitigation(model, dataset, index, scores)
                decided = np.where(positive_rows, positive, 1 - positive)
                runtime_facts[name] = {**runtime_facts[name], "mitigation": model.mitigation.repair.method}
            columns[f"{name}.score"] = pa.array(scores)
        elif probability is not None:
            for i, label in enumerate(classes.tolist()):
                columns[f"{name}.score.{label}"] = pa.array(probability[:, i])
        columns[name] = pa.array(classes[decided])
    metadata = {
        RUNTIMES_KEY: json.dumps(runtime_facts, sort_keys=True),
        TASK_KEY: task_json(task.target, task.classes, task.positive),
    }
    if notes:
        metadata[NOTES_KEY] = json.dumps(notes)
    return pa.table(columns).replace_schema_metadata(metadata)


def notes_of(table: pa.Table) -> dict[str, list[str]]:
    """Return the notes on models that a predictions table contains."""
    source_name = f"the table's metadata {NOTES_KEY}"
    notes = parse_json((table.schema.metadata or {}).get(NOTES_KEY.encode(), b"{}"), source_name)
    if not isinstance(notes, dict) or not all(isinstance(v, list) for v in notes.values()):
        raise UserError(f"{source_name} is not a list of sentences for each model; predict again.")
    return {name: [str(sentence) for sentence in sentences] for name, sentences in notes.items()}


def _predict(
    name: str,
    model: Artifact | ExternalModel,
    dataset: Dataset,
    index: np.ndarray,
    runtime: Backend,
    progress: Progress | None,
) -> tuple[ExternalPredictions, float, Mapping[str, Any]]:
    if isinstance(model, ExternalModel):
        if runtime.name != "onnxruntime":
            raise UserError(
                f"model {name!r} is an external ONNX file, which runs only on @onnxruntime, not on @{runtime.name}."
            )
        from onnxruntime import __version__

        facts: Mapping[str, Any] = {
            "runtime": f"onnxruntime {__version__}",
            "provider": "CPU",
            "threads": runtime.threads,
            "precision": "f32",
            "processor": processor(),
        }
        return model.answers(dataset, index, runtime.threads), model.config.threshold, facts

    try:
        probability, facts = score(
            model, dataset.inputs, index, runtime, _rows_done(progress, name, len(index))
        )
    except UserError as error:
        raise UserError(f"model {name!r}: {error}") from None
    return _decided(model, dataset, probability), model.card.threshold, facts


def _predict_texts(
    name: str,
    model: Artifact,
    dataset: Dataset,
    index: np.ndarray,
    runtime: Backend,
    progress: Progress | None,
    encoded: dict[tuple[str, int], TokenIds],
    batch_dependence: bool | None,
) -> tuple[ExternalPredictions, float, Mapping[str, Any]]:
    """Return the predictions of a model that reads texts, with notes; `encoded` keeps the token ids of each tokenizer."""
    assert dataset.texts is not None
    try:
        tokenizer = model.text_tokenizer
        if tokenizer is None:
            raise UserError(
                "it has no tokenizer.json, without which it reads no text; copy the whole folder."
            )
        key = (str(model.card.inputs["tokenizer"]), tokenizer.max_length)
        if key not in encoded:
            encoded[key] = tokenizer.encode(dataset.texts[index])
        texts = encoded[key]
        rows = np.arange(len(index))
        probability, facts = score(model, texts.ids, rows, runtime, _rows_done(progress, name, len(index)))
        attributes = {attribute: values[index] for attribute, values in dataset.attributes.items()}
        notes = [truncation_note(texts.truncated, attributes, tokenizer.max_length)]
        alone = facts["rows_per_call"] == 1
        if batch_dependence or (batch_dependence is None and alone):
            measured = measure_batch_dependence(model, texts.ids, runtime)
            facts = {**facts, "batch_dependence": measured.to_dict()}
            reason = PREDICTED_ALONE if alone else ""
            notes.append(reason + measured.sentence())
    except UserError as error:
        raise UserError(f"model {name!r}: {error}") from None
    decided = _decided(model, dataset, probability)
    kept = tuple(note for note in notes if note is not None)
    return replace(decided, notes=kept), model.card.threshold, facts


def _rows_done(progress: Progress | None, name: str, rows: int) -> Callable[[int], None]:
    def report(done: int) -> None:
        if progress is not None:
            progress(name, done, rows)

    return report


def _decided(model: Artifact, dataset: Dataset, probability: np.ndarray) -> ExternalPredictions:
    task = dataset.task
    return ExternalPredictions(
        probability, decide(probability, task.classes, task.positive, model.card.threshold)
    )


def _apply_mitigation(
    model: Artifact, dataset: Dataset, index: np.ndarray, scores: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return scores [rows] and positive decisions [rows] after the model's mitigation."""
    assert model.mitigation is not None
    repair = model.mitigation.repair
    attributes = {name: values[index] for name, values in dataset.attributes.items()}
    keys = keys_of_groups(attributes, repair.by, repr(dataset.name))
    return repair.apply(scores, keys, [str(v) for v in dataset.row_ids[index]], model.card.threshold)
