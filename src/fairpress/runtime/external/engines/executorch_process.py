"""A program of ExecuTorch in a process of its own, or, once it has been tried there, in this one."""

from __future__ import annotations

import contextlib
import os
import selectors
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from fairpress.core.errors import UserError
from fairpress.runtime.backends.executorch import (
    LOGGED,
    REMARKS,
    ExecuTorchError,
    ExecuTorchProgram,
    captured_log,
    describe,
    load_program,
    version,
)
from fairpress.runtime.bounded import SECONDS, TooLong
from fairpress.runtime.external.engines.arrays import read_message, write_message

_START_SECONDS = 120.0
_SOURCE = str(Path(__file__).parents[4])


class Caller(Protocol):
    """A loaded program, in this process or another."""

    @property
    def is_alive(self) -> bool: ...

    def load(self) -> dict[str, Any]:
        """Return the description of its inputs and outputs. Raises UserError if it cannot be loaded."""
        ...

    def run(self, arrays: Sequence[np.ndarray], seconds: float) -> list[np.ndarray]:
        """Return the outputs for the inputs of a call. Raises ExecuTorchError."""
        ...

    def runs(self, arrays: Sequence[np.ndarray], seconds: float) -> bool:
        """Return whether the program reads inputs of these shapes."""
        ...

    def close(self) -> None: ...


class InProcess:
    """A program in this process: only for files that have been run in another before."""

    is_alive = True

    def __init__(self, path: Path, threads: int) -> None:
        self._path, self._threads = path, threads
        self._program: ExecuTorchProgram | None = None

    def load(self) -> dict[str, Any]:
        try:
            self._program = load_program(self._path, self._threads)
        except ExecuTorchError as error:
            raise UserError(_cannot_load(self._path, error)) from None
        return describe(self._program)

    def run(self, arrays: Sequence[np.ndarray], seconds: float) -> list[np.ndarray]:
        assert self._program is not None
        return self._program.run(arrays)

    def runs(self, arrays: Sequence[np.ndarray], seconds: float) -> bool:
        try:
            with captured_log():
                self.run(arrays, seconds)
        except ExecuTorchError:
            return False
        return True

    def close(self) -> None:
        self._program = None


class ProgramProcess:
    """The process of a program."""

    def __init__(self, path: Path, threads: int) -> None:
        self._path, self._errors = path, tempfile.TemporaryFile()  # noqa: SIM115  closed with the process
        self._process = subprocess.Popen(
            [sys.executable, "-m", "fairpress.runtime.external.engines.executorch_worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([_SOURCE, os.environ.get("PYTHONPATH", "")])},
        )
        self.start = {"path": str(path.resolve()), "threads": threads}

    def load(self) -> dict[str, Any]:
        """Load the program, and return the description of its inputs and outputs."""
        try:
            return self._ask(self.start, (), _START_SECONDS)[0]
        except ExecuTorchError as error:
            raise UserError(_cannot_load(self._path, error)) from None

    def run(self, arrays: Sequence[np.ndarray], seconds: float) -> list[np.ndarray]:
        """Return the outputs for the inputs of a call. Raises TooLong after `seconds`, and ExecuTorchError."""
        return self._ask({}, arrays, seconds)[1]

    def runs(self, arrays: Sequence[np.ndarray], seconds: float) -> bool:
        """Return whether the program reads inputs of these shapes."""
        try:
            self.run(arrays, seconds)
        except ExecuTorchError:
            return False
        return True

    @property
    def is_alive(self) -> bool:
        """Whether the process has not ended."""
        return self._process.poll() is None

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()
        self._errors.close()

    def _ask(
        self, content: dict[str, Any], arrays: Sequence[np.ndarray], seconds: float
    ) -> tuple[dict[str, Any], list[np.ndarray]]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(BrokenPipeError):  # the answer is missing then
            write_message(self._process.stdin, content, arrays)
        with selectors.DefaultSelector() as waiting:
            waiting.register(self._process.stdout, selectors.EVENT_READ)
            if not waiting.select(seconds):
                self._process.kill()
                rows = len(arrays[0]) if arrays else 0
                raise TooLong(
                    f"{self._path} did not finish {rows:,} {'row' if rows == 1 else 'rows'} within {seconds:.0f} "
                    f"seconds; check it for an endless loop, or set {SECONDS} to a larger number."
                )
        answer = read_message(self._process.stdout)
        if answer is None:
            raise UserError(f"{self._path} {self._ending()}")
        if "refused" in answer[0]:
            raise UserError(f"{self._path}: {answer[0]['refused']}")
        if "error" in answer[0]:
            raise ExecuTorchError(answer[0]["error"])
        return answer

    def _ending(self) -> str:
        """Return why the process ended, as the end of a sentence about the file."""
        code = self._process.wait()
        size = os.fstat(self._errors.fileno()).st_size
        lines = os.pread(self._errors.fileno(), size, 0).decode(errors="replace").strip().splitlines()
        logged = [
            line.partition("] ")[2] for line in lines if LOGGED.match(line) and not line.startswith(REMARKS)
        ]
        reason = f" ({logged[-1][:200].rstrip('.')})" if logged else ""
        if code == -9:
            return "was ended by the system, most likely because memory ran out; use a smaller model."
        return (
            f"ended ExecuTorch's process{reason}: the file is damaged, or its inputs do not fit (such as token ids beyond "
            "its table); export it again, and check the tokenizer."
        )


def _cannot_load(path: Path, error: ExecuTorchError) -> str:
    return (
        f"ExecuTorch cannot load {path} ({error}); export it again for this version ({version()}), with XNNPACK as its only "
        "backend."
    )
