"""The interface between the executor and the processes, local or remote, that run a study's tasks."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from fairpress.studies.planning.plan import StudyTask


class WorkerHandle(Protocol):
    """A worker that runs one task at a time."""

    def submit(self, task: StudyTask, work: Callable[..., Any], *arguments: Any) -> Future[Any]:
        """Call `work` in the worker; the future raises one of the engine's `worker_lost` if the worker is lost."""
        ...

    def loss_reason(self, error: BaseException) -> str:
        """Describe how the worker was lost."""
        ...

    def close(self) -> None:
        """End the worker when it has finished its task."""
        ...

    def kill(self) -> None:
        """End the worker immediately."""
        ...


class Engine(Protocol):
    """Starts workers that run tasks.

    Attributes
    ----------
    worker_lost
        Exceptions of a future whose process, or machine, was lost.
    attempts
        Maximum number of attempts at a task whose process is lost.
    retries_alone
        Whether such a task is retried only when nothing else runs, so that memory use of other tasks is not the cause.
    """

    worker_lost: tuple[type[BaseException], ...]
    attempts: int
    retries_alone: bool

    def slots(self) -> int:
        """Return the number of tasks that may currently run concurrently."""
        ...

    def start_worker(self, trains: bool) -> WorkerHandle:
        """Start a worker; `trains` if there are networks to train."""
        ...

    def kill(self) -> None:
        """End everything that still runs, because the study is aborted."""
        ...
