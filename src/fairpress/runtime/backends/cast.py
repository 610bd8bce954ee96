"""Convert a column to the type of a model's input without changing any value, or refuse the column."""

from __future__ import annotations

import re

import numpy as np

from fairpress.core.errors import UserError
from fairpress.core.values import spelling

NUMPY: dict[str, type[np.generic]] = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(float16)": np.float16,
    "tensor(int8)": np.int8,
    "tensor(int16)": np.int16,
    "tensor(int32)": np.int32,
    "tensor(int64)": np.int64,
    "tensor(uint8)": np.uint8,
    "tensor(uint16)": np.uint16,
    "tensor(uint32)": np.uint32,
    "tensor(uint64)": np.uint64,
    "tensor(bool)": np.bool_,
    "tensor(string)": np.object_,
}
BOOLEANS = {
    "true": True,
    "yes": True,
    "1": True,
    "1.0": True,
    "false": False,
    "no": False,
    "0": False,
    "0.0": False,
}
_INTEGER = re.compile(r"[+-]?\d+")
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")


def cast(values: np.ndarray, kind: str, spec: str, column: str, source_name: str) -> np.ndarray:
    """Return a column [rows] as the type `kind` of the input `spec`.

    Text becomes a boolean only if it spells one (true, yes, 1 or false, no, 0), a number becomes text only as spelled in the
    table, and integers, ranges and signs are preserved.

    Raises
    ------
    UserError
        A value would change; the message names it.
    """
    type_name = kind.removeprefix("tensor(").removesuffix(")")
    context = f"{source_name}: the input {spec!r} takes {type_name}, and the column {column!r} holds"
    if kind == "tensor(string)":
        return _to_text(values, context, column)
    if kind == "tensor(bool)":
        return _to_bool(values, context)
    dtype = np.dtype(NUMPY[kind])
    numbers = (
        values if values.dtype.kind in "fiub" else _parse_numbers(values, context, exact=dtype.kind in "iu")
    )
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        if numbers.dtype.kind == "f":
            # As floats, the limits of 64-bit integers are rounded; 2**63 itself is outside.
            inside = (numbers >= float(limits.min)) & (numbers < float(limits.max) + 1)
            exact = inside & (numbers == np.floor(numbers))
        else:
            # Compared as Python numbers: numpy would convert mixed signs to floats.
            exact = np.array(
                [limits.min <= v <= limits.max and v == int(v) for v in numbers.tolist()], dtype=bool
            )
        if not exact.all():
            raise UserError(
                f"{context} {_format_number(numbers[~exact][0])}; {type_name} has whole numbers from {limits.min:,} "
                f"to {limits.max:,}, so "
                "name another column, or export the model with an input of floats."
            )
        return numbers.astype(dtype)
    with np.errstate(over="ignore"):
        out = numbers.astype(dtype)
    beyond = np.isinf(out) & np.isfinite(numbers.astype(float))
    if beyond.any():
        raise UserError(
            f"{context} {_format_number(numbers[beyond][0])}, which is beyond its range; scale it (`mean`, `std`), "
            "or export the "
            "model with an input of float32 or double."
        )
    return out


def round_trip(values: np.ndarray, kind: str) -> tuple[str, str] | None:
    """Return, as text, an integer that a float input rounds and its rounded value; None if no value changes."""
    if kind not in ("tensor(float)", "tensor(float16)") or values.dtype.kind not in "fiu":
        return None
    with np.errstate(over="ignore", invalid="ignore"):
        wide = values.astype(float)
        changed = (wide == np.floor(wide)) & (wide.astype(NUMPY[kind]).astype(float) != wide)
    if not changed.any():
        return None
    first = values[changed][0]
    return _format_number(first), _format_number(float(NUMPY[kind](first)))


def _to_text(values: np.ndarray, context: str, column: str) -> np.ndarray:
    if values.dtype.kind == "f":
        raise UserError(
            f"{context} numbers, whose spelling (1 or 1.0) is not known; list it in the dataset's YAML under "
            f"`categorical: [{column}]`, so that the model gets its values as the table spells them."
        )
    if values.dtype.kind in "iub":
        return np.array([spelling(v) for v in values], dtype=object)
    return values.astype(str).astype(object)


def _to_bool(values: np.ndarray, context: str) -> np.ndarray:
    if values.dtype.kind in "fiub":
        invalid = ~((values == 0) | (values == 1))
        if invalid.any():
            raise UserError(
                f"{context} {_format_number(values[invalid][0])}, which is neither 0 nor 1; name another column for it."
            )
        return values.astype(bool)
    texts, inverse = np.unique(values.astype(str), return_inverse=True)
    for text in texts.tolist():
        if text.strip().lower() not in BOOLEANS:
            raise UserError(
                f"{context} {text!r}, which is neither true, yes or 1 nor false, no or 0; name an encoded column such as "
                "'race=Asian', or write such values into the table."
            )
    return np.array([BOOLEANS[t.strip().lower()] for t in texts.tolist()], dtype=bool)[inverse.reshape(-1)]


def _parse_numbers(values: np.ndarray, context: str, *, exact: bool) -> np.ndarray:
    """Return the numbers that texts spell, as float64; as Python numbers if integers must keep every digit."""
    texts, inverse = np.unique(values.astype(str), return_inverse=True)
    invalid = next(
        (t for t in texts.tolist() if not _NUMBER.fullmatch(t.strip()) or np.isinf(float(t))), None
    )
    if invalid is not None:
        raise UserError(f"{context} {invalid!r}; name encoded columns such as 'race=Asian'.")
    parsed = [int(t) if exact and _INTEGER.fullmatch(t.strip()) else float(t) for t in texts.tolist()]
    numbers: np.ndarray = np.array(parsed, dtype=object if exact else float)
    return numbers[inverse.reshape(-1)]


def _format_number(value: float) -> str:
    number = float(value)
    return f"{int(value):,}" if number.is_integer() and abs(number) < 1e20 else f"{number:g}"
