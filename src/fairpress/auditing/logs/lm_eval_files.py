"""Find what lm-evaluation-harness wrote with ``--log_samples``: the newest samples of each task, and its results."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from fairpress.core.errors import UserError, did_you_mean, listed
from fairpress.core.json_file import read_json

_SAMPLES = re.compile(r"samples_(?P<task>.+)_(?P<date>\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d(\.\d+)?)\.jsonl")
_RENAMED = "samples"
"""The task of a file that does not name it: the files of all models are then of one task."""
_RESULTS_REMEDY = "the samples are read without it if you move it away"


@dataclass(frozen=True)
class TaskFile:
    """The samples of one task.

    Attributes
    ----------
    task, path
        The name of the task, and the file.
    results
        What the results file of the same run says: ``config``, ``configs``, ``higher_is_better`` …; empty without one.
    """

    task: str
    path: str
    results: Mapping[str, Any] = field(default_factory=dict)

    def config(self) -> Mapping[str, Any]:
        """Return the configuration of the task; empty where it is not recorded."""
        return _mapping(_mapping(self.results.get("configs")).get(self.task))

    def higher_is_better(self, metric: str) -> bool | None:
        """Return whether a metric is better where it is higher; None where it is not recorded."""
        recorded = _mapping(_mapping(self.results.get("higher_is_better")).get(self.task)).get(metric)
        return recorded if isinstance(recorded, bool) else None


@dataclass(frozen=True)
class ModelFiles:
    """The files of one model, one per task in alphabetical order, and sentences on what was not read."""

    model: str
    tasks: tuple[TaskFile, ...]
    notes: tuple[str, ...]


def find_samples(model: str, path: str | os.PathLike[str], tasks: Sequence[str] = ()) -> ModelFiles:
    """Return the sample files of a model.

    Parameters
    ----------
    path
        A file of samples, or a folder in which, or in one folder below which, they lie.
    tasks
        Names or patterns such as ``xnli_*``; all tasks if empty.

    Raises
    ------
    UserError
        There are no samples, or those of several models, or no task matches.
    """
    target = Path(path)
    if target.is_dir():
        by_task = _in_folder(model, target)
    elif target.exists():
        match = _SAMPLES.fullmatch(target.name)
        if match is None and target.suffix.lower() != ".jsonl":
            raise UserError(
                f"{model}: {path} is not a file of samples; name a folder or a samples_….jsonl that "
                "`lm_eval --log_samples` wrote."
            )
        by_task = {match["task"] if match else _RENAMED: [(match["date"] if match else "", target)]}
    else:
        raise UserError(f"{model}: there is no file or folder {path}.")
    chosen = [t for t in sorted(by_task) if not tasks or any(fnmatchcase(t, pattern) for pattern in tasks)]
    absent = [p for p in tasks if not any(fnmatchcase(t, p) for t in by_task)]
    if absent:
        raise UserError(
            f"{model}: {path} has no samples of the task {absent[0]!r}." + did_you_mean(absent[0], by_task)
        )
    notes = []
    several = [t for t in chosen if len(by_task[t]) > 1]
    if several:
        notes.append(
            f"{model}: several runs in {path}; the newest of each task is read ({listed(several, 5)}: "
            f"{max(date for date, _ in by_task[several[0]])})."
        )
    results = _ResultFiles()
    files = []
    for task in chosen:
        date, file = max(by_task[task])
        files.append(TaskFile(task, str(file), results.of(file, date)))
    return ModelFiles(model, tuple(files), tuple(notes))


def _in_folder(model: str, folder: Path) -> dict[str, list[tuple[str, Path]]]:
    """Return the samples of each task, with their dates; all in one folder."""
    by_folder: dict[Path, dict[str, list[tuple[str, Path]]]] = {}
    try:
        paths = sorted(folder.rglob("samples_*.jsonl"))
    except OSError as error:
        raise UserError(f"{model}: cannot read {folder} ({error.strerror or error}).") from None
    for path in paths:
        if (match := _SAMPLES.fullmatch(path.name)) is not None:
            by_folder.setdefault(path.parent, {}).setdefault(match["task"], []).append((match["date"], path))
    if folder in by_folder:
        return by_folder[folder]
    if not by_folder:
        raise UserError(
            f"{model}: there are no samples_….jsonl in {folder}; run lm_eval with --log_samples and --output_path."
        )
    if len(by_folder) > 1:
        names = listed([str(p) for p in by_folder], 4)
        raise UserError(
            f"{model}: {folder} has samples in several folders, maybe of several models; name one of {names}."
        )
    return next(iter(by_folder.values()))


class _ResultFiles:
    """The results files beside samples, each read once."""

    def __init__(self) -> None:
        self._read: dict[Path, Mapping[str, Any]] = {}

    def of(self, samples: Path, date: str) -> Mapping[str, Any]:
        """Return the results of the run that wrote samples; empty where its file is not there."""
        path = samples.with_name(f"results_{date}.json")
        if not date or not path.is_file():
            return {}
        if path not in self._read:
            document = read_json(
                path, "a results file of lm-evaluation-harness", remedy=_RESULTS_REMEDY, finite=False
            )
            self._read[path] = _mapping(document)
        return self._read[path]


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
