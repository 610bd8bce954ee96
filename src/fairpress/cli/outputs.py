"""Where a command writes: looked at before the work, and named after it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from glob import glob
from pathlib import Path

from fairpress.cli.program import say
from fairpress.core.errors import UserError
from fairpress.core.places import require_file


def require_places(outputs: Sequence[tuple[str, str]], inputs: Sequence[str], force: bool = False) -> None:
    """Raise UserError where an output cannot be written, or is an input, another output, or a file of the user's.

    `outputs` are (option, file).
    """
    from fairpress.reporting.ours import require_ours

    read = {_place(file) for text in inputs for file in glob(text, recursive=True)}
    taken: dict[Path, str] = {}
    for option, file in outputs:
        require_file(file)
        place = _place(file)
        if place in read:
            raise UserError(f"{option} {file} would overwrite the table that is read; choose another name.")
        if place in taken:
            raise UserError(f"{taken[place]} and {option} both write {file}; choose different names.")
        taken[place] = option
        require_ours(file, option, force)


def tell(text: str, aside: bool) -> None:
    """Print a line: on standard error where standard output has something to be parsed."""
    if aside:
        sys.stderr.write(f"{text}\n")
    else:
        say(text, markup=False, soft_wrap=True)


def _place(file: str) -> Path:
    return Path(file).resolve()
