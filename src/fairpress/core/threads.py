"""The range of numbers of threads that runtimes accept."""

from __future__ import annotations

from fairpress.core.errors import UserError

MAX_THREADS = 1_024


def checked_threads(threads: int) -> int:
    """Return the number of threads. Raises UserError below 1 and above `MAX_THREADS`."""
    if threads < 1:
        raise UserError(f"`threads={threads}` is too small; use at least 1.")
    if threads > MAX_THREADS:
        raise UserError(
            f"`threads={threads}` is too large; use at most {MAX_THREADS:,}, and no more than this machine has "
            "cores."
        )
    return threads
