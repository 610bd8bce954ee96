"""Read a CSV, TSV, JSONL or Parquet file as a table of Arrow columns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fairpress.core.errors import UserError
from fairpress.core.files import require_regular
from fairpress.core.slow import show_progress
from fairpress.datasets.custom.columns import DEFAULT_MISSING, Column, Missing
from fairpress.datasets.custom.encodings import not_utf8
from fairpress.datasets.custom.json_lines import read_json_lines

MAX_COLUMNS = 20_000


_MAX_MEMORY_BYTES, _MAX_EXPANSION = 2**30, 500  # bytes in memory, and how many times the bytes of the file


TEXT_FILES = {".csv": ",", ".tsv": "\t"}


OTHER_FILES = {
    ".xlsx": "Excel workbooks are not read; save the sheet as CSV",
    ".xls": "Excel workbooks are not read; save the sheet as CSV",
    ".ods": "spreadsheets are not read; save the sheet as CSV",
    ".gz": "compressed files are not read; unpack it",
    ".zip": "archives are not read; unpack it",
    ".onnx": "this is a model, not a table",
    ".tflite": "this is a model, not a table",
    ".pte": "this is a model, not a table",
    ".json": "a JSON file is not read; write each row as an object on a line of its own, and name the file .jsonl",
}


def read_table(
    path: Path, separator: str = ",", missing: Missing = DEFAULT_MISSING, *, quoted: bool = True
) -> Any:
    """Return the file as a pyarrow.Table, CSV and TSV columns all as text.

    Text of a CSV is missing when it is empty or NA, N/A, #N/A, NaN, null without quotes. Unless `quoted`, quotation marks of
    CSV and TSV files are characters like any other, and every line is a row.

    Raises
    ------
    UserError
        The file does not exist, is empty, not UTF-8, truncated, not CSV, TSV, JSONL or Parquet, or has its header twice.
    """
    import pyarrow as pa
    from pyarrow import parquet

    kind = path.suffix.lower()
    try:
        if kind not in (*TEXT_FILES, ".jsonl", ".parquet"):
            hint = OTHER_FILES.get(
                kind, "only .csv, .tsv, .jsonl and .parquet are read; save the table as one of them"
            )
            raise UserError(
                f"{path} is not a .csv, .tsv, .jsonl or .parquet file: {hint}."
                if path.exists()
                else f"there is no file {path}."
            )
        if path.is_file() and path.stat().st_size == 0:
            raise UserError(
                f"{path} is empty; a table with "
                + ("a row on each line is needed." if kind == ".jsonl" else "a header line is needed.")
            )
        require_regular(path)
        with show_progress(f"reading {path}"):
            if kind == ".parquet":
                _refuse_oversized(path)
                # Threads and buffers of their own for each of thousands of columns take gigabytes.
                table = parquet.read_table(path, partitioning=None, use_threads=False, pre_buffer=False)
            elif kind == ".jsonl":
                table = read_json_lines(path)
                _refuse_wide(path, table.num_columns)
            else:
                table = _csv(path, separator_of(path, separator), missing.usual(), quoted)
    except FileNotFoundError:
        raise UserError(f"there is no file {path}.") from None
    except UnicodeDecodeError:
        raise not_utf8(path) from None
    except (pa.ArrowException, OSError, ValueError, TypeError, KeyError) as error:
        if isinstance(error, OSError) and error.strerror:
            raise UserError(f"cannot read {path}: {error.strerror}.") from None
        reason = " ".join(str(error).split())
        if "UTF8" in reason or "UTF-8" in reason:
            raise not_utf8(path) from None
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


def _csv(path: Path, separator: str, missing: Sequence[str], quoted: bool) -> Any:
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
    names = _header(path, separator, quoted)
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
    return csv.read_csv(path, **_csv_options(separator, quoted), convert_options=convert)


def separator_of(path: Path, separator: str) -> str:
    """Return the column separator: a tab for a .tsv file by default."""
    return TEXT_FILES[path.suffix.lower()] if separator == "," else separator


def _quoted(separator: str) -> str:
    return '"\\t"' if separator == "\t" else f"'{separator}'"


def _csv_options(separator: str, quoted: bool) -> dict[str, Any]:
    from pyarrow import csv

    # use_threads=False: threads report a wrong row number, or none, where a line is cut short.
    return {
        "read_options": csv.ReadOptions(use_threads=False),
        "parse_options": csv.ParseOptions(
            delimiter=separator, newlines_in_values=quoted, quote_char='"' if quoted else False
        ),
    }


def _header(path: Path, separator: str, quoted: bool) -> list[str]:
    from pyarrow import csv

    with csv.open_csv(path, **_csv_options(separator, quoted)) as stream:
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
    path: Path, separator: str, columns: Sequence[Column], missing: Missing, *, quoted: bool = True
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
        options = _csv_options(separator_of(path, separator), quoted)
        table = csv.read_csv(path, **options, convert_options=convert)
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
