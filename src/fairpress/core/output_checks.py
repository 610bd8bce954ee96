"""Refuse, before the work, a folder or file that cannot or must not be written."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from fairpress.core.errors import UserError
from fairpress.core.files import PathLike, resolve_path, special_file_kind
from fairpress.core.ownership import (
    LEGACY,
    MANIFEST,
    differs,
    has_invalid_manifest,
    is_fairpress_file,
    read_manifest,
    user_files,
)
from fairpress.core.places import require_file, require_name, require_writable

_SHOWN = 3


def check_folder(
    target: PathLike, *, inputs: Iterable[PathLike] = (), force: bool = False, option: str = "`out=`"
) -> None:
    """Refuse a folder that cannot or must not be written, before the work that would fill it.

    Parameters
    ----------
    inputs
        Files and folders that the work reads: none of them may be the target, contain it or lie inside it.
    force
        Whether a folder that fairpress wrote may be replaced.

    Raises
    ------
    UserError
        The target is a file, a symbolic link, a mount point, the current folder or an input; it contains anything that
        fairpress did not write, or anything at all and `force` is false; or it cannot be written.
    """
    folder = Path(target)
    require_folder(folder, option)
    if _contains(folder, os.curdir):
        raise UserError(f"{folder} is the current folder or contains it; choose a new folder for {option}.")
    for source in inputs:
        if _contains(folder, source) or _contains(source, folder):
            raise UserError(
                f"{folder} is the input {source}, contains it, or lies inside it; choose another folder for {option}."
            )
    if folder.is_dir():
        if _is_mounted(folder):  # it cannot be replaced in one step
            raise UserError(
                f"{folder} is a mount point; choose a folder below it for {option}, such as {folder / 'model'}."
            )
        with _read_errors(folder, option):
            empty, unowned = not any(folder.iterdir()), user_files(folder)
        if unowned:
            raise UserError(
                f"{folder} contains files that fairpress did not write or that were edited since ({abbreviate(unowned)}); "
                f"move them away, or choose another folder for {option}."
            )
        if not empty and not force:
            raise UserError(
                f"{folder} exists; add `force=True` to replace it, or choose another folder for {option}."
            )
        if not empty and not os.access(folder, os.W_OK):
            raise UserError(f"{folder} is read-only; choose another folder for {option}.")
    require_writable(resolve_path(folder).parent)


def check_into(folder: PathLike, name: str, *, force: bool = False) -> None:
    """Refuse, before the work, what `write_into` would refuse."""
    folder_path = Path(folder)
    target = folder_path / name
    if (kind := special_file_kind(target)) is not None:
        raise UserError(f"{target} is {kind}, which fairpress does not write to; remove it first.")
    if target.is_dir():
        raise UserError(f"{target} is a folder; rename it first.")
    require_manifest(folder_path)
    require_writable(folder_path)
    manifest = read_manifest(folder_path)
    if force or not target.exists():
        return
    if manifest is not None and name in manifest:
        if differs(target, manifest[name]):
            raise UserError(
                f"{target} was edited since fairpress wrote it; add `force=True` to replace it, or move it away."
            )
    elif not ((manifest is None and name in LEGACY) or is_fairpress_file(target)):
        raise UserError(
            f"{target} was not written by fairpress; add `force=True` to replace it, or move it away."
        )


def check_shared_folder(
    folder: PathLike,
    *,
    is_owned: Callable[[Path], bool] = lambda path: True,
    description: str = "",
    option: str = "`out=`",
) -> None:
    """Refuse, before the work, a folder in which `write_files` must not write.

    Parameters
    ----------
    is_owned
        Whether a folder with content is of the kind that is to be written, rather than a model folder, say; by default it
        is, and may contain the user's files.
    description
        The kind of folder that is expected, for the message: ``"a study's folder"``.

    Raises
    ------
    UserError
        It is a file or a symbolic link; it has other content and is not such a folder; one of its files was edited since
        fairpress wrote it; or it cannot be written.
    """
    folder_path = Path(folder)
    require_folder(folder_path, option)
    if folder_path.is_dir():
        with _read_errors(folder_path, option):
            names = sorted(p.name for p in folder_path.iterdir())
        manifest = read_manifest(folder_path)
        if names and not is_owned(folder_path):
            raise UserError(
                f"{folder_path} is not {description} and contains other files ({abbreviate(names)}); "
                f"choose a new folder for {option}."
            )
        require_manifest(folder_path)
        edited = [n for n, digests in (manifest or {}).items() if differs(folder_path / n, digests)]
        if edited:
            raise UserError(
                f"{folder_path} contains files that were edited since fairpress wrote them "
                f"({abbreviate(sorted(edited))}); rename them, or choose another folder for {option}."
            )
    require_writable(folder_path)


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
        Option → file, such as ``{"--html": "audit.html"}``; None for an option that was not given.
    inputs
        Files that the work reads.
    kinds
        Option → kind of file, as in `is_fairpress_file`; by default it follows from the suffix.

    Raises
    ------
    UserError
        A target is an input, the same as another target, a folder or a symbolic link, or a file that fairpress did not write
        and `force` is false.
    """
    check_apart(targets, inputs=inputs)
    for option, target in targets.items():
        if target is not None:
            check_file(Path(target), option, (kinds or {}).get(option), force)


def check_apart(targets: Mapping[str, PathLike | None], *, inputs: Iterable[PathLike] = ()) -> None:
    """Refuse, before the work, a target that is an input, another target, or a folder that contains another target."""
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
                raise UserError(
                    f"{other_option} and {option} name the same file {path}; give each a different file."
                )
            if _contains(path, other_target) or _contains(other_target, path):
                raise UserError(
                    f"{option} {path} and {other_option} {other_target} lie inside each other; choose separate paths."
                )


def check_file(target: Path, option: str, kind: str | None, force: bool) -> None:
    name = f"{option} {target}".strip()
    if (unusual_kind := special_file_kind(target)) is not None:
        raise UserError(f"{name} is {unusual_kind}; name an ordinary file.")
    require_file(target)
    if target.exists() and target.stat().st_size and not force and not is_fairpress_file(target, kind):
        raise UserError(
            f"{name} exists and was not written by fairpress, or was edited since; add `force=True` to replace it, "
            "or choose another file."
        )


def require_folder(folder: Path, option: str) -> None:
    require_name(folder)
    if (kind := special_file_kind(folder)) is not None:
        raise UserError(f"{folder} is {kind}; give the folder itself for {option}.")
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file; choose a folder for {option}.")


def require_manifest(folder: Path) -> None:
    if has_invalid_manifest(folder):
        raise UserError(
            f"{folder / MANIFEST} is not a manifest of fairpress, or is damaged; move it away, or choose another "
            "folder."
        )


def _same(first: PathLike, second: PathLike) -> bool:
    """Return whether two paths are one file or folder, also through hard links, bind mounts or names that differ in case."""
    if resolve_path(first) == resolve_path(second):
        return True
    try:
        return os.path.samefile(first, second)
    except (OSError, ValueError):
        return False


def _contains(outer: PathLike, inner: PathLike) -> bool:
    """Return whether `outer` is `inner` or a folder that contains it."""
    resolved = resolve_path(inner)
    return any(_same(outer, ancestor) for ancestor in (resolved, *resolved.parents))


def _is_mounted(folder: Path) -> bool:
    """Return whether a folder is a mount point, also one within the same file system."""
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
            f"cannot read {folder} ({error.strerror or error}); choose another folder for {option}."
        ) from None


def abbreviate(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
