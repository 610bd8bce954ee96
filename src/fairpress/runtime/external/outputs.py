"""Select the output of an external model that contains scores, and convert them to probabilities."""

from __future__ import annotations

from typing import Any

import numpy as np

from fairpress.core.errors import UserError, did_you_mean
from fairpress.core.values import class_key, resolve
from fairpress.datasets.dataset import Task
from fairpress.runtime.external.config import Activation, ExternalModelConfig
from fairpress.runtime.external.external_file import (
    FLOATS,
    LABELS,
    ExternalFile,
    OutputCandidates,
    n_columns,
)

Output = str | tuple[str, ...]
# Operators that only change the shape or type of their input.
PASS_THROUGH = frozenset(
    ("Identity", "Cast", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "ZipMap", "Normalizer")
)
_LAYERS = ("Gemm", "MatMul")
_LOGARITHMS = ("LogSoftmax", "Log", "Softplus", "Neg")


def check_outputs_exist(file: ExternalFile, config: ExternalModelConfig, source_name: str) -> None:
    """Raise UserError, before any row is run, where the configuration names an output that the file does not have."""
    names = (config.output,) if isinstance(config.output, str) else config.output or ()
    for name in names:
        if name not in file.outputs:
            raise UserError(
                f"{source_name}: the model has no output {name!r}." + did_you_mean(name, file.outputs)
            )


def choose_output(
    file: ExternalFile,
    config: ExternalModelConfig,
    candidates: OutputCandidates,
    task: Task,
    source_name: str,
    guessed: list[str],
) -> Output:
    """Return the output of scores, the outputs of one class each, or the output of labels if there are no scores.

    Raises UserError if no or several outputs are possible, or if the configured one cannot be read per row.
    """
    if config.output is not None:
        names = (config.output,) if isinstance(config.output, str) else config.output
        for name in names:
            if name in candidates.unfit:
                raise UserError(
                    f"{source_name}: the output {name!r} cannot be read: {candidates.unfit[name]}."
                )
        if isinstance(config.output, str):
            if file.outputs[config.output] in LABELS and n_columns(candidates.values[config.output]) != 1:
                raise UserError(
                    f"{source_name}: the output {config.output!r} holds {file.outputs[config.output][7:-1]} in "
                    f"{n_columns(candidates.values[config.output])} columns, which are neither scores nor labels; "
                    "name an output of "
                    "floats, or of one label for a row."
                )
            return config.output
        for name in names:
            if isinstance(candidates.values[name], list) or n_columns(candidates.values[name]) != 1:
                raise UserError(
                    f"{source_name}: the output {name!r} does not contain one number per row; name "
                    "outputs with a single column."
                )
        return names
    scores = [n for n, v in candidates.values.items() if isinstance(v, list) or file.outputs[n] in FLOATS]
    if len(scores) > 1:
        # Labels may be written as floats.
        not_labels = [n for n in scores if not _holds_float_labels(file, n, candidates.values[n], task)]
        scores = not_labels or scores
    if len(scores) > 1:
        wide = [
            n
            for n in scores
            if isinstance(candidates.values[n], list) or _n_columns(candidates, n) == len(task.classes)
        ]
        single = [n for n in scores if n not in wide and _n_columns(candidates, n) == 1]
        if not wide and len(single) == len(scores) == len(task.classes) and _sum_to_one(candidates, single):
            guessed.append("output")
            return tuple(single)
        scores = wide or scores
    if len(scores) == 1:
        if len(file.outputs) > 1:
            guessed.append("output")
        return scores[0]
    if scores:
        raise UserError(
            f"the model has {len(scores)} outputs that could be scores ({', '.join(scores)}); name one under `output` in "
            f"{source_name}, such as `output: {scores[0]}`; a single column is then the probability of the last "
            "class, and `output: [A, B]` names an output per class, in the order of `classes`."
        )
    labels = [n for n, v in candidates.values.items() if label_indices(v, task.classes) is not None]
    if len(labels) == 1:
        if len(file.outputs) > 1:
            guessed.append("output")
        return labels[0]
    for name, values in candidates.values.items():
        if file.outputs[name] in LABELS and n_columns(values) == 1:
            raise UserError(
                f"the model has no output of scores, and its output {name!r} holds {_list_values(values)}, which are "
                "not the "
                f"classes of {task.target!r} ({', '.join(task.classes[:5])}); export labels that are spelled like "
                "the classes, "
                "or an output of probabilities."
            )
    reasons = "; ".join(f"{n}: {why}" for n, why in candidates.unfit.items())
    listed = ", ".join(f"{n} {kind}" for n, kind in file.outputs.items())
    raise UserError(
        f"the model has no outputs that could be scores or labels of {task.target!r} ({reasons or listed}); export it "
        "with an "
        f"output of floats, [n, classes], or name the output of labels under `output` in {source_name}, with `classes`."
    )


