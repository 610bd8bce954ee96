"""The progress of a running study, in a file next to its results for other processes to read."""

from __future__ import annotations

import contextlib
import json
import math
import os
import socket
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from fairpress.core.errors import UserError
from fairpress.core.files import write_text
from fairpress.core.json_file import SMALL_FILE_BYTES, read_json
from fairpress.studies.planning.plan import StudyTask

PROGRESS = "progress.json"
WRITE_INTERVAL = 1.0
MAX_TASKS = 10**9
State = Literal["running", "interrupted"]


@dataclass(frozen=True)
class ProgressRecord:
    """The progress of a study that has started and not finished.

    Attributes
    ----------
    total, done, failed
        Numbers of tasks: all, ended (reused, finished, failed or skipped), and failed.
    running
        Titles of the running tasks.
    process, host
        Process id and host name of the driver.
    started, updated
        Seconds since 1970.
    """

    name: str
    command: str
    total: int = 0
    done: int = 0
    failed: int = 0
    running: tuple[str, ...] = ()
    process: int = 0
    host: str = ""
    started: float = 0.0
    updated: float = 0.0

    @property
    def state(self) -> State:
        """Return whether the driver still runs; on another host, whether its last update is less than 10 minutes old."""
        if self.host != socket.gethostname():
            return "running" if time.time() - self.updated < 600 else "interrupted"
        try:
            os.kill(self.process, 0)
        except ProcessLookupError:
            return "interrupted"
        except PermissionError:  # the process belongs to another user
            return "running"
        return "running"


@dataclass
class ProgressFile:
    """Keeps progress.json in a study's folder up to date, and removes it when the study has finished.

    It is written at most once per second, with the events of that second together, so that a thousand short tasks do not
    wait for a thousand files. An interrupted study leaves the file, whose process no longer exists. Failures to write are
    ignored here: writing the report raises them.
    """

    folder: Path
    name: str
    command: str
    _record: ProgressRecord = field(init=False)
    _written_at: float = field(default=-WRITE_INTERVAL, init=False)
    _closed: bool = field(default=False, init=False)
    _timer: threading.Timer | None = field(default=None, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    def __post_init__(self) -> None:
        begun = time.time()
        self._record = ProgressRecord(
            self.name, self.command, process=os.getpid(), host=socket.gethostname(), started=begun
        )

    def plan(self, tasks: Sequence[StudyTask]) -> None:
        """Add planned tasks."""
        self._record = replace(self._record, total=self._record.total + len(tasks))
        self._write()

    def event(self, event: str, task: StudyTask) -> None:
        """Record one event."""
        running = tuple(t for t in self._record.running if t != task.title)
        ended = event != "started"
        self._record = replace(
            self._record,
            running=running if ended else (*running, task.title),
            done=self._record.done + ended,
            failed=self._record.failed + (event == "failed"),
        )
        wait = self._written_at + WRITE_INTERVAL - time.monotonic()
        if wait <= 0:
            self._write()
        elif self._timer is None:
            self._timer = threading.Timer(wait, self._write)
            self._timer.daemon = True
            self._timer.start()

    def leave(self) -> None:
        """Write the final state of an interrupted study and keep the file."""
        self._write()
        self._end()

    def close(self) -> None:
        """Remove the file."""
        self._end()
        (self.folder / PROGRESS).unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # an otherwise empty folder was created for this file
            self.folder.rmdir()

    def _end(self) -> None:
        """Stop all writing, so that no file is incomplete when the process ends."""
        with self._lock:
            self._closed, timer = True, self._timer
        if timer is not None:
            timer.cancel()

    def _write(self) -> None:
        with self._lock:
            if self._closed:
                return
            self._written_at, self._timer = time.monotonic(), None
            with contextlib.suppress(UserError):  # a study goes on where its progress cannot be written
                write_text(
                    self.folder / PROGRESS, json.dumps(asdict(self._record) | {"updated": time.time()})
                )


def read_progress(folder: Path) -> ProgressRecord | None:
    """Return the progress of the study in a folder; None if it is not running, or the file is not from fairpress."""
    try:
        return progress_of(read_json(folder / PROGRESS, "a study's progress", SMALL_FILE_BYTES))
    except UserError:
        return None


def progress_of(content: Any) -> ProgressRecord | None:
    """Return the record in a progress file's content; None if invalid, such as with impossible numbers."""
    try:
        record = ProgressRecord(
            str(content["name"]),
            str(content["command"]),
            int(content["total"]),
            int(content["done"]),
            int(content["failed"]),
            tuple(str(t) for t in content["running"]),
            int(content["process"]),
            str(content["host"]),
            float(content["started"]),
            float(content["updated"]),
        )
    except (ValueError, KeyError, TypeError, OverflowError):
        return None
    counts = (record.total, record.done, record.failed)
    possible = all(0 <= n <= MAX_TASKS for n in counts) and 0 < record.process < 2**31
    return record if possible and math.isfinite(record.started) and math.isfinite(record.updated) else None
