"""Run ONNX files made elsewhere within bounds: a file of some hundred bytes can ask for terabytes, or loop for ever."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from fairpress.core.errors import UserError

SECONDS, GIB = "FAIRPRESS_CALL_SECONDS", "FAIRPRESS_CALL_GIB"
"""Environment variables: seconds that one row may take, by default 30, and memory of a call beside the weights, 1 GiB."""

_STATUS = Path("/proc/self/status")
_NO_MEMORY = ("allocate memory", "bad_alloc", "bad allocation", "std::length_error")
_lock = threading.Lock()
_active = 0
_before = (0, 0)


class TooLong(UserError):
    """A call was ended because it took longer than it may."""


class TooLarge(UserError):
    """A call or a file needs more memory than it may."""


def allowed(name: str, usual: float) -> float:
    """Return what an environment variable allows. Raises UserError where it is not a number above 0."""
    text = os.environ.get(name, "")
    try:
        value = float(text) if text else usual
    except ValueError:
        value = -1.0
    if not 0 < value < 1e9:
        raise UserError(f"{name} is {text!r}; set it to a number above 0, such as {usual:g}, or unset it.")
    return value


@contextmanager
def memory(where: str, weights: int) -> Iterator[None]:
    """Let the block take 1 GiB and four times the bytes of the weights; what asks for more fails.

    The bound is one of the process (Linux only), so that other threads meet it too. Raises TooLarge.
    """
    gib = allowed(GIB, 1.0)
    try:
        with _limited(int(gib * 2**30) + 4 * weights):
            yield
    except UserError:
        raise
    except Exception as error:
        if not isinstance(error, MemoryError) and not any(word in str(error) for word in _NO_MEMORY):
            raise
        raise TooLarge(
            f"{where} needs more than {gib:g} GiB of memory beside its weights; does it make tensors whose size comes from "
            f"numbers in the data? If it is meant, set {GIB} to more."
        ) from None


@contextmanager
def _limited(more: int) -> Iterator[None]:
    used = _data_bytes()
    if used is None:
        yield
        return
    import resource

    def limit(soft: int, hard: int) -> None:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))

    global _active, _before  # the limit is one for all threads: the first sets it, the last takes it back
    with _lock:
        soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
        if _active == 0:
            _before = (soft, hard)
        wanted = max(used + more, soft if _active else 0)
        bounds = [wanted, *(b for b in (_before[0], hard) if b != resource.RLIM_INFINITY)]
        limit(min(bounds), hard)
        _active += 1
    try:
        yield
    finally:
        with _lock:
            _active -= 1
            if _active == 0:
                limit(*_before)


def _data_bytes() -> int | None:
    """Return what this process has mapped as data, bytes; None where the system does not say, and has no such limit."""
    try:
        text = _STATUS.read_text(encoding="ascii")
        return next(int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith("VmData:"))
    except (OSError, ValueError, StopIteration):
        return None


def call(
    session: Any, names: list[str], feed: Mapping[str, np.ndarray], where: str, seconds: float
) -> list[Any]:
    """Return a session's outputs. Raises TooLong after some seconds, TooLarge, and what ONNX Runtime raises."""
    import onnxruntime as ort

    options = ort.RunOptions()
    late = threading.Event()

    def stop() -> None:
        late.set()
        options.terminate = True

    timer = threading.Timer(seconds, stop)
    timer.daemon = True
    timer.start()
    try:
        found: list[Any] = session.run(names, feed, options)
        return found
    except Exception as error:
        if late.is_set() and "terminate" in str(error):
            rows = len(next(iter(feed.values())))
            raise TooLong(
                f"{where} has not answered for {rows:,} {'row' if rows == 1 else 'rows'} within {seconds:.0f} seconds; is "
                f"there a loop in it that does not end? If it needs longer, set {SECONDS} to more."
            ) from None
        raise
    finally:
        timer.cancel()
