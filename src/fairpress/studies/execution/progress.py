"""Show the progress of a study: a bar on a terminal, one line per task elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

from fairpress.studies.execution.progress_file import ProgressFile
from fairpress.studies.execution.time_left import TimeLeft, duration_text
from fairpress.studies.planning.plan import StudyTask


class StudyProgress:
    """A context manager whose methods are the callbacks of `run_study`; writes to the error stream.

    With a file, other processes can follow the progress; `time_left` estimates the time that the bar shows.
    """

    def __init__(self, file: ProgressFile | None = None, time_left: TimeLeft | None = None) -> None:
        self._file = file
        self._time_left = time_left or TimeLeft()
        self._bar: Any = None
        self._line: Any = None
        self._total = self._done = 0

    def plan(self, tasks: Sequence[StudyTask]) -> None:
        """Add planned tasks; after failures more may be added."""
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, Task, TextColumn
        from rich.progress import Progress as Bar
        from rich.text import Text

        self._total += len(tasks)
        self._time_left.plan(tasks)
        if self._file is not None:
            self._file.plan(tasks)
        if sys.stderr.isatty() and self._bar is None:
            time_left = self._time_left

            class Left(ProgressColumn):
                def render(self, task: Task) -> Text:
                    return Text("" if task.finished else duration_text(time_left.seconds()))

            columns = (
                BarColumn(bar_width=24),
                MofNCompleteColumn(),
                Left(),
                TextColumn("{task.description}"),
            )
            self._bar = Bar(*columns, console=Console(stderr=True), transient=True)
            self._line = self._bar.add_task("", total=self._total)
            self._bar.start()
        elif self._bar is not None:
            self._bar.update(self._line, total=self._total)

    def event(self, event: str, task: StudyTask) -> None:
        """Show one event."""
        if self._file is not None:
            self._file.event(event, task)
        self._time_left.event(event, task)
        if event != "started":
            self._done += 1
        if self._bar is not None:
            now = "writing the report" if self._done >= self._total else f"{event} {task.title}"
            self._bar.update(self._line, completed=self._done, description=now)
        elif event not in ("started", "reused"):
            sys.stderr.write(f"[{self._done}/{self._total}] {event} {task.title}\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # An interrupted study keeps its file, to show that it can be resumed.
        if self._file is not None:
            interrupted = kind is not None and issubclass(kind, KeyboardInterrupt)
            (self._file.leave if interrupted else self._file.close)()
        if self._bar is not None:
            self._bar.stop()
