"""Worker processes: one task at a time each, replaced when they die, gone when their driver is gone."""

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
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

from fairpress.core import temporary
from fairpress.core.env import environment

if TYPE_CHECKING:
    from fairpress.studies.planning.plan import StudyTask

# One thread a process: two processes that each take all cores are slower than one.
# What the server of processes imports once, not once in every worker: torch takes seconds.
PRELOAD, LIGHT = "fairpress.studies.execution.preload", "fairpress.studies.execution.executor"
THREADS = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
# A killed worker leaves the semaphores of its libraries behind. Python's tracker removes them, and need not say so.
HUSH = "ignore:resource_tracker:UserWarning"
# The name of a socket has 107 bytes at most, and multiprocessing adds /listener-xxxxxxxx to that of its folder.
LONGEST_FOLDER = 107 - len("/listener-xxxxxxxx")


Result = TypeVar("Result")


class Worker:
    """A process that performs what is submitted to it.

    Each is a pool of its own: when a process dies, `ProcessPoolExecutor` gives up the whole pool, so that in a
    common one the others would lose their work too, and nobody would know whose task it was.

    Parameters
    ----------
    preload
        Modules that the server of processes imports once, before it forks the first worker.
    """

    def __init__(self, preload: Sequence[str] = ()) -> None:
        method = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
        context = multiprocessing.get_context(method)
        if method == "forkserver":
            context.set_forkserver_preload(list(preload))
        folder = _temporary_folder()
        with environment(_of_workers()):
            self._executor = ProcessPoolExecutor(
                1, mp_context=context, initializer=_start, initargs=(str(folder),)
            )
        self._process: Any = None

    def submit(self, task: StudyTask, work: Callable[..., Result], *arguments: Any) -> Future[Result]:
        """Let the process call `work`; the future raises BrokenProcessPool when the process dies meanwhile."""
        with _uninterrupted():
            with environment(_of_workers()):
                future = self._executor.submit(work, *arguments)
            if self._process is None:
                self._process = next(iter((getattr(self._executor, "_processes", None) or {}).values()), None)
        return future

    def loss_reason(self, error: BaseException) -> str:
        """Say how the process of a broken worker ended."""
        if self._process is None:
            return "its process ended"
        self._process.join(5)
        code = self._process.exitcode
        if code == 255:  # what the server of processes says of one that was gone before it could tell how
            return "its process was gone, nobody knows how (killed? out of memory?)"
        if code is None or code >= 0:
            return f"its process ended with {code}"
        name = signal.Signals(-code).name if -code in set(signal.Signals) else str(-code)
        return f"its process was killed by {name}" + (" (out of memory?)" if name == "SIGKILL" else "")

    def close(self) -> None:
        """End the process when it has finished what it does."""
        self._executor.shutdown(wait=True)

    def kill(self) -> None:
        """End the process now. What it was writing is not there, what it wrote is."""
        if self._process is not None and self._process.is_alive():
            self._process.kill()
        self._executor.shutdown(wait=False, cancel_futures=True)


def _of_workers() -> dict[str, str]:
    """Return the variables of the environment that workers, their server and Python's tracker start with."""
    warning_filters = ",".join(filter(None, [HUSH, os.environ.get("PYTHONWARNINGS")]))
    return {**THREADS, "PYTHONWARNINGS": warning_filters, "TMPDIR": str(temporary.folder())}


def _temporary_folder() -> Path:
    """Return where workers put temporary files, and let multiprocessing put its own there: a kill leaves that folder alone.

    Sockets go to a folder in /tmp where TMPDIR is too long for them.
    """
    folder = temporary.folder()
    settings: dict[str, Any] = getattr(multiprocessing.current_process(), "_config", {})
    if "tempdir" not in settings and os.name == "posix":
        fits = len(os.fsencode(folder)) <= LONGEST_FOLDER
        settings["tempdir"] = str(folder if fits else temporary.folder(Path("/tmp")))
    return folder


class LocalEngine:
    """Processes of this machine.

    Parameters
    ----------
    workers
        How many; by default one for each core this process may use.
    """

    worker_lost: tuple[type[BaseException], ...] = (BrokenProcessPool,)
    attempts, retries_alone = 2, True

    def __init__(self, workers: int | None = None) -> None:
        self._workers = workers or n_cores()

    def slots(self) -> int:
        return self._workers

    def start_worker(self, trains: bool) -> Worker:
        return Worker([PRELOAD if trains else LIGHT])

    def kill(self) -> None:
        kill_server()


def n_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def kill_server() -> None:
    """End the server of processes, which may just be starting a worker that nobody knows of yet.

    It would come up without its driver and fill the terminal with its complaints. The next worker starts another server.
    """
    from multiprocessing import forkserver

    pid = getattr(getattr(forkserver, "_forkserver", None), "_forkserver_pid", None)
    if isinstance(pid, int):
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)


class TerminatedError(KeyboardInterrupt):
    """The process was asked to end by SIGTERM."""

    exit_code = 128 + signal.SIGTERM


class Interruptible:
    """While it is entered, SIGTERM ends the program as Ctrl-C does: workers are killed, the store stays whole."""

    def __enter__(self) -> Self:
        self._before: Any = None
        # Only the main thread may set handlers; elsewhere, as in a notebook's thread, nothing changes.
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGTERM, _terminate)
        return self

    def __exit__(self, *_: object) -> None:
        if self._before is not None:
            signal.signal(signal.SIGTERM, self._before)


def _terminate(number: int, frame: object) -> None:
    raise TerminatedError


def _start(folder: str) -> None:
    """Prepare a worker: leave Ctrl-C to the driver, end with it, compute on one thread.

    `folder` holds the temporary files of the driver and its workers.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent, folder), daemon=True).start()
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(1)


def _end_with(parent: Any, folder: str) -> None:
    """Wait for the driver to end, then end too: nobody would take the result, and a killed driver kills nobody.

    Its temporary files are removed, which a killed driver has left.
    """
    with contextlib.suppress(Exception):
        parent.join()
    shutil.rmtree(folder, ignore_errors=True)
    os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Hold Ctrl-C and SIGTERM back while a process is being started.

    Interrupted in the midst of it, nobody would know the process, and it would come up without its driver and fill the
    terminal with its complaints.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    received: list[int] = []
    before = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)}
    replaced = {n: handler for n, handler in before.items() if handler is not None}
    for number in replaced:
        signal.signal(number, lambda number, frame: received.append(number))
    try:
        yield
    finally:
        for number, handler in replaced.items():
            signal.signal(number, handler)
        if received:
            signal.raise_signal(received[0])
