"""What lies in an entry's folder and was not written by fairpress."""

from __future__ import annotations

import itertools
import json
from collections.abc import Collection
from fnmatch import fnmatch
from pathlib import Path

MANIFEST = "entry.json"
UNKNOWN = "foreign"
# What file managers and network file systems put into any folder; it says nothing about an entry.
IGNORED = (".DS_Store", "._*", "Thumbs.db", "desktop.ini", ".nfs*")


def listed_files(folder: Path) -> Collection[str] | None:
    """Return the files that an entry's manifest names; None where it cannot be read."""
    try:
        return [str(name) for name in json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["files"]]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def unknown_files(folder: Path, listed: Collection[str] | None) -> list[str]:
    """Return what lies in an entry's folder beside its files; nothing where it is not known which these are."""
    if listed is None or not folder.is_dir():
        return []
    names = sorted({path.name for path in folder.iterdir()} - {MANIFEST, *listed})
    return [name for name in names if not any(fnmatch(name, pattern) for pattern in IGNORED)]


def free_path(folder: Path, name: str) -> Path:
    """Return a path that nothing has yet."""
    tries = (folder / (name if not i else f"{name}.{i}") for i in itertools.count())
    return next(path for path in tries if not path.exists() and not path.is_symlink())
