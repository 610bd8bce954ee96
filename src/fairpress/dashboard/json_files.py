"""Open regular files only, and read JSON within bounds."""

from __future__ import annotations

import errno
import json
import os
import stat
from pathlib import Path
from typing import Any, BinaryIO

from fairpress.core.errors import UserError
from fairpress.dashboard.cache import ByteCache

MAX_BYTES = 64_000_000
MAX_VALUES = 6_000_000
"""Commas and opening brackets: each may mean an object of a hundred bytes in memory for two bytes in the file."""

_OVERHEAD = 500  # bytes of the cache entry of an empty file
_FLAGS = (
    os.O_RDONLY
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_NOCTTY", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_BINARY", 0)
)
_FOLDER = (
    getattr(os, "O_PATH", os.O_RDONLY)
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_DIRECTORY", 0)
    | getattr(os, "O_CLOEXEC", 0)
)


class Unreadable(UserError):
    """A file that cannot be shown; the message begins with its name and gives the reason."""


DAMAGED = (
    UserError,
    KeyError,
    IndexError,
    TypeError,
    ValueError,
    AttributeError,
    ArithmeticError,
    RuntimeError,  # includes RecursionError
    OSError,
    MemoryError,
)
"""Errors that reading a damaged file may raise; any other is a bug in the dashboard."""


def open_regular(path: Path) -> BinaryIO:
    """Open a regular file at a resolved path; pipes and devices, which could block, are refused.

    No symbolic link is followed, neither of the file nor of a folder above it: a path that was checked before and then
    replaced by a link does not lead elsewhere.

    Raises
    ------
    FileNotFoundError
        The file does not exist.
    Unreadable
        It is a link, a folder, a pipe, a socket or a device, or may not be read.
    """
    try:
        descriptor = _opened(path)
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError(path.name) from None
    except OSError as error:
        raise Unreadable(f"{path.name} {_reason(error)}.") from None
    try:
        _require_regular(os.fstat(descriptor), path.name)
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_json(path: Path, limit: int = MAX_BYTES) -> Any:
    """Return the content of a JSON file; None if it does not exist. The content is cached until the file changes.

    Raises Unreadable if it is not a regular file, has more than `limit` bytes, or is not JSON.
    """
    try:
        file = open_regular(path)
    except FileNotFoundError:
        return None
    with file:
        status = os.fstat(file.fileno())
        _require_size(status.st_size, limit, path.name)
        key = (str(path), limit, *version(status))
        content = _CACHE.get(key, lambda: _weighed(_parsed(file, limit, path.name), status.st_size))
    if isinstance(content, Unreadable):
        raise Unreadable(str(content))
    return content


def version(status: os.stat_result) -> tuple[int, int, int, int]:
    """Return a key that changes when the file changes."""
    return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size


def size_of(count: float) -> str:
    """Format a number of bytes in MB."""
    return f"{count / 1e6:,.0f} MB" if count >= 10e6 else f"{count / 1e6:,.1f} MB"


def _opened(path: Path) -> int:
    if os.open not in os.supports_dir_fd:  # Windows, which has no pipes or devices among files
        _require_regular(path.lstat(), path.name)
        return os.open(path, _FLAGS)
    folder = os.open(path.anchor or ".", _FOLDER)
    try:
        for part in path.parts[1 if path.anchor else 0 : -1]:
            below = os.open(part, _FOLDER, dir_fd=folder)
            os.close(folder)
            folder = below
        # Checked before it is opened, too: opening a device may have an effect.
        _require_regular(os.stat(path.name, dir_fd=folder, follow_symlinks=False), path.name)
        return os.open(path.name, _FLAGS, dir_fd=folder)
    finally:
        os.close(folder)


def _require_regular(status: os.stat_result, name: str) -> None:
    if stat.S_ISLNK(status.st_mode):
        raise Unreadable(f"{name} is a symbolic link.")
    if stat.S_ISDIR(status.st_mode):
        raise Unreadable(f"{name} is a folder.")
    if not stat.S_ISREG(status.st_mode):
        raise Unreadable(f"{name} is a pipe, a socket or a device, not a file.")


def _require_size(size: int, limit: int, name: str) -> None:
    if size > limit:
        raise Unreadable(f"{name} has {size_of(size)}; at most {size_of(limit)} are shown.")


def _reason(error: OSError) -> str:
    if error.errno in (errno.ELOOP, getattr(errno, "EMLINK", None)):
        return "is behind a symbolic link"
    return f"cannot be opened ({error.strerror or type(error).__name__})"


def _weighed(content: Any, size: int) -> tuple[Any, int]:
    return content, _OVERHEAD if isinstance(content, Unreadable) else size + _OVERHEAD


def _parsed(file: BinaryIO, limit: int, name: str) -> Any:
    """Return the content, or the Unreadable error if there is none, which is cached as well."""
    try:
        data = file.read(limit + 1)
        _require_size(len(data), limit, name)
        if data.count(b",") + data.count(b"[") + data.count(b"{") > MAX_VALUES:
            raise Unreadable(f"{name} has more than {MAX_VALUES:,} values, too many to show.")
        return json.loads(data.decode("utf-8-sig"))
    except Unreadable as error:
        return error
    except OSError as error:
        return Unreadable(f"{name} cannot be read ({error.strerror or type(error).__name__}).")
    except UnicodeDecodeError:
        return Unreadable(f"{name} is not UTF-8 text.")
    except RecursionError:
        return Unreadable(f"{name} is nested too deeply.")
    except MemoryError:
        return Unreadable(f"{name} needs more memory than is available.")
    except ValueError:
        return Unreadable(f"{name} is damaged: it is not JSON.")


_CACHE: ByteCache[Any] = ByteCache(MAX_BYTES)
