"""A LiteRT file that is loaded: how rows are run through it, and how quantized values are passed."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from fairpress.core.errors import UserError
from fairpress.core.version import installed_version
from fairpress.runtime.backends.base import Backend, processor
from fairpress.runtime.backends.cast import NUMPY
from fairpress.runtime.external.engines.base import FileInput
from fairpress.runtime.external.engines.litert_file import LiteRtFile, LiteRtSignature
from fairpress.runtime.external.engines.quantized_values import QuantizedType

_MAX_CALL_BYTES = 2**29
_TYPES = {np.dtype(v): k for k, v in NUMPY.items() if k != "tensor(string)"}


@dataclass(frozen=True)
class LiteRtTensor:
    """An input or output: its number in the file, its shape (free dimensions are None), and how it holds numbers."""

    name: str
    index: int
    shape: tuple[int | None, ...]
    dtype: np.dtype[Any]
    quantized: QuantizedType | None

    @property
    def type(self) -> str:
        """The type of the values that are passed, in ONNX Runtime's notation: floats for a quantized tensor."""
        return "tensor(float)" if self.quantized is not None else _TYPES.get(self.dtype, str(self.dtype))


@dataclass
class LiteRtEngine:
    """A LiteRT file.

    A file for one row in a call is run row by row: its converter may have fixed that row in constants inside the graph.
    Quantized inputs and outputs are passed as floats; the file's own scale and zero point convert them.
    """

    path: Path
    runtime: Backend
    interpreter: Any
    file: LiteRtFile
    signature: LiteRtSignature
    tensors: tuple[tuple[LiteRtTensor, ...], tuple[LiteRtTensor, ...]]
    remarks: tuple[str, ...] = ()
    title: str = "LiteRT"
    graph: None = None
    counts: dict[str, list[int]] = field(default_factory=dict)
    _shapes: dict[int, tuple[int, ...]] = field(default_factory=dict)
    _runner: Any = None

    @property
    def one_row(self) -> bool:
        """Whether the file takes exactly one row in a call."""
        return all(t.shape[:1] == (1,) for t in self.tensors[0])

    @property
    def inputs(self) -> tuple[FileInput, ...]:
        free = (None,) if self.one_row else ()
        return tuple(
            FileInput(t.name, t.type, (*free, *t.shape[1:]) if free else t.shape) for t in self.tensors[0]
        )

    @property
    def outputs(self) -> Mapping[str, str]:
        return {t.name: t.type for t in self.tensors[1]}

    @property
    def output_steps(self) -> Mapping[str, float]:
        return {t.name: t.quantized.scale for t in self.tensors[1] if t.quantized is not None}

    @property
    def facts(self) -> Mapping[str, Any]:
        return {
            "runtime": f"litert {installed_version('ai-edge-litert')}",
            "provider": "CPU",
            "delegate": "none" if self.runtime.variant == "reference" else "XNNPACK",
            "kernels": "reference" if self.runtime.variant == "reference" else "default",
            "threads": self.runtime.threads,
            "precision": "f32",
            "processor": processor(),
            **({"rows_per_call": 1} if self.one_row else {}),
        }

    @property
    def notes(self) -> tuple[str, ...]:
        notes = list(self.remarks)
        for kind, tensors in zip(("input", "output"), self.tensors, strict=True):
            for tensor in tensors:
                if tensor.quantized is None:
                    continue
                verb = "takes" if kind == "input" else "gives"
                note = f"its {kind} {tensor.name!r} {verb} {tensor.dtype}, read as x = {tensor.quantized}"
                outside, total = self.counts.get(tensor.name, [0, 0]) if kind == "input" else (0, 0)
                if outside:
                    note += f"; {outside:,} of {total:,} values are beyond its range and become its ends"
                notes.append(note)
        return tuple(notes)

    @property
    def operators(self) -> frozenset[str]:
        return self.file.operators

    @property
    def max_rows(self) -> int | None:
        size = self.file.bytes_per_row[self.signature.subgraph]
        return None if self.one_row else max(1, _MAX_CALL_BYTES // max(size, 1))

    def operators_to(self, output: str) -> Iterator[str]:
        yield from self.file.operators_to(self.signature.outputs[output], self.signature.subgraph)

    def run(self, names: list[str], feed: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """Return some outputs for the rows of a feed."""
        arrays = {t.name: self._to_file(t, feed[t.name]) for t in self.tensors[0]}
        by_name = {t.name: t for t in self.tensors[1]}
        if not self.one_row:
            values = self._invoke(arrays, names)
        else:
            rows = len(next(iter(arrays.values())))
            single = [self._invoke({k: v[i : i + 1] for k, v in arrays.items()}, names) for i in range(rows)]
            values = [np.stack([_without_batch(row[j]) for row in single]) for j in range(len(names))]
        return [self._from_file(by_name[name], value) for name, value in zip(names, values, strict=True)]

    def _to_file(self, tensor: LiteRtTensor, values: np.ndarray) -> np.ndarray:
        if tensor.quantized is None:
            return np.ascontiguousarray(values)
        integers, outside = tensor.quantized.quantize(values)
        count = self.counts.setdefault(tensor.name, [0, 0])
        count[0], count[1] = count[0] + outside, count[1] + values.size
        return np.ascontiguousarray(integers)

    def _from_file(self, tensor: LiteRtTensor, values: np.ndarray) -> np.ndarray:
        return values if tensor.quantized is None else tensor.quantized.dequantize(values)

    def _invoke(self, arrays: Mapping[str, np.ndarray], names: list[str]) -> list[np.ndarray]:
        """Return outputs of one call as the file writes them; inputs of free size are resized first."""
        if self._runner is not None:
            answer = self._runner(**arrays)
            return [np.asarray(answer[name]) for name in names]
        changed = False
        for tensor in self.tensors[0]:
            shape = arrays[tensor.name].shape
            if self._shapes.get(tensor.index) != shape:
                self.interpreter.resize_tensor_input(tensor.index, shape)
                self._shapes[tensor.index] = shape
                changed = True
        if changed:
            with without_log():
                self.interpreter.allocate_tensors()
        for tensor in self.tensors[0]:
            self.interpreter.set_tensor(tensor.index, arrays[tensor.name])
        self.interpreter.invoke()
        index = self.signature.outputs
        return [np.array(self.interpreter.get_tensor(index[name])) for name in names]


def _without_batch(value: np.ndarray) -> np.ndarray:
    """Return one row's output without its batch dimension of 1, if it has one."""
    return value[0] if value.ndim and value.shape[0] == 1 else value


def describe_tensor(name: str, details: Mapping[str, Any], path: Path, as_stored: bool) -> LiteRtTensor:
    """Return an input or output. Raises UserError if it has a scale for each channel."""
    parameters, dtype = details["quantization_parameters"], np.dtype(details["dtype"])
    scales, zero_points = parameters["scales"], parameters["zero_points"]
    quantized = None
    if len(scales) and dtype.kind in "iu" and not as_stored:
        if len(scales) > 1:
            raise UserError(
                f"{path}: its tensor {name!r} has {len(scales)} scales, one for each channel, and inputs and outputs have "
                "one; convert it again."
            )
        if float(scales[0]) > 0:
            quantized = QuantizedType(dtype, float(scales[0]), int(zero_points[0]) if len(zero_points) else 0)
    signature = details["shape_signature"] if len(details["shape_signature"]) else details["shape"]
    shape = tuple(None if int(d) < 0 else int(d) for d in signature)
    return LiteRtTensor(name, int(details["index"]), shape, dtype, quantized)


@contextmanager
def without_log() -> Iterator[None]:
    """Discard what the block writes to the process's standard error: LiteRT reports every delegate that it creates."""
    try:
        sys.stderr.flush()
        saved = os.dup(2)
    except (OSError, ValueError, AttributeError):  # there is no such stream
        yield
        return
    try:
        with open(os.devnull, "wb") as sink:
            os.dup2(sink.fileno(), 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
