"""Read JSONL: an object on each line, whose keys are the columns."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fairpress.core.errors import UserError
from fairpress.core.values import spelling


def read_json_lines(path: Path) -> Any:
    """Return the file as a pyarrow.Table; a key that a line does not have is missing there.

    Columns of one type keep it; a column of several, such as numbers and texts, becomes text. Unlike a reader that guesses
    types, dates stay texts. Empty lines are skipped.

    Raises
    ------
    UserError
        A line is not an object, or has an object or a list as a value.
    UnicodeDecodeError
        The file is not UTF-8.
    """
    import pyarrow as pa

    columns: dict[str, list[Any]] = {}
    rows = 0
    with path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            for key, value in _object(line, path, number).items():
                values = columns.setdefault(key, [])
                values += [None] * (rows - len(values))
                values.append(value)
            rows += 1
    if not columns:
        raise UserError(f"{path} has no rows; each line is an object with a value for each column.")
    filled = {key: values + [None] * (rows - len(values)) for key, values in columns.items()}
    return pa.table({key: _array(values) for key, values in filled.items()})


def _object(line: str, path: Path, number: int) -> Mapping[str, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        reason = getattr(error, "msg", "nested too deeply")
        raise UserError(
            f"{path}, line {number:,} is not JSON ({reason}); each line of a .jsonl file is an object of its own."
        ) from None
    if not isinstance(row, dict):
        raise UserError(f'{path}, line {number:,} is not an object; write it as {{"column": value, …}}.')
    nested = next((key for key, value in row.items() if isinstance(value, dict | list)), None)
    if nested is not None:
        raise UserError(
            f"{path}, line {number:,}: {nested!r} is not a single value; give its parts columns of their own."
        )
    if "\\u" in line:
        _refuse_half_pairs(row, path, number)
    return row


def _refuse_half_pairs(row: Mapping[str, Any], path: Path, number: int) -> None:
    """Refuse an escape such as ``\\ud83d`` without its second half, which is not a character."""
    for key, value in row.items():
        try:
            f"{key}{value}".encode()
        except UnicodeEncodeError:
            raise UserError(
                f"{path}, line {number:,}: {key!a} has half of a surrogate pair, which is not a character, as texts "
                "that were cut in the middle of an emoji have; remove it."
            ) from None


def _array(values: Sequence[Any]) -> Any:
    import pyarrow as pa

    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
        return pa.array([spelling(value) for value in values], pa.string())
