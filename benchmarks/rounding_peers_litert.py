"""Rounding of fully connected networks to 4 bits, ours and ai-edge-quantizer's, on the same calibration rows: COMPAS, mlp.

python benchmarks/rounding_peers_litert.py [networks]

Per way: flips of 1,000 test rows against the float network on the same runtime, mean of the networks and its 95 % interval
(Student's t over networks); accuracy; bytes. Its GPTQ rounds fully connected layers alone, of a LiteRT file, so that each
network is written as one: inputs standardized beforehand, the same float weights. One scale per output channel everywhere.

Packages: ``ai-edge-quantizer`` and ``flatbuffers``; neither belongs to fairpress.
"""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter
from ai_edge_quantizer import qtyping, quantizer
from scipy.stats import t

from fairpress import datasets
from fairpress.compression.apply import compress
from fairpress.compression.recipes import parse
from fairpress.models.feature_scaling import LIMIT
from fairpress.models.mlp import Mlp
from fairpress.models.weights_io import from_bytes
from fairpress.runtime.artifact import Artifact
from fairpress.runtime.backends.onnxruntime import run
from fairpress.training.config import FitConfig
from fairpress.training.fit import fit

OURS = ("int4", "int4(rounding=gptq)", "w4", "w4(rounding=gptq)")
THEIRS = ("min_max_uniform_quantize", "MSE", "GPTQ")
SIGNATURE = "serving_default"
ROWS = 256  # calibration rows


def standardized(base: Artifact, rows: np.ndarray) -> np.ndarray:
    """Return the values that the first linear layer reads [rows, columns]."""
    state = from_bytes(base.weights or b"")
    scaled = (rows - state["0.mean"].numpy()) / state["0.scale"].numpy()
    return scaled.clip(-LIMIT, LIMIT).astype(np.float32)


def litert_file(base: Artifact, rows: int) -> bytes:
    """Return the linear layers of a network as a LiteRT file that reads so many rows."""
    state = {k: v.numpy() for k, v in from_bytes(base.weights or b"").items()}
    layers = sorted(int(k.split(".")[0]) for k in state if k.endswith(".weight"))
    model, graph = schema.ModelT(), schema.SubGraphT()
    model.version, model.buffers, model.subgraphs = 3, [schema.BufferT()], [graph]
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.FULLY_CONNECTED
    code.version, model.operatorCodes = 1, [code]
    graph.name, graph.tensors, graph.operators = b"main", [], []

    def tensor(name: str, shape: tuple[int, ...], values: np.ndarray | None = None) -> int:
        made = schema.TensorT()
        made.name, made.shape, made.type, made.buffer = (
            name.encode(),
            list(shape),
            schema.TensorType.FLOAT32,
            0,
        )
        if values is not None:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(values.astype(np.float32).tobytes(), np.uint8)
            model.buffers.append(buffer)
            made.buffer = len(model.buffers) - 1
        graph.tensors.append(made)
        return len(graph.tensors) - 1

    value = tensor("input", (rows, state[f"{layers[0]}.weight"].shape[1]))
    graph.inputs = [value]
    for layer in layers:
        weight, bias = state[f"{layer}.weight"], state[f"{layer}.bias"]
        operator, options = schema.OperatorT(), schema.FullyConnectedOptionsT()
        last = layer == layers[-1]
        options.fusedActivationFunction = (
            schema.ActivationFunctionType.NONE if last else schema.ActivationFunctionType.RELU
        )
        operator.opcodeIndex, operator.builtinOptions = 0, options
        operator.builtinOptionsType = schema.BuiltinOptions.FullyConnectedOptions
        operator.inputs = [
            value,
            tensor(f"weight{layer}", weight.shape, weight),
            tensor(f"bias{layer}", bias.shape, bias),
        ]
        value = tensor(f"layer{layer}", (rows, len(bias)))
        operator.outputs = [value]
        graph.operators.append(operator)
    graph.outputs = [value]
    signature, first, answer = schema.SignatureDefT(), schema.TensorMapT(), schema.TensorMapT()
    signature.signatureKey, signature.subgraphIndex = SIGNATURE.encode(), 0
    first.name, first.tensorIndex, answer.name, answer.tensorIndex = (
        b"input",
        graph.inputs[0],
        b"output",
        value,
    )
    signature.inputs, signature.outputs, model.signatureDefs = [first], [answer], [signature]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def answers(data: bytes, inputs: np.ndarray) -> np.ndarray:
    """Return a LiteRT file's classes for inputs [rows, columns]."""
    interpreter = Interpreter(model_content=data, num_threads=1)
    interpreter.allocate_tensors()
    source, target = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    size = source["shape"][0]
    padded = np.concatenate([inputs, np.zeros((-len(inputs) % size, inputs.shape[1]), np.float32)])
    found = []
    for at in range(0, len(padded), size):
        interpreter.set_tensor(source["index"], padded[at : at + size])
        interpreter.invoke()
        found.append(interpreter.get_tensor(target["index"]).argmax(1))
    return np.concatenate(found)[: len(inputs)]


