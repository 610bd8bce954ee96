"""Measure latency and memory of several models under the same conditions.

Each model runs in a separate process. Every round times the models in a new random order, so that a slow period of the
machine affects all of them; ratios are taken within rounds. No model is timed while the threads of another still spin.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from fairpress.core.errors import UserError
from fairpress.core.estimate import Estimate
from fairpress.core.progress import Progress
from fairpress.runtime.backends.base import Backend, prepare_file
from fairpress.runtime.benchmark.statistics import median_ratio, quartiles

PROBE = "probe.onnx"
MIN_ROUNDS, MAX_ROUNDS = 7, 101
_SOURCE = str(Path(__file__).parents[3])


@dataclass(frozen=True)
class BenchmarkRun:
    """A file on a backend, with the rows that it runs on.

    Attributes
    ----------
    onnx
        The bytes of the file; empty for a file in another format, at `path`.
    rows
        [n, …] rows of its input, repeated cyclically to fill a batch.
    fixed_batch
        The number of rows that the file requires; ``None`` for any.
    """

    model: str
    onnx: bytes
    rows: np.ndarray
    runtime: Backend
    fixed_batch: int | None = None
    path: Path | None = None

    def batch(self, size: int) -> np.ndarray:
        """Return `size` rows."""
        return np.ascontiguousarray(self.rows[np.arange(size) % len(self.rows)])


@dataclass(frozen=True)
class Measurement:
    """One model on one runtime at one batch size.

    Attributes
    ----------
    seconds
        Seconds per call, one value per round; each is the mean over a block of `calls` calls.
    speedup
        Speedup compared with `against` (the first model, on the same runtime if it ran there); ``None`` for
        the first model itself.
    memory_peak, memory_before
        Peak resident memory in bytes of a process that ran only this model, and of the same process after its runtime
        had run a network of one node. Both include Python, numpy, the runtime, and the inputs of a call. ``None`` if the
        system does not report it.
    load_seconds
        Seconds from the file to a session that is ready to run.
    """

    model: str
    runtime: str
    batch: int
    threads: int
    seconds: tuple[float, ...]
    calls: int
    load_seconds: float
    memory_peak: int | None
    memory_before: int | None
    facts: Mapping[str, Any] = field(default_factory=dict)
    speedup: Estimate | None = None
    against: str | None = None

    @property
    def median(self) -> float:
        return quartiles(self.seconds)[1]

    def to_dict(self) -> dict[str, Any]:
        """Return the measurement as in the JSON output: milliseconds per call, with quartiles."""
        low, middle, high = quartiles(self.seconds)
        out = asdict(self) | {
            "milliseconds": {"median": 1e3 * middle, "quartiles": [1e3 * low, 1e3 * high]},
            "rounds": len(self.seconds),
            "rows_per_second": self.batch / middle,
            "speedup": None if self.speedup is None else self.speedup.to_dict(),
        }
        return out


def measure(
    runs: Sequence[BenchmarkRun],
    batch: int,
    *,
    rounds: int | None = None,
    seconds: float = 20.0,
    seed: int = 0,
    progress: Progress | None = None,
) -> list[Measurement]:
    """Time several models in common rounds at one batch size.

    Parameters
    ----------
    rounds
        Number of timings of each model; by default as many as `seconds` allow, 7 … 101.
    seed
        Seed of the order within rounds.
    progress
        Called with a description, the number of finished rounds and the total.

    Raises
    ------
    UserError
        A model cannot be run, or its process dies; the message names it.
    """
    rng = np.random.default_rng(seed)
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fairpress-bench-")))
        (folder / PROBE).write_bytes(one_node())
        # All processes start at the same time; then each loads its file while the others are idle.
        workers = [
            stack.enter_context(_worker(contestant, batch, folder, number))
            for number, contestant in enumerate(runs)
        ]
        for worker in workers:
            worker.answer()
        for worker in workers:
            worker.ready = worker.ask("load")
        timings: list[list[float]] = [[] for _ in workers]
        started, done, target_rounds = time.monotonic(), 0, rounds or MIN_ROUNDS
        while done < target_rounds:
            if progress is not None:
                progress(f"batch {batch:,}", done, target_rounds)
            for i in rng.permutation(len(workers)).tolist():
                timings[i].append(float(workers[i].ask("time")["seconds"]))
            done += 1
            if rounds is None:
                affordable = seconds * done / (time.monotonic() - started)
                target_rounds = int(np.clip(affordable, MIN_ROUNDS, MAX_ROUNDS))
        memories = [w.ask("end") for w in workers]
    out = []
    for i, (run, worker, memory) in enumerate(zip(runs, workers, memories, strict=True)):
        reference = next(j for j, c in enumerate(runs) if c.runtime.name == run.runtime.name)
        reference = 0 if reference == i and run.model != runs[0].model else reference
        out.append(
            Measurement(
                run.model,
                run.runtime.name,
                batch,
                run.runtime.threads,
                tuple(timings[i]),
                worker.ready["calls"],
                worker.ready["load_seconds"],
                memory["memory_peak"],
                memory["memory_before"],
                worker.ready["facts"],
                None if reference == i else median_ratio(timings[reference], timings[i]),
                None if reference == i else runs[reference].model,
            )
        )
    return out


class _Worker:
    def __init__(self, process: subprocess.Popen[str], description: str, errors: Path) -> None:
        self._process, self._who, self._errors = process, description, errors
        self.ready: dict[str, Any] = {}

    def ask(self, line: str) -> dict[str, Any]:
        """Send a line and return the answer."""
        self.send(line)
        return self.answer()

    def send(self, line: str) -> None:
        """Send a line without waiting for an answer."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()

    def answer(self) -> dict[str, Any]:
        """Wait for the answer to a line that was sent."""
        assert self._process.stdout is not None
        answer = self._process.stdout.readline()
        if not answer:
            raise UserError(f"{self._who} {self._exit_message()}")
        content: dict[str, Any] = json.loads(answer)
        if "error" in content:
            raise UserError(f"{self._who} cannot be run: {content['error']}")
        return content

    def _exit_message(self) -> str:
        code = self._process.wait()
        messages = self._errors.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        if code == -9:
            return "was killed by the system, most likely because memory ran out; use a smaller `batch=`."
        return f"ended early (exit code {code}{': ' + messages[-1][:200] if messages else ''})."


