"""Measure how fast models run and how much memory they take, side by side.

Every model runs in a process of its own. Rounds go through the models in an order drawn anew for each round, so
that whatever slows the machine slows all alike; ratios are those of one round. Nobody is timed while the threads of
another model still spin.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from fairpress.core.errors import UserError
from fairpress.core.estimate import Estimate
from fairpress.runtime.backends.base import Backend, readable
from fairpress.runtime.benchmark.statistics import median_ratio, quartiles

PROBE = "probe.onnx"
LEAST_ROUNDS, MOST_ROUNDS = 7, 101
_SOURCE = str(Path(__file__).parents[3])
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class BenchmarkRun:
    """A file on a runtime, with the rows it is given.

    Attributes
    ----------
    onnx
        The bytes of the file.
    rows
        [n, …] rows of its input; a batch takes them in turn, from the start again when they run out.
    fixed_batch
        The number of rows the file insists on; ``None`` for any.
    """

    model: str
    onnx: bytes
    rows: np.ndarray
    runtime: Backend
    fixed_batch: int | None = None

    def batch(self, size: int) -> np.ndarray:
        """Return `size` rows."""
        return np.ascontiguousarray(self.rows[np.arange(size) % len(self.rows)])


@dataclass(frozen=True)
class Measurement:
    """One model on one runtime at one batch size.

    Attributes
    ----------
    seconds
        Per call, a value a round; each is the mean over a block of `calls` calls.
    speedup
        How many times faster than `against` (the first model, on the same runtime where it ran there); ``None`` for
        the first itself.
    memory_peak, memory_before
        Largest resident memory of a process that ran this model only, in bytes, and of the same process when its runtime
        had run a network of one node. Both hold Python, numpy, the runtime, and the inputs of a call. ``None`` where the
        system does not tell.
    load_seconds
        From the file to a session that can run.
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
        """Return the measurement as JSON holds it: milliseconds a call, with quartiles."""
        low, middle, high = quartiles(self.seconds)
        out = asdict(self) | {
            "milliseconds": {"median": 1e3 * middle, "quartiles": [1e3 * low, 1e3 * high]},
            "rounds": len(self.seconds),
            "rows_per_second": self.batch / middle,
            "speedup": None if self.speedup is None else self.speedup.to_dict(),
        }
        return out


def measure(
    contestants: Sequence[BenchmarkRun],
    batch: int,
    *,
    rounds: int | None = None,
    seconds: float = 20.0,
    seed: int = 0,
    progress: Progress | None = None,
) -> list[Measurement]:
    """Time contestants against one another at one batch size.

    Parameters
    ----------
    rounds
        How often each is timed; by default as often as `seconds` allow, 7 … 101 times.
    seed
        Of the order within rounds.
    progress
        Told what is timed, the rounds done and the rounds there are.

    Raises
    ------
    UserError
        A model cannot be run, or its process dies; the sentence names it.
    """
    rng = np.random.default_rng(seed)
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fairpress-bench-")))
        (folder / PROBE).write_bytes(one_node())
        # All start at once, which the cores share; then one after another loads its file while nobody else works.
        workers = [
            stack.enter_context(_worker(contestant, batch, folder, number))
            for number, contestant in enumerate(contestants)
        ]
        for worker in workers:
            worker.answer()
        for worker in workers:
            worker.ready = worker.ask("load")
        taken: list[list[float]] = [[] for _ in workers]
        started, done, wanted = time.monotonic(), 0, rounds or LEAST_ROUNDS
        while done < wanted:
            if progress is not None:
                progress(f"batch {batch:,}", done, wanted)
            for i in rng.permutation(len(workers)).tolist():
                taken[i].append(float(workers[i].ask("time")["seconds"]))
            done += 1
            if rounds is None:
                fit = seconds * done / (time.monotonic() - started)
                wanted = int(np.clip(fit, LEAST_ROUNDS, MOST_ROUNDS))
        ends = [w.ask("end") for w in workers]
    out = []
    for i, (contestant, worker, end) in enumerate(zip(contestants, workers, ends, strict=True)):
        first = next(j for j, c in enumerate(contestants) if c.runtime.name == contestant.runtime.name)
        first = 0 if first == i and contestant.model != contestants[0].model else first
        out.append(
            Measurement(
                contestant.model,
                contestant.runtime.name,
                batch,
                contestant.runtime.threads,
                tuple(taken[i]),
                worker.ready["calls"],
                worker.ready["load_seconds"],
                end["memory_peak"],
                end["memory_before"],
                worker.ready["facts"],
                None if first == i else median_ratio(taken[first], taken[i]),
                None if first == i else contestants[first].model,
            )
        )
    return out


class _Worker:
    def __init__(self, process: subprocess.Popen[str], who: str, errors: Path) -> None:
        self._process, self._who, self._errors = process, who, errors
        self.ready: dict[str, Any] = {}

    def ask(self, line: str) -> dict[str, Any]:
        """Send a line and return the answer."""
        self.send(line)
        return self.answer()

    def send(self, line: str) -> None:
        """Send a line, and do not wait."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()

    def answer(self) -> dict[str, Any]:
        """Wait for the answer to a line that was sent."""
        assert self._process.stdout is not None
        answer = self._process.stdout.readline()
        if not answer:
            raise UserError(f"{self._who} {self._why()}")
        content: dict[str, Any] = json.loads(answer)
        if "error" in content:
            raise UserError(f"{self._who} cannot be run: {content['error']}")
        return content

    def _why(self) -> str:
        code = self._process.wait()
        said = self._errors.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        if code == -9:
            return "was ended by the system, most likely for want of memory; take a smaller --batch."
        return f"ended early (exit code {code}{': ' + said[-1][:200] if said else ''})."


@contextlib.contextmanager
def _worker(contestant: BenchmarkRun, batch: int, folder: Path, number: int) -> Iterator[_Worker]:
    model, rows, errors = (folder / f"{number}{ending}" for ending in (".onnx", ".npy", ".txt"))
    model.write_bytes(readable(contestant.onnx, contestant.runtime))
    np.save(rows, contestant.batch(batch))
    who = f"model {contestant.model!r} on {contestant.runtime.name} at batch {batch:,}"
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
        files = {"model": str(model), "rows": str(rows), "probe": str(folder / PROBE)}
        worker = _Worker(process, who, errors)
        worker.send(json.dumps({**files, "runtime": asdict(contestant.runtime)}))
        yield worker
    finally:
        process.kill()
        process.communicate()


def one_node() -> bytes:
    """Return a file that negates its input x [n, 1]."""
    from onnx import TensorProto, helper

    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 1]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Neg", ["x"], ["y"])], "probe", [x], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    return bytes(model.SerializeToString())


def busy() -> str | None:
    """Return a sentence where the machine has other work; call it before measuring."""
    if not hasattr(os, "getloadavg"):
        return None
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    load = os.getloadavg()[0]
    if load < 0.5 * cores:
        return None
    return (
        f"The machine had other work in the last minute (load {load:.1f} on {cores} core{'s' if cores > 1 else ''}): times "
        "may be longer than on a quiet one; ratios, taken within rounds, suffer less."
    )
