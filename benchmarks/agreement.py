"""How well INT8 files agree with fp32: ours, ONNX Runtime's ``quantize_static``, NNCF's PTQ.

    FAIRPRESS_DATA=… python benchmarks/agreement.py MODEL_FOLDER [ROWS [CALIBRATION_ROWS]]

One trained network, the same calibration rows for all, the same test rows, which nobody has tuned anything on. SQNR is that
of the logits, 10·log₁₀(Σ(y − ȳ)² / Σ(ŷ − y)²) in dB, after each row's mean over the classes is taken away, which moves no
probability; ȳ is the mean of each class over rows. More is better, 20 dB is an error of a tenth of their spread. *equal
labels* is the share of rows that get the class fp32 gives, with a 95 % interval (Wilson). All files run on the same
runtimes. What is not installed is said and left out.
"""

from __future__ import annotations

import logging
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import torch

from fairpress.auditing.statistics.proportion_intervals import wilson
from fairpress.compression.quantization.batch_quantizer import BatchQuantizer, quantize_many
from fairpress.compression.quantized_graph.scheme import Scheme
from fairpress.core.errors import FairpressError, MissingExtra
from fairpress.models import registry
from fairpress.models.weights_io import from_bytes
from fairpress.runtime.artifact import Artifact
from fairpress.runtime.backends.base import processor
from fairpress.runtime.backends.onnxruntime import kernels
from fairpress.runtime.backends.registry import choose, open_session
from fairpress.runtime.benchmark.inputs import available_data
from fairpress.runtime.model_reference import open_model

RUNTIMES = ("onnxruntime-exact", "onnxruntime", "openvino")
BATCH = 32


def ours(base: Artifact, rows: np.ndarray, how: str, *, reduce_range: bool = False) -> bytes:
    """Return this package's INT8 file."""
    architecture = {k: v for k, v in base.card.architecture.items() if k != "name"}
    network = registry.build(
        registry.get(str(base.card.architecture["name"]), **architecture),
        rows.shape[1:],
        len(base.card.classes),
    )
    assert base.weights is not None
    inputs = torch.from_numpy(rows)
    scheme = Scheme(8, reduce_range=reduce_range)
    (made,) = quantize_many(
        BatchQuantizer.from_module(network, inputs),
        [from_bytes(base.weights)],
        [inputs],
        scheme,
        weights=how,
        activations=how,
    )
    return made.onnx


