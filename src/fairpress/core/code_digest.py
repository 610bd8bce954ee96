"""The digest of code whose results are cheap to recompute, so that no stale result is shown after a change."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import lru_cache
from importlib import resources
from importlib.resources.abc import Traversable


@lru_cache(maxsize=8)
def code_digest(package: str) -> str:
    """Return the sha256 over the names and contents of all modules and templates of a package."""
    hasher = hashlib.sha256()
    root = resources.files(package)
    for name, file in sorted(_files(root, "")):
        data = file.read_bytes()
        hasher.update(f"{name}\0{len(data)}\0".encode() + data)
    return hasher.hexdigest()


def _files(folder: Traversable, prefix: str) -> Iterator[tuple[str, Traversable]]:
    for entry in folder.iterdir():
        name = f"{prefix}{entry.name}"
        if entry.is_dir():
            yield from _files(entry, f"{name}/")
        elif name.endswith((".py", ".j2")):
            yield name, entry
