"""Batches of a loader as a dataset, for networks of the user's own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fairpress.core.errors import UserError
from fairpress.core.values import spelling
from fairpress.datasets.dataset import Dataset, Part, Task

MAX_ROWS = 2048  # rows of a loader, for a recipe that does not train
MIN_ROWS = 20
EXACT = 2**24  # whole numbers up to this are float32 numbers


def collect(batches: Iterable[Any], trains: bool) -> Dataset:
    """Read batches (x, y) or (x, y, groups) into a dataset with training, calibration and validation rows.

    Inputs become float32 (uint8 stays), labels class indices. Whole numbers may come as floats, and labels as a column.

    Raises
    ------
    UserError
        A batch is something else, or there are too few rows.
    """
    inputs: list[np.ndarray] = []
    labels: list[np.ndarray] = []
    groups: list[np.ndarray] = []
    for number, batch in enumerate(_batches(batches), start=1):
        where = f"batch {number}"
        if not isinstance(batch, list | tuple) or len(batch) not in (2, 3):
            raise UserError(
                f"a batch is (x, y) or (x, y, groups); this loader yields {_described(batch)}. Wrap it in a generator."
            )
        x = _inputs(batch[0], where)
        if np.ndim(batch[1]) == 0 and not isinstance(batch[1], str):
            raise UserError(
                f"{where} has one label, so that it is a single row; wrap the dataset in "
                "torch.utils.data.DataLoader(dataset, batch_size=64)."
            )
        y = _labels(batch[1], where)
        if x.ndim == 0 or len(x) != len(y):
            raise UserError(
                f"{where} has inputs {x.shape} and labels {y.shape}; a batch has a label for each row."
            )
        if inputs and (x.shape[1:], x.dtype) != (inputs[0].shape[1:], inputs[0].dtype):
            raise UserError(
                f"{where} has rows of {_shape(x.shape[1:])} ({x.dtype}), the batches before it rows of "
                f"{_shape(inputs[0].shape[1:])} ({inputs[0].dtype}); all rows must be of one shape and kind."
            )
        if (len(batch) == 3) != (len(groups) == len(labels)) and labels:
            raise UserError(
                f"{where} has {len(batch)} parts, the batches before it had others; name groups in all or none."
            )
        inputs.append(x)
        labels.append(y)
        if len(batch) == 3:
            groups.append(_groups(batch[2], len(y), where))
        if not trains and sum(map(len, labels)) >= MAX_ROWS:
            break
    rows = sum(map(len, labels))
    if not labels:
        raise UserError(
            "the loader yields no batch; a generator can be read only once, so pass a new one, or a list."
        )
    if rows < MIN_ROWS:
        raise UserError(f"the loader has {rows} rows; give at least {MIN_ROWS}, better some hundred.")
    return _dataset(np.concatenate(inputs), np.concatenate(labels), groups, trains)


def _dataset(inputs: np.ndarray, labels: np.ndarray, groups: list[np.ndarray], trains: bool) -> Dataset:
    every = np.arange(len(labels))
    parts: dict[Part, np.ndarray] = {
        "train": every[every % 10 > 1],
        "calibration": every[every % 10 == 1] if trains else every[every % 10 % 2 == 1],
        "validation": every[every % 10 == 0],
    }
    return Dataset(
        "loader",
        Task("label", tuple(map(str, range(max(2, int(labels.max()) + 1)))), None),
        inputs,
        (),
        labels,
        {"group": np.concatenate(groups)} if groups else {},
        every.astype(str),
        every.astype(str),
        parts,
        "",
    )


def _batches(batches: Any) -> Iterator[Any]:
    """Yield batches; what a loader raises, and a pair of arrays in the place of batches, becomes a sentence."""
    pair = isinstance(batches, tuple | list) and len(batches) == 2
    if pair and all(isinstance(part, Tensor | np.ndarray) for part in batches):
        raise UserError("data=(x, y) is one batch; put it into a list: data=[(x, y)].")
    if isinstance(batches, Tensor | np.ndarray | str | Mapping) or (
        not hasattr(type(batches), "__iter__") and not hasattr(type(batches), "__getitem__")
    ):
        raise UserError(
            f"data is a dataset or an iterable of batches (x, y), such as a DataLoader; got {_described(batches)}."
        )
    try:
        iterator = iter(batches)
    except TypeError as error:
        raise UserError(
            f"data is a dataset or an iterable of batches (x, y); got {_described(batches)}."
        ) from error
    number = 0
    while True:
        try:
            batch = next(iterator)
        except StopIteration:
            return
        except Exception as error:
            why = (str(error).splitlines() or [""])[0].rstrip(".")
            raise UserError(
                f"the loader failed after {number} batches ({type(error).__name__}: {why}); "
                "correct it, or pass a list of batches."
            ) from error
        number += 1
        yield batch


def _inputs(value: Any, where: str) -> np.ndarray:
    if isinstance(value, list | tuple | dict) and not _is_numbers(value):
        count, names = len(value), f" ({', '.join(map(repr, value))})" if isinstance(value, dict) else ""
        raise UserError(
            f"{where} has {count} inputs{names}; a network of fairpress reads one tensor: join them (torch.cat), and pass a "
            "module whose forward takes the joined tensor apart."
        )
    x = _array(value, f"the inputs of {where}")
    if x.dtype == np.uint8:
        return x
    if x.dtype.kind not in "fiub":
        raise UserError(f"the inputs of {where} are {x.dtype}; a network reads numbers.")
    own = x.astype(np.float32)
    if x.dtype.kind in "iu" and np.abs(x.astype(np.float64)).max(initial=0) > EXACT:
        raise UserError(
            f"the inputs of {where} hold whole numbers above {EXACT:,}, which float32 cannot tell apart; "
            "number them from 0 on."
        )
    if not np.isfinite(own).all():
        raise UserError(
            f"the inputs of {where} have {int((~np.isfinite(own)).sum())} missing or infinite values; fill them or "
            "leave those rows out."
        )
    return own


def _is_numbers(value: Any) -> bool:
    return isinstance(value, list) and not any(isinstance(part, Tensor | np.ndarray) for part in value)


def _labels(value: Any, where: str) -> np.ndarray:
    y = _array(value, f"the labels of {where}")
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim == 2 and y.dtype.kind in "fiub":
        one = bool(((y == 0) | (y == 1)).all() and (y.sum(1) == 1).all())
        raise UserError(
            f"{where} has labels {y.shape}, "
            + (
                "one column a class; labels are class indices: pass y.argmax(1)."
                if one
                else "labels are class indices [rows]."
            )
        )
    if y.ndim != 1 or y.dtype.kind not in "fiub":
        kind = "text" if y.dtype.kind in "USO" else str(y.dtype)
        raise UserError(
            f"{where} has labels {y.shape} of {kind}; labels are class indices [rows], whole numbers from 0 on in the "
            "order of the network's outputs."
        )
    odd = y[~(np.isfinite(y) & (y == np.round(y)))] if y.dtype.kind == "f" else y[:0]
    if len(odd):
        raise UserError(
            f"{where} has a label {odd[0]:.3g}; labels are class indices, whole numbers from 0 on."
        )
    return y.astype(np.int64)


def _groups(value: Any, rows: int, where: str) -> np.ndarray:
    own = (
        _array(value, f"the groups of {where}")
        if isinstance(value, Tensor | np.ndarray)
        else np.asarray(value, object)
    )
    own = own[:, 0] if own.ndim == 2 and own.shape[1] == 1 else own
    if own.shape != (rows,):
        raise UserError(f"{where} has groups {own.shape} for {rows} rows; name one group for each row.")
    names = [spelling(name) for name in own]
    if None in names:
        raise UserError(f"{where} has rows without a group; name one for each row, such as 'unknown'.")
    return np.asarray(names, dtype=str)


def _array(value: Any, what: str) -> np.ndarray:
    try:
        if isinstance(value, Tensor):
            value = value.detach().cpu().resolve_conj().resolve_neg()
            return (value.float() if value.dtype == torch.bfloat16 else value).numpy()
        return np.asarray(value)
    except Exception as error:
        raise UserError(
            f"{what} ({type(value).__name__}) are no array: {(str(error).splitlines() or [''])[0].rstrip('.')}; "
            "pass a dense tensor."
        ) from error


def _shape(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape)) or "1"


def _described(batch: Any) -> str:
    if isinstance(batch, list | tuple):
        return f"{type(batch).__name__} of {len(batch)}"
    if isinstance(batch, dict):
        return f"dict with the keys {', '.join(map(repr, batch))}"
    return type(batch).__name__
