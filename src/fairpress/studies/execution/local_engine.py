"""Local worker processes: each runs one task at a time, is replaced when it dies, and ends with its driver."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

from fairpress.core import temporary
from fairpress.core.env import environment
from fairpress.studies.execution.main_module import (
    STARTED_AGAIN,
    end_if_imported_again,
    importable_main,
    started_again,
)

if TYPE_CHECKING:
    from fairpress.studies.planning.plan import StudyTask

# Modules that the fork server imports once in place of every worker: importing torch takes seconds.
PRELOAD, PRELOAD_WITHOUT_TRAINING = (
    "fairpress.studies.execution.preload",
    "fairpress.studies.execution.executor",
)
# One thread per process: two processes that each use all cores are slower than one.
THREADS = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
# glibc gives memory of large tensors back and asks for it again in every step of a training, unless it may keep so much.
MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(2**25), "MALLOC_TRIM_THRESHOLD_": str(2**28)}
# A killed worker leaves semaphores of its libraries behind; Python's resource tracker removes them and warns, needlessly.
WARNING_FILTER = "ignore:resource_tracker:UserWarning"
# A socket's path has at most 107 bytes, and multiprocessing appends /listener-xxxxxxxx to that of its folder.
MANAGER_SECONDS = 5.0
_HAS_MASKS = hasattr(signal, "pthread_sigmask")  # Windows has none
MAX_FOLDER_BYTES = 107 - len("/listener-xxxxxxxx")


Result = TypeVar("Result")


class Worker:
    """A process that runs the tasks submitted to it.

    Each worker is a pool of its own: when a process dies, `ProcessPoolExecutor` breaks the whole pool, so in a common
    pool other workers would lose their tasks too, and the failing task would be unknown.

    Parameters
    ----------
    preload
        Modules that the fork server imports once, before it forks the first worker.
    """

    def __init__(self, preload: Sequence[str] = ()) -> None:
        end_if_imported_again()
        folder = _temporary_folder()
        with environment(_of_workers()):
            self._executor = ProcessPoolExecutor(
                1, mp_context=_context(preload), initializer=_start, initargs=(str(folder),)
            )
        self._process: Any = None

    def submit(self, task: StudyTask, work: Callable[..., Result], *arguments: Any) -> Future[Result]:
        """Call `work` in the process; the future raises BrokenProcessPool if the process dies."""
        with _uninterrupted():
            with environment(_of_workers()), importable_main():
                future = self._executor.submit(work, *arguments)
            if self._process is None:
                self._process = next(iter((getattr(self._executor, "_processes", None) or {}).values()), None)
        return future

    def loss_reason(self, error: BaseException) -> str:
        """Describe how the process of a broken worker ended.

        Raises UserError where the program itself is why: it started a study while the worker imported it.
        """
        if self._process is None:
            return "its process ended"
        self._process.join(5)
        code = self._process.exitcode
        if code == STARTED_AGAIN:
            raise started_again()
        if code == 255:  # the fork server could not determine the exit status
            return "its process ended for an unknown reason (killed? out of memory?)"
        if code is None or code >= 0:
            return f"its process ended with exit code {code}"
        name = signal.Signals(-code).name if -code in set(signal.Signals) else str(-code)
        return f"its process was killed by {name}" + (" (out of memory?)" if name == "SIGKILL" else "")

    def close(self) -> None:
        """End the process when it has finished its task."""
        self._executor.shutdown(wait=True)

    def kill(self) -> None:
        """End the process immediately; completed results remain, incomplete ones are not visible."""
        if self._process is not None and self._process.is_alive():
            self._process.kill()
        manager = getattr(self._executor, "_executor_manager_thread", None)
        self._executor.shutdown(wait=False, cancel_futures=True)
        if manager is not None and manager is not threading.current_thread():
            # While it closes its pipe, Python's exit would write to it, and complain.
            manager.join(MANAGER_SECONDS)


def _context(preload: Sequence[str]) -> BaseContext:
    """Return the context that starts workers; its fork server, if there is one, will import the modules `preload`."""
    method = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
    context = multiprocessing.get_context(method)
    if method == "forkserver":
        context.set_forkserver_preload(list(preload))
    return context


def _of_workers() -> dict[str, str]:
    """Return the environment variables for workers, the fork server and Python's resource tracker."""
    warning_filters = ",".join(filter(None, [WARNING_FILTER, os.environ.get("PYTHONWARNINGS")]))
    kept = {name: os.environ.get(name, value) for name, value in MEMORY.items()}
    return {**THREADS, **kept, "PYTHONWARNINGS": warning_filters, "TMPDIR": str(temporary.folder())}


