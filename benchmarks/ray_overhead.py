"""What a task costs on a Ray cluster and in the local pool: tasks that do nothing, in turns, on two workers each.

    python benchmarks/ray_overhead.py [--tasks 300]

Needs fairpress[ray]. Cluster and pool are of this machine and warm: what is measured is one task's way there and back, with
the executor's part in it, and without the store.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time

from scheduling import Warm, replaced

from fairpress.store.local import Store
from fairpress.studies.execution import executor
from fairpress.studies.execution.engine import Engine
from fairpress.studies.execution.ray_engine import RayEngine
from fairpress.studies.planning.plan import StudyTask, make

WORKERS, REPEATS = 2, 7


def nothing(root: str, task: StudyTask) -> float:
    """Do nothing."""
    return 0.0


def milliseconds(engine: Engine, store: Store, tasks: int) -> float:
    """Return the milliseconds of one task."""
    made = [make("naive", str(i), {"number": i}) for i in range(tasks)]
    started = time.perf_counter()
    outcome = executor.execute(made, store, engine=engine)
    took = time.perf_counter() - started
    assert len(outcome.ran) == tasks
    return took / tasks * 1e3


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--tasks", type=int, default=300)
    tasks = parser.parse_args().tasks
    with tempfile.TemporaryDirectory() as folder, replaced(perform=nothing):
        store = Store(folder)
        started = time.perf_counter()
        with RayEngine("local", store, workers=WORKERS) as cluster:
            milliseconds(cluster, store, 20)
            begun = time.perf_counter() - started
            pairs = [
                (milliseconds(Warm(WORKERS), store, tasks), milliseconds(cluster, store, tasks))
                for _ in range(REPEATS)
            ]
    print(f"the cluster is ready, and has done 20 tasks, after {begun:.1f} s")
    for name, found in zip(("local pool", "Ray"), zip(*pairs, strict=True), strict=True):
        print(f"{name}: {statistics.median(found):.2f} ms a task ({min(found):.2f} … {max(found):.2f})")
    print(f"Ray ÷ pool: {statistics.median(r / p for p, r in pairs):.1f}, median of {REPEATS} pairs")
    print(f"Ray − pool: {statistics.median(r - p for p, r in pairs):.2f} ms a task")


if __name__ == "__main__":
    main()
