"""Which output of a model made elsewhere holds scores, and how they become probabilities."""

from __future__ import annotations

from typing import Any

import numpy as np

from fairpress.core.errors import UserError, did_you_mean
from fairpress.core.values import class_key, resolve
from fairpress.datasets.dataset import Task
from fairpress.runtime.external.config import Activation, ExternalModelConfig
from fairpress.runtime.external.onnx_model import (
    FLOATS,
    LABELS,
    ExternalOnnxFile,
    OutputCandidates,
    n_columns,
)

Output = str | tuple[str, ...]
# They hand on what they read, in another shape or type.
PASSING = frozenset(
    ("Identity", "Cast", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "ZipMap", "Normalizer")
)
_LAYERS = ("Gemm", "MatMul")
_LOGARITHMS = ("LogSoftmax", "Log", "Softplus", "Neg")


def choose_output(
    file: ExternalOnnxFile,
    said: ExternalModelConfig,
    found: OutputCandidates,
    task: Task,
    where: str,
    guessed: list[str],
) -> Output:
    """Return the output of scores, the outputs of one class each, or the output of labels where there are no scores.

    Raises UserError where none or several could be meant, or where the one that is named says nothing of a row.
    """
    if said.output is not None:
        names = (said.output,) if isinstance(said.output, str) else said.output
        for name in names:
            if name not in file.outputs:
                raise UserError(
                    f"{where}: the model has no output {name!r}." + did_you_mean(name, file.outputs)
                )
            if name in found.unfit:
                raise UserError(f"{where}: the output {name!r} cannot be read: {found.unfit[name]}.")
        if isinstance(said.output, str):
            if file.outputs[said.output] in LABELS and n_columns(found.values[said.output]) != 1:
                raise UserError(
                    f"{where}: the output {said.output!r} holds {file.outputs[said.output][7:-1]} in "
                    f"{n_columns(found.values[said.output])} columns, which are neither scores nor labels; "
                    "name an output of "
                    "floats, or of one label for a row."
                )
            return said.output
        for name in names:
            if isinstance(found.values[name], list) or n_columns(found.values[name]) != 1:
                raise UserError(f"{where}: the output {name!r} does not hold one number for a row.")
        return names
    scores = [n for n, v in found.values.items() if isinstance(v, list) or file.outputs[n] in FLOATS]
    if len(scores) > 1:
        # Labels may be written as floats.
        rest = [n for n in scores if not _float_labels(file, n, found.values[n], task)]
        scores = rest or scores
    if len(scores) > 1:
        wide = [
            n for n in scores if isinstance(found.values[n], list) or _columns(found, n) == len(task.classes)
        ]
        single = [n for n in scores if n not in wide and _columns(found, n) == 1]
        if not wide and len(single) == len(scores) == len(task.classes) and _sums(found, single):
            guessed.append("output")
            return tuple(single)
        scores = wide or scores
    if len(scores) == 1:
        if len(file.outputs) > 1:
            guessed.append("output")
        return scores[0]
    if scores:
        raise UserError(
            f"the model has {len(scores)} outputs that could be scores ({', '.join(scores)}); say which under `output` in "
            f"{where}, such as `output: {scores[0]}`; one that has a single column is then the probability of the last "
            "class, and `output: [A, B]` names an output per class, in the order of `classes`."
        )
    labels = [n for n, v in found.values.items() if label_indices(v, task.classes) is not None]
    if len(labels) == 1:
        if len(file.outputs) > 1:
            guessed.append("output")
        return labels[0]
    for name, values in found.values.items():
        if file.outputs[name] in LABELS and n_columns(values) == 1:
            raise UserError(
                f"the model has no output of scores, and its output {name!r} holds {_some_of(values)}, which are not the "
                f"classes of {task.target!r} ({', '.join(task.classes[:5])}); export labels that are spelled as the classes "
                "are, or an output of probabilities."
            )
    reasons = "; ".join(f"{n}: {why}" for n, why in found.unfit.items())
    listed = ", ".join(f"{n} {kind}" for n, kind in file.outputs.items())
    raise UserError(
        f"the model has no outputs that could be scores or labels of {task.target!r} ({reasons or listed}); export it "
        "with an "
        f"output of floats, [n, classes], or say which output holds labels under `output` in {where}, with `classes`."
    )


