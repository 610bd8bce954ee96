"""Every folder and file that fairpress writes: checked before the work, replaced whole, never over a user's file.

A folder holds a manifest that names its files with their sha256. Only files that stand in it unchanged are fairpress's own,
and only those are ever replaced or removed. A single file is fairpress's own where it carries one of the `MARKS`, or
fairpress's metadata in Parquet.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import json
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path

from fairpress.core.errors import UserError
from fairpress.core.json_file import read_json
from fairpress.core.places import require_file, require_name, require_writable

MANIFEST = ".fairpress.json"
SCHEMA = "fairpress.files/1"
MARKS: Mapping[str, re.Pattern[str]] = {
    ".html": re.compile(
        r'<meta name="generator" content="fairpress">|<section aria-label="At a glance" id="glance">'
    ),
    ".md": re.compile(
        r"\A---\n(?:.*\n)*?tags:\n(?:- .*\n)*- fairpress\n|\A### Who pays for the compression\?"
    ),
    ".tex": re.compile(r"\A% Written by fairpress"),
    ".csv": re.compile(r'\A"?row_id"?,"?subject"?,"?label"?,'),
    ".json": re.compile(r'"schema": ?"fairpress\.'),
}
"""Ending of a file → what it has in it, near its beginning, when fairpress wrote it."""

SEALS: Mapping[str, str] = {
    ".html": "<!-- fairpress sha256 {} -->",
    ".md": "<!-- fairpress sha256 {} -->",
    ".tex": "% fairpress sha256 {}",
}
"""Ending of a file → the comment at its end that tells whether it was edited."""

LEGACY = frozenset(
    (
        "model.onnx",
        "card.json",
        "model.safetensors",
        "mitigation.json",
        "audit.json",
        "search.json",
        "search.md",
        "front.svg",
    )
)
"""Files of model folders that were written before there was a manifest; ``card.json`` must be one of them."""

CARD = "README.md"
"""The model card of a folder, known by its mark where the folder has no manifest."""

_SHOWN, _LOOKED_AT = 3, 65_536

PathLike = str | os.PathLike[str]


def digest(data: bytes) -> str:
    """Return the sha256 of some bytes, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def manifest_of(digests: Mapping[str, Sequence[str]]) -> bytes:
    """Return the manifest of a folder: file → its sha256, two of them while a file is being replaced."""
    files = {name: list(found) for name, found in sorted(digests.items())}
    return (json.dumps({"schema": SCHEMA, "files": files}, indent=1) + "\n").encode()


def read_manifest(folder: Path) -> dict[str, list[str]] | None:
    """Return file → sha256 digests; None where there is no manifest, or one that cannot be read."""
    try:
        raw = read_json(folder / MANIFEST, "a list of files")
        if raw["schema"] != SCHEMA:
            return None
        return {str(name): [str(d) for d in found] for name, found in raw["files"].items()}
    except (UserError, TypeError, KeyError, AttributeError):
        return None


def foreign_files(folder: Path) -> list[str]:
    """Return the files and folders below `folder` that fairpress did not write, or that were edited since, sorted."""
    known = read_manifest(folder)
    out = []
    for path in _everything(folder):
        name = path.relative_to(folder).as_posix()
        if name == MANIFEST:
            continue
        if path.is_symlink() or not path.is_file():
            out.append(name)
        elif known is not None and name in known:
            if digest(path.read_bytes()) not in known[name]:
                out.append(name)
        elif known is not None or not (_is_legacy(folder, name) or (name == CARD and is_own_file(path))):
            out.append(name)  # also what fairpress wrote there on request, such as a table of predictions
    return sorted(out)


def _is_legacy(folder: Path, name: str) -> bool:
    return name in LEGACY and (folder / "card.json").is_file() and (folder / "model.onnx").is_file()


def _everything(folder: Path) -> Iterator[Path]:
    """Yield files, links and empty folders below a folder; links are not followed."""
    for place, folders, files in os.walk(folder):
        at = Path(place)
        yield from (at / f for f in files)
        yield from (at / f for f in folders if (at / f).is_symlink() or not any((at / f).iterdir()))


