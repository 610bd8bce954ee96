"""What it costs to schedule a study of 10,000 trials on 1, 2 and 8 workers, and when the store would be the bottleneck.

    python benchmarks/scheduling.py [--trials 10000] [--faster 1]

Plan, executor, progress file and store are the real ones; only the work is not done: a task takes the seconds that
one of its kind and recipe was recorded to take, on a clock of its own. The clock also runs while the driver computes,
while a task reads and writes the store (done in earnest for some hundred tasks of each kind, whose times others draw
from), and for the way to a process and back. "Overhead" is what the study takes beyond the larger of work ÷ workers and
the longest chain. Processes that sleep check the clock.

Recorded times are those of `compas`, with one network a task (the smallest tasks there are) and with 25, as it is bundled;
`--faster 10` makes tasks ten times shorter.
"""

from __future__ import annotations

import argparse
import hashlib
import heapq
import multiprocessing
import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fairpress.store.local import Store
from fairpress.studies.execution import executor
from fairpress.studies.execution.local_engine import LocalEngine, Worker
from fairpress.studies.execution.progress_file import ProgressFile
from fairpress.studies.load import load
from fairpress.studies.planning.plan import StudyTask, make_task, plan_study

# Seconds of tasks by how many networks they are of: `fairpress study run compas seeds=1 folds=2 networks_per_task=1`, the
# shorter of two, and `fairpress study run compas`, means.
RECORDED: Mapping[int, Mapping[tuple[str, str], float]] = {
    1: {
        ("train", "fp32"): 1.45,
        ("compress", "checkpoint(epochs=0.25)"): 0.10,
        ("compress", "checkpoint(epochs=0.5)"): 0.11,
        ("compress", "checkpoint-1"): 0.21,
        ("compress", "checkpoint-4"): 0.31,
        ("compress", "int4"): 0.17,
        ("compress", "int8"): 0.34,
        ("compress", "placebo"): 0.72,
        ("compress", "prune-50"): 1.20,
        ("compress", "prune-60"): 0.85,
        ("compress", "prune-70"): 0.89,
        ("compress", "prune-80"): 1.17,
        ("compress", "prune-80+int8"): 0.18,
        ("compress", "prune-90"): 0.91,
        ("compress", "qat-int4"): 1.89,
        ("compress", "qat-int8"): 1.55,
        ("compress", "w4"): 0.21,
        ("compress", "w8"): 0.18,
        ("predict", ""): 0.03,
    },
    25: {
        ("train", "fp32"): 17.4,
        ("compress", "checkpoint(epochs=0.25)"): 0.82,
        ("compress", "checkpoint(epochs=0.5)"): 0.98,
        ("compress", "checkpoint-1"): 1.19,
        ("compress", "checkpoint-4"): 3.50,
        ("compress", "int4"): 3.82,
        ("compress", "int8"): 4.20,
        ("compress", "placebo"): 6.34,
        ("compress", "prune-50"): 7.20,
        ("compress", "prune-60"): 7.12,
        ("compress", "prune-70"): 7.14,
        ("compress", "prune-80"): 6.99,
        ("compress", "prune-80+int8"): 2.13,
        ("compress", "prune-90"): 6.85,
        ("compress", "qat-int4"): 13.84,
        ("compress", "qat-int8"): 13.89,
        ("compress", "w4"): 2.79,
        ("compress", "w8"): 2.92,
        ("predict", ""): 0.52,
    },
}
EARNEST = {1: 2, 25: 10}  # of the first seeds the work at the store is really done
SIZES = {
    "train": (136_000, 136_000, 2_000),
    "compress": (136_000, 136_000, 2_000),
    "predict": (55_000, 1_000),
}  # bytes of an entry's files


