"""The predictions table of models that predict no classes: numbers, or several labels of a row."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from fairpress.core.errors import MissingExtra, UserError
from fairpress.core.progress import Progress
from fairpress.datasets.dataset import Dataset
from fairpress.runtime.artifact import Artifact
from fairpress.runtime.backends.base import Backend
from fairpress.runtime.decision_rule import label_probabilities, labels_present
from fairpress.runtime.external.model import ExternalModel
from fairpress.runtime.fit import check_fit
from fairpress.runtime.predictions_file import OUTCOME_KEY, RUNTIMES_KEY
from fairpress.runtime.probabilities import raw_outputs

if TYPE_CHECKING:
    import pyarrow as pa

OUTCOMES = {"number": "abs_error", "labels": "multilabel"}
"""What `audit` judges these models by (`auditing.outcomes`); the table records it."""


def value_predictions(
    models: Mapping[str, Artifact | ExternalModel],
    dataset: Dataset,
    index: np.ndarray,
    columns: Mapping[str, pa.Array],
    runtimes: Mapping[str, Backend],
    progress: Progress | None = None,
) -> pa.Table:
    """Return the predictions table of models of numbers or of several labels.

    Of a number it has the columns label and, per model M, ``M``. Of several labels it has per label X ``label.X``, 0 or 1,
    and per model ``M.X``, 0 or 1, with the probability ``M.score.X``; a label is present if its probability is at least the
    threshold on the model's card. The metadata has the runtimes, as in `predict.predictions`, and the outcome by which
    `audit` judges such tables.

    Parameters
    ----------
    columns
        row_id, subject and the sensitive attributes.
    runtimes
        Model → backend.

    Raises
    ------
    UserError
        A model does not fit the data, or its name is that of another column.
    """
    import pyarrow as pa

    task = dataset.task
    if task.outputs == "embedding":
        raise UserError("embeddings are not predictions; compute them with fairpress.embed(model, rows).")
    labels = dataset.labels[index]
    table = dict(columns)
    if task.outputs == "number":
        table["label"] = pa.array(labels.astype(np.float64))
    else:
        table |= {f"label.{x}": pa.array(labels[:, i]) for i, x in enumerate(task.label_names)}
    facts: dict[str, Mapping[str, Any]] = {}
    for name, model in models.items():
        if isinstance(model, Artifact):
            check_fit(name, model, dataset)
        predicted, facts[name] = _predict(name, model, dataset, index, runtimes[name], progress)
        clash = set(predicted) & set(table)
        if clash or name in ("label", "subject", "row_id"):
            raise UserError(
                f"a model cannot be named {name!r}: a column {min(clash, default=name)!r} already exists; choose another "
                "name."
            )
        table |= {column: pa.array(values) for column, values in predicted.items()}
    metadata = {
        RUNTIMES_KEY: json.dumps(facts, sort_keys=True),
        OUTCOME_KEY: OUTCOMES[task.outputs],
    }
    return pa.table(table).replace_schema_metadata(metadata)


def _predict(
    name: str,
    model: Artifact | ExternalModel,
    dataset: Dataset,
    index: np.ndarray,
    runtime: Backend,
    progress: Progress | None,
) -> tuple[dict[str, np.ndarray], Mapping[str, Any]]:
    """Return a model's columns, and the facts of its runtime."""

    def report_rows(done: int) -> None:
        if progress is not None:
            progress(name, done, len(index))

    labels = list(dataset.task.label_names)
    try:
        if isinstance(model, ExternalModel):
            values, facts = model.values(dataset, index, runtime)
            thresholds = [model.config.threshold] * len(labels)
        else:
            values, facts = raw_outputs(model, dataset.inputs, index, runtime, report_rows)
            facts = {**facts, "digest": model.digest}
            thresholds = [float(t) for t in model.card.outputs.get("thresholds", ())]
    except MissingExtra:
        raise
    except UserError as error:
        raise UserError(f"model {name!r}: {error}") from None
    if dataset.task.outputs == "number":
        return {name: values[:, 0].astype(np.float64)}, facts
    probabilities = values if isinstance(model, ExternalModel) else label_probabilities(values)
    present = labels_present(probabilities, thresholds)
    columns = {f"{name}.{x}": present[:, i].astype(np.int64) for i, x in enumerate(labels)}
    columns |= {f"{name}.score.{x}": probabilities[:, i] for i, x in enumerate(labels)}
    at_threshold = int((probabilities == np.asarray(thresholds, dtype=np.float32)).sum())
    return columns, {
        **facts,
        "thresholds": dict(zip(labels, thresholds, strict=True)),
        "at_threshold": at_threshold,
    }
