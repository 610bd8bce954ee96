"""Stands in for real work and does what a file named after the task says."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

from fairpress.store.local import Store


def perform(root, task):
    store = Store(root)
    with store.lock(task.key):
        if store.get(task.key) is not None:
            return 0.0
        order = Path(root) / task.key
        text = order.read_text() if order.is_file() else ""
        if text == "kill once":
            order.unlink()
        if text.startswith("kill"):
            os.kill(os.getpid(), signal.SIGKILL)
        if text == "raise":
            raise ValueError("broken on purpose")
        if text == "unpicklable":
            raise Odd("two", "arguments")
        if text == "exit":
            raise SystemExit(5)
        if text == "memory":
            _exhaust_memory()
        time.sleep(task.params.get("sleep", 0.0))
        for key in task.inputs:
            assert store.get(key) is not None, "an input is not there"
        with open(Path(root) / "performed", "a") as log:
            log.write(f"{task.key}\n")
        store.put(task.key, {"x": content(task)}, {"seconds": 0.01, "kind": task.kind})
        if text == "die later":
            threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGKILL)).start()
    return 0.01


def content(task):
    return task.key.encode() * task.params.get("size", 1)


class Odd(Exception):
    """Cannot be unpickled: its constructor takes what it does not keep."""

    def __init__(self, one, two):
        super().__init__(f"{one} {two}")


def _exhaust_memory():
    """Take 4 GB with 1 GB allowed, so that the machine does not notice."""
    import resource

    import numpy as np

    before = resource.getrlimit(resource.RLIMIT_AS)
    with open("/proc/self/statm") as file:
        used = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 2**30, before[1]))
    try:
        np.ones(2**29)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