class Clock:
    """Stands in for a pool: tasks do their real work at the store when they start, and end in the order of the clock."""

    worker_lost: tuple[type[BaseException], ...] = ()
    attempts, retries_alone = 2, True

    def __init__(
        self,
        workers: int,
        seconds: Callable[[StudyTask], float],
        way: float = 0.0,
        drawn: Mapping[str, Sequence[float]] | None = None,
        earnest: Callable[[StudyTask], bool] = lambda task: True,
    ) -> None:
        self.workers, self.seconds, self.way = workers, seconds, way
        self.drawn, self.earnest, self._chance = drawn, earnest, random.Random(0)
        self.measured: dict[str, list[float]] = {}
        self.now = self.driver = self.store = 0.0
        self._since = time.perf_counter()
        self._ends: list[tuple[float, int, Future[Any], Any]] = []
        self._count = 0

    def slots(self) -> int:
        return self.workers

    def start_worker(self, trains: bool) -> Clock:
        return self

    def kill(self) -> None:
        self._ends.clear()

    def close(self) -> None:
        self._pass()

    def submit(self, task: StudyTask, work: Callable[..., Any], *arguments: Any) -> Future[Any]:
        self._pass()
        if self.drawn is None and self.earnest(task):
            said = work(*arguments)
            took = time.perf_counter() - self._since
            self._since += took
            self.measured.setdefault(task.kind, []).append(took)
        else:
            said = (0.0, None)
            took = self._chance.choice((self.drawn or self.measured)[task.kind])
        self.store += took
        future: Future[Any] = Future()
        self._count += 1
        end = self.now + took + self.way + self.seconds(task)
        heapq.heappush(self._ends, (end, self._count, future, said))
        return future

    def wait(self, running: Any, return_when: str) -> tuple[set[Future[Any]], set[Future[Any]]]:
        """Go on to the end of the next task."""
        self._pass()
        end, _, future, said = heapq.heappop(self._ends)
        self.now = max(self.now, end)
        future.set_result(said)
        return {future}, set()

    def _pass(self) -> None:
        """Let the clock run as long as the driver took."""
        took = time.perf_counter() - self._since
        self.driver += took
        self.now += took
        self._since += took


def entry(root: str, task: StudyTask) -> float:
    """Do at the store what a task does there: read its inputs, and write files of the usual sizes."""
    store = Store(root)
    with store.lock(task.key):
        if store.get(task.key) is None:
            for key in task.inputs:
                assert store.get(key) is not None, "an input is not there"
            networks = range(max(1, len(task.networks))) if task.kind != "predict" else range(1)
            sizes = SIZES.get(task.kind, (1_000,))
            files = {f"{n} {i}": os.urandom(size) for n in networks for i, size in enumerate(sizes)}
            store.put(task.key, files, {"kind": task.kind, "recipe": task.recipe, "seconds": 0.0})
    return 0.0


def sleeping(root: str, task: StudyTask) -> float:
    """Do the same in a process of its own, and sleep as long as the work would take."""
    entry(root, task)
    time.sleep(task.params["seconds"])
    return 0.0


@contextmanager
def replaced(**names: Any) -> Iterator[None]:
    """Put other functions in the place of the executor's."""
    real = {name: getattr(executor, name) for name in names}
    vars(executor).update(names)
    try:
        yield
    finally:
        vars(executor).update(real)


def simulate(
    tasks: Sequence[StudyTask], root: Path, clock: Clock, on_event: executor.Event = lambda event, task: None
) -> executor.Outcome:
    """Run the executor over tasks on the clock."""
    progress = ProgressFile(root / "study", "study", "")
    progress.plan(tasks)

    def tell(event: str, task: StudyTask) -> None:
        progress.event(event, task)
        on_event(event, task)

    with replaced(wait=clock.wait, perform=entry):
        outcome = executor.execute(tasks, Store(root), engine=clock, on_event=tell)
    progress.close()
    clock.close()
    return outcome


