"""Images decoded once, in parallel, into one memory-mapped file of pixels in the user's cache folder.

An entry's key is the content of the files in their order, the size in pixels, and what decodes them; so a file
that changes, a new size or a new Pillow make a new entry, and moving the folder does not. An entry is written
under a temporary name and renamed, its checksums are verified when it is read, and a damaged one is rebuilt.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
import warnings
import zlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from fairpress.core.cache import cache_folder
from fairpress.core.canonical_json import digest as digest_of
from fairpress.core.errors import UserError
from fairpress.core.json_file import read_json
from fairpress.core.progress import OnMessage
from fairpress.datasets.download.sources import DamagedFile
from fairpress.datasets.images.decode import UnreadableImageError, decode, identity
from fairpress.datasets.images.files import CHUNK, digests, in_order, workers

PIXELS, ENTRY = "pixels.u8", "entry.json"
BLOCK_BYTES = 1 << 24
# Above this, checksums are read again only when the file's size or time are not those of its writing.
MAX_CHECKED_BYTES = 1 << 30
MESSAGE_SECONDS = 10.0


@dataclass(frozen=True)
class Pixels:
    """Decoded images.

    Attributes
    ----------
    array
        uint8 [images, 3, size, size], memory-mapped copy-on-write: nothing is read before it is used, and nothing
        that is written to it reaches the disk.
    rows
        int64 [images], the index of each image among the requested files; unreadable files are left out.
    digests
        str [images], sha256 of each file.
    unreadable
        File → the reason, in the requested order.
    """

    array: np.ndarray
    rows: np.ndarray
    digests: np.ndarray
    unreadable: Mapping[str, str] = field(default_factory=dict)

    # Part of the protocol `assemble.Inputs`; images have no columns.
    names = columns = ()

    @property
    def raw(self) -> Mapping[str, np.ndarray]:
        return {}

    def matrix(self) -> np.ndarray:
        """Return the pixels."""
        return self.array

    @property
    def content(self) -> bytes:
        """The content for the fingerprint: the files' digests, which do not depend on the decoder."""
        return "\n".join(self.digests.tolist()).encode()


def decode_all(folder: Path, names: Sequence[str], size: int, on_message: OnMessage) -> Pixels:
    """Return the pixels of images, from the cache if possible.

    Parameters
    ----------
    folder, names
        The files are ``folder / name``; each name occurs once.
    size
        Side of the square, pixels.

    Raises
    ------
    UserError
        The cache cannot be written.
    """
    file_digests, reasons = digests(folder, names, on_message)
    present = [i for i, digest in enumerate(file_digests) if digest is not None]
    content = [str(file_digests[i]) for i in present]
    key = digest_of({"size": size, "made_by": identity(), "files": content})
    entry_folder = cache_folder() / "images" / key[:2] / key
    entry = _entry(entry_folder, key)
    if entry is None:
        paths = [os.path.join(folder, names[i]) for i in present]
        entry = _create_entry(entry_folder, key, paths, content, size, on_message)
    broken: dict[int, str] = {present[int(i)]: reason for i, reason in entry["unreadable"].items()}
    rows = np.array([i for i in present if i not in broken], dtype=np.int64)
    reasons |= {names[i]: reason for i, reason in broken.items()}
    shape = (len(rows), 3, size, size)
    array = (
        np.memmap(entry_folder / PIXELS, dtype=np.uint8, mode="c", shape=shape)
        if len(rows)
        else np.empty(shape, np.uint8)
    )
    return Pixels(
        array,
        rows,
        np.array([str(file_digests[i]) for i in rows.tolist()], dtype=np.str_),
        {name: reasons[name] for name in names if name in reasons},
    )


def _create_entry(
    entry_folder: Path,
    key: str,
    files: Sequence[str],
    content: Sequence[str],
    size: int,
    on_message: OnMessage,
) -> Mapping[str, Any]:
    """Decode the files into an entry and return its metadata; one process at a time."""
    from filelock import FileLock

    try:
        entry_folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(entry_folder.with_name(f"{key}.lock")):
            entry = _entry(entry_folder, key)  # another process may have written it while this one waited
            if entry is None:
                scratch = entry_folder.with_name(f"{key}.part")
                shutil.rmtree(scratch, ignore_errors=True)  # of a run that was killed
                scratch.mkdir()
                try:
                    entry = _decode(scratch, key, files, content, size, on_message)
                    shutil.rmtree(entry_folder, ignore_errors=True)
                    scratch.rename(entry_folder)
                finally:
                    shutil.rmtree(scratch, ignore_errors=True)
            return entry
    except OSError as error:
        raise UserError(
            f"cannot write decoded images into {entry_folder.parent} ({error.strerror or error}); they need "
            f"{len(files) * 3 * size**2 / 1e9:.1f} GB: free some space, or set FAIRPRESS_CACHE to another folder."
        ) from None


