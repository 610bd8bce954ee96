"""Time of error-compensated rounding: ``python benchmarks/rounding_time.py [SIZE [ROWS [BITS [MODEL]]]]``.

One network of torchvision with random weights (by default resnet18 at 224 pixels, 256 calibration rows, 4 bits). Printed are
the seconds of the calibration pass (`scales_of_activations`), of `compensate` and of its parts, in one process, after one
another; the aim is that `compensate` takes at most twice as long as the pass.
"""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable
from functools import wraps
from typing import Any

import torch
import torchvision

from fairpress.compression.quantization.batch_quantizer import BatchQuantizer
from fairpress.compression.quantization.calibrate import scales_of_activations, scales_of_weights
from fairpress.compression.quantized_graph.scheme import Scheme
from fairpress.compression.rounding import compensate as module

PARTS = ("bytes_per_row", "input_moments", "factorize", "error_compensated")


def main(size: int, rows: int, bits: int, model: str) -> None:
    """Print a table of seconds, the ratio, and the largest memory of the process so far."""
    torch.manual_seed(0)
    network = torchvision.models.get_model(model, num_classes=2).eval()
    images = torch.rand(rows, 3, size, size)
    engine = BatchQuantizer.from_module(network, images[:2])
    prepared, state = engine.prepare(Scheme(bits)), engine.fold(network.state_dict())
    scaled = {**state, **scales_of_weights(prepared, state, "mse")}
    started = time.perf_counter()
    scales_of_activations(prepared, scaled, images, ("mse",))
    calibration = time.perf_counter() - started
    spent: dict[str, float] = {}

    def timed(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def run(*args: Any, **kwargs: Any) -> Any:
            began = time.perf_counter()
            result = function(*args, **kwargs)
            spent[name] = spent.get(name, 0.0) + time.perf_counter() - began
            return result

        return run

    for name in PARTS:
        setattr(module, name, timed(name, getattr(module, name)))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.perf_counter()
    _, facts = module.compensate(prepared, scaled, images)
    whole = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    threads = torch.get_num_threads()
    print(
        f"{model}, {size} pixels, {bits} bits, {facts['rounding_rows']} of {rows} rows, {threads} thread(s)\n"
    )
    print("| | seconds |\n|---|---|")
    print(f"| calibration pass | {calibration:.1f} |\n| rounding | {whole:.1f} |")
    for name in PARTS:
        print(f"| … {name} | {spent[name]:.1f} |")
    print(f"| … forward pass, and the rest | {whole - sum(spent.values()):.1f} |")
    print(
        f"\nRounding takes {whole / calibration:.2f} times as long as the calibration pass (aim: 2 at most)."
    )
    print(f"Largest memory of the process: {before / 2**20:.2f} GB before, {after / 2**20:.2f} GB after.")


if __name__ == "__main__":
    given = sys.argv[1:]
    pixels, n_rows, width = (int(a) for a in [*given[:3], *("224", "256", "4")[len(given) :]])
    main(pixels, n_rows, width, given[3] if len(given) > 3 else "resnet18")
