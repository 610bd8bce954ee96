"""The sha256 of many files, each read once: the digest is cached as long as size and times do not change."""

from __future__ import annotations

import hashlib
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from fairpress.core.cache import cache_folder
from fairpress.core.files import unfit_kind
from fairpress.core.progress import OnMessage

Item = TypeVar("Item")
Result = TypeVar("Result")
FileStamp = tuple[int, int, int]

# Time stamps may be as coarse as two seconds (FAT): what changed so shortly before it was read may change again
# within the same stamp, so that it is read again next time.
SETTLED_NS = 2_500_000_000
CHUNK = 64
MAX_BYTES = 1 << 28
"""A larger file is not read: all of its bytes are in memory while it is decoded."""


def digests(
    folder: Path, names: Sequence[str], on_message: OnMessage
) -> tuple[list[str | None], dict[str, str]]:
    """Return each file's sha256, None where it cannot be read, and file → the reason for those.

    A digest is cached in the user's cache under size, time of modification and, where the system has one,
    time of change of status, which moves even when a tool sets the first back (``cp -p``, ``rsync -t``). A file
    that is written over in place without any of them moving would go unnoticed; on Windows, where the third is
    the time of creation, that is a tool that keeps the size and sets the time back.
    """
    cache_file = cache_folder() / "images" / "digests" / f"{_key(folder)}.parquet"
    cached = _read(cache_file)
    now = time.time_ns()
    file_digests: list[str | None] = []
    reasons: dict[str, str] = {}
    unknown: list[int] = []
    stamps: list[FileStamp | None] = []
    prefix = str(folder)  # joined as text: a Path for each of many files takes longer than stat
    for i, name in enumerate(names):
        try:
            stat = os.stat(os.path.join(prefix, name))
            unfit = unfit_kind(stat.st_mode)
            if unfit is None and stat.st_size > MAX_BYTES:
                unfit = f"larger than {MAX_BYTES >> 20} MiB"
            stamps.append(None if unfit else (stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns))
            if unfit:
                reasons[name] = unfit
        except (OSError, ValueError) as error:
            reasons[name] = _reason(error)
            stamps.append(None)
        entry = cached.get(name)
        file_digests.append(entry[1] if entry is not None and entry[0] == stamps[-1] else None)
        if file_digests[-1] is None and stamps[-1] is not None:
            unknown.append(i)
    if not unknown:
        return file_digests, reasons
    if len(unknown) > 1000:
        on_message(f"reading {len(unknown):,} files of {folder}, once")

    def read(chunk: Sequence[int]) -> list[str | OSError]:
        return [_sha256(os.path.join(prefix, names[i])) for i in chunk]

    chunks = [unknown[i : i + CHUNK] for i in range(0, len(unknown), CHUNK)]
    with ThreadPoolExecutor(workers()) as pool:
        for chunk, chunk_digests in zip(chunks, in_order(pool, read, chunks), strict=True):
            for i, digest in zip(chunk, chunk_digests, strict=True):
                stamp = stamps[i]
                if isinstance(digest, OSError):
                    reasons[names[i]] = _reason(digest)
                    continue
                file_digests[i] = digest
                if stamp is not None and max(stamp[1:]) < now - SETTLED_NS:
                    cached[names[i]] = (stamp, digest)
    _write(cache_file, cached)
    return file_digests, reasons


def workers() -> int:
    """Return how many threads read and decode: as many as this process has processors, eight at most."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return min(count or 1, 8)


def in_order(
    pool: Executor, function: Callable[[Item], Result], items: Iterable[Item], ahead: int = 32
) -> Iterator[Result]:
    """Yield function(item) in the order of the items, never more than `ahead` of them waiting in memory."""
    waiting: deque[Any] = deque()
    for item in items:
        waiting.append(pool.submit(function, item))
        if len(waiting) > ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _sha256(path: str) -> str | OSError:
    try:
        with open(path, "rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        return error


def _reason(error: OSError | ValueError) -> str:
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return "there is no such file"
    if isinstance(error, IsADirectoryError):
        return "a folder"
    return (getattr(error, "strerror", None) or str(error)).lower()


def _key(folder: Path) -> str:
    return hashlib.sha256(str(folder.resolve()).encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _read(cache_file: Path) -> dict[str, tuple[FileStamp, str]]:
    """Return the cached digests; none if the cache is damaged."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        columns = pq.read_table(cache_file, partitioning=None).to_pydict()
        stamps = zip(columns["bytes"], columns["modified_ns"], columns["changed_ns"], strict=True)
        return dict(zip(columns["name"], zip(stamps, columns["sha256"], strict=True), strict=True))
    except (OSError, KeyError, ValueError, pa.ArrowException):
        return {}


def _write(cache_file: Path, cached: dict[str, tuple[FileStamp, str]]) -> None:
    """Write the cache; if that fails, the files are read again next time, which is only slower."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    stamps = [stamp for stamp, _ in cached.values()]
    table = pa.table(
        {
            "name": pa.array(list(cached), pa.string()),
            **{
                name: pa.array([s[i] for s in stamps], pa.int64())
                for i, name in enumerate(("bytes", "modified_ns", "changed_ns"))
            },
            "sha256": pa.array([digest for _, digest in cached.values()], pa.string()),
        }
    )
    temporary = cache_file.with_name(f".{cache_file.name}.{os.getpid()}")
    try:
        cache_file.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, temporary)
        temporary.replace(cache_file)
    except OSError:
        with suppress(OSError):
            temporary.unlink()
