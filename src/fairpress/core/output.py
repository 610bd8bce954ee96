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
from fairpress.core.exchange import remove_leftovers, staged_folder, swap
from fairpress.core.files import (
    PathLike,
    digest,
    leftovers,
    locked,
    move,
    resolve_path,
    special_file_kind,
    staged,
    write_bytes,
)
from fairpress.core.ownership import (
    CARD,
    LEGACY,
    MANIFEST,
    differs,
    has_invalid_manifest,
    is_fairpress_file,
    manifest_of,
    read_manifest,
    sealed,
    user_files,
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
    "is_fairpress_file",
    "sealed",
    "user_files",
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
    folder = Path(target)
    _require_folder(folder, option)
    if _contains(folder, os.curdir):
        raise UserError(f"{folder} is or holds the current folder; choose a new folder as {option}.")
    for source in inputs:
        if _contains(folder, source) or _contains(source, folder):
            raise UserError(
                f"{folder} is or holds the input {source}, or lies inside it; choose another {option}."
            )
    if folder.is_dir():
        if _is_mounted(folder):  # it cannot be replaced in one step
            raise UserError(
                f"{folder} is a mount point; choose a folder below it as {option}, such as {folder / 'model'}."
            )
        with _read_errors(folder, option):
            empty, unowned = not any(folder.iterdir()), user_files(folder)
        if unowned:
            raise UserError(
                f"{folder} holds files that fairpress did not write or that were edited since ({_abbreviate(unowned)}); "
                f"move them away or choose another {option}."
            )
        if not empty and not force:
            raise UserError(f"{folder} exists; add --force to replace it, or choose another {option}.")
        if not empty and not os.access(folder, os.W_OK):
            raise UserError(f"{folder} is read-only; choose another {option}.")
    require_writable(resolve_path(folder).parent)


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
    folder = Path(target)
    manifest = manifest_of({name: [digest(data)] for name, data in files.items()})
    check_folder(folder, force=force)
    with _write_errors(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with (
            staged_folder(folder, {**files, MANIFEST: manifest}) as scratch,
            locked(resolve_path(folder.parent)),
        ):
            remove_leftovers(folder)
            check_folder(folder, force=force)  # another process may have written it meanwhile
            swap(scratch, folder)
    return folder


def check_into(folder: PathLike, name: str, *, force: bool = False) -> None:
    """Refuse, before the work, what `write_into` would refuse."""
    folder_path = Path(folder)
    target = folder_path / name
    if (kind := special_file_kind(target)) is not None:
        raise UserError(f"{target} is {kind}, which fairpress does not write to; remove it first.")
    if target.is_dir():
        raise UserError(f"{target} is a folder; rename it first.")
    _require_manifest(folder_path)
    require_writable(folder_path)
    manifest = read_manifest(folder_path)
    if force or not target.exists():
        return
    if manifest is not None and name in manifest:
        if differs(target, manifest[name]):
            raise UserError(
                f"{target} was edited since fairpress wrote it; add --force to replace it, or move it away."
            )
    elif not ((manifest is None and name in LEGACY) or is_fairpress_file(target)):
        raise UserError(f"{target} was not written by fairpress; add --force to replace it, or move it away.")


def write_into(folder: PathLike, name: str, data: bytes, *, force: bool = False) -> Path:
    """Write one file of a folder that fairpress made, and enter it in the manifest; everything else in it stays as it is.

    Raises UserError where a file of that name is not fairpress's own and `force` is false, or nothing can be written.
    """
    folder_path = Path(folder)
    target = folder_path / name
    new_digest = digest(data)
    with _write_errors(target), locked(resolve_path(folder_path)):
        check_into(folder_path, name, force=force)
        manifest = read_manifest(folder_path) or {}
        before = {n: list(d) for n, d in manifest.items()}
        for path in () if manifest else folder_path.iterdir():  # a folder that is older than its manifest
            is_legacy = path.name in LEGACY or (path.name == CARD and is_fairpress_file(path))
            if is_legacy and path.is_file() and not path.is_symlink():
                before[path.name] = [digest(path.read_bytes())]
        write_bytes(
            folder_path / MANIFEST, manifest_of({**before, name: [*before.get(name, []), new_digest]})
        )
        write_bytes(target, data)
        write_bytes(folder_path / MANIFEST, manifest_of({**before, name: [new_digest]}))
    return target


def check_shared_folder(
    folder: PathLike,
    *,
    is_owned: Callable[[Path], bool] = lambda path: True,
    description: str = "",
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
    folder_path = Path(folder)
    _require_folder(folder_path, option)
    if folder_path.is_dir():
        with _read_errors(folder_path, option):
            names = sorted(p.name for p in folder_path.iterdir())
        manifest = read_manifest(folder_path)
        if manifest is None and names and not is_owned(folder_path):
            raise UserError(
                f"{folder_path} is not {description} and holds other files ({_abbreviate(names)}); choose a new folder as {option}."
            )
        _require_manifest(folder_path)
        edited = [n for n, digests in (manifest or {}).items() if differs(folder_path / n, digests)]
        if edited:
            raise UserError(
                f"{folder_path} holds files that were edited since fairpress wrote them ({_abbreviate(sorted(edited))}); rename them "
                f"or choose another {option}."
            )
    require_writable(folder_path)


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
    folder_path = Path(folder)
    _require_folder(folder_path, "folder")
    with _write_errors(folder_path):
        folder_path.mkdir(parents=True, exist_ok=True)
        with locked(resolve_path(folder_path)), contextlib.ExitStack() as stack:
            _require_manifest(folder_path)
            manifest = read_manifest(folder_path)
            _require_free(folder_path, files, manifest, legacy)
            before = manifest or {}
            new_digests = {name: digest(data) for name, data in files.items()}
            ready = []
            for name, data in files.items():
                target = folder_path / name
                target.parent.mkdir(parents=True, exist_ok=True)
                for leftover in leftovers(target):
                    if leftover.is_file():
                        leftover.unlink()
                ready.append((stack.enter_context(staged(target)), target))
                ready[-1][0].write_bytes(data)
            union = {
                n: [*before.get(n, []), *([new_digests[n]] if n in new_digests else [])]
                for n in {*before, *new_digests}
            }
            write_bytes(folder_path / MANIFEST, manifest_of(union))
            for hidden, target in ready:
                move(hidden, target)
            removed = [n for n in before if n not in files] if prune else []
            for name in removed:
                path = folder_path / name
                if path.is_file() and not _linked(folder_path, name) and not differs(path, before[name]):
                    path.unlink()
            retained = {n: d for n, d in before.items() if n not in files and n not in removed}
            write_bytes(
                folder_path / MANIFEST, manifest_of({**retained, **{n: [d] for n, d in new_digests.items()}})
            )


def _require_free(
    folder: Path, files: Iterable[str], manifest: Mapping[str, Sequence[str]] | None, legacy: Sequence[str]
) -> None:
    taken = []
    for name in files:
        path = folder / name
        if (link := _linked(folder, name)) is not None:
            taken.append(link)
        elif path.exists() and not path.is_file():
            taken.append(name)
        elif path.is_file():
            is_legacy = manifest is None and any(fnmatch(name, pattern) for pattern in legacy)
            if not is_legacy and differs(path, (manifest or {}).get(name, ())):
                taken.append(name)
    if taken:
        raise UserError(
            f"{folder} holds files that fairpress did not write, or that were edited since, where it would write its own "
            f"({_abbreviate(sorted(set(taken)))}); move them away or choose another folder."
        )


def _linked(folder: Path, name: str) -> str | None:
    """Return the first part of a name that is a symbolic link: what is behind it may lie anywhere."""
    parts = Path(name).parts
    prefixes = [Path(*parts[: i + 1]) for i in range(len(parts))]
    return next((prefix.as_posix() for prefix in prefixes if (folder / prefix).is_symlink()), None)


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
        Option → what its file is, as `is_fairpress_file` takes it; by default what its ending tells.

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
    sources = list(inputs)
    for option, path in given.items():
        require_name(path)
        if any(_same(path, source) for source in sources):
            raise UserError(f"{option} {path} is an input of this command; choose another file.")
        for other_option, other_target in given.items():
            if other_option == option:
                break
            if _same(path, other_target):
                raise UserError(f"{other_option} and {option} name the same file {path}; give each its own.")
            if _contains(path, other_target) or _contains(other_target, path):
                raise UserError(
                    f"{option} {path} and {other_option} {other_target} lie one inside the other; choose two places."
                )


def _check_file(target: Path, option: str, kind: str | None, force: bool) -> None:
    name = f"{option} {target}".strip()
    if (unusual_kind := special_file_kind(target)) is not None:
        raise UserError(f"{name} is {unusual_kind}; name an ordinary file.")
    require_file(target)
    if target.exists() and target.stat().st_size and not force and not is_fairpress_file(target, kind):
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
        What it is, as `is_fairpress_file` takes it; by default what its ending tells.

    Raises
    ------
    UserError
        A file is there that fairpress did not write, or that was edited since, and `force` is false; or nothing can be
        written.
    """
    path = Path(target)
    _check_file(path, "", kind, force)
    if isinstance(data, str):
        data = sealed(path, data, kind).encode("utf-8", "replace")
    write_bytes(path, data)
    return path


def _require_folder(folder: Path, option: str) -> None:
    require_name(folder)
    if (kind := special_file_kind(folder)) is not None:
        raise UserError(f"{folder} is {kind}; name the folder itself as {option}.")
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file; choose a folder as {option}.")


def _require_manifest(folder: Path) -> None:
    if has_invalid_manifest(folder):
        raise UserError(
            f"{folder / MANIFEST} is not a manifest of fairpress's, or is damaged; move it away or choose another "
            "folder."
        )


def _same(first: PathLike, second: PathLike) -> bool:
    """Return whether two paths are one file or folder: also by hard links, bind mounts, and names that differ in case."""
    if resolve_path(first) == resolve_path(second):
        return True
    try:
        return os.path.samefile(first, second)
    except (OSError, ValueError):
        return False


def _contains(outer: PathLike, inner: PathLike) -> bool:
    """Return whether a path is the other, or a folder that it lies in."""
    resolved = resolve_path(inner)
    return any(_same(outer, ancestor) for ancestor in (resolved, *resolved.parents))


def _is_mounted(folder: Path) -> bool:
    """Return whether a folder is a mount point, also one within its own file system."""
    if folder.is_mount():
        return True
    try:
        mounts = Path("/proc/self/mountinfo").read_bytes().splitlines()
    except OSError:
        return False
    mount_point = os.fsencode(resolve_path(folder)).replace(b" ", b"\\040")
    return any(line.split(b" ")[4] == mount_point for line in mounts)


@contextlib.contextmanager
def _read_errors(folder: Path, option: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(
            f"cannot look into {folder} ({error.strerror or error}); choose another {option}."
        ) from None


@contextlib.contextmanager
def _write_errors(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(
            f"cannot write {target} ({error.strerror or error}); choose a place you may write to."
        ) from None


def _abbreviate(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
