"""What DuckDB can read of what a user brings, and what to say when it cannot. Names are quoted, nothing is executed."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fairpress.core.errors import UserError

PARQUET = (".parquet", ".pq")
PICKLES = (".pkl", ".pickle", ".pt", ".pth", ".joblib")
DELIMITERS = ",;\t|"
_WILD = "*?["


def quote(name: str) -> str:
    """Return a name as an SQL identifier; whatever it holds, it stays a name."""
    return '"' + name.replace('"', '""') + '"'


def text(value: str) -> str:
    """Return an SQL text literal."""
    return "'" + value.replace("'", "''") + "'"


def reader(path: str) -> str:
    """Return the query that reads a file, or the files of a glob. Raises UserError with the remedy for anything else."""
    place = Path(path)
    if place.is_dir():
        raise UserError(f"{path} is a folder; name its files, such as '{place / '*.parquet'}'.")
    if place.suffix.lower() in PICKLES:
        raise UserError(f"{path} is a pickle, which can run any code when opened; bring Parquet or CSV.")
    if place.is_file():
        _refuse(place)
        path = "".join(f"[{c}]" if c in _WILD else c for c in path)  # a file called a[1].csv is no glob
    elif not any(c in path for c in _WILD):
        raise UserError(f"there is no file {path}.")
    if path.lower().endswith(PARQUET):
        return f"SELECT * FROM read_parquet({text(path)}, union_by_name=true)"
    # A column of yes and no holds classes, not truth values; dates are groups as they are written.
    types = "auto_type_candidates=['BIGINT', 'DOUBLE', 'VARCHAR']"
    strict = "header=true, sample_size=-1, null_padding=false, strict_mode=true, union_by_name=true"
    return f"SELECT * FROM read_csv({text(path)}, {strict}, {types})"


def _refuse(place: Path) -> None:
    """Refuse a file that DuckDB would misread or describe badly."""
    try:
        with place.open("rb") as file:
            start = file.read(4)
    except OSError as error:
        raise UserError(f"cannot read {place}: {error.strerror or error}.") from None
    if not start:
        raise UserError(f"{place} is empty; a table with a header line is needed.")
    if start[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise UserError(f"{place} is UTF-16 text; save it as UTF-8.")


def named_twice(path: str, name: str) -> bool:
    """Return whether the header of a CSV file has a column twice; DuckDB would call the second one ``name_1``."""
    place = Path(path)
    if not place.is_file() or path.lower().endswith(PARQUET):
        return False
    with place.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        line = file.readline()
    return any(next(csv.reader([line], delimiter=d), []).count(name) > 1 for d in DELIMITERS)


def refuse_uneven(path: str) -> None:
    """Raise UserError for a CSV file whose lines do not all have the columns of its header, naming the first."""
    place = Path(path)
    if not place.is_file() or path.lower().endswith(PARQUET):
        return
    with place.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        header = file.readline()
        file.seek(0)
        rows = csv.reader(file, delimiter=max(DELIMITERS, key=header.count))
        try:
            wide = len(next(rows, []))
            for row in rows:
                if len(row) not in (0, wide):
                    raise UserError(
                        f"{path}, line {rows.line_num}: {len(row)} columns where the header has {wide}; is the file cut "
                        "short, or a quotation mark not closed?"
                    )
        except csv.Error:
            return


def refusal(name: str, error: str) -> str:
    """Return the sentence for what DuckDB could not read."""
    line = re.search(r"[Ll]ine:? (\d+)", error)
    place = f", line {line[1]}" if line else ""
    if "No files found" in error:
        return f"no file matches {name}."
    if "not utf-8" in error.lower() or "invalid unicode" in error.lower():
        return f"{name} is not UTF-8 text{place}; save it as UTF-8."
    if "sniffing" in error:
        return (
            f"cannot tell the columns of {name} apart; is it complete, CSV or Parquet, and without line breaks in the names "
            "of its columns?"
        )
    first = error.splitlines()[0].partition("Error: ")
    what = (first[2] or first[0]).rstrip(" .")[:200]
    return f"cannot read {name}{place}: {what}. Is it complete, and CSV or Parquet?"


def frame(table: Any) -> Any:
    """Return what DuckDB can scan. Raises UserError for other types."""
    kind = f"{type(table).__module__.partition('.')[0]}.{type(table).__name__}"
    if kind in ("pandas.DataFrame", "polars.DataFrame", "polars.LazyFrame", "pyarrow.Table"):
        return table
    if isinstance(table, Mapping):
        import pyarrow as pa

        return pa.table(dict(table))
    raise UserError(
        f"cannot audit a {kind}; bring a pandas, polars or pyarrow frame, or a path to Parquet or CSV."
    )
