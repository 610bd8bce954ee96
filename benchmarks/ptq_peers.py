"""INT8 of one network, beside ONNX Runtime's and NNCF's: ``python benchmarks/ptq_peers.py [MODEL [SIZE [ROWS [ROUNDS]]]]``.

From a module and ROWS rows to a file: ``fairpress.compress`` (twice the rows, of which it calibrates on half),
``onnxruntime.quantization.quantize_static`` with its pre-processing, after ``torch.onnx.export``, and ``nncf.quantize`` of
OpenVINO's conversion (each with its default method, ranges and checks, if any). Processor seconds on one processor, in a new
process for each, in turn; the first network of a process, and a second one. Models: resnet18, resnet50, mobilenet_v2,
vit_small_patch16_224 (timm), and ``encoder``, six blocks of width 384 that read token ids of 32 tokens, SIZE times the
vocabulary of 1,000. What is not installed is left out.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

TOOLS = {"fairpress": "fairpress", "quantize_static": "onnxruntime", "NNCF": "nncf"}
TOKENS, WORDS, BATCH = 32, 1000, 8


def network(model: str, size: int, seed: int) -> Any:
    """Return an evaluation-mode network with random weights, and statistics in its batch norms."""
    import torch
    from torch import nn

    torch.manual_seed(seed)
    if model == "encoder":

        class Encoder(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.words, self.places = nn.Embedding(WORDS * size, 384), nn.Embedding(TOKENS, 384)
                block = nn.TransformerEncoderLayer(384, 12, 1536, activation="gelu", batch_first=True)
                self.blocks = nn.TransformerEncoder(block, 6, enable_nested_tensor=False)
                self.head = nn.Linear(384, 2)

            def forward(self, x: Any) -> Any:
                places = torch.arange(x.shape[1], device=x.device)
                return self.head(self.blocks(self.words(x) + self.places(places)).mean(1))

        return Encoder().eval()
    if model.startswith("vit"):
        import timm

        return timm.create_model(model, num_classes=2, img_size=size).eval()
    import torchvision

    made = torchvision.models.get_model(model, num_classes=2)
    with torch.no_grad():
        for _ in range(2):
            made.train()(torch.rand(8, 3, size, size))
    return made.eval()


def inputs(model: str, size: int, rows: int) -> Any:
    """Return random rows."""
    import torch

    torch.manual_seed(1)
    if model == "encoder":
        return torch.randint(0, WORDS * size, (rows, TOKENS))
    return torch.rand(rows, 3, size, size)


def fairpress(rows: int, model: str, size: int) -> Callable[[Any, Path], bytes]:
    import torch

    import fairpress as fp

    for module in (
        "torch_module",
        "quantization.batch_quantizer",
    ):  # before the clock starts, as the peers' are
        import_module(f"fairpress.compression.{module}")
    x = inputs(model, size, 2 * rows)
    labels = torch.arange(len(x)) % 2
    loader: list[Any] = [(x[i : i + 32], labels[i : i + 32]) for i in range(0, len(x), 32)]
    if model == "encoder":
        loader = [{"input_ids": ids, "labels": y} for ids, y in loader]

    def run(made: Any, _: Path) -> bytes:
        if model == "encoder":
            made = _by_name(made)
        data: bytes = fp.compress(made, "int8", data=loader).onnx
        return data

    return run


def _by_name(made: Any) -> Any:
    from torch import nn

    class Named(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = made

        def forward(self, input_ids: Any) -> Any:
            return self.inner(input_ids)

    return Named().eval()


def quantize_static(rows: int, model: str, size: int) -> Callable[[Any, Path], bytes]:
    import torch
    from onnxruntime.quantization import CalibrationDataReader, QuantType
    from onnxruntime.quantization import quantize_static as quantize
    from onnxruntime.quantization.shape_inference import quant_pre_process

    x = inputs(model, size, rows)

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.left = iter(x.split(BATCH))

        def get_next(self) -> dict[str, np.ndarray] | None:
            part = next(self.left, None)
            return None if part is None else {"x": part.numpy()}

    def run(made: Any, folder: Path) -> bytes:
        export(made, x[:2], folder / "float.onnx")
        quant_pre_process(folder / "float.onnx", folder / "prepared.onnx")
        quantize(
            folder / "prepared.onnx",
            folder / "int8.onnx",
            Reader(),
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
        torch.set_num_threads(1)
        return (folder / "int8.onnx").read_bytes()

    return run


def export(made: Any, example: Any, path: Path) -> None:
    """Write the float network as an ONNX file for any batch size and text length, with torch's exporter."""
    import torch

    dims = {0: torch.export.Dim("batch", min=1, max=2**16)}
    if not example.is_floating_point():
        dims[1] = torch.export.Dim("length", min=1, max=TOKENS)
    torch.onnx.export(
        made,
        (example,),
        path,
        dynamo=True,
        dynamic_shapes=(dims,),
        input_names=["x"],
        output_names=["y"],
        verbose=False,
        external_data=False,
    )


