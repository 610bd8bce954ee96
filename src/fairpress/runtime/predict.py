"""The predictions table: each model's prediction and scores for each row."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from fairpress.core.errors import MissingExtra, UserError
from fairpress.core.json_file import parse_json
from fairpress.core.progress import Progress
from fairpress.datasets.dataset import Dataset, Part
from fairpress.datasets.grouping import keys_of_groups
from fairpress.runtime.artifact import Artifact
from fairpress.runtime.backends.base import Backend
from fairpress.runtime.decision_rule import decide, decides_by_threshold, ties
from fairpress.runtime.external.model import ExternalModel, ExternalPredictions
from fairpress.runtime.fit import check_fit
from fairpress.runtime.predictions_file import RUNTIMES_KEY, TASK_KEY, task_json
from fairpress.runtime.probabilities import score
from fairpress.runtime.text_predictions import EncodedTexts, score_texts
from fairpress.runtime.value_predictions import value_predictions

if TYPE_CHECKING:
    import pyarrow as pa

RESERVED = {"row_id", "subject", "label", "seed", "fold"}
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

    Of numbers, and of several labels at once, see `value_predictions`. A model's mitigation is applied. A model that
    outputs labels only has no score. Texts are encoded by each model's own tokenizer; a note says which share of each group
    is longer than a model reads.

    The table's metadata contains JSON: under ``fairpress.runtimes`` the runtime of each model,
    ``{M: {"runtime": "onnxruntime 1.31.0", "threads": 1, "precision": "f32", "threshold": 0.5,
    "at_threshold": 0, …}}``, where ``at_threshold`` counts the rows whose probability is exactly the threshold, or equal for
    two classes; under
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
    row_names = {
        "row_id": pa.array([str(v) for v in dataset.row_ids[index]]),
        "subject": pa.array([str(v) for v in dataset.subjects[index]]),
    }
    attributes = {name: pa.array(values[index]) for name, values in dataset.attributes.items()}
    backends = {name: (runtimes or {}).get(name, Backend(threads=threads)) for name in models}
    if task.outputs != "classes":
        return value_predictions(models, dataset, index, {**row_names, **attributes}, backends, progress)
    classes = np.array(task.classes)
    columns: dict[str, pa.Array] = {
        **row_names,
        "label": pa.array(classes[dataset.labels[index]]),
        **attributes,
    }
    runtime_facts: dict[str, Mapping[str, Any]] = {}
    encoded: EncodedTexts = {}
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
        predicted, threshold, facts = _predict(
            name, model, dataset, index, backends[name], progress, encoded, batch_dependence
        )
        probability, decided = predicted.probabilities, predicted.decided
        binary = decides_by_threshold(dataset.task.classes, dataset.task.positive)
        runtime_facts[name] = {
            **facts,
            "threshold": threshold if binary and probability is not None else None,
        }
        if probability is not None:
            count = ties(probability, task.classes, task.positive, threshold)
            runtime_facts[name] = {**runtime_facts[name], "at_threshold": count}
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
    encoded: EncodedTexts,
    batch_dependence: bool | None,
) -> tuple[ExternalPredictions, float, Mapping[str, Any]]:
    if isinstance(model, ExternalModel):
        predicted = model.answers(dataset, index, runtime)
        return predicted, model.config.threshold, predicted.facts

    def report_rows(done: int) -> None:
        if progress is not None:
            progress(name, done, len(index))

    notes: tuple[str, ...] = ()
    try:
        if model.reads_texts:
            probability, facts, notes = score_texts(
                model, dataset, index, runtime, report_rows, encoded, batch_dependence
            )
        else:
            probability, facts = score(model, dataset.inputs, index, runtime, report_rows)
    except MissingExtra:
        raise
    except UserError as error:
        raise UserError(f"model {name!r}: {error}") from None
    threshold = model.card.threshold
    decided = decide(probability, dataset.task.classes, dataset.task.positive, threshold)
    return ExternalPredictions(probability, decided, notes), threshold, facts


def _apply_mitigation(
    model: Artifact, dataset: Dataset, index: np.ndarray, scores: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return scores [rows] and positive decisions [rows] after the model's mitigation."""
    assert model.mitigation is not None
    repair = model.mitigation.repair
    attributes = {name: values[index] for name, values in dataset.attributes.items()}
    keys = keys_of_groups(attributes, repair.by, repr(dataset.name))
    return repair.apply(scores, keys, [str(v) for v in dataset.row_ids[index]], model.card.threshold)
