"""Find pictures that may not be redistributed: a folder of the user, or a zip file in it, unpacked once."""

from __future__ import annotations

import hashlib
import lzma
import os
import shutil
import struct
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from fairpress.core.cache import cache_folder
from fairpress.core.errors import UserError
from fairpress.core.files import require_regular
from fairpress.core.progress import OnMessage

_MAX_UNPACKED_BYTES, _MAX_RATIO, _MAX_MEMBERS = 2**30, 20, 2_000_000
"""Limits of an archive of images: unpacked bytes (together with the ratio to its size) and number of files."""


def find_folder(title: str, name: str, folder: str | None, instructions: str) -> Path:
    """Return the folder of a dataset: the one the user named, or `name` in FAIRPRESS_DATA or in the cache.

    Raises
    ------
    UserError
        There is none; the message contains the `instructions`.
    """
    shared = os.environ.get("FAIRPRESS_DATA")
    usual = [p / name for p in ([Path(shared).expanduser()] if shared else []) + [cache_folder()]]
    candidates = [Path(folder).expanduser()] if folder else usual
    for candidate in candidates:
        if candidate.is_dir():
            return candidate
    searched = ", ".join(str(p) for p in candidates)
    raise UserError(
        f"{title} is not on this machine (looked for {searched}). It may not be redistributed, so fairpress does not "
        f"fetch it: {instructions}, and set FAIRPRESS_DATA to the folder that holds {name}."
    )


def unpacked(archive: Path, on_message: OnMessage) -> Path:
    """Return a folder in the cache with the content of a zip file, unpacked at first use.

    The archive is identified by path, size and time. Raises UserError for a file that is not a complete zip.
    """
    from filelock import FileLock

    require_regular(archive)
    stat = archive.stat()
    facts = f"{archive.resolve()}/{stat.st_size}/{stat.st_mtime_ns}"
    target = cache_folder() / "images" / "unpacked" / hashlib.sha256(facts.encode()).hexdigest()[:32]
    if target.is_dir():
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(target.with_name(f"{target.name}.lock")):
            if not target.is_dir():
                on_message(f"unpacking {archive}, once")
                scratch = target.with_name(f"{target.name}.part")
                shutil.rmtree(scratch, ignore_errors=True)
                try:
                    with zipfile.ZipFile(archive) as content:
                        _refuse_hostile(archive, content, target.parent)
                        content.extractall(scratch)
                    scratch.rename(target)
                finally:
                    shutil.rmtree(scratch, ignore_errors=True)
    except (zipfile.BadZipFile, EOFError, zlib.error, lzma.LZMAError, ValueError, struct.error) as error:
        raise UserError(f"{archive} is not a complete zip file ({error}); get it again.") from None
    except RuntimeError as error:  # a password, or a compression method that Python does not support
        raise UserError(
            f"cannot unpack {archive} ({error}); unpack it by hand into the same folder."
        ) from None
    except OSError as error:
        raise UserError(f"cannot unpack {archive}: {error.strerror or error}.") from None
    return target


def _refuse_hostile(archive: Path, content: zipfile.ZipFile, folder: Path) -> None:
    """Raise UserError for an archive whose files would lie outside its folder, or that expands more than images do."""
    members = content.infolist()
    for member in members:
        name = PurePosixPath(member.filename.replace("\\", "/"))
        if name.is_absolute() or ".." in name.parts or ":" in "".join(name.parts[:1]):
            raise UserError(
                f"{archive} contains a file {member.filename!r}, which would be written outside its folder; get it again."
            )
    size, total = archive.stat().st_size, sum(member.file_size for member in members)
    if len(members) > _MAX_MEMBERS or (total > _MAX_UNPACKED_BYTES and total > _MAX_RATIO * size):
        raise UserError(
            f"{archive} has {size:,} bytes and unpacks to {total:,} in {len(members):,} files, more than an archive of "
            "images can; get it again."
        )
    if total > (free := shutil.disk_usage(folder).free):
        raise UserError(
            f"{archive} unpacks to {total / 1e9:.1f} GB, and {folder} has {free / 1e9:.1f} GB left; free some space, or set "
            "FAIRPRESS_CACHE to another folder."
        )
