"""Where the time of post-training quantization goes: ``python benchmarks/ptq_time.py [SIZE [ROWS [BITS [MODEL]]]]``.

One network (resnet18 of torchvision, or another of its names) from a module to a checked file, in a process
that has not exported yet. Seconds of processor time, each part without the parts inside of it. Below the table: all of
it, over what cannot be avoided, which is both exports and one forward pass of every calibration row through the float
network; the aim is 2 at most.
"""

from __future__ import annotations

import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

import torch
import torchvision

from fairpress.compression.quantization import batch_quantizer, calibrate
from fairpress.compression.quantization.batch_quantizer import BatchQuantizer, quantize_many
from fairpress.compression.quantized_graph import onnx_template
from fairpress.compression.quantized_graph.range_estimators import Histogram
from fairpress.compression.quantized_graph.row_chunks import chunks
from fairpress.compression.quantized_graph.scheme import Scheme
from fairpress.compression.verification import checks

EXPORTS = ("torch.export", "ONNX export")
PARTS: dict[str, list[tuple[Any, str]]] = {
    EXPORTS[0]: [(batch_quantizer, "trace")],
    "folding, and PT2E's preparation": [(batch_quantizer, "fold_graph"), (batch_quantizer, "prepare")],
    "ranges of weights": [(calibrate, "scales_of_weights")],
    "forward passes of the calibration rows, rounded weights": [(calibrate, "scales_of_activations")],
    "histograms of activations": [(Histogram, "add")],
    "ranges of activations": [(calibrate, "activation_scale")],
    "PT2E's conversion": [(onnx_template, "_convert")],
    EXPORTS[1]: [(onnx_template, "export_graph")],
    "names in the exported file": [(batch_quantizer, "make_template")],
    "filling and packing the file": [(onnx_template.OnnxTemplate, "fill")],
    "check of what is in the file": [(batch_quantizer, "check_file")],
    "check of its kernels": [(checks, "optimized_graph")],
    "check that it decides as its graph: the graph": [(batch_quantizer, "logits_in_chunks")],
    "check that it decides as its graph: the file": [
        (batch_quantizer, "clear_agreement"),
        (batch_quantizer, "check_agreement"),
    ],
}


@contextmanager
def timed(spent: dict[str, float]) -> Iterator[None]:
    """Add up the processor time of the functions of `PARTS`, that of inner ones to these alone."""
    inside: list[float] = []
    real = [(holder, name, holder.__dict__[name]) for parts in PARTS.values() for holder, name in parts]

    def wrap(part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def run(*args: Any, **kwargs: Any) -> Any:
            inside.append(0.0)
            started = time.process_time()
            try:
                return function(*args, **kwargs)
            finally:
                taken = time.process_time() - started
                spent[part] += taken - inside.pop()
                if inside:
                    inside[-1] += taken

        return run

    for part, places in PARTS.items():
        for holder, name in places:
            setattr(holder, name, wrap(part, holder.__dict__[name]))
    try:
        yield
    finally:
        for holder, name, function in real:
            setattr(holder, name, function)


def main(size: int, rows: int, bits: int, model: str) -> None:
    """Print a table of seconds and the ratio."""
    torch.manual_seed(0)
    network = torchvision.models.get_model(model, num_classes=2)
    images = torch.rand(rows, 3, size, size)
    with torch.no_grad():
        for _ in range(5):
            network.train()(torch.rand(8, 3, size, size))  # gives the batch norms their statistics
    network.eval()
    spent: dict[str, float] = defaultdict(float)
    started = time.process_time()
    with timed(spent):
        own = BatchQuantizer.from_module(network, images)
        quantize_many(own, [network.state_dict()], [images], Scheme(bits))
    whole = time.process_time() - started
    started = time.process_time()
    with torch.no_grad():
        for chunk in chunks(images):
            network(chunk)
    passes = time.process_time() - started
    print(
        f"{model}, {size} pixels, int{bits}, {rows} calibration rows, {torch.get_num_threads()} thread(s)\n"
    )
    print("| | seconds |\n|---|---|")
    for part in PARTS:
        print(f"| {part} | {spent[part]:.2f} |")
    print(f"| the rest | {whole - sum(spent.values()):.2f} |\n| all | {whole:.2f} |")
    exports = sum(spent[part] for part in EXPORTS)
    print(
        f"\nBoth exports {exports:.2f} s, forward passes of the float network {passes:.2f} s; all of it is ",
        end="",
    )
    print(f"{whole / (exports + passes):.2f} times their sum (aim: 2 at most).")


if __name__ == "__main__":
    given = sys.argv[1:]
    size, rows, bits = (int(a) for a in [*given[:3], *("64", "512", "8")[len(given) :]])
    main(size, rows, bits, given[3] if len(given) > 3 else "resnet18")
