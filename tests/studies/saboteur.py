"""Stands in for real work and does what a file named after the task says."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from fairpress.store.content import Store


def perform(root, task):
    order = Path(root) / task.key
    text = order.read_text() if order.is_file() else ""
    if text == "kill once":
        order.unlink()
    if text.startswith("kill"):
        os.kill(os.getpid(), signal.SIGKILL)
    if text == "raise":
        raise ValueError("broken on purpose")
    Store(root).put(task.key, {"x": b"1"}, {})
    return 0.0
