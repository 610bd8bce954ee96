"""Files that are written whole or not at all, and what is no file at all."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable
from pathlib import Path

from fairpress.core.errors import UserError


def write_whole(path: str | os.PathLike[str], write: Callable[[Path], object]) -> None:
    """Let `write` make a file beside its place, then move it there. Raises UserError when the place cannot be written."""
    target = Path(path)
    temporary = target.with_name(f".{target.name[:100]}.part")  # a name may have 255 bytes
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        write(temporary)
        temporary.replace(target)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise UserError(f"cannot write {target} ({error.strerror or error}); choose another place.") from None


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a text as UTF-8, whole or not at all. Raises UserError when the place cannot be written."""
    write_whole(path, lambda place: place.write_text(text, encoding="utf-8"))


def require_regular(path: str | os.PathLike[str]) -> None:
    """Raise UserError for what is there and is no regular file. It is not opened: a pipe may wait, a device never end."""
    try:
        kind = unfit_kind(os.stat(path).st_mode)
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:  # ValueError: a null byte
        raise UserError(f"cannot read {path} ({getattr(error, 'strerror', None) or error}).") from None
    if kind == "a folder":
        raise UserError(f"{path} is a folder, not a file; name a file in it.")
    if kind is not None:
        raise UserError(f"{path} is {kind}, not a file; write what it holds into a file, and name that.")


def unfit_kind(mode: int) -> str | None:
    """Return what a place is by its mode (`os.stat`), None where it is a regular file."""
    if stat.S_ISREG(mode):
        return None
    kinds = (("a folder", stat.S_ISDIR), ("a pipe", stat.S_ISFIFO), ("a socket", stat.S_ISSOCK))
    return next((name for name, matches in kinds if matches(mode)), "a device")
