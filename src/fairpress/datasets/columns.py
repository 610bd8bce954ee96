"""Read a CSV or Parquet file and hand out its columns as numbers or as text, missing values marked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fairpress.core.errors import UserError
from fairpress.datasets.table_config import value_text

MISSING = ("", "NA", "N/A", "#N/A", "NaN", "nan", "null", "NULL")
LONGEST = 1000
NUMBER = r"^\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*$"


@dataclass(frozen=True)
class Column:
    """One column: `text` [rows] always, `numbers` [rows] float64 where all of it is numeric.

    `missing` [rows] marks values that are not there; `odd` is the first row that keeps a mostly numeric
    column from being numeric and `odd_text` what stands there; None when there is none.
    """

    name: str
    text: np.ndarray
    missing: np.ndarray
    numbers: np.ndarray | None = None
    odd: int | None = None
    odd_text: str = ""

    def at(self, rows: np.ndarray) -> Column:
        """Return the column with these rows only."""
        numbers = None if self.numbers is None else self.numbers[rows]
        return Column(self.name, self.text[rows], self.missing[rows], numbers, self.odd, self.odd_text)


def read_table(path: Path, separator: str = ",") -> Any:
    """Return the file as a pyarrow.Table, CSV columns all as text.

    Text of a CSV is missing when it is empty or NA, N/A, #N/A, NaN, null without quotes.

    Raises
    ------
    UserError
        There is no such file, it is empty, not UTF-8, cut short, or neither CSV nor Parquet.
    """
    import pyarrow as pa
    from pyarrow import parquet

    kind = path.suffix.lower()
    if kind not in (".csv", ".parquet"):
        raise UserError(f"{path} is neither .csv nor .parquet; save the table as one of them.")
    try:
        if path.stat().st_size == 0:
            raise UserError(f"{path} is empty; a table with a header line is needed.")
        table = parquet.read_table(path, partitioning=None) if kind == ".parquet" else _csv(path, separator)
    except FileNotFoundError:
        raise UserError(f"there is no file {path}.") from None
    except UnicodeDecodeError:
        raise UserError(f"{path} is not UTF-8 text; save it as UTF-8.") from None
    except pa.ArrowException as error:
        reason = " ".join(str(error).split())
        if "UTF8" in reason:
            raise UserError(f"{path} is not UTF-8 text; save it as UTF-8.") from None
        what = "CSV" if kind == ".csv" else "Parquet"
        raise UserError(
            f"{path} is damaged or cut short as {what} ({reason[:160]}); mend it there."
        ) from None
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}.") from None
    if not table.num_rows:
        raise UserError(f"{path} has a header and no rows.")
    return table


def _csv(path: Path, separator: str) -> Any:
    import pyarrow as pa
    from pyarrow import csv

    with path.open("rb") as file:
        if file.read(2) in (b"\xff\xfe", b"\xfe\xff"):
            raise UserError(f"{path} is UTF-16 text; save it as UTF-8.")
    parse = csv.ParseOptions(delimiter=separator, newlines_in_values=True)
    # use_threads=False: threads report a wrong row number, or none, where a line is cut short.
    read = csv.ReadOptions(use_threads=False)
    with csv.open_csv(path, read_options=read, parse_options=parse) as stream:
        names = stream.schema.names
    other = next((s for s in ";\t|" if len(names) == 1 and s in names[0]), None)
    if other:
        raise UserError(
            f"{path} has one column only, {names[0]!r}; write `separator: {other!r}` if that is meant."
        )
    convert = csv.ConvertOptions(
        column_types=dict.fromkeys(names, pa.string()),
        strings_can_be_null=True,
        quoted_strings_can_be_null=False,
        null_values=list(MISSING),
    )
    return csv.read_csv(path, read_options=read, parse_options=parse, convert_options=convert)


def column(table: Any, name: str, where: str) -> Column:
    """Return one column of a table.

    Raises
    ------
    UserError
        The header has the name twice, or the column holds something that is neither number nor text.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    if table.column_names.count(name) > 1:
        raise UserError(f"{where} has {table.column_names.count(name)} columns named {name!r}; rename them.")
    values = table.column(name).combine_chunks()
    if pa.types.is_dictionary(values.type):
        values = values.dictionary_decode()
    kind = values.type
    if pa.types.is_null(kind):
        values, kind = values.cast(pa.string()), pa.string()
    missing = np.asarray(pc.is_null(values, nan_is_null=pa.types.is_floating(kind)), dtype=bool)
    if pa.types.is_boolean(kind):
        text = _text(pc.if_else(values, "true", "false"))
        return Column(name, text, missing, _numbers(values.cast(pa.int8()), missing))
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        text = np.array(
            [value_text(_plain(v)) if v is not None else "" for v in values.to_pylist()], dtype=np.str_
        )
        return Column(name, text, missing, _numbers(values, missing))
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        longest = pc.max(pc.utf8_length(values)).as_py() or 0
        if longest > LONGEST:
            raise UserError(
                f"{where}: column {name!r} holds texts of up to {longest:,} characters, no categories; leave it out."
            )
        return _textual(name, values, missing)
    raise UserError(
        f"{where}: column {name!r} holds {kind}, neither numbers nor text; convert or leave it out."
    )


def _textual(name: str, values: Any, missing: np.ndarray) -> Column:
    """Return a column of text, as numbers too where every value is one."""
    import pyarrow as pa
    import pyarrow.compute as pc

    text = _text(values)
    numeric = np.asarray(pc.fill_null(pc.match_substring_regex(values, NUMBER), False), dtype=bool)
    there = int((~missing).sum())
    if there and numeric.sum() == there:
        return Column(
            name, text, missing, _numbers(pc.cast(pc.utf8_trim_whitespace(values), pa.float64()), missing)
        )
    odd = int(np.flatnonzero(~numeric & ~missing)[0]) if numeric.sum() * 2 > there else None
    return Column(name, text, missing, None, odd, "" if odd is None else str(text[odd]))


def _numbers(values: Any, missing: np.ndarray) -> np.ndarray:
    import pyarrow as pa

    numbers = np.asarray(
        values.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False), dtype=np.float64
    )
    return np.where(missing, np.nan, numbers)


def _text(values: Any) -> np.ndarray:
    return np.array([v if v is not None else "" for v in values.to_pylist()], dtype=np.str_)


def _plain(value: Any) -> Any:
    return value if isinstance(value, (int, float)) else float(value)
