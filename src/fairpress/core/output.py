"""Every folder and file that fairpress writes: checked before the work, replaced whole, never over a user's file.

A folder holds a manifest that names its files with their sha256. Only files that stand in it unchanged are fairpress's own,
and only those are ever replaced or removed. A single file is fairpress's own where it carries a mark; see `core.ownership`.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path

from fairpress.core.errors import UserError
from fairpress.core.exchange import filled, swap, tidy
from fairpress.core.files import PathLike, digest, leftovers, locked, move, real, staged, unusual, write_bytes
from fairpress.core.ownership import (
    CARD,
    LEGACY,
    MANIFEST,
    differs,
    foreign_files,
    has_foreign_manifest,
    is_own_file,
    manifest_of,
    read_manifest,
    sealed,
)
from fairpress.core.places import require_file, require_name, require_writable

__all__ = [
    "CARD",
    "MANIFEST",
    "check_apart",
    "check_files",
    "check_folder",
    "check_into",
    "check_shared_folder",
    "foreign_files",
    "is_own_file",
    "sealed",
    "write_file",
    "write_files",
    "write_folder",
    "write_into",
]

_SHOWN = 3


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
        The target is a file, a symbolic link, a mount point, the current folder or an input; it holds anything that
        fairpress did not write, or anything at all and `force` is false; or it cannot be written.
    """
    place = Path(target)
    _require_folder(place, option)
    if _holds(place, os.curdir):
        raise UserError(f"{place} is or holds the current folder; choose a new folder as {option}.")
    for read in inputs:
        if _holds(place, read) or _holds(read, place):
            raise UserError(
                f"{place} is or holds the input {read}, or lies inside it; choose another {option}."
            )
    if place.is_dir():
        if _is_mounted(place):  # it cannot be replaced in one step
            raise UserError(
                f"{place} is a mount point; choose a folder below it as {option}, such as {place / 'model'}."
            )
        with _readable(place, option):
            empty, theirs = not any(place.iterdir()), foreign_files(place)
        if theirs:
            raise UserError(
                f"{place} holds files that fairpress did not write or that were edited since ({_some(theirs)}); "
                f"move them away or choose another {option}."
            )
        if not empty and not force:
            raise UserError(f"{place} exists; add --force to replace it, or choose another {option}.")
        if not empty and not os.access(place, os.W_OK):
            raise UserError(f"{place} is read-only; choose another {option}.")
    require_writable(real(place).parent)


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
    manifest = manifest_of({name: [digest(data)] for name, data in files.items()})
    check_folder(place, force=force)
    with _in_words(place):
        place.parent.mkdir(parents=True, exist_ok=True)
        with filled(place, {**files, MANIFEST: manifest}) as scratch, locked(real(place.parent)):
            tidy(place)
            check_folder(place, force=force)  # another process may have written it meanwhile
            swap(scratch, place)
    return place


def check_into(folder: PathLike, name: str, *, force: bool = False) -> None:
    """Refuse, before the work, what `write_into` would refuse."""
    place = Path(folder)
    target = place / name
    if (what := unusual(target)) is not None:
        raise UserError(f"{target} is {what}, which fairpress does not write to; remove it first.")
    if target.is_dir():
        raise UserError(f"{target} is a folder; rename it first.")
    _require_manifest(place)
    require_writable(place)
    known = read_manifest(place)
    if force or not target.exists():
        return
    if known is not None and name in known:
        if differs(target, known[name]):
            raise UserError(
                f"{target} was edited since fairpress wrote it; add --force to replace it, or move it away."
            )
    elif not ((known is None and name in LEGACY) or is_own_file(target)):
        raise UserError(f"{target} was not written by fairpress; add --force to replace it, or move it away.")


def write_into(folder: PathLike, name: str, data: bytes, *, force: bool = False) -> Path:
    """Write one file of a folder that fairpress made, and enter it in the manifest; everything else in it stays as it is.

    Raises UserError where a file of that name is not fairpress's own and `force` is false, or nothing can be written.
    """
    place = Path(folder)
    target = place / name
    new = digest(data)
    with _in_words(target), locked(real(place)):
        check_into(place, name, force=force)
        known = read_manifest(place) or {}
        before = {n: list(d) for n, d in known.items()}
        for path in () if known else place.iterdir():  # a folder that is older than its manifest
            own = path.name in LEGACY or (path.name == CARD and is_own_file(path))
            if own and path.is_file() and not path.is_symlink():
                before[path.name] = [digest(path.read_bytes())]
        write_bytes(place / MANIFEST, manifest_of({**before, name: [*before.get(name, []), new]}))
        write_bytes(target, data)
        write_bytes(place / MANIFEST, manifest_of({**before, name: [new]}))
    return target


