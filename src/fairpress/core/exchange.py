"""Replace one folder by another in one step, and remove what a kill during that left behind."""

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
    """Create a hidden folder with these files in the folder of `target`; if it still exists at the end, it is removed."""
    with contextlib.ExitStack() as stack:
        while True:
            scratch = hidden_path(target)
            scratch.mkdir()
            stack.enter_context(locked(scratch))
            if scratch.exists():  # another process may have removed it as a leftover in between
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
    """Remove the hidden folders that killed processes left for `target`; one that held its old content is put back."""
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
    """Put `new` at `target`; the old content of `target`, if any, is at `new` afterwards.

    Raises
    ------
    UserError
        The user added a file to the folder in the meantime; nothing is changed then.
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
            f"{target} was changed while it was being replaced ({', '.join(theirs[:3])}); it was left unchanged, run "
            f"this again."
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
