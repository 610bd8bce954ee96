"""Which files may be looked at: those below one folder, and no others."""

from __future__ import annotations

from pathlib import Path, PurePosixPath


def inside(root: Path, relative: str) -> Path | None:
    """Return the file or folder at a path below `root`; None where there is none, or where it is not below.

    A path that is absolute, goes up, or leads over a symbolic link out of the folder is not below it. Hidden names are
    not looked at: the store lies there.
    """
    asked = PurePosixPath(relative)
    if asked.is_absolute() or "\x00" in relative or "\\" in relative:
        return None
    if any(part.startswith(".") for part in asked.parts):  # ".." is one of them
        return None
    top = root.resolve()
    try:
        found = (top / asked).resolve(strict=True)
    except (OSError, RuntimeError, ValueError):
        return None
    return found if found == top or top in found.parents else None


def own(path: Path, folder: Path) -> bool:
    """Tell whether a file that stands in a folder also lies there: a symbolic link may lead anywhere."""
    return folder.resolve() in path.resolve().parents
