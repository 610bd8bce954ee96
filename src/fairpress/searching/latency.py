"""Latency of a call with one row on this machine, in milliseconds."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from fairpress.datasets.dataset import Dataset
from fairpress.runtime.artifact import Artifact
from fairpress.runtime.backends.base import Backend
from fairpress.runtime.benchmark.measure import MIN_ROUNDS, BenchmarkRun, measure
from fairpress.runtime.benchmark.statistics import order_statistic_rank
from fairpress.searching.bounds import exact_bound
from fairpress.searching.trial import Trial
from fairpress.tokenization.padding import trim_padding

TIMING_SECONDS = 1.5
ROWS = 200


def timed_rows(dataset: Dataset, index: np.ndarray) -> np.ndarray:
    """Return inputs to time models with: the first rows of `index`, or of texts the one of median length."""
    if dataset.texts is None:
        return np.asarray(dataset.inputs[index[:ROWS]])
    texts = dataset.texts[index[:ROWS]]
    middle = np.argsort([len(text) for text in texts], kind="stable")[len(texts) // 2]
    return np.asarray(texts[middle : middle + 1])


def measure_latency(
    models: Mapping[str, Artifact], rows: np.ndarray, confidence: float
) -> dict[str, tuple[float, float]]:
    """Return model → median latency in ms and its one-sided upper bound, all timed in the same rounds.

    `rows` are those of `timed_rows`; each model reads texts by its own tokenizer.
    """
    # The slowest of n calls is above the median with probability 1 − 2⁻ⁿ.
    min_rounds = math.ceil(-math.log2(1 - confidence))
    rounds = min_rounds if min_rounds > MIN_ROUNDS else None
    contestants = [BenchmarkRun(n, m.onnx, _inputs(m, rows), Backend(), None) for n, m in models.items()]
    latencies = {}
    for measurement in measure(contestants, 1, rounds=rounds, seconds=TIMING_SECONDS):
        times = np.sort(np.asarray(measurement.seconds))
        rank = order_statistic_rank(len(times), 2 * confidence - 1)
        latencies[measurement.model] = (1e3 * measurement.median, 1e3 * float(times[-(rank or 1)]))
    return latencies


def _inputs(model: Artifact, rows: np.ndarray) -> np.ndarray:
    tokenizer = model.text_tokenizer
    if tokenizer is None:
        return rows
    return trim_padding(tokenizer.encode(rows).ids, tokenizer.pad_id).astype(np.int64)


def time_candidates(trial: Trial, limit: float | None, rows: np.ndarray, confidence: float) -> Trial:
    """Return the candidate with a latency measured independently of its selection; unchanged without a limit."""
    if limit is None:
        return trial
    median, upper = measure_latency({trial.recipe: trial.artifact}, rows, confidence)[trial.recipe]
    others = (b for b in trial.bounds if b.limit != "max_latency_ms")
    bound = exact_bound("max_latency_ms", limit, median, upper)
    return replace(trial, latency_ms=median, bounds=(*others, bound))