def _decode(
    scratch: Path, key: str, files: Sequence[str], content: Sequence[str], size: int, on_message: OnMessage
) -> Mapping[str, Any]:
    on_message(f"decoding {len(files):,} images to {size} × {size} pixels, once")
    unreadable: dict[int, str] = {}
    checksums = _Checksums()
    last_message, done = time.monotonic(), 0

    def work(indices: range) -> list[np.ndarray | str]:
        return [_one(files[i], content[i], size) for i in indices]

    chunks = [range(i, min(i + CHUNK, len(files))) for i in range(0, len(files), CHUNK)]
    with (
        warnings.catch_warnings(),
        ThreadPoolExecutor(workers()) as pool,
        (scratch / PIXELS).open("wb") as out,
    ):
        # Pillow remarks on EXIF data and palettes; whether an image is readable must not depend on filters.
        warnings.filterwarnings("ignore", module=r"PIL\b")
        for chunk, images in zip(chunks, in_order(pool, work, chunks), strict=True):
            for i, image in zip(chunk, images, strict=True):
                if isinstance(image, str):
                    unreadable[i] = image
                else:
                    data = image.tobytes()
                    out.write(data)
                    checksums.add(data)
            done += len(chunk)
            if time.monotonic() - last_message > MESSAGE_SECONDS:
                last_message = time.monotonic()
                on_message(f"decoded {done:,} of {len(files):,}")
        out.flush()
        os.fsync(out.fileno())
    stat = (scratch / PIXELS).stat()
    entry = {
        "key": key,
        "bytes": stat.st_size,
        "modified_ns": stat.st_mtime_ns,
        "crc32": checksums.finish(),
        "unreadable": unreadable,
    }
    (scratch / ENTRY).write_text(json.dumps(entry), encoding="utf-8")
    return entry


def _one(path: str, digest: str, size: int) -> np.ndarray | str:
    """Return one file's pixels, or the reason why there are none."""
    with open(path, "rb") as file:
        data = file.read()
    if hashlib.sha256(data).hexdigest() != digest:
        raise UserError(f"{path} is changing while it is read; wait until it is complete and try again.")
    try:
        return decode(data, size)
    except UnreadableImageError as reason:
        return str(reason)


class _Checksums:
    """CRC-32 of each block of bytes, as they come."""

    def __init__(self) -> None:
        self.blocks: list[int] = []
        self.current = self.filled = 0

    def add(self, data: bytes) -> None:
        view = memoryview(data)
        while len(view):
            piece = view[: BLOCK_BYTES - self.filled]
            self.current = zlib.crc32(piece, self.current)
            self.filled += len(piece)
            view = view[len(piece) :]
            if self.filled == BLOCK_BYTES:
                self.blocks.append(self.current)
                self.current = self.filled = 0

    def finish(self) -> list[int]:
        return [*self.blocks, self.current] if self.filled else self.blocks


def _entry(entry_folder: Path, key: str) -> Mapping[str, Any] | None:
    """Return the metadata of an entry, None if there is none; warn if it is damaged."""
    if not entry_folder.exists():
        return None
    try:
        entry: Mapping[str, Any] = read_json(entry_folder / ENTRY, "an entry of the cache")
        stat = (entry_folder / PIXELS).stat()
        valid = entry["key"] == key and entry["bytes"] == stat.st_size
        if valid and (stat.st_size <= MAX_CHECKED_BYTES or entry["modified_ns"] != stat.st_mtime_ns):
            valid = entry["crc32"] == _checksums(entry_folder / PIXELS)
    except (UserError, ValueError, KeyError, TypeError, OSError):
        valid = False
    if valid:
        return entry
    warnings.warn(
        f"the decoded images in {entry_folder} are damaged and will be decoded again.",
        DamagedFile,
        stacklevel=3,
    )
    return None


def _checksums(path: Path) -> list[int]:
    size = path.stat().st_size

    def one(start: int) -> int:
        with path.open("rb") as file:
            file.seek(start)
            return zlib.crc32(file.read(BLOCK_BYTES))

    with ThreadPoolExecutor(workers()) as pool:
        return list(pool.map(one, range(0, size, BLOCK_BYTES)))
