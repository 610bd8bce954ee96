"""Files that are written whole or not at all."""

from __future__ import annotations

import contextlib
import os
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
