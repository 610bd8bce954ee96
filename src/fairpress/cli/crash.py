"""Unexpected errors: a short message, and a log file with the details for a bug report."""

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
    "fairpress wrote this file because of an unexpected error. Passwords in addresses and in the environment are\n"
    "left out. An error message may quote a value of your table: read this file before you send it.\n"
)
TOO_MANY_FILES = (errno.EMFILE, errno.ENFILE)
"""Error numbers of too many open files."""

_MAX_CHARACTERS = 200_000


def log_error(error: BaseException, arguments: Sequence[str]) -> str:
    """Write the traceback to a file and return the message that names it, with the traceback if FAIRPRESS_DEBUG is set."""
    trace = _trace(error)
    head = (
        f"{NOTE}\nfairpress {__version__}, Python {sys.version.split()[0]}, {platform.platform()}\n"
        f"arguments: {without_secrets(repr(list(arguments)))}\n\n"
    )
    summary = f"{type(error).__name__}{_first_line(error)}"
    log = _written(head + trace)
    details = (
        f"The details are in {log}; please"
        if log is not None
        else f"Set {DEBUG}=1 to see the details; please"
    )
    shown = trace if os.environ.get(DEBUG) else ""
    return (
        f"{shown}fairpress: an unexpected error ({summary}). This is a bug in fairpress, not an error in your input. "
        f"{details} report it with the command at {ISSUES}.\n"
    )


def machine_error(error: BaseException) -> str | None:
    """Return the message for an error of the machine, such as a full disk; None for any other error."""
    if not isinstance(error, OSError):
        return None
    remedy = temporary.disk_error_message(error)
    if remedy is not None:
        return remedy
    if error.errno in TOO_MANY_FILES:
        file_name = f" {os.fsdecode(error.filename)}" if isinstance(error.filename, str | bytes) else ""
        return f"cannot open{file_name or ' a file'} ({error.strerror}); close other programs or raise `ulimit -n`."
    return None


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether memory ran out, in Python or in a library with another error class for it."""
    names = {c.__name__ for c in type(error).__mro__}
    return (
        isinstance(error, MemoryError)
        or bool(names & {"OutOfMemoryError", "OutOfMemoryException"})
        or (isinstance(error, OSError) and error.errno == errno.ENOMEM)
    )


def _trace(error: BaseException) -> str:
    try:
        lines = traceback.format_exception(error)
    except Exception:  # such as an error whose __str__ raises
        lines = [*traceback.format_tb(error.__traceback__), type(error).__name__, "\n"]
    text = "".join(lines)
    if len(text) > _MAX_CHARACTERS:
        half = _MAX_CHARACTERS // 2
        text = f"{text[:half]}\n…\n{text[-half:]}"
    return without_secrets(text)


def _first_line(error: BaseException) -> str:
    try:
        line = (str(error).splitlines() or [""])[0][:200]
    except Exception:  # its __str__ raises; the log has its type
        return ""
    return f": {without_secrets(line)}" if line else ""


def _written(text: str) -> Path | None:
    """Write a file that only its owner can read, and return its path; None if no folder is writable."""
    stamp = f"fairpress-error-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"
    for folder in _folders():
        for ending in ("", *(f"-{i}" for i in range(2, 10))):
            path = folder / f"{stamp}{ending}.log"
            try:
                folder.mkdir(parents=True, exist_ok=True)
                handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            except FileExistsError:
                continue
            except OSError:
                break
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(text.encode("utf-8", "replace"))
            except OSError:  # a full disk
                with contextlib.suppress(OSError):
                    path.unlink()
                break
            return path
    return None


def _folders() -> Iterator[Path]:
    with contextlib.suppress(OSError):  # no usable folder for temporary files
        yield temporary.system_folder()
    cache = os.environ.get("XDG_CACHE_HOME")
    with contextlib.suppress(RuntimeError):  # the user has no home folder
        yield (Path(cache) if cache else Path.home() / ".cache") / "fairpress"