def holds_labels(file: ExternalFile, output: Output, values: Any, task: Task) -> bool:
    """Return whether an output contains predicted labels and not scores."""
    if isinstance(output, tuple) or isinstance(values, list) or n_columns(values) != 1:
        return False
    return file.outputs[output] in LABELS or _holds_float_labels(file, output, values, task)


def label_indices(values: Any, classes: tuple[str, ...]) -> np.ndarray | None:
    """Return the class index of each row [rows] of an output of labels; None if it contains anything else.

    Labels match classes by `core.values.resolve`. If no label does, integers from 0 are indices of classes.
    """
    if isinstance(values, list) or values.dtype.kind not in "iubOUSf" or n_columns(values) != 1:
        return None
    flat = values.reshape(len(values))
    if flat.dtype.kind == "f" and not (np.isfinite(flat) & (flat == np.floor(flat))).all():
        return None
    texts, inverse = np.unique(flat.astype(str), return_inverse=True)
    named = [resolve(t, classes) for t in texts.tolist()]
    positions = [classes.index(n) if n in classes else None for n in named]
    if all(k is None for k in positions):
        keys = [class_key(t) for t in texts.tolist()]
        positions = [int(k) if isinstance(k, float) and k in range(len(classes)) else None for k in keys]
    if any(k is None for k in positions):
        return None
    indices: np.ndarray = np.array(positions, dtype=np.int64)
    return indices[inverse.reshape(-1)]


def score_table(
    output: Output, values: dict[str, Any] | Any, source_name: str
) -> tuple[np.ndarray, tuple[str, ...] | None]:
    """Return scores [rows, columns] as float64, and the names of the columns if the output consists of maps."""
    if isinstance(output, tuple):
        return np.concatenate([values[n].reshape(-1, 1).astype(float) for n in output], axis=1), None
    maps = values[output]
    if not isinstance(maps, list):
        return maps.reshape(len(maps), -1).astype(float), None
    keys = list(maps[0])
    if any(set(row) != set(keys) for row in maps):
        raise UserError(
            f"{source_name}: the maps of the output {output!r} do not name the same classes in every row; export the "
            "model again."
        )
    return np.array([[row[k] for k in keys] for row in maps], dtype=float), tuple(str(k) for k in keys)


def choose_activation(
    file: ExternalFile,
    config: ExternalModelConfig,
    output: Output,
    flat: np.ndarray,
    source_name: str,
    guessed: list[str],
) -> Activation:
    """Return the activation that turns scores into probabilities. Raises UserError if it is ambiguous."""
    if config.activation is not None:
        return config.activation
    guessed.append("activation")
    final_operator, columns = _final_operator(file, output), flat.shape[1]
    finite = flat[np.isfinite(flat).all(axis=1)]
    inside = bool(((finite >= 0) & (finite <= 1)).all())
    # Each quantized probability may be off by half a step, and one that would be 1 by a whole one.
    step = max(
        file.engine.output_steps.get(n, 0.0) for n in ((output,) if isinstance(output, str) else output)
    )
    sums = columns > 1 and bool(np.allclose(finite.sum(1), 1, atol=max(1e-3, step * (columns / 2 + 1))))
    remedy = f"set `activation: none`, softmax or sigmoid in {source_name}"
    if (
        (final_operator == "Softmax" and sums)
        or (final_operator == "Sigmoid" and columns == 1)
        or (inside and sums)
    ):
        return "none"
    if not inside:
        hundred = finite.sum(1) if columns > 1 else finite.max(initial=0.0)
        percent = bool((finite >= 0).all()) and (
            bool(np.allclose(hundred, 100, atol=0.5)) if columns > 1 else 5 < float(hundred) <= 100
        )
        if percent or (columns == 1 and final_operator in _LOGARITHMS):
            logits = "softmax" if columns > 1 else "sigmoid"
            raise UserError(
                f"the output {output!r} contains numbers from {finite.min():g} to {finite.max():g}, which may be "
                f"{'percentages' if percent else 'logarithms'} or logits; if they are logits, set `activation: {logits}` in "
                f"{source_name}, else export probabilities."
            )
        return "softmax" if columns > 1 else "sigmoid"
    if columns == 1 and final_operator not in (*_LAYERS, "Softmax"):
        return "none"
    raise UserError(
        f"the output {output!r} lies between 0 and 1 and may or may not be probabilities; {remedy}."
    )


