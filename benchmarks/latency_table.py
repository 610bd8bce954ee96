"""The table of milliseconds that `runtimes.py` and `int8_latency.py` print."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from fairpress.runtime.backends.base import processor
from fairpress.runtime.backends.registry import choose, kernels
from fairpress.runtime.benchmark.measure import Measurement
from fairpress.runtime.benchmark.statistics import quartiles


def print_latencies(what: str, found: Sequence[Measurement], files: Mapping[str, bytes]) -> None:
    """Print the conditions, and a row for every file and runtime.

    Parameters
    ----------
    what
        The network, the size of its inputs and so on.
    found
        Measurements of these files, at one batch size and number of threads.
    files
        The contents of the files by name.
    """
    first, load = found[0], os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    conditions = (
        f"batch {first.batch}, {first.threads} thread(s); {len(first.seconds)} rounds, load {load:.1f}"
    )
    print(f"{processor()}; {what}, {conditions}\n")
    print("| file | MB | runtime | ms a call | quartiles | integer, float layers, conversions | peak MB |")
    print("|---|--:|---|--:|---|---|--:|")
    for m in found:
        low, middle, high = (1e3 * s for s in quartiles(m.seconds))
        k = kernels(files[m.model], choose(m.runtime), m.batch)
        print(
            f"| {m.model} | {len(files[m.model]) / 1e6:.2f} | {m.facts['runtime']} "
            f"| {middle:.2f} | {low:.2f} to {high:.2f} | {k.integer}, {k.floating}, {k.conversions} "
            f"| {(m.memory_peak or 0) / 1e6:.0f} |"
        )