def holds_labels(file: ExternalOnnxFile, output: Output, values: Any, task: Task) -> bool:
    """Return whether an output holds the decisions themselves and no scores."""
    if isinstance(output, tuple) or isinstance(values, list) or n_columns(values) != 1:
        return False
    return file.outputs[output] in LABELS or _float_labels(file, output, values, task)


def label_indices(values: Any, classes: tuple[str, ...]) -> np.ndarray | None:
    """Return the class of each row [rows] that an output of labels names; None where it names something else.

    Labels name classes as everywhere (`core.values.resolve`). Where no label does, whole numbers from 0 count the
    classes in their order.
    """
    if isinstance(values, list) or values.dtype.kind not in "iubOUSf" or n_columns(values) != 1:
        return None
    flat = values.reshape(len(values))
    if flat.dtype.kind == "f" and not (np.isfinite(flat) & (flat == np.floor(flat))).all():
        return None
    texts, at = np.unique(flat.astype(str), return_inverse=True)
    named = [resolve(t, classes) for t in texts.tolist()]
    known = [classes.index(n) if n in classes else None for n in named]
    if all(k is None for k in known):
        keys = [class_key(t) for t in texts.tolist()]
        known = [int(k) if isinstance(k, float) and k in range(len(classes)) else None for k in keys]
    if any(k is None for k in known):
        return None
    indices: np.ndarray = np.array(known, dtype=np.int64)
    return indices[at.reshape(-1)]


def table_of(
    output: Output, values: dict[str, Any] | Any, where: str
) -> tuple[np.ndarray, tuple[str, ...] | None]:
    """Return scores [rows, columns] as float64, and what the file calls the columns where they are maps."""
    if isinstance(output, tuple):
        return np.concatenate([values[n].reshape(-1, 1).astype(float) for n in output], axis=1), None
    own = values[output]
    if not isinstance(own, list):
        return own.reshape(len(own), -1).astype(float), None
    keys = list(own[0])
    if any(set(row) != set(keys) for row in own):
        raise UserError(
            f"{where}: the maps of the output {output!r} do not name the same classes in every row."
        )
    return np.array([[row[k] for k in keys] for row in own], dtype=float), tuple(str(k) for k in keys)


def choose_activation(
    file: ExternalOnnxFile,
    said: ExternalModelConfig,
    output: Output,
    flat: np.ndarray,
    where: str,
    guessed: list[str],
) -> Activation:
    """Return what turns scores into probabilities. Raises UserError where they could be several things."""
    if said.activation is not None:
        return said.activation
    guessed.append("activation")
    ending, columns = _ending(file, output), flat.shape[1]
    known = flat[np.isfinite(flat).all(axis=1)]
    inside = bool(((known >= 0) & (known <= 1)).all())
    sums = columns > 1 and bool(np.allclose(known.sum(1), 1, atol=1e-3))
    remedy = f"say `activation: none`, softmax or sigmoid in {where}"
    if (ending == "Softmax" and sums) or (ending == "Sigmoid" and columns == 1) or (inside and sums):
        return "none"
    if not inside:
        hundred = known.sum(1) if columns > 1 else known.max(initial=0.0)
        percent = bool((known >= 0).all()) and (
            bool(np.allclose(hundred, 100, atol=0.5)) if columns > 1 else 5 < float(hundred) <= 100
        )
        if percent or (columns == 1 and ending in _LOGARITHMS):
            logits = "softmax" if columns > 1 else "sigmoid"
            raise UserError(
                f"the output {output!r} holds numbers from {known.min():g} to {known.max():g}, which may be "
                f"{'percentages' if percent else 'logarithms'} or logits; if they are logits, say `activation: {logits}` in "
                f"{where}, else export probabilities."
            )
        return "softmax" if columns > 1 else "sigmoid"
    if columns == 1 and ending not in (*_LAYERS, "Softmax"):
        return "none"
    raise UserError(f"the output {output!r} lies between 0 and 1 and may be probabilities or not; {remedy}.")


