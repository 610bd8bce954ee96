"""The digest of code whose results are cheap to make again, so that no stale one is shown after a change."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from importlib import resources


@lru_cache(maxsize=8)
def code_digest(package: str) -> str:
    """Return the sha256 over the names and contents of a package's own modules."""
    found = hashlib.sha256()
    for file in sorted(resources.files(package).iterdir(), key=lambda f: f.name):
        if file.name.endswith(".py"):
            data = file.read_bytes()
            found.update(f"{file.name}\0{len(data)}\0".encode() + data)
    return found.hexdigest()