def ideal(tasks: Sequence[StudyTask], workers: int, seconds: Callable[[StudyTask], float]) -> float:
    """Return the seconds that no schedule can beat."""
    ends: dict[str, float] = {}
    for task in tasks:
        ends[task.key] = seconds(task) + max((ends[k] for k in task.inputs), default=0.0)
    return max(sum(map(seconds, tasks)) / workers, max(ends.values()))


def study(trials: int, size: int) -> tuple[StudyTask, ...]:
    """Return the tasks of `compas` with `size` networks a task, enough seeds for so many trials."""

    def tasks(seeds: int) -> tuple[StudyTask, ...]:
        _, config = load("compas", [f"networks_per_task={size}", f"seeds={seeds}"])
        return plan_study(config, lambda dataset, fold: f"{fold}").tasks

    return tasks(-(-trials // sum(len(t.networks) for t in tasks(1) if t.kind == "predict")))


def recorded(size: int, faster: float) -> Callable[[StudyTask], float]:
    """Return what gives the seconds of a task: those of its kind and recipe."""
    return lambda t: RECORDED[size].get((t.kind, t.recipe), RECORDED[size].get((t.kind, ""), 0.0)) / faster


def way() -> float:
    """Return the seconds from the driver to a process and back, beyond the work."""
    worker = LocalEngine(1).start_worker(False)
    task = make_task("naive", "way", {})
    worker.submit(task, abs, 0).result()
    started = time.perf_counter()
    for _ in range(300):
        worker.submit(task, abs, 0).result()
    took = time.perf_counter() - started
    worker.close()
    return took / 300


class Warm(LocalEngine):
    """Processes that are there already when the study begins."""

    def __init__(self, workers: int) -> None:
        super().__init__(workers)
        self._there = [super(Warm, self).start_worker(False) for _ in range(workers)]
        for worker in self._there:
            worker.submit(make_task("naive", "first", {}), abs, 0).result()

    def start_worker(self, trains: bool) -> Worker:
        return self._there.pop()


def check(workers: int, trip: float) -> tuple[float, float, float]:
    """Run 400 tasks in processes that sleep, and on the clock; return the seconds of ideal, clock and processes."""
    tasks = [make_task("naive", f"{i}", {"seconds": 0.05 * (1 + i % 5), "n": i}) for i in range(400)]

    def seconds(task: StudyTask) -> float:
        return float(task.params["seconds"])

    with tempfile.TemporaryDirectory() as a, tempfile.TemporaryDirectory() as b:
        clock = Clock(workers, seconds, trip)
        simulate(tasks, Path(a), clock)
        engine = Warm(workers)
        with replaced(perform=sleeping):
            started = time.perf_counter()
            executor.execute(tasks, Store(b), engine=engine)
            took = time.perf_counter() - started
    return ideal(tasks, workers, seconds), clock.now, took


def each(what: Callable[[str], Any], keys: Sequence[str]) -> float:
    """Return the milliseconds of one call."""
    started = time.perf_counter()
    for key in keys:
        what(key)
    return (time.perf_counter() - started) / len(keys) * 1e3


def fill(root: Path, count: int) -> None:
    """Put so many entries, which nothing waits to be on the disk."""
    store, files = Store(root), {str(i): os.urandom(size) for i, size in enumerate(SIZES["compress"])}
    real, os.fsync = os.fsync, lambda handle: None
    try:
        for i in range(count):
            store.put(hashlib.sha256(f"{i}".encode()).hexdigest(), files, {"seconds": 0.0})
    finally:
        os.fsync = real


def costs(root: Path, most: int = 200) -> dict[str, float]:
    """Return what a store costs: milliseconds of a call, and of a look at all of it."""
    store = Store(root)
    started = time.perf_counter()
    keys = store.all_keys()
    listing = (time.perf_counter() - started) * 1e3
    some = random.Random(0).sample(keys, min(most, len(keys)))
    absent = [key[::-1] for key in some]
    files = {str(i): os.urandom(size) for i, size in enumerate(SIZES["compress"])}
    started = time.perf_counter()
    sum(1 for _ in store.metas())
    metas = (time.perf_counter() - started) * 1e3
    return {
        "has": each(store.has, some),
        "get": each(store.get, some),
        "get of what is absent": each(store.get, absent),
        "put": each(lambda key: store.put(key, files, {"seconds": 0.0}), absent),
        "list of all": listing,
        "metadata of all": metas,
    }


def writer(root: str, number: int, seconds: float) -> int:
    """Put entries for some seconds; return how many."""
    store, count, end = Store(root), 0, time.monotonic() + seconds
    files = {str(i): os.urandom(size) for i, size in enumerate(SIZES["compress"])}
    while time.monotonic() < end:
        store.put(hashlib.sha256(f"{number} {count}".encode()).hexdigest(), files, {"seconds": 0.0})
        count += 1
    return count


def throughput(writers: int, seconds: float = 4.0) -> float:
    """Return the entries a second that so many processes write into one store."""
    with tempfile.TemporaryDirectory() as root, multiprocessing.get_context("spawn").Pool(writers) as pool:
        counts = pool.starmap(writer, [(root, i, seconds) for i in range(writers)])
    return sum(counts) / seconds


def table(size: int, asked: argparse.Namespace, trip: float) -> None:
    """Print what a study costs on 1, 2 and 8 workers."""
    started = time.perf_counter()
    tasks, seconds = study(asked.trials, size), recorded(size, asked.faster)
    laid = time.perf_counter() - started
    trials, n = sum(len(t.networks) for t in tasks if t.kind == "predict"), len(tasks)
    print(f"\n{trials:,} trials, {size} a task: {n:,} tasks of {statistics.mean(map(seconds, tasks)):.2f} s; laid out "
          f"in {laid:.1f} s\n")  # fmt: skip
    print(
        "workers | ideal, s | takes, s | overhead, % | driver, ms a task | store, ms a task\n---|---|---|---|---|---"
    )
    drawn: Mapping[str, Sequence[float]] | None = None
    for workers in (1, 2, 8):
        clock = Clock(workers, seconds, trip, drawn, lambda t: t.networks[0][0] < EARNEST[size])
        with tempfile.TemporaryDirectory() as folder:
            outcome = simulate(tasks, Path(folder), clock)
        assert len(outcome.ran) == n
        drawn = drawn or clock.measured
        best = ideal(tasks, workers, seconds)
        print(f"{workers} | {best:,.0f} | {clock.now:,.0f} | {100 * (clock.now / best - 1):.2f} | "
              f"{clock.driver / n * 1e3:.2f} | {clock.store / n * 1e3:.1f}", flush=True)  # fmt: skip
    assert drawn is not None
    print("the store, ms: " + ", ".join(f"{k} {statistics.median(v) * 1e3:.1f}" for k, v in drawn.items()))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--faster", type=float, default=1.0)
    asked = parser.parse_args()
    trip = way()
    print(f"to a process and back {trip * 1e3:.1f} ms")
    for size in RECORDED:
        table(size, asked, trip)
    print("\nchecked with processes that sleep, 400 tasks of 0.15 s")
    for workers in (1, 2, 8):
        best, clocked, took = check(workers, trip)
        print(
            f"{workers} workers: ideal {best:.1f} s, clock {clocked:.1f} s, processes {took:.1f} s",
            flush=True,
        )
    for count in (100, 10_000):
        with tempfile.TemporaryDirectory() as folder:
            fill(Path(folder), count)
            told = costs(Path(folder))
        print(
            f"\na store of {count:,}, ms: " + ", ".join(f"{k} {v:,.2f}" for k, v in told.items()), flush=True
        )
    print("entries a second: " + ", ".join(f"{n} writers {throughput(n):.0f}" for n in (1, 2, 8)))


if __name__ == "__main__":
    main()
