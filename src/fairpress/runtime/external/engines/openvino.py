"""OpenVINO files (``model.xml`` with ``model.bin``) and ONNX files on OpenVINO (the extra ``openvino``)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fairpress.core.errors import UserError
from fairpress.core.files import require_regular
from fairpress.core.slow import show_progress
from fairpress.runtime.backends.base import Backend, prepare_file, processor
from fairpress.runtime.backends.batching import bytes_per_row
from fairpress.runtime.backends.openvino import module, require, version
from fairpress.runtime.external.engines.base import FileInput
from fairpress.runtime.external.engines.onnx_runtime import origin
from fairpress.runtime.onnx.load import external_data_files, read_model

if TYPE_CHECKING:
    import onnx

_MAX_CALL_BYTES = 2**29
_TYPES = {
    "f32": "tensor(float)",
    "f64": "tensor(double)",
    "f16": "tensor(float16)",
    "bf16": "tensor(bfloat16)",
    "boolean": "tensor(bool)",
    "string": "tensor(string)",
    **{
        f"{sign}{bits}": f"tensor({'u' * (sign == 'u')}int{bits})"
        for sign in "iu"
        for bits in (8, 16, 32, 64)
    },
}
# Operators whose names differ from those in ONNX, as far as outputs and activations are recognized by them.
_ONNX_NAMES = {"SoftMax": "Softmax", "LogSoftmax": "LogSoftmax", "Convert": "Cast", "Negative": "Neg"}


@dataclass(frozen=True)
class OpenVinoEngine:
    """A file compiled by OpenVINO for the CPU. `graph` is that of an ONNX file, None for OpenVINO's own format."""

    path: Path
    runtime: Backend
    model: Any
    compiled: Any
    inputs: tuple[FileInput, ...]
    outputs: Mapping[str, str]
    graph: onnx.GraphProto | None
    widened: bool = False
    title: str = "OpenVINO"
    notes: tuple[str, ...] = ()
    output_steps: Mapping[str, float] = field(default_factory=dict)

    @cached_property
    def _request(self) -> Any:
        return self.compiled.create_infer_request()

    @property
    def facts(self) -> Mapping[str, Any]:
        facts: dict[str, Any] = {
            "runtime": f"openvino {version()}",
            "provider": "CPU",
            "threads": self.runtime.threads,
            "precision": self.compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name(),
            "processor": processor(),
        }
        if self.widened:
            facts["weights"] = "weights below 4 bits read as 8-bit ones"
        return facts

    @cached_property
    def operators(self) -> frozenset[str]:
        if self.graph is not None:
            return frozenset(n.op_type for n in self.graph.node)
        return frozenset(_onnx_name(op) for op in self.model.get_ops())

    @cached_property
    def max_rows(self) -> int | None:
        known = self.graph is not None
        size = bytes_per_row(self.path.read_bytes()) if known else _bytes_per_row(self.model)
        return None if size is None else max(1, _MAX_CALL_BYTES // max(size, 1))

    def operators_to(self, output: str) -> Iterator[str]:
        if self.graph is not None:
            yield from (str(node.op_type) for node in origin(self.graph, output))
            return
        index = list(self.outputs).index(output)
        op, left = self.model.outputs[index].get_node().input_value(0).get_node(), len(self.model.get_ops())
        while left > 0:
            yield _onnx_name(op)
            if not op.get_input_size():
                return
            op, left = op.input_value(0).get_node(), left - 1

    def run(self, names: list[str], feed: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """Return some outputs for the rows of a feed."""
        positions = {name: i for i, name in enumerate(self.outputs)}
        result = self._request.infer([feed[spec.name] for spec in self.inputs])
        # The results are views of memory that the next call overwrites.
        return [np.array(result[positions[name]]) for name in names]


def load_openvino(path: Path, runtime: Backend) -> OpenVinoEngine:
    """Load an OpenVINO or ONNX file by its path.

    Raises
    ------
    UserError
        The file or its weights are missing, OpenVINO cannot compile it, or an input has a type that it cannot pass on.
    MissingExtra
        OpenVINO is not installed.
    """
    require(bf16=runtime.variant == "bf16")
    require_regular(path)
    if not path.is_file():
        raise UserError(f"there is no file {path}; check the path.")
    graph, widened = None, False
    source: str | bytes = str(path)
    if path.suffix.lower() == ".onnx":
        model = read_model(path)
        external = external_data_files(model, path)
        graph = model.graph
        if not external:
            data = path.read_bytes()
            source = prepare_file(data, runtime)
            widened = source is not data
    else:
        _check_weights(path)
    options = {
        "INFERENCE_PRECISION_HINT": "bf16" if runtime.variant == "bf16" else "f32",
        "INFERENCE_NUM_THREADS": runtime.threads,
        "PERFORMANCE_HINT": "LATENCY",
    }
    try:
        with show_progress(f"loading {path}"):
            core = module().Core()
            read = core.read_model(source)
            compiled = core.compile_model(read, "CPU", options)
    except RuntimeError as error:
        other = "; use @onnxruntime" if graph is not None else "; convert it again"
        raise UserError(f"OpenVINO {version()} cannot run {path} ({_cause(error)}){other}.") from None
    declared = set() if graph is None else {v.name for v in (*graph.input, *graph.output)}
    inputs = tuple(_input(port, declared) for port in read.inputs)
    unsupported = next((i for i in inputs if i.type == "tensor(string)"), None)
    if unsupported is not None:
        raise UserError(
            f"{path}: its input {unsupported.name!r} takes text, which OpenVINO does not read here; use @onnxruntime."
        )
    outputs = {_name(port, declared, f"output {i}"): _type(port) for i, port in enumerate(read.outputs)}
    return OpenVinoEngine(path, runtime, read, compiled, inputs, outputs, graph, widened)


def _check_weights(path: Path) -> None:
    """Raise UserError if the file is not OpenVINO's XML, or its weights are not beside it."""
    try:
        start = path.read_text(encoding="utf-8")[:4096]
    except UnicodeDecodeError:
        raise UserError(f"{path} is damaged: it is not text; copy or convert it again.") from None
    except OSError as error:
        raise UserError(f"cannot read {path} ({error.strerror or error}); check its permissions.") from None
    if "<net" not in start:
        raise UserError(
            f"{path} is not an OpenVINO file: it has no <net>; name the .xml that OpenVINO wrote."
        )
    weights = path.with_suffix(".bin")
    require_regular(weights)
    if not weights.is_file():
        raise UserError(f"the weights of {path} are missing: there is no {weights}; copy it there.")


def _input(port: Any, declared: set[str]) -> FileInput:
    shape = port.partial_shape
    sizes = None if shape.rank.is_dynamic else tuple(None if d.is_dynamic else d.get_length() for d in shape)
    return FileInput(_name(port, declared, "input"), _type(port), sizes)


def _name(port: Any, declared: set[str], otherwise: str) -> str:
    """Return the name of an input or output: of several, one that an ONNX file declares, else the shortest."""
    names = sorted(port.get_names(), key=lambda name: (name not in declared, len(name), name))
    return str(names[0]) if names else otherwise


def _type(port: Any) -> str:
    name = str(port.element_type.get_type_name())
    return _TYPES.get(name, name)


def _onnx_name(op: Any) -> str:
    name = str(op.get_type_name())
    return _ONNX_NAMES.get(name, name)


def _bytes_per_row(model: Any) -> int | None:
    """Return the bytes of all values that a model computes, its first dimension counted as 1; None if shapes are free."""
    total = 0
    for op in model.get_ops():
        if op.get_type_name() in ("Constant", "Result"):
            continue
        for port in op.outputs():
            shape = port.partial_shape
            if shape.rank.is_dynamic:
                return None
            sizes = [None if d.is_dynamic else d.get_length() for d in shape]
            if None in sizes[1:]:
                return None
            total += 4 * int(np.prod([d or 1 for d in sizes], dtype=float))
    return total


def _cause(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[-1] if lines else type(error).__name__)[:200]
