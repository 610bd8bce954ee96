"""Write files whole or not at all: first under a temporary name in the same folder, then moved in one step.

The next process that writes the same file removes what a killed process left: the name identifies leftovers, and a lock
shows whether a process still uses them.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
import stat
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from fairpress.core.errors import UserError

try:
    import fcntl
except ImportError:  # Windows
    _HAVE_LOCKS = False
else:
    _HAVE_LOCKS = True

_NAME_BYTES, _CHUNK = 180, 1 << 20
_ENDING = re.compile(rb"\.[0-9a-f]{8}\.part\Z")

PathLike = str | os.PathLike[str]


def digest(data: bytes) -> str:
    """Return the sha256 of some bytes, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def digest_of(path: Path) -> str:
    """Return the sha256 of a file, read in pieces."""
    hasher = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_CHUNK):
            hasher.update(piece)
    return hasher.hexdigest()


def resolve_path(path: PathLike) -> Path:
    """Return the absolute path without symbolic links; a link that refers to itself is left as it is."""
    return Path(os.path.realpath(path))


def special_file_kind(path: PathLike) -> str | None:
    """Return the kind of a path that is neither a regular file nor a folder, such as a link or a pipe; else None."""
    try:
        mode = os.lstat(path).st_mode
    except (OSError, ValueError):
        return None
    if stat.S_ISLNK(mode):
        return "a symbolic link"
    return None if stat.S_ISREG(mode) or stat.S_ISDIR(mode) else "a pipe, a socket or a device"


def hidden_path(target: Path) -> Path:
    """Return a new hidden name in the folder of `target`, which is never longer than a file's name may be."""
    stem = os.fsdecode(b"." + os.fsencode(target.name)[:_NAME_BYTES])
    return target.parent / f"{stem}.{secrets.token_hex(4)}.part"


def leftovers(target: Path) -> Iterator[Path]:
    """Yield the temporary files that ended processes left for a target, each locked while it is yielded."""
    if not _HAVE_LOCKS or not target.parent.is_dir():
        return
    stem = b"." + os.fsencode(target.name)[:_NAME_BYTES]
    try:
        names = [os.fsencode(n) for n in os.listdir(target.parent)]
    except OSError:
        return
    for name in names:
        if name.startswith(stem) and _ENDING.fullmatch(name[len(stem) :]):
            path = target.parent / os.fsdecode(name)
            with locked(path, wait=False) as free:
                if free:
                    yield path


@contextlib.contextmanager
def locked(path: Path, *, wait: bool = True) -> Iterator[bool]:
    """Lock a file or folder and yield whether it is locked; without `wait` or system locks it may not be."""
    if not _HAVE_LOCKS:
        yield False
        return
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        yield False
        return
    try:
        held = True
        try:
            fcntl.flock(handle, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            held = False
        yield held
    finally:
        os.close(handle)


@contextlib.contextmanager
def staged(target: Path) -> Iterator[Path]:
    """Create an empty hidden file in the folder of `target`; the caller fills it, and `move` puts it in place.

    If it still exists at the end, it is removed.
    """
    temporary, handle = _locked_file(target)
    try:
        yield temporary
    finally:
        os.close(handle)
        with contextlib.suppress(OSError):
            temporary.unlink()


def _locked_file(target: Path) -> tuple[Path, int]:
    """Create a hidden file and lock it; retry if another process removed it as a leftover in between."""
    while True:
        temporary = hidden_path(target)
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)  # minus the umask
        if _HAVE_LOCKS:
            with contextlib.suppress(OSError):  # a file system without locks
                fcntl.flock(handle, fcntl.LOCK_EX)
        if temporary.exists():
            return temporary, handle
        os.close(handle)


def move(temporary: Path, target: Path) -> None:
    """Move a file to `target`, whose permissions it keeps."""
    keep_rights(target, temporary)
    temporary.replace(target)


def keep_rights(old: Path, new: Path) -> None:
    """Give a file or folder the permissions and group of the one that it will replace, if that exists."""
    with contextlib.suppress(OSError):  # there is no old file, or its permissions cannot be given to another
        old_status = old.lstat()
        if stat.S_ISLNK(old_status.st_mode):
            return
        if hasattr(os, "chown") and new.lstat().st_gid != old_status.st_gid:
            with contextlib.suppress(OSError):  # the user does not belong to the group
                os.chown(new, -1, old_status.st_gid)
        new.chmod(stat.S_IMODE(old_status.st_mode))


def write_whole(path: PathLike, write: Callable[[Path], object]) -> None:
    """Let `write` fill a temporary file, then move it to `path`.

    Raises UserError when the path cannot be written, or is a symbolic link, a pipe or a device.
    """
    write_together({path: write})


def write_together(files: Mapping[PathLike, Callable[[Path], object]]) -> None:
    """Fill all files under temporary names, then move all of them; if one cannot be filled, none is changed.

    Raises UserError as `write_whole` does.
    """
    target = Path()
    try:
        with contextlib.ExitStack() as stack:
            ready = []
            for path, write in files.items():
                target = Path(path)
                if (kind := special_file_kind(target)) is not None:
                    raise UserError(f"cannot write {target}: it is {kind}; name an ordinary file.")
                target.parent.mkdir(parents=True, exist_ok=True)
                for leftover in leftovers(target):
                    if leftover.is_file():
                        leftover.unlink()
                ready.append((stack.enter_context(staged(target)), target))
                write(ready[-1][0])
            for temporary, target in ready:
                move(temporary, target)
    except OSError as error:
        raise UserError(f"cannot write {target} ({error.strerror or error}); choose another path.") from None


def write_bytes(path: PathLike, data: bytes | memoryview) -> None:
    """Write bytes, whole or not at all. Raises UserError when the path cannot be written."""
    write_whole(path, lambda temporary: temporary.write_bytes(data))


def write_text(path: PathLike, text: str) -> None:
    """Write a text as UTF-8, whole or not at all. Raises UserError when the path cannot be written.

    A part of a name that is not UTF-8 is written as a question mark.
    """
    write_bytes(path, text.encode("utf-8", "replace"))


def require_regular(path: str | os.PathLike[str]) -> None:
    """Raise UserError for a path that exists and is not a regular file; it is not opened, because a pipe could block."""
    try:
        kind = unfit_kind(os.stat(path).st_mode)
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:  # ValueError: a null byte
        raise UserError(f"cannot read {path} ({getattr(error, 'strerror', None) or error}).") from None
    if kind == "a folder":
        raise UserError(f"{path} is a folder, not a file; name a file in it.")
    if kind is not None:
        raise UserError(f"{path} is {kind}, not a file; write its content into a file, and name that.")


def unfit_kind(mode: int) -> str | None:
    """Return the kind of file by its mode (`os.stat`), None for a regular file."""
    if stat.S_ISREG(mode):
        return None
    kinds = (("a folder", stat.S_ISDIR), ("a pipe", stat.S_ISFIFO), ("a socket", stat.S_ISSOCK))
    return next((name for name, matches in kinds if matches(mode)), "a device")
