"""Milliseconds of a call with one row on this machine, for a limit or an objective, and for the table."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from fairpress.runtime.backends.base import Backend
from fairpress.runtime.benchmark.measure import LEAST_ROUNDS, BenchmarkRun, measure
from fairpress.runtime.benchmark.statistics import order_statistic_rank
from fairpress.searching.bounds import exact_p_value
from fairpress.searching.trial import Trial

SECONDS = 1.5


def milliseconds(
    files: Mapping[str, bytes], rows: np.ndarray, confidence: float
) -> dict[str, tuple[float, float]]:
    """Return file → median of a call and its one-sided upper bound, timed against one another; rows [n, …]."""
    # The slowest of n calls is above the median with 1 − 2⁻ⁿ.
    least = math.ceil(-math.log2(1 - confidence))
    rounds = least if least > LEAST_ROUNDS else None
    contestants = [BenchmarkRun(name, onnx, rows, Backend(), None) for name, onnx in files.items()]
    out = {}
    for found in measure(contestants, 1, rounds=rounds, seconds=SECONDS):
        times = np.sort(np.asarray(found.seconds))
        rank = order_statistic_rank(len(times), 2 * confidence - 1)
        out[found.model] = (1e3 * found.median, 1e3 * float(times[-(rank or 1)]))
    return out


def time_candidates(trial: Trial, limit: float | None, rows: np.ndarray, confidence: float) -> Trial:
    """Return a candidate with a latency, and its bound, that did not choose it; as it is where latency is not limited."""
    if limit is None:
        return trial
    median, upper = milliseconds({trial.recipe: trial.artifact.onnx}, rows, confidence)[trial.recipe]
    others = (b for b in trial.bounds if b.limit != "max_latency_ms")
    bound = exact_p_value("max_latency_ms", limit, median, upper)
    return replace(trial, latency_ms=median, bounds=(*others, bound))
