"""Every folder and file that fairpress writes: checked before the work, replaced whole, never over a user's file.

A folder holds a manifest that names its files with their sha256. Only files that it lists and that are unchanged belong
to fairpress, and only those are ever replaced or removed. A single file belongs to fairpress if it has a mark; see
`core.ownership`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
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
    staged,
    write_bytes,
)
from fairpress.core.output_checks import (
    abbreviate,
    check_apart,
    check_file,
    check_files,
    check_folder,
    check_into,
    check_shared_folder,
    require_folder,
    require_manifest,
)
from fairpress.core.ownership import (
    CARD,
    LEGACY,
    MANIFEST,
    differs,
    is_fairpress_file,
    manifest_of,
    read_manifest,
    sealed,
    user_files,
)

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


def write_folder(target: PathLike, files: Mapping[str, bytes], *, force: bool = False) -> Path:
    """Write a folder with its manifest, in one step: even after a kill, either the old or the new folder exists.

    Parameters
    ----------
    files
        Name below the folder → bytes.
    force
        Whether a folder that fairpress wrote may be replaced.

    Raises
    ------
    UserError
        As `check_folder`, which is called again; the folder is then unchanged.
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
            check_folder(folder, force=force)  # another process may have written it in the meantime
            swap(scratch, folder)
    return folder


def write_into(folder: PathLike, name: str, data: bytes, *, force: bool = False) -> Path:
    """Write one file into a folder that fairpress wrote and add it to the manifest; nothing else in it changes.

    Raises UserError where fairpress did not write the file of that name and `force` is false, or it cannot be written.
    """
    folder_path = Path(folder)
    target = folder_path / name
    new_digest = digest(data)
    with _write_errors(target), locked(resolve_path(folder_path)):
        check_into(folder_path, name, force=force)
        manifest = read_manifest(folder_path) or {}
        before = {n: list(d) for n, d in manifest.items()}
        for path in () if manifest else folder_path.iterdir():  # a folder written before there were manifests
            is_legacy = path.name in LEGACY or (path.name == CARD and is_fairpress_file(path))
            if is_legacy and path.is_file() and not path.is_symlink():
                before[path.name] = [digest(path.read_bytes())]
        write_bytes(
            folder_path / MANIFEST, manifest_of({**before, name: [*before.get(name, []), new_digest]})
        )
        write_bytes(target, data)
        write_bytes(folder_path / MANIFEST, manifest_of({**before, name: [new_digest]}))
    return target


def write_files(
    folder: PathLike, files: Mapping[str, bytes], *, legacy: Sequence[str] = (), prune: bool = True
) -> None:
    """Write files into a folder that may contain the user's files: first under temporary names, then moved together.

    Parameters
    ----------
    legacy
        Patterns of file names that count as written by fairpress where the folder has no manifest yet: such files may be
        replaced and are never removed.
    prune
        Whether files in the manifest that are not among `files` are removed, if they are unchanged.

    Raises
    ------
    UserError
        A name is taken by a file that fairpress did not write, or that was edited since; or the folder cannot be written.
        Nothing is changed then.
    """
    folder_path = Path(folder)
    require_folder(folder_path, "folder")
    with _write_errors(folder_path):
        folder_path.mkdir(parents=True, exist_ok=True)
        with locked(resolve_path(folder_path)), contextlib.ExitStack() as stack:
            require_manifest(folder_path)
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
            f"{folder} contains files that fairpress did not write, or that were edited since, under names it would write "
            f"({abbreviate(sorted(set(taken)))}); move them away or choose another folder."
        )


def _linked(folder: Path, name: str) -> str | None:
    """Return the first part of a path that is a symbolic link, which may point anywhere."""
    parts = Path(name).parts
    prefixes = [Path(*parts[: i + 1]) for i in range(len(parts))]
    return next((prefix.as_posix() for prefix in prefixes if (folder / prefix).is_symlink()), None)


def write_file(
    target: PathLike, data: bytes | memoryview | str, *, kind: str | None = None, force: bool = False
) -> Path:
    """Write a single file, whole or not at all; text is sealed, so that later edits are noticed.

    Parameters
    ----------
    kind
        Kind of file, as in `is_fairpress_file`; by default it follows from the suffix.

    Raises
    ------
    UserError
        The file exists, fairpress did not write it or it was edited since, and `force` is false; or it cannot be written.
    """
    path = Path(target)
    check_file(path, "", kind, force)
    if isinstance(data, str):
        data = sealed(path, data, kind).encode("utf-8", "replace")
    write_bytes(path, data)
    return path


@contextlib.contextmanager
def _write_errors(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(
            f"cannot write {target} ({error.strerror or error}); choose a path you may write to."
        ) from None
