"""The one rule for values: names keep their spelling, and two spellings of one number or truth value are one class.

Groups, subjects and categories are compared character by character: ``02134`` is not ``2134``, and ``18_24`` not ``1824``.
Classes are matched more leniently, because labels and predictions come from different programs: ``1``, ``1.0``, ``True`` and
``"true"`` name one class (`class_key`), but an exact match always wins (`resolve`).
"""

from __future__ import annotations

import datetime
import math
import re
import unicodedata
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any

NAMED_POSITIVE = ("1", "yes", "true", "positive")
"""Names that mark the positive one of two classes, in lower case; so does 1.0, and the code 01 does not."""

_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")
_ONE = re.compile(r"1\.0*")
_TRUTH = {"true": 1.0, "false": 0.0}


def spelling(value: Any) -> str | None:
    """Return a value as text, None if it is missing (None, NaN, NaT, empty text).

    Text is returned as it is. Typed values have the spelling that Python and pandas give them in a CSV file, so that a table
    has the same groups in every format: ``1``, ``1.0``, ``True``, ``2024-05-01``.
    """
    if value is None:
        return None
    if isinstance(value, str):
        return value or None
    if type(value) is int:  # the ids of a million rows, without the questions below
        return str(value)
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:  # a scalar of numpy
        kind = type(value).__name__
        if kind in ("float16", "float32"):  # shortest in its own precision: 0.1, not 0.10000000149011612
            return None if math.isnan(value) else str(float(str(value)))
        if kind in ("datetime64", "timedelta64"):  # `item` would return a count of nanoseconds
            microseconds = value.astype(f"{value.dtype.kind}8[us]")
            exact = microseconds == value or str(value) == "NaT"
            return spelling(microseconds.item()) if exact else str(value).replace("T", " ")
        return spelling(value.item())
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace") or None
    if isinstance(value, (float, Decimal)):
        return None if math.isnan(value) else str(value)
    text = str(value)
    if text in ("NaT", "<NA>", "nan", ""):  # NaT is a datetime too
        return None
    # A day without a time is written as one.
    return text.removesuffix(" 00:00:00") if isinstance(value, datetime.datetime) else text


def class_key(text: str) -> str | float:
    """Return the key that distinguishes classes: a number for numbers and truth values, else the text itself."""
    lowered = text.strip().lower()
    if lowered in _TRUTH:
        return _TRUTH[lowered]
    if _NUMBER.fullmatch(lowered):
        number = float(lowered)
        # Long codes are not numbers: as floats, neighbours would be equal.
        if math.isfinite(number) and abs(number) < 2**53:
            return number
    return text


def resolve(value: Any, classes: Iterable[str]) -> str | None:
    """Return the class that a value names: the exact match, else the only one with the same `class_key`; else None."""
    text = spelling(value)
    class_names = list(classes)
    if text is None or text in class_names:
        return text
    same = [c for c in class_names if class_key(c) == class_key(text)]
    return same[0] if len(same) == 1 else None


def named_positive(classes: Sequence[str]) -> str | None:
    """Return the one of two classes whose name means positive, such as yes; None if there is none."""
    if len(classes) != 2:
        return None
    matches = [c for c in classes if c.strip().lower() in NAMED_POSITIVE or _ONE.fullmatch(c.strip())]
    return matches[0] if len(matches) == 1 else None


def near_equal(names: Iterable[str]) -> list[tuple[str, ...]]:
    """Return the names that differ only in case, blanks, a trailing dot or what cannot be seen, each cluster sorted."""
    clusters: dict[str, set[str]] = {}
    for name in names:
        seen = name if name.isascii() else _seen(name)
        clusters.setdefault("".join(seen.casefold().split()).rstrip("."), set()).add(name)
    return [tuple(sorted(c)) for c in clusters.values() if len(c) > 1]


def told_apart(names: Sequence[str]) -> list[str]:
    """Return names in quotes, by the numbers of their characters where they would look alike."""
    alike = len({_seen(name) for name in names}) < len(names)
    return [ascii(name) if alike and name.isprintable() else repr(name) for name in names]


def _seen(name: str) -> str:
    """Return a name without characters that have no shape, and with each accent in one character with its letter."""
    shapes = (c for c in unicodedata.normalize("NFC", name) if unicodedata.category(c) != "Cf")
    return "".join(c for c in shapes if not "\ufe00" <= c <= "\ufe0f")
