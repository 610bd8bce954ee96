"""External programs of ExecuTorch (``.pte``), run in a process of their own within limits of time and memory.

A file does not tell whether a size is fixed or the largest one, so a program is tried with zeros when it is opened.
"""

from __future__ import annotations

import atexit
import math
import time
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from fairpress.core.errors import UserError
from fairpress.core.files import require_regular
from fairpress.core.slow import show_progress
from fairpress.runtime.backends.base import Backend, processor
from fairpress.runtime.backends.cast import NUMPY
from fairpress.runtime.backends.executorch import (
    require,
    version,
)
from fairpress.runtime.bounded import SECONDS, limit_from_environment
from fairpress.runtime.external.engines.base import FileInput
from fairpress.runtime.external.engines.executorch_process import Caller, InProcess, ProgramProcess

XNNPACK = b"XnnpackBackend"
IDENTIFIER, POSITION = b"ET", 4  # of a program, after the offset of its root
_MAX_SECONDS = 30.0
_MAX_CALL_BYTES = 2**29
_MAX_OPEN = 4
_TYPES = {np.dtype(kind).name: name for name, kind in NUMPY.items() if kind is not np.object_}
BFLOAT16 = 15


def input_name(index: int) -> str:
    """Return the name of an input: a program has none."""
    return f"input_{index}"


def output_name(index: int) -> str:
    """Return the name of an output."""
    return f"output_{index}"


