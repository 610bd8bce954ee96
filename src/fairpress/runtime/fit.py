"""Whether a model fits a dataset."""

from __future__ import annotations

from fairpress.core.errors import UserError, listed
from fairpress.core.output_kind import DESCRIPTIONS
from fairpress.datasets.dataset import Dataset
from fairpress.datasets.reload import LOADER
from fairpress.runtime.artifact import Artifact

KINDS = {"text": "texts", "images": "images", "table": "columns of a table"}


def check_fit(name: str, artifact: Artifact, dataset: Dataset) -> None:
    """Raise UserError unless the card's task, columns, shape and dtype match the dataset.

    A model that was compressed with batches knows neither the name of its label nor its columns: they are not compared.
    """
    card, task = artifact.card, dataset.task
    if card.output_kind != task.outputs:
        raise UserError(
            f"model {name!r} predicts {DESCRIPTIONS[card.output_kind]}, and {dataset.name!r} has "
            f"{DESCRIPTIONS[task.outputs]} in each row; use the data the model was trained on."
        )
    if tuple(card.outputs.get("names", ())) != task.label_names:
        raise UserError(
            f"model {name!r} predicts the labels {listed(card.outputs.get('names', ()))}; {dataset.name!r} has "
            f"{listed(task.label_names)}, in this order."
        )
    of_batches = card.data.get("name") == LOADER
    if tuple(card.classes) != task.classes or (card.target != task.target and not of_batches):
        of_model, of_data = (f" ({listed(c)})" if c else "" for c in (card.classes, task.classes))
        raise UserError(
            f"model {name!r} predicts {card.target!r}{of_model}; {dataset.name!r} has {task.target!r}{of_data}."
        )
    if artifact.reads_texts != (dataset.kind == "text"):
        images = len(card.inputs.get("shape") or ()) == 3
        expected = "texts" if artifact.reads_texts else "images" if images else "columns"
        raise UserError(
            f"model {name!r} reads {expected}, and {dataset.name!r} has {KINDS[dataset.kind]}; use the data the model was "
            "trained on."
        )
    if artifact.reads_texts:
        return
    columns = list(card.inputs.get("columns") or [])
    if columns != list(dataset.input_names) and not of_batches:
        raise UserError(
            f"model {name!r} reads {_format_columns(columns)}; {dataset.name!r} has {_format_columns(dataset.input_names)}."
        )
    shape = tuple(card.inputs.get("shape") or dataset.inputs.shape[1:])
    if shape != dataset.inputs.shape[1:]:
        raise UserError(
            f"model {name!r} reads rows of {_format_shape(shape)}, {dataset.name!r} has rows of "
            f"{_format_shape(dataset.inputs.shape[1:])}; "
            "predict models of different input sizes separately."
        )
    dtype = str(card.inputs.get("dtype") or dataset.inputs.dtype)
    if dtype != str(dataset.inputs.dtype):
        raise UserError(
            f"model {name!r} reads {dtype}, {dataset.name!r} contains {dataset.inputs.dtype}; use the data the model was "
            "trained on."
        )


def _format_columns(names: list[str] | tuple[str, ...]) -> str:
    return f"the columns {listed(names)}" if names else "images, not columns"


def _format_shape(shape: tuple[int, ...]) -> str:
    return " × ".join(map(str, shape))
