"""Which files may be looked at: those below one folder, and no others."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath


def is_inside(root: Path, relative: str) -> Path | None:
    """Return the file or folder at a path below `root`; None where there is none, or where it is not below.

    A path that is absolute, goes up, or leads over a symbolic link out of the folder is not below it. Hidden names are
    not looked at, neither by their names nor over a link: the store lies there.
    """
    path = PurePosixPath(relative)
    if path.is_absolute() or "\x00" in relative or (os.name == "nt" and "\\" in relative):
        return None
    if _hidden(path.parts):  # ".." is one of them
        return None
    try:
        top = root.resolve()
        resolved = (top / path).resolve(strict=True)
    except (OSError, RuntimeError, ValueError):  # RuntimeError: links in a circle
        return None
    if resolved != top and top not in resolved.parents:
        return None
    return None if _hidden(resolved.relative_to(top).parts) else resolved


def _hidden(parts: tuple[str, ...]) -> bool:
    return any(part.startswith(".") for part in parts)