def probabilities(flat: np.ndarray, activation: str, output: Output, kind: str, where: str) -> np.ndarray:
    """Return probabilities [rows, columns, at least 2] of scores; raises UserError where they are none."""
    _refuse_no_numbers(flat, output, where)
    if activation == "softmax":
        if flat.shape[1] == 1:
            raise UserError(
                f"{where}: the softmax of one column is 1 in every row; say `activation: sigmoid` or none."
            )
        shifted = np.exp(flat - flat.max(axis=1, keepdims=True))
        return np.asarray(shifted / shifted.sum(axis=1, keepdims=True))
    if activation == "sigmoid":
        # Written so that large numbers of either sign do not overflow.
        small = np.exp(-np.abs(flat))
        flat = np.where(flat >= 0, 1, small) / (1 + small)
    slack = 2e-3 if kind == "tensor(float16)" else 1e-5
    odd = ((flat < -slack) | (flat > 1 + slack)).any(axis=1)
    if odd.any():
        raise UserError(
            f"{where}: the output {output!r} is taken as probabilities, and holds numbers from {flat.min():g} to "
            f"{flat.max():g}, outside 0 to 1 in {int(odd.sum()):,} of {len(flat):,} rows; say `activation: softmax` or "
            "sigmoid if they are logits, else export probabilities."
        )
    flat = np.clip(flat, 0, 1)
    return np.concatenate([1 - flat, flat], axis=1) if flat.shape[1] == 1 else flat


def _refuse_no_numbers(flat: np.ndarray, output: Output, where: str) -> None:
    for odd, what in ((np.isnan(flat), "no number (NaN)"), (np.isposinf(flat), "an infinite score")):
        if odd.any():
            raise UserError(
                f"{where} gives {what} in its output {output!r} for {int(odd.any(1).sum()):,} of {len(flat):,} rows; "
                "are its inputs scaled as in training (`mean`, `std`)?"
            )
    if np.isneginf(flat).all(axis=1).any():
        raise UserError(
            f"{where} gives only infinite scores in its output {output!r} for some rows; export it again."
        )


def _some_of(values: np.ndarray) -> str:
    names = np.unique(values.astype(str)).tolist()
    return ", ".join(names[:5]) + (", …" if len(names) > 5 else "")


def _ending(file: ExternalOnnxFile, output: Output) -> str:
    """Return the operator that makes the output."""
    for node in file.origin(output if isinstance(output, str) else output[0]):
        if node.op_type not in PASSING:
            return str(node.op_type)
    return ""


def _columns(found: OutputCandidates, name: str) -> int:
    return n_columns(found.values[name])


def _sums(found: OutputCandidates, names: list[str]) -> bool:
    """Return whether outputs of one column each are probabilities that sum to 1."""
    flat = np.stack([found.values[n].reshape(-1).astype(float) for n in names], axis=1)
    return bool(np.allclose(flat.sum(1), 1, atol=1e-3) and (flat >= -1e-6).all())


def _float_labels(file: ExternalOnnxFile, name: str, values: Any, task: Task) -> bool:
    """Return whether an output of floats holds class labels: whole numbers that name classes, more than one of them."""
    if isinstance(values, list) or file.outputs[name] not in FLOATS or n_columns(values) != 1:
        return False
    if _ending(file, name) == "Sigmoid" or len(np.unique(values)) < 2:
        return False
    return label_indices(values, task.classes) is not None
