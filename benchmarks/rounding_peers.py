"""Ways to round a network, ours and other packages', on the same network and the same calibration rows.

    FAIRPRESS_DATA=… python benchmarks/rounding_peers.py MODEL_FOLDER [--by race] [--only NAME…]

A table: of 1,000 test rows how many answers differ from fp32, with the 95 % interval over rows, the same in the worst
group of `--by` (the worst on these rows, so that it is overstated by that choice), accuracy, bytes of the file, seconds.
Peers whose package is missing, or that cannot quantize this network, are named below the table with the reason. Test rows
choose nothing.

Packages: ``onnxruntime``, ``nncf`` (with ``openvino``), ``aimet-onnx``; none belongs to fairpress. Bytes are those of the
peer's own file; where it stores 4-bit weights in wider types (AIMET's are simulated in float) they are left out.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnx.version_converter

import fairpress as fp
from fairpress.auditing.statistics.proportion_intervals import wilson
from fairpress.datasets.dataset import Dataset
from fairpress.runtime.artifact import Artifact
from fairpress.runtime.benchmark.inputs import available_data

OURS = (
    "int8",
    "int4",
    "int4(rounding=gptq)",
    "int3(rounding=gptq)",
    "int2(bits=first:8|last:8)",
    "int2(rounding=gptq,bits=first:8|last:8)",
    "w4",
    "w4(rounding=gptq)",
)
ADAROUND_STEPS = 1_000  # its authors take 10,000 to 15,000


@dataclass(frozen=True)
class Made:
    """A quantized network: its outputs for inputs [rows, …] and the bytes of its file, None where it has none to compare."""

    logits: Callable[[np.ndarray], np.ndarray]
    size: int | None


@dataclass(frozen=True)
class Task:
    """A network as a file, and the inputs to calibrate it with [rows, …]."""

    base: Artifact
    data: Dataset
    rows: np.ndarray

    @property
    def input_name(self) -> str:
        """Return the name of its input."""
        return str(onnx.load_from_string(self.base.onnx).graph.input[0].name)


def session(model: bytes) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function from inputs to outputs by ONNX Runtime on one thread."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    made = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    name = made.get_inputs()[0].name
    return lambda x: in_batches(lambda part: made.run(None, {name: part})[0], x)


def in_batches(outputs: Callable[[np.ndarray], np.ndarray], x: np.ndarray, size: int = 200) -> np.ndarray:
    """Return the outputs of inputs, computed batch by batch."""
    return np.concatenate([outputs(x[i : i + size]) for i in range(0, len(x), size)])


def ours(recipe: str) -> Callable[[Task], Made]:
    """Return the way of a recipe of fairpress."""

    def make(task: Task) -> Made:
        made = fp.compress(task.base, recipe, data=task.data, on_message=None)
        return Made(session(made.onnx), len(made.onnx))

    return make


def onnxruntime_static(weights: str) -> Callable[[Task], Made]:
    """Return ONNX Runtime's quantize_static: activations of 8 bits, weights per channel."""

    def make(task: Task) -> Made:
        from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
        from onnxruntime.quantization.shape_inference import quant_pre_process

        name = task.input_name

        class Reader(CalibrationDataReader):  # type: ignore[misc]
            def __init__(self) -> None:
                self.batches = iter([{name: task.rows[i : i + 64]} for i in range(0, len(task.rows), 64)])

            def get_next(self) -> Mapping[str, np.ndarray] | None:
                return next(self.batches, None)

        with tempfile.TemporaryDirectory() as folder:
            source, ready, target = (str(Path(folder, f"{n}.onnx")) for n in ("base", "ready", "small"))
            onnx.save(with_opset(task.base.onnx), source)
            quant_pre_process(source, ready)
            quantize_static(
                ready,
                target,
                Reader(),
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                weight_type=getattr(QuantType, weights),
                activation_type=QuantType.QUInt8,
            )
            data = Path(target).read_bytes()
        return Made(session(data), len(data))

    return make