def theirs(data: bytes, rows: np.ndarray, kind: str, algorithm: str) -> bytes:
    """Return a LiteRT file quantized to 4 bits by ai-edge-quantizer, calibrated on rows [rows, columns]."""
    with TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        source, target = Path(folder, "base.tflite"), Path(folder, "small.tflite")
        source.write_bytes(data)
        made = quantizer.Quantizer(str(source))
        add: Callable[..., None] = getattr(made, f"add_{kind}_config")
        channel = qtyping.QuantGranularity.CHANNELWISE
        add(".*", qtyping.TFLOperationName.FULLY_CONNECTED, 4, channel, algorithm)
        found = made.calibrate({SIGNATURE: [{"input": rows}]}) if made.need_calibration else None
        made.quantize(found).export_model(str(target), overwrite=True)
        return target.read_bytes()


def line(way: str, before: list[np.ndarray], after: list[np.ndarray], labels: np.ndarray, size: float) -> str:
    """Return a row of the table."""
    each = 1000 * np.array([(a != b).mean() for a, b in zip(after, before, strict=True)])
    half = t.ppf(0.975, len(each) - 1) * each.std(ddof=1) / np.sqrt(len(each))
    right = 100 * np.mean([a == labels for a in after])
    interval = f"{each.mean():.1f} [{max(0.0, each.mean() - half):.1f}, {each.mean() + half:.1f}]"
    return f"| {way} | {interval} | {right:.1f} | {size:,.0f} |"


def main(networks: int) -> None:
    """Print the table as its rows come."""
    data = [datasets.load("compas", on_message=lambda _: None)] * networks
    seeds = list(range(networks))
    bases = fit(Mlp(widths=(68,) * 8), data, seeds, FitConfig())
    rows, calibration = data[0].part("test"), data[0].part("calibration").inputs[:ROWS]
    print(f"{networks} networks, {len(rows):,} test rows, {len(calibration)} calibration rows\n")
    print("| way | flips of 1,000 | accuracy % | bytes |\n|---|---|---|---|")
    before = [run(b.onnx, rows.inputs).argmax(1) for b in bases]
    for recipe in OURS:
        small = compress(
            bases,
            parse(f"{recipe[:-1]},rows={ROWS})" if "(" in recipe else f"{recipe}(rows={ROWS})"),
            data,
            seeds,
        )
        after = [run(s.onnx, rows.inputs).argmax(1) for s in small]
        print(
            line(f"fairpress `{recipe}`", before, after, rows.labels, np.mean([s.size for s in small])),
            flush=True,
        )
    floats = [litert_file(b, len(calibration)) for b in bases]
    inputs = [standardized(b, rows.inputs) for b in bases]
    converted = [answers(f, x) for f, x in zip(floats, inputs, strict=True)]
    print(
        line("LiteRT, float", before, converted, rows.labels, np.mean([len(f) for f in floats])), flush=True
    )
    for kind in ("dynamic", "weight_only"):
        for algorithm in THEIRS:
            files = [
                theirs(f, standardized(b, calibration), kind, algorithm)
                for f, b in zip(floats, bases, strict=True)
            ]
            after = [answers(f, x) for f, x in zip(files, inputs, strict=True)]
            way = f"ai-edge-quantizer {kind.replace('_', ' ')}, {algorithm}"
            print(line(way, converted, after, rows.labels, np.mean([len(f) for f in files])), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10)
