"""How long a slow step will still take: units counted where the work is done, sentences where somebody listens.

Loops deep inside an algorithm count their units (`counted`); a caller that has an `OnMessage` listens to them (`listening`).
Without a listener counting costs next to nothing. Counts nest: a loop within a unit is a part of that unit.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TypeVar

from fairpress.core.progress import OnMessage

PATIENCE, INTERVAL = 10.0, 15.0
"""Seconds before the first sentence about a step, and between two."""

Unit = TypeVar("Unit")


@dataclass
class _Count:
    """A loop that is running: its units, and the one of which it is a part."""

    doing: str
    total: int
    outer: _Count | None
    done: int = 0

    def share(self, within: float = 0.0) -> float:
        """Return the finished share of the outermost loop, with `within` of the present unit of this one."""
        share = (self.done + within) / max(self.total, 1)
        return share if self.outer is None else self.outer.share(share)

    @property
    def outermost(self) -> _Count:
        return self if self.outer is None else self.outer.outermost


@dataclass
class _Listener:
    on_message: OnMessage
    clock: Callable[[], float]
    began: float = 0.0
    next_time: float = 0.0
    running: _Count | None = field(default=None)

    def begin(self) -> None:
        self.began = self.clock()
        self.next_time = self.began + PATIENCE

    def tell(self, count: _Count) -> None:
        now, share = self.clock(), count.share()
        if now >= self.next_time and 0 < share < 1:
            self.next_time = now + INTERVAL
            first = count.outermost
            left = describe_seconds((now - self.began) * (1 - share) / share)
            self.on_message(f"{first.doing}: {first.done} of {first.total}, about {left} left")


_listener: ContextVar[_Listener | None] = ContextVar("listener", default=None)


@contextmanager
def listening(on_message: OnMessage | None, clock: Callable[[], float] = time.monotonic) -> Iterator[None]:
    """Within the block, send `on_message` a sentence now and then about loops that are counted; None changes nothing.

    Sentences read ``rounding layers: 3 of 21, about 40 s left``, from the time that the finished share of the outermost loop
    took.
    """
    if on_message is None:
        yield
        return
    token = _listener.set(_Listener(on_message, clock))
    try:
        yield
    finally:
        _listener.reset(token)


def counted(units: Iterable[Unit], doing: str, total: int | None = None) -> Iterator[Unit]:
    """Yield the units of a loop, and tell the listener how many are done.

    Parameters
    ----------
    doing
        What is done, such as ``"rounding layers"``.
    total
        The number of units, for iterables that have no length.
    """
    listener = _listener.get()
    if listener is None:
        yield from units
        return
    number = total if total is not None else len(units) if isinstance(units, Sized) else 0
    count = _Count(doing, number, listener.running)
    if count.outer is None:
        listener.begin()
    listener.running = count
    try:
        for unit in units:
            yield unit
            count.done += 1
            listener.tell(count)
    finally:
        listener.running = count.outer


def describe_seconds(seconds: float) -> str:
    """Return a time such as ``40 s``, ``3 min`` or ``2 h``, as exact as a prediction is."""
    if seconds < 90:
        return f"{max(1, round(seconds)) if seconds < 20 else round(seconds / 5) * 5} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
