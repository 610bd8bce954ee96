"""Where a running study is, written beside its results for others to read."""

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
SECONDS = 1.0
MAX_TASKS = 10**9
State = Literal["running", "interrupted"]


@dataclass(frozen=True)
class ProgressRecord:
    """A study that has begun and not ended.

    Attributes
    ----------
    total, done, failed
        Tasks: all, those that are over (found, finished, failed or skipped), and those that failed.
    running
        Titles of what is being done.
    process, host
        Who runs it.
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
        """Tell whether somebody is still at it; of another machine's process its last word is believed for ten minutes."""
        if self.host != socket.gethostname():
            return "running" if time.time() - self.updated < 600 else "interrupted"
        try:
            os.kill(self.process, 0)
        except ProcessLookupError:
            return "interrupted"
        except PermissionError:  # it is somebody else's
            return "running"
        return "running"


@dataclass
class ProgressFile:
    """Writes progress.json into a study's folder as the study goes on, and takes it away when the study has ended.

    It is written at most once a second: what happens meanwhile is written when the second is over, so that a thousand short
    tasks do not wait for a thousand files. A study that is interrupted leaves the file, and who reads it sees that its
    process is gone. Where the folder cannot be written, nothing is said: that is the report's to tell.
    """

    folder: Path
    name: str
    command: str
    _record: ProgressRecord = field(init=False)
    _written_at: float = field(default=-SECONDS, init=False)
    _closed: bool = field(default=False, init=False)
    _timer: threading.Timer | None = field(default=None, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    def __post_init__(self) -> None:
        begun = time.time()
        self._record = ProgressRecord(
            self.name, self.command, process=os.getpid(), host=socket.gethostname(), started=begun
        )

    def plan(self, tasks: Sequence[StudyTask]) -> None:
        """Learn of tasks to come."""
        self._record = replace(self._record, total=self._record.total + len(tasks))
        self._write()

    def event(self, event: str, task: StudyTask) -> None:
        """Take one event in."""
        running = tuple(t for t in self._record.running if t != task.title)
        ended = event != "started"
        self._record = replace(
            self._record,
            running=running if ended else (*running, task.title),
            done=self._record.done + ended,
            failed=self._record.failed + (event == "failed"),
        )
        wait = self._written_at + SECONDS - time.monotonic()
        if wait <= 0:
            self._write()
        elif self._timer is None:
            self._timer = threading.Timer(wait, self._write)
            self._timer.daemon = True
            self._timer.start()

    def leave(self) -> None:
        """Write the last word of a study that is interrupted; the file stays."""
        self._write()
        self._end()

    def close(self) -> None:
        """Take the file away."""
        self._end()
        (self.folder / PROGRESS).unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # a folder that holds nothing else was made for it
            self.folder.rmdir()

    def _end(self) -> None:
        """See to it that nothing is written any more, nor half-written when the process ends."""
        with self._lock:
            self._closed, timer = True, self._timer
        if timer is not None:
            timer.cancel()

    def _write(self) -> None:
        with self._lock:
            if self._closed:
                return
            self._written_at, self._timer = time.monotonic(), None
            with contextlib.suppress(UserError):
                write_text(
                    self.folder / PROGRESS, json.dumps(asdict(self._record) | {"updated": time.time()})
                )


def read_progress(folder: Path) -> ProgressRecord | None:
    """Return where the study of a folder is; None when it is not under way, or the file is none of ours."""
    try:
        return progress_of(read_json(folder / PROGRESS, "a study's progress", SMALL_FILE_BYTES))
    except UserError:
        return None


def progress_of(content: Any) -> ProgressRecord | None:
    """Return what a progress file's content tells; None where it is none of ours, such as one with impossible numbers."""
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
