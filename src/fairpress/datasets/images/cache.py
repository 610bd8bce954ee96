"""Images decoded once, in parallel, into one memory-mapped file of pixels in the user's cache folder.

An entry's key is the content of the files in their order, the size in pixels, and what decodes them; so a file
that changes, a new size or a new Pillow make a new entry, and moving the folder does not. An entry is written
beside its place and renamed, its checksums are those of the file when it is read, and a damaged one is made again.
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
from fairpress.datasets.download.sources import DamagedFile, Say
from fairpress.datasets.images.decode import UnreadableImageError, decode, identity
from fairpress.datasets.images.files import CHUNK, digests, in_order, workers

PIXELS, ENTRY = "pixels.u8", "entry.json"
BLOCK = 1 << 24
# Above this, checksums are read again only when the file's size or time are not those of its writing.
CHECKED = 1 << 30
SAY_SECONDS = 10.0


@dataclass(frozen=True)
class Pixels:
    """Decoded images.

    Attributes
    ----------
    array
        uint8 [images, 3, size, size], memory-mapped copy-on-write: nothing is read before it is used, and nothing
        that is written to it reaches the disk.
    rows
        int64 [images], which of the asked-for files each is; those that cannot be read are left out.
    digests
        str [images], sha256 of each file.
    unreadable
        File → the reason, in the order asked for.
    """

    array: np.ndarray
    rows: np.ndarray
    digests: np.ndarray
    unreadable: Mapping[str, str] = field(default_factory=dict)

    # As `datasets.build` takes inputs; images have no columns.
    names = columns = ()

    @property
    def raw(self) -> Mapping[str, np.ndarray]:
        return {}

    def matrix(self) -> np.ndarray:
        """Return the pixels."""
        return self.array

    @property
    def content(self) -> bytes:
        """What stands for the pixels in a fingerprint: the files' digests, the same for every decoder."""
        return "\n".join(self.digests.tolist()).encode()


def decode_all(folder: Path, names: Sequence[str], size: int, say: Say) -> Pixels:
    """Return the pixels of images, from the cache where they are there.

    Parameters
    ----------
    folder, names
        The files are ``folder / name``; the names are asked for once each.
    size
        Side of the square, pixels.

    Raises
    ------
    UserError
        The cache cannot be written.
    """
    found, reasons = digests(folder, names, say)
    present = [i for i, digest in enumerate(found) if digest is not None]
    content = [str(found[i]) for i in present]
    key = digest_of({"size": size, "made_by": identity(), "files": content})
    place = cache_folder() / "images" / key[:2] / key
    entry = _entry(place, key)
    if entry is None:
        paths = [os.path.join(folder, names[i]) for i in present]
        entry = _make(place, key, paths, content, size, say)
    broken: dict[int, str] = {present[int(i)]: reason for i, reason in entry["unreadable"].items()}
    rows = np.array([i for i in present if i not in broken], dtype=np.int64)
    reasons |= {names[i]: reason for i, reason in broken.items()}
    shape = (len(rows), 3, size, size)
    array = (
        np.memmap(place / PIXELS, dtype=np.uint8, mode="c", shape=shape)
        if len(rows)
        else np.empty(shape, np.uint8)
    )
    return Pixels(
        array,
        rows,
        np.array([str(found[i]) for i in rows.tolist()], dtype=np.str_),
        {name: reasons[name] for name in names if name in reasons},
    )


def _make(
    place: Path, key: str, files: Sequence[str], content: Sequence[str], size: int, say: Say
) -> Mapping[str, Any]:
    """Decode the files into an entry and return what it says of itself; one process at a time."""
    from filelock import FileLock

    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(place.with_name(f"{key}.lock")):
            entry = _entry(place, key)  # somebody may have made it while we waited
            if entry is None:
                scratch = place.with_name(f"{key}.part")
                shutil.rmtree(scratch, ignore_errors=True)  # of a run that was killed
                scratch.mkdir()
                try:
                    entry = _decode(scratch, key, files, content, size, say)
                    shutil.rmtree(place, ignore_errors=True)
                    scratch.rename(place)
                finally:
                    shutil.rmtree(scratch, ignore_errors=True)
            return entry
    except OSError as error:
        raise UserError(
            f"cannot write decoded images into {place.parent} ({error.strerror or error}); they need "
            f"{len(files) * 3 * size**2 / 1e9:.1f} GB: free some space, or set FAIRPRESS_CACHE to another folder."
        ) from None


def _decode(
    scratch: Path, key: str, files: Sequence[str], content: Sequence[str], size: int, say: Say
) -> Mapping[str, Any]:
    say(f"decoding {len(files):,} images to {size} × {size} pixels, once")
    unreadable: dict[int, str] = {}
    checksums = _Checksums()
    told, done = time.monotonic(), 0

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
            if time.monotonic() - told > SAY_SECONDS:
                told = time.monotonic()
                say(f"decoded {done:,} of {len(files):,}")
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
    """Return one file's pixels, or why there are none."""
    with open(path, "rb") as file:
        data = file.read()
    if hashlib.sha256(data).hexdigest() != digest:
        raise UserError(f"{path} is being changed while it is read; wait until it is whole and try again.")
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
            piece = view[: BLOCK - self.filled]
            self.current = zlib.crc32(piece, self.current)
            self.filled += len(piece)
            view = view[len(piece) :]
            if self.filled == BLOCK:
                self.blocks.append(self.current)
                self.current = self.filled = 0

    def finish(self) -> list[int]:
        return [*self.blocks, self.current] if self.filled else self.blocks


def _entry(place: Path, key: str) -> Mapping[str, Any] | None:
    """Return what an entry says of itself, None where there is none; warn where it is damaged."""
    if not place.exists():
        return None
    try:
        entry: Mapping[str, Any] = read_json(place / ENTRY, "an entry of the cache")
        stat = (place / PIXELS).stat()
        good = entry["key"] == key and entry["bytes"] == stat.st_size
        if good and (stat.st_size <= CHECKED or entry["modified_ns"] != stat.st_mtime_ns):
            good = entry["crc32"] == _checksums(place / PIXELS)
    except (UserError, ValueError, KeyError, TypeError, OSError):
        good = False
    if good:
        return entry
    warnings.warn(
        f"the decoded images in {place} are damaged; they are made again.", DamagedFile, stacklevel=3
    )
    return None


def _checksums(path: Path) -> list[int]:
    size = path.stat().st_size

    def one(start: int) -> int:
        with path.open("rb") as file:
            file.seek(start)
            return zlib.crc32(file.read(BLOCK))

    with ThreadPoolExecutor(workers()) as pool:
        return list(pool.map(one, range(0, size, BLOCK)))
