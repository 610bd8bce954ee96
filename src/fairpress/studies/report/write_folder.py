"""A study's folder: what stands in it, written whole or not at all, next to files of the user's that stay."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from fairpress.core import output
from fairpress.core.errors import UserError
from fairpress.core.json_file import read_json

NAMES = ("*.json", "report.html", "figures/*.svg", "predictions.parquet", "predictions/*.parquet")
"""What a study's folder holds that was written before there was a manifest."""

PROGRESS = "progress.json"


def slug(text: str) -> str:
    """Return a file name: letters, digits, dots and single dashes."""
    return re.sub(r"[^A-Za-z0-9.]+", "-", text).strip("-.")


def check_out(out: Path) -> None:
    """Refuse, before the work, a folder in which a study must not write; see `core.output.check_shared_folder`."""
    output.check_shared_folder(out, is_owned=_is_study, description="a study's folder")


def write(out: Path, files: Mapping[str, bytes], *, prune: bool = True) -> None:
    """Write files below a study's folder: all next to their places first, then all into them.

    What fairpress wrote there before and is not among them, such as figures of an earlier run, is removed; files of the
    user's never are.

    Raises UserError when that fails, such as on a full disk; what stood there before then still does.
    """
    try:
        output.write_files(out, files, legacy=NAMES, prune=prune)
    except UserError as error:
        raise UserError(f"{error} Finished work stays in the store.") from None


def _is_study(folder: Path) -> bool:
    """Return whether a folder without a manifest is a study's: by its study.json, or because a run was interrupted in it."""
    names = {p.name for p in folder.iterdir() if not p.name.startswith(f".{PROGRESS}")}
    if names <= {PROGRESS}:
        return not names or _has_keys(folder / PROGRESS, {"command", "process", "host"})
    return _has_keys(folder / "study.json", {"name", "study", "command"})


def _has_keys(path: Path, keys: set[str]) -> bool:
    """Return whether a file is a JSON mapping that has these keys, as fairpress writes them."""
    try:
        content = read_json(path, "a study's file")
    except UserError:
        return False
    return isinstance(content, dict) and keys <= content.keys()
