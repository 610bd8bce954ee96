"""What was worked out once and is kept for the next visitor, as long as all of it stays below so many bytes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Value = TypeVar("Value")


class ByteCache(Generic[Value]):
    """Values by key, the least recently used of which are dropped where they weigh too much together.

    Values are worked out one at a time: forty visitors who ask for the same one wait for it, and never forty of them are
    in memory at once.

    Parameters
    ----------
    limit
        Bytes that all values may weigh together; what weighs more by itself is not kept.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.weight = 0
        self._kept: OrderedDict[Hashable, tuple[Value, int]] = OrderedDict()
        self._lock = threading.Lock()
        self._working = threading.Lock()

    def get(self, key: Hashable, compute: Callable[[], tuple[Value, int]]) -> Value:
        """Return the value of a key; `compute` returns it with its weight in bytes where it is not kept."""
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
