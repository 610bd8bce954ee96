"""The manifest study.json of a finished study's folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fairpress.core.errors import UserError
from fairpress.core.json_file import read_json
from fairpress.store.local import Store
from fairpress.store.remote import open_store
from fairpress.studies.config.study import StudyConfig

STUDY = "study.json"
REMEDY = "run the study again, which takes seconds if its results are in the store"


@dataclass(frozen=True)
class StudyManifest:
    """Name and config of a study, the filters it was run with, and the command that ran it."""

    name: str
    config: StudyConfig
    only: tuple[str, ...]
    command: str


def manifest_text(config: StudyConfig) -> str:
    """Return a study as JSON, with models, datasets and claims in their original order, which is that of its report."""
    return config.model_dump_json()


def read_study(folder: Path) -> StudyManifest:
    """Read the manifest of a study's folder; raise UserError if it is missing, damaged, or of another version."""
    path = folder / STUDY
    if not path.is_file():
        raise UserError(
            f"{folder} is not a study's folder: it contains no {STUDY}; create one with `fairpress study run`."
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
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise UserError(f"{path} is damaged, or of another version of fairpress; {REMEDY}.") from None


def study_store(folder: Path, store: str | Path | None) -> Store:
    """Return the store of a study: at the given address, or ``.store`` next to its folder."""
    return open_store(store if store is not None else folder.resolve().parent / ".store")


def missing_study_error(folder: Path, manifest: StudyManifest, store: Store) -> UserError:
    """Return the error for a study whose results are not in the store."""
    command = f"`{manifest.command}`" if manifest.command else "`fairpress study run`"
    return UserError(
        f"{folder}: results of this study are not in {store.address}, or are of other data or other versions; "
        f"give their location with `store=`, or recompute them with {command}."
    )
