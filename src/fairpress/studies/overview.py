"""Preview a study: which results exist, which would be computed, and how long that takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from fairpress.store.local import Store
from fairpress.studies.execution.executor import unfinished
from fairpress.studies.execution.local_engine import n_cores
from fairpress.studies.planning.durations import TaskDurations
from fairpress.studies.planning.plan import Kind, StudyTask
from fairpress.studies.planning.prepare import PreparedStudy

State = Literal["done", "to run", "damaged", "not needed"]


@dataclass(frozen=True)
class OverviewRow:
    """One task: its depth below a task without inputs, and the seconds it took or, in `about`, similar tasks took."""

    title: str
    kind: Kind
    key: str
    depth: int
    state: State
    seconds: float | None
    about: float | None


@dataclass(frozen=True)
class Overview:
    """The tasks in reading order, and the seconds expected on `workers`; None if some tasks were never timed."""

    lines: tuple[OverviewRow, ...]
    workers: int
    expected: float | None

    def count(self, state: State) -> int:
        """Return the number of tasks in a state."""
        return sum(line.state == state for line in self.lines)

    def to_dict(self) -> dict[str, Any]:
        """Return the overview as plain values."""
        return asdict(self)


def overview(study: PreparedStudy, store: Store, workers: int | None = None) -> Overview:
    """Return the tasks that running a prepared study would execute, without changing anything."""
    by_key = {task.key: task for task in study.tasks}
    states = {key: store.state(key) for key in by_key}
    pending = unfinished(by_key, study.report.needed, lambda key: states[key] == "complete")
    times = TaskDurations(store)
    lines = []
    for task, depth in _tree(study.tasks):
        complete = states[task.key] == "complete"
        state: State = "done" if complete else "not needed"
        if task.key in pending:
            state = "damaged" if states[task.key] == "damaged" else "to run"
        seconds = times.last(task) if complete else None
        estimate = None if complete else times.expected(task)
        lines.append(OverviewRow(task.title, task.kind, task.key, depth, state, seconds, estimate))
    count = workers or n_cores()
    expected = [times.expected(by_key[key]) for key in pending]
    estimates = [e for e in expected if e is not None]
    longest = times.paths([task for task in study.tasks if task.key in pending])
    total = None
    if len(estimates) == len(expected):
        total = max(sum(estimates) / count, max(longest.values(), default=0.0))
    return Overview(tuple(lines), count, total)


def _tree(tasks: Sequence[StudyTask]) -> list[tuple[StudyTask, int]]:
    """Return tasks with their depth, each below its first input; joins and audits come last."""
    below: dict[str | None, list[StudyTask]] = {}
    for task in tasks:
        first = task.inputs[0] if task.inputs and task.kind != "join" else None
        below.setdefault(first, []).append(task)
    tree: list[tuple[StudyTask, int]] = []
    stack = [(task, 0) for task in reversed(below.get(None, []))]
    while stack:
        task, depth = stack.pop()
        tree.append((task, depth))
        stack += [(t, depth + 1) for t in reversed(below.get(task.key, []))]
    return tree
