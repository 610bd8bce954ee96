"""The folder for what can be made or downloaded again."""

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
    """Let torch's compiler keep its cache here, unless the user has chosen a place: else importing it makes one in TMPDIR.

    Where the cache folder cannot be written, nothing changes.
    """
    if os.environ.get(COMPILER_CACHE):
        return
    folder = cache_folder() / "inductor"
    ancestor = folder
    while not ancestor.exists() and ancestor != ancestor.parent:
        ancestor = ancestor.parent
    if ancestor.is_dir() and os.access(ancestor, os.W_OK | os.X_OK):
        os.environ[COMPILER_CACHE] = str(folder.absolute())
