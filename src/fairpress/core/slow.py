"""Show on the error stream that a long step is still running, where it has no progress messages."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from fairpress.core.progress import note_shown

PATIENCE, INTERVAL = 10.0, 15.0


@contextmanager
def show_progress(description: str, percent: Callable[[], float] | None = None) -> Iterator[None]:
    """Write a line after ten seconds, and every fifteen from then on, until the block ends.

    Parameters
    ----------
    description
        The step, such as ``"reading t.csv"``.
    percent
        Returns the percentage done, 0 to 100, or a negative number if that is unknown; called from another thread.
    """
    ended = threading.Event()
    started = time.monotonic()

    def tell() -> None:
        wait = PATIENCE
        while not ended.wait(wait):
            wait = INTERVAL
            done = -1.0 if percent is None else percent()
            share = f"{done:.0f} %, " if 0 <= done <= 100 else ""
            sys.stderr.write(f"{description}: {share}{time.monotonic() - started:.0f} seconds so far\n")
            sys.stderr.flush()
            note_shown()

    thread = threading.Thread(target=tell, daemon=True, name="shown")
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
