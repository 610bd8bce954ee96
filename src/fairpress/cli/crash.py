"""An error that nobody foresaw: a short message, and a file with the details for whoever repairs it."""

from __future__ import annotations

import os
import platform
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path

from fairpress import __version__
from fairpress.core import temporary

DEBUG = "FAIRPRESS_DEBUG"
ISSUES = "https://github.com/fairpress/fairpress/issues"


def report(error: BaseException, arguments: Sequence[str]) -> str:
    """Write the traceback to a file and return the message that names it; FAIRPRESS_DEBUG shows it, too."""
    trace = "".join(traceback.format_exception(error))
    head = (
        f"fairpress {__version__}, Python {sys.version.split()[0]}, {platform.platform()}\n"
        f"arguments: {list(arguments)!r}\n\n"
    )
    what = f"{type(error).__name__}: {error}".splitlines()[0][:200]
    place = _written(head + trace)
    kept = (
        f"The details are in {place}; please"
        if place is not None
        else f"Set {DEBUG}=1 to see the details; please"
    )
    shown = trace if os.environ.get(DEBUG) else ""
    return (
        f"{shown}fairpress: an unexpected error ({what}). This is a fault of fairpress, not of your input. "
        f"{kept} report it with the command at {ISSUES}.\n"
    )


def _written(text: str) -> Path | None:
    stamp = time.strftime("%Y%m%d-%H%M%S")
    place = temporary.outside() / f"fairpress-error-{stamp}-{os.getpid()}.log"
    try:
        place.write_text(text, encoding="utf-8")
    except OSError:
        return None
    return place
