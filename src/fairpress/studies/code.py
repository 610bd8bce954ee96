"""The digest of code whose results are cheap to make again, so that no stale one is shown after a change."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from importlib import resources


@lru_cache(maxsize=8)
def code_digest(package: str) -> str:
    """Return the sha256 over the names and contents of a package's own modules and templates."""
    found = hashlib.sha256()
    root = resources.files(package)
    folders = [root, *(f for f in root.iterdir() if f.name == "templates")]
    for file in sorted((f for folder in folders for f in folder.iterdir()), key=lambda f: f.name):
        if file.name.endswith((".py", ".j2")):
            data = file.read_bytes()
            found.update(f"{file.name}\0{len(data)}\0".encode() + data)
    return found.hexdigest()
