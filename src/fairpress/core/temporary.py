"""Temporary files of this process in one folder, which the next process removes where this one was killed.

The folder holds a file that is locked: a lock ends with its process, however that ends, so what can be locked has no owner
any more. Where files cannot be locked (Windows), nothing is removed for others.
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
    """Return this process's folder in TMPDIR, or in another place; made at first use, removed when the process ends.

    Raises UserError where that place cannot be written.
    """
    key = (os.getpid(), system_folder() if parent is None else parent)
    with _turn:
        if key not in _folders:
            sweep(key[1])
            _folders[key] = _create_folder(key[1])
            atexit.register(_remove_own, key)
        return _folders[key][0]


def system_folder() -> Path:
    """Return TMPDIR as the user has it, also while `use_as_tmpdir` has replaced it."""
    current = Path(tempfile.gettempdir())
    return current.parent if current.name.startswith(PREFIX) else current


@contextmanager
def use_as_tmpdir(path: Path) -> Iterator[Path]:
    """Let this process and those that it starts put their temporary files into a folder."""
    before = tempfile.tempdir
    with environment({"TMPDIR": str(path)}):
        tempfile.tempdir = str(path)
        try:
            yield path
        finally:
            tempfile.tempdir = before


@contextmanager
def private_folder() -> Iterator[Path]:
    """Use a folder for one piece of work, and remove it then, in a process that others own."""
    sweep()
    path, handle = _create_folder(system_folder())
    try:
        with use_as_tmpdir(path):
            yield path
    finally:
        _remove(path)
        os.close(handle)


def sweep(parent: Path | None = None) -> int:
    """Remove the folders of processes that were killed, and return how many there were."""
    count = 0
    for owner in (system_folder() if parent is None else parent).glob(f"{PREFIX}*/{OWNER}"):
        with contextlib.suppress(OSError):
            handle = os.open(owner, os.O_RDWR)
            try:
                if _locked(handle):
                    _remove(owner.parent)
                    count += 1
            finally:
                os.close(handle)
    return count


def disk_error_message(error: OSError) -> str | None:
    """Return what to do where an error says that a disk is full or can only be read; None for other errors."""
    path = f" ({error.filename})" if error.filename else ""
    if error.errno in FULL:
        free = _free(system_folder())
        space_left = f" TMPDIR ({system_folder()}) has {free / 1e6:.1f} MB left." if free is not None else ""
        return (
            f"a disk is full{path}: {error.strerror}.{space_left} Free some space where results go and in TMPDIR, or set TMPDIR "
            "to a folder on another disk."
        )
    if error.errno == errno.EROFS:
        return f"a folder can only be read{path}: {error.strerror}. Choose another place for what is written there."
    return None


def space_error(path: Path, needed: int) -> UserError | None:
    """Return the error of a folder for temporary files that has no room for so many bytes; None where there is room."""
    free = _free(path)
    if free is None or free >= needed:
        return None
    return UserError(
        f"TMPDIR ({system_folder()}) is full: {needed / 1e6:.1f} MB are needed there, {free / 1e6:.1f} MB are left; free some "
        "space, or set TMPDIR to a folder on another disk."
    )


def _free(path: Path) -> int | None:
    try:
        return shutil.disk_usage(path).free
    except OSError:
        return None


def _create_folder(parent: Path) -> tuple[Path, int]:
    """Return a new folder, and the handle that locks it for as long as it is open."""
    try:
        path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
        handle = os.open(path / f".{OWNER}", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise UserError(
            f"cannot write temporary files ({error.strerror or error}); set TMPDIR to a folder you may write to."
        ) from None
    _locked(handle)
    # Only now may others see it: before, it could be taken for one that nobody holds.
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
    """Remove a folder; processes that are just being killed may still write into it."""
    for _ in range(20):
        shutil.rmtree(path, ignore_errors=True)
        if not path.exists():
            return
        time.sleep(0.05)
