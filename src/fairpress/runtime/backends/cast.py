"""Hand a column over in the type that an input takes: every value survives, or the column is refused."""

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
TRUTH = {
    "true": True,
    "yes": True,
    "1": True,
    "1.0": True,
    "false": False,
    "no": False,
    "0": False,
    "0.0": False,
}
_WHOLE = re.compile(r"[+-]?\d+")
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")


def cast(values: np.ndarray, kind: str, spec: str, column: str, where: str) -> np.ndarray:
    """Return a column [rows] as the type `kind` of the input `spec`.

    Text becomes a truth value only where it says one (true, yes, 1 or false, no, 0), a number becomes text only with the
    spelling of the table, and whole numbers, ranges and signs are kept.

    Raises
    ------
    UserError
        A value would become another one; the sentence names it.
    """
    what = kind.removeprefix("tensor(").removesuffix(")")
    place = f"{where}: the input {spec!r} takes {what}, and the column {column!r} holds"
    if kind == "tensor(string)":
        return _texts(values, place, column)
    if kind == "tensor(bool)":
        return _truths(values, place)
    dtype = np.dtype(NUMPY[kind])
    numbers = values if values.dtype.kind in "fiub" else _numbers(values, place, exact=dtype.kind in "iu")
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        if numbers.dtype.kind == "f":
            # As floats, the ends of the range of 64 bits are rounded; 2**63 itself is outside.
            inside = (numbers >= float(limits.min)) & (numbers < float(limits.max) + 1)
            kept = inside & (numbers == np.floor(numbers))
        else:
            # Compared as Python's numbers: numpy would make floats of mixed signs.
            kept = np.array(
                [limits.min <= v <= limits.max and v == int(v) for v in numbers.tolist()], dtype=bool
            )
        if not kept.all():
            raise UserError(
                f"{place} {_shown(numbers[~kept][0])}; {what} has whole numbers from {limits.min:,} to {limits.max:,}, so "
                "name another column, or export the model with an input of floats."
            )
        return numbers.astype(dtype)
    with np.errstate(over="ignore"):
        out = numbers.astype(dtype)
    beyond = np.isinf(out) & np.isfinite(numbers.astype(float))
    if beyond.any():
        raise UserError(
            f"{place} {_shown(numbers[beyond][0])}, which is beyond its range; scale it (`mean`, `std`), or export the "
            "model with an input of float32 or double."
        )
    return out


def round_trip(values: np.ndarray, kind: str) -> tuple[str, str] | None:
    """Return a whole number that a float input rounds to another one, and that one, as text; None where there is none."""
    if kind not in ("tensor(float)", "tensor(float16)") or values.dtype.kind not in "fiu":
        return None
    with np.errstate(over="ignore", invalid="ignore"):
        wide = values.astype(float)
        moved = (wide == np.floor(wide)) & (wide.astype(NUMPY[kind]).astype(float) != wide)
    if not moved.any():
        return None
    first = values[moved][0]
    return _shown(first), _shown(float(NUMPY[kind](first)))


def _texts(values: np.ndarray, place: str, column: str) -> np.ndarray:
    if values.dtype.kind == "f":
        raise UserError(
            f"{place} numbers, whose spelling (1 or 1.0) is not known; list it in the dataset's YAML under "
            f"`categorical: [{column}]`, so that the model gets its values as the table spells them."
        )
    if values.dtype.kind in "iub":
        return np.array([spelling(v) for v in values], dtype=object)
    return values.astype(str).astype(object)


def _truths(values: np.ndarray, place: str) -> np.ndarray:
    if values.dtype.kind in "fiub":
        odd = ~((values == 0) | (values == 1))
        if odd.any():
            raise UserError(
                f"{place} {_shown(values[odd][0])}, which is neither 0 nor 1; name another column for it."
            )
        return values.astype(bool)
    texts, at = np.unique(values.astype(str), return_inverse=True)
    for text in texts.tolist():
        if text.strip().lower() not in TRUTH:
            raise UserError(
                f"{place} {text!r}, which is neither true, yes or 1 nor false, no or 0; name an encoded column such as "
                "'race=Asian', or write such values into the table."
            )
    return np.array([TRUTH[t.strip().lower()] for t in texts.tolist()], dtype=bool)[at.reshape(-1)]


def _numbers(values: np.ndarray, place: str, *, exact: bool) -> np.ndarray:
    """Return the numbers that texts spell, as float64; as Python's numbers where whole ones must keep every digit."""
    texts, at = np.unique(values.astype(str), return_inverse=True)
    odd = next((t for t in texts.tolist() if not _NUMBER.fullmatch(t.strip()) or np.isinf(float(t))), None)
    if odd is not None:
        raise UserError(f"{place} {odd!r}; name encoded columns such as 'race=Asian'.")
    found = [int(t) if exact and _WHOLE.fullmatch(t.strip()) else float(t) for t in texts.tolist()]
    numbers: np.ndarray = np.array(found, dtype=object if exact else float)
    return numbers[at.reshape(-1)]


def _shown(value: float) -> str:
    number = float(value)
    return f"{int(value):,}" if number.is_integer() and abs(number) < 1e20 else f"{number:g}"
