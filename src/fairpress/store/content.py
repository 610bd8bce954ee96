"""A content-addressed store: what was computed once, under the digest of everything it depends on.

An entry is a folder of files with a manifest of their sha256. It is written to a temporary folder,
synced to disk and renamed, so that it exists completely or not at all; it is checked when read, and a
damaged one is removed with a warning, to be made again. Two processes may use one store at a time.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fairpress.core.errors import UserError

MANIFEST = "entry.json"


class DamagedEntry(UserWarning):
    """An entry's files are not what was written; it is made again."""


@dataclass(frozen=True)
class Entry:
    """A complete entry: file name → bytes, and the metadata it was put with."""

    key: str
    files: Mapping[str, bytes]
    meta: Mapping[str, Any]


class Store:
    """Entries below one folder.

    Parameters
    ----------
    root
        The folder; made when the first entry is written.
    """

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = Path(root)

    def path(self, key: str) -> Path:
        """Return the folder of an entry, whether it exists or not."""
        return self.root / "entries" / key[:2] / key

    def has(self, key: str) -> bool:
        """Tell whether an entry is there; its content is checked only by `get`."""
        return (self.path(key) / MANIFEST).is_file()

    def get(self, key: str) -> Entry | None:
        """Return an entry, or None when there is none or when it was damaged (and is now removed)."""
        folder = self.path(key)
        try:
            manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
            files = {name: (folder / name).read_bytes() for name in manifest["files"]}
            good = manifest["key"] == key and all(
                hashlib.sha256(data).hexdigest() == manifest["files"][name] for name, data in files.items()
            )
        except FileNotFoundError:
            if not folder.exists():
                return None
            good = False
        except (ValueError, KeyError, TypeError, AttributeError, OSError):
            good = False
        if not good:
            warnings.warn(
                f"the stored result {key[:12]} is damaged; it is made again.", DamagedEntry, stacklevel=2
            )
            self.remove(key)
            return None
        return Entry(key, files, manifest["meta"])

    def put(self, key: str, files: Mapping[str, bytes], meta: Mapping[str, Any]) -> Entry:
        """Write an entry and return it; an entry that is there already stays as it is.

        Raises UserError when the folder cannot be written (not allowed, disk full).
        """
        target = self.path(key)
        temporary: Path | None = None
        try:
            scratch = self.root / "unfinished"
            scratch.mkdir(parents=True, exist_ok=True)
            target.parent.mkdir(parents=True, exist_ok=True)
            temporary = Path(tempfile.mkdtemp(prefix=f"{key[:12]}.", dir=scratch))
            for name, data in files.items():
                _write_synced(temporary / name, data)
            manifest = {
                "key": key,
                "files": {name: hashlib.sha256(data).hexdigest() for name, data in files.items()},
                "meta": dict(meta),
            }
            _write_synced(temporary / MANIFEST, json.dumps(manifest, indent=1, sort_keys=True).encode())
            try:
                temporary.rename(target)
            except OSError:
                if not self.has(key):
                    raise
                # Another process finished the same entry first; equal keys mean equal content.
                shutil.rmtree(temporary, ignore_errors=True)
            _sync_folder(target.parent)
        except OSError as error:
            if temporary is not None:
                shutil.rmtree(temporary, ignore_errors=True)
            raise UserError(
                f"cannot write results to {self.root} ({error.strerror or error}); "
                "free some space or choose another --store. What was finished stays."
            ) from None
        return Entry(key, dict(files), dict(meta))

    def remove(self, key: str) -> None:
        """Delete an entry; nothing happens when there is none."""
        shutil.rmtree(self.path(key), ignore_errors=True)

    @contextmanager
    def lock(self, key: str) -> Iterator[None]:
        """Hold the entry's lock, so that two processes do not compute the same result at a time."""
        from filelock import FileLock

        folder = self.root / "locks"
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"cannot write results to {self.root} ({error.strerror or error}).") from None
        with FileLock(folder / f"{key}.lock"):
            yield


def _write_synced(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(path: Path) -> None:
    """Make a rename last through a power cut; not every system can open a folder."""
    if os.name == "nt":
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
