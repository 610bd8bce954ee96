"""A cache of computed values with a limit in bytes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Value = TypeVar("Value")


class ByteCache(Generic[Value]):
    """Values by key; the least recently used are dropped above the limit.

    Values are computed one at a time: concurrent requests for the same value wait for one computation, and only one value
    at a time is under construction in memory.

    Parameters
    ----------
    limit
        Maximum total bytes of all values; a larger value is not cached.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.weight = 0
        self._kept: OrderedDict[Hashable, tuple[Value, int]] = OrderedDict()
        self._lock = threading.Lock()
        self._working = threading.Lock()

    def get(self, key: Hashable, compute: Callable[[], tuple[Value, int]]) -> Value:
        """Return the value of a key; if it is not cached, `compute` returns it with its size in bytes."""
        entry = self._find(key)
        if entry is not None:
            return entry[0]
        with self._working:
            entry = self._find(key)
            if entry is None:
                entry = compute()
                self._keep(key, entry)
        return entry[0]

    def _find(self, key: Hashable) -> tuple[Value, int] | None:
        with self._lock:
            entry = self._kept.get(key)
            if entry is not None:
                self._kept.move_to_end(key)
            return entry

    def _keep(self, key: Hashable, entry: tuple[Value, int]) -> None:
        if entry[1] > self.limit:
            return
        with self._lock:
            self._kept[key] = entry
            self.weight += entry[1]
            while self.weight > self.limit:
                self.weight -= self._kept.popitem(last=False)[1][1]
