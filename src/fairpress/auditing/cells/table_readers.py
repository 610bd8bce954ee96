"""Find and check table files, build the queries that read them, and explain why a file cannot be read."""

from __future__ import annotations

import csv
import gzip
import io
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from glob import glob
from itertools import islice
from pathlib import Path
from typing import IO, Any

from fairpress.auditing.cells.parquet_file import WILDCARDS, escape_wildcards, parquet_schema
from fairpress.auditing.cells.repeated_files import refuse_repeated
from fairpress.core.errors import UserError
from fairpress.core.slow import show_progress

PARQUET = (".parquet", ".pq")
PICKLES = (".pkl", ".pickle", ".pt", ".pth", ".joblib")
DELIMITERS = ",;\t|"
_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_SAMPLED_LINES = 50
MAX_COLUMNS = 20_000
"""Wider tables are refused, because every query binds all of the columns."""
MAX_LINE_LENGTH = 8_000_000
"""In characters, of which DuckDB gets as many bytes at once: what it buffers is most of the memory of an audit."""
_MAX_UNPACKED_BYTES, _MAX_RATIO, _SCANNED_BYTES = 2**28, 200, 2**26
"""A file is refused if it unpacks to more than `_MAX_UNPACKED_BYTES` and to more than `_MAX_RATIO` times its size; only the
first `_SCANNED_BYTES` of packed data are checked."""
_EXCEL = "is an Excel workbook, which is not supported; save the sheet as CSV"
_UNSUPPORTED_SUFFIXES = {
    ".tflite": "is a model, not a table; run `fairpress predict` first and audit the table that it writes",
    ".pte": "is a model, not a table; run `fairpress predict` first and audit the table that it writes",
    ".gguf": "is a model, not a table; evaluate it, and audit its log with --lm-eval",
    ".onnx": "is an ONNX model, not a table; run `fairpress predict` first and audit the table that it writes",
    ".xlsx": _EXCEL,
    ".xlsm": _EXCEL,
    ".xls": _EXCEL,
    ".ods": "is a spreadsheet, which is not supported; save the sheet as CSV",
    ".npy": "is a NumPy array, not a table with named columns; save it as CSV or Parquet",
    ".npz": "holds NumPy arrays, not a table with named columns; save them as CSV or Parquet",
    ".safetensors": "holds the weights of a model, not a table; run `fairpress predict` first",
    ".feather": "is an Arrow file, which is not supported; save it as Parquet",
    ".arrow": "is an Arrow file, which is not supported; save it as Parquet",
    ".json": "is JSON, not a table of rows and columns; save it as CSV or Parquet",
    ".jsonl": "holds JSON lines; save them as CSV or Parquet, or name a file for each model with --pair-files",
    ".yaml": "is YAML, not a table; bring the table of predictions, CSV or Parquet",
    ".yml": "is YAML, not a table; bring the table of predictions, CSV or Parquet",
}
_UNSUPPORTED_MAGIC = (
    (b"\xd0\xcf\x11\xe0", _EXCEL),
    (b"PK\x03\x04", "is a ZIP archive, not a table; unpack it and name the CSV or Parquet file in it"),
    (b"ARROW1", "is an Arrow file, which is not supported; save it as Parquet"),
    (b"BZh", "is compressed with bzip2, which is not supported; unpack it first"),
    (b"\xfd7zXZ", "is compressed with xz, which is not supported; unpack it first"),
    (b"SQLite format 3", "is an SQLite database; save the table as CSV, or name it by an address, sqlite:///file.db/table"),
    (b"%PDF", "is a PDF document, not a table; save the table as CSV"),
    (b"\x93NUMPY", "is a NumPy array, not a table with named columns; save it as CSV or Parquet"),
)  # fmt: skip


@dataclass(frozen=True)
class Files:
    """Files with the same header: its names as written, and a query with columns ``c0``, ``c1`` … in their order.

    `unreadable`: columns whose values DuckDB would misread, such as periods. `text`: whether the files are CSV. `metadata`:
    the schema metadata of each Parquet file.
    """

    paths: tuple[str, ...]
    names: tuple[str, ...]
    query: str
    unreadable: tuple[int, ...] = ()
    text: bool = True
    metadata: tuple[Mapping[bytes, bytes], ...] = ()


