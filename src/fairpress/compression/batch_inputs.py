"""The inputs of a batch for a user's own network: one tensor, token ids with their mask, or several tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fairpress.core.errors import UserError, listed

LABELS = ("labels", "label", "targets", "target", "y")
GROUPS = ("groups", "group")
TOKENS, MASK, TYPES = "input_ids", "attention_mask", "token_type_ids"
MAX_EXACT_INTEGER = 2**24  # float32 represents integers exactly up to this


@dataclass(frozen=True)
class TokenInputs:
    """Token ids, with the other inputs of a transformers model that follow from them.

    Attributes
    ----------
    pad_id
        The id where the mask is 0; None if no row is padded.
    masked, typed
        Whether the batches have an attention mask, and token types (zeros).
    """

    pad_id: int | None
    masked: bool
    typed: bool


@dataclass(frozen=True)
class InputPart:
    """One of several inputs: its parameter's name (None: by position), the shape of a row, and the type."""

    name: str | None
    shape: tuple[int, ...]
    dtype: torch.dtype

    @property
    def columns(self) -> int:
        return int(np.prod(self.shape, dtype=int))


@dataclass(frozen=True)
class PackedInputs:
    """Several inputs beside one another in one float32 matrix [rows, columns], in the order of `parts`."""

    parts: tuple[InputPart, ...]

    def unpack(self, x: Tensor) -> tuple[list[Tensor], dict[str, Tensor]]:
        """Return the positional and the named inputs in the packed matrix."""
        values = []
        for part, columns in zip(self.parts, x.split([p.columns for p in self.parts], 1), strict=True):
            values.append(columns.reshape(-1, *part.shape).to(part.dtype))
        named = {p.name: v for p, v in zip(self.parts, values, strict=True) if p.name is not None}
        return ([] if named else values), named

    def describe(self) -> str:
        """Return the columns of each input for a sentence, such as ``codes (column 0), numbers (columns 1–3)``."""
        described, start = [], 0
        for number, part in enumerate(self.parts):
            last = start + part.columns - 1
            where = f"column {start}" if last == start else f"columns {start}–{last}"
            described.append(f"{part.name or f'input {number + 1}'} ({where})")
            start = last + 1
        return ", ".join(described)


@dataclass(frozen=True)
class NamedInput:
    """One tensor that a dictionary gives by the name of forward's parameter, such as ``pixel_values``."""

    name: str


InputForm = TokenInputs | PackedInputs | NamedInput | None


def form_facts(form: InputForm) -> dict[str, Any]:
    """Return what a card says of a form, so that later batches are read alike: names in order, or mask and padding."""
    if isinstance(form, TokenInputs):
        return {"tokens": {"masked": form.masked, "pad_id": form.pad_id}}
    if isinstance(form, PackedInputs):
        return {"parts": [part.name for part in form.parts]}
    return {}


def in_order(value: Any, names: Sequence[str]) -> Any:
    """Return a dictionary of inputs in the order of the names, if it has these; other inputs as they are."""
    if isinstance(value, Mapping) and set(value) == set(names):
        return {name: value[name] for name in names}
    return value


def split_batch(batch: Any, batch_name: str, *, labelled: bool = True) -> tuple[Any, Any, Any]:
    """Return inputs, labels and groups (None without) of a batch (x, y), (x, y, groups) or a dictionary with labels.

    Where batches need not be `labelled`, x alone, (x,) and a dictionary without labels will do.

    Raises UserError for anything else.
    """
    if not labelled:
        if isinstance(batch, Mapping):
            inputs = {k: v for k, v in batch.items() if k not in (*LABELS, *GROUPS)}
            if not inputs:
                raise UserError(f"{batch_name} has no inputs.")
            return inputs, None, next((batch[k] for k in GROUPS if k in batch), None)
        if not isinstance(batch, tuple | list):
            return batch, None, None
        return batch[0], None, batch[2] if len(batch) == 3 else None
    if isinstance(batch, Mapping):
        keys = [k for k in LABELS if k in batch]
        if len(keys) != 1:
            problem = (
                f"has the keys {listed([str(k) for k in batch])}" if not keys else f"has {' and '.join(keys)}"
            )
            raise UserError(
                f"{batch_name} {problem}; a dictionary holds its labels under one of these keys: {', '.join(LABELS)}."
            )
        group = next((k for k in GROUPS if k in batch), None)
        inputs = {k: v for k, v in batch.items() if k not in (keys[0], group)}
        if not inputs:
            raise UserError(f"{batch_name} has labels and no inputs.")
        return inputs, batch[keys[0]], None if group is None else batch[group]
    return batch[0], batch[1], batch[2] if len(batch) == 3 else None


def are_tokens(value: Any) -> bool:
    """Return whether inputs are token ids with nothing but their mask and types, as transformers' tokenizers give them."""
    return isinstance(value, Mapping) and TOKENS in value and set(value) <= {TOKENS, MASK, TYPES}


