"""A content-addressed store: what was computed once, under the digest of everything it depends on.

An entry is a folder of files with a manifest of their sha256. It is written under another name, synced to
disk and renamed, and it is renamed away before it is deleted, so that a reader finds it whole or not at all; it
is checked when read. A damaged one is removed with a warning, to be made again. Several processes may use one store at
a time: who writes or removes an entry holds its lock, which the system takes back when a process is killed. A store that
cannot be written is read without locks.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from fairpress.core.errors import UserError
from fairpress.store.durable import sync_folder, write_synced
from fairpress.store.unknown_files import MANIFEST, UNKNOWN, free_path, listed_files, unknown_files

State = Literal["complete", "damaged", "absent"]


class DamagedEntry(UserWarning):
    """An entry's files are not what was written; it is made again."""


class StoreBusyError(Exception):
    """Another process holds the lock."""


class ReadOnlyStore(UserError):
    """A result was to be written to a store that can only be read."""


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

    @property
    def address(self) -> str:
        """Return what `open_store` takes to open this store again."""
        return str(self.root.absolute())

    @property
    def read_only(self) -> bool:
        """Tell whether the folder is there and cannot be written, such as on a read-only mount."""
        return self.root.is_dir() and not os.access(self.root, os.W_OK | os.X_OK)

    def path(self, key: str) -> Path:
        """Return the folder of an entry, whether it exists or not."""
        return self.root / "entries" / key[:2] / key

    def has(self, key: str) -> bool:
        """Tell whether an entry is there; its content is checked only by `get` and `state`."""
        return (self.path(key) / MANIFEST).is_file()

    def state(self, key: str) -> State:
        """Tell whether an entry is there and undamaged; nothing is changed."""
        entry = self._read(key)
        return "complete" if isinstance(entry, Entry) else entry

    def meta(self, key: str) -> Mapping[str, Any] | None:
        """Return the metadata an entry was put with, None when there is none that can be read."""
        try:
            meta = json.loads((self.path(key) / MANIFEST).read_text(encoding="utf-8"))["meta"]
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return meta if isinstance(meta, dict) else None

    def metas(self) -> Iterator[Mapping[str, Any]]:
        """Return the metadata of all entries."""
        return (meta for key in self.all_keys() if (meta := self.meta(key)) is not None)

    def all_keys(self) -> list[str]:
        """Return the keys of all entries, damaged ones too."""
        return sorted(folder.name for folder in (self.root / "entries").glob("??/*"))

    def get(self, key: str) -> Entry | None:
        """Return an entry, or None when there is none or when it was damaged (and is now removed, if possible)."""
        entry = self._read(key)
        if entry != "damaged":
            return entry if isinstance(entry, Entry) else None
        # It may have been renamed away while it was read. Only who holds the lock can tell, and may remove.
        try:
            with self.lock(key, wait=False):
                entry = self._read(key)
                if entry == "damaged":
                    self._warn_of_damage(key)
                    with contextlib.suppress(ReadOnlyStore):
                        self._discard(key)
        except StoreBusyError:
            return None  # somebody is making it
        return entry if isinstance(entry, Entry) else None

    def put(self, key: str, files: Mapping[str, bytes], meta: Mapping[str, Any]) -> Entry:
        """Write an entry and return it; an entry that is there already stays as it is.

        Raises UserError when the folder cannot be written (disk full), `ReadOnlyStore` when that is not allowed.
        """
        entry = Entry(key, dict(files), dict(meta))
        with self.lock(key):
            temporary = self._scratch(key)
            try:
                if self.has(key):
                    return entry
                if self.path(key).exists():
                    self._discard(key)
                shutil.rmtree(temporary, ignore_errors=True)
                temporary.mkdir(parents=True)
                manifest = {
                    "key": key,
                    "files": {name: hashlib.sha256(data).hexdigest() for name, data in files.items()},
                    "meta": dict(meta),
                }
                manifest_bytes = json.dumps(manifest, indent=1, sort_keys=True).encode()
                write_synced(temporary, {**files, MANIFEST: manifest_bytes})
                self.path(key).parent.mkdir(parents=True, exist_ok=True)
                temporary.rename(self.path(key))
                sync_folder(self.path(key).parent)
            except OSError as error:
                shutil.rmtree(temporary, ignore_errors=True)
                raise self._unwritable(error) from None
        return entry

    def remember(self, key: str, files: Mapping[str, bytes], meta: Mapping[str, Any]) -> None:
        """Put an entry that costs little to make again; a store that can only be read goes without it."""
        with contextlib.suppress(ReadOnlyStore):
            self.put(key, files, meta)

    def remove(self, key: str) -> None:
        """Delete an entry; nothing happens when there is none."""
        with self.lock(key):
            self._discard(key)

    def sweep(self) -> int:
        """Delete what killed processes left half-written and return how much; what is being written stays.

        A writer holds its entry's lock from before the first file to after the rename, so what can be locked has no
        writer any more.
        """
        count = 0
        for folder in list((self.root / "unfinished").glob("*")):
            try:
                with self.lock(folder.name.partition(".")[0], wait=False):
                    shutil.rmtree(folder, ignore_errors=True)
                    count += 1
            except (StoreBusyError, UserError):
                continue
        return count

    @contextmanager
    def lock(self, key: str, *, wait: bool = True) -> Iterator[None]:
        """Hold the entry's lock, so that two processes do not make the same result at a time.

        A thread may take a lock that it holds. In a store that can only be read there is nothing to lock. Raises Busy when
        it is held elsewhere and `wait` is false; UserError when the folder cannot be written.
        """
        from filelock import FileLock, Timeout

        path = self.root / "locks" / f"{key}.lock"
        # One object a path: the same thread may then enter twice.
        lock = FileLock(path, is_singleton=True)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            lock.acquire(timeout=-1 if wait else 0, poll_interval=0.02)
        except Timeout:
            raise StoreBusyError(key) from None
        except OSError as error:
            if not self.read_only:
                raise self._unwritable(error) from None
            yield
            return
        try:
            yield
        finally:
            lock.release()

    def _read(self, key: str) -> Entry | Literal["damaged", "absent"]:
        folder = self.path(key)
        try:
            present = {path.name for path in folder.iterdir() if path.is_file() and not path.is_symlink()}
            manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
            if not present.issuperset(manifest["files"]) or unknown_files(folder, manifest["files"]):
                return "damaged"
            files = {name: (folder / name).read_bytes() for name in manifest["files"]}
            intact = manifest["key"] == key and all(
                hashlib.sha256(data).hexdigest() == manifest["files"][name] for name, data in files.items()
            )
            return Entry(key, files, dict(manifest["meta"])) if intact else "damaged"
        except FileNotFoundError:
            return "damaged" if folder.exists() else "absent"
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OSError):
            return "damaged"

    def _warn_of_damage(self, key: str) -> None:
        folder = self.path(key)
        unknown = unknown_files(folder, listed_files(folder))
        consequence = "; it is made again" if not self.read_only else ""
        cause = ""
        if unknown and not self.read_only:
            cause = f": {', '.join(unknown[:3])} in it was not written by fairpress, and is moved to {self.root / UNKNOWN}"
        elif unknown:
            cause = f": {', '.join(unknown[:3])} in it was not written by fairpress"
        warnings.warn(
            f"the stored result {key[:12]} is damaged{cause}{consequence}.", DamagedEntry, stacklevel=3
        )

    def _scratch(self, key: str) -> Path:
        return self.root / "unfinished" / key

    def _discard(self, key: str) -> None:
        """Take an entry away at once, then delete its files; the lock is held."""
        folder, removed = self.path(key), self.root / "unfinished" / f"{key}.removed"
        shutil.rmtree(removed, ignore_errors=True)
        try:
            removed.parent.mkdir(parents=True, exist_ok=True)
            for name in unknown_files(
                folder, listed_files(folder)
            ):  # a file of somebody's, which is not ours to delete
                unknown_folder = self.root / UNKNOWN / key
                unknown_folder.mkdir(parents=True, exist_ok=True)
                (folder / name).rename(free_path(unknown_folder, name))
            folder.rename(removed)
        except FileNotFoundError:
            return
        except OSError as error:
            raise self._unwritable(error) from None
        shutil.rmtree(removed, ignore_errors=True)

    def _unwritable(self, error: OSError) -> UserError:
        kind = ReadOnlyStore if self.read_only else UserError
        return kind(
            f"cannot write results to {self.root} ({error.strerror or error}); "
            "free some space or choose another --store. What was finished stays."
        )
