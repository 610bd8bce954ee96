"""Find the studies, finished or in progress, and models in a folder."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from fairpress.auditing.verdicts.rules import WORST_FIRST
from fairpress.core.errors import UserError
from fairpress.dashboard.json_files import DAMAGED, Unreadable, open_regular, read_json, version
from fairpress.studies.execution.progress_file import PROGRESS, ProgressRecord, progress_of

STUDY, AUDIT, MODELS, CARD, ONNX = "study.json", "audit.json", "models.json", "card.json", "model.onnx"
MAX_DEPTH = 5
MAX_FOLDERS = 20_000
SMALL, MIDDLE = 4_000_000, 16_000_000  # bytes of a card or a progress file, and of study.json

Value = TypeVar("Value")


@dataclass(frozen=True)
class StudyEntry:
    """A study, by the path of its folder below the root.

    Attributes
    ----------
    verdict
        The worst verdict of all comparisons with the baseline; None before the study is finished.
    upper
        The largest loss that is not ruled out for some assessed group in any comparison; None where it is not known.
    networks
        Number of networks with predictions.
    progress
        Progress of a study that is running or was interrupted, else None.
    problem
        A sentence on what cannot be read; empty if everything can.
    """

    path: str
    name: str
    verdict: str | None
    networks: int
    progress: ProgressRecord | None
    problem: str = ""
    upper: float | None = None


@dataclass(frozen=True)
class ModelEntry:
    """A model folder, by its path below the root; `problem` is the reason why it cannot be read, or empty."""

    path: str
    recipe: str = ""
    target: str = ""
    bytes: int = 0
    problem: str = ""


@dataclass
class Listing:
    """Studies and models below a folder, sorted by path, with notes on what was skipped."""

    studies: list[StudyEntry] = field(default_factory=list)
    models: list[ModelEntry] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def discover(root: Path) -> Listing:
    """Return the studies and models below a folder; hidden folders and links are not followed.

    A folder that cannot be read is listed with the reason, and does not affect the others.

    Raises UserError if the root folder does not exist or cannot be listed.
    """
    listing = Listing()
    for path, names in _folders(root, listing.notes):
        relative = path.relative_to(root).as_posix()
        if names & {STUDY, PROGRESS}:
            listing.studies.append(_study(path, relative))
        else:
            listing.models.append(_model(path, relative))
    listing.studies.sort(key=lambda s: s.path)
    listing.models.sort(key=lambda m: m.path)
    return listing


def read_study(folder: Path) -> Mapping[str, Any] | None:
    """Return the content of study.json; None if the file does not exist. Raises Unreadable."""
    content = read_json(folder / STUDY, MIDDLE)
    return None if content is None else _mapping(content, STUDY)


def study_name(study: Mapping[str, Any]) -> str:
    """Return the name in the content of study.json; empty if it has none. Raises Unreadable."""
    return _text(study.get("name"), f"the name in {STUDY}")


def read_progress(folder: Path) -> ProgressRecord | None:
    """Return the progress of a study; None if it is finished or not started. Raises Unreadable."""
    content = read_json(folder / PROGRESS, SMALL)
    if content is None:
        return None
    record = progress_of(content)
    if record is None:
        raise Unreadable(f"{PROGRESS} is damaged, or of another version of fairpress.")
    return record


def read_card(folder: Path) -> Mapping[str, Any] | None:
    """Return the content of card.json; None if the file does not exist. Raises Unreadable."""
    content = read_json(folder / CARD, SMALL)
    return None if content is None else _mapping(content, CARD)


def _folders(root: Path, notes: list[str]) -> Iterator[tuple[Path, set[str]]]:
    def refused(error: OSError) -> None:
        folder = Path(error.filename or root)
        if isinstance(error, FileNotFoundError) and folder != root:  # it was removed meanwhile
            return
        if folder == root:
            raise UserError(
                f"the folder {root} cannot be listed ({error.strerror}); restore it or its permissions to see its studies."
            )
        notes.append(f"{folder.relative_to(root).as_posix()} cannot be listed ({error.strerror}).")

    for count, (folder, below, names) in enumerate(os.walk(root, onerror=refused)):
        if count >= MAX_FOLDERS:
            notes.append(
                f"Only the first {MAX_FOLDERS:,} folders were searched; start the dashboard on one of them to see more."
            )
            return
        path = Path(folder)
        deep = len(path.relative_to(root).parts)
        below[:] = sorted(b for b in below if not b.startswith(".") and deep < MAX_DEPTH)
        known_files = set(names) & {STUDY, PROGRESS, CARD, ONNX}
        if known_files & {STUDY, PROGRESS} or {CARD, ONNX} <= known_files:
            yield path, known_files


def _study(path: Path, relative: str) -> StudyEntry:
    problems: list[str] = []

    def tried(read: Callable[[], Value], default: Value) -> Value:
        try:
            return read()
        except DAMAGED as error:
            problems.append(str(error) if isinstance(error, UserError) else _unexpected(error))
            return default

    name = tried(lambda: study_name(read_study(path) or {}), "")
    progress = tried(lambda: read_progress(path), None)
    verdict, upper = tried(lambda: _summary(path / AUDIT, _verdict), None) or (None, None)
    networks = tried(lambda: _summary(path / MODELS, _networks), None)
    tried(lambda: _utf8(relative), None)
    name = name or (progress.name if progress else path.name)
    return StudyEntry(relative, name, verdict, networks or 0, progress, " ".join(problems), upper)


def _model(path: Path, relative: str) -> ModelEntry:
    try:
        _utf8(relative)
        card = read_card(path) or {}
        with open_regular(path / ONNX) as file:
            size = os.fstat(file.fileno()).st_size
        recipe = _text(card.get("recipe"), "the recipe in card.json") or "fp32"
        return ModelEntry(relative, recipe, str(card.get("target", "")), size)
    except DAMAGED as error:
        return ModelEntry(
            relative, problem=str(error) if isinstance(error, UserError) else _unexpected(error)
        )


def _unexpected(error: BaseException) -> str:
    return f"its files are damaged, or of another version of fairpress ({type(error).__name__})."


def _summary(path: Path, summarize: Callable[[Path], Value]) -> Value | None:
    """Return the summary of a large file, cached until the file changes."""
    try:
        summary: Value = _summarized(path, summarize, version(path.lstat()))
    except FileNotFoundError:
        return None
    return summary


@lru_cache(maxsize=4096)
def _summarized(path: Path, summarize: Callable[[Path], Value], _version: tuple[int, ...]) -> Value:
    return summarize(path)


def _verdict(path: Path) -> tuple[str | None, float | None]:
    """Return the worst verdict of all comparisons, and the largest loss that is not ruled out."""
    audits = _mapping(read_json(path) or {}, AUDIT)
    comparisons = [
        c
        for a in audits.values()
        for c in _mapping(_mapping(a, AUDIT).get("comparisons", {}), AUDIT).values()
        if isinstance(c, Mapping)
    ]
    verdicts = {c.get("verdict") for c in comparisons if isinstance(c.get("verdict"), str)}
    uppers = [b[0].get("upper") for c in comparisons if isinstance(b := c.get("bounds"), list) and b]
    finite = [float(u) for u in uppers if isinstance(u, (int, float)) and math.isfinite(u)]
    return next((v for v in WORST_FIRST if v in verdicts), None), max(finite, default=None)


def _networks(path: Path) -> int:
    facts = read_json(path) or []
    if not isinstance(facts, list):
        raise Unreadable(f"{MODELS} is damaged: it does not contain a list.")
    return len(facts)


def _mapping(value: Any, name: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise Unreadable(f"{name} is damaged, or of another version of fairpress.")
    return value


def _text(value: Any, field_name: str) -> str:
    if value is not None and not isinstance(value, str):
        raise Unreadable(f"{field_name} is not text.")
    return value or ""


def _utf8(relative: str) -> None:
    try:
        relative.encode()
    except UnicodeEncodeError:
        raise Unreadable("the folder's name is not UTF-8 text; rename it.") from None