def check_shared_folder(
    folder: PathLike,
    *,
    own: Callable[[Path], bool] = lambda place: True,
    what: str = "",
    option: str = "--out",
) -> None:
    """Refuse, before the work, a folder in which `write_files` must not write.

    Parameters
    ----------
    own
        Whether a folder without a manifest was written by fairpress too, by an earlier version or an interrupted run; by
        default files of the user's may be there.
    what
        What such a folder is, for the message: ``"a study's folder"``.

    Raises
    ------
    UserError
        It is a file or a symbolic link; it holds other content and is not such a folder; one of its files was edited since
        fairpress wrote it; or it cannot be written.
    """
    place = Path(folder)
    _require_folder(place, option)
    if place.is_dir():
        with _readable(place, option):
            there = sorted(p.name for p in place.iterdir())
        known = read_manifest(place)
        if known is None and there and not own(place):
            raise UserError(
                f"{place} is not {what} and holds other files ({_some(there)}); choose a new folder as {option}."
            )
        _require_manifest(place)
        edited = [n for n, digests in (known or {}).items() if differs(place / n, digests)]
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
    _require_folder(place, "folder")
    with _in_words(place):
        place.mkdir(parents=True, exist_ok=True)
        with locked(real(place)), contextlib.ExitStack() as stack:
            _require_manifest(place)
            known = read_manifest(place)
            _require_free(place, files, known, legacy)
            before = known or {}
            new = {name: digest(data) for name, data in files.items()}
            ready = []
            for name, data in files.items():
                target = place / name
                target.parent.mkdir(parents=True, exist_ok=True)
                for left in leftovers(target):
                    if left.is_file():
                        left.unlink()
                ready.append((stack.enter_context(staged(target)), target))
                ready[-1][0].write_bytes(data)
            union = {n: [*before.get(n, []), *([new[n]] if n in new else [])] for n in {*before, *new}}
            write_bytes(place / MANIFEST, manifest_of(union))
            for hidden, target in ready:
                move(hidden, target)
            gone = [n for n in before if n not in files] if prune else []
            for name in gone:
                path = place / name
                if path.is_file() and not _linked(place, name) and not differs(path, before[name]):
                    path.unlink()
            kept = {n: d for n, d in before.items() if n not in files and n not in gone}
            write_bytes(place / MANIFEST, manifest_of({**kept, **{n: [d] for n, d in new.items()}}))


def _require_free(
    place: Path, files: Iterable[str], known: Mapping[str, Sequence[str]] | None, legacy: Sequence[str]
) -> None:
    taken = []
    for name in files:
        path = place / name
        if (link := _linked(place, name)) is not None:
            taken.append(link)
        elif path.exists() and not path.is_file():
            taken.append(name)
        elif path.is_file():
            old = known is None and any(fnmatch(name, pattern) for pattern in legacy)
            if not old and differs(path, (known or {}).get(name, ())):
                taken.append(name)
    if taken:
        raise UserError(
            f"{place} holds files that fairpress did not write, or that were edited since, where it would write its own "
            f"({_some(sorted(set(taken)))}); move them away or choose another folder."
        )


def _linked(place: Path, name: str) -> str | None:
    """Return the first part of a name that is a symbolic link: what is behind it may lie anywhere."""
    parts = Path(name).parts
    ways = [Path(*parts[: i + 1]) for i in range(len(parts))]
    return next((way.as_posix() for way in ways if (place / way).is_symlink()), None)


