"""The predictions table: what each model says of each row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

import numpy as np

from fairpress.core.errors import UserError
from fairpress.datasets.base import Dataset, Part
from fairpress.runtime.artifact import Artifact
from fairpress.runtime.foreign import Foreign
from fairpress.runtime.session import scores

if TYPE_CHECKING:
    import pyarrow as pa

RESERVED = {"row_id", "subject", "label", "seed", "fold"}


def predictions(
    models: Mapping[str, Artifact | Foreign],
    dataset: Dataset,
    part: Part | Literal["all"] = "test",
    threads: int = 1,
) -> pa.Table:
    """Return row_id, subject, label, the sensitive attributes and, per model M, ``M`` and ``M.score``.

    Parameters
    ----------
    models
        Name → artifact, or ONNX file made elsewhere; the names become columns.
    dataset
        Its `part` is predicted, or ``"all"`` its rows. Labels and predictions are class names.

    Raises
    ------
    UserError
        A model does not fit the data, or a name is taken by another column.
    """
    import pyarrow as pa

    index = np.arange(len(dataset)) if part == "all" else dataset.parts[part]
    classes = np.array(dataset.task.classes)
    columns: dict[str, pa.Array] = {
        "row_id": pa.array([str(v) for v in dataset.row_ids[index]]),
        "subject": pa.array([str(v) for v in dataset.subjects[index]]),
        "label": pa.array(classes[dataset.labels[index]]),
        **{name: pa.array(values[index]) for name, values in dataset.attributes.items()},
    }
    for name, model in models.items():
        if name in RESERVED or name in columns:
            raise UserError(f"a model cannot be called {name!r}: that column is taken; choose another name.")
        if isinstance(model, Foreign):
            probability, threshold = model.scores(dataset, index, threads), model.config.threshold
        else:
            _fits(name, model, dataset)
            probability, threshold = (
                scores(model, dataset.inputs[index], threads=threads),
                model.card.threshold,
            )
        if dataset.task.positive is not None and len(classes) == 2:
            positive = classes.tolist().index(dataset.task.positive)
            score = probability[:, positive]
            decided = np.where(score >= threshold, positive, 1 - positive)
            columns[f"{name}.score"] = pa.array(score)
        else:
            decided = probability.argmax(1)
            for i, label in enumerate(classes.tolist()):
                columns[f"{name}.score.{label}"] = pa.array(probability[:, i])
        columns[name] = pa.array(classes[decided])
    return pa.table(columns)


def _fits(name: str, artifact: Artifact, dataset: Dataset) -> None:
    card = artifact.card
    if tuple(card.classes) != dataset.task.classes or card.target != dataset.task.target:
        raise UserError(
            f"model {name!r} predicts {card.target!r} ({', '.join(card.classes)}); {dataset.name!r} has "
            f"{dataset.task.target!r} ({', '.join(dataset.task.classes)})."
        )
    wanted = list(card.inputs.get("columns", []))
    if wanted != list(dataset.input_names):
        raise UserError(
            f"model {name!r} reads the columns {', '.join(wanted)}; {dataset.name!r} has "
            f"{', '.join(dataset.input_names)}."
        )