def text_literal(value: str) -> str:
    """Return an SQL text literal."""
    return "'" + value.replace("'", "''") + "'"


def files(paths: Sequence[str], connection: Any) -> list[Files]:
    """Return the queries that read files or globs with a connection of DuckDB; files with the same columns share a query.

    Raises UserError for a file that is not a table, or is named twice.
    """
    paths_by_format: dict[tuple[Any, ...], list[str]] = {}
    metadata: dict[str, Mapping[bytes, bytes]] = {}
    expanded = [p for given in paths for p in _expand(given)]
    refuse_repeated(expanded)
    for path in expanded:
        start = _first_bytes(path)
        if start.startswith(b"PAR1") or path.lower().endswith(PARQUET):
            schema = parquet_schema(path, connection)
            _refuse_wide(path, len(schema.names))
            metadata[path] = schema.metadata
            key: tuple[Any, ...] = ("parquet", schema.names, schema.misread, schema.types)
        else:
            kind = "gzip" if start.startswith(_GZIP) else "zstd" if start.startswith(_ZSTD) else "none"
            if kind != "none":
                _refuse_bomb(path, kind)
            delimiter, names = header(path)
            _refuse_wide(path, len(names))
            key = ("csv", tuple(names), delimiter, kind)
        paths_by_format.setdefault(key, []).append(path)
    return [
        Files(
            tuple(p),
            key[1],
            _query(key, p),
            key[2] if key[0] == "parquet" else (),
            key[0] == "csv",
            tuple(metadata[path] for path in p if path in metadata),
        )
        for key, p in paths_by_format.items()
    ]


def _refuse_wide(path: str, columns: int) -> None:
    if columns > MAX_COLUMNS:
        raise UserError(
            f"{path} has {columns:,} columns, but at most {MAX_COLUMNS:,} are supported; keep the label, the "
            "sensitive attributes and the columns of the models."
        )


def _refuse_bomb(path: str, kind: str) -> None:
    """Raise UserError for a compressed file with an implausible compression ratio."""
    try:
        with open(path, "rb") as packed, _decompressed(packed, kind) as stream:
            unpacked = 0
            while packed.tell() <= _SCANNED_BYTES and (piece := stream.read(2**20)):
                unpacked, read = unpacked + len(piece), packed.tell()
                if unpacked > _MAX_UNPACKED_BYTES and unpacked > _MAX_RATIO * read:
                    raise UserError(
                        f"{path} unpacks to more than {_MAX_RATIO} times its size ({unpacked / 2**20:.0f} MiB after "
                        f"{read:,} bytes), unlike any usual table; unpack it first if this is intended."
                    )
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"cannot read {path}: {error}. Is it complete?") from None


def _query(key: tuple[Any, ...], paths: Sequence[str]) -> str:
    named = "[" + ", ".join(text_literal(escape_wildcards(p)) for p in paths) + "]"
    columns = [f"c{i}" for i in range(len(key[1]))]
    if key[0] == "parquet":
        # Columns are named by position, because DuckDB treats g and G as one column.
        return f"SELECT * FROM read_parquet({named}) AS t({', '.join(columns)})"
    types = "{" + ", ".join(f"'{c}': 'VARCHAR'" for c in columns) + "}"
    return (
        f"SELECT * FROM read_csv({named}, header=true, auto_detect=false, columns={types}, "
        f"delim={text_literal(key[2])}, quote='\"', escape='\"', compression='{key[3]}', null_padding=false, "
        f"strict_mode=true, max_line_size={MAX_LINE_LENGTH}, buffer_size={MAX_LINE_LENGTH})"
    )


