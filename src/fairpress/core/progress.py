"""The callbacks by which long work reports its progress: sentences, or counted units."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

OnMessage = Callable[[str], None]
"""Receives a sentence before a slow step and from time to time."""

Progress = Callable[[str, int, int], None]
"""Receives what is being done, the finished units and their total."""


last_shown = 0.0
"""When a message was last written, on `time.monotonic`'s clock."""


def print_message(sentence: str) -> None:
    """Write a sentence to the error stream."""
    sys.stderr.write(f"{sentence}\n")
    note_shown()


def note_shown() -> None:
    """Record the time of a message, so that a silent command can be told from one that reports."""
    global last_shown
    last_shown = time.monotonic()


def ignore_message(sentence: str) -> None:
    """Do nothing."""
