"""Temporary files of this process in one folder, which the next process removes if this one was killed.

The folder contains a locked file. A lock ends with its process, so a folder whose file can be locked is abandoned. Where
files cannot be locked (Windows), no process removes the folders of others.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fairpress.core.env import environment
from fairpress.core.errors import UserError

PREFIX, OWNER = "fairpress-tmp-", "owner"
FULL = (errno.ENOSPC, errno.EDQUOT)

_turn = threading.Lock()
_folders: dict[tuple[int, Path], tuple[Path, int]] = {}


def folder(parent: Path | None = None) -> Path:
    """Return this process's folder in TMPDIR or in `parent`; created at first use, removed when the process ends.

    Raises UserError if it cannot be created.
    """
    key = (os.getpid(), system_folder() if parent is None else parent)
    with _turn:
        if key not in _folders:
            sweep(key[1])
            _folders[key] = _create_folder(key[1])
            atexit.register(_remove_own, key)
        return _folders[key][0]


def system_folder() -> Path:
    """Return the user's TMPDIR, also while `use_as_tmpdir` has replaced it."""
    current = Path(tempfile.gettempdir())
    return current.parent if current.name.startswith(PREFIX) else current


def remove_all() -> None:
    """Remove this process's folders now, for a process that ends without Python's exit handlers."""
    for key in [*_folders]:
        _remove_own(key)


@contextmanager
def use_as_tmpdir(path: Path) -> Iterator[Path]:
    """Make this process and its children put their temporary files into a folder."""
    before = tempfile.tempdir
    with environment({"TMPDIR": str(path)}):
        tempfile.tempdir = str(path)
        try:
            yield path
        finally:
            tempfile.tempdir = before


@contextmanager
def private_folder() -> Iterator[Path]:
    """Use a temporary folder for the block and remove it afterwards, in a process that fairpress did not start."""
    sweep()
    path, handle = _create_folder(system_folder())
    try:
        with use_as_tmpdir(path):
            yield path
    finally:
        _remove(path)
        os.close(handle)


def sweep(parent: Path | None = None) -> int:
    """Remove the folders of processes that were killed, and return their number."""
    count = 0
    for owner in (system_folder() if parent is None else parent).glob(f"{PREFIX}*/{OWNER}"):
        with contextlib.suppress(OSError):  # another process removed it
            handle = os.open(owner, os.O_RDWR)
            try:
                if _locked(handle):
                    _remove(owner.parent)
                    count += 1
            finally:
                os.close(handle)
    return count


def disk_error_message(error: OSError) -> str | None:
    """Return a message with the remedy if an error means a full or read-only disk; None for other errors."""
    path = f" ({error.filename})" if error.filename else ""
    if error.errno in FULL:
        free = _free(system_folder())
        space_left = f" TMPDIR ({system_folder()}) has {free / 1e6:.1f} MB left." if free is not None else ""
        return (
            f"a disk is full{path}: {error.strerror}.{space_left} Free some space where results are written and in TMPDIR, "
            "or set TMPDIR to a folder on another disk."
        )
    if error.errno == errno.EROFS:
        return f"a folder is read-only{path}: {error.strerror}. Choose another folder for its output."
    return None


def space_error(path: Path, needed: int) -> UserError | None:
    """Return the error if a folder for temporary files has less than `needed` bytes free; else None."""
    free = _free(path)
    if free is None or free >= needed:
        return None
    return UserError(
        f"TMPDIR ({system_folder()}) is full: {needed / 1e6:.1f} MB are needed and {free / 1e6:.1f} MB are left; "
        "free some space, or set TMPDIR to a folder on another disk."
    )


def _free(path: Path) -> int | None:
    try:
        return shutil.disk_usage(path).free
    except OSError:
        return None


def _create_folder(parent: Path) -> tuple[Path, int]:
    """Return a new folder and the open file handle that keeps it locked."""
    try:
        path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
        handle = os.open(path / f".{OWNER}", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise UserError(
            f"cannot write temporary files ({error.strerror or error}); set TMPDIR to a folder you may write to."
        ) from None
    _locked(handle)
    # Others look for this name; before the lock is held they would take the folder for an abandoned one.
    (path / f".{OWNER}").rename(path / OWNER)
    return path, handle


def _locked(handle: int) -> bool:
    """Lock an open file for this process; return whether that worked."""
    try:
        import fcntl
    except ImportError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _remove_own(key: tuple[int, Path]) -> None:
    if os.getpid() == key[0] and key in _folders:
        path, handle = _folders.pop(key)
        _remove(path)
        with contextlib.suppress(OSError):
            os.close(handle)


def _remove(path: Path) -> None:
    """Remove a folder, with retries: processes that are being killed may still write into it."""
    for _ in range(20):
        shutil.rmtree(path, ignore_errors=True)
        if not path.exists():
            return
        time.sleep(0.05)
