"""What a command wrote: named after it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from glob import glob
from pathlib import Path

from fairpress.cli.app import print_line
from fairpress.core.errors import UserError


def written_files(tables: Sequence[str]) -> list[str]:
    """Return the files that the tables of a command are read from, globs resolved."""
    return [file for text in tables for file in (glob(text, recursive=True) or [text])]


def files_of_data(data: str | None) -> list[Path]:
    """Return the files of a dataset that a YAML file describes, as far as they are known without reading it whole."""
    from fairpress.core.yaml_file import read_yaml

    place = Path(data or "")
    if place.suffix.lower() not in (".yaml", ".yml") or not place.is_file():
        return []
    try:
        found = read_yaml(place)
    except UserError:  # who reads the dataset says what is wrong with it
        return [place]
    path = found.get("path") if isinstance(found, dict) else None
    return [place, *([place.parent / path] if isinstance(path, str) else [])]


def print_written(text: str, aside: bool) -> None:
    """Print a line: on standard error where standard output has something to be parsed."""
    if aside:
        sys.stderr.write(f"{text}\n")
    else:
        print_line(text, markup=False, soft_wrap=True)
