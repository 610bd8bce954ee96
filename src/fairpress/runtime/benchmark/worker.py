"""A separate process for one model at one batch size, so that its memory is measured alone and a crash is contained.

Started by `fairpress.runtime.benchmark.measure` with ``python -m``; both exchange lines of JSON.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

WARM_UP_SECONDS, WARM_UP_CALLS = 0.05, 3
# Minimum duration of a block of calls, so that clock resolution and cold caches do not matter.
BLOCK_SECONDS = 0.02
REST_SECONDS = 0.3


def main(commands: TextIO, answers: TextIO) -> None:
    """Start the runtime named in the first line, load the file at the second, time a block of calls at each further one."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends this process
    import numpy as np

    from fairpress.core.errors import UserError
    from fairpress.runtime.backends.base import Backend, Session
    from fairpress.runtime.backends.registry import open_session
    from fairpress.runtime.external.engines.registry import load_to_time, start

    def answer(**content: Any) -> None:
        answers.write(json.dumps(content) + "\n")
        answers.flush()

    task = json.loads(commands.readline())
    runtime = Backend(**task["runtime"])
    rows = np.load(task["rows"])
    try:
        # First a network of one node: the start-up cost of the runtime is not attributed to the model.
        if not start(runtime):
            open_session(Path(task["probe"]), runtime).run(np.zeros((1, 1), np.float32))
        before = peak_memory()
        answer(started=True)
        if commands.readline().strip() != "load":
            return
        started = time.perf_counter()
        session: Session
        if task["external"]:
            from fairpress.runtime.benchmark.engine_session import EngineSession

            session = EngineSession(load_to_time(Path(task["model"]), runtime))
        else:
            session = open_session(Path(task["model"]), runtime, len(rows))
        loading = time.perf_counter() - started
        per_call = _warm_up(lambda: session.run(rows))
    except UserError as error:
        answer(error=str(error))
        return
    except Exception as error:
        answer(error=str(error).splitlines()[0][:300] if str(error) else type(error).__name__)
        return
    calls = max(1, round(BLOCK_SECONDS / per_call))
    wait_until_idle()
    answer(facts=dict(session.facts), load_seconds=loading, calls=calls, seconds=per_call)
    for line in commands:
        if line.strip() != "time":
            break
        if per_call < BLOCK_SECONDS:
            session.run(
                rows
            )  # wakes the threads and fills the caches, which other models have used in between
        started = time.perf_counter()
        for _ in range(calls):
            session.run(rows)
        seconds = (time.perf_counter() - started) / calls
        wait_until_idle()
        answer(seconds=seconds)
    answer(memory_before=before, memory_peak=peak_memory())


def peak_memory() -> int | None:
    """Return the peak resident memory of this process in bytes; None if the system does not report it.

    Linux does not use getrusage, because a process inherits the peak of its parent there.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    if sys.platform == "darwin":
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return None


def _warm_up(call: Callable[[], object]) -> float:
    """Call until timings settle; return the seconds of a call."""
    seconds: list[float] = []
    started = time.perf_counter()
    while len(seconds) < WARM_UP_CALLS or time.perf_counter() - started < WARM_UP_SECONDS:
        before = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - before)
    return min(seconds)


def wait_until_idle() -> None:
    """Wait until the runtime's threads sleep: those of ONNX Runtime spin for about 40 ms on the cores of the next model."""
    until = time.perf_counter() + REST_SECONDS
    while time.perf_counter() < until:
        used = time.process_time()
        time.sleep(0.005)
        if time.process_time() - used < 0.001:
            return


if __name__ == "__main__":
    # Runtimes may print to stdout; only answers go to the parent.
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    main(sys.stdin, channel)
