"""resnet18 in fp32, INT8 and INT4 on both runtimes: ``python benchmarks/runtimes.py [SIZE [BATCH [THREADS [SECONDS]]]]``.

Random weights and images (speed does not depend on them), 224 pixels, batch 32, two threads. All six run in the same
rounds; ratios are medians of the rounds' ratios with their intervals. The aims are printed beside what was found, and how
many layers run in integers: an aim that was set on a processor with AVX512-VNNI or AMX need not hold on others.
"""

from __future__ import annotations

import sys

import torch
import torchvision
from latency_table import print_latencies

from fairpress.compression.quantization.batch_quantizer import BatchQuantizer, quantize_many
from fairpress.compression.quantized_graph.scheme import Scheme
from fairpress.models.export import export_graph
from fairpress.runtime.backends.registry import choose
from fairpress.runtime.benchmark.measure import BenchmarkRun, Measurement, measure
from fairpress.runtime.benchmark.result import format_ratio
from fairpress.runtime.benchmark.statistics import median_ratio
from fairpress.runtime.onnx.weight_packing import finalize

RUNTIMES = ("onnxruntime", "openvino")
AIMS = {
    ("int8", "fp32", "onnxruntime"): "at least 2",
    ("int8", "fp32", "openvino"): "at least 5",
    ("int4", "int8", "onnxruntime"): "0.9 to 1.1",
    ("int4", "int8", "openvino"): "0.9 to 1.1",
}


def files(size: int) -> dict[str, bytes]:
    """Return the ONNX files by name."""
    torch.manual_seed(0)
    network, images = torchvision.models.resnet18(num_classes=2), torch.rand(16, 3, size, size)
    with torch.no_grad():
        for _ in range(5):
            network.train()(torch.rand(8, 3, size, size))  # gives the batch norms their statistics
    network.eval()
    found = {"fp32": finalize(export_graph(network, images[:2]))}
    engine = BatchQuantizer.from_module(network, images)
    for bits in (8, 4):
        (made,) = quantize_many(engine, [network.state_dict()], [images], Scheme(bits))
        found[f"int{bits}"] = made.onnx
    return found


def main(size: int, batch: int, threads: int, seconds: float) -> None:
    """Print two tables."""
    made = files(size)
    rows = torch.rand(batch, 3, size, size).numpy()
    found = measure(
        [
            BenchmarkRun(name, data, rows, choose(runtime, threads=threads))
            for runtime in RUNTIMES
            for name, data in made.items()
        ],
        batch,
        seconds=seconds,
        progress=lambda what, done, total: print(f"{what}: {done} of {total} rounds", file=sys.stderr),
    )
    by: dict[tuple[str, str], Measurement] = {(m.model, m.runtime): m for m in found}
    print_latencies(f"resnet18, {size} pixels", found, made)
    print("\n| | times faster | aim |\n|---|---|---|")
    for (name, other, runtime), aim in AIMS.items():
        ratio = median_ratio(by[other, runtime].seconds, by[name, runtime].seconds)
        print(f"| {name} against {other} on {runtime} | {format_ratio(ratio)} | {aim} |")


if __name__ == "__main__":
    given = [float(a) for a in sys.argv[1:]]
    size, batch, threads, seconds = [*given, *(224, 32, 2, 240)[len(given) :]]
    main(int(size), int(batch), int(threads), seconds)
