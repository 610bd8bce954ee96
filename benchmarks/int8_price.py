"""What an integer layer costs at batch 1, and what a call costs: ``python benchmarks/int8_price.py [ROUNDS]``.

Networks of one and of nine equal layers (linear, ReLU), each with a layer of two outputs after them, are timed in the
same rounds. The difference over eight is the price of a layer; what is left of the shallow network is the price of a call:
entering the runtime, conversions at the ends, the last layer. Intervals are order statistics of the rounds' values.
"""

from __future__ import annotations

import sys

import numpy as np
import torch
from torch import nn

from fairpress.compression.quantization.batch_quantizer import BatchQuantizer, quantize_many
from fairpress.compression.quantized_graph.scheme import Scheme
from fairpress.models.export import export_graph
from fairpress.runtime.backends.base import processor
from fairpress.runtime.backends.registry import choose
from fairpress.runtime.benchmark.measure import BenchmarkRun, measure
from fairpress.runtime.benchmark.statistics import order_statistic_rank
from fairpress.runtime.onnx.weight_packing import finalize

WIDTHS, SHALLOW, DEEP = (68, 128, 256), 1, 9


def network(width: int, depth: int) -> nn.Module:
    """Return `depth` times linear and ReLU, then two outputs."""
    torch.manual_seed(0)
    layers = [part for _ in range(depth) for part in (nn.Linear(width, width), nn.ReLU())]
    return nn.Sequential(*layers, nn.Linear(width, 2)).eval()


def contestants(width: int) -> list[BenchmarkRun]:
    """Return both depths, in floats and in integers."""
    rows = torch.rand(256, width)
    found = []
    for depth in (SHALLOW, DEEP):
        module = network(width, depth)
        # Weights of 4 bits go through the same 8-bit kernels, and no sum saturates where there is no VNNI.
        engine = BatchQuantizer.from_module(module, rows)
        (quantized,) = quantize_many(engine, [module.state_dict()], [rows], Scheme(4))
        files = {"float": finalize(export_graph(module, rows[:2])), "integer": quantized.onnx}
        found += [
            BenchmarkRun(f"{kind} {depth}", data, rows.numpy(), choose()) for kind, data in files.items()
        ]
    return found


def interval(values: np.ndarray) -> str:
    """Write the median of µs with its 95 % interval."""
    ordered = np.sort(values)
    rank = order_statistic_rank(len(ordered), 0.95)
    low, high = (ordered[rank - 1], ordered[-rank]) if rank else (np.nan, np.nan)
    return f"{np.median(ordered):.1f} [{low:.1f}, {high:.1f}]"


def main(rounds: int) -> None:
    """Print a line for each width."""
    print(processor())
    print("| width | kind | a call, µs | a layer, µs |\n|---|---|---|---|")
    for width in WIDTHS:
        timed = {m.model: 1e6 * np.array(m.seconds) for m in measure(contestants(width), 1, rounds=rounds)}
        for kind in ("float", "integer"):
            layer = (timed[f"{kind} {DEEP}"] - timed[f"{kind} {SHALLOW}"]) / (DEEP - SHALLOW)
            print(
                f"| {width} | {kind} | {interval(timed[f'{kind} {SHALLOW}'] - layer)} | {interval(layer)} |"
            )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 51)