def _expand(path: str) -> list[str]:
    """Return the files that a path or pattern names."""
    candidate = Path(path)
    try:
        if candidate.is_dir():
            if (candidate / "card.json").exists() or (candidate / "model.onnx").exists():
                raise UserError(f"{path} is a model folder, not a table; run `fairpress predict` first.")
            raise UserError(f"{path} is a folder; name its files, such as '{candidate / '*.parquet'}'.")
        if candidate.exists():
            return [path]
    except (OSError, ValueError):  # a name too long, or with a null byte
        raise UserError(f"there is no file {path}.") from None
    if any(c in path for c in WILDCARDS):
        matches = sorted(p for p in glob(path, recursive=True) if Path(p).is_file())
        if matches:
            return matches
        raise UserError(f"no file matches {path}.")
    raise UserError(f"there is no file {path}.")


def _first_bytes(path: str) -> bytes:
    """Return the first bytes of a file. Raises UserError for a file that is not a table."""
    file_path = Path(path)
    suffix = file_path.suffix.lower()
    if suffix in PICKLES:
        raise UserError(
            f"{path} is a pickle, which can execute code when it is opened; save the table as Parquet or CSV."
        )
    if not file_path.is_file():
        raise UserError(f"{path} is not a regular file; save the table as a file, CSV or Parquet.")
    try:
        with file_path.open("rb") as file:
            start = file.read(4096)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}.") from None
    if not start:
        raise UserError(f"{path} is empty; a table with a header line is needed.")
    if start[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise UserError(f"{path} is UTF-16 text; save it as UTF-8.")
    reason = _UNSUPPORTED_SUFFIXES.get(suffix) or next(
        (w for magic, w in _UNSUPPORTED_MAGIC if start.startswith(magic)), None
    )
    if reason is not None:
        raise UserError(f"{path} {reason}.")
    recognized = start.startswith((b"PAR1", _GZIP, _ZSTD)) or suffix in PARQUET
    if not recognized and b"\0" in start:
        raise UserError(f"{path} is a binary file, not a table; save the table as Parquet or CSV.")
    return start


def header(path: str) -> tuple[str, list[str]]:
    """Return the delimiter of a CSV file and the names of its columns.

    The delimiter is the one that splits the header into the most columns; those that split the first lines equally
    are preferred.
    """
    candidates: list[tuple[bool, int, int, str, list[str]]] = []
    try:
        with open_text(path) as file:
            lines, seen = _bounded_lines(file, path), list[str]()
            for delimiter in DELIMITERS:
                rows = _first_records(_from_start(lines, seen), delimiter)
                if rows:
                    consistent = all(len(r) in (0, len(rows[0])) for r in rows)
                    candidates.append(
                        (consistent and len(rows[0]) > 1, len(rows[0]), -len(candidates), delimiter, rows[0])
                    )
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"cannot read {path}: {error}. Is it complete?") from None
    if not candidates:
        raise UserError(f"cannot find the columns of {path}; is it complete, and CSV or Parquet?")
    _, _, _, delimiter, names = max(candidates)
    if any("\ufffd" in name for name in names):
        raise UserError(f"{path} is not UTF-8 text, line 1; save it as UTF-8.")
    if not names:
        raise UserError(f"{path}: the first line is empty; a table with a header line is needed.")
    return delimiter, names


def first_records(paths: Sequence[str], rows: int) -> list[list[str]]:
    """Return the first records of CSV files that have the same columns, without their headers, up to a malformed one."""
    records: list[list[str]] = []
    for path in paths:
        delimiter, names = header(path)
        with open_text(path) as file:
            complete = [
                r for r in _first_records(_bounded_lines(file, path), delimiter) if len(r) == len(names)
            ]
        records += complete[1:]
        if len(records) >= rows:
            break
    return records[:rows]


def _first_records(lines: Iterator[str], delimiter: str) -> list[list[str]]:
    """Return the first records of a CSV file, up to a malformed one."""
    rows: list[list[str]] = []
    with suppress(csv.Error):
        for row in islice(csv.reader(lines, delimiter=delimiter), _SAMPLED_LINES):
            rows.append(row)
    return rows


