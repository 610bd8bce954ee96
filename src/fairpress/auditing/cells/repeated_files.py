"""Files that would be counted more than once: one file by two names, and copies."""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from pathlib import Path

from fairpress.core.errors import UserError
from fairpress.core.files import digest_of

_HEAD_BYTES = 2**16


def refuse_repeated(paths: Iterable[str]) -> None:
    """Raise UserError where two paths are one file, also through links: its rows would count twice."""
    names: dict[tuple[int, int], str] = {}
    for path in paths:
        state = os.stat(path)
        identity = state.st_dev, state.st_ino
        if identity in names:
            first = names[identity]
            which = f"{path} is named twice" if path == first else f"{first} and {path} are one file"
            raise UserError(f"{which}, whose rows would count twice; name each file once.")
        names[identity] = path


def equal_files(paths: Sequence[str]) -> list[list[str]]:
    """Return the sets of files that have the same content; only files of equal size are read."""
    sets = [list(paths)]
    for property_of in (os.path.getsize, _head, lambda path: digest_of(Path(path))):
        sets = [part for files in sets for part in _divided(files, property_of)]
    return sets


def _divided(paths: Sequence[str], property_of: Callable[[str], Hashable]) -> list[list[str]]:
    """Return the sets of at least two paths that share a property."""
    sets: dict[Hashable, list[str]] = defaultdict(list)
    for path in paths if len(paths) > 1 else ():
        sets[property_of(path)].append(path)
    return [files for files in sets.values() if len(files) > 1]


def _head(path: str) -> bytes:
    with open(path, "rb") as file:
        return hashlib.sha256(file.read(_HEAD_BYTES)).digest()
