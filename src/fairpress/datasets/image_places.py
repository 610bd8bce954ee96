"""Where pictures are that may not be passed on: a folder the user has, or a zip file in it, unpacked once."""

from __future__ import annotations

import hashlib
import os
import shutil
import zipfile
from pathlib import Path

from fairpress.core.cache import cache_folder
from fairpress.core.errors import UserError
from fairpress.datasets.sources import Say


def place_of(what: str, name: str, folder: str | None, how: str) -> Path:
    """Return the folder of a dataset: the one the user named, or `name` in FAIRPRESS_DATA or in the cache.

    Raises
    ------
    UserError
        There is none; the sentence says `how` to get the pictures.
    """
    shared = os.environ.get("FAIRPRESS_DATA")
    usual = [p / name for p in ([Path(shared).expanduser()] if shared else []) + [cache_folder()]]
    places = [Path(folder).expanduser()] if folder else usual
    for place in places:
        if place.is_dir():
            return place
    looked = ", ".join(str(p) for p in places)
    raise UserError(
        f"{what} is not on this machine (looked for {looked}). It may not be passed on, so fairpress does not "
        f"fetch it: {how}, and set FAIRPRESS_DATA to the folder that holds {name}."
    )


def unpacked(archive: Path, say: Say) -> Path:
    """Return a folder in the cache with the content of a zip file, unpacked when it is first asked for.

    The archive is known by its path, size and time. Raises UserError for a file that is no whole zip.
    """
    from filelock import FileLock

    stat = archive.stat()
    facts = f"{archive.resolve()}/{stat.st_size}/{stat.st_mtime_ns}"
    place = cache_folder() / "images" / "unpacked" / hashlib.sha256(facts.encode()).hexdigest()[:32]
    if place.is_dir():
        return place
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(place.with_name(f"{place.name}.lock")):
            if not place.is_dir():
                say(f"unpacking {archive}, once")
                scratch = place.with_name(f"{place.name}.part")
                shutil.rmtree(scratch, ignore_errors=True)
                with zipfile.ZipFile(archive) as content:
                    content.extractall(scratch)
                scratch.rename(place)
    except zipfile.BadZipFile as error:
        raise UserError(f"{archive} is no whole zip file ({error}); get it again.") from None
    except OSError as error:
        raise UserError(f"cannot unpack {archive}: {error.strerror or error}.") from None
    return place
