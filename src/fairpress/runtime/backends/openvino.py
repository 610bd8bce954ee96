"""Run the same ONNX file with OpenVINO (the extra ``openvino``)."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib import util
from pathlib import Path
from typing import Any

import numpy as np

from fairpress.core.errors import MissingExtra, UserError
from fairpress.runtime.backends.base import Backend, Input, Kernels, prepare_file, processor

NUMPY = {
    "f32": np.float32,
    "f64": np.float64,
    "f16": np.float16,
    "i64": np.int64,
    "i32": np.int32,
    "u8": np.uint8,
    "i8": np.int8,
    "boolean": np.bool_,
}
LAYERS = ("Convolution", "Deconvolution", "FullyConnected", "MatMul")
CONVERSIONS = ("FakeQuantize", "Convert")


def require(*, bf16: bool = False) -> None:
    """Raise MissingExtra unless OpenVINO is installed, UserError if bf16 is requested and the CPU lacks it."""
    if util.find_spec("openvino") is None:
        raise MissingExtra("Running a model with OpenVINO", "openvino")
    if bf16 and "BF16" not in capabilities():
        raise UserError(
            "this processor does not compute in bfloat16, so OpenVINO would silently use 32 bits; "
            "use @openvino."
        )


def module() -> Any:
    """Import OpenVINO with its telemetry disabled.

    Importing it writes a client id into the home folder and sends an event unless its telemetry package is absent, so that
    package is hidden during the import. An OpenVINO that is already imported is not changed.
    """
    if "openvino" not in sys.modules and "openvino_telemetry" not in sys.modules:
        absent: dict[str, Any] = {"openvino_telemetry": None}
        sys.modules.update(absent)
        try:
            import openvino
        finally:
            del sys.modules["openvino_telemetry"]
    else:
        import openvino
    return openvino


def capabilities() -> list[str]:
    """Return the optimization capabilities of OpenVINO on this CPU, such as FP32, INT8, BF16."""
    return [str(c) for c in module().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")]


def version() -> str:
    """Return OpenVINO's version without the build number."""
    return str(module().__version__).partition("-")[0]


class OpenVinoSession:
    """A file with one input, compiled by OpenVINO for the CPU.

    Without a precision hint, OpenVINO silently computes floats in bfloat16 on processors that support it.
    """

    def __init__(self, data: bytes | Path, runtime: Backend, batch: int | None = None) -> None:
        require(bf16=runtime.variant == "bf16")
        source = prepare_file(data, runtime) if isinstance(data, bytes) else data
        self._widened = source is not data
        self._runtime = runtime
        compiled, inputs = _compile(source, runtime, batch)
        kinds = [i.element_type.get_type_name() for i in inputs]
        if len(inputs) != 1 or kinds[0] not in NUMPY:
            raise UserError(
                f"the model has inputs of {', '.join(kinds)}; exactly one numeric input is supported here."
            )
        self.input = Input(
            inputs[0].any_name,
            tuple(None if d.is_dynamic else d.get_length() for d in inputs[0].partial_shape),
            np.dtype(NUMPY[kinds[0]]),
        )
        self._request = compiled.create_infer_request()
        self._precision = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()

    @property
    def facts(self) -> Mapping[str, Any]:
        facts: dict[str, Any] = {
            "runtime": f"openvino {version()}",
            "provider": "CPU",
            "threads": self._runtime.threads,
            "precision": self._precision,
            "processor": processor(),
        }
        if self._widened:
            facts["weights"] = "weights below 4 bits read as 8-bit ones"
        return facts

    def run(self, rows: np.ndarray) -> np.ndarray:
        # The result is a view of memory that the next call overwrites.
        return np.array(self._request.infer([rows])[0])


def kernels(data: bytes, batch: int | None = None) -> Kernels:
    """Count integer layers, float layers and conversions in the graph as compiled for `batch` rows, or for any number."""
    runtime = Backend("openvino")
    compiled, _ = _compile(prepare_file(data, runtime), runtime, batch)
    integer = floating = conversions = 0
    for node in compiled.get_runtime_model().get_ops():
        facts = node.get_rt_info()
        kind, precision = (facts[key].astype(str) for key in ("layerType", "runtimePrecision"))
        if kind in LAYERS and precision in ("u8", "i8"):
            integer += 1
        elif kind in LAYERS:
            floating += 1
        elif kind in CONVERSIONS:
            conversions += 1
    return Kernels(integer, floating, conversions)


def _compile(source: bytes | Path, runtime: Backend, batch: int | None) -> tuple[Any, Any]:
    """Return the compiled model and its inputs; a free batch dimension is fixed to `batch` if given."""
    try:
        core = module().Core()
        model = core.read_model(source)
        inputs = model.inputs
        if len(inputs) == 1 and batch is not None and inputs[0].partial_shape[0].is_dynamic:
            model.reshape([batch, *list(inputs[0].partial_shape)[1:]])
        options = {
            "INFERENCE_PRECISION_HINT": "bf16" if runtime.variant == "bf16" else "f32",
            "INFERENCE_NUM_THREADS": runtime.threads,
            "PERFORMANCE_HINT": "LATENCY",
        }
        return core.compile_model(model, "CPU", options), model.inputs
    except RuntimeError as error:
        raise UserError(
            f"OpenVINO {version()} cannot run this model ({_last_line(error)}); use @onnxruntime."
        ) from None


def _last_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[-1] if lines else type(error).__name__)[:200]
