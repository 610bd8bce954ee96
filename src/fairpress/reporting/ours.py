"""Which files fairpress wrote, so that nothing of the user's is overwritten."""

from __future__ import annotations

import os
import re
from pathlib import Path

from fairpress.core.errors import UserError

_LOOKED_AT = 6000
_MARKS: dict[str, re.Pattern[str]] = {
    ".md": re.compile(
        r"\A---\n(?:.*\n)*?tags:\n(?:- .*\n)*- fairpress\n|\A### Who pays for the compression\?"
    ),
    ".tex": re.compile(r"\A% Written by fairpress"),
    ".html": re.compile(
        r'<meta name="generator" content="fairpress">|<section aria-label="At a glance" id="glance">'
    ),
}


def ours(path: str | os.PathLike[str]) -> bool:
    """Tell whether a file was written by fairpress, is empty, or is of a kind that people do not write by hand."""
    mark = _MARKS.get(Path(path).suffix.lower())
    if mark is None:
        return True
    try:
        with Path(path).open(encoding="utf-8") as stream:
            text = stream.read(_LOOKED_AT)
    except (OSError, UnicodeDecodeError):
        return False
    return not text.strip() or mark.search(text) is not None


def require_ours(path: str | os.PathLike[str], what: str, force: bool = False) -> None:
    """Raise UserError where writing a file would replace one that fairpress did not write."""
    if not force and Path(path).is_file() and not ours(path):
        raise UserError(
            f"{what}: {os.fspath(path)} exists and was not written by fairpress; choose another name, or replace it with "
            "--force."
        )
