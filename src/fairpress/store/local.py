"""A content-addressed store on disk: results under the digest of everything they depend on.

An entry is a folder of files with a manifest of their sha256 digests. It is written under a temporary name, synced to
disk and renamed; before it is deleted it is renamed again, so that a reader sees a complete entry or none. Digests are
checked when an entry is read; a damaged entry is removed with a warning and recomputed. Several processes may share a
store: a process that writes or removes an entry holds its lock, which the operating system releases when the process is
killed. A read-only store is read without locks.
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
    """The files of an entry differ from its manifest; the result is recomputed."""


class StoreBusyError(Exception):
    """Another process holds the lock."""


class ReadOnlyStore(UserError):
    """A result cannot be written because the store is read-only."""


@dataclass(frozen=True)
class Entry:
    """A complete entry: file name → bytes, and the metadata it was stored with."""

    key: str
    files: Mapping[str, bytes]
    meta: Mapping[str, Any]


class Store:
    """Entries below one folder.

    Parameters
    ----------
    root
        The folder; created when the first entry is written.
    """

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = Path(root)

    @property
    def address(self) -> str:
        """Return the address with which `open_store` opens this store."""
        return str(self.root.absolute())

    @property
    def read_only(self) -> bool:
        """Return whether the folder exists and is not writable, such as on a read-only mount."""
        return self.root.is_dir() and not os.access(self.root, os.W_OK | os.X_OK)

    def path(self, key: str) -> Path:
        """Return the folder of an entry, whether it exists or not."""
        return self.root / "entries" / key[:2] / key

    def has(self, key: str) -> bool:
        """Return whether an entry exists; only `get` and `state` check its content."""
        return (self.path(key) / MANIFEST).is_file()

    def state(self, key: str) -> State:
        """Return whether an entry is complete, damaged or absent, without changing it."""
        entry = self._read(key)
        return "complete" if isinstance(entry, Entry) else entry

    def meta(self, key: str) -> Mapping[str, Any] | None:
        """Return the metadata an entry was stored with; None if it cannot be read."""
        try:
            meta = json.loads((self.path(key) / MANIFEST).read_text(encoding="utf-8"))["meta"]
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return meta if isinstance(meta, dict) else None

    def metas(self) -> Iterator[Mapping[str, Any]]:
        """Return the metadata of all entries."""
        return (meta for key in self.all_keys() if (meta := self.meta(key)) is not None)

    def all_keys(self) -> list[str]:
        """Return the keys of all entries, including damaged ones."""
        return sorted(folder.name for folder in (self.root / "entries").glob("??/*"))

    def get(self, key: str) -> Entry | None:
        """Return an entry; None if it is absent or damaged. A damaged entry is removed if possible."""
        entry = self._read(key)
        if entry != "damaged":
            return entry if isinstance(entry, Entry) else None
        # Another process may have renamed it during the read: check and remove only under the lock.
        try:
            with self.lock(key, wait=False):
                entry = self._read(key)
                if entry == "damaged":
                    self._warn_of_damage(key)
                    with contextlib.suppress(ReadOnlyStore):
                        self._discard(key)
        except StoreBusyError:
            return None  # another process is writing it
        return entry if isinstance(entry, Entry) else None

    def put(self, key: str, files: Mapping[str, bytes], meta: Mapping[str, Any]) -> Entry:
        """Write an entry and return it; an existing entry is left unchanged.

        Raises UserError when writing fails (such as on a full disk), `ReadOnlyStore` when the store is read-only.
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
        """Store an entry that is cheap to recompute; a read-only store skips it."""
        with contextlib.suppress(ReadOnlyStore):
            self.put(key, files, meta)

    def remove(self, key: str) -> None:
        """Delete an entry if it exists."""
        with self.lock(key):
            self._discard(key)

    def sweep(self) -> int:
        """Delete incomplete entries of killed processes and return their number; entries being written are kept.

        A writer holds the lock of its entry from the first file until after the rename, so an entry that can be locked
        has no writer.
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
        """Hold the lock of an entry, so that two processes do not compute the same result at the same time.

        The lock is reentrant within a thread. A read-only store needs no lock. Raises `StoreBusyError` when another
        process holds the lock and `wait` is false; UserError when the folder cannot be written.
        """
        from filelock import FileLock, Timeout

        path = self.root / "locks" / f"{key}.lock"
        # One lock object per path makes the lock reentrant.
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
        consequence = "; it is recomputed" if not self.read_only else ""
        cause = ""
        if unknown and not self.read_only:
            cause = f": {', '.join(unknown[:3])} in it was not written by fairpress and is moved to {self.root / UNKNOWN}"
        elif unknown:
            cause = f": {', '.join(unknown[:3])} in it was not written by fairpress"
        warnings.warn(
            f"the stored result {key[:12]} is damaged{cause}{consequence}.", DamagedEntry, stacklevel=3
        )

    def _scratch(self, key: str) -> Path:
        return self.root / "unfinished" / key

    def _discard(self, key: str) -> None:
        """Rename an entry away, then delete its files; the caller holds the lock."""
        folder, removed = self.path(key), self.root / "unfinished" / f"{key}.removed"
        shutil.rmtree(removed, ignore_errors=True)
        try:
            removed.parent.mkdir(parents=True, exist_ok=True)
            for name in unknown_files(folder, listed_files(folder)):  # never delete files of the user
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
            "free some space or choose another `store=`. Finished results are kept."
        )