@contextlib.contextmanager
def _worker(run: BenchmarkRun, batch: int, folder: Path, number: int) -> Iterator[_Worker]:
    model, rows, errors = (folder / f"{number}{ending}" for ending in (".onnx", ".npy", ".txt"))
    if run.path is None:
        model.write_bytes(prepare_file(run.onnx, run.runtime))
    np.save(rows, run.batch(batch))
    description = f"model {run.model!r} on {run.runtime.name} at batch {batch:,}"
    with errors.open("w") as sink:
        process = subprocess.Popen(
            [sys.executable, "-m", "fairpress.runtime.benchmark.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=sink,
            text=True,
            encoding="utf-8",
            env={**os.environ, "PYTHONPATH": os.pathsep.join([_SOURCE, os.environ.get("PYTHONPATH", "")])},
        )
    try:
        files = {"model": str(run.path or model), "rows": str(rows), "probe": str(folder / PROBE)}
        worker = _Worker(process, description, errors)
        worker.send(json.dumps({**files, "runtime": asdict(run.runtime), "external": run.path is not None}))
        yield worker
    finally:
        process.kill()
        process.communicate()


def one_node() -> bytes:
    """Return an ONNX file that negates its input x [n, 1]."""
    from onnx import TensorProto, helper

    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 1]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Neg", ["x"], ["y"])], "probe", [x], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    return bytes(model.SerializeToString())


def load_warning() -> str | None:
    """Return a warning if the machine is busy, else None; call it before measuring."""
    if not hasattr(os, "getloadavg"):
        return None
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    load = os.getloadavg()[0]
    if load < 0.5 * cores:
        return None
    return (
        f"The machine was busy in the last minute (load {load:.1f} on {cores} core{'s' if cores > 1 else ''}): times "
        "are longer than on an idle machine, and ratios may favor the model with the shorter call, which more often ends "
        "before another process takes its turn. Repeat it on an idle machine."
    )
