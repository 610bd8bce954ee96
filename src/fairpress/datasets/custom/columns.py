"""Read a CSV, TSV or Parquet file; its columns are numbers or text, with missing values marked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from fairpress.core.errors import UserError
from fairpress.core.files import require_regular
from fairpress.core.slow import show_progress
from fairpress.core.values import class_key, spelling

MISSING = ("", "NA", "N/A", "#N/A", "NaN", "nan", "null", "NULL")
MAX_TEXT_LENGTH = 1000
MAX_COLUMNS = 20_000
_MAX_MEMORY_BYTES, _MAX_EXPANSION = 2**30, 500  # bytes in memory, and how many times the bytes of the file
TEXT_FILES = {".csv": ",", ".tsv": "\t"}
NUMBER = r"^\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*$"
OTHER_FILES = {
    ".xlsx": "Excel workbooks are not read; save the sheet as CSV",
    ".xls": "Excel workbooks are not read; save the sheet as CSV",
    ".ods": "spreadsheets are not read; save the sheet as CSV",
    ".gz": "compressed files are not read; unpack it",
    ".zip": "archives are not read; unpack it",
    ".onnx": "this is a model, not a table",
}


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


def read_table(path: Path, separator: str = ",", missing: Missing = Missing()) -> Any:
    """Return the file as a pyarrow.Table, CSV and TSV columns all as text.

    Text of a CSV is missing when it is empty or NA, N/A, #N/A, NaN, null without quotes.

    Raises
    ------
    UserError
        The file does not exist, is empty, not UTF-8, truncated, not CSV, TSV or Parquet, or contains its header twice.
    """
    import pyarrow as pa
    from pyarrow import parquet

    kind = path.suffix.lower()
    try:
        if kind not in (*TEXT_FILES, ".parquet"):
            hint = OTHER_FILES.get(
                kind, "only .csv, .tsv and .parquet are read; save the table as one of them"
            )
            raise UserError(
                f"{path} is not a .csv, .tsv or .parquet file: {hint}."
                if path.exists()
                else f"there is no file {path}."
            )
        if path.is_file() and path.stat().st_size == 0:
            raise UserError(f"{path} is empty; a table with a header line is needed.")
        require_regular(path)
        with show_progress(f"reading {path}"):
            if kind == ".parquet":
                _refuse_oversized(path)
                # Threads and buffers of their own for each of thousands of columns take gigabytes.
                table = parquet.read_table(path, partitioning=None, use_threads=False, pre_buffer=False)
            else:
                table = _csv(path, _separator(path, separator), missing.usual())
    except FileNotFoundError:
        raise UserError(f"there is no file {path}.") from None
    except UnicodeDecodeError:
        raise UserError(f"{path} is not UTF-8 text; save it as UTF-8.") from None
    except (pa.ArrowException, OSError, ValueError, TypeError, KeyError) as error:
        if isinstance(error, OSError) and error.strerror:
            raise UserError(f"cannot read {path}: {error.strerror}.") from None
        reason = " ".join(str(error).split())
        if "UTF8" in reason or "UTF-8" in reason:
            raise UserError(f"{path} is not UTF-8 text; save it as UTF-8.") from None
        format_name = "Parquet" if kind == ".parquet" else kind[1:].upper()
        raise UserError(
            f"{path} is damaged or cut short as {format_name} ({reason[:160]}); write the file again, or correct that row."
        ) from None
    if not table.num_rows:
        raise UserError(f"{path} has a header and no rows.")
    if kind in TEXT_FILES:
        _refuse_second_header(table, path)
    return table


def _refuse_oversized(path: Path) -> None:
    """Refuse a Parquet file whose rows, which are all loaded at once, need far more memory than the file has bytes."""
    from pyarrow import parquet

    metadata = parquet.read_metadata(path)
    _refuse_wide(path, metadata.num_columns)
    size, memory_bytes = path.stat().st_size, 8 * metadata.num_rows * max(metadata.num_columns, 1)
    if memory_bytes > _MAX_MEMORY_BYTES and memory_bytes > _MAX_EXPANSION * size:
        raise UserError(
            f"{path} has {metadata.num_rows:,} rows in {size:,} bytes and would need about {memory_bytes / 2**30:.0f} "
            f"GiB of "
            "memory; keep only the rows and columns that are needed."
        )


def _refuse_wide(path: Path, columns: int) -> None:
    if columns > MAX_COLUMNS:
        raise UserError(
            f"{path} has {columns:,} columns, and up to {MAX_COLUMNS:,} are read; leave out those that are not needed."
        )


def _csv(path: Path, separator: str, missing: Sequence[str]) -> Any:
    import pyarrow as pa
    from pyarrow import csv

    with path.open("rb") as file:
        start = file.read(4)
    if start[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise UserError(f"{path} is UTF-16 text; save it as UTF-8.")
    if start == b"PAR1":
        raise UserError(f"{path} is Parquet and not CSV; name it .parquet.")
    if start == b"PK\x03\x04":
        raise UserError(f"{path} is an archive or an Excel workbook and not CSV; save the sheet as CSV.")
    names = _header(path, separator)
    _refuse_wide(path, len(names))
    other = next((s for s in ";\t|," if s != separator and len(names) == 1 and s in names[0]), None)
    if other:
        raise UserError(
            f"{path} has one column only, {names[0]!r}; write `separator: {_quoted(other)}` if that is meant."
        )
    convert = csv.ConvertOptions(
        column_types=dict.fromkeys(names, pa.string()),
        strings_can_be_null=True,
        quoted_strings_can_be_null=False,
        null_values=list(missing),
    )
    return csv.read_csv(path, **_csv_options(separator), convert_options=convert)


def _separator(path: Path, separator: str) -> str:
    """Return the column separator: a tab for a .tsv file by default."""
    return TEXT_FILES[path.suffix.lower()] if separator == "," else separator


def _quoted(separator: str) -> str:
    return '"\\t"' if separator == "\t" else f"'{separator}'"


def _csv_options(separator: str) -> dict[str, Any]:
    from pyarrow import csv

    # use_threads=False: threads report a wrong row number, or none, where a line is cut short.
    return {
        "read_options": csv.ReadOptions(use_threads=False),
        "parse_options": csv.ParseOptions(delimiter=separator, newlines_in_values=True),
    }


def _header(path: Path, separator: str) -> list[str]:
    from pyarrow import csv

    with csv.open_csv(path, **_csv_options(separator)) as stream:
        return list(stream.schema.names)


def _refuse_second_header(table: Any, path: Path) -> None:
    """Refuse a row that repeats the header, as concatenated files have."""
    import pyarrow as pa
    import pyarrow.compute as pc

    names = table.column_names
    if len(names) < 2:
        return
    same = np.ones(table.num_rows, dtype=bool)
    for i, name in enumerate(names):
        values = table.column(i)
        if not pa.types.is_string(values.type):
            return
        same &= np.asarray(pc.fill_null(pc.equal(values, name), name == ""), dtype=bool)
        if not same.any():
            return
    row = int(same.argmax()) + 1
    raise UserError(
        f"{path} has its header line again in {int(same.sum())} place(s), first as row {row:,} (line "
        f"{row + 1:,}), as concatenated "
        "tables have; remove it there."
    )


def spelled_missing(
    path: Path, separator: str, columns: Sequence[Column], missing: Missing
) -> dict[str, Counter[str]]:
    """Return for columns of a CSV file how often which spelling other than an empty cell was read as missing."""
    from pyarrow import ArrowException, csv, string

    names = [c.name for c in columns if c.missing.any()]
    if path.suffix.lower() not in TEXT_FILES or not names:
        return {}
    convert = csv.ConvertOptions(
        column_types=dict.fromkeys(names, string()), include_columns=names, strings_can_be_null=False
    )
    try:
        table = csv.read_csv(path, **_csv_options(_separator(path, separator)), convert_options=convert)
    except ArrowException:  # it has been read before
        return {}
    counts_by_column = {}
    for column in columns:
        if column.name not in names:
            continue
        texts = table.column(names.index(column.name)).take(np.flatnonzero(column.missing)).to_pylist()
        counted = Counter(text.strip() for text in texts if text.strip())
        if counted:
            counts_by_column[column.name] = counted
    return counts_by_column


def column(table: Any, name: str, source_name: str, missing: Missing = Missing()) -> Column:
    """Return one column of a table.

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
        return _column(name, table.column(indices[0]), source_name, missing)
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


def _column(name: str, chunks: Any, source_name: str, missing_spellings: Missing) -> Column:
    import pyarrow as pa
    import pyarrow.compute as pc

    values = _plain_array(chunks)
    values.validate(full=True)  # text in Parquet need not be UTF-8
    kind = values.type
    missing = _missing(values)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        longest = pc.max(pc.utf8_length(values)).as_py() or 0
        if longest > MAX_TEXT_LENGTH:
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
