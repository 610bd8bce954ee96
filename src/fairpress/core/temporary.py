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


def folder(place: Path | None = None) -> Path:
    """Return this process's folder in TMPDIR, or in another place; made at first use, removed when the process ends.

    Raises UserError where that place cannot be written.
    """
    key = (os.getpid(), outside() if place is None else place)
    with _turn:
        if key not in _folders:
            sweep(key[1])
            _folders[key] = _made(key[1])
            atexit.register(_remove_own, key)
        return _folders[key][0]


def outside() -> Path:
    """Return TMPDIR as the user has it, also while `used` has replaced it."""
    place = Path(tempfile.gettempdir())
    return place.parent if place.name.startswith(PREFIX) else place


@contextmanager
def used(place: Path) -> Iterator[Path]:
    """Let this process and those that it starts put their temporary files into a folder."""
    before = tempfile.tempdir
    with environment({"TMPDIR": str(place)}):
        tempfile.tempdir = str(place)
        try:
            yield place
        finally:
            tempfile.tempdir = before


@contextmanager
def private() -> Iterator[Path]:
    """Use a folder for one piece of work, and remove it then, in a process that others own."""
    sweep()
    place, owner = _made(outside())
    try:
        with used(place):
            yield place
    finally:
        _remove(place)
        os.close(owner)


def sweep(place: Path | None = None) -> int:
    """Remove the folders of processes that were killed, and return how many there were."""
    count = 0
    for owner in (outside() if place is None else place).glob(f"{PREFIX}*/{OWNER}"):
        with contextlib.suppress(OSError):
            handle = os.open(owner, os.O_RDWR)
            try:
                if _locked(handle):
                    _remove(owner.parent)
                    count += 1
            finally:
                os.close(handle)
    return count


def no_space(error: OSError) -> str | None:
    """Return what to do where an error says that a disk is full or can only be read; None for other errors."""
    place = f" ({error.filename})" if error.filename else ""
    if error.errno in FULL:
        free = _free(outside())
        where = f" TMPDIR ({outside()}) has {free / 1e6:.1f} MB left." if free is not None else ""
        return (
            f"a disk is full{place}: {error.strerror}.{where} Free some space where results go and in TMPDIR, or set TMPDIR "
            "to a folder on another disk."
        )
    if error.errno == errno.EROFS:
        return f"a folder can only be read{place}: {error.strerror}. Choose another place for what is written there."
    return None


def full(place: Path, needed: int) -> UserError | None:
    """Return the error of a folder for temporary files that has no room for so many bytes; None where there is room."""
    free = _free(place)
    if free is None or free >= needed:
        return None
    return UserError(
        f"TMPDIR ({outside()}) is full: {needed / 1e6:.1f} MB are needed there, {free / 1e6:.1f} MB are left; free some "
        "space, or set TMPDIR to a folder on another disk."
    )


def _free(place: Path) -> int | None:
    try:
        return shutil.disk_usage(place).free
    except OSError:
        return None


def _made(above: Path) -> tuple[Path, int]:
    """Return a new folder, and the handle that locks it for as long as it is open."""
    try:
        place = Path(tempfile.mkdtemp(prefix=PREFIX, dir=above))
        handle = os.open(place / f".{OWNER}", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise UserError(
            f"cannot write temporary files ({error.strerror or error}); set TMPDIR to a folder you may write to."
        ) from None
    _locked(handle)
    # Only now may others see it: before, it could be taken for one that nobody holds.
    (place / f".{OWNER}").rename(place / OWNER)
    return place, handle


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
        place, handle = _folders.pop(key)
        _remove(place)
        with contextlib.suppress(OSError):
            os.close(handle)


def _remove(place: Path) -> None:
    """Remove a folder; processes that are just being killed may still write into it."""
    for _ in range(20):
        shutil.rmtree(place, ignore_errors=True)
        if not place.exists():
            return
        time.sleep(0.05)
