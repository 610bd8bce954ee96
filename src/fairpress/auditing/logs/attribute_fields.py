"""Fields of items that become columns: what repeats, such as a category, and what is asked for; never a prompt unasked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

MAX_TEXT = 80
"""Longer texts are no names of groups."""
MAX_FIELDS = 200


@dataclass(frozen=True)
class Fields:
    """Fields of items that may become columns.

    Attributes
    ----------
    columns
        Name of a column → key of the field.
    requested
        The columns that were asked for, which are kept even where no value repeats.
    """

    columns: Mapping[str, str]
    requested: frozenset[str]


def candidate_fields(
    items: Iterable[Mapping[str, Any]],
    requested: Sequence[str],
    reserved: Sequence[str],
    prefix: str,
    *,
    always_prefixed: bool = False,
) -> Fields:
    """Return the fields of items that may become columns.

    Parameters
    ----------
    items
        The first items of a log, each field → value.
    requested
        Names of columns, with or without the prefix; others than fields are not fields.
    reserved
        Names of other columns: a field of such a name is called with the prefix.
    prefix
        ``doc.`` or ``metadata.``.
    """
    values: dict[str, list[Any]] = {}
    for item in items:
        for key, value in item.items():
            values.setdefault(str(key), []).append(value)
    columns: dict[str, str] = {}
    chosen: set[str] = set()
    for name in requested:
        key = name.removeprefix(prefix) if name.removeprefix(prefix) in values else name
        if key in values and name not in reserved:
            columns[name] = key
            chosen.add(name)
    for key, entries in list(values.items())[:MAX_FIELDS]:
        if key in columns.values() or not all(map(_is_name, entries)):
            continue
        name = f"{prefix}{key}" if always_prefixed or key in reserved or "*" in key else key
        columns.setdefault(name, key)
    return Fields(columns, frozenset(chosen))


def repeats(column: Any) -> bool:
    """Return whether a column of Arrow can name groups: there are fewer values than half of the rows, and at least one."""
    import pyarrow.compute as pc

    distinct = pc.count_distinct(column).as_py()
    return bool(0 < distinct <= max(1, len(column) // 2))


def _is_name(value: Any) -> bool:
    if isinstance(value, str):
        return len(value) <= MAX_TEXT and "\n" not in value
    return value is None or isinstance(value, (bool, int, float))
