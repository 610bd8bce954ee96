"""A study's driver as a process of its own, so that it can be killed: `driver.py STORE WORKERS CHAINS SLEEP SIZE`."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from fairpress.store.local import Store
from fairpress.studies.execution import executor
from fairpress.studies.execution.local_engine import Interruptible
from fairpress.studies.planning.plan import make_task
from saboteur import perform


def chains(count, sleep=0.0, size=1):
    """`count` times a task and one that reads it; of kinds that need no torch."""
    tasks = []
    for i in range(count):
        params = {"sleep": sleep, "size": size, "number": i}
        first = make_task("naive", f"first-{i}", params)
        tasks += [first, make_task("join", f"second-{i}", params, [first.key])]
    return tasks


def main(root, workers, count, sleep, size):
    executor.perform = perform
    with Interruptible():
        outcome = executor.execute(
            chains(int(count), float(sleep), int(size)), Store(root), workers=int(workers)
        )
    for key, reason in outcome.failed.items():
        sys.stderr.write(f"failed {key[:12]}: {reason}\n")
    return 0 if outcome.complete else 3


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