def check_folder(
    target: PathLike, *, inputs: Iterable[PathLike] = (), force: bool = False, option: str = "--out"
) -> None:
    """Refuse a folder that cannot or must not be written, before the work is done that would fill it.

    Parameters
    ----------
    inputs
        Files and folders that the work reads: none of them may be the target, hold it or lie inside it.
    force
        Whether a folder that fairpress wrote may be replaced.

    Raises
    ------
    UserError
        The target is a file, a symbolic link, the current folder or an input; it holds anything that fairpress did not
        write, or anything at all and `force` is false; or it cannot be written.
    """
    place = Path(target)
    if place.is_symlink():
        raise UserError(f"{place} is a symbolic link; name the folder itself as {option}.")
    if place.exists() and not place.is_dir():
        raise UserError(f"{place} is a file; choose a folder as {option}.")
    resolved = place.resolve()
    if Path.cwd().resolve().is_relative_to(resolved):
        raise UserError(f"{place} is or holds the current folder; choose a new folder as {option}.")
    for read in inputs:
        source = Path(read).resolve()
        if source == resolved or source.is_relative_to(resolved) or resolved.is_relative_to(source):
            raise UserError(
                f"{place} is or holds the input {read}, or lies inside it; choose another {option}."
            )
    if place.is_dir() and any(place.iterdir()):
        theirs = foreign_files(place)
        if theirs:
            raise UserError(
                f"{place} holds files that fairpress did not write or that were edited since ({_some(theirs)}); "
                f"move them away or choose another {option}."
            )
        if not force:
            raise UserError(f"{place} exists; add --force to replace it, or choose another {option}.")
    require_writable(resolved.parent)


def write_folder(target: PathLike, files: Mapping[str, bytes], *, force: bool = False) -> Path:
    """Write a folder with its manifest, in one step: whoever looks, or kills the process, finds the old one or the new one.

    Parameters
    ----------
    files
        Name below the folder → bytes.
    force
        Whether a folder that fairpress wrote may be replaced.

    Raises
    ------
    UserError
        As `check_folder` does, which is asked again; the folder is then as it was.
    """
    place = Path(target)
    check_folder(place, force=force)
    scratch = None
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=f".{place.name}.", dir=place.parent))
        scratch.chmod(0o755)
        for name, data in files.items():
            (scratch / name).parent.mkdir(parents=True, exist_ok=True)
            (scratch / name).write_bytes(data)
        (scratch / MANIFEST).write_bytes(manifest_of({name: [digest(data)] for name, data in files.items()}))
        _swap(scratch, place)
    except OSError as error:
        raise UserError(
            f"cannot write {place} ({error.strerror or error}); choose a folder you may write to."
        ) from None
    finally:
        if scratch is not None:
            shutil.rmtree(scratch, ignore_errors=True)
    return place


def write_into(folder: PathLike, name: str, data: bytes, *, force: bool = False) -> Path:
    """Write one file of a folder that fairpress made, and enter it in the manifest; everything else in it stays as it is.

    Raises UserError where a file of that name is not fairpress's own and `force` is false, or nothing can be written.
    """
    place = Path(folder)
    target = place / name
    _check_entry(place, name, force)
    known = read_manifest(place) or {}
    before = {n: list(d) for n, d in known.items()}
    for path in () if known else place.iterdir():  # a folder that is older than its manifest
        own = path.name in LEGACY or (path.name == CARD and is_own_file(path))
        if own and path.is_file() and not path.is_symlink():
            before[path.name] = [digest(path.read_bytes())]
    new = digest(data)
    try:
        _replace(place / MANIFEST, manifest_of({**before, name: [*before.get(name, []), new]}))
        _replace(target, data)
        _replace(place / MANIFEST, manifest_of({**before, name: [new]}))
    except OSError as error:
        raise UserError(f"cannot write {target} ({error.strerror or error}); choose another place.") from None
    return target


