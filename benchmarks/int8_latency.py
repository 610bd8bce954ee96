"""INT8 files of many tools, two runtimes: ``python benchmarks/int8_latency.py [MODEL [SIZE [BATCHES [THREADS [SECS]]]]]``.

fairpress, ``quantize_static``, for transformers ``quantize_dynamic``, and ``nncf.quantize`` each write an ONNX file of the
same network (those of `ptq_peers.py`), from the same 16 rows and for any number of rows and length of texts. All run on
ONNX Runtime and on OpenVINO in the same rounds; OpenVINO receives the number of rows before it compiles. Ratios are medians
of the rounds' ratios with their intervals; below 1, the file of fairpress is faster. What is not installed is left out.
"""

from __future__ import annotations

import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from latency_table import print_latencies
from ptq_peers import TOOLS, export, inputs, network, quantize_static

from fairpress.compression.quantization.batch_quantizer import BatchQuantizer, quantize_many
from fairpress.runtime.backends.registry import choose
from fairpress.runtime.benchmark.measure import BenchmarkRun, measure
from fairpress.runtime.benchmark.result import format_ratio
from fairpress.runtime.benchmark.statistics import median_ratio

ROWS = 16
RUNTIMES = ("onnxruntime", "openvino")


def is_transformer(model: str) -> bool:
    """Return whether a model is made of attention and linear layers."""
    return model == "encoder" or model.startswith("vit")


def dynamic_file(folder: Path) -> bytes:
    """Return what ``quantize_dynamic`` makes of the float file that `quantize_static` prepared in this folder."""
    from onnxruntime.quantization import quantize_dynamic

    quantize_dynamic(
        folder / "prepared.onnx",
        folder / "dynamic.onnx",
        per_channel=True,
        op_types_to_quantize=["MatMul", "Gemm"],
    )
    return (folder / "dynamic.onnx").read_bytes()


def nncf_file(model: str, size: int, folder: Path) -> bytes:
    """Return the ONNX file that NNCF makes of torch's export."""
    import nncf
    import onnx

    rows = inputs(model, size, ROWS)
    export(network(model, size, 0), rows[:2], folder / "float.onnx")
    kind = nncf.ModelType.TRANSFORMER if is_transformer(model) else None
    data = nncf.Dataset([{"x": row.numpy()} for row in rows.split(1)])
    quantized = nncf.quantize(onnx.load(folder / "float.onnx"), data, subset_size=ROWS, model_type=kind)
    content: bytes = quantized.SerializeToString()
    return content


def files(model: str, size: int) -> dict[str, bytes]:
    """Return the files by the name of the tool."""
    rows, made = inputs(model, size, ROWS), network(model, size, 0)
    engine = BatchQuantizer.from_module(made, rows)
    (quantized,) = quantize_many(engine, [made.state_dict()], [rows])
    out = {"fairpress": quantized.onnx}
    with tempfile.TemporaryDirectory() as folder:
        out["quantize_static"] = quantize_static(ROWS, model, size)(made, Path(folder))
        if is_transformer(model):
            out["quantize_dynamic"] = dynamic_file(Path(folder))
        if find_spec(TOOLS["NNCF"]):
            out["NNCF"] = nncf_file(model, size, Path(folder))
    return out


def main(model: str, size: int, batches: list[int], threads: int, seconds: float) -> None:
    """Print for each batch size a table of milliseconds, and at last one of ratios."""
    made, rows = files(model, size), inputs(model, size, max(batches)).numpy()
    runtimes = [name for name in RUNTIMES if name == "onnxruntime" or find_spec(name)]
    runs = [
        BenchmarkRun(name, data, rows, choose(runtime, threads=threads))
        for runtime in runtimes
        for name, data in made.items()
    ]
    ratios = []
    for batch in batches:
        found = measure(runs, batch, seconds=seconds)
        print_latencies(f"{model}, size {size}", found, made)
        print()
        by = {(m.model, m.runtime): m.seconds for m in found}
        for runtime in runtimes:
            peers = {name: by[name, runtime] for name in made if name != "fairpress"}
            best = min(peers, key=lambda name: float(np.median(peers[name])))
            ratio = format_ratio(median_ratio(by["fairpress", runtime], peers[best])).replace("x", "", 1)
            ratios.append(f"| {model} | {batch} | {runtime} | {best} | {ratio} |")
    print("| network | batch | runtime | faster peer | fairpress, over it |\n|---|--:|---|---|---|")
    print("\n".join(ratios))


if __name__ == "__main__":
    given = sys.argv[1:]
    given += ["resnet18", "224", "1,32", "1", "60"][len(given) :]
    batches = [int(batch) for batch in given[2].split(",")]
    main(given[0], int(given[1]), batches, int(given[3]), float(given[4]))
