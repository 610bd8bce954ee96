"""Where results go: looked at before the work, not after it."""

from __future__ import annotations

import difflib
import os
import tempfile
from collections.abc import Collection, Iterable
from pathlib import Path

from fairpress.core.errors import UserError


def require_writable(folder: str | os.PathLike[str]) -> None:
    """Raise UserError where a folder cannot be made or written, before any work is done; nothing is left behind."""
    _require(folder, Path(folder).absolute())


def require_file(target: str | os.PathLike[str]) -> None:
    """Raise UserError where a file cannot be made, such as where a folder has its name."""
    if Path(target).is_dir():
        raise UserError(f"cannot write {target} (it is a folder); choose another place.")
    _require(target, Path(target).absolute().parent)


def require_new_folder(
    target: Path, inputs: Iterable[Path], written: Collection[str], *, force: bool = False
) -> None:
    """Raise UserError unless a folder can be made without touching anything of the user's.

    Parameters
    ----------
    inputs
        What the command reads; the folder may not be one of them, lie in one, or hold one.
    written
        The files that fairpress writes into such a folder: with `force`, a folder of these only is replaced.
    """
    place = target.resolve()
    if target.is_symlink():
        raise UserError(f"{target} is a link; write --out as the folder itself.")
    if place == Path.cwd() or place in Path.cwd().parents:
        raise UserError(f"{target} is the folder you work in, or holds it; choose a new folder for --out.")
    for read in (Path(i).resolve() for i in inputs):
        if place == read or place in read.parents or read in place.parents:
            raise UserError(
                f"{target} is what is read, lies in it, or holds it ({read.name}); choose another folder for --out."
            )
    if target.is_file():
        raise UserError(f"{target} is a file; choose a new folder for --out.")
    found = sorted(p.name for p in target.iterdir()) if target.is_dir() else []
    if found and not force:
        raise UserError(
            f"{target} exists and is not empty; choose another --out, or replace it with --force."
        )
    if other := [name for name in found if name not in written or not (target / name).is_file()]:
        raise UserError(
            f"{target} holds {other[0]!r}, which fairpress did not write, and is not replaced; move that away, or choose "
            "another --out."
        )
    require_writable(target.absolute().parent)


def nearest(place: Path) -> str:
    """Return " Did you mean 'x'?" with the folder whose name is most like one that is not there; else nothing."""
    parent = place.parent
    if not parent.is_dir():
        return nearest(parent) if parent != parent.parent else ""
    names = sorted(p.name for p in parent.iterdir() if p.is_dir() and not p.name.startswith("."))
    close = difflib.get_close_matches(place.name, names, n=1, cutoff=0.5)
    return f" Did you mean {str(parent / close[0])!r}?" if close else ""


def _require(target: str | os.PathLike[str], folder: Path) -> None:
    place = folder
    while not place.exists() and place != place.parent:
        place = place.parent
    try:
        # Permissions do not tell: root has them all, also where nobody can write.
        with tempfile.TemporaryDirectory(prefix=".fairpress.", dir=place):
            return
    except OSError as error:
        raise UserError(
            f"cannot write {target}: {place} is not a folder you may write to ({error.strerror or error}); "
            "choose another place."
        ) from None
