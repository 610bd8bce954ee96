"""What ONNX Runtime's options change, in time and in answers: ``python benchmarks/session_options.py FOLDER [ROUNDS]``.

Every option runs in the same rounds, in an order drawn anew, after the threads of the one before have come to rest. How many
times faster than the default options, with the interval of `bench`; and how many of the validation rows get another label
than from the exact sums of 8-bit products.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnxruntime as ort

from fairpress.runtime.artifact import Artifact
from fairpress.runtime.backends.base import processor
from fairpress.runtime.benchmark.inputs import available_data, input_of, rows_for
from fairpress.runtime.benchmark.result import format_ratio
from fairpress.runtime.benchmark.statistics import median_ratio
from fairpress.runtime.benchmark.worker import wait_until_idle
from fairpress.runtime.onnx.compatibility import separate_constants

BATCHES, BLOCK = (1, 32, 1000), 0.02
EXACT = "exact 8-bit sums"
OPTIONS: Mapping[str, Mapping[str, str]] = {
    "default": {},
    EXACT: {"session.x64quantprecision": "1"},
    "no integer kernels": {"session.disable_quant_qdq": "1"},
    "basic optimisation": {"level": "ORT_ENABLE_BASIC"},
    "no optimisation": {"level": "ORT_DISABLE_ALL"},
    "2 threads": {"threads": "2"},
    "2 threads, no spinning": {"threads": "2", "session.intra_op.allow_spinning": "0"},
}


def session(data: bytes, entries: Mapping[str, str]) -> Any:
    """Return a session under these options."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = int(entries.get("threads", "1"))
    if "level" in entries:
        options.graph_optimization_level = getattr(ort.GraphOptimizationLevel, entries["level"])
    for key, value in entries.items():
        if "." in key:
            options.add_session_config_entry(key, value)
    return ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def timed(run: Any, rows: np.ndarray, calls: int) -> float:
    """Return the seconds of a call in a block of calls."""
    run(rows)
    started = time.perf_counter()
    for _ in range(calls):
        run(rows)
    seconds = (time.perf_counter() - started) / calls
    wait_until_idle()
    return seconds


def main(folder: str, rounds: int) -> None:
    """Print a table for one model."""
    artifact = Artifact.load(folder)
    wanted = input_of(artifact.onnx, folder)
    rows, source = rows_for(wanted, available_data(artifact.card))
    data = separate_constants(artifact.onnx)
    runs = {}
    for name, entries in OPTIONS.items():
        s = session(data, entries)
        runs[name] = lambda x, s=s: s.run(None, {wanted.name: x})[0]
    labels = {name: run(rows).argmax(1) for name, run in runs.items()}
    ratios: dict[str, list[str]] = {name: [] for name in runs}
    rng = np.random.default_rng(0)
    for batch in BATCHES:
        x = np.ascontiguousarray(rows[np.arange(batch) % len(rows)])
        calls = max(1, round(BLOCK / timed(runs["default"], x, 3)))
        taken: dict[str, list[float]] = {name: [] for name in runs}
        for _ in range(rounds):
            for i in rng.permutation(len(runs)).tolist():
                name = list(runs)[i]
                taken[name].append(timed(runs[name], x, calls))
        for name, seconds in taken.items():
            median = f"{1e6 * np.median(seconds):,.0f} µs"
            ratios[name].append(
                median if name == "default" else format_ratio(median_ratio(taken["default"], seconds))
            )
    print(f"{artifact.card.recipe} on {processor()}; {rounds} rounds; {len(rows):,} {source}")
    print(f"| options | {' | '.join(f'batch {b:,}' for b in BATCHES)} | other labels than {EXACT} |")
    print("|---|" + "---|" * (len(BATCHES) + 1))
    for name, cells in ratios.items():
        print(f"| {name} | {' | '.join(cells)} | {int((labels[name] != labels[EXACT]).sum())} |")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 41)
