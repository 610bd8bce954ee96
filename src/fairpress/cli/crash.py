"""An error that nobody foresaw: a short message, and a file with the details for whoever repairs it."""

from __future__ import annotations

import contextlib
import errno
import os
import platform
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path

from fairpress.core import temporary
from fairpress.core.urls import without_secrets
from fairpress.core.version import __version__

DEBUG = "FAIRPRESS_DEBUG"
ISSUES = "https://github.com/fairpress/fairpress/issues"
NOTE = (
    "This file was written when fairpress met an error that it did not foresee. Passwords in addresses and in the\n"
    "environment are left out. A message of an error may quote a value of your table: read it before you send it.\n"
)
TOO_MANY_FILES = (errno.EMFILE, errno.ENFILE)
"""Errors of the machine that stop any program, whatever it is doing."""

_MOST_CHARACTERS = 200_000


def report(error: BaseException, arguments: Sequence[str]) -> str:
    """Write the traceback to a file and return the message that names it; FAIRPRESS_DEBUG shows it, too."""
    trace = _trace(error)
    head = (
        f"{NOTE}\nfairpress {__version__}, Python {sys.version.split()[0]}, {platform.platform()}\n"
        f"arguments: {without_secrets(repr(list(arguments)))}\n\n"
    )
    what = f"{type(error).__name__}{_first_line(error)}"
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


def of_machine(error: BaseException) -> str | None:
    """Return the sentence for an error of the machine, such as a full disk; None for any other."""
    if not isinstance(error, OSError):
        return None
    remedy = temporary.no_space(error)
    if remedy is not None:
        return remedy
    if error.errno in TOO_MANY_FILES:
        where = f" {os.fsdecode(error.filename)}" if isinstance(error.filename, str | bytes) else ""
        return (
            f"cannot open{where or ' a file'} ({error.strerror}); close other programs or raise `ulimit -n`."
        )
    return None


def out_of_memory(error: BaseException) -> bool:
    """Return whether memory ran out: in Python, or in a library that has an error of its own for that."""
    names = {c.__name__ for c in type(error).__mro__}
    return (
        isinstance(error, MemoryError)
        or bool(names & {"OutOfMemoryError", "OutOfMemoryException"})
        or (isinstance(error, OSError) and error.errno == errno.ENOMEM)
    )


def _trace(error: BaseException) -> str:
    try:
        lines = traceback.format_exception(error)
    except Exception:  # such as an error that cannot say what it is
        lines = [*traceback.format_tb(error.__traceback__), type(error).__name__, "\n"]
    text = "".join(lines)
    if len(text) > _MOST_CHARACTERS:
        half = _MOST_CHARACTERS // 2
        text = f"{text[:half]}\n…\n{text[-half:]}"
    return without_secrets(text)


def _first_line(error: BaseException) -> str:
    try:
        line = (str(error).splitlines() or [""])[0][:200]
    except Exception:
        return ""
    return f": {without_secrets(line)}" if line else ""


def _written(text: str) -> Path | None:
    """Write a file that only its owner can read, where there is a place for it."""
    stamp = f"fairpress-error-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"
    for folder in _folders():
        for ending in ("", *(f"-{i}" for i in range(2, 10))):
            place = folder / f"{stamp}{ending}.log"
            try:
                folder.mkdir(parents=True, exist_ok=True)
                handle = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            except FileExistsError:
                continue
            except OSError:
                break
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(text.encode("utf-8", "replace"))
            except OSError:  # a full disk
                with contextlib.suppress(OSError):
                    place.unlink()
                break
            return place
    return None


def _folders() -> Iterator[Path]:
    with contextlib.suppress(OSError):  # no place at all for temporary files
        yield temporary.outside()
    cache = os.environ.get("XDG_CACHE_HOME")
    with contextlib.suppress(RuntimeError):  # nobody's home
        yield (Path(cache) if cache else Path.home() / ".cache") / "fairpress"