def are_several(value: Any) -> bool:
    """Return whether inputs are a dictionary, or a list or tuple of tensors."""
    if isinstance(value, Mapping):
        return True
    return isinstance(value, list | tuple) and any(isinstance(part, Tensor | np.ndarray) for part in value)


def only_input(value: Any) -> tuple[Any, NamedInput | None]:
    """Return the input of a dictionary or tuple of one, and its name if it has one; other inputs as they are."""
    if isinstance(value, Mapping) and len(value) == 1 and TOKENS not in value:
        ((name, part),) = value.items()
        return part, NamedInput(str(name))
    if isinstance(value, list | tuple) and len(value) == 1 and isinstance(value[0], Tensor | np.ndarray):
        return value[0], None
    return value, None


def named_parts(value: Any) -> list[tuple[str | None, Any]]:
    """Return the several inputs of a batch, with the names that a dictionary gives them."""
    if isinstance(value, Mapping):
        return [(str(name), part) for name, part in value.items()]
    return [(None, part) for part in value]


def pack(parts: Sequence[tuple[str | None, np.ndarray]], batch_name: str) -> tuple[np.ndarray, PackedInputs]:
    """Return several inputs as one matrix [rows, columns] float32, and how to take it apart.

    Raises UserError for inputs of different numbers of rows, or values that float32 cannot hold.
    """
    rows = {len(part) for _, part in parts if part.ndim}
    if len(rows) != 1 or any(part.ndim == 0 for _, part in parts):
        shapes = ", ".join(f"{name or f'input {i + 1}'} {part.shape}" for i, (name, part) in enumerate(parts))
        raise UserError(
            f"{batch_name} has inputs of different numbers of rows ({shapes}); give each a row per label."
        )
    described, columns = [], []
    for number, (name, part) in enumerate(parts):
        subject = f"the input {name or number + 1} of {batch_name}"
        if part.dtype.kind not in "fiub":
            raise UserError(f"{subject} has type {part.dtype}; convert it to numbers.")
        if part.dtype.kind in "iu" and np.abs(part.astype(np.float64)).max(initial=0) > MAX_EXACT_INTEGER:
            raise UserError(
                f"{subject} contains integers above {MAX_EXACT_INTEGER:,}, which float32 cannot represent exactly; renumber "
                "them from 0."
            )
        if not np.isfinite(part).all():
            raise UserError(f"{subject} has missing or infinite values; fill them or drop those rows.")
        described.append(InputPart(name, part.shape[1:], _type(part.dtype)))
        columns.append(part.reshape(len(part), -1).astype(np.float32))
    return np.concatenate(columns, 1), PackedInputs(tuple(described))


def _type(dtype: np.dtype) -> torch.dtype:
    if dtype == np.uint8:
        return torch.uint8
    return {"f": torch.float32, "b": torch.bool}.get(dtype.kind, torch.int64)


def token_ids(
    ids: np.ndarray, mask: np.ndarray | None, types: np.ndarray | None, pad_id: int | None, batch_name: str
) -> tuple[np.ndarray, int | None]:
    """Return token ids [rows, length] int64, and the id that fills up shorter rows.

    Parameters
    ----------
    pad_id
        That of the batches before, or of the network's configuration; None if it is not known yet.

    Raises
    ------
    UserError
        The mask is not where the ids are the padding's, or a token type is not 0: neither follows from the ids then.
    """
    if ids.ndim != 2 or ids.dtype.kind not in "iu":
        raise UserError(
            f"{batch_name} has {TOKENS} {ids.shape} of type {ids.dtype}; token ids are integers [rows, length]."
        )
    for name, other in ((MASK, mask), (TYPES, types)):
        if other is not None and other.shape != ids.shape:
            raise UserError(
                f"{batch_name} has {TOKENS} {ids.shape} and {name} {other.shape}; give both the same shape."
            )
    if types is not None and bool((types != 0).any()):
        raise UserError(
            f"{batch_name} has token types other than 0, which do not follow from the token ids; pass a module whose "
            "forward makes them of the ids."
        )
    if mask is None:
        return ids.astype(np.int64), pad_id
    masked = np.unique(ids[mask == 0])
    if pad_id is None and len(masked) == 1:
        pad_id = int(masked[0])
    fits = not len(masked) if pad_id is None else np.array_equal(ids != pad_id, mask != 0)
    if not fits:
        raise UserError(
            f"{batch_name} has an {MASK} that is not 1 exactly where the token ids are not the padding id"
            f"{'' if pad_id is None else f' {pad_id}'}, so that it does not follow from them; pass a module whose forward "
            "makes it of the ids, or pad with an id that texts do not contain."
        )
    return ids.astype(np.int64), pad_id
