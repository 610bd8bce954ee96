"""What a finished study's folder says of itself: which study it is of, and of which part."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from fairpress.core.errors import UserError
from fairpress.core.json_file import read_json
from fairpress.store.local import Store
from fairpress.store.remote import open_store
from fairpress.studies.config.study import StudyConfig

STUDY = "study.json"
REMEDY = "run the study again, which takes seconds where its results are kept"


@dataclass(frozen=True)
class StudyManifest:
    """Name and config of a study, the filters it was run with, and the command that ran it."""

    name: str
    config: StudyConfig
    only: tuple[str, ...]
    command: str


def manifest_text(config: StudyConfig) -> str:
    """Return a study as JSON, its models, datasets and claims in the order they were written in: that of its report."""
    return config.model_dump_json()


def read_study(folder: Path) -> StudyManifest:
    """Read a study's folder. Raises UserError when it is none, or was written by another version."""
    path = folder / STUDY
    if not path.is_file():
        raise UserError(
            f"{folder} is no study's folder: there is no {STUDY}; `fairpress study run` writes one."
        )
    content: Any = read_json(path, f"a study's {STUDY}", remedy=REMEDY)
    try:
        config = StudyConfig.model_validate_json(content["study"])
        return StudyManifest(
            str(content["name"]),
            config,
            tuple(str(o) for o in content.get("only", [])),
            str(content["command"]),
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, ValidationError):
        raise UserError(f"{path} is damaged, or of another version of fairpress; {REMEDY}.") from None


def study_store(folder: Path, store: str | Path | None) -> Store:
    """Return where a study's results are: the place that is named, or ``.store`` beside its folder."""
    return open_store(store if store is not None else folder.resolve().parent / ".store")


def missing_study_error(folder: Path, manifest: StudyManifest, store: Store) -> UserError:
    """Return the error of a study whose results are not in the store."""
    command = f"`{manifest.command}`" if manifest.command else "`fairpress study run`"
    return UserError(
        f"{folder}: results of this study are not in {store.address}, or were made from other data or by other versions; "
        f"name their place with --store, or make them by {command}."
    )
