"""What a command wrote: named after it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from glob import glob

from fairpress.cli.program import say


def files_of(tables: Sequence[str]) -> list[str]:
    """Return the files that the tables of a command are read from, globs resolved."""
    return [file for text in tables for file in (glob(text, recursive=True) or [text])]


def tell(text: str, aside: bool) -> None:
    """Print a line: on standard error where standard output has something to be parsed."""
    if aside:
        sys.stderr.write(f"{text}\n")
    else:
        say(text, markup=False, soft_wrap=True)
