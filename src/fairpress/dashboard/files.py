"""JSON files, read once as long as they stay what they are."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any


def read_json(path: Path) -> Any:
    """Return a file's content; None where there is none, or where it is no JSON."""
    try:
        found = path.stat()
    except OSError:
        return None
    return _read(path, found.st_mtime_ns, found.st_size)


@lru_cache(maxsize=512)
def _read(path: Path, changed: int, size: int) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
