"""A process of its own for a program of ExecuTorch, which ends the process at some damaged files and inputs.

Started by `fairpress.runtime.external.engines.executorch` with ``python -m``; both exchange the messages of `arrays`.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import IO

import numpy as np

from fairpress.core.errors import UserError
from fairpress.runtime.backends.executorch import (
    STANDARD_ERROR,
    ExecuTorchError,
    Log,
    describe,
    load_program,
)
from fairpress.runtime.bounded import limit_memory
from fairpress.runtime.external.engines.arrays import read_message, write_message


def main(commands: IO[bytes], answers: IO[bytes]) -> None:
    """Load the program that the first message names, then run it on the arrays of each further one."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends this process
    first = read_message(commands)
    if first is None:
        return
    path, threads = Path(first[0]["path"]), int(first[0]["threads"])
    weights = path.stat().st_size
    log = Log(STANDARD_ERROR)  # a file, which the parent reads if this process ends
    import torch  # noqa: F401  its memory does not count as the program's

    try:
        with limit_memory(str(path), weights):
            log.restart()
            program = load_program(path, threads, log)
            write_message(answers, describe(program))
    except UserError as error:
        write_message(answers, {"refused": str(error)})
        return
    except ExecuTorchError as error:
        write_message(answers, {"error": str(error)})
        return
    while (message := read_message(commands)) is not None:
        try:
            log.restart()
            with limit_memory(str(path), weights):
                outputs = program.run(message[1], log)
        except UserError as error:
            write_message(answers, {"refused": str(error)})
        except ExecuTorchError as error:
            write_message(answers, {"error": str(error)})
        else:
            write_message(answers, {}, [np.asarray(o) for o in outputs])


if __name__ == "__main__":
    # ExecuTorch may print to stdout; only answers go to the parent.
    channel = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    main(sys.stdin.buffer, channel)
