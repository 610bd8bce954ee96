"""The task of a user's own network: the classes or labels that its outputs are about, and the recipes that suit it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from fairpress.compression.output_choice import task_of_outputs
from fairpress.compression.recipes import Recipe
from fairpress.core.errors import UserError
from fairpress.core.output_kind import DESCRIPTIONS, OutputKind
from fairpress.datasets.dataset import Dataset, Task


def with_task(
    dataset: Dataset,
    given: Dataset | None,
    kind: OutputKind,
    width: int,
    label_names: Sequence[str] | None,
    notes: list[str],
) -> Dataset:
    """Return the rows with the task of the network; notes on classes without rows are added to `notes`.

    Parameters
    ----------
    given
        The dataset that the rows are of; None for batches, whose labels determine the task.

    Raises
    ------
    UserError
        The labels do not fit the outputs, or a name is missing.
    """
    if label_names is not None and kind != "labels":
        raise UserError("`label_names=` is for networks of several labels; leave it out.")
    if given is not None:
        task = given.task
        if kind == "embedding" and task.outputs != "embedding":
            return replace(
                dataset,
                labels=np.zeros(len(dataset), np.int64),
                task=task_of_outputs(kind, width, None, task.target),
            )
        if kind != task.outputs or width != task.width:
            expected = {"classes": "classes", "number": "number", "labels": "labels", "embedding": "numbers"}
            raise UserError(
                f"the network has {width} outputs, but {given.name!r} has {task.width} {expected[task.outputs]}; pass "
                f"data with {'a class' if task.outputs == 'classes' else 'a label'} for each output."
            )
        return dataset
    if kind == "classes":
        return _with_classes(dataset, width, notes)
    return replace(dataset, task=task_of_outputs(kind, width, label_names))


def outputs_of_task(task: Task) -> dict[str, Any]:
    """Return what a card says of the outputs of a network; empty for classes."""
    if task.outputs == "labels":
        names = list(task.label_names)
        return {"kind": task.outputs, "names": names, "thresholds": [0.5] * len(names)}
    if task.outputs == "embedding":
        return {"kind": task.outputs, "size": task.size}
    return {} if task.outputs == "classes" else {"kind": task.outputs}


def check_recipe(recipe: Recipe, kind: OutputKind | None) -> None:
    """Raise UserError if a recipe needs labels or classes that networks of this kind do not have."""
    if kind in (None, "classes"):
        return
    for step in recipe.steps:
        if kind == "embedding" and step.trains and getattr(step, "towards", None) != "baseline":
            remedy = (
                "add (towards=baseline), which trains towards the float network's own embeddings"
                if hasattr(step, "towards")
                else "take a recipe without fine-tuning"
            )
            raise UserError(
                f"recipe {str(recipe)!r} fine-tunes on labels, and an embedding has none; {remedy}."
            )
        ranked_by = getattr(step, "importance", "magnitude")
        if kind == "embedding" and ranked_by != "magnitude":
            raise UserError(
                f"recipe {str(recipe)!r}: importance={ranked_by} is what the loss of the labels depends on, and an "
                "embedding has none; leave it out, and weights are ranked by magnitude."
            )
        method = getattr(step, "method", None)
        if method is not None or getattr(step, "calibration", None) == "balanced-label":
            option = "calibration=balanced-label" if method is None else f"method={method}"
            raise UserError(
                f"recipe {str(recipe)!r}: {option} is about classes, and this network predicts {DESCRIPTIONS[kind]}; leave "
                "it out."
            )


def _with_classes(dataset: Dataset, classes: int, notes: list[str]) -> Dataset:
    present = np.unique(dataset.labels)
    if present[0] < 0 or present[-1] >= classes:
        invalid, shown = (
            present[-1] if present[-1] >= classes else present[0],
            ", ".join(map(str, present[:8])),
        )
        if len(present) == classes:
            remedy = (
                " Labels must be class indices from 0: pass their positions in the order of the outputs, such as "
                + (
                    f"y - {present[0]}."
                    if present[-1] - present[0] == classes - 1 and present[0] > 0
                    else "torch.unique(y, return_inverse=True)[1]."
                )
            )
        else:
            remedy = f" Pass a network with an output for each class; the loader's labels are {shown}."
        raise UserError(
            f"the loader has the label {invalid}, but the network has {classes} outputs (labels 0 … {classes - 1}).{remedy}"
        )
    if len(present) < classes:
        shown = ", ".join(map(str, present[:8])) + (", …" if len(present) > 8 else "")
        notes.append(
            f"the network has {classes} outputs, but the loader's {len(dataset)} rows have the labels {shown} only: if the "
            "outputs are features, not classes, the last layer is missing; otherwise pass rows of every class."
        )
    task = Task("label", tuple(map(str, range(classes))), "1" if classes == 2 else None)
    return replace(dataset, task=task)