def quantize_static(
    base: Artifact, rows: np.ndarray, *, per_channel: bool, reduce_range: bool = False
) -> bytes:
    """Return ONNX Runtime's INT8 file: its preparation of the graph, then QDQ with unsigned activations, min-max ranges."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType
    from onnxruntime.quantization import quantize_static as quantize
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.batches = batches(rows)

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(self.batches, None)

    with tempfile.TemporaryDirectory() as folder:
        source, prepared, result = (Path(folder) / f"{n}.onnx" for n in ("fp32", "prepared", "int8"))
        source.write_bytes(base.onnx)
        quant_pre_process(source, prepared, skip_symbolic_shape=True)
        quantize(
            prepared,
            result,
            Reader(),
            quant_format=QuantFormat.QDQ,
            per_channel=per_channel,
            reduce_range=reduce_range,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
        return result.read_bytes()


def nncf_ptq(base: Artifact, rows: np.ndarray, preset: str, *, all_rows: bool = False) -> bytes:
    """Return NNCF's INT8 file, made from the same ONNX file; its bias correction included.

    NNCF ends a range at the mean of the rows' own ends, and clips what is beyond; with `all_rows`, at the outermost end.
    """
    import nncf
    from nncf.quantization.range_estimator import RangeEstimatorParametersSet

    nncf.set_log_level(logging.ERROR)
    made: onnx.ModelProto = nncf.quantize(
        onnx.load_from_string(base.onnx),
        nncf.Dataset(list(batches(rows, 1)), lambda item: item),
        subset_size=len(rows),
        preset=nncf.QuantizationPreset(preset),
        # Pairs of 8-bit products that cannot saturate are a choice of the device's; ours leaves it to the user as well.
        advanced_parameters=nncf.AdvancedQuantizationParameters(
            overflow_fix=nncf.quantization.advanced_parameters.OverflowFix.DISABLE,
            **(
                {"activations_range_estimator_params": RangeEstimatorParametersSet.MINMAX} if all_rows else {}
            ),
        ),
    )
    return bytes(made.SerializeToString())


def batches(rows: np.ndarray, size: int = BATCH) -> Iterator[dict[str, np.ndarray]]:
    """Yield the calibration rows."""
    for start in range(0, len(rows), size):
        yield {"x": rows[start : start + size]}


WAYS: dict[str, Callable[[Artifact, np.ndarray], bytes]] = {
    "fairpress int8": lambda base, rows: ours(base, rows, "mse"),
    "fairpress int8(ranges=minmax)": lambda base, rows: ours(base, rows, "minmax"),
    "fairpress int8(reduce_range=true)": lambda base, rows: ours(base, rows, "mse", reduce_range=True),
    "quantize_static": lambda base, rows: quantize_static(base, rows, per_channel=False),
    "quantize_static, per channel": lambda base, rows: quantize_static(base, rows, per_channel=True),
    "quantize_static, per channel, reduced range": lambda base, rows: quantize_static(
        base, rows, per_channel=True, reduce_range=True
    ),
    "NNCF, performance": lambda base, rows: nncf_ptq(base, rows, "performance"),
    "NNCF, mixed": lambda base, rows: nncf_ptq(base, rows, "mixed"),
    "NNCF, mixed, ranges of all rows": lambda base, rows: nncf_ptq(base, rows, "mixed", all_rows=True),
}


def logits(data: bytes, rows: np.ndarray, runtime: str) -> np.ndarray:
    """Return the logits [rows, classes]."""
    session = open_session(data, choose(runtime))
    return np.concatenate([session.run(rows[i : i + BATCH]) for i in range(0, len(rows), BATCH)])


def sqnr(wanted: np.ndarray, found: np.ndarray) -> float:
    """Return the signal-to-noise ratio of logits [rows, classes] in dB."""
    wanted, found = (y - y.mean(1, keepdims=True) for y in (wanted, found))
    signal = np.square(wanted - wanted.mean(0)).sum()
    return float(10 * np.log10(signal / np.square(found - wanted).sum()))


def main(folder: str, count: int, calibration: int) -> None:
    """Print a table."""
    base = open_model(folder)
    dataset = available_data(base.card)
    if dataset is None:
        raise SystemExit(
            f"the data of {folder} ({base.card.data['name']}) is not on this machine; set FAIRPRESS_DATA"
        )
    rows = np.ascontiguousarray(dataset.inputs[dataset.index("calibration")[:calibration]])
    test = np.ascontiguousarray(dataset.inputs[dataset.index("test")[:count]])
    wanted = logits(base.onnx, test, "onnxruntime")
    print(
        f"{base.card.architecture['name']}, {len(rows)} calibration rows, {len(test)} test rows; {processor()}\n"
    )
    columns = "".join(f" {name}: SQNR, dB | equal labels |" for name in RUNTIMES)
    print(f"| | MB | layers in integers, in floats |{columns}\n|---|---|---|{'---|' * 2 * len(RUNTIMES)}")
    missing = []
    for name, make in WAYS.items():
        try:
            data = make(base, rows)
        except ImportError as error:
            missing.append(f"{name} is left out: {error}.")
            continue
        found = kernels(data)
        line = f"| {name} | {len(data) / 1e6:.2f} | {found.integer}, {found.floating} |"
        for runtime in RUNTIMES:
            try:
                y = logits(data, test, runtime)
            except MissingExtra as error:
                missing.append(str(error))
                line += " – | – |"
                continue
            except FairpressError as error:
                missing.append(f"{name} does not run on {runtime}: {error}")
                line += " – | – |"
                continue
            equal = int((y.argmax(1) == wanted.argmax(1)).sum())
            low, high = wilson(equal, len(test))
            line += f" {sqnr(wanted, y):.1f} | {equal / len(test):.1%} [{low:.1%}, {high:.1%}] |"
        print(line, flush=True)
    for sentence in dict.fromkeys(missing):
        print(sentence)


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    if len(sys.argv) < 2:
        raise SystemExit(__doc__)
    folder, numbers = sys.argv[1], [int(a) for a in sys.argv[2:]]
    count, calibration = [*numbers, *(1000, 512)[len(numbers) :]]
    main(folder, count, calibration)
