"""Columns of a CSV file of known layout, as text."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np


def text_columns(path: Path, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Return the named columns as text [rows]; of a name that the header has twice, the first.

    The file is read once per process, however many folds are made of it; callers must not change the arrays.
    """
    state = path.stat()
    return dict(_read(path, tuple(names), state.st_mtime_ns, state.st_size))


def header(path: Path) -> list[str]:
    """Return the column names of a CSV file, empty if its first line is not text."""
    try:
        with path.open(encoding="utf-8") as file:
            return file.readline().strip().split(",")
    except (OSError, UnicodeDecodeError):
        return []


@lru_cache(maxsize=4)
def _read(path: Path, names: tuple[str, ...], _mtime: int, _size: int) -> dict[str, np.ndarray]:
    from pyarrow import csv, string

    table = csv.read_csv(
        path,
        read_options=csv.ReadOptions(use_threads=False),
        parse_options=csv.ParseOptions(newlines_in_values=True),
        convert_options=csv.ConvertOptions(column_types=dict.fromkeys(names, string())),
    )
    index_of = {name: table.column_names.index(name) for name in names}
    return {name: np.array(table.column(i).to_pylist(), dtype=np.str_) for name, i in index_of.items()}
