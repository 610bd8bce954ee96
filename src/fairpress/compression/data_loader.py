"""Turn the batches of a data loader into a dataset, for a user's own network."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from torch import Tensor

from fairpress.compression.batch_inputs import (
    MASK,
    TOKENS,
    TYPES,
    InputForm,
    PackedInputs,
    TokenInputs,
    are_several,
    are_tokens,
    in_order,
    named_parts,
    only_input,
    pack,
    split_batch,
    token_ids,
)
from fairpress.compression.batch_values import (
    Numbers,
    RowBuffer,
    array_of,
    format_shape,
    groups_of_batch,
    inputs_of_batch,
    kind_of_numbers,
    labels_of_batch,
)
from fairpress.core.errors import UserError
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
    numbers
        Whether the inputs of all batches are of an integer type, or truth values, which a network may need as such.
    labels
        The labels as they were given: integers or floats [rows] or [rows, labels]; None without labels.
    """

    dataset: Dataset
    form: InputForm
    numbers: Numbers
    labels: np.ndarray | None


def collect(
    batches: Iterable[Any],
    trains: bool,
    pad_id: int | None = None,
    *,
    labelled: bool = True,
    order: Sequence[str] = (),
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
    order
        The order of several inputs that have names; by default that of the first batch.
    max_rows, min_rows
        About as many rows are read unless the recipe trains (None: all), and as many are needed.

    Raises
    ------
    UserError
        A batch is something else, or there are too few rows.
    """
    inputs, like = RowBuffer(), np.empty(0)
    token_batches: list[np.ndarray] = []
    labels: list[np.ndarray] = []
    groups: list[np.ndarray] = []
    form: InputForm = None
    kinds: set[Numbers] = set()
    for number, batch in enumerate(_batches(batches), start=1):
        batch_name = f"batch {number}"
        _check_batch(batch, labelled)
        x_given, y_given, groups_given = split_batch(batch, batch_name, labelled=labelled)
        if labelled and _is_single(y_given):
            raise UserError(
                f"{batch_name} has one label, so it is a single row, not a batch; wrap the dataset in "
                "torch.utils.data.DataLoader(dataset, batch_size=64)."
            )
        x, read, kind = _read(in_order(x_given, order), batch_name, pad_id)
        y = labels_of_batch(y_given, batch_name) if labelled else np.zeros(len(x) if x.ndim else 0, np.int64)
        if labels and y.shape[1:] != labels[0].shape[1:]:
            raise UserError(
                f"{batch_name} has labels {y.shape}, the batches before it {labels[0].shape}; give all rows labels alike."
            )
        if x.ndim == 0 or len(x) != len(y):
            raise UserError(
                f"{batch_name} has inputs {x.shape} and labels {y.shape}; give one label for each row."
            )
        if not labels:
            form = read
            if isinstance(form, PackedInputs) and not order:
                order = [part.name for part in form.parts if part.name is not None]
        elif isinstance(read, TokenInputs) and isinstance(form, TokenInputs):
            form = replace(form, pad_id=read.pad_id)
        if read != form:
            raise UserError(
                f"{batch_name} has other inputs than the batches before it (names, shapes or types differ); give all "
                "batches the same."
            )
        pad_id = read.pad_id if isinstance(read, TokenInputs) else pad_id
        tokens = isinstance(read, TokenInputs)
        kinds.add(kind)
        if not labels:
            like = np.empty((0, *x.shape[1:]), x.dtype)
        if not tokens and (x.shape[1:], x.dtype) != (like.shape[1:], like.dtype):
            raise UserError(
                f"{batch_name} has rows of {format_shape(x.shape[1:])} ({x.dtype}), the batches before it rows of "
                f"{format_shape(like.shape[1:])} ({like.dtype}); a file reads rows of one shape and type"
                f"{': pad the sequences to one length.' if x.ndim > 1 and x.dtype == like.dtype else '.'}"
            )
        if (groups_given is not None) != (len(groups) == len(labels)) and labels:
            having = "has" if groups_given is not None else "lacks"
            raise UserError(
                f"{batch_name} {having} groups, unlike earlier batches; give groups in all batches or in none."
            )
        if tokens:
            token_batches.append(x)
        else:
            inputs.add(x)
        labels.append(y)
        if groups_given is not None:
            groups.append(groups_of_batch(groups_given, len(y), batch_name))
        if not trains and max_rows is not None and sum(map(len, labels)) >= max_rows:
            break
    rows = sum(map(len, labels))
    if not labels:
        raise UserError(
            "the loader yields no batch; pass a list, or a new generator, since a generator can be read only once."
        )
    if rows < min_rows:
        raise UserError(f"the loader has {rows} rows; give at least {min_rows}, preferably several hundred.")
    rows_read = _same_length(token_batches, form.pad_id) if isinstance(form, TokenInputs) else inputs.take()
    dataset = _dataset(rows_read, np.concatenate(labels), groups, trains)
    if isinstance(form, TokenInputs):
        dataset = replace(dataset, pad_id=form.pad_id)
    return Collected(
        dataset,
        form,
        kinds.pop() if len(kinds) == 1 else "other",
        np.concatenate(labels) if labelled else None,
    )


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


def _read(value: Any, batch_name: str, pad_id: int | None) -> tuple[np.ndarray, InputForm, Numbers]:
    """Return the inputs of a batch as one array, how they are made of it, and what numbers they are."""
    value, form = only_input(value)
    if are_tokens(value):
        ids, mask, types = (
            array_of(value[name], f"{name} of {batch_name}") if name in value else None
            for name in (TOKENS, MASK, TYPES)
        )
        assert ids is not None
        x, pad_id = token_ids(ids, mask, types, pad_id, batch_name)
        return x, TokenInputs(pad_id, mask is not None, types is not None), "integer"
    if are_several(value):
        arrays = [
            (name, array_of(part, f"the input {name or i + 1} of {batch_name}"))
            for i, (name, part) in enumerate(named_parts(value))
        ]
        packed, packing = pack(arrays, batch_name)
        return packed, packing, "other"
    x = inputs_of_batch(value, batch_name)
    return x, form, kind_of_numbers(value)


def _same_length(rows: list[np.ndarray], pad_id: int | None) -> np.ndarray:
    """Return the rows of batches of token ids, filled up on the right to one length."""
    length = max(ids.shape[1] for ids in rows)
    if pad_id is None and any(ids.shape[1] < length for ids in rows):
        raise UserError(
            "the batches have token ids of different lengths and no padding id; give an attention_mask, or set "
            "config.pad_token_id of the network."
        )
    padded = [np.pad(ids, ((0, 0), (0, length - ids.shape[1])), constant_values=pad_id or 0) for ids in rows]
    return np.concatenate(padded)


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


def _described(batch: Any) -> str:
    if isinstance(batch, list | tuple):
        return f"{type(batch).__name__} of {len(batch)}"
    if isinstance(batch, dict):
        return f"dict with the keys {', '.join(map(repr, batch))}"
    return type(batch).__name__
