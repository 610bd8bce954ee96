"""Check where results will be written, before the work and not after it."""

from __future__ import annotations

import difflib
import os
import tempfile
from pathlib import Path

from fairpress.core.errors import UserError

_SHOWN = 80


def require_writable(folder: str | os.PathLike[str]) -> None:
    """Raise UserError if a folder cannot be created or written; leaves nothing behind."""
    _require(folder, Path(folder).absolute())


def require_file(target: str | os.PathLike[str]) -> None:
    """Raise UserError if a file cannot be created, such as where a folder has its name."""
    require_name(target)
    if Path(target).is_dir():
        raise UserError(f"cannot write {target} (it is a folder); choose another path.")
    _require(target, Path(target).absolute().parent)


def require_name(target: str | os.PathLike[str]) -> None:
    """Raise UserError for a name that the file system does not allow, such as one that is too long."""
    try:
        Path(target).lstat()
    except (FileNotFoundError, NotADirectoryError):
        return
    except (OSError, ValueError) as error:  # ValueError: a null byte
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise UserError(f"cannot write {_short(target)}: {reason}; choose another name.") from None


def _short(target: str | os.PathLike[str]) -> str:
    text = os.fspath(target)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def nearest_existing(folder: Path) -> str:
    """Return " Did you mean 'x'?" with the existing folder of the most similar name; else empty text."""
    parent = folder.parent
    if not parent.is_dir():
        return nearest_existing(parent) if parent != parent.parent else ""
    names = sorted(p.name for p in parent.iterdir() if p.is_dir() and not p.name.startswith("."))
    close = difflib.get_close_matches(folder.name, names, n=1, cutoff=0.5)
    return f" Did you mean {str(parent / close[0])!r}?" if close else ""


def _require(target: str | os.PathLike[str], folder: Path) -> None:
    ancestor = folder
    while not os.path.lexists(ancestor) and ancestor != ancestor.parent:
        ancestor = ancestor.parent
    try:
        # Permissions do not tell: root has them all, also where nobody can write.
        os.rmdir(tempfile.mkdtemp(prefix=".fairpress.", dir=ancestor))
    except OSError as error:
        raise UserError(
            f"cannot write {target}: {ancestor} is not a folder you may write to ({error.strerror or error}); "
            "choose another path."
        ) from None
