"""What is in a folder: studies, finished or in progress, and models."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fairpress.auditing.verdict import WORST_FIRST
from fairpress.dashboard.files import read_json
from fairpress.dashboard.inside import inside, own
from fairpress.studies.progress_file import PROGRESS, Progressing, read_progress

STUDY, AUDIT, MODELS, CARD, ONNX = "study.json", "audit.json", "models.json", "card.json", "model.onnx"
DEEPEST = 5


@dataclass(frozen=True)
class Study:
    """A study's folder, by its path below the root.

    Attributes
    ----------
    verdict
        The worst of all comparisons with the baseline; None before the study is finished.
    networks
        Networks that predicted.
    progress
        Where it is, while it runs or after it was interrupted.
    """

    path: str
    name: str
    command: str
    verdict: str | None
    networks: int
    progress: Progressing | None


@dataclass(frozen=True)
class Model:
    """A model folder, by its path below the root."""

    path: str
    recipe: str
    target: str
    bytes: int


def look(root: Path) -> tuple[list[Study], list[Model]]:
    """Return the studies and the models below a folder, by their paths; hidden folders and links out are not entered."""
    studies, models = [], []
    for path, names in _folders(root):
        where = path.relative_to(root.resolve()).as_posix()
        if names & {STUDY, PROGRESS}:
            studies.append(_study(path, where))
        elif {CARD, ONNX} <= names:
            model = _model(path, where)
            if model is not None:
                models.append(model)
    return sorted(studies, key=lambda s: s.path), sorted(models, key=lambda m: m.path)


def _folders(root: Path) -> Iterator[tuple[Path, set[str]]]:
    top = root.resolve()
    for folder, below, names in os.walk(top):
        path = Path(folder)
        deep = len(path.relative_to(top).parts)
        below[:] = sorted(b for b in below if not b.startswith(".") and deep < DEEPEST)
        found = {n for n in names if n in (STUDY, PROGRESS, CARD, ONNX) and _within(top, path / n)}
        if found:
            yield path, found


def _within(top: Path, path: Path) -> bool:
    return not path.is_symlink() or inside(top, path.relative_to(top).as_posix()) is not None


def _study(path: Path, where: str) -> Study:
    told = _mapping(read_json(path / STUDY))
    progress = read_progress(path) if own(path / PROGRESS, path) else None
    audits = _mapping(read_json(path / AUDIT)).values()
    found = {
        str(c.get("verdict"))
        for a in audits
        if isinstance(a, Mapping)
        for c in _mapping(a.get("comparisons")).values()
        if isinstance(c, Mapping)
    }
    facts = read_json(path / MODELS)
    return Study(
        where,
        str(told.get("name") or (progress.name if progress else path.name)),
        str(told.get("command") or (progress.command if progress else "")),
        next((v for v in WORST_FIRST if v in found), None),
        len(facts) if isinstance(facts, list) else 0,
        progress,
    )


def _model(path: Path, where: str) -> Model | None:
    card = _mapping(read_json(path / CARD))
    if not card:
        return None
    recipe = card.get("recipe") or "fp32"
    return Model(where, str(recipe), str(card.get("target", "")), (path / ONNX).stat().st_size)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
