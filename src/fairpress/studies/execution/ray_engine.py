"""Run a study's tasks on a Ray cluster. Results are exchanged through the store, which every node must reach.

Each worker submits one Ray task at a time; scheduling, retries and reporting remain with the executor, so that a study
behaves as on one machine. Ray's own retries are off.
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
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fairpress.core import temporary
from fairpress.core.canonical_json import digest
from fairpress.core.env import environment
from fairpress.core.errors import UserError
from fairpress.core.network import connection_problem
from fairpress.core.version import installed_version
from fairpress.store.local import Store, StoreBusyError
from fairpress.store.remote import open_store
from fairpress.studies.execution.local_engine import THREADS
from fairpress.studies.planning.plan import ABSENT, LIBRARIES

if TYPE_CHECKING:
    from fairpress.studies.planning.plan import StudyTask

POLL_SECONDS = 5.0
PROBE_SECONDS = 120.0


@dataclass(frozen=True)
class Resources:
    """Resources of a kind of task: cores, GPUs, and bytes of memory (0: not reserved)."""

    cpus: float = 1
    gpus: float = 0
    memory: int = 0

    def options(self) -> dict[str, Any]:
        """Return the resources as options of Ray."""
        memory = {"memory": self.memory} if self.memory else {}
        return {"num_cpus": self.cpus, "num_gpus": self.gpus, **memory}


class RayEngine:
    """A Ray cluster.

    Parameters
    ----------
    address
        ``"auto"`` for the cluster this machine belongs to, ``"local"`` for a new one on this machine, or ``host:port``.
    store
        The store; every node must be able to read it.
    resources
        Kind of task → its resources; by default one core, and one GPU if the study's device is a GPU.
    workers
        Maximum number of concurrent tasks; by default the number of cores of the cluster, which grows when nodes join.

    Raises
    ------
    UserError
        Ray is not installed, no cluster responds, or a node cannot read the store or has another version of a library
        on which results depend.
    """

    attempts, retries_alone = 4, False

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
                "`engine='ray'` needs Ray; run `python -m pip install 'fairpress[ray]'` on every node."
            ) from None
        self._ray, self._resources, self._workers = ray, resources or {}, workers
        self._session: Path | None = None
        self.worker_lost: tuple[type[BaseException], ...] = (
            ray.exceptions.WorkerCrashedError,
            ray.exceptions.RaySystemError,
            ray.exceptions.NodeDiedError,
            ray.exceptions.OutOfMemoryError,
            ray.exceptions.ObjectLostError,
            ray.exceptions.LocalRayletDiedError,
        )
        self._polled_at, self._slots = 0.0, 1
        self.versions = versions()
        self.remote_runner = ray.remote(
            run_on_node
        )  # created once: each new one would be sent to the cluster again
        _check_reachable(address)
        try:
            # Where Ray looks for the cluster of this machine and keeps the session of a new one.
            session_folder = os.environ.get("RAY_TMPDIR", str(temporary.system_folder()))
            with environment({"RAY_TMPDIR": session_folder}):
                ray.init(
                    address=None if address == "local" else address,
                    namespace="fairpress",
                    runtime_env={"env_vars": dict(THREADS)},
                    logging_level=logging.ERROR,
                    configure_logging=True,
                    log_to_driver=True,
                    **({"include_dashboard": False} if address == "local" else {}),
                )
        except (
            Exception
        ) as error:  # ConnectionError, RuntimeError or ValueError, depending on the version of Ray
            lines = str(error).strip().splitlines() or [type(error).__name__]
            raise _unreachable_error(address, lines[0][:200]) from None
        if address == "local":
            self._session = _session_folder()
        try:
            self._probe(store)
        except BaseException:
            self._disconnect()
            raise

    def slots(self) -> int:
        """Return the number of workers given, or the cores of the cluster, polled every few seconds."""
        if self._workers is not None:
            return self._workers
        now = time.monotonic()
        if now - self._polled_at > POLL_SECONDS or self._polled_at == 0:
            self._polled_at = now
            self._slots = max(1, int(self._ray.cluster_resources().get("CPU", 1)))
        return self._slots

    def start_worker(self, trains: bool) -> RayTask:
        return RayTask(self)

    def kill(self) -> None:
        """Leave the cluster, which ends the tasks of this driver."""
        self._disconnect()

    def options(self, task: StudyTask) -> dict[str, Any]:
        """Return the Ray options of a task."""
        device = str(task.params.get("device", "cpu"))
        default = Resources(gpus=1 if device.startswith("cuda") else 0)
        options = self._resources.get(task.kind, default).options()
        return {**options, "max_retries": 0, "name": task.title}

    def __enter__(self) -> RayEngine:
        return self

    def __exit__(self, *_: object) -> None:
        self._disconnect()

    def _disconnect(self) -> None:
        """Leave the cluster; if this process started it, remove the logs and sockets that Ray leaves in TMPDIR."""
        self._ray.shutdown()
        if self._session is not None:
            shutil.rmtree(self._session, ignore_errors=True)
            latest = self._session.with_name("session_latest")
            if latest.is_symlink() and not latest.exists():
                latest.unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # it may contain the session of another cluster
                self._session.parent.rmdir()
            self._session = None

    def _probe(self, store: Store) -> None:
        """Check that every node reads the store and has the same versions."""
        prefix = f"probe{digest(socket.gethostname())[:8]}"
        for key in store.all_keys():  # probes of killed drivers of this machine
            if key.startswith(prefix):
                with contextlib.suppress(StoreBusyError), store.lock(key, wait=False):
                    store.remove(key)
        key = f"{prefix}{uuid.uuid4().hex}"
        with store.lock(key):
            store.put(key, {"probe": key.encode()}, {"kind": "probe"})
            try:
                self._check_nodes(store, key)
            finally:
                store.remove(key)

    def _check_nodes(self, store: Store, key: str) -> None:
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        probe = self._ray.remote(probe_node)
        probes = {}
        for node in self._ray.nodes():
            if node["Alive"] and node.get("Resources", {}).get("CPU"):
                strategy = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
                options = {"num_cpus": 0, "scheduling_strategy": strategy, "max_retries": 2}
                name = node.get("NodeManagerHostname") or node["NodeManagerAddress"]
                probes[probe.options(**options).remote(store.address, key)] = (str(name), str(node["NodeID"]))
        expected = probe_node(store.address, key)
        for reference, (host, node_id) in probes.items():
            name = f"{host} ({node_id[:8]})"
            try:
                observed = self._ray.get(reference, timeout=PROBE_SECONDS)
            except Exception as error:
                if node_id not in {node["NodeID"] for node in self._ray.nodes() if node["Alive"]}:
                    continue  # lost in the meantime: other nodes do its work
                raise UserError(
                    f"node {name} cannot run fairpress ({type(error).__name__}); install fairpress there, in the "
                    "environment in which Ray runs."
                ) from None
            if observed != expected:
                raise UserError(_difference_message(name, store.address, observed, expected))


class RayTask:
    """A worker that runs one task at a time on the cluster."""

    def __init__(self, engine: RayEngine) -> None:
        self._engine = engine
        self._reference: Any = None

    def submit(self, task: StudyTask, work: Callable[..., Any], *arguments: Any) -> Future[Any]:
        remote = self._engine.remote_runner.options(**self._engine.options(task))
        self._reference = remote.remote(os.getcwd(), self._engine.versions, work, *arguments)
        future: Future[Any] = self._reference.future()
        return future

    def loss_reason(self, error: BaseException) -> str:
        return f"its process or its node was lost ({type(error).__name__})"

    def close(self) -> None:
        self._reference = None

    def kill(self) -> None:
        if self._reference is not None and self._engine._ray.is_initialized():
            self._engine._ray.cancel(self._reference, force=True)
        self._reference = None


def run_on_node(folder: str, expected: Mapping[str, str], work: Callable[..., Any], *arguments: Any) -> Any:
    """Call `work` on a node, in the driver's working folder if the node has it, since paths of tables may be relative.

    A node with other versions is refused, even if it joined later: its results would be stored under the driver's keys.
    """
    observed = versions()
    if observed != expected:
        return 0.0, _difference_message(socket.gethostname(), "", observed, expected)
    if os.path.isdir(folder):
        os.chdir(folder)
    with temporary.private_folder():
        return work(*arguments)


def probe_node(address: str, key: str) -> dict[str, str]:
    """Return whether a node sees an entry of the store, and its versions."""
    return {"store": "seen" if open_store(address).has(key) else "not seen", **versions()}


def versions() -> dict[str, str]:
    """Return the versions of all packages in the keys of results."""
    packages = ("fairpress", *sorted({name for names in LIBRARIES.values() for name in names}))
    return {name: installed_version(name) or ABSENT for name in packages}


def _session_folder() -> Path | None:
    """Return the folder with logs and sockets of a cluster that this process started."""
    try:
        from ray._private import worker

        return Path(worker._global_node.get_session_dir_path())
    except (ImportError, AttributeError):
        return None


def _check_reachable(address: str) -> None:
    """Raise UserError if nothing listens at the address: Ray itself would retry for minutes."""
    host, colon, port = address.rpartition(":")
    if not colon or not port.isdecimal() or "/" in host:
        return
    problem = connection_problem(host.strip("[]"), int(port))
    if problem is not None:
        raise _unreachable_error(address, problem)


def _unreachable_error(address: str, reason: str) -> UserError:
    return UserError(
        f"no Ray cluster responds at {address} ({reason}); start one with `ray start --head`, and if it uses a token, "
        "set RAY_AUTH_MODE and RAY_AUTH_TOKEN_PATH here as on the cluster."
    )


def _difference_message(
    name: str, address: str, observed: Mapping[str, str], expected: Mapping[str, str]
) -> str:
    if observed.get("store") != expected.get("store"):
        return (
            f"node {name} cannot read the store {address}; set `store=` to a folder shared by all hosts, or an address "
            "such as s3://bucket/runs."
        )
    package = next(k for k in expected if observed[k] != expected[k])
    return (
        f"node {name} has {package} {observed[package]}, this machine {expected[package]}; results depend on "
        "it: install the same version everywhere."
    )
