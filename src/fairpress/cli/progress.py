"""How far a long command is, on the error stream: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

PATIENCE, INTERVAL = 3.0, 15.0
QUIET = 25.0
"""Seconds after which a command that shows nothing says that it is still at work."""

_shown = 0.0


class ProgressBar:
    """A context manager; calling it with what is being done, how much is done, and how much there is, shows that.

    Work of less than three seconds shows nothing.
    """

    def __init__(self, unit: str) -> None:
        self._unit = unit
        self._next = time.monotonic() + PATIENCE
        self._bar: Any = None
        self._line: Any = None

    def __call__(self, what: str, done: int, total: int) -> None:
        now = time.monotonic()
        if self._bar is not None:
            _touch()
            self._bar.update(self._line, description=what, completed=done, total=total)
        elif now >= self._next and done < total:
            self._next = now + INTERVAL
            if sys.stderr.isatty():
                self._start(what, done, total)
            else:
                sys.stderr.write(f"{what}: {done:,} of {total:,} {self._unit}\n")
                _touch()

    def _start(self, what: str, done: int, total: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._bar = Bar(*columns, console=Console(stderr=True), transient=True)
        self._line = self._bar.add_task(what, completed=done, total=total)
        self._bar.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()


def progress_callback() -> Callable[[str], None]:
    """Return what prints sentences on standard error; of epochs that fly by, not more than one a second."""
    last = 0.0

    def tell(sentence: str) -> None:
        nonlocal last
        if sentence.startswith("epoch") and time.monotonic() - last < 1:
            return
        last = time.monotonic()
        sys.stderr.write(f"{sentence}\n")
        sys.stderr.flush()
        _touch()

    return tell


class SignOfLife:
    """While it is entered, a command that has shown no progress for a while says on standard error that it is at work."""

    def __init__(self, command: str) -> None:
        self._command = command
        self._over = threading.Event()

    def __enter__(self) -> Self:
        self._begun = time.monotonic()
        _touch()
        threading.Thread(target=self._watch, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()

    def _watch(self) -> None:
        while not self._over.wait(max(0.0, _shown + QUIET - time.monotonic()) or QUIET):
            if time.monotonic() - _shown >= QUIET:
                seconds = time.monotonic() - self._begun
                with contextlib.suppress(OSError, ValueError):  # nobody reads it, or it is closed
                    sys.stderr.write(f"fairpress {self._command}: at work for {seconds:.0f} s\n")
                    sys.stderr.flush()
                _touch()


def _touch() -> None:
    """Remember that something was shown just now."""
    global _shown
    _shown = time.monotonic()
