"""Write the report of a study again from the results that are kept; nothing is trained, run or counted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from fairpress.core.errors import UserError
from fairpress.core.places import require_writable
from fairpress.store.content import Store
from fairpress.studies.config import StudyConfig
from fairpress.studies.executor import Outcome
from fairpress.studies.prepare import prepare
from fairpress.studies.report import Finished, write_report
from fairpress.studies.sections import report_plan

STUDY = "study.json"


def report_again(folder: Path, *, store: Path | None = None) -> Finished:
    """Write a study's folder again, as this version of fairpress words and draws it.

    Parameters
    ----------
    folder
        What `run_study` wrote; its study.json says which study it is of.
    store
        Where the results are; ``.store`` beside the folder by default.

    Raises
    ------
    UserError
        No such study, or its results are not in the store (other data, another version of a library, another place).
    """
    name, config, only, command = _read(folder)
    require_writable(folder)
    place = Store(store if store is not None else folder.resolve().parent / ".store")
    ready = prepare(config, place, only, remember=False)
    report, undone = ready.report, []
    if any(not place.has(key) for key in report.needed):
        # Of a study of which some trials failed, what there is is reported.
        undone = [task for task in ready.layout.tasks if not place.has(task.key)]
        absent = frozenset(task.key for task in undone)
        report = report_plan(config, ready.layout, ready.data, ready.only, absent)
    tasks = {task.key: task for task in (*ready.layout.tasks, *report.tasks)}
    lost = [key for key in report.needed if not place.has(key)]
    if lost or not report.sections:
        again = f"`{command}`" if command else "`fairpress study run`"
        raise UserError(
            f"{folder}: results of this study are not in {place.root}, or were made from other data or by other versions; "
            f"name their place with --store, or make them by {again}."
        )
    return write_report(name, ready, report, Outcome(skipped=undone), tasks, place, folder, command)


def _read(folder: Path) -> tuple[str, StudyConfig, list[str], str]:
    """Return name, config, filters and command of a study's folder."""
    path = folder / STUDY
    if not path.is_file():
        raise UserError(
            f"{folder} is no study's folder: there is no {STUDY}; `fairpress study run` writes one."
        )
    try:
        told: Any = json.loads(path.read_text(encoding="utf-8"))
        config = StudyConfig.model_validate_json(told["study"])
        return str(told["name"]), config, [str(o) for o in told.get("only", [])], str(told["command"])
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}.") from None
    except (ValueError, KeyError, TypeError, AttributeError, ValidationError):
        raise UserError(
            f"{path} is damaged, or of another version of fairpress; run the study again, which takes seconds where its "
            "results are kept."
        ) from None
