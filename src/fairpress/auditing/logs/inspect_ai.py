"""Logs of inspect_ai (``.eval``, ``.json``) as a table to audit, read by inspect_ai itself (the extra ``logs``)."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from importlib import util
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fairpress.auditing.logs.inspect_samples import InspectLog, inspect_table
from fairpress.auditing.logs.log_options import model_paths, names_in
from fairpress.auditing.logs.pairing import check_unpaired
from fairpress.core.errors import MissingExtra, UserError, listed
from fairpress.core.public_function import public_function

if TYPE_CHECKING:
    import pyarrow as pa

SAME = {"input": "other inputs", "target": "other targets"}
"""What must be the same for all models, and what it is called where it is not."""


@public_function
def read_inspect(
    models: Mapping[str, str | os.PathLike[str]],
    *,
    tasks: Sequence[str] | str = (),
    scorer: str | None = None,
    better: str | None = None,
    fields: Sequence[str] | str = (),
    unpaired: str = "refuse",
    same: Sequence[str] | str = tuple(SAME),
) -> pa.Table:
    """Return logs of inspect_ai as a table for `audit`.

    Columns: ``item``, ``task``, ``epoch``, ``label``, one per model, and ``metadata.…``, the metadata of samples whose
    values repeat. With several epochs the sample is the unit of every interval.

    Parameters
    ----------
    models
        Model → a log, or a folder of logs, the newest of each task; the first model is the default baseline.
    tasks
        Tasks to read, names or patterns; by default all.
    scorer
        The scorer, where a log has several. Of multiple choice, the classes are the letters that each model answered; with
        other scores of C and I, or 1 and 0, right and wrong (no answer, N, is wrong); with partial credit or numbers, the
        number.
    better
        ``"higher"`` or ``"lower"``, for scores that are numbers.
    fields
        Metadata to keep even if no value repeats.
    unpaired
        Samples that are missing on one side, occur twice, or are other ones: ``"refuse"``, or ``"drop"`` with a warning.
    same
        What must be the same for all models: ``"input"``, ``"target"``.

    Raises
    ------
    UserError
        Logs cannot be read or paired, or a choice is not obvious. `MissingExtra` where inspect_ai is not installed.
    """
    check_unpaired(unpaired)
    required = names_in(same, SAME, "same")
    patterns = (tasks,) if isinstance(tasks, str) else tuple(tasks)
    kept = (fields,) if isinstance(fields, str) else tuple(fields)
    paths = model_paths(models, "read_inspect")
    if util.find_spec("inspect_ai") is None:
        raise MissingExtra("Reading logs of inspect_ai", "logs")
    logs = [_read(m, path, patterns) for m, path in paths.items()]
    return inspect_table(
        logs,
        scorer=scorer,
        better=better,
        fields=kept,
        unpaired=unpaired,
        same={part: SAME[part] for part in required},
        sources=paths,
    )


def _read(model: str, path: str | os.PathLike[str], patterns: Sequence[str]) -> InspectLog:
    """Return the samples of the newest log of each task."""
    newest: dict[str, tuple[str, Any]] = {}
    older: list[str] = []
    for file in _files(model, Path(path)):
        log = _open(str(file))
        task = str(log.eval.task)
        if patterns and not any(_matches(task, p) for p in patterns):
            continue
        entry = (str(log.eval.created), log)
        if task in newest:
            older.append(task)
            entry = max(newest[task], entry, key=lambda e: e[0])
        newest[task] = entry
    if not newest:
        raise UserError(f"{model}: {path} has no log of a task in `tasks={list(patterns)!r}`.")
    models = sorted({str(log.eval.model) for _, log in newest.values()})
    if len(models) > 1:
        raise UserError(
            f"{model}: {path} has logs of several models ({listed(models, 4)}); name a log or folder of one of them."
        )
    notes = []
    if older:
        notes.append(
            f"{model}: several logs in {path}; the newest of each task is read ({listed(sorted(set(older)), 5)})."
        )
    warnings = [
        f"{model}: the log of {task} says {log.status!r} instead of 'success': it may hold the samples that were easy "
        "to finish."
        for task, (_, log) in newest.items()
        if log.status != "success"
    ]
    samples = [(task, s) for task, (_, log) in sorted(newest.items()) for s in log.samples or ()]
    if not samples:
        raise UserError(f"{model}: {path} has no samples; run the evaluation with --log-samples.")
    return InspectLog(model, samples, tuple(notes), tuple(warnings))


def _matches(task: str, pattern: str) -> bool:
    from fnmatch import fnmatchcase

    return fnmatchcase(task, pattern) or fnmatchcase(task.rpartition("/")[2], pattern)


def _files(model: str, path: Path) -> Iterable[Path]:
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise UserError(f"{model}: there is no file or folder {path}.")
    files = sorted(p for p in path.iterdir() if p.suffix in (".eval", ".json") and p.name != "logs.json")
    if not files:
        raise UserError(f"{model}: there is not a log of inspect_ai (.eval or .json) in {path}.")
    return files


def _open(path: str) -> Any:
    """Read a log with inspect_ai. Raises UserError for a file that it cannot read."""
    from inspect_ai.log import read_eval_log

    from fairpress.core.files import require_regular

    require_regular(path)
    try:
        return read_eval_log(path, resolve_attachments=False)
    except Exception as error:  # inspect_ai raises errors of zipfile, JSON, pydantic and others
        first = (str(error).splitlines() or [""])[0][:160]
        raise UserError(
            f"inspect_ai cannot read {path} ({type(error).__name__}: {first}); is it complete, and a log of an evaluation?"
        ) from None
