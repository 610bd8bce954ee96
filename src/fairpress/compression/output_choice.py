"""What a user's own network predicts: classes, a number, several labels or an embedding, by its outputs and the labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fairpress.compression.module_forms import as_column, chosen_output, two_logits
from fairpress.core.errors import UserError
from fairpress.core.output_kind import OUTPUT_KINDS, OutputKind
from fairpress.datasets.dataset import Task

# Names that the wanted one of several outputs has in transformers and elsewhere; otherwise it must be the only one.
OUTPUT_NAMES: dict[OutputKind, tuple[str, ...]] = {
    "classes": ("logits",),
    "number": ("logits", "prediction", "predictions"),
    "labels": ("logits",),
    "embedding": (
        "embedding",
        "embeddings",
        "image_embeds",
        "text_embeds",
        "sentence_embedding",
        "pooler_output",
    ),
}
EXPECTED: dict[OutputKind, str] = {
    "classes": "a logit per class, [2, classes] with two classes or more, or one logit for the second of two",
    "number": "a number per row, [2] or [2, 1]",
    "labels": "a logit per label, [2, labels]",
    "embedding": "a vector per row, [2, length]",
}
TAIL = ", or say what the output is: outputs='number', 'labels' or 'embedding'"


def checked_kind(requested: str | None) -> OutputKind | None:
    """Return a kind of outputs. Raises UserError for another word."""
    if requested is not None and requested not in OUTPUT_KINDS:
        raise UserError(f"`outputs=` is one of {', '.join(OUTPUT_KINDS)}; got {requested!r}.")
    return requested


def kind_of_labels(labels: np.ndarray, single: bool, width: int) -> tuple[OutputKind, str]:
    """Return what a network predicts by the labels of its rows, and a sentence on what was assumed ("" if nothing was).

    Parameters
    ----------
    labels
        [rows], or [rows, labels].
    single, width
        Whether the network has one output for a row, and how many it has.

    Raises
    ------
    UserError
        The labels do not fit the outputs, or two readings are possible; the message names the remedy.
    """
    whole = bool((labels == np.round(labels)).all())
    binary = whole and bool(((labels == 0) | (labels == 1)).all())
    if labels.ndim == 2:
        return _kind_of_columns(labels, binary, width), (
            f"the labels have a column of 0 and 1 for each of the {width} outputs, so each output is taken for the logit of "
            "a label of its own (outputs='labels')"
        )
    if not single:
        if whole:
            return "classes", ""
        odd = labels[labels != np.round(labels)][0]
        raise UserError(
            f"the batches have a label {odd:.3g}, and the network has {width} outputs; labels must be class indices, "
            "integers from 0, or numbers for a network with one output."
        )
    if binary:
        return "classes", ""
    values = np.unique(labels)
    if whole and len(values) <= 2:
        shown = " and ".join(f"{v:g}" for v in values)
        return_values = "torch.unique(y, return_inverse=True)[1]" if len(values) == 2 else "0 and 1"
        raise UserError(
            f"the loader has the label {values[-1]:g}, but the network has 2 outputs (one logit, for labels 0 and 1), and "
            f"its labels are {shown}. For two classes pass {return_values}; if they are numbers, pass outputs='number'."
        )
    return "number", (
        f"the network has one output, and the labels are numbers ({_range(labels)}), so the output is taken for a number in "
        "their unit (outputs='number')"
    )


def _range(labels: np.ndarray) -> str:
    return f"{labels.min():.4g} to {labels.max():.4g}"


def _kind_of_columns(labels: np.ndarray, binary: bool, width: int) -> OutputKind:
    columns = labels.shape[1]
    if binary and bool((labels.sum(1) == 1).all()):
        raise UserError(
            f"the loader has labels {labels.shape}, one column per class, with a single 1 in every row; labels must be "
            "class indices: pass y.argmax(1). If rows happen to have exactly one of several labels, pass outputs='labels'."
        )
    if not binary:
        raise UserError(
            f"the loader has labels {labels.shape} that are not all 0 and 1; labels must be class indices [rows], one "
            "number per row, or 0 and 1 for each of several labels. A network of several numbers can be compressed with "
            "outputs='embedding', which needs no labels."
        )
    if columns != width:
        raise UserError(
            f"the loader has {columns} labels for each row, and the network {width} output{'s' if width > 1 else ''}; pass "
            "a network with an output for each label."
        )
    return "labels"


def shaped_outputs(
    module: nn.Module, call: Any, rows: Tensor, labels: np.ndarray | None, requested: OutputKind | None
) -> tuple[nn.Module, OutputKind, int, list[str], list[str]]:
    """Return a network that returns a matrix [rows, width], what it predicts, its width, and notes.

    One logit of two classes becomes two, 0 and that logit: their softmax is its sigmoid. The network is changed in place.

    Parameters
    ----------
    call
        Runs a network on rows.
    rows, labels
        Trial rows, and the labels of all rows, if there are any.
    requested
        What the outputs are; None to decide it by the labels.

    Returns
    -------
    The network, the kind, the width, notes on outputs that are left out, and notes on what was assumed.

    Raises
    ------
    UserError
        The network returns something else, or the labels do not fit; the message states what to pass.
    """
    kinds: Sequence[OutputKind] = [requested or "classes"]
    every_output = call(module, rows[:2])
    module, note = chosen_output(module, every_output, OUTPUT_NAMES[kinds[0]], EXPECTED[kinds[0]])
    notes, assumed = [] if note is None else [note], []
    out = every_output if isinstance(every_output, Tensor) else call(module, rows[:2])
    _check_floats(out, kinds[0])
    single, matrix = out.shape in ((2, 1), (2,)), out.dim() == 2 and out.shape[0] == 2
    width = int(out.shape[1]) if matrix else 1
    if requested is None and (single or matrix):
        assert labels is not None
        kind, sentence = kind_of_labels(labels, single, width)
        assumed += [sentence] if sentence else []
    else:
        kind = kinds[0]
    if not (single or matrix) or (kind == "number" and not single) or (kind == "labels" and out.dim() != 2):
        remedy = "Wrap it in a module that does"
        if kind == "embedding" and out.dim() > 2:
            flat = (
                "flattens it (.flatten(1))"
                if out.shape[2:].numel() == 1
                else "pools it, such as by .mean(1) over tokens"
            )
            remedy = f"Wrap it in a module that {flat}"
        raise UserError(
            f"the network returns a tensor {tuple(out.shape)} for 2 rows; it must return {EXPECTED[kind]}. {remedy}"
            f"{'' if requested or out.dim() > 2 else TAIL}."
        )
    if kind in ("classes", "labels"):
        _refuse_probabilities(module, call, rows, out, kind, single)
    if labels is not None and requested is not None:
        _check_labels(labels, kind, width)
    if kind == "classes" and single:
        return two_logits(module), kind, 2, notes, assumed
    if kind == "number" or out.dim() == 1:
        return as_column(module), kind, 1, notes, assumed
    return module, kind, width, notes, assumed


def _check_floats(out: Any, kind: OutputKind) -> None:
    if not isinstance(out, Tensor):
        raise UserError(f"the network returns {type(out).__name__}; it must return {EXPECTED[kind]}.")
    if out.is_complex() or not out.is_floating_point():
        raise UserError(
            f"the network returns {str(out.dtype).removeprefix('torch.')} numbers; it must return "
            f"{EXPECTED[kind].partition(',')[0]}, [rows, classes] float: remove argmax or a similar operation."
        )


def _check_labels(labels: np.ndarray, kind: OutputKind, width: int) -> None:
    """Raise UserError unless labels are those of the requested kind."""
    whole = bool((labels == np.round(labels)).all())
    binary = whole and bool(((labels == 0) | (labels == 1)).all())
    if kind == "labels" and width == 1:
        raise UserError(
            "outputs='labels' is for two labels or more; a network of one label is one of two classes: leave it out, with "
            "labels 0 and 1."
        )
    if kind == "labels" and (labels.ndim != 2 or labels.shape[1] != width or not binary):
        raise UserError(
            f"outputs='labels' needs 0 or 1 for each of the {width} outputs, y [rows, {width}]; the loader has labels "
            f"{labels.shape}{'' if binary else ' with other values'}."
        )
    if kind == "number" and labels.ndim != 1:
        raise UserError(
            f"outputs='number' needs a number per row, y [rows]; the loader has labels {labels.shape}."
        )
    if kind == "classes" and (labels.ndim != 1 or not whole):
        raise UserError(
            f"outputs='classes' needs class indices, integers y [rows]; the loader has labels {labels.shape} from "
            f"{_range(labels)}."
        )


def _refuse_probabilities(
    module: nn.Module, call: Any, rows: Tensor, first: Tensor, kind: OutputKind, single: bool
) -> None:
    """Raise UserError if outputs are probabilities; `first` are those of the first two rows."""
    even_rows = rows[2 : len(rows) - len(rows) % 2]
    parts = [first.float()]
    for part in (*even_rows.split(2), None):
        if not bool((parts[-1] >= 0).all() and (parts[-1] <= 1).all()):
            return
        if part is not None and len(part):
            parts.append(call(module, part).float())
    outputs = torch.cat(parts)
    if outputs.unique().numel() < 2:
        return
    if (
        kind == "classes"
        and not single
        and not torch.allclose(outputs.sum(1), torch.ones(len(outputs)), atol=1e-3)
    ):
        return
    if _leaves_unit_interval(module, rows):
        return
    several = kind == "classes" and not single
    remedy = "softmax, or add torch.log" if several else "sigmoid, or add torch.logit"
    number = " If it is a number, pass outputs='number'." if single and kind == "classes" else ""
    raise UserError(
        f"the network returns {'probabilities' if several or kind == 'labels' else 'a probability'} (all lie in 0 … 1"
        f"{' and sum to 1' if several else ''}), but logits are needed: remove its last {remedy} after it.{number}"
    )


def _leaves_unit_interval(module: nn.Module, rows: Tensor) -> bool:
    """Return whether outputs for larger inputs lie outside of 0 … 1, as logits' do and probabilities' never."""
    if not rows.is_floating_point():
        return False
    for factor in (-10.0, 10.0, -1000.0, 1000.0):
        try:
            with torch.no_grad():
                out = module(rows[:2] * factor)
        except Exception:  # inputs that are codes have no multiples, and a network may raise anything
            return False
        if bool(((out < 0) | (out > 1)).any()):
            return True
    return False


def task_of_outputs(
    kind: OutputKind, width: int, label_names: Sequence[str] | None, target: str = "label"
) -> Task:
    """Return the task of a network of numbers, several labels or embeddings.

    Raises UserError for names that are not one for each output.
    """
    if kind != "labels":
        return Task(target, (), None, outputs=kind, size=width if kind == "embedding" else 0)
    names = tuple(map(str, range(width))) if label_names is None else tuple(map(str, label_names))
    if len(names) != width or len(set(names)) < width:
        raise UserError(
            f"`label_names=` must give each of the {width} outputs a name of its own; got {len(names)} names"
            f"{'' if len(set(names)) == len(names) else ', some of them twice'}."
        )
    return Task(target, (), None, outputs=kind, label_names=names)
