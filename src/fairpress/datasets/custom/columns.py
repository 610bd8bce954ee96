"""Columns of a table: numbers or text, with missing values marked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from fairpress.core.errors import UserError
from fairpress.core.values import class_key, spelling

MISSING = ("", "NA", "N/A", "#N/A", "NaN", "nan", "null", "NULL")
MAX_TEXT_LENGTH = 1000
NUMBER = r"^\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*$"


@dataclass(frozen=True)
class Missing:
    """Which spellings mean "missing".

    Attributes
    ----------
    more
        Spellings in addition to `MISSING`, in text and numbers, quoted or not.
    values
        Spellings of `MISSING` that are values nevertheless.
    """

    more: tuple[str, ...] = ()
    values: tuple[str, ...] = ()

    def usual(self) -> list[str]:
        """Return the spellings that a CSV file's reader takes for missing where they have no quotes."""
        return [text for text in MISSING if text not in self.values]

    def numbers(self) -> list[float]:
        """Return those of `more` that are numbers."""
        return [key for key in map(class_key, self.more) if isinstance(key, float)]


DEFAULT_MISSING = Missing()


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes
    ----------
    values
        Arrow's array [rows].
    missing
        [rows] bool: values that are missing.
    numbers
        [rows] float64 if all values are numeric.
    odd, odd_text
        The first row that is not a number in a mostly numeric column, and its text; None if there is none.
    kind
        Arrow's type where the values are neither numbers nor text, such as dates: names of groups, no inputs.
    """

    name: str
    values: Any
    missing: np.ndarray
    numbers: np.ndarray | None = None
    odd: int | None = None
    odd_text: str = ""
    kind: str | None = None

    @cached_property
    def text(self) -> np.ndarray:
        """Return the values as they are spelled [rows], empty where they are missing."""
        import pyarrow as pa

        if pa.types.is_integer(self.values.type):
            texts = self.values.cast(pa.string()).to_pylist()
        else:
            texts = [spelling(v) for v in _as_list(self.values)]
        text = np.array([t or "" for t in texts], dtype=np.str_)
        return np.where(self.missing, "", text)

    def take(self, rows: np.ndarray) -> Column:
        """Return the column with these rows only."""
        import pyarrow as pa

        numbers = None if self.numbers is None else self.numbers[rows]
        values = self.values.take(pa.array(rows))
        return Column(self.name, values, self.missing[rows], numbers, self.odd, self.odd_text, self.kind)


class Spellings(Mapping[str, np.ndarray]):
    """Column → its values as the file spells them, text [rows]; computed on access."""

    def __init__(self, columns: Sequence[Column]) -> None:
        self._columns = {column.name: column for column in columns}

    def __getitem__(self, name: str) -> np.ndarray:
        return self._columns[name].text

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)


def column(
    table: Any,
    name: str,
    source_name: str,
    missing: Missing = DEFAULT_MISSING,
    *,
    max_length: int | None = MAX_TEXT_LENGTH,
) -> Column:
    """Return one column of a table; texts have at most `max_length` characters unless it is None.

    Raises
    ------
    UserError
        The header has the name twice for columns that differ, or the column holds lists, structures or what cannot be
        read.
    """
    import pyarrow as pa

    indices = table.schema.get_all_field_indices(
        name
    )  # of thousands of columns a walk over the names takes too long
    if any(not table.column(i).equals(table.column(indices[0])) for i in indices[1:]):
        raise UserError(f"{source_name} has {len(indices)} columns named {name!r} that differ; rename them.")
    try:
        return _column(name, table.column(indices[0]), source_name, missing, max_length)
    except UnicodeDecodeError:
        raise UserError(
            f"{source_name}: column {name!r} is not UTF-8 text; save the table as UTF-8."
        ) from None
    except (pa.ArrowException, ValueError, OverflowError, TypeError) as error:
        reason = " ".join(str(error).split())[:160]
        raise UserError(
            f"{source_name}: column {name!r} of type {table.column(indices[0]).type} cannot be read ({reason}); "
            f"convert it to "
            "numbers or text, or leave it out."
        ) from None


def _column(
    name: str, chunks: Any, source_name: str, missing_spellings: Missing, max_length: int | None
) -> Column:
    import pyarrow as pa
    import pyarrow.compute as pc

    values = _plain_array(chunks)
    values.validate(full=True)  # text in Parquet need not be UTF-8
    kind = values.type
    missing = _missing(values)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        longest = pc.max(pc.utf8_length(values)).as_py() or 0
        if max_length is not None and longest > max_length:
            raise UserError(
                f"{source_name}: column {name!r} holds texts of up to {longest:,} characters, which are not "
                f"categories; leave it out."
            )
        missing |= np.asarray(pc.fill_null(pc.equal(values, ""), False), dtype=bool)
        if missing_spellings.more:
            listed = pc.is_in(
                pc.utf8_trim_whitespace(values), value_set=pa.array(missing_spellings.more, kind)
            )
            missing |= np.asarray(pc.fill_null(listed, False), dtype=bool)
        return _textual(name, values, missing, missing_spellings)
    if pa.types.is_boolean(kind):
        return Column(name, values, missing, _numbers(values.cast(pa.int8()), missing))
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return _mark_missing(Column(name, values, missing, _numbers(values, missing)), missing_spellings)
    if pa.types.is_nested(kind) or pa.types.is_interval(kind):
        raise UserError(
            f"{source_name}: column {name!r} holds {kind}, neither numbers nor text; convert or leave it out."
        )
    text = Column(name, values, missing).text
    missing |= (text == "") | np.isin(text, missing_spellings.more)
    return Column(name, values, missing, kind=None if "binary" in str(kind) else str(kind))


def _plain_array(chunks: Any) -> Any:
    """Return one array of a plain type: dictionaries, runs, views and extensions are unfolded."""
    import pyarrow as pa
    import pyarrow.compute as pc

    values = chunks.combine_chunks() if isinstance(chunks, pa.ChunkedArray) else chunks
    if isinstance(values, pa.ChunkedArray):
        values = pa.concat_arrays(values.chunks)
    if isinstance(values.type, pa.BaseExtensionType):
        return _plain_array(values.storage)
    if pa.types.is_dictionary(values.type):
        return _plain_array(values.dictionary_decode())
    if pa.types.is_run_end_encoded(values.type):
        return _plain_array(pc.run_end_decode(values))
    if pa.types.is_null(values.type) or pa.types.is_string_view(values.type):
        return values.cast(pa.string())
    if pa.types.is_float16(values.type):
        return values.cast(pa.float32())
    return values


def _missing(values: Any) -> np.ndarray:
    import pyarrow as pa
    import pyarrow.compute as pc

    is_missing = np.asarray(pc.is_null(values, nan_is_null=pa.types.is_floating(values.type)), dtype=bool)
    return is_missing.copy()


def _textual(name: str, values: Any, missing: np.ndarray, missing_spellings: Missing) -> Column:
    """Return a column of text, with numbers if every value is one."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if missing.any():
        values = pc.if_else(pa.array(~missing), values, pa.scalar(None, values.type))
    numeric = np.asarray(pc.fill_null(pc.match_substring_regex(values, NUMBER), False), dtype=bool)
    n_present = int((~missing).sum())
    if n_present and numeric.sum() == n_present:
        numbers = _numbers(pc.cast(pc.utf8_trim_whitespace(values), pa.float64()), missing)
        return _mark_missing(Column(name, values, missing, numbers), missing_spellings)
    odd = int(np.flatnonzero(~numeric & ~missing)[0]) if numeric.sum() * 2 > n_present else None
    return Column(name, values, missing, None, odd, "" if odd is None else str(values[odd].as_py()))