def check_shared_folder(
    folder: PathLike, *, own: Callable[[Path], bool], what: str, option: str = "--out"
) -> None:
    """Refuse, before the work, a folder in which `write_files` must not write.

    Parameters
    ----------
    own
        Whether a folder without a manifest was written by fairpress too, by an earlier version or an interrupted run.
    what
        What such a folder is, for the message: ``"a study's folder"``.

    Raises
    ------
    UserError
        It is a file or a symbolic link; it holds other content and is not such a folder; one of its files was edited since
        fairpress wrote it; or it cannot be written.
    """
    place = Path(folder)
    if place.is_symlink():
        raise UserError(f"{place} is a symbolic link; name the folder itself as {option}.")
    if place.exists() and not place.is_dir():
        raise UserError(f"{place} is a file; choose a folder as {option}.")
    if place.is_dir():
        known = read_manifest(place)
        if known is None and any(place.iterdir()) and not own(place):
            found = _some(sorted(p.name for p in place.iterdir()))
            raise UserError(
                f"{place} is not {what} and holds other files ({found}); choose a new folder as {option}."
            )
        edited = [n for n, digests in (known or {}).items() if _differs(place / n, digests)]
        if edited:
            raise UserError(
                f"{place} holds files that were edited since fairpress wrote them ({_some(sorted(edited))}); rename them "
                f"or choose another {option}."
            )
    require_writable(place)


def write_files(
    folder: PathLike, files: Mapping[str, bytes], *, legacy: Sequence[str] = (), prune: bool = True
) -> None:
    """Write files into a folder that may hold files of the user: all next to their places first, then all into them.

    Parameters
    ----------
    legacy
        Patterns of names that count as fairpress's own where the folder has no manifest yet: they may be replaced, and are
        never removed.
    prune
        Whether files of the manifest that are not among `files` are removed, if they are as fairpress wrote them.

    Raises
    ------
    UserError
        A name is taken by a file that fairpress did not write, or that was edited since; or nothing can be written. Then
        everything is as it was.
    """
    place = Path(folder)
    known = read_manifest(place)
    taken = []
    for name in files:
        path = place / name
        if path.is_symlink() or (path.exists() and not path.is_file()):
            taken.append(name)
        elif path.is_file():
            old = known is None and any(fnmatch(name, pattern) for pattern in legacy)
            if not old and _differs(path, (known or {}).get(name, ())):
                taken.append(name)
    if taken:
        raise UserError(
            f"{place} holds files that fairpress did not write, or that were edited since, where it would write its own "
            f"({_some(sorted(taken))}); move them away or choose another folder."
        )
    before = known or {}
    new = {name: digest(data) for name, data in files.items()}
    union = {n: [*before.get(n, []), *([new[n]] if n in new else [])] for n in {*before, *new}}
    staged = []
    try:
        for name, data in files.items():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            hidden = (place / name).with_name(f".{Path(name).name}")
            staged.append(hidden)
            hidden.write_bytes(data)
        _replace(place / MANIFEST, manifest_of(union))
        for name in files:
            (place / name).with_name(f".{Path(name).name}").replace(place / name)
        gone = [n for n in before if n not in files] if prune else []
        for name in gone:
            path = place / name
            if path.is_file() and not path.is_symlink() and not _differs(path, before[name]):
                path.unlink()
        kept = {n: d for n, d in before.items() if n not in files and n not in gone}
        _replace(place / MANIFEST, manifest_of({**kept, **{n: [d] for n, d in new.items()}}))
    except OSError as error:
        for hidden in staged:
            with contextlib.suppress(OSError):
                hidden.unlink()
        raise UserError(f"cannot write {place} ({error.strerror or error}); choose another place.") from None


def _differs(path: Path, digests: Sequence[str]) -> bool:
    """Return whether a file is there and is none of those with these digests."""
    return path.is_file() and digest(path.read_bytes()) not in digests


def check_into(folder: PathLike, name: str, *, force: bool = False) -> None:
    """Refuse, before the work, what `write_into` would refuse."""
    _check_entry(Path(folder), name, force)


def _check_entry(place: Path, name: str, force: bool) -> None:
    target = place / name
    if target.is_symlink():
        raise UserError(f"{target} is a symbolic link, which fairpress does not follow; remove it first.")
    if force or not target.exists():
        return
    known = read_manifest(place)
    if target.is_file() and known is not None and name in known:
        if digest(target.read_bytes()) not in known[name]:
            raise UserError(
                f"{target} was edited since fairpress wrote it; add --force to replace it, or move it away."
            )
        return
    if not target.is_file() or not ((known is None and name in LEGACY) or is_own_file(target)):
        raise UserError(f"{target} was not written by fairpress; add --force to replace it, or move it away.")