def check_files(
    targets: Mapping[str, PathLike | None],
    *,
    inputs: Iterable[PathLike] = (),
    kinds: Mapping[str, str] | None = None,
    force: bool = False,
) -> None:
    """Refuse files that cannot or must not be written, before the work.

    Parameters
    ----------
    targets
        Option → file, such as ``{"--html": "audit.html"}``; None where it was not given.
    inputs
        Files that the work reads.
    kinds
        Option → what its file is, as `is_own_file` takes it; by default what its ending tells.

    Raises
    ------
    UserError
        A target is an input, the same as another target, a folder or a symbolic link, or a file that fairpress did not write
        and `force` is false.
    """
    check_apart(targets, inputs=inputs)
    for option, target in targets.items():
        if target is not None:
            _check_file(Path(target), option, (kinds or {}).get(option), force)


def check_apart(targets: Mapping[str, PathLike | None], *, inputs: Iterable[PathLike] = ()) -> None:
    """Refuse, before the work, a target that is an input, another target, or a folder that another one would lie in."""
    given = {option: Path(target) for option, target in targets.items() if target is not None}
    read = list(inputs)
    for option, place in given.items():
        require_name(place)
        if any(_same(place, source) for source in read):
            raise UserError(f"{option} {place} is an input of this command; choose another file.")
        for other, before in given.items():
            if other == option:
                break
            if _same(place, before):
                raise UserError(f"{other} and {option} name the same file {place}; give each its own.")
            if _holds(place, before) or _holds(before, place):
                raise UserError(
                    f"{option} {place} and {other} {before} lie one inside the other; choose two places."
                )


def _check_file(place: Path, option: str, kind: str | None, force: bool) -> None:
    name = f"{option} {place}".strip()
    if (what := unusual(place)) is not None:
        raise UserError(f"{name} is {what}; name an ordinary file.")
    require_file(place)
    if place.exists() and place.stat().st_size and not force and not is_own_file(place, kind):
        raise UserError(
            f"{name} exists and was not written by fairpress, or was edited since; add --force to replace it, "
            "or choose another file."
        )


def write_file(
    target: PathLike, data: bytes | memoryview | str, *, kind: str | None = None, force: bool = False
) -> Path:
    """Write a single file that stands alone, whole or not at all; a text is sealed, so that edits are noticed.

    Parameters
    ----------
    kind
        What it is, as `is_own_file` takes it; by default what its ending tells.

    Raises
    ------
    UserError
        A file is there that fairpress did not write, or that was edited since, and `force` is false; or nothing can be
        written.
    """
    place = Path(target)
    _check_file(place, "", kind, force)
    if isinstance(data, str):
        data = sealed(place, data, kind).encode("utf-8", "replace")
    write_bytes(place, data)
    return place


def _require_folder(place: Path, option: str) -> None:
    require_name(place)
    if (what := unusual(place)) is not None:
        raise UserError(f"{place} is {what}; name the folder itself as {option}.")
    if place.exists() and not place.is_dir():
        raise UserError(f"{place} is a file; choose a folder as {option}.")


def _require_manifest(place: Path) -> None:
    if has_foreign_manifest(place):
        raise UserError(
            f"{place / MANIFEST} is not a manifest of fairpress's, or is damaged; move it away or choose another "
            "folder."
        )


def _same(one: PathLike, other: PathLike) -> bool:
    """Return whether two paths are one file or folder: also by hard links, bind mounts, and names that differ in case."""
    if real(one) == real(other):
        return True
    try:
        return os.path.samefile(one, other)
    except (OSError, ValueError):
        return False


def _holds(one: PathLike, other: PathLike) -> bool:
    """Return whether a path is the other, or a folder that it lies in."""
    inner = real(other)
    return any(_same(one, way) for way in (inner, *inner.parents))


def _is_mounted(place: Path) -> bool:
    """Return whether a folder is a mount point, also one within its own file system."""
    if place.is_mount():
        return True
    try:
        mounts = Path("/proc/self/mountinfo").read_bytes().splitlines()
    except OSError:
        return False
    wanted = os.fsencode(real(place)).replace(b" ", b"\\040")
    return any(line.split(b" ")[4] == wanted for line in mounts)


@contextlib.contextmanager
def _readable(place: Path, option: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(
            f"cannot look into {place} ({error.strerror or error}); choose another {option}."
        ) from None


@contextlib.contextmanager
def _in_words(place: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(
            f"cannot write {place} ({error.strerror or error}); choose a place you may write to."
        ) from None


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
