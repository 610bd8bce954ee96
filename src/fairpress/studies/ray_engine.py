"""Run a study's tasks on a Ray cluster. Results travel through the store, which every node must reach.

Ray is asked for one task at a time; which task may run, what is tried again, and what is reported stay with the
executor, so that a study does the same here as on one machine. Ray's own retries are off.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import socket
import time
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fairpress.core import temporary
from fairpress.core.canonical import digest
from fairpress.core.environment import environment
from fairpress.core.errors import UserError
from fairpress.store.content import Busy, Store
from fairpress.store.remote import open_store

if TYPE_CHECKING:
    from fairpress.studies.plan import Task

THREADS = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
LOOK = 5.0
PROBE_SECONDS = 120.0
KNOCK_SECONDS = 10.0


@dataclass(frozen=True)
class Resources:
    """What a kind of task is given: cores, GPUs, and bytes of memory (0: not reckoned with)."""

    cpus: float = 1
    gpus: float = 0
    memory: int = 0

    def options(self) -> dict[str, Any]:
        """Return it in Ray's words."""
        more = {"memory": self.memory} if self.memory else {}
        return {"num_cpus": self.cpus, "num_gpus": self.gpus, **more}


class RayEngine:
    """A Ray cluster.

    Parameters
    ----------
    address
        ``"auto"`` for the cluster this machine belongs to, ``"local"`` for a new one on this machine, or ``host:port``.
    store
        The store; each node is asked whether it sees it.
    resources
        Kind of task → what it is given; one core where nothing is said, and a GPU where the study's device is one.
    workers
        The most tasks at a time; by default as many as the cluster has cores, more when nodes join.

    Raises
    ------
    UserError
        Ray is not installed, no cluster answers, a node does not see the store, or has another version of a library
        that results depend on.
    """

    attempts, alone = 4, False

    def __init__(
        self,
        address: str,
        store: Store,
        *,
        resources: Mapping[str, Resources] | None = None,
        workers: int | None = None,
    ) -> None:
        try:
            import ray
        except ModuleNotFoundError:
            raise UserError(
                "--engine ray needs Ray; python -m pip install 'fairpress[ray]', on every node."
            ) from None
        self._ray, self._resources, self._workers = ray, resources or {}, workers
        self._session: Path | None = None
        self.died: tuple[type[BaseException], ...] = (
            ray.exceptions.WorkerCrashedError,
            ray.exceptions.RaySystemError,
            ray.exceptions.NodeDiedError,
            ray.exceptions.OutOfMemoryError,
            ray.exceptions.ObjectLostError,
            ray.exceptions.LocalRayletDiedError,
        )
        self._looked, self._slots = 0.0, 1
        self.versions = versions()
        self.there = ray.remote(there)  # made once: each would be sent to the cluster anew
        _knock(address)
        try:
            # Where Ray looks for the cluster of this machine, and keeps one of its own.
            place = os.environ.get("RAY_TMPDIR", str(temporary.outside()))
            with environment({"RAY_TMPDIR": place}):
                ray.init(
                    address=None if address == "local" else address,
                    namespace="fairpress",
                    runtime_env={"env_vars": dict(THREADS)},
                    logging_level=logging.ERROR,
                    configure_logging=True,
                    log_to_driver=True,
                    **({"include_dashboard": False} if address == "local" else {}),
                )
        except Exception as error:  # ConnectionError, RuntimeError, ValueError: as the version of Ray has it
            said = str(error).strip().splitlines() or [type(error).__name__]
            raise _silent(address, said[0][:200]) from None
        if address == "local":
            self._session = _session_folder()
        try:
            self._probe(store)
        except BaseException:
            self._leave()
            raise

    def slots(self) -> int:
        """Return the cores of the cluster, looked at now and then, or the most tasks that were asked for."""
        if self._workers is not None:
            return self._workers
        now = time.monotonic()
        if now - self._looked > LOOK or self._looked == 0:
            self._looked = now
            self._slots = max(1, int(self._ray.cluster_resources().get("CPU", 1)))
        return self._slots

    def hire(self, trains: bool) -> RayTask:
        return RayTask(self)

    def kill(self) -> None:
        """Leave the cluster, which ends the tasks of this driver."""
        self._leave()

    def options(self, task: Task) -> dict[str, Any]:
        """Return what Ray is told of a task."""
        device = str(task.params.get("device", "cpu"))
        usual = Resources(gpus=1 if device.startswith("cuda") else 0)
        given = self._resources.get(task.kind, usual).options()
        return {**given, "max_retries": 0, "name": task.title}

    def __enter__(self) -> RayEngine:
        return self

    def __exit__(self, *_: object) -> None:
        self._leave()

    def _leave(self) -> None:
        """Leave the cluster; of one that ends with it the logs and sockets, which Ray leaves in TMPDIR, are removed."""
        self._ray.shutdown()
        if self._session is not None:
            shutil.rmtree(self._session, ignore_errors=True)
            latest = self._session.with_name("session_latest")
            if latest.is_symlink() and not latest.exists():
                latest.unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # another cluster's session may be there
                self._session.parent.rmdir()
            self._session = None

    def _probe(self, store: Store) -> None:
        """Ask every node whether it sees the store and has the same versions."""
        own = f"probe{digest(socket.gethostname())[:8]}"
        for key in store.all_keys():  # those of drivers of this machine that were killed meanwhile
            if key.startswith(own):
                with contextlib.suppress(Busy), store.lock(key, wait=False):
                    store.remove(key)
        key = f"{own}{uuid.uuid4().hex}"
        with store.lock(key):
            store.put(key, {"probe": key.encode()}, {"kind": "probe"})
            try:
                self._ask_nodes(store, key)
            finally:
                store.remove(key)

    def _ask_nodes(self, store: Store, key: str) -> None:
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        look = self._ray.remote(see)
        asked = {}
        for node in self._ray.nodes():
            if node["Alive"] and node.get("Resources", {}).get("CPU"):
                where = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
                options = {"num_cpus": 0, "scheduling_strategy": where, "max_retries": 2}
                name = node.get("NodeManagerHostname") or node["NodeManagerAddress"]
                asked[look.options(**options).remote(store.address, key)] = (str(name), str(node["NodeID"]))
        own = see(store.address, key)
        for reference, (host, node_id) in asked.items():
            name = f"{host} ({node_id[:8]})"
            try:
                said = self._ray.get(reference, timeout=PROBE_SECONDS)
            except Exception as error:
                if node_id not in {node["NodeID"] for node in self._ray.nodes() if node["Alive"]}:
                    continue  # it was lost meanwhile; what it would have done is done elsewhere
                raise UserError(
                    f"node {name} cannot run fairpress ({type(error).__name__}); install fairpress there, in the same "
                    "environment that Ray runs in."
                ) from None
            if said != own:
                raise UserError(_difference(name, store.address, said, own))


