"""Recognize what fairpress wrote: by the manifest of a folder, or by a mark in a single file."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

from fairpress.core.errors import UserError
from fairpress.core.files import PathLike, digest, digest_of
from fairpress.core.json_file import read_json

MANIFEST = ".fairpress.json"
SCHEMA = "fairpress.files/1"
UNFINISHED = ".fairpress.unfinished"
"""Exists in a hidden folder while that is being filled."""

MARKS: Mapping[str, re.Pattern[str]] = {
    ".html": re.compile(
        r'<meta name="generator" content="fairpress">|<section aria-label="At a glance" id="glance">'
    ),
    ".md": re.compile(
        r"\A---\n(?:.*\n)*?tags:\n(?:- .*\n)*- fairpress\n|\A### Who pays for the compression\?"
    ),
    ".tex": re.compile(r"\A% Written by fairpress"),
    ".json": re.compile(r'"schema": ?"fairpress\.'),
}
"""Suffix → the mark near the beginning of files that fairpress wrote."""

TABLES: Mapping[str, re.Pattern[bytes]] = {
    "cells": re.compile(rb"fairpress\.rows"),
    "predictions": re.compile(rb"fairpress\.(?:runtimes|task)"),
}
"""Kind of a Parquet file → the mark near its end. A CSV file cannot be distinguished from one of the user's."""

SEALS: Mapping[str, str] = {
    ".html": "<!-- fairpress sha256 {} -->",
    ".md": "<!-- fairpress sha256 {} -->",
    ".tex": "% fairpress sha256 {}",
}
"""Suffix → the comment at the end of the file that shows whether it was edited."""

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

_PDF_SEAL = b"% fairpress sha256 "
_MARK_BYTES, _MAX_MANIFEST_BYTES = 65_536, 16 << 20


def manifest_of(digests: Mapping[str, Sequence[str]]) -> bytes:
    """Return the manifest of a folder: file → its sha256, two of them while a file is being replaced."""
    files = {name: list(file_digests) for name, file_digests in sorted(digests.items())}
    return (json.dumps({"schema": SCHEMA, "files": files}, indent=1) + "\n").encode()


def read_manifest(folder: Path) -> dict[str, list[str]] | None:
    """Return file → sha256 digests; None where there is no manifest, or one that fairpress did not write."""
    path = folder / MANIFEST
    try:
        if path.is_symlink():
            return None
        raw = read_json(path, "a list of files", _MAX_MANIFEST_BYTES)
        if raw["schema"] != SCHEMA or not all(_is_below(name) for name in raw["files"]):
            return None
        return {str(name): [str(d) for d in file_digests] for name, file_digests in raw["files"].items()}
    except (UserError, OSError, TypeError, KeyError, AttributeError):
        return None


def _is_below(name: str) -> bool:
    """Return whether a name in a manifest stays within its folder."""
    parts = PurePosixPath(name).parts
    return bool(parts) and not {"..", "/"} & {*parts} and not set("\\:\0") & {*name} and name != MANIFEST


def has_invalid_manifest(folder: Path) -> bool:
    """Return whether something other than a manifest exists under the manifest's name."""
    return os.path.lexists(folder / MANIFEST) and read_manifest(folder) is None


def user_files(folder: Path) -> list[str]:
    """Return the files and folders below `folder` that fairpress did not write, or that were edited since, sorted."""
    manifest = read_manifest(folder)
    out = []
    for path in _all_paths(folder):
        name = path.relative_to(folder).as_posix()
        if name == MANIFEST:
            if manifest is None:
                out.append(name)
        elif path.is_symlink() or not path.is_file():
            out.append(name)
        elif manifest is not None and name in manifest:
            if differs(path, manifest[name]):
                out.append(name)
        elif manifest is not None or not (
            _is_legacy(folder, name) or (name == CARD and is_fairpress_file(path))
        ):
            out.append(name)  # also what fairpress wrote there on request, such as a table of predictions
    return sorted(out)


def is_scratch(folder: Path) -> bool:
    """Return whether a hidden folder was being filled, or contains only what fairpress wrote."""
    return (folder / UNFINISHED).is_file() or not user_files(folder)


def differs(path: Path, digests: Sequence[str]) -> bool:
    """Return whether a file exists and has none of these digests; an unreadable file has none."""
    try:
        return path.is_file() and digest_of(path) not in digests
    except OSError:
        return True


def _is_legacy(folder: Path, name: str) -> bool:
    return name in LEGACY and (folder / "card.json").is_file() and (folder / "model.onnx").is_file()


def _all_paths(folder: Path) -> Iterator[Path]:
    """Yield files, links, empty folders and those that cannot be read below a folder; links are not followed."""
    errors: list[OSError] = []
    for parent_name, folders, files in os.walk(folder, onerror=errors.append):
        parent = Path(parent_name)
        yield from (parent / f for f in files)
        yield from (parent / f for f in folders if (parent / f).is_symlink())
        if not folders and not files and parent != folder:
            yield parent
    yield from (Path(error.filename) for error in errors)


def is_fairpress_file(path: Path, kind: str | None = None) -> bool:
    """Return whether a file has the mark of fairpress and was not edited since.

    Parameters
    ----------
    kind
        One of `MARKS` or `TABLES`: the kind it must be; by default it follows from the suffix.
    """
    kind = kind or path.suffix.lower()
    try:
        if path.is_symlink() or not path.is_file():
            return False
        if kind == ".pdf":
            return _is_sealed_pdf(path.read_bytes())
        with path.open("rb") as file:
            if kind in (*TABLES, ".parquet", ".pq"):
                file.seek(max(0, path.stat().st_size - _MARK_BYTES))
                end = file.read(_MARK_BYTES)
                marks = [TABLES[kind]] if kind in TABLES else TABLES.values()
                return end.endswith(b"PAR1") and any(mark.search(end) for mark in marks)
            head = file.read(_MARK_BYTES).decode("utf-8", "replace")
        mark = MARKS.get(kind)
        if mark is None or mark.search(head) is None:
            return False
        return kind not in SEALS or not _edited(path, SEALS[kind])
    except OSError:
        return False


def sealed(path: PathLike, text: str, kind: str | None = None) -> str:
    """Return a text with a comment at its end that contains its sha256, so that edits are noticed.

    Files whose format has no comments are left as they are.
    """
    comment = SEALS.get(kind or Path(path).suffix.lower())
    if comment is None:
        return text
    body = text.rstrip()
    return f"{body}\n{comment.format(digest(body.encode('utf-8', 'replace')))}\n"


def sealed_pdf(data: bytes) -> bytes:
    """Return a PDF with a comment after its end that contains its sha256; readers ignore it."""
    return data.rstrip(b"\r\n") + b"\n" + _PDF_SEAL + digest(data.rstrip(b"\r\n")).encode() + b"\n"


def _is_sealed_pdf(data: bytes) -> bool:
    body, _, seal = data.rpartition(b"\n" + _PDF_SEAL)
    return seal == digest(body).encode() + b"\n"


def _edited(path: Path, comment: str) -> bool:
    """Return whether a sealed file was changed since it was written, such as by a line after its end."""
    before, after = map(re.escape, comment.split("{}"))
    text = path.read_bytes().decode("utf-8", "replace")  # unchanged: a name may contain a carriage return
    seals = list(re.finditer(rf"\n{before}([0-9a-f]{{64}}){after}", text))
    if not seals:  # one of an earlier version
        return False
    seal = seals[-1]
    return bool(text[seal.end() :].strip()) or digest(text[: seal.start()].encode()) != seal[1]