def onnxruntime_gptq(task: Task) -> Made:
    """ONNX Runtime's GPTQ, which rounds the weights of MatMul."""
    graph = onnx.load_from_string(task.base.onnx).graph
    matmuls = sum(n.op_type == "MatMul" for n in graph.node)
    others = sum(n.op_type in ("Conv", "Gemm") for n in graph.node)
    if not matmuls:
        raise LookupError(f"it quantizes MatMul alone, and this network has {others} of Conv and Gemm")
    from onnxruntime.quantization import CalibrationDataReader
    from onnxruntime.quantization.matmul_nbits_quantizer import (
        GPTQWeightOnlyQuantConfig,
        MatMulNBitsQuantizer,
    )

    name = task.input_name

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.batches = iter([{name: task.rows[i : i + 1]} for i in range(len(task.rows))])

        def get_next(self) -> Mapping[str, np.ndarray] | None:
            return next(self.batches, None)

    config = GPTQWeightOnlyQuantConfig(calibration_data_reader=Reader(), actorder=True)
    quantizer = MatMulNBitsQuantizer(onnx.load_from_string(task.base.onnx), algo_config=config)
    quantizer.process()
    data = quantizer.model.model.SerializeToString()
    return Made(session(data), len(data))


def nncf_static(fast: bool) -> Callable[[Task], Made]:
    """Return NNCF's post-training quantization to 8 bits with its (fast) bias correction, of the ONNX file.

    Its quantization of OpenVINO's model changes one answer in nine here, on this network, whatever its ranges and its
    bias correction; so does this file on OpenVINO, whereas files of fairpress agree on both runtimes. So it is run on
    ONNX Runtime.
    """

    def make(task: Task) -> Made:
        import nncf

        small = nncf.quantize(
            with_opset(task.base.onnx),
            nncf.Dataset([{task.input_name: task.rows[i : i + 1]} for i in range(len(task.rows))]),
            fast_bias_correction=fast,
            subset_size=len(task.rows),
        )
        data = small.SerializeToString()
        return Made(session(data), len(data))

    return make


def with_opset(data: bytes, opset: int = 21) -> onnx.ModelProto:
    """Return a file with the operators that 4-bit integers need."""
    return onnx.version_converter.convert_version(onnx.load_from_string(data), opset)


def nncf_weights(**options: object) -> Callable[[Task], Made]:
    """Return NNCF's compression of weights, one scale a channel: 4 bits where it has them, which is not in convolutions."""

    def make(task: Task) -> Made:
        import nncf

        small = nncf.compress_weights(
            openvino_model(task.base.onnx),
            mode=nncf.CompressWeightsMode.INT4_SYM,
            group_size=-1,
            all_layers=True,
            dataset=nncf.Dataset([task.rows[i : i + 1] for i in range(len(task.rows))]),
            **options,
        )
        return openvino_made(small)

    return make


def openvino_model(data: bytes) -> object:
    """Return an ONNX file as OpenVINO's model."""
    import openvino

    return openvino.Core().read_model(data)


def openvino_made(model: object) -> Made:
    """Return OpenVINO's model as something to predict with, and the bytes of its two files."""
    import openvino

    compiled = openvino.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    with tempfile.TemporaryDirectory() as folder:
        openvino.save_model(model, str(Path(folder, "small.xml")), compress_to_fp16=False)
        size = sum(f.stat().st_size for f in Path(folder).iterdir())
    return Made(lambda x: in_batches(lambda part: np.asarray(compiled(part)[0]), x), size)


def aimet(method: str, weight_bits: int) -> Callable[[Task], Made]:
    """Return AIMET's AdaRound, or its nearest rounding, with activations of 8 bits, simulated in float."""

    def make(task: Task) -> Made:
        import aimet_onnx
        from aimet_onnx import QuantizationSimModel, int8
        from aimet_onnx.batch_norm_fold import fold_all_batch_norms_to_weight

        loaded = with_opset(task.base.onnx)
        fold_all_batch_norms_to_weight(loaded)
        name = task.input_name
        batches = [{name: task.rows[i : i + 32]} for i in range(0, len(task.rows), 32)]
        simulated = QuantizationSimModel(
            loaded, param_type=getattr(aimet_onnx, f"int{weight_bits}"), activation_type=int8
        )
        if method == "adaround":
            aimet_onnx.apply_adaround(simulated, batches, num_iterations=ADAROUND_STEPS)
        elif method == "seq-mse":
            aimet_onnx.apply_seq_mse(simulated, batches)
        simulated.compute_encodings(batches)
        # The session reads what the simulator owns, which must live as long.
        return Made(lambda x: in_batches(lambda part: simulated.session.run(None, {name: part})[0], x), None)

    return make