@dataclass
class ExecuTorchEngine:
    """A program, loaded by ExecuTorch.

    Attributes
    ----------
    largest
        The largest shape of each input.
    pace
        Seconds per row of the first call.
    """

    path: Path
    runtime: Backend
    worker: Caller
    inputs: tuple[FileInput, ...]
    outputs: Mapping[str, str]
    largest: tuple[tuple[int, ...], ...]
    delegates: bool
    pace: list[float] = field(default_factory=list)
    title: str = "ExecuTorch"
    notes: tuple[str, ...] = ()
    operators: frozenset[str] = frozenset()
    graph: None = None

    @property
    def facts(self) -> Mapping[str, Any]:
        kernels = "xnnpack" if self.delegates else "portable"
        return {
            "runtime": f"executorch {version()} ({kernels})",
            "threads": self.runtime.threads,
            "precision": "f32",
            "processor": processor(),
            **({"rows_per_call": 1} if self.largest[0][0] == 1 else {}),
        }

    @property
    def output_steps(self) -> Mapping[str, float]:
        return {}

    @property
    def max_rows(self) -> int | None:
        values = sum(math.prod(shape[1:]) for shape in self.largest)
        return max(1, _MAX_CALL_BYTES // max(4 * values, 1))

    def operators_to(self, output: str) -> Iterator[str]:
        yield from ()

    def run(self, names: list[str], feed: Mapping[str, np.ndarray]) -> list[Any]:
        """Return some outputs, from as many calls as the program's largest batch demands."""
        arrays = [feed[spec.name] for spec in self.inputs]
        self._check_sizes(arrays)
        rows, most = len(arrays[0]), self.largest[0][0]
        parts = [self._call([a[i : i + most] for a in arrays]) for i in range(0, rows, most)]
        whole = [
            np.concatenate(pieces) if pieces[0].ndim else pieces[0] for pieces in zip(*parts, strict=True)
        ]
        return [whole[list(self.outputs).index(name)] for name in names]

    def _check_sizes(self, arrays: Sequence[np.ndarray]) -> None:
        for spec, array, shape in zip(self.inputs, arrays, self.largest, strict=True):
            if len(array.shape) != len(shape) or any(
                a > b for a, b in zip(array.shape[1:], shape[1:], strict=True)
            ):
                what = "token ids" if len(shape) == 2 and array.dtype.kind in "iu" else "values"
                raise UserError(
                    f"{self.path}: its input {spec.name!r} reads at most {' × '.join(map(str, shape[1:]))} {what} a row, "
                    f"and the data have {' × '.join(map(str, array.shape[1:]))}"
                    + (
                        "; set `max_length` to that."
                        if what == "token ids"
                        else "; export it with larger sizes."
                    )
                )

    def _call(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        rows = len(arrays[0])
        seconds = limit_from_environment(SECONDS, _MAX_SECONDS) + rows - 1
        if self.pace:
            seconds += 100 * rows * self.pace[0]
        started = time.monotonic()
        outputs = self.worker.run(arrays, seconds)
        if not self.pace:
            self.pace.append((time.monotonic() - started) / rows)
        return outputs


_open: OrderedDict[tuple[Any, ...], ExecuTorchEngine] = OrderedDict()


def load_executorch(path: Path, runtime: Backend) -> ExecuTorchEngine:
    """Load a program, or return the loaded one if the file has not changed.

    Raises
    ------
    UserError
        ExecuTorch cannot load it, or it is not a program.
    MissingExtra
        ExecuTorch is not installed.
    """
    require()
    require_regular(path)
    data = _read(path)
    stat = path.stat()
    key = (str(path.resolve()), stat.st_mtime_ns, stat.st_size, stat.st_ino, runtime.threads)
    if key in _open and _open[key].worker.is_alive:
        _open.move_to_end(key)
        return _open[key]
    if key in _open:  # its process has ended
        _open.pop(key).worker.close()
    worker = ProgramProcess(path, runtime.threads)
    try:
        with show_progress(f"loading {path}"):
            engine = _describe(path, runtime, worker, XNNPACK in data)
    except BaseException:
        worker.close()
        raise
    _open[key] = engine
    while len(_open) > _MAX_OPEN:
        _open.popitem(last=False)[1].worker.close()
    return engine


def open_executorch(path: Path, runtime: Backend) -> ExecuTorchEngine:
    """Load a program in this process, which some damaged files end: one that `load_executorch` has loaded before."""
    return _describe(path, runtime, InProcess(path, runtime.threads), XNNPACK in _read(path))


@atexit.register
def close_all() -> None:
    """End the processes of all programs."""
    while _open:
        _open.popitem()[1].worker.close()


def _read(path: Path) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {path} ({error.strerror or error}); check its permissions.") from None
    if data[POSITION : POSITION + len(IDENTIFIER)] != IDENTIFIER:
        raise UserError(f"{path} is not a program of ExecuTorch; give the .pte file that an export wrote.")
    return data


def _describe(path: Path, runtime: Backend, worker: Caller, delegates: bool) -> ExecuTorchEngine:
    description = worker.load()
    kinds = [_type_name(slot) for slot in description["inputs"]]
    largest = [tuple(slot["shape"]) for slot in description["inputs"]]
    for index, (slot, kind) in enumerate(zip(description["inputs"], kinds, strict=True)):
        if slot["dtype"] is None:
            raise UserError(
                f"{path}: its input {input_name(index)!r} takes {kind}, which numpy does not have; export the model with an "
                "input of float32 or of whole numbers."
            )
    shapes = _free_sizes(path, worker, description["inputs"], largest)
    inputs = tuple(
        FileInput(input_name(i), kind, shape)
        for i, (kind, shape) in enumerate(zip(kinds, shapes, strict=True))
    )
    outputs = {output_name(i): _type_name(slot) for i, slot in enumerate(description["outputs"])}
    return ExecuTorchEngine(path, runtime, worker, inputs, outputs, tuple(largest), delegates)


def _type_name(slot: Mapping[str, Any]) -> str:
    """Return a type in ONNX Runtime's notation."""
    if slot["dtype"] is None:
        return (
            "tensor(bfloat16)" if slot["type_number"] == BFLOAT16 else f"tensor(type {slot['type_number']})"
        )
    return _TYPES[slot["dtype"]]


def _free_sizes(
    path: Path, worker: Caller, slots: Sequence[Mapping[str, Any]], largest: Sequence[tuple[int, ...]]
) -> list[tuple[int | None, ...]]:
    """Return the shapes with None for sizes that may be smaller: the rows, and the length of whole numbers."""
    if not largest or any(not shape for shape in largest):
        return list(largest)

    def runs(shapes: Sequence[tuple[int, ...]]) -> bool:
        zeros = [np.zeros(s, slot["dtype"]) for s, slot in zip(shapes, slots, strict=True)]
        return worker.runs(zeros, limit_from_environment(SECONDS, _MAX_SECONDS) + len(zeros[0]) - 1)

    whole = [
        len(shape) == 2 and np.dtype(slot["dtype"]).kind in "iu"
        for shape, slot in zip(largest, slots, strict=True)
    ]
    same_rows = len({shape[0] for shape in largest}) == 1
    free_rows = same_rows and largest[0][0] > 1 and runs([(1, *shape[1:]) for shape in largest])
    lengths = {shape[1] for shape, ids in zip(largest, whole, strict=True) if ids}
    free_length = (
        len(lengths) == 1 and max(lengths) > 2 and all(whole) and runs([(shape[0], 2) for shape in largest])
    )
    return [
        (None if free_rows else shape[0], *(None if free_length else size for size in shape[1:2]), *shape[2:])
        for shape in largest
    ]
