"""What runs a study's tasks: the contract between the executor and a pool of processes, here or elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from fairpress.studies.planning.plan import StudyTask


class WorkerHandle(Protocol):
    """Does one task at a time."""

    def submit(self, task: StudyTask, work: Callable[..., Any], *arguments: Any) -> Future[Any]:
        """Let it call `work`; the future raises one of the engine's `worker_lost` when it is lost meanwhile."""
        ...

    def loss_reason(self, error: BaseException) -> str:
        """Say how it was lost."""
        ...

    def close(self) -> None:
        """End it when it has finished what it does."""
        ...

    def kill(self) -> None:
        """End it now."""
        ...


class Engine(Protocol):
    """A place where tasks run.

    Attributes
    ----------
    worker_lost
        What a future raises when the process, or the machine, that had its task is gone.
    attempts
        How often a task is tried whose process is lost.
    retries_alone
        A task is tried again only when nothing else runs, so that another's memory is not to blame.
    """

    worker_lost: tuple[type[BaseException], ...]
    attempts: int
    retries_alone: bool

    def slots(self) -> int:
        """Return how many tasks may run at a time just now."""
        ...

    def start_worker(self, trains: bool) -> WorkerHandle:
        """Return one that does tasks; `trains` when there are networks to train."""
        ...

    def kill(self) -> None:
        """End everything that is left, because the study is given up."""
        ...