def _temporary_folder() -> Path:
    """Return the folder for temporary files of workers, and make multiprocessing use it too.

    After a kill only this folder remains. Sockets go to a folder in /tmp if the path of TMPDIR is too long for them.
    """
    folder = temporary.folder()
    settings: dict[str, Any] = getattr(multiprocessing.current_process(), "_config", {})
    if "tempdir" not in settings and os.name == "posix":
        fits = len(os.fsencode(folder)) <= MAX_FOLDER_BYTES
        settings["tempdir"] = str(folder if fits else temporary.folder(Path("/tmp")))
    return folder


class LocalEngine:
    """Runs tasks in local processes.

    Parameters
    ----------
    workers
        Number of processes; by default one per core available to this process.
    """

    worker_lost: tuple[type[BaseException], ...] = (BrokenProcessPool,)
    attempts, retries_alone = 2, True

    def __init__(self, workers: int | None = None) -> None:
        self._workers = workers or n_cores()

    def slots(self) -> int:
        return self._workers

    def start_early(self) -> None:
        """Start the fork server for tasks that train: it imports torch for seconds, while the caller plans them.

        Call `kill` if no worker will be started.
        """
        end_if_imported_again()
        _temporary_folder()
        if _context([PRELOAD]).get_start_method() == "forkserver":
            from multiprocessing import forkserver, resource_tracker

            with environment(_of_workers()), importable_main():
                resource_tracker.ensure_running()  # which would unblock Ctrl-C
                with _uninterrupted():
                    forkserver.ensure_running()

    @contextmanager
    def started_early(self) -> Iterator[None]:
        """Start the fork server early, and end it if the context raises an error."""
        self.start_early()
        try:
            yield
        except BaseException:
            self.kill()
            raise

    def start_worker(self, trains: bool) -> Worker:
        return Worker([PRELOAD if trains else PRELOAD_WITHOUT_TRAINING])

    def kill(self) -> None:
        kill_server()


def n_cores() -> int:
    """Return the number of cores available to this process."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def kill_server() -> None:
    """End the fork server, which may be starting a worker that is not registered yet.

    Such a worker would start without its driver and flood the terminal with errors. The next worker starts a new server.
    """
    from multiprocessing import forkserver

    pid = getattr(getattr(forkserver, "_forkserver", None), "_forkserver_pid", None)
    if isinstance(pid, int):
        with contextlib.suppress(OSError):  # it has ended
            os.kill(pid, signal.SIGKILL)


class TerminatedError(KeyboardInterrupt):
    """The process received SIGTERM."""

    exit_code = 128 + signal.SIGTERM


class Interruptible:
    """A context in which SIGTERM ends the program like Ctrl-C: workers are killed, the store stays consistent."""

    def __enter__(self) -> Self:
        self._before: Any = None
        # Only the main thread may set handlers; in other threads nothing changes.
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGTERM, _terminate)
        return self

    def __exit__(self, *_: object) -> None:
        if self._before is not None:
            signal.signal(signal.SIGTERM, self._before)


def _terminate(number: int, frame: object) -> None:
    raise TerminatedError


def _start(folder: str) -> None:
    """Prepare a worker: ignore Ctrl-C, which the driver handles, end with the driver, and compute on one thread.

    `folder` contains the temporary files of the driver and its workers.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent, folder), daemon=True).start()
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(1)


def _end_with(parent: Any, folder: str) -> None:
    """Wait for the driver to end, then end this process, since a killed driver cannot end its workers.

    Also removes the temporary files that a killed driver leaves behind.
    """
    with contextlib.suppress(Exception):  # if it cannot be waited for, the driver has ended
        parent.join()
    shutil.rmtree(folder, ignore_errors=True)
    os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Defer Ctrl-C and SIGTERM while a process is being started.

    After an interruption the process would not be registered; it would start without its driver and flood the terminal
    with errors. The process inherits that Ctrl-C is blocked: the driver ends it, and it prints no traceback of its own.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    received: list[int] = []
    before = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)}
    replaced = {n: handler for n, handler in before.items() if handler is not None}
    for number in replaced:
        signal.signal(number, lambda number, frame: received.append(number))
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT]) if _HAS_MASKS else None
    try:
        yield
    finally:
        if mask is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for number, handler in replaced.items():
            signal.signal(number, handler)
        if received:
            signal.raise_signal(received[0])
