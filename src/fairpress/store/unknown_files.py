"""Files in an entry's folder that fairpress did not write."""

from __future__ import annotations

import itertools
import json
from collections.abc import Collection
from fnmatch import fnmatch
from pathlib import Path

MANIFEST = "entry.json"
UNKNOWN = "foreign"  # name of the folder below the store
# Files that file managers and network file systems put into any folder.
IGNORED = (".DS_Store", "._*", "Thumbs.db", "desktop.ini", ".nfs*")


def listed_files(folder: Path) -> Collection[str] | None:
    """Return the files listed in an entry's manifest; None if it cannot be read."""
    try:
        return [str(name) for name in json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["files"]]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def unknown_files(folder: Path, listed: Collection[str] | None) -> list[str]:
    """Return the names in an entry's folder that are not listed; none if the listing is unknown."""
    if listed is None or not folder.is_dir():
        return []
    names = sorted({path.name for path in folder.iterdir()} - {MANIFEST, *listed})
    return [name for name in names if not any(fnmatch(name, pattern) for pattern in IGNORED)]


def free_path(folder: Path, name: str) -> Path:
    """Return a path in the folder that does not exist yet."""
    tries = (folder / (name if not i else f"{name}.{i}") for i in itertools.count())
    return next(path for path in tries if not path.exists() and not path.is_symlink())
