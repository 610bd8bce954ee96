"""The folder for what can be computed or downloaded again."""

from __future__ import annotations

import os
from pathlib import Path

COMPILER_CACHE = "TORCHINDUCTOR_CACHE_DIR"


def cache_folder() -> Path:
    """Return the folder that downloads are kept in: FAIRPRESS_CACHE, or the platform's cache folder."""
    chosen = os.environ.get("FAIRPRESS_CACHE")
    if chosen:
        return Path(chosen).expanduser()
    import platformdirs

    return Path(platformdirs.user_cache_dir("fairpress"))


def keep_compiler_cache() -> None:
    """Put the cache of torch's compiler here unless the user chose a folder; by default importing it creates one in TMPDIR.

    Does nothing if the cache folder cannot be written.
    """
    if os.environ.get(COMPILER_CACHE):
        return
    folder = cache_folder() / "inductor"
    ancestor = folder
    while not ancestor.exists() and ancestor != ancestor.parent:
        ancestor = ancestor.parent
    if ancestor.is_dir() and os.access(ancestor, os.W_OK | os.X_OK):
        os.environ[COMPILER_CACHE] = str(folder.absolute())