def torchao_gptq(task: Task) -> Made:
    """torchao's GPTQ (a prototype), which rounds nn.Linear."""
    import torchao.prototype.gptq  # noqa: F401

    raise LookupError(
        "it rounds nn.Linear alone, one of this network's layers; on a CPU it stops with 'GPTQ only supports CUDA "
        "currently', and at 4 bits it asks for mslk before"
    )


def litert_gptq(task: Task) -> Made:
    """ai-edge-quantizer's GPTQ, which rounds fully connected layers of a .tflite file."""
    import ai_edge_quantizer  # noqa: F401

    raise LookupError(
        "its GPTQ supports fully connected layers only (ai_edge_quantizer 0.10), of a .tflite file: "
        "rounding_peers_litert.py measures it on a network of such layers"
    )


WAYS: dict[str, Callable[[Task], Made]] = {
    **{f"fairpress {recipe}": ours(recipe) for recipe in OURS},
    "onnxruntime quantize_static int8": onnxruntime_static("QInt8"),
    "onnxruntime quantize_static int4": onnxruntime_static("QInt4"),
    "onnxruntime MatMul4Bits GPTQ": onnxruntime_gptq,
    "nncf int8, fast bias correction": nncf_static(True),
    "nncf int8, bias correction": nncf_static(False),
    "nncf weights int4": nncf_weights(),
    "nncf weights int4, GPTQ": nncf_weights(gptq=True),
    "nncf weights int4, scale estimation": nncf_weights(scale_estimation=True),
    "aimet int4, nearest": aimet("nearest", 4),
    "aimet int4, AdaRound": aimet("adaround", 4),
    "aimet int4, sequential MSE": aimet("seq-mse", 4),
    "torchao GPTQ": torchao_gptq,
    "ai-edge-quantizer GPTQ": litert_gptq,
}


def per_thousand(changed: np.ndarray) -> str:
    """Return the share with its interval (Wilson), of 1,000."""
    low, high = wilson(int(changed.sum()), len(changed), 0.95)
    return f"{1000 * changed.mean():.1f} [{1000 * low:.1f}, {1000 * high:.1f}]"


def main(folder: Path, by: str, only: list[str]) -> None:
    """Print the table as its rows come, and the peers that stopped."""
    base = Artifact.load(folder)
    data = available_data(base.card)
    if data is None:
        sys.exit(f"the data of {folder} are not on this machine as they were; set FAIRPRESS_DATA.")
    task = Task(base, data, data.part("calibration").inputs[:512])
    test = data.part("test")
    inputs, labels, groups = test.inputs, test.labels, np.asarray(test.attributes[by])
    before = session(base.onnx)(inputs).argmax(1)
    print(f"{len(test):,} test rows, {len(task.rows)} calibration rows", end="; ")
    print(f"fp32 {(before == labels).mean():.3f}, {base.size:,} bytes\n")
    print(f"| way | flips of 1,000 | worst {by} | accuracy | bytes | seconds |\n|---|---|---|---|---|---|")
    stopped = {}
    for name, way in WAYS.items():
        if only and not any(o in name for o in only):
            continue
        start = time.perf_counter()
        try:
            made = way(task)
            seconds = time.perf_counter() - start
            after = made.logits(inputs).argmax(1)
        except Exception as error:  # a peer stops for reasons of its own
            stopped[name] = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
            continue
        changed = after != before
        worst = max(np.unique(groups), key=lambda g: changed[groups == g].mean())
        cell = name.replace("|", r"\|")
        size = "" if made.size is None else f"{made.size:,}"
        print(
            f"| {cell} | {per_thousand(changed)} | {worst} {per_thousand(changed[groups == worst])} "
            f"| {(after == labels).mean():.3f} | {size} | {seconds:.0f} |",
            flush=True,
        )
    for name, reason in stopped.items():
        print(f"\nnot here: {name} ({reason})")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--by", default="race")
    parser.add_argument("--only", nargs="*", default=[])
    given = parser.parse_args()
    main(given.folder, given.by, given.only)
