"""Durations of earlier tasks, to start the longest path first and to estimate the duration of a study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from fairpress.store.local import Store
from fairpress.studies.planning.plan import Kind, StudyTask

# Seconds of tasks that never ran: only their order matters.
DEFAULT_SECONDS: Mapping[Kind, float] = {
    "train": 20.0,
    "compress": 10.0,
    "predict": 2.0,
    "naive": 1.0,
    "join": 1.0,
    "audit": 3.0,
    "tradeoff": 3.0,
    "claims": 2.0,
}


class TaskDurations:
    """Durations of tasks in seconds, from the metadata of the store's entries."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def last(self, task: StudyTask) -> float | None:
        """Return the seconds the task took when it ran; None if it never ran."""
        meta = self._store.meta(task.key) if task.key in self._stored_keys else None
        return None if meta is None else _seconds(meta)

    def expected(self, task: StudyTask) -> float | None:
        """Return the seconds the task took, or the mean of tasks of the same kind, recipe, dataset and size, or None."""
        last = self.last(task)
        if last is not None:
            return last
        similar = self._similar.get(_shape(task))
        return sum(similar) / len(similar) if similar else None

    def paths(self, tasks: Sequence[StudyTask]) -> dict[str, float]:
        """Return key → seconds from the start of a task to the end of its longest chain of readers.

        `tasks` must list inputs before their readers.
        """
        readers: dict[str, float] = {}
        longest: dict[str, float] = {}
        for task in reversed(tasks):
            expected = self.expected(task)
            longest[task.key] = (DEFAULT_SECONDS[task.kind] if expected is None else expected) + readers.get(
                task.key, 0.0
            )
            for key in task.inputs:
                readers[key] = max(readers.get(key, 0.0), longest[task.key])
        return longest

    @cached_property
    def _stored_keys(self) -> frozenset[str]:
        return frozenset(self._store.all_keys())

    @cached_property
    def _similar(self) -> dict[tuple[Any, ...], list[float]]:
        seconds_of: dict[tuple[Any, ...], list[float]] = {}
        for meta in self._store.metas():
            seconds = _seconds(meta)
            if seconds is not None:
                shape = tuple(meta.get(k) for k in ("kind", "recipe", "dataset", "networks"))
                seconds_of.setdefault(shape, []).append(seconds)
        return seconds_of


def _shape(task: StudyTask) -> tuple[Any, ...]:
    return (task.kind, task.recipe, task.params.get("dataset", {}).get("name", ""), len(task.networks))


def _seconds(meta: Mapping[str, Any]) -> float | None:
    seconds = meta.get("seconds")
    return float(seconds) if isinstance(seconds, (int, float)) else None
