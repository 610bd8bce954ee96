"""The predictions table: what each model says of each row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from fairpress.core.errors import UserError
from fairpress.datasets.base import Dataset, Part
from fairpress.runtime.artifact import Artifact
from fairpress.runtime.session import scores

if TYPE_CHECKING:
    import pyarrow as pa

RESERVED = {"row_id", "subject", "label", "seed", "fold"}


def predictions(
    models: Mapping[str, Artifact], dataset: Dataset, part: Part = "test", threads: int = 1
) -> pa.Table:
    """Return row_id, subject, label, the sensitive attributes and, per model M, ``M`` and ``M.score``.

    Parameters
    ----------
    models
        Name → artifact; the names become columns.
    dataset
        Its `part` is predicted. Labels and predictions are class names.

    Raises
    ------
    UserError
        A model does not fit the data, or a name is taken by another column.
    """
    import pyarrow as pa

    rows = dataset.part(part)
    classes = np.array(dataset.task.classes)
    columns: dict[str, pa.Array] = {
        "row_id": pa.array([str(v) for v in rows.row_ids]),
        "subject": pa.array([str(v) for v in rows.subjects]),
        "label": pa.array(classes[rows.labels]),
        **{name: pa.array(values) for name, values in rows.attributes.items()},
    }
    for name, artifact in models.items():
        if name in RESERVED or name in columns:
            raise UserError(f"a model cannot be called {name!r}: that column is taken; choose another name.")
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
        probability = scores(artifact, rows.inputs, threads=threads)
        if card.positive is not None and len(classes) == 2:
            positive = classes.tolist().index(card.positive)
            score = probability[:, positive]
            decided = np.where(score >= card.threshold, positive, 1 - positive)
            columns[f"{name}.score"] = pa.array(score)
        else:
            decided = probability.argmax(1)
            for i, label in enumerate(classes.tolist()):
                columns[f"{name}.score.{label}"] = pa.array(probability[:, i])
        columns[name] = pa.array(classes[decided])
    return pa.table(columns)
