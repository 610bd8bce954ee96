"""Limit time and memory of external ONNX files: a few hundred bytes can request terabytes, or loop forever."""

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
"""Environment variables: seconds allowed per row (default 30), and memory of a call in addition to the weights (1 GiB)."""

_STATUS = Path("/proc/self/status")
_NO_MEMORY = ("allocate memory", "bad_alloc", "bad allocation", "std::length_error")
_lock = threading.Lock()
_active = 0
_previous_limits = (0, 0)


class TooLong(UserError):
    """A call was stopped because it exceeded its time limit."""


class TooLarge(UserError):
    """A call or a file needs more memory than its limit."""


def limit_from_environment(name: str, default: float) -> float:
    """Return the limit set by an environment variable. Raises UserError if it is not a number above 0."""
    text = os.environ.get(name, "")
    try:
        value = float(text) if text else default
    except ValueError:
        value = -1.0
    if not 0 < value < 1e9:
        raise UserError(f"{name} is {text!r}; set it to a number above 0, such as {default:g}, or unset it.")
    return value


@contextmanager
def limit_memory(model_name: str, weights: int) -> Iterator[None]:
    """Limit the memory of the block to 1 GiB plus four times the bytes of the weights.

    The limit applies to the whole process (Linux only), including other threads. Raises TooLarge.
    """
    gib = limit_from_environment(GIB, 1.0)
    try:
        with _limited(int(gib * 2**30) + 4 * weights):
            yield
    except UserError:
        raise
    except Exception as error:
        if not isinstance(error, MemoryError) and not any(word in str(error) for word in _NO_MEMORY):
            raise
        raise TooLarge(
            f"{model_name} needs more than {gib:g} GiB of memory beyond its weights; check whether the "
            f"sizes of its tensors depend on numbers in the data, or set {GIB} to a larger number."
        ) from None


@contextmanager
def _limited(extra_bytes: int) -> Iterator[None]:
    mapped = _data_bytes()
    if mapped is None:
        yield
        return
    import resource

    def limit(soft: int, hard: int) -> None:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))

    global _active, _previous_limits  # all threads share the limit: the first sets it, the last restores it
    with _lock:
        soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
        if _active == 0:
            _previous_limits = (soft, hard)
        requested = max(mapped + extra_bytes, soft if _active else 0)
        bounds = [requested, *(b for b in (_previous_limits[0], hard) if b != resource.RLIM_INFINITY)]
        limit(min(bounds), hard)
        _active += 1
    try:
        yield
    finally:
        with _lock:
            _active -= 1
            if _active == 0:
                limit(*_previous_limits)


def _data_bytes() -> int | None:
    """Return the data memory of this process in bytes; None if the system does not report it and has no such limit."""
    try:
        text = _STATUS.read_text(encoding="ascii")
        return next(int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith("VmData:"))
    except (OSError, ValueError, StopIteration):
        return None


def call_with_timeout(
    session: Any, names: list[str], feed: Mapping[str, np.ndarray], model_name: str, seconds: float
) -> list[Any]:
    """Return the outputs of a session. Raises TooLong after `seconds`, and the exceptions of ONNX Runtime."""
    import onnxruntime as ort

    options = ort.RunOptions()
    timed_out = threading.Event()

    def stop() -> None:
        timed_out.set()
        options.terminate = True

    timer = threading.Timer(seconds, stop)
    timer.daemon = True
    timer.start()
    try:
        outputs: list[Any] = session.run(names, feed, options)
        return outputs
    except Exception as error:
        if timed_out.is_set() and "terminate" in str(error):
            rows = len(next(iter(feed.values())))
            raise TooLong(
                f"{model_name} did not finish {rows:,} {'row' if rows == 1 else 'rows'} within {seconds:.0f} seconds; check "
                f"it for an endless loop, or set {SECONDS} to a larger number."
            ) from None
        raise
    finally:
        timer.cancel()