def check_files(
    targets: Mapping[str, PathLike | None],
    *,
    inputs: Iterable[PathLike] = (),
    force: bool = False,
) -> None:
    """Refuse files that cannot or must not be written, before the work.

    Parameters
    ----------
    targets
        Option → file, such as ``{"--html": "audit.html"}``; None where it was not given.
    inputs
        Files that the work reads.

    Raises
    ------
    UserError
        A target is an input, the same as another target, a folder or a symbolic link, or a file that fairpress did not write
        and `force` is false.
    """
    seen: dict[Path, str] = {}
    read = {Path(i).resolve(): i for i in inputs}
    for option, target in targets.items():
        if target is None:
            continue
        require_name(target)
        place = Path(target)
        resolved = place.resolve()
        if resolved in read:
            raise UserError(f"{option} {place} is an input of this command; choose another file.")
        if resolved in seen:
            raise UserError(f"{seen[resolved]} and {option} name the same file {place}; give each its own.")
        seen[resolved] = option
        if place.is_symlink():
            raise UserError(f"{option} {place} is a symbolic link; name the file itself.")
        require_file(place)
        if place.exists() and place.stat().st_size and not force and not is_own_file(place):
            raise UserError(
                f"{option} {place} exists and was not written by fairpress, or was edited since; add --force to replace it, "
                "or choose another file."
            )


def is_own_file(path: Path) -> bool:
    """Return whether a file carries what fairpress writes: one of the `MARKS`, or its metadata in Parquet."""
    suffix = path.suffix.lower()
    try:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            if suffix in (".parquet", ".pq"):
                file.seek(max(0, path.stat().st_size - _LOOKED_AT))
                return b"fairpress." in file.read(_LOOKED_AT)
            head = file.read(_LOOKED_AT).decode("utf-8", "replace")
        mark = MARKS.get(suffix)
        if mark is None or mark.search(head) is None:
            return False
        return suffix not in SEALS or not _edited(path, SEALS[suffix])
    except OSError:
        return False


def sealed(path: PathLike, text: str) -> str:
    """Return a text as it is written to a file: with a comment at its end that holds its sha256, so that edits are noticed.

    Files whose format has no comments are left as they are.
    """
    comment = SEALS.get(Path(path).suffix.lower())
    return text if comment is None else f"{text.rstrip()}\n{comment.format(digest(text.rstrip().encode()))}\n"


def _edited(path: Path, comment: str) -> bool:
    """Return whether a sealed file was changed since it was written."""
    before, after = map(re.escape, comment.split("{}"))
    text = path.read_bytes().decode("utf-8", "replace")  # as it is: a name may hold a carriage return
    seal = re.search(rf"\n{before}([0-9a-f]{{64}}){after}\s*\Z", text)
    return seal is not None and digest(text[: seal.start()].encode()) != seal[1]


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _replace(target: Path, data: bytes) -> None:
    """Write a file next to its place, then move it there."""
    handle, name = tempfile.mkstemp(prefix=f".{target.name[:100]}.", dir=target.parent)
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        temporary.chmod(0o644)
        temporary.replace(target)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def _swap(new: Path, place: Path) -> None:
    """Put `new` at `place`. What stood there is at `new` afterwards, if anything; never is there nothing at `place`."""
    if not place.exists() or not any(place.iterdir()):
        if place.exists() and os.name == "nt":
            place.rmdir()  # Windows does not rename over an empty folder
        new.rename(place)
        return
    if _exchange(new, place):
        return
    away = Path(tempfile.mkdtemp(prefix=f".{place.name}.old.", dir=place.parent)) / place.name
    place.rename(away)
    try:
        new.rename(place)
    except OSError:
        away.rename(place)
        raise
    finally:
        shutil.rmtree(away.parent, ignore_errors=True)


def _exchange(one: Path, other: Path) -> bool:
    """Exchange two folders in one step where the system can (Linux: renameat2); return whether it did."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):
        return False
    at_working_folder, exchange = -100, 2
    found = rename(
        ctypes.c_int(at_working_folder),
        ctypes.c_char_p(os.fsencode(one)),
        ctypes.c_int(at_working_folder),
        ctypes.c_char_p(os.fsencode(other)),
        ctypes.c_uint(exchange),
    )
    return bool(found == 0)