def probabilities(
    flat: np.ndarray, activation: str, output: Output, kind: str, source_name: str
) -> np.ndarray:
    """Return probabilities [rows, columns, at least 2] of scores. Raises UserError if they are not probabilities."""
    _check_finite(flat, output, source_name)
    if activation == "softmax":
        if flat.shape[1] == 1:
            raise UserError(
                f"{source_name}: the softmax of one column is 1 in every row; set `activation: sigmoid` or none."
            )
        shifted = np.exp(flat - flat.max(axis=1, keepdims=True))
        return np.asarray(shifted / shifted.sum(axis=1, keepdims=True))
    if activation == "sigmoid":
        # This form does not overflow for large numbers of either sign.
        small = np.exp(-np.abs(flat))
        flat = np.where(flat >= 0, 1, small) / (1 + small)
    slack = 2e-3 if kind == "tensor(float16)" else 1e-5
    invalid = ((flat < -slack) | (flat > 1 + slack)).any(axis=1)
    if invalid.any():
        raise UserError(
            f"{source_name}: the output {output!r} is read as probabilities, but contains numbers from {flat.min():g} to "
            f"{flat.max():g}, outside 0 to 1 in {int(invalid.sum()):,} of {len(flat):,} rows; set `activation: softmax` or "
            "sigmoid if they are logits, else export probabilities."
        )
    flat = np.clip(flat, 0, 1)
    return np.concatenate([1 - flat, flat], axis=1) if flat.shape[1] == 1 else flat


def _check_finite(flat: np.ndarray, output: Output, source_name: str) -> None:
    for invalid, description in (
        (np.isnan(flat), "NaN"),
        (np.isposinf(flat), "an infinite score"),
    ):
        if invalid.any():
            raise UserError(
                f"{source_name} gives {description} in its output {output!r} for {int(invalid.any(1).sum()):,} of "
                f"{len(flat):,} rows; "
                "check that its inputs are scaled as in training (`mean`, `std`)."
            )
    if np.isneginf(flat).all(axis=1).any():
        raise UserError(
            f"{source_name} gives only infinite scores in its output {output!r} for some rows; export it again."
        )


def _list_values(values: np.ndarray) -> str:
    names = np.unique(values.astype(str)).tolist()
    return ", ".join(names[:5]) + (", …" if len(names) > 5 else "")


def _final_operator(file: ExternalFile, output: Output) -> str:
    """Return the operator that computes the output."""
    for operator in file.engine.operators_to(output if isinstance(output, str) else output[0]):
        if operator not in PASS_THROUGH:
            return operator
    return ""


def _n_columns(candidates: OutputCandidates, name: str) -> int:
    return n_columns(candidates.values[name])


def _sum_to_one(candidates: OutputCandidates, names: list[str]) -> bool:
    """Return whether outputs of one column each are probabilities that sum to 1."""
    flat = np.stack([candidates.values[n].reshape(-1).astype(float) for n in names], axis=1)
    return bool(np.allclose(flat.sum(1), 1, atol=1e-3) and (flat >= -1e-6).all())


def _holds_float_labels(file: ExternalFile, name: str, values: Any, task: Task) -> bool:
    """Return whether an output of floats contains class labels: integers that name more than one class."""
    if isinstance(values, list) or file.outputs[name] not in FLOATS or n_columns(values) != 1:
        return False
    if _final_operator(file, name) == "Sigmoid" or len(np.unique(values)) < 2:
        return False
    return label_indices(values, task.classes) is not None
