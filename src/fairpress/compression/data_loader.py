"""Turn the batches of a data loader into a dataset, for a user's own network."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fairpress.compression.batch_inputs import (
    MASK,
    MAX_EXACT_INTEGER,
    TOKENS,
    TYPES,
    InputForm,
    TokenInputs,
    are_several,
    are_tokens,
    named_parts,
    pack,
    split_batch,
    token_ids,
)
from fairpress.core.errors import UserError
from fairpress.core.values import spelling
from fairpress.datasets.dataset import Dataset, Part, Task
from fairpress.datasets.reload import LOADER

MAX_ROWS = 2048  # rows that are read for a recipe without fine-tuning
MIN_ROWS = 20
MAX_CLASSES = 2**20


@dataclass(frozen=True)
class Collected:
    """The rows of a loader.

    Attributes
    ----------
    form
        How a row of several inputs, or of token ids, is made of the batches' inputs; None for one tensor.
    whole
        Whether the inputs are whole numbers of an integer type, which a network may need as such.
    labels
        The labels as they were given: integers or floats [rows] or [rows, labels]; None without labels.
    """

    dataset: Dataset
    form: InputForm
    whole: bool
    labels: np.ndarray | None


def collect(
    batches: Iterable[Any],
    trains: bool,
    pad_id: int | None = None,
    *,
    labelled: bool = True,
    max_rows: int | None = MAX_ROWS,
    min_rows: int = MIN_ROWS,
) -> Collected:
    """Read batches (x, y), (x, y, groups), or dictionaries with labels, into training, calibration and validation rows.

    One input becomes float32 (uint8 stays); token ids of a dictionary int64, filled up on the right to the longest; several
    inputs one float32 matrix. Whole labels [rows] or [rows, 1] become class indices in the dataset.

    Parameters
    ----------
    pad_id
        The padding id of the network's configuration, if it has one.
    labelled
        Whether the batches must have labels, which are otherwise not read.
    max_rows, min_rows
        About as many rows are read unless the recipe trains (None: all), and as many are needed.

    Raises
    ------
    UserError
        A batch is something else, or there are too few rows.
    """
    inputs: list[np.ndarray] = []
    labels: list[np.ndarray] = []
    groups: list[np.ndarray] = []
    form: InputForm = None
    whole = True
    for number, batch in enumerate(_batches(batches), start=1):
        batch_name = f"batch {number}"
        _check_batch(batch, labelled)
        x_given, y_given, groups_given = split_batch(batch, batch_name, labelled=labelled)
        if labelled and _is_single(y_given):
            raise UserError(
                f"{batch_name} has one label, so it is a single row, not a batch; wrap the dataset in "
                "torch.utils.data.DataLoader(dataset, batch_size=64)."
            )
        x, read, is_whole = _read(x_given, batch_name, pad_id)
        y = _labels(y_given, batch_name) if labelled else np.zeros(len(x) if x.ndim else 0, np.int64)
        if labels and y.shape[1:] != labels[0].shape[1:]:
            raise UserError(
                f"{batch_name} has labels {y.shape}, the batches before it {labels[0].shape}; give all rows labels alike."
            )
        if x.ndim == 0 or len(x) != len(y):
            raise UserError(
                f"{batch_name} has inputs {x.shape} and labels {y.shape}; give one label for each row."
            )
        if not inputs:
            form = read
        elif isinstance(read, TokenInputs) and isinstance(form, TokenInputs):
            form = replace(form, pad_id=read.pad_id)
        if read != form:
            raise UserError(
                f"{batch_name} has other inputs than the batches before it (names, shapes or types differ); give all "
                "batches the same."
            )
        pad_id = read.pad_id if isinstance(read, TokenInputs) else pad_id
        tokens, whole = isinstance(read, TokenInputs), whole and is_whole
        if inputs and not tokens and (x.shape[1:], x.dtype) != (inputs[0].shape[1:], inputs[0].dtype):
            raise UserError(
                f"{batch_name} has rows of {_shape(x.shape[1:])} ({x.dtype}), the batches before it rows of "
                f"{_shape(inputs[0].shape[1:])} ({inputs[0].dtype}); all rows must have the same shape and type."
            )
        if (groups_given is not None) != (len(groups) == len(labels)) and labels:
            having = "has" if groups_given is not None else "lacks"
            raise UserError(
                f"{batch_name} {having} groups, unlike earlier batches; give groups in all batches or in none."
            )
        inputs.append(x)
        labels.append(y)
        if groups_given is not None:
            groups.append(_groups(groups_given, len(y), batch_name))
        if not trains and max_rows is not None and sum(map(len, labels)) >= max_rows:
            break
    rows = sum(map(len, labels))
    if not labels:
        raise UserError(
            "the loader yields no batch; pass a list, or a new generator, since a generator can be read only once."
        )
    if rows < min_rows:
        raise UserError(f"the loader has {rows} rows; give at least {min_rows}, preferably several hundred.")
    if isinstance(form, TokenInputs):
        inputs = _same_length(inputs, form.pad_id)
    dataset = _dataset(np.concatenate(inputs), np.concatenate(labels), groups, trains)
    if isinstance(form, TokenInputs):
        dataset = replace(dataset, pad_id=form.pad_id)
    return Collected(dataset, form, whole, np.concatenate(labels) if labelled else None)


def _check_batch(batch: Any, labelled: bool) -> None:
    """Raise UserError for a batch that is neither a pair, a triple, nor a dictionary."""
    is_sequence = isinstance(batch, list | tuple)
    if isinstance(batch, Mapping) or (is_sequence and len(batch) in ((2, 3) if labelled else (1, 2, 3))):
        return
    if not labelled and isinstance(batch, Tensor | np.ndarray):
        return
    expected = (
        "(x, y), (x, y, groups) or a dictionary with labels"
        if labelled
        else "x, (x,), (x, y) or a dictionary"
    )
    raise UserError(
        f"a batch is {expected}; this loader yields {_described(batch)}. Wrap it in a generator"
        + (
            "."
            if not labelled
            else "; batches without labels do for a network of embeddings: outputs='embedding'."
        )
    )


def _is_single(labels: Any) -> bool:
    """Return whether labels are a single number."""
    return not isinstance(labels, str) and np.ndim(labels) == 0


def _read(value: Any, batch_name: str, pad_id: int | None) -> tuple[np.ndarray, InputForm, bool]:
    """Return the inputs of a batch as one array, how they are made of it, and whether they are of an integer type."""
    if are_tokens(value):
        ids, mask, types = (
            _array(value[name], f"{name} of {batch_name}") if name in value else None
            for name in (TOKENS, MASK, TYPES)
        )
        assert ids is not None
        x, pad_id = token_ids(ids, mask, types, pad_id, batch_name)
        return x, TokenInputs(pad_id, mask is not None, types is not None), True
    if are_several(value):
        arrays = [
            (name, _array(part, f"the input {name or i + 1} of {batch_name}"))
            for i, (name, part) in enumerate(named_parts(value))
        ]
        packed, form = pack(arrays, batch_name)
        return packed, form, False
    x = _inputs(value, batch_name)
    integer = isinstance(value, Tensor | np.ndarray) and not (
        value.is_floating_point() or value.dtype == torch.uint8
        if isinstance(value, Tensor)
        else value.dtype.kind not in "iu" or value.dtype == np.uint8
    )
    return x, None, integer


def _same_length(rows: list[np.ndarray], pad_id: int | None) -> list[np.ndarray]:
    """Return batches of token ids filled up on the right to one length."""
    length = max(ids.shape[1] for ids in rows)
    if pad_id is None and any(ids.shape[1] < length for ids in rows):
        raise UserError(
            "the batches have token ids of different lengths and no padding id; give an attention_mask, or set "
            "config.pad_token_id of the network."
        )
    return [np.pad(ids, ((0, 0), (0, length - ids.shape[1])), constant_values=pad_id or 0) for ids in rows]


def _dataset(inputs: np.ndarray, labels: np.ndarray, groups: list[np.ndarray], trains: bool) -> Dataset:
    index = np.arange(len(labels))
    parts: dict[Part, np.ndarray] = {
        "train": index[index % 10 > 1],
        "calibration": index[index % 10 == 1] if trains else index[index % 10 % 2 == 1],
        "validation": index[index % 10 == 0],
    }
    whole = labels.ndim == 1 and bool((labels == np.round(labels)).all())
    count = max(2, int(labels.max()) + 1) if whole and abs(labels).max() < MAX_CLASSES else 2
    return Dataset(
        LOADER,
        Task("label", tuple(map(str, range(count))), None),  # until it is known what the network predicts
        inputs,
        (),
        labels.astype(np.int64) if whole else labels,
        {"group": np.concatenate(groups)} if groups else {},
        index.astype(str),
        index.astype(str),
        parts,
        "",
    )


def _batches(batches: Any) -> Iterator[Any]:
    """Yield batches. Raises UserError for whatever the loader raises, and for a pair of arrays instead of batches."""
    pair = isinstance(batches, tuple | list) and len(batches) == 2
    if pair and all(isinstance(part, Tensor | np.ndarray) for part in batches):
        raise UserError("`data=(x, y)` is one batch; put it into a list: `data=[(x, y)]`.")
    if isinstance(batches, Tensor | np.ndarray | str | Mapping) or (
        not hasattr(type(batches), "__iter__") and not hasattr(type(batches), "__getitem__")
    ):
        raise UserError(
            f"`data=` must be a dataset or an iterable of batches (x, y), such as a DataLoader; got {_described(batches)}."
        )
    try:
        iterator = iter(batches)
    except TypeError as error:
        raise UserError(
            f"`data=` must be a dataset or an iterable of batches (x, y); got {_described(batches)}."
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
                "fix it, or pass a list of batches."
            ) from error
        number += 1
        yield batch


def _inputs(value: Any, batch_name: str) -> np.ndarray:
    x = _array(value, f"the inputs of {batch_name}")
    if x.dtype == np.uint8:
        return x
    if x.dtype.kind not in "fiub":
        raise UserError(f"the inputs of {batch_name} have type {x.dtype}; convert them to numbers.")
    values = x.astype(np.float32)
    if x.dtype.kind in "iu" and np.abs(x.astype(np.float64)).max(initial=0) > MAX_EXACT_INTEGER:
        raise UserError(
            f"the inputs of {batch_name} contain integers above {MAX_EXACT_INTEGER:,}, which float32 cannot represent "
            "exactly; renumber them from 0."
        )
    if not np.isfinite(values).all():
        raise UserError(
            f"the inputs of {batch_name} have {int((~np.isfinite(values)).sum())} missing or infinite values; fill them or "
            "drop those rows."
        )
    return values


def _labels(value: Any, batch_name: str) -> np.ndarray:
    """Return labels [rows] or [rows, labels] as integers or floats; a column [rows, 1] as [rows]."""
    y = _array(value, f"the labels of {batch_name}")
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim not in (1, 2) or y.dtype.kind not in "fiub":
        kind = "text" if y.dtype.kind in "USO" else str(y.dtype)
        raise UserError(
            f"{batch_name} has labels {y.shape} of type {kind}; labels must be class indices [rows], integers from 0 in the "
            "order of the network's outputs; or numbers [rows], or 0 and 1 [rows, labels]."
        )
    if y.dtype.kind != "f":
        return y.astype(np.int64)
    invalid = int((~np.isfinite(y)).sum())
    if invalid:
        raise UserError(f"{batch_name} has {invalid} missing or infinite labels; leave those rows out.")
    return y.astype(np.float64)


def _groups(value: Any, rows: int, batch_name: str) -> np.ndarray:
    groups = (
        _array(value, f"the groups of {batch_name}")
        if isinstance(value, Tensor | np.ndarray)
        else np.asarray(value, object)
    )
    groups = groups[:, 0] if groups.ndim == 2 and groups.shape[1] == 1 else groups
    if groups.shape != (rows,):
        raise UserError(
            f"{batch_name} has groups {groups.shape} for {rows} rows; give one group for each row."
        )
    names = [spelling(name) for name in groups]
    if None in names:
        raise UserError(f"{batch_name} has rows without a group; give one for each row, such as 'unknown'.")
    return np.asarray(names, dtype=str)


def _array(value: Any, description: str) -> np.ndarray:
    try:
        if isinstance(value, Tensor):
            value = value.detach().cpu().resolve_conj().resolve_neg()
            return (value.float() if value.dtype == torch.bfloat16 else value).numpy()
        return np.asarray(value)
    except Exception as error:
        raise UserError(
            f"{description} ({type(value).__name__}) cannot be converted to an array: "
            f"{(str(error).splitlines() or [''])[0].rstrip('.')}; pass a dense tensor."
        ) from error


def _shape(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape)) or "1"


def _described(batch: Any) -> str:
    if isinstance(batch, list | tuple):
        return f"{type(batch).__name__} of {len(batch)}"
    if isinstance(batch, dict):
        return f"dict with the keys {', '.join(map(repr, batch))}"
    return type(batch).__name__
