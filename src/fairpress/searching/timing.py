"""Milliseconds of a call with one row on this machine, for a limit or an objective, and for the table."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from fairpress.runtime.bench import Contestant, measure
from fairpress.runtime.contract import Runtime
from fairpress.runtime.medians import rank_of_bound

SECONDS = 1.5


def milliseconds(files: Mapping[str, bytes], rows: np.ndarray) -> dict[str, tuple[float, float]]:
    """Return file → median of a call and its one-sided upper 95 % bound, timed against one another; rows [n, …]."""
    contestants = [Contestant(name, onnx, rows, Runtime(), None) for name, onnx in files.items()]
    out = {}
    for found in measure(contestants, 1, seconds=SECONDS):
        times = np.sort(np.asarray(found.seconds))
        rank = rank_of_bound(len(times), 0.9)
        out[found.model] = (1e3 * found.median, 1e3 * float(times[-(rank or 1)]))
    return out
