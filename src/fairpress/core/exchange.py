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
from fairpress.core.files import beside, keep_rights, leftovers, locked
from fairpress.core.ownership import UNFINISHED, foreign_files, is_scratch


@contextlib.contextmanager
def filled(place: Path, files: Mapping[str, bytes]) -> Iterator[Path]:
    """Make a hidden folder beside a place, with these files; what is left of it at the end is removed."""
    with contextlib.ExitStack() as stack:
        while True:
            scratch = beside(place)
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
            if place.is_dir():
                keep_rights(place, scratch)
            yield scratch
        finally:
            if scratch.is_dir() and is_scratch(scratch):
                shutil.rmtree(scratch, ignore_errors=True)


def tidy(place: Path) -> None:
    """Remove the hidden folders that killed processes left beside a place; one that it stood in before is put back."""
    for left in leftovers(place):
        with contextlib.suppress(OSError):
            if not left.is_dir():
                continue
            if not os.path.lexists(place) and not (left / UNFINISHED).exists() and any(left.iterdir()):
                left.rename(place)
            elif is_scratch(left):
                shutil.rmtree(left, ignore_errors=True)


def swap(new: Path, place: Path) -> None:
    """Put `new` at `place`. What stood there is at `new` afterwards, if anything.

    Raises
    ------
    UserError
        A file of the user's came into the folder in the meantime; everything is as it was.
    """
    if not place.exists() or not any(place.iterdir()):
        if place.exists() and os.name == "nt":
            place.rmdir()  # Windows does not rename over an empty folder
        new.rename(place)
        return
    if not exchange(new, place):
        away = beside(place)
        place.rename(away)
        try:
            new.rename(place)
        except OSError:
            away.rename(place)
            raise
        away.rename(new)
    if theirs := foreign_files(new):
        back = beside(place)
        place.rename(back)
        new.rename(place)
        shutil.rmtree(back, ignore_errors=True)
        raise UserError(
            f"{place} was changed while it was being replaced ({', '.join(theirs[:3])}); it is as it was, run this again."
        )


def exchange(one: Path, other: Path) -> bool:
    """Exchange two folders in one step where the system can (Linux: renameat2); return whether it did."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):
        return False
    at_working_folder, both = -100, 2
    found = rename(
        ctypes.c_int(at_working_folder),
        ctypes.c_char_p(os.fsencode(one)),
        ctypes.c_int(at_working_folder),
        ctypes.c_char_p(os.fsencode(other)),
        ctypes.c_uint(both),
    )
    return bool(found == 0)
