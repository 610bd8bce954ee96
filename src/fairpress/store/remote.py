"""A store at any address that fsspec supports, such as an S3 bucket, with one object per entry.

Remote file systems guarantee less than a local disk: a rename is a copy and a deletion, and there are no locks.
Therefore an entry is one object, a tar whose first member is the manifest. Object stores show an object completely or
not at all; where one does not, the digests reveal it on reading. Two hosts may compute the same result at the same
time; the second replaces the first, and a reader sees either. Processes of one host still exclude each other, with
locks in the cache folder.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from fairpress.core.cache import cache_folder
from fairpress.core.errors import UserError
from fairpress.store.local import DamagedEntry, Entry, ReadOnlyStore, Store, StoreBusyError
from fairpress.store.unknown_files import MANIFEST

HEAD_BYTES = 64 * 1024
EXTRAS = {
    **dict.fromkeys(("s3", "s3a"), "'fairpress[s3]'"),
    **dict.fromkeys(("gs", "gcs"), "'fairpress[gcs]'"),
}
PACKAGES = {"abfs": "adlfs", "az": "adlfs", "sftp": "paramiko"}


class RemoteStore(Store):
    """Entries below one address.

    Parameters
    ----------
    address
        Such as ``s3://bucket/folder``. Credentials are read where the file system looks for them (environment,
        configuration files), never from the address.

    Raises
    ------
    UserError
        The file system is unknown, or its package is not installed.
    """

    def __init__(self, address: str) -> None:
        self._address = address.rstrip("/")
        self._fs, self._root = _file_system(self._address)
        locks = hashlib.sha256(self._address.encode()).hexdigest()[:16]
        super().__init__(cache_folder() / "locks" / locks)

    @property
    def address(self) -> str:
        return self._address

    @property
    def read_only(self) -> bool:
        """Return False: whether an address can be written is known only after trying."""
        return False

    def has(self, key: str) -> bool:
        with self._translated_errors():
            return bool(self._fs.exists(self._object(key)))

    def meta(self, key: str) -> Mapping[str, Any] | None:
        with self._translated_errors():
            try:
                head = self._fs.cat_file(self._object(key), start=0, end=HEAD_BYTES)
            except FileNotFoundError:
                return None
        return _meta(head)

    def metas(self) -> Iterator[Mapping[str, Any]]:
        with self._translated_errors():
            objects = [self._object(key) for key in self.all_keys()]
            heads = self._fs.cat_ranges(objects, 0, HEAD_BYTES, on_error="return")
        for head in heads:
            meta = _meta(head) if isinstance(head, bytes) else None
            if meta is not None:
                yield meta

    def all_keys(self) -> list[str]:
        with self._translated_errors():
            self._fs.invalidate_cache()
            try:
                objects = self._fs.find(f"{self._root}/entries")
            except FileNotFoundError:
                return []
        return sorted(Path(name).stem for name in objects if name.endswith(".tar"))

    def get(self, key: str) -> Entry | None:
        entry = self._read(key)
        if entry == "damaged":
            warnings.warn(
                f"the stored result {key[:12]} is damaged; it is recomputed.", DamagedEntry, stacklevel=2
            )
            self.remove(key)
        return entry if isinstance(entry, Entry) else None

    def put(self, key: str, files: Mapping[str, bytes], meta: Mapping[str, Any]) -> Entry:
        entry = Entry(key, dict(files), dict(meta))
        with self._translated_errors():
            if not self._fs.exists(self._object(key)):
                try:
                    self._fs.makedirs(self._object(key).rpartition("/")[0], exist_ok=True)
                    self._fs.pipe_file(self._object(key), _pack(entry))
                except PermissionError as error:
                    raise ReadOnlyStore(
                        f"cannot write results to {self._address} ({error.strerror or error}); choose another `store=`, or "
                        "credentials with write permission. Finished results are kept."
                    ) from None
        return entry

    def remove(self, key: str) -> None:
        with self._translated_errors():
            try:
                self._fs.rm_file(self._object(key))
            except FileNotFoundError:
                return

    def sweep(self) -> int:
        """Return 0: objects are written atomically, so none can be incomplete."""
        return 0

    def _object(self, key: str) -> str:
        return f"{self._root}/entries/{key[:2]}/{key}.tar"

    def _read(self, key: str) -> Entry | Literal["damaged", "absent"]:
        with self._translated_errors():
            try:
                packed = self._fs.cat_file(self._object(key))
            except FileNotFoundError:
                return "absent"
        return _unpack(key, packed) or "damaged"

    @contextmanager
    def _translated_errors(self) -> Iterator[None]:
        """Turn the errors of a file system on permissions and connections into a UserError."""
        try:
            yield
        except (UserError, StoreBusyError, FileNotFoundError):
            raise
        except Exception as error:  # each file system raises exceptions of its own
            lines = str(error).strip().splitlines()
            raise UserError(
                f"cannot access the store {self._address} ({type(error).__name__}"
                f"{f': {lines[0][:200]}' if lines else ''}); check address, credentials and network. "
                "Finished results are kept."
            ) from None


def open_store(address: str | Path) -> Store:
    """Return the store at a folder, or at an address such as ``s3://bucket/folder``.

    Raises UserError for an address that contains a password, which could end up in logs, and for an unknown file system.
    """
    text = str(address)
    if "://" not in text:
        return Store(text)
    parts = urlsplit(text)
    if parts.password or parts.query or "@" in parts.path or "::" in text:
        raise UserError(
            "the address of the store contains credentials, options or a chain of file systems; remove them and configure "
            "them where the file system looks for them, such as AWS_ACCESS_KEY_ID and AWS_ENDPOINT_URL."
        )
    return Store(parts.path) if parts.scheme == "file" else RemoteStore(text)


def _file_system(address: str) -> tuple[Any, str]:
    scheme = address.partition("://")[0]
    try:
        import fsspec

        fs, root = fsspec.core.url_to_fs(address, use_listings_cache=False)
    except ImportError:
        packages = EXTRAS.get(scheme) or " ".join(
            dict.fromkeys(filter(None, ["fsspec", PACKAGES.get(scheme)]))
        )
        raise UserError(f"the store {address} needs `python -m pip install {packages}`.") from None
    except ValueError:
        raise UserError(
            f"cannot open the store {address}: the file system {scheme!r} is unknown; give a folder, or an address such as "
            "s3://bucket/folder."
        ) from None
    return fs, str(root).rstrip("/")


def _pack(entry: Entry) -> bytes:
    """Return an entry as a tar of the manifest, then the files."""
    manifest = {
        "key": entry.key,
        "files": {name: hashlib.sha256(data).hexdigest() for name, data in entry.files.items()},
        "meta": dict(entry.meta),
    }
    members = {MANIFEST: json.dumps(manifest, indent=1, sort_keys=True).encode(), **entry.files}
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w") as tar:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return sink.getvalue()


def _unpack(key: str, packed: bytes) -> Entry | None:
    """Return the entry in a tar; None if its content differs from its manifest."""
    try:
        with tarfile.open(fileobj=io.BytesIO(packed), mode="r:") as tar:
            members = {m.name: file.read() for m in tar.getmembers() if (file := tar.extractfile(m))}
        manifest = json.loads(members.pop(MANIFEST))
        intact = (
            manifest["key"] == key
            and set(members) == set(manifest["files"])
            and all(hashlib.sha256(d).hexdigest() == manifest["files"][n] for n, d in members.items())
        )
        return Entry(key, members, dict(manifest["meta"])) if intact else None
    except (tarfile.TarError, ValueError, KeyError, TypeError, AttributeError, OSError):
        return None


def _meta(head: bytes) -> Mapping[str, Any] | None:
    """Return the metadata from the beginning of a tar."""
    try:
        with tarfile.open(fileobj=io.BytesIO(head), mode="r|") as tar:
            first = tar.next()
            file = tar.extractfile(first) if first is not None and first.name == MANIFEST else None
            meta = json.loads(file.read())["meta"] if file is not None else None
    except (tarfile.TarError, ValueError, KeyError, TypeError, OSError):
        return None
    return meta if isinstance(meta, dict) else None