def _from_start(lines: Iterator[str], seen: list[str]) -> Iterator[str]:
    """Yield the lines that were read before, then further ones, which are remembered."""
    yield from seen
    for line in lines:
        seen.append(line)
        yield line


def open_text(path: str) -> IO[str]:
    """Open a text file, decompressing gzip or zstd; invalid UTF-8 is replaced."""
    binary: Any = open(path, "rb")  # noqa: SIM115  (closed with the text that reads it)
    magic = binary.read(4)
    binary.seek(0)
    kind = "gzip" if magic.startswith(_GZIP) else "zstd" if magic == _ZSTD else None
    if kind is not None:
        binary.close()
        binary = _decompressed(path, kind)
    return io.TextIOWrapper(binary, encoding="utf-8-sig", errors="replace", newline="")


def _decompressed(packed: Any, kind: str) -> Any:
    """Return a stream of the decompressed content of a file, given as a path or an open file."""
    if kind == "gzip":
        return gzip.open(packed)
    import pyarrow as pa

    return pa.input_stream(packed, compression="zstd")


def _bounded_lines(file: IO[str], path: str) -> Iterator[str]:
    """Yield the lines of a file. Raises UserError for a line that is too long, before it is read in full."""
    number = 0
    while line := file.readline(MAX_LINE_LENGTH + 1):
        number += 1
        if len(line) > MAX_LINE_LENGTH:
            raise UserError(
                f"{path}, line {number}: there is no line break within {MAX_LINE_LENGTH:,} characters; is it a table?"
            )
        yield line


def csv_records(path: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the records of a CSV file, header included, with the number of their last line.

    It stops at a malformed one.
    """
    try:
        delimiter, _ = header(path)
        with open_text(path) as file, show_progress(f"looking for the error in {path}"):
            rows = csv.reader(_bounded_lines(file, path), delimiter=delimiter)
            for row in rows:
                yield rows.line_num, row
    except csv.Error as error:
        if "field larger" in str(error):
            raise UserError(
                f"{path}: a value is longer than {csv.field_size_limit():,} characters; is a quotation mark not closed?"
            ) from None
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"cannot read {path}: {error}; is it complete?") from None


def is_text(path: str) -> bool:
    """Return whether a path is a file that is read as CSV."""
    file_path = Path(path)
    if not file_path.is_file() or path.lower().endswith(PARQUET):
        return False
    with file_path.open("rb") as file:
        return file.read(4) != b"PAR1"


def refuse_uneven(path: str) -> None:
    """Raise UserError for a CSV file with a line whose number of columns differs from the header's."""
    if not is_text(path):
        return
    width = None
    for number, row in csv_records(path):
        width = len(row) if width is None else width
        if len(row) not in (0, width):
            raise UserError(
                f"{path}, line {number}: {len(row)} columns, but the header has {width}; is the file truncated, "
                "or a quotation mark not closed?"
            )


def repeated_header(path: str, names: Sequence[str]) -> int | None:
    """Return the number of a later line of a CSV file that repeats the header, in any order; None if none does."""
    expected = sorted(names)
    records = ((number, row) for number, row in csv_records(path) if row)
    next(records, None)  # the header, which takes several lines where a name has a line break
    for number, row in records:
        if sorted(v.removeprefix("\ufeff") for v in row) == expected:
            return number
    return None


def read_error(name: str, error: str) -> str:
    """Return the message for an error of DuckDB while reading a table."""
    line = re.search(r"[Ll]ine:? (\d+)", error)
    location = f", line {line[1]}" if line else ""
    if "No files found" in error:
        return f"no file matches {name}."
    if "not utf-8" in error.lower() or "invalid unicode" in error.lower():
        return f"{name} is not UTF-8 text{location}; save it as UTF-8."
    if line and "CSV" in error:
        return (
            f"{name}{location}: the line cannot be split into columns; is a quotation mark not closed, or not doubled "
            "inside a value?"
        )
    first = error.splitlines()[0].partition("Error: ")
    cause = (first[2] or first[0]).rstrip(" .")[:200]
    return f"cannot read {name}{location}: {cause}. Is it complete, and CSV or Parquet?"
