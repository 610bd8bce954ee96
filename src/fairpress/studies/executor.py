"""Run a graph of tasks on local processes: finished work stays, failures are reported, the rest goes on."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field
from graphlib import TopologicalSorter

from fairpress.core.errors import FairpressError
from fairpress.store.content import Store
from fairpress.studies.plan import Task
from fairpress.studies.tasks import perform

# One thread a process: two processes that each take all cores are slower than one.
THREADS = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


@dataclass
class Outcome:
    """What came of a graph: tasks found finished, run, failed (with the reason) and skipped."""

    reused: list[Task] = field(default_factory=list)
    ran: dict[str, float] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    skipped: list[Task] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        return not self.failed and not self.skipped


def execute(
    tasks: Sequence[Task],
    store: Store,
    *,
    workers: int | None = None,
    on_event: Callable[[str, Task], None] = lambda event, task: None,
) -> Outcome:
    """Make every task's entry, inputs first.

    Parameters
    ----------
    tasks
        The graph; each task names its inputs by key.
    store
        Where results are and go.
    workers
        Processes; by default one for each core this process may use.
    on_event
        Called with ``"reused" | "started" | "finished" | "failed" | "skipped"`` and the task.

    Returns
    -------
    The outcome. A failing task does not stop the others; a worker that is killed is replaced and its
    task tried once more by itself.
    """
    by_key = {task.key: task for task in tasks}
    outcome = Outcome()
    wanted = _unfinished(tasks, by_key, store)
    for task in tasks:
        if task.key not in wanted:
            outcome.reused.append(task)
            on_event("reused", task)
    if not wanted:
        return outcome
    sorter = TopologicalSorter({key: [k for k in by_key[key].inputs if k in wanted] for key in wanted})
    sorter.prepare()
    count = max(1, min(workers or _cores(), len(wanted)))
    crashes: Counter[str] = Counter()
    ready: list[Task] = []
    running: dict[Future[float], Task] = {}
    pool = _pool(count)
    try:
        while sorter.is_active():
            ready += [by_key[key] for key in sorter.get_ready()]
            while ready and len(running) < count:
                task = ready.pop(0)
                lost = next((k for k in task.inputs if k in outcome.failed), None)
                if lost is not None or any(t.key in task.inputs for t in outcome.skipped):
                    outcome.skipped.append(task)
                    on_event("skipped", task)
                    sorter.done(task.key)
                    continue
                if running and (crashes[task.key] or any(crashes[t.key] for t in running.values())):
                    ready.insert(0, task)  # a task that lost its worker runs alone, so that blame is certain
                    break
                on_event("started", task)
                running[pool.submit(perform, str(store.root), task)] = task
            if not running:
                continue
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            broken: list[Task] = []
            for future in done:
                task = running.pop(future)
                try:
                    outcome.ran[task.key] = future.result()
                    on_event("finished", task)
                except BrokenProcessPool:
                    broken.append(task)
                    continue
                except FairpressError as error:
                    outcome.failed[task.key] = str(error)
                    on_event("failed", task)
                except Exception as error:
                    outcome.failed[task.key] = f"{type(error).__name__}: {error}"
                    on_event("failed", task)
                sorter.done(task.key)
            if broken:
                broken += running.values()
                running.clear()
                pool.shutdown(wait=False, cancel_futures=True)
                alone = len(broken) == 1
                for task in broken:
                    crashes[task.key] += 1
                    if alone and crashes[task.key] >= 2:
                        outcome.failed[task.key] = (
                            "its process was killed twice (out of memory?); what was finished stays."
                        )
                        on_event("failed", task)
                        sorter.done(task.key)
                    else:
                        ready.append(task)
                pool = _pool(count)
    except BaseException:
        _kill(pool)
        raise
    pool.shutdown()
    return outcome


def _unfinished(tasks: Sequence[Task], by_key: Mapping[str, Task], store: Store) -> set[str]:
    """Return the keys of tasks that must run: results that are absent or damaged, and inputs they need."""
    needed: set[str] = set()
    read = {key for task in tasks for key in task.inputs}
    stack = [task.key for task in tasks if task.key not in read]
    while stack:
        key = stack.pop()
        if key in needed:
            continue
        if store.get(key) is None:
            needed.add(key)
            stack += by_key[key].inputs
    return needed


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _pool(count: int) -> ProcessPoolExecutor:
    method = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
    context = multiprocessing.get_context(method)
    if method == "forkserver":
        # torch takes seconds to import: once in the server, not once in every worker.
        context.set_forkserver_preload(["fairpress.studies.preload"])
    with _environment(THREADS):
        pool = ProcessPoolExecutor(count, mp_context=context, initializer=_start_worker)
        pool.submit(os.getpid).result()
    return pool


def _start_worker() -> None:
    """Leave Ctrl-C to the driver, which ends the workers itself."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(1)


def _kill(pool: ProcessPoolExecutor) -> None:
    processes = list((getattr(pool, "_processes", None) or {}).values())
    pool.shutdown(wait=False, cancel_futures=True)
    for process in processes:
        process.terminate()


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
