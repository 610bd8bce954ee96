"""The time that a running study still needs, from the share of its work that is done."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from fairpress.studies.planning.durations import DEFAULT_SECONDS
from fairpress.studies.planning.plan import StudyTask


class TimeLeft:
    """Extrapolates the speed of a run: expected seconds of finished tasks per second, on however many workers.

    Parameters
    ----------
    expected
        Returns the seconds that a task or similar ones took earlier, None if that is not known.
    clock
        Seconds, as of ``time.monotonic``.
    """

    def __init__(
        self,
        expected: Callable[[StudyTask], float | None] = lambda task: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._expected, self._clock = expected, clock
        self._pending: dict[str, float] = {}
        self._done = 0.0
        self._started: float | None = None
        self._estimate: tuple[float, float] | None = None

    def plan(self, tasks: Sequence[StudyTask]) -> None:
        """Add planned tasks."""
        for task in tasks:
            expected = self._expected(task)
            per_network = DEFAULT_SECONDS[task.kind] * max(1, len(task.networks))
            self._pending[task.key] = per_network if expected is None else expected

    def event(self, event: str, task: StudyTask) -> None:
        """Record one event of a run; results that are reused or skipped are no work."""
        now = self._clock()
        if event == "started":
            self._started = now if self._started is None else self._started
            return
        work = self._pending.pop(task.key, 0.0)
        if event == "finished" and self._started is not None:
            self._done += work
            if self._done > 0:
                speed = self._done / max(now - self._started, 1e-9)
                self._estimate = (now, sum(self._pending.values()) / speed)

    def seconds(self) -> float | None:
        """Return the seconds left, 0 at least; None before the first task has finished."""
        if self._estimate is None:
            return None
        at, left = self._estimate
        return max(0.0, left - (self._clock() - at))


def duration_text(seconds: float | None) -> str:
    """Return a time left for people: ``about 40 s left``, ``about 12 min left``; empty if it is not known."""
    if seconds is None:
        return ""
    if seconds < 90:
        return f"about {max(seconds, 1):.0f} s left"
    if seconds < 90 * 60:
        return f"about {seconds / 60:.0f} min left"
    return f"about {seconds / 3600:.1f} h left"
