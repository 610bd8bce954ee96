"""Write a study's folder completely or not at all, without touching other files in it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from fairpress.core import output
from fairpress.core.errors import UserError
from fairpress.core.files import resolve_path
from fairpress.core.json_file import read_json
from fairpress.core.ownership import read_manifest
from fairpress.studies.execution.progress_file import PROGRESS

LEGACY_PATTERNS = ("*.json", "report.html", "figures/*.svg", "predictions.parquet", "predictions/*.parquet")
"""Patterns of the files in a study's folder that was written before manifests were introduced."""


def slug(text: str) -> str:
    """Return a file name: letters, digits, dots and single dashes."""
    return re.sub(r"[^A-Za-z0-9.]+", "-", text).strip("-.")


def check_out(out: Path, store: str | Path | None = None) -> None:
    """Raise UserError for a folder that a study must not write to; see `core.output.check_shared_folder`.

    Parameters
    ----------
    store
        The store of the study's results: the folder must neither be it nor lie in it.
    """
    output.check_shared_folder(out, is_owned=_is_study, description="a study's folder")
    local = None if store is None or "://" in str(store) else resolve_path(store)
    if local is not None and local in (resolve_path(out), *resolve_path(out).parents):
        raise UserError(f"{out} is or lies in the store {store}; choose another folder for `out=`.")


def write(out: Path, files: Mapping[str, bytes], *, prune: bool = True) -> None:
    """Write files below a study's folder: all under temporary names first, then rename them.

    Other files that fairpress wrote there before, such as figures of an earlier run, are removed; the user's files never
    are.

    Raises UserError on failure, such as on a full disk; the previous files are then unchanged.
    """
    try:
        output.write_files(out, files, legacy=LEGACY_PATTERNS, prune=prune)
    except UserError as error:
        raise UserError(f"{error} Finished results are kept in the store.") from None


def _is_study(folder: Path) -> bool:
    """Return whether a folder is a study's: by its manifest, its study.json, or the progress of an interrupted run."""
    manifest = read_manifest(folder)
    if manifest:
        return "study.json" in manifest
    names = {p.name for p in folder.iterdir() if not p.name.startswith(f".{PROGRESS}")}
    if names <= {PROGRESS}:
        return not names or _has_keys(folder / PROGRESS, {"command", "process", "host"})
    return _has_keys(folder / "study.json", {"name", "study", "command"})


def _has_keys(path: Path, keys: set[str]) -> bool:
    """Return whether a file contains a JSON mapping with these keys."""
    try:
        content = read_json(path, "a study's file")
    except UserError:
        return False
    return isinstance(content, dict) and keys <= content.keys()
