"""Load and run a file once in a process of its own: a damaged file can crash a runtime, or never come back from it."""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from fairpress.core.errors import UserError
from fairpress.core.slow import show_progress
from fairpress.runtime.backends.base import Backend
from fairpress.runtime.backends.cast import NUMPY
from fairpress.runtime.bounded import SECONDS, TooLong, limit_from_environment, limit_memory
from fairpress.runtime.external.engines.base import FileEngine

_MAX_SECONDS = 30.0
_START_SECONDS = 30.0
_MAX_VALUES = 2**26
_SOURCE = str(Path(__file__).parents[4])
_passed: set[tuple[object, ...]] = set()

Opener = Callable[[Path, Backend], FileEngine]


def try_in_child(open_engine: Opener, path: Path, runtime: Backend, title: str) -> None:
    """Open a file in another process and run it on one row of zeros; once for a file that stays the same.

    Parameters
    ----------
    open_engine
        A public function of a module, which opens the file without such a trial.
    title
        The runtime's name in sentences.

    Raises
    ------
    UserError
        The process was ended by a signal, or did not end in time; or `open_engine` raised it there. That the file does not
        run on zeros is not an error: the run on the data will say why.
    """
    state = path.stat()
    key = (os.path.realpath(path), state.st_mtime_ns, state.st_size, runtime)
    if key in _passed:
        return
    seconds = limit_from_environment(SECONDS, _MAX_SECONDS)
    task = {
        "module": open_engine.__module__,
        "function": open_engine.__name__,
        "path": str(path),
        "runtime": asdict(runtime),
    }
    try:
        with show_progress(f"trying {path}"):
            done = subprocess.run(
                [sys.executable, "-m", __name__],
                input=json.dumps(task),
                capture_output=True,
                text=True,
                encoding="utf-8",
                errors="replace",
                env={
                    **os.environ,
                    "PYTHONPATH": os.pathsep.join([_SOURCE, os.environ.get("PYTHONPATH", "")]),
                },
                timeout=seconds + _START_SECONDS,
                check=False,
            )
    except subprocess.TimeoutExpired:
        raise TooLong(
            f"{path} did not finish one row within {seconds:.0f} seconds; check it for an endless loop, or set {SECONDS} "
            "to a larger number."
        ) from None
    message = _error(done.stdout)
    if message is not None:
        raise UserError(message)
    if done.returncode:
        raise UserError(
            f"{title} crashed on {path} ({_how(done.returncode)}), in a process of its own; the file is damaged, or made "
            "for another release: convert it again."
        )
    _passed.add(key)


def _error(answer: str) -> str | None:
    """Return the message that a process sent; None without one."""
    try:
        content = json.loads(answer.strip().splitlines()[-1]) if answer.strip() else {}
    except json.JSONDecodeError:
        return None
    error = content.get("error") if isinstance(content, Mapping) else None
    return error if isinstance(error, str) else None


def _how(code: int) -> str:
    if code < 0:
        return signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
    return f"exit code {code}"


def main(task: Mapping[str, Any], answers: TextIO) -> None:
    """Open the file of a task and run it on zeros; write a UserError of opening it as a line of JSON."""
    path, runtime = Path(task["path"]), Backend(**task["runtime"])
    open_engine: Opener = getattr(importlib.import_module(task["module"]), task["function"])
    try:
        with limit_memory(str(path), path.stat().st_size):
            engine = open_engine(path, runtime)
            _run_zeros(engine)
    except UserError as error:
        answers.write(json.dumps({"error": str(error)}) + "\n")
        answers.flush()


def _run_zeros(engine: FileEngine) -> None:
    feed = {}
    for spec in engine.inputs:
        if spec.shape is None or spec.type not in NUMPY or spec.type == "tensor(string)":
            return
        if None in spec.shape[1:]:
            return  # no length is known to be possible
        shape = [1 if d is None else d for d in spec.shape]
        if np.prod(shape, dtype=float) > _MAX_VALUES:
            return
        feed[spec.name] = np.zeros(shape, NUMPY[spec.type])
    try:
        engine.run(list(engine.outputs), feed)
    except UserError:
        raise
    except Exception:  # the run on the data says why
        return


if __name__ == "__main__":
    # Runtimes may print to stdout; only the answer goes to the parent.
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    main(json.loads(sys.stdin.read()), channel)
