"""Run a graph of tasks on an engine; finished results are kept, and a failure does not stop other tasks."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field
from graphlib import TopologicalSorter

from fairpress.core import temporary
from fairpress.core.errors import FairpressError, UserError
from fairpress.store.local import Store
from fairpress.studies.execution.engine import Engine, WorkerHandle
from fairpress.studies.execution.local_engine import LocalEngine
from fairpress.studies.execution.tasks import perform
from fairpress.studies.planning.durations import TaskDurations
from fairpress.studies.planning.plan import StudyTask

Event = Callable[[str, StudyTask], None]
Attempt = tuple[float, str | None]


@dataclass
class Outcome:
    """The outcome of a graph: tasks reused, run (with seconds), failed (with the reason) and skipped."""

    reused: list[StudyTask] = field(default_factory=list)
    ran: dict[str, float] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    skipped: list[StudyTask] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        return not self.failed and not self.skipped

    @property
    def undone(self) -> frozenset[str]:
        """Return the keys of tasks without a result."""
        return frozenset(self.failed) | {task.key for task in self.skipped}


def execute(
    tasks: Sequence[StudyTask],
    store: Store,
    *,
    needed: Collection[str] | None = None,
    workers: int | None = None,
    engine: Engine | None = None,
    on_event: Event = lambda event, task: None,
) -> Outcome:
    """Compute every needed entry, inputs first and longest path first.

    Parameters
    ----------
    tasks
        The graph; each task names its inputs by key.
    store
        Where results are read and written.
    needed
        Keys of the results that will be read afterwards; by default those that no task reads. Other results are computed
        only if a needed one is missing.
    workers
        Number of local processes; by default one per core available to this process.
    engine
        Runs the tasks in place of local processes.
    on_event
        Called with ``"reused" | "started" | "finished" | "failed" | "skipped"`` and the task.

    Returns
    -------
    The outcome. A failing task does not stop the others. A task whose process is killed is retried once, with no other
    task running, so that memory use of others is not the cause (on other engines: several times, next to others).

    Raises
    ------
    UserError
        Results are missing, and the store is read-only.
    """
    by_key = {task.key: task for task in tasks}
    read = {key for task in tasks for key in task.inputs}
    sinks = needed if needed is not None else set(by_key) - read
    # One listing in place of a request per task: each request to a bucket takes milliseconds.
    stored = frozenset(store.all_keys())
    pending = unfinished(by_key, sinks, lambda key: key in stored and store.get(key) is not None)
    if pending and store.read_only:
        absent = next(task.title for task in tasks if task.key in pending)
        raise UserError(
            f"the store {store.address} is read-only and lacks {len(pending)} results that are needed "
            f"({absent}, …); choose a `store=` that can be written, such as a copy of it."
        )
    outcome = Outcome()
    for task in tasks:
        if task.key not in pending:
            outcome.reused.append(task)
            on_event("reused", task)
    store.sweep()
    if pending:
        _Execution(by_key, pending, store, outcome, on_event, engine or LocalEngine(workers)).run()
    return outcome


class _Execution:
    """One execution of the pending tasks."""

    def __init__(
        self,
        by_key: Mapping[str, StudyTask],
        pending: set[str],
        store: Store,
        outcome: Outcome,
        on_event: Event,
        engine: Engine,
    ) -> None:
        self.by_key, self.store, self.outcome, self.on_event = by_key, store, outcome, on_event
        self.engine, self.max_workers = engine, len(pending)
        graph = {key: [k for k in by_key[key].inputs if k in pending] for key in pending}
        self.urgency = TaskDurations(store).paths([by_key[key] for key in by_key if key in pending])
        self.sorter = TopologicalSorter(graph)
        self.sorter.prepare()
        self.ready: list[tuple[float, int, StudyTask]] = []
        self.order = {key: i for i, key in enumerate(by_key)}
        self.crashed: list[StudyTask] = []
        self.crashes: Counter[str] = Counter()
        self.undone: set[str] = set()
        self.running: dict[Future[Attempt], tuple[StudyTask, WorkerHandle]] = {}
        self.workers: list[WorkerHandle] = []
        self.idle: list[WorkerHandle] = []
        self.trains = any(by_key[key].kind in ("train", "compress") for key in pending)

    def run(self) -> None:
        try:
            while self.sorter.is_active():
                for key in self.sorter.get_ready():
                    heapq.heappush(self.ready, (-self.urgency[key], self.order[key], self.by_key[key]))
                self._start_workers()
                while self.idle and (task := self._next_task()) is not None:
                    self.on_event("started", task)
                    self._start(task, self.idle.pop())
                if not self.running:
                    continue
                done, _ = wait(self.running, return_when=FIRST_COMPLETED)
                for future in done:
                    task, worker = self.running.pop(future)
                    self.idle.append(self._finish(future, task, worker))
        except BaseException:
            for worker in self.workers:
                worker.kill()
            self.engine.kill()
            self.store.sweep()
            raise
        for worker in self.idle:
            worker.close()

    def _start_workers(self) -> None:
        """Start as many workers as may run now; on a shared engine, this number changes."""
        while len(self.idle) + len(self.running) < max(1, min(self.engine.slots(), self.max_workers)):
            self.idle.append(self._start_worker())

    def _start(self, task: StudyTask, worker: WorkerHandle) -> None:
        arguments = (task, attempt, perform, self.store.address, task)
        try:
            future = worker.submit(*arguments)
        except self.engine.worker_lost:  # it was killed while idle
            worker.kill()
            worker = self._start_worker()
            future = worker.submit(*arguments)
        self.running[future] = (task, worker)

    def _next_task(self) -> StudyTask | None:
        """Return a task that may start now; skip tasks without an input."""
        if self.engine.retries_alone and any(self.crashes[task.key] for task, _ in self.running.values()):
            return None
        if self.crashed and not self.engine.retries_alone:
            return self.crashed.pop(0)
        while self.ready:
            task = heapq.heappop(self.ready)[2]
            if self.undone.isdisjoint(task.inputs):
                return task
            self.undone.add(task.key)
            self.outcome.skipped.append(task)
            self.on_event("skipped", task)
            self.sorter.done(task.key)
        return self.crashed.pop(0) if self.crashed and not self.running else None

    def _finish(self, future: Future[Attempt], task: StudyTask, worker: WorkerHandle) -> WorkerHandle:
        """Record the outcome of a task; return the worker, or its replacement."""
        try:
            seconds, reason = future.result()
        except self.engine.worker_lost as error:
            self.crashes[task.key] += 1
            loss = worker.loss_reason(error)
            worker.kill()
            worker = self._start_worker()
            if self.crashes[task.key] < self.engine.attempts:
                self.crashed.append(task)
                return worker
            attempts = (
                "twice, the second time with nothing else running"
                if self.engine.retries_alone
                else f"{self.engine.attempts} times"
            )
            seconds, reason = 0.0, f"{loss}, {attempts}."
        if reason is None:
            self.outcome.ran[task.key] = seconds
        else:
            self.undone.add(task.key)
            self.outcome.failed[task.key] = reason
        self.on_event("finished" if reason is None else "failed", task)
        self.sorter.done(task.key)
        return worker

    def _start_worker(self) -> WorkerHandle:
        worker = self.engine.start_worker(self.trains)
        self.workers.append(worker)
        return worker


def attempt(work: Callable[[str, StudyTask], float], root: str, task: StudyTask) -> Attempt:
    """Call `work` in a worker and return the seconds it took, or 0 and the reason for the failure.

    Reasons are passed as text: an exception that cannot be unpickled would break the pool.
    """
    try:
        return work(root, task), None
    except FairpressError as error:
        return 0.0, str(error)
    except OSError as error:
        return 0.0, temporary.disk_error_message(error) or f"{type(error).__name__}: {error}"
    except MemoryError:
        return 0.0, "it ran out of memory; lower `networks_per_task` of the study, or provide more memory."
    except BaseException as error:
        return 0.0, f"{type(error).__name__}: {error}"


def unfinished(
    by_key: Mapping[str, StudyTask], needed: Collection[str], is_stored: Callable[[str], bool]
) -> set[str]:
    """Return the keys of tasks to run: needed results that are absent or damaged, and their missing inputs."""
    missing: set[str] = set()
    visited: set[str] = set()
    stack = list(needed)
    while stack:
        key = stack.pop()
        if key in visited:
            continue
        visited.add(key)
        if not is_stored(key):
            missing.add(key)
            stack += by_key[key].inputs
    return missing
