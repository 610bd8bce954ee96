"""Progress on standard error: a bar on a terminal, else a line at intervals."""

from __future__ import annotations

import contextlib
import re
import sys
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from fairpress.core import progress
from fairpress.core.progress import note_shown

PATIENCE, INTERVAL = 3.0, 15.0
QUIET = 25.0
"""Seconds without output after which a command reports that it is still running."""

EPOCH = re.compile(r"(^|: )epoch ")


class ProgressBar:
    """A context manager that shows progress when it is called with a description, the units done and the total.

    Nothing is shown in the first three seconds.
    """

    def __init__(self, unit: str) -> None:
        self._unit = unit
        self._next = time.monotonic() + PATIENCE
        self._bar: Any = None
        self._line: Any = None

    def __call__(self, description: str, done: int, total: int) -> None:
        now = time.monotonic()
        if self._bar is not None:
            note_shown()
            self._bar.update(self._line, description=description, completed=done, total=total)
        elif now >= self._next and done < total:
            self._next = now + INTERVAL
            if sys.stderr.isatty():
                self._start(description, done, total)
            else:
                sys.stderr.write(f"{description}: {done:,} of {total:,} {self._unit}\n")
                note_shown()

    def _start(self, description: str, done: int, total: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._bar = Bar(*columns, console=Console(stderr=True), transient=True)
        self._line = self._bar.add_task(description, completed=done, total=total)
        self._bar.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()


def progress_callback() -> Callable[[str], None]:
    """Return a function that prints messages on standard error, those about epochs at most once per second."""
    last = 0.0

    def print_progress(sentence: str) -> None:
        nonlocal last
        if EPOCH.search(sentence) and time.monotonic() - last < 1:
            return
        last = time.monotonic()
        sys.stderr.write(f"{sentence}\n")
        sys.stderr.flush()
        note_shown()

    return print_progress


class SignOfLife:
    """A context that reports on standard error that a command without output is still running."""

    def __init__(self, command: str) -> None:
        self._command = command
        self._over = threading.Event()

    def __enter__(self) -> Self:
        self._begun = time.monotonic()
        note_shown()
        threading.Thread(target=self._watch, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()

    def _watch(self) -> None:
        while not self._over.wait(max(0.0, progress.last_shown + QUIET - time.monotonic()) or QUIET):
            if time.monotonic() - progress.last_shown >= QUIET:
                seconds = time.monotonic() - self._begun
                with contextlib.suppress(OSError, ValueError):  # the stream is closed, or has no reader
                    sys.stderr.write(f"fairpress {self._command}: running for {seconds:.0f} s\n")
                    sys.stderr.flush()
                note_shown()
