"""The callbacks by which long work reports its progress: sentences, or counted units."""

from __future__ import annotations

import sys
from collections.abc import Callable

OnMessage = Callable[[str], None]
"""Receives a sentence before a slow step and from time to time."""

Progress = Callable[[str, int, int], None]
"""Receives what is being done, the finished units and their total."""


def print_message(sentence: str) -> None:
    """Write a sentence to the error stream."""
    sys.stderr.write(f"{sentence}\n")


def ignore_message(sentence: str) -> None:
    """Do nothing."""
