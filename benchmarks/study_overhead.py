"""What running a study costs beside its work: trivial trials, a real study against the sum of its steps, a re-run.

    FAIRPRESS_DATA=… python benchmarks/study_overhead.py [override …]

The study is `compas` with two seeds unless overrides say otherwise; both sides of the ratio are of the same run: the
seconds from the first task to the last, and the seconds that the tasks took in their workers, divided by the workers.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from fairpress.store.local import Store
from fairpress.studies.execution import executor
from fairpress.studies.load import load
from fairpress.studies.planning.plan import make_task
from fairpress.studies.run import run_study

WORKERS = 2
TRIALS = 1000


def trivial(root: str, task: object) -> float:
    """Do nothing and store it."""
    store = Store(root)
    key = task.key  # type: ignore[attr-defined]
    with store.lock(key):
        if store.get(key) is None:
            store.put(key, {"x": b"1"}, {"seconds": 0.0})
    return 0.0


def trials(root: Path) -> None:
    real, executor.perform = executor.perform, trivial
    tasks = [make_task("naive", str(i), {"number": i}) for i in range(TRIALS)]
    for what in ("run", "found finished"):
        started = time.perf_counter()
        outcome = executor.execute(tasks, Store(root), workers=WORKERS)
        print(f"{TRIALS:,} trivial trials {what}: {time.perf_counter() - started:.1f} s")
        assert outcome.complete
    executor.perform = real


def study(folder: Path, overrides: list[str]) -> None:
    title, config = load("compas", overrides)
    events: list[float] = []
    started = time.perf_counter()
    done = run_study(
        title,
        config,
        out=folder / "compas",
        workers=WORKERS,
        on_event=lambda event, task: events.append(time.perf_counter()),
    )
    whole = time.perf_counter() - started
    store = Store(folder / ".store")
    steps = {key: float((store.meta(key) or {})["seconds"]) for key in done.outcome.ran}
    work = sum(steps.values())
    running = events[-1] - events[0]
    print(
        f"compas {' '.join(overrides)}: {len(steps)} tasks, {whole:.1f} s in all, {running:.1f} s from first to last"
    )
    print(
        f"sum of the steps over {WORKERS} workers: {work / WORKERS:.1f} s; ratio {running / (work / WORKERS):.3f}"
    )
    by_kind: dict[str, float] = {}
    for key, seconds in steps.items():
        kind = done.tasks[key].kind
        by_kind[kind] = by_kind.get(kind, 0.0) + seconds
    print(
        "seconds by kind:", ", ".join(f"{k} {s:.1f}" for k, s in sorted(by_kind.items(), key=lambda x: -x[1]))
    )
    command = [sys.executable, "-c", "from fairpress.cli import main; main()", "study", "run", "compas"]
    started = time.perf_counter()
    subprocess.run(
        [*command, *overrides, "--out", str(folder / "compas")], check=True, capture_output=True, text=True
    )
    print(f"the finished study again, as a command: {time.perf_counter() - started:.1f} s")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        trials(Path(scratch) / "trivial")
        study(Path(scratch), sys.argv[1:] or ["seeds=2"])
