"""From what a model returned, in the order of some rows, to the class that it decided for each of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fairpress.core.errors import UserError, did_you_mean, listed
from fairpress.core.values import class_key, resolve


@dataclass(frozen=True)
class ClassNames:
    """The classes of a label.

    Attributes
    ----------
    names
        As the label spells them, in the order of a model's outputs where `ordered`.
    positive
        The positive class, or None.
    ordered
        Whether the order of the outputs is known; if not, predictions have to be names.
    """

    names: tuple[str, ...]
    positive: str | None
    ordered: bool

    def at(self, positions: np.ndarray) -> np.ndarray:
        """Return the names at positions, ``object`` [rows] of str."""
        return np.asarray(np.array(self.names, dtype=object)[positions])

    @classmethod
    def of_labels(cls, labels: Sequence[str], positive: str | None) -> ClassNames:
        """Return the classes of labels; their order is known where they are the numbers 0 … K − 1."""
        names = sorted(set(labels), key=lambda name: (isinstance(class_key(name), str), class_key(name)))
        return cls(tuple(names), positive, [class_key(name) for name in names] == list(range(len(names))))


def as_array(predicted: Any) -> np.ndarray:
    """Return predictions as one array: tensors of any device, lists of batches, series; of a tuple the first element."""
    if isinstance(predicted, tuple):
        predicted = predicted[0]
    if (
        isinstance(predicted, list)
        and predicted
        and hasattr(predicted[0], "shape")
        and len(predicted[0].shape)
    ):
        predicted = [np.asarray(_detached(batch)) for batch in predicted]
        if len({batch.shape[1:] for batch in predicted}) == 1:
            return np.concatenate(predicted)
    try:
        return np.asarray(_detached(predicted))
    except ValueError:
        raise UserError(
            "the predictions have different lengths, and every row needs one class, or one score for each class."
        ) from None


def _detached(value: Any) -> Any:
    """Return a tensor of PyTorch as an array of its values, other values as they are."""
    if not hasattr(value, "detach"):
        return value
    tensor = value.detach().cpu()
    return (tensor.float() if tensor.is_floating_point() else tensor).numpy()


def decided_classes(predicted: Any, classes: ClassNames, rows: int, whose: str) -> np.ndarray:
    """Return the name of the predicted class of each row, ``object`` [rows] of str.

    Parameters
    ----------
    predicted
        [rows] of class names or of positions in `classes.names`; or [rows, classes] of logits or probabilities, of which the
        largest decides. A tie of two classes goes to the positive one, as everywhere in fairpress; else to the first.
    rows, whose
        The number of rows, and what messages call them.

    Raises
    ------
    UserError
        There is not one prediction for each row, or a class is unknown; the message gives the remedy.
    """
    values = as_array(predicted)
    if values.ndim not in (1, 2) or len(values) != rows:
        shape = " × ".join(f"{n:,}" for n in values.shape) or "1"
        raise UserError(
            f"{rows:,} {whose} need a prediction each, in the order of their table, and {shape} were given; predict every "
            "row once, without shuffling and with the last batch (`shuffle=False, drop_last=False`)."
        )
    if values.ndim == 2:
        return classes.at(_largest(values, classes))
    if values.dtype.kind in "iu":
        _require_order(classes)
        outside = values[(values < 0) | (values >= len(classes.names))]
        if len(outside):
            raise UserError(
                f"predictions that are integers are positions among the {len(classes.names)} classes "
                f"({listed(classes.names)}), and {outside[0]} is none; give the names of classes instead."
            )
        return classes.at(values)
    if values.dtype.kind == "f":
        raise UserError(
            "one number with decimals for each row is not a decision; give the predicted classes, or a column of scores for "
            "every class."
        )
    names, index = np.unique(values.astype(str), return_inverse=True)
    return np.array([_named(str(name), classes) for name in names], dtype=object)[index.reshape(-1)]


def _named(name: str, classes: ClassNames) -> str:
    resolved = resolve(name, classes.names)
    if not name:
        raise UserError("some rows have no prediction; every row needs one.")
    if resolved not in classes.names:
        raise UserError(
            f"the prediction {name!r} is not a class of the label." + did_you_mean(name, classes.names)
        )
    return str(resolved)


def _largest(scores: np.ndarray, classes: ClassNames) -> np.ndarray:
    _require_order(classes)
    if scores.shape[1] != len(classes.names):
        raise UserError(
            f"the model has {scores.shape[1]} output{'' if scores.shape[1] == 1 else 's'} for each row, and the label "
            f"{len(classes.names)} classes ({listed(classes.names)}); give the predicted classes, or name all outputs in "
            "their order with `classes=`."
        )
    if np.isnan(scores).any():
        row = int(np.flatnonzero(np.isnan(scores).any(axis=1))[0])
        raise UserError(f"the model returned NaN for row {row:,}; a decision needs numbers.")
    if len(classes.names) == 2 and classes.positive in classes.names:
        positive = classes.names.index(classes.positive)
        return np.where(scores[:, positive] >= scores[:, 1 - positive], positive, 1 - positive)
    return np.asarray(scores.argmax(axis=1))


def _require_order(classes: ClassNames) -> None:
    if not classes.ordered:
        example = ", ".join(map(repr, classes.names[:3]))
        raise UserError(
            "the order of the model's outputs is unknown; name the classes in that order with `classes=`, such as "
            f"`classes=[{example}]`, or give the names of the predicted classes."
        )