def nncf_quantize(rows: int, model: str, size: int) -> Callable[[Any, Path], bytes]:
    import nncf
    import openvino
    import torch

    x = inputs(model, size, rows)
    kind = None if x.is_floating_point() and not model.startswith("vit") else nncf.ModelType.TRANSFORMER

    torch.backends.mha.set_fastpath_enabled(False)  # OpenVINO's conversion does not know its operator

    def run(made: Any, folder: Path) -> bytes:
        converted = openvino.convert_model(made, example_input=x[:2])
        converted.reshape([-1, *x.shape[1:]])
        data = nncf.Dataset([row.numpy() for row in x.split(1)])
        quantized = nncf.quantize(converted, data, subset_size=rows, model_type=kind)
        openvino.save_model(quantized, folder / "int8.xml")
        return (folder / "int8.bin").read_bytes()

    return run


def worker(tool: str, model: str, size: int, rows: int) -> None:
    """Print the processor seconds of a tool for two networks."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})  # as many threads as processors: one
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    run = {"fairpress": fairpress, "quantize_static": quantize_static, "NNCF": nncf_quantize}[tool](
        rows, model, size
    )
    seconds = []
    for seed in (0, 1):
        made = network(model, size, seed)
        with tempfile.TemporaryDirectory() as folder:
            started = time.process_time()
            assert run(made, Path(folder))
            seconds.append(time.process_time() - started)
    print(json.dumps(seconds))


def main(model: str, size: int, rows: int, rounds: int) -> None:
    """Print a table of processor seconds, and the ratio to the faster peer."""
    tools = [tool for tool, package in TOOLS.items() if find_spec(package)]
    found: dict[str, list[list[float]]] = {tool: [] for tool in tools}
    for turn in range(rounds):
        for tool in tools if turn % 2 == 0 else reversed(tools):
            command = [sys.executable, __file__, "--worker", tool, model, str(size), str(rows)]
            environment = {**os.environ, "OMP_NUM_THREADS": "1"}
            done = subprocess.run(command, env=environment, capture_output=True, text=True)
            if done.returncode:
                raise SystemExit(f"{tool}: {done.stderr.strip()}")
            found[tool].append(json.loads(done.stdout.splitlines()[-1]))
            print(f"round {turn + 1}, {tool}: {found[tool][-1]}", file=sys.stderr)
    load = os.getloadavg()[2]
    print(f"{model}, size {size}, {rows} calibration rows, {rounds} round(s), load {load:.1f}\n")
    print("| processor seconds, median (smallest to largest) | first network | second |\n|---|--:|--:|")
    medians = {}
    for tool, pairs in found.items():
        cells = []
        for seconds in zip(*pairs, strict=True):
            cells.append(f"{np.median(seconds):.1f} ({min(seconds):.1f} to {max(seconds):.1f})")
        medians[tool] = np.median(pairs, axis=0)
        print(f"| {tool} | {cells[0]} | {cells[1]} |")
    peers = [seconds for tool, seconds in medians.items() if tool != "fairpress"]
    if peers:
        first, second = medians["fairpress"] / np.min(peers, axis=0)
        print(f"| fairpress, over the faster peer | {first:.2f} | {second:.2f} |")


if __name__ == "__main__":
    given = sys.argv[1:]
    if given[:1] == ["--worker"]:
        worker(given[1], given[2], int(given[3]), int(given[4]))
    else:
        given += ["resnet18", "224", "256", "3"][len(given) :]
        main(given[0], int(given[1]), int(given[2]), int(given[3]))