class RayTask:
    """One task at a time on the cluster."""

    def __init__(self, engine: RayEngine) -> None:
        self._engine = engine
        self._reference: Any = None

    def submit(self, task: Task, work: Callable[..., Any], *arguments: Any) -> Future[Any]:
        remote = self._engine.there.options(**self._engine.options(task))
        self._reference = remote.remote(os.getcwd(), self._engine.versions, work, *arguments)
        future: Future[Any] = self._reference.future()
        return future

    def death(self, error: BaseException) -> str:
        return f"its process or its node was lost ({type(error).__name__})"

    def close(self) -> None:
        self._reference = None

    def kill(self) -> None:
        if self._reference is not None and self._engine._ray.is_initialized():
            self._engine._ray.cancel(self._reference, force=True)
        self._reference = None


def there(folder: str, wanted: Mapping[str, str], work: Callable[..., Any], *arguments: Any) -> Any:
    """Call `work` on a node, in the driver's folder where the node has it too: a user's table may lie below it.

    A node with other versions is refused, one that joined later too: its results would stand under the driver's keys.
    """
    here = versions()
    if here != wanted:
        return 0.0, _difference(socket.gethostname(), "", here, wanted)
    if os.path.isdir(folder):
        os.chdir(folder)
    with temporary.private():
        return work(*arguments)


def see(address: str, key: str) -> dict[str, str]:
    """Return what a node is: whether it sees an entry of the store, and its versions."""
    return {"store": "seen" if open_store(address).has(key) else "not seen", **versions()}


@cache
def versions() -> dict[str, str]:
    """Return the versions of everything that results are kept under; a process that runs keeps what it has loaded."""
    from importlib import metadata

    from fairpress.studies.plan import LIBRARIES

    found: dict[str, str] = {}
    for name in ("fairpress", *sorted({name for names in LIBRARIES.values() for name in names})):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "absent"
    return found


def _session_folder() -> Path | None:
    """Return where a cluster that this process started keeps its logs and sockets."""
    try:
        from ray._private import worker

        return Path(worker._global_node.get_session_dir_path())
    except (ImportError, AttributeError):
        return None


def _knock(address: str) -> None:
    """Raise UserError where nothing listens: Ray itself would try for minutes."""
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdecimal() or "/" in host:
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=KNOCK_SECONDS).close()
    except OSError as error:
        raise _silent(address, error.strerror or str(error)) from None


def _silent(address: str, why: str) -> UserError:
    return UserError(
        f"no Ray cluster answers at {address} ({why}); `ray start --head` makes one, and where it uses a token, "
        "RAY_AUTH_MODE and RAY_AUTH_TOKEN_PATH must be the same here."
    )


def _difference(name: str, address: str, said: Mapping[str, str], own: Mapping[str, str]) -> str:
    if said.get("store") != own.get("store"):
        return (
            f"node {name} does not see the store {address}; give --store a folder that all hosts share, or an address "
            "such as s3://bucket/runs."
        )
    package = next(k for k in own if said[k] != own[k])
    return (
        f"node {name} has {package} {said[package]}, this machine {own[package]}; results depend on it: install the same "
        "versions everywhere."
    )
