"""Restrict paths to the files below one folder."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath


def is_inside(root: Path, relative: str) -> Path | None:
    """Return the resolved file or folder at a path below `root`; None if it does not exist or is not below `root`.

    Refused are absolute paths, paths with ``..``, links that lead out of the folder, and hidden names, also as the target
    of a link: the store has a hidden name.
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