def _mark_missing(numeric: Column, missing_spellings: Missing) -> Column:
    """Return a column of numbers in which those that mean "missing" are marked."""
    assert numeric.numbers is not None
    listed = np.isin(numeric.numbers, missing_spellings.numbers())
    if not listed.any():
        return numeric
    return Column(
        numeric.name, numeric.values, numeric.missing | listed, np.where(listed, np.nan, numeric.numbers)
    )


def _numbers(values: Any, missing: np.ndarray) -> np.ndarray:
    import pyarrow as pa

    if pa.types.is_decimal(values.type):
        return np.array([np.nan if v is None else float(v) for v in values.to_pylist()], dtype=np.float64)
    numbers = np.asarray(
        values.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False), dtype=np.float64
    )
    return np.where(missing, np.nan, numbers)


def _as_list(values: Any) -> list[Any]:
    """Return the values of an array; times beyond the range of Python as Arrow writes them."""
    import pyarrow as pa

    if pa.types.is_float32(values.type):  # shortest in its own precision: 0.1, not 0.10000000149011612
        return [None if v is None else np.float32(v) for v in values.to_pylist()]
    try:
        items: list[Any] = values.to_pylist()
    except (ValueError, OverflowError):
        if not pa.types.is_temporal(values.type):
            raise
        items = values.cast(pa.string()).to_pylist()
        odd = next((v for v in items if v is not None and v.startswith("<")), None)
        if odd is not None:
            raise ValueError(odd.strip("<>")) from None
    return items
