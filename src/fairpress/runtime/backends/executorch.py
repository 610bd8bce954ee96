"""Load and run programs of ExecuTorch, files that end in ``.pte`` (the extra ``executorch``)."""

from __future__ import annotations

import os
import re
import sys
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from importlib import util
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Any

import numpy as np

from fairpress.core.errors import MissingExtra, UserError

METHOD = "forward"
# Numbers of ExecuTorch's ScalarType (runtime/core/portable_type/scalar_type.h) that numpy has.
NUMPY: dict[int, type[np.generic]] = {
    0: np.uint8,
    1: np.int8,
    2: np.int16,
    3: np.int32,
    4: np.int64,
    5: np.float16,
    6: np.float32,
    7: np.float64,
    11: np.bool_,
}
STANDARD_ERROR = 2
REMARKS = ("[cpuinfo", "[threadpool")  # files whose lines say nothing about an error
LOGGED = re.compile(r"\[\w+\.(?:cpp|cc|c|h):\d+\] ")


def require(what: str = "Running a model with ExecuTorch") -> None:
    """Raise MissingExtra unless ExecuTorch is installed."""
    if util.find_spec("executorch") is None:
        raise MissingExtra(what, "executorch")


def version() -> str:
    """Return the version of ExecuTorch."""
    return version_of("executorch")


def library() -> Any:
    """Import ExecuTorch's library for Python."""
    with quiet():
        from executorch.extension.pybindings import portable_lib
    return portable_lib


class ExecuTorchError(Exception):
    """ExecuTorch's own reason why a program cannot be loaded or run."""


@dataclass(frozen=True)
class TensorSlot:
    """An input or output of a program: its type as numpy has it (None: none), and its largest shape."""

    dtype: np.dtype[Any] | None
    shape: tuple[int, ...]
    type_number: int


@dataclass(frozen=True)
class ExecuTorchProgram:
    """The method ``forward`` of a loaded program.

    Attributes
    ----------
    inputs, outputs
        Its tensors. It reads any number of rows up to that of the shape, or exactly that many: the file does not tell which.
    source
        The program and its bytes, whose memory the method reads.
    """

    method: Any
    inputs: tuple[TensorSlot, ...]
    outputs: tuple[TensorSlot, ...]
    source: Any = None

    def run(self, arrays: Sequence[np.ndarray], log: Log | None = None) -> list[np.ndarray]:
        """Return the outputs for inputs in the order of the method.

        Raises ExecuTorchError with the cause, which ExecuTorch writes to `log` (`captured_log`).
        """
        import torch

        tensors = tuple(torch.from_numpy(np.ascontiguousarray(a)) for a in arrays)
        try:
            values = self.method(tensors)
        except Exception as error:
            raise ExecuTorchError(_cause(error, log)) from None
        return [v.numpy() if isinstance(v, torch.Tensor) else np.asarray(v) for v in values]


def load_program(source: bytes | Path, threads: int = 1, log: Log | None = None) -> ExecuTorchProgram:
    """Load a program, and set the number of threads of all programs of this process.

    What ExecuTorch logs is kept back, unless standard error is a file, whose `log` is given.

    Raises
    ------
    ExecuTorchError
        It cannot be loaded.
    UserError
        It has no method ``forward``, or reads or returns other values than tensors.
    """
    portable = library()
    with captured_log() if log is None else nullcontext(log) as kept:
        try:
            portable._unsafe_reset_threadpool(threads)
            checked = portable.Verification.InternalConsistency
            if isinstance(source, bytes):
                program = portable._load_program_from_buffer(source, program_verification=checked)
            else:
                program = portable._load_program(str(source), program_verification=checked)
            names = [program.get_method_name(i) for i in range(program.num_methods())]
            method = program.load_method(METHOD) if METHOD in names else None
        except Exception as error:
            raise ExecuTorchError(_cause(error, kept)) from None
    if method is None:
        raise UserError(
            f"the program has the methods {', '.join(names) or '(none)'}, but no {METHOD!r}; export a module, whose method "
            f"is {METHOD!r}."
        )
    meta = method.method_meta()
    try:
        inputs = tuple(_slot(meta.input_tensor_meta(i)) for i in range(meta.num_inputs()))
        outputs = tuple(_slot(meta.output_tensor_meta(i)) for i in range(meta.num_outputs()))
    except Exception as error:
        raise UserError(
            f"the program reads or returns a value that is not a tensor ({_first_line(error)}); export a module whose "
            "inputs and outputs are tensors."
        ) from None
    return ExecuTorchProgram(method, inputs, outputs, (program, source))


def describe(program: ExecuTorchProgram) -> dict[str, Any]:
    """Return what JSON can hold of a program: type, largest shape and type number of each input and output."""

    def facts(slot: TensorSlot) -> dict[str, Any]:
        kind = None if slot.dtype is None else slot.dtype.name
        return {"dtype": kind, "shape": list(slot.shape), "type_number": slot.type_number}

    return {
        "inputs": [facts(slot) for slot in program.inputs],
        "outputs": [facts(slot) for slot in program.outputs],
    }


def _slot(info: Any) -> TensorSlot:
    number = int(info.dtype())
    kind = NUMPY.get(number)
    return TensorSlot(None if kind is None else np.dtype(kind), tuple(int(n) for n in info.sizes()), number)


class Log:
    """What is written to standard error."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor, self._start = descriptor, 0

    def restart(self) -> None:
        """Forget what was written before."""
        self._start = self._size()

    def lines(self) -> list[str]:
        """Return the lines written so far."""
        length = self._size() - self._start
        if length <= 0:
            return []
        return os.pread(self._descriptor, length, self._start).decode(errors="replace").splitlines()

    def _size(self) -> int:
        return 0 if self._descriptor < 0 else os.fstat(self._descriptor).st_size


@contextmanager
def quiet() -> Iterator[None]:
    """Suppress ExecuTorch's log, its warning that it may change, and warnings for its developers within the context."""
    with warnings.catch_warnings(), captured_log():
        for category in (DeprecationWarning, FutureWarning, PendingDeprecationWarning):
            warnings.simplefilter("ignore", category)
        warnings.filterwarnings("ignore", message="This API is experimental")
        yield


@contextmanager
def captured_log() -> Iterator[Log]:
    """Keep back what ExecuTorch writes to standard error within the context; other lines are written afterwards.

    ExecuTorch logs to the descriptor of standard error, unasked, and says nowhere else why it fails.
    """
    try:
        saved = os.dup(STANDARD_ERROR)
    except OSError:  # a process without standard error
        yield Log(-1)
        return
    with tempfile.TemporaryFile() as sink:
        if sys.stderr is not None:
            sys.stderr.flush()
        os.dup2(sink.fileno(), STANDARD_ERROR)
        log = Log(sink.fileno())
        try:
            yield log
        finally:
            if sys.stderr is not None:
                sys.stderr.flush()
            os.dup2(saved, STANDARD_ERROR)
            os.close(saved)
            for line in log.lines():
                if not LOGGED.match(line):
                    os.write(STANDARD_ERROR, f"{line}\n".encode())


def _cause(error: BaseException, log: Log | None) -> str:
    """Return the first line that ExecuTorch logged about an error, else that of the error itself."""
    lines = [] if log is None else [line for line in log.lines() if LOGGED.match(line)]
    logged = [line.partition("] ")[2] for line in lines if not line.startswith(REMARKS)]
    return logged[0].strip().rstrip(".") if logged else _first_line(error)


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
