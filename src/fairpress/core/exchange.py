"""One folder put in the place of another in one step, and what a kill in the midst of it left behind."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from fairpress.core.errors import UserError
from fairpress.core.files import hidden_path, keep_rights, leftovers, locked
from fairpress.core.ownership import UNFINISHED, is_scratch, user_files


@contextlib.contextmanager
def staged_folder(target: Path, files: Mapping[str, bytes]) -> Iterator[Path]:
    """Make a hidden folder beside a place, with these files; what is left of it at the end is removed."""
    with contextlib.ExitStack() as stack:
        while True:
            scratch = hidden_path(target)
            scratch.mkdir()
            stack.enter_context(locked(scratch))
            if scratch.exists():  # another process may have taken it for a leftover in between
                break
        try:
            (scratch / UNFINISHED).touch()
            for name, data in files.items():
                (scratch / name).parent.mkdir(parents=True, exist_ok=True)
                (scratch / name).write_bytes(data)
            (scratch / UNFINISHED).unlink()
            if target.is_dir():
                keep_rights(target, scratch)
            yield scratch
        finally:
            if scratch.is_dir() and is_scratch(scratch):
                shutil.rmtree(scratch, ignore_errors=True)


def remove_leftovers(target: Path) -> None:
    """Remove the hidden folders that killed processes left beside a place; one that it stood in before is put back."""
    for leftover in leftovers(target):
        with contextlib.suppress(OSError):
            if not leftover.is_dir():
                continue
            if (
                not os.path.lexists(target)
                and not (leftover / UNFINISHED).exists()
                and any(leftover.iterdir())
            ):
                leftover.rename(target)
            elif is_scratch(leftover):
                shutil.rmtree(leftover, ignore_errors=True)


def swap(new: Path, target: Path) -> None:
    """Put `new` at `place`. What stood there is at `new` afterwards, if anything.

    Raises
    ------
    UserError
        A file of the user's came into the folder in the meantime; everything is as it was.
    """
    if not target.exists() or not any(target.iterdir()):
        if target.exists() and os.name == "nt":
            target.rmdir()  # Windows does not rename over an empty folder
        new.rename(target)
        return
    if not exchange(new, target):
        aside = hidden_path(target)
        target.rename(aside)
        try:
            new.rename(target)
        except OSError:
            aside.rename(target)
            raise
        aside.rename(new)
    if theirs := user_files(new):
        restored = hidden_path(target)
        target.rename(restored)
        new.rename(target)
        shutil.rmtree(restored, ignore_errors=True)
        raise UserError(
            f"{target} was changed while it was being replaced ({', '.join(theirs[:3])}); it is as it was, run this again."
        )


def exchange(first: Path, second: Path) -> bool:
    """Exchange two folders in one step where the system can (Linux: renameat2); return whether it did."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):
        return False
    at_fdcwd, exchange_flag = -100, 2
    status = rename(
        ctypes.c_int(at_fdcwd),
        ctypes.c_char_p(os.fsencode(first)),
        ctypes.c_int(at_fdcwd),
        ctypes.c_char_p(os.fsencode(second)),
        ctypes.c_uint(exchange_flag),
    )
    return bool(status == 0)
