"""The output of an external model that predicts a number, or several labels at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fairpress.core.errors import UserError, listed
from fairpress.core.output_kind import DESCRIPTIONS
from fairpress.datasets.dataset import Task
from fairpress.runtime.decision_rule import label_probabilities
from fairpress.runtime.external.config import Activation, ExternalModelConfig
from fairpress.runtime.external.external_file import FLOATS, ExternalFile, OutputCandidates, n_columns


def choose_value_output(
    file: ExternalFile,
    config: ExternalModelConfig,
    candidates: OutputCandidates,
    task: Task,
    source_name: str,
    guessed: list[str],
) -> tuple[str, Activation, tuple[str, ...]]:
    """Return the output of values, what turns it into a number or into probabilities of labels, and the labels in its order.

    Parameters
    ----------
    task
        Of a number, or of several labels.
    guessed
        The names of inferred fields are appended.

    Raises
    ------
    UserError
        No output, or more than one, has as many columns as the task needs; or the configuration does not fit the task.
    """
    fitting = [
        name
        for name, values in candidates.values.items()
        if not isinstance(values, list) and file.outputs[name] in FLOATS and n_columns(values) == task.width
    ]
    output = config.output if isinstance(config.output, str) else None
    if config.output is None and len(fitting) == 1:
        output = fitting[0]
        guessed += ["output"] if len(file.outputs) > 1 else []
    if output not in fitting:
        needed = "one number" if task.width == 1 else f"{task.width} numbers ({listed(task.label_names)})"
        shown = ", ".join(f"{name} {kind}" for name, kind in file.outputs.items())
        raise UserError(
            f"{task.target!r} is {DESCRIPTIONS[task.outputs]}, which needs an output of {needed} for a row, and the model "
            f"has {shown}; "
            + (f"name it under `output` in {source_name}." if len(fitting) > 1 else "use a model of it.")
        )
    names = _names(config, task, source_name)
    if task.outputs == "number":
        if config.activation not in (None, "none"):
            raise UserError(
                f"{source_name}: `activation` is for classes and labels, not for a number; leave it out."
            )
        return output, "none", names
    if config.activation == "softmax":
        raise UserError(
            f"{source_name}: the softmax of several labels makes one class of them; set `activation: sigmoid`, or none."
        )
    if config.activation is not None:
        return output, config.activation, names
    guessed.append("activation")
    values = np.asarray(candidates.values[output])
    inside = bool(((values >= 0) & (values <= 1)).all())
    return output, "none" if inside else "sigmoid", names


def _names(config: ExternalModelConfig, task: Task, source_name: str) -> tuple[str, ...]:
    """Return the labels in the order of the output's columns."""
    if config.classes is None:
        return task.label_names
    if sorted(config.classes) != sorted(task.label_names):
        raise UserError(
            f"{source_name}: `classes` are {listed(config.classes)}, and the labels of the data {listed(task.label_names)}; "
            "list these, in the order of the output."
        )
    return tuple(config.classes)


def read_values(
    values: np.ndarray, activation: Activation, names: Sequence[str], task: Task, model: str
) -> np.ndarray:
    """Return numbers [rows, 1], or the probabilities of labels [rows, labels] in the order of the task.

    Raises UserError for values that are missing, or no probabilities.
    """
    flat = np.asarray(values, dtype=np.float64).reshape(len(values), -1)
    if not np.isfinite(flat).all():
        count = int((~np.isfinite(flat)).any(1).sum())
        raise UserError(
            f"{model}: the output is not finite in {count:,} of {len(flat):,} rows; check the inputs' scale."
        )
    if task.outputs == "number":
        return flat
    probabilities = label_probabilities(flat) if activation == "sigmoid" else flat.astype(np.float32)
    if ((probabilities < -1e-5) | (probabilities > 1 + 1e-5)).any():
        raise UserError(
            f"{model}: the output is read as probabilities, and reaches from {flat.min():g} to {flat.max():g}; set "
            "`activation: sigmoid` if they are logits."
        )
    return probabilities[:, [list(names).index(name) for name in task.label_names]]
