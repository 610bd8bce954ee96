"""Small LiteRT files, written operator by operator with the schema that LiteRT brings along."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("ai_edge_litert", reason="the extra litert is not installed", exc_type=ImportError)

import flatbuffers
from ai_edge_litert import schema_py_generated as schema

TYPES = {
    np.dtype(np.float32): schema.TensorType.FLOAT32,
    np.dtype(np.int8): schema.TensorType.INT8,
    np.dtype(np.uint8): schema.TensorType.UINT8,
    np.dtype(np.int16): schema.TensorType.INT16,
    np.dtype(np.int32): schema.TensorType.INT32,
    np.dtype(np.int64): schema.TensorType.INT64,
}


class TfliteFile:
    """A file under construction: add tensors and operators, then `data`."""

    def __init__(self) -> None:
        self.model, self.graph = schema.ModelT(), schema.SubGraphT()
        self.model.version, self.model.buffers, self.model.subgraphs = 3, [schema.BufferT()], [self.graph]
        self.model.operatorCodes, self.model.signatureDefs = [], []
        self.graph.name, self.graph.tensors, self.graph.operators = b"main", [], []

    def tensor(
        self,
        name: str,
        shape: tuple[int, ...],
        dtype: Any = np.float32,
        values: np.ndarray | None = None,
        scale: float | list[float] | None = None,
        zero_point: int = 0,
        free_rows: bool = False,
    ) -> int:
        """Add a tensor, of constants if `values` are given, and return its number."""
        new = schema.TensorT()
        new.name, new.shape, new.type, new.buffer = name.encode(), list(shape), TYPES[np.dtype(dtype)], 0
        if free_rows:
            new.shapeSignature = [-1, *shape[1:]]
        if scale is not None:
            scales = [scale] if isinstance(scale, float) else scale
            new.quantization = schema.QuantizationParametersT()
            new.quantization.scale, new.quantization.zeroPoint = scales, [zero_point] * len(scales)
        if values is not None:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(np.ascontiguousarray(values).astype(dtype).tobytes(), np.uint8)
            self.model.buffers.append(buffer)
            new.buffer = len(self.model.buffers) - 1
        self.graph.tensors.append(new)
        return len(self.graph.tensors) - 1

    def operator(
        self, code: int, inputs: list[int], outputs: list[int], options: str | None = None, **fields: Any
    ) -> None:
        """Add an operator with its options, such as ``"SoftmaxOptions", beta=1.0``."""
        self.graph.operators.append(self._operator(self._code(code), inputs, outputs, options, fields))

    def custom(self, name: str, inputs: list[int], outputs: list[int]) -> None:
        """Add a custom operator."""
        code = schema.OperatorCodeT()
        code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
        code.customCode, code.version = name.encode(), 1
        self.model.operatorCodes.append(code)
        self.graph.operators.append(
            self._operator(len(self.model.operatorCodes) - 1, inputs, outputs, None, {})
        )

    def data(
        self, inputs: list[int], outputs: list[int], signature: dict[str, dict[str, int]] | None = None
    ) -> bytes:
        """Return the file; `signature` is {"inputs": {name: tensor}, "outputs": …}."""
        self.graph.inputs, self.graph.outputs = inputs, outputs
        if signature is not None:
            self.sign("serving_default", signature["inputs"], signature["outputs"])
        builder = flatbuffers.Builder(1024)
        builder.Finish(self.model.Pack(builder), b"TFL3")
        return bytes(builder.Output())

    def sign(self, name: str, inputs: dict[str, int], outputs: dict[str, int]) -> None:
        """Add a signature."""
        signature = schema.SignatureDefT()
        signature.signatureKey, signature.subgraphIndex = name.encode(), 0
        signature.inputs, signature.outputs = _maps(inputs), _maps(outputs)
        self.model.signatureDefs.append(signature)

    def _code(self, builtin: int) -> int:
        for i, known in enumerate(self.model.operatorCodes):
            if known.builtinCode == builtin:
                return i
        code = schema.OperatorCodeT()
        code.builtinCode, code.deprecatedBuiltinCode, code.version = builtin, min(builtin, 127), 1
        if builtin == schema.BuiltinOperator.FULLY_CONNECTED:
            code.version = 4  # int8
        if builtin == schema.BuiltinOperator.CONV_2D:
            code.version = 3
        self.model.operatorCodes.append(code)
        return len(self.model.operatorCodes) - 1

    @staticmethod
    def _operator(
        code: int, inputs: list[int], outputs: list[int], options: str | None, fields: dict[str, Any]
    ) -> Any:
        operator = schema.OperatorT()
        operator.opcodeIndex, operator.inputs, operator.outputs = code, inputs, outputs
        if options is not None:
            operator.builtinOptionsType = getattr(schema.BuiltinOptions, options)
            operator.builtinOptions = getattr(schema, f"{options}T")()
            for name, value in fields.items():
                setattr(operator.builtinOptions, name, value)
        return operator


def linear(
    weights: np.ndarray,
    bias: np.ndarray,
    *,
    rows: int = 1,
    free_rows: bool = False,
    softmax: bool = False,
    signed: bool = True,
) -> bytes:
    """Return x [rows or n, columns] → weights · x + bias, and its softmax; weights are [classes, columns]."""
    file = TfliteFile()
    x = file.tensor("serving_default_x:0", (rows, weights.shape[1]), free_rows=free_rows)
    y = file.tensor("StatefulPartitionedCall:0", (rows, len(bias)), free_rows=free_rows)
    w, b = file.tensor("w", weights.shape, values=weights), file.tensor("b", bias.shape, values=bias)
    file.operator(schema.BuiltinOperator.FULLY_CONNECTED, [x, w, b], [y], "FullyConnectedOptions")
    if softmax:
        y, logits = file.tensor("probabilities", (rows, len(bias)), free_rows=free_rows), y
        file.operator(schema.BuiltinOperator.SOFTMAX, [logits], [y], "SoftmaxOptions", beta=1.0)
    return file.data([x], [y], {"inputs": {"x": x}, "outputs": {"y": y}} if signed else None)


def linear_int8(
    weights: np.ndarray,
    bias: np.ndarray,
    *,
    scales: tuple[float, float, float],
    zero_points: tuple[int, int],
    dtype: Any = np.int8,
    softmax: bool = False,
) -> bytes:
    """Return the same layer in integers.

    Parameters
    ----------
    weights, bias
        Integers of 8 bits [classes, columns] of the second scale, and int32 [classes] of the product of the first two.
    scales
        Of x, the weights and y.
    zero_points
        Of x and y.
    """
    file = TfliteFile()
    x = file.tensor("x", (1, weights.shape[1]), dtype, scale=scales[0], zero_point=zero_points[0])
    y = file.tensor("y", (1, len(bias)), dtype, scale=scales[2], zero_point=zero_points[1])
    if dtype == np.uint8:  # a layer of unsigned inputs has unsigned weights
        w = file.tensor("w", weights.shape, np.uint8, weights + 128, scale=scales[1], zero_point=128)
    else:
        w = file.tensor("w", weights.shape, np.int8, weights, scale=scales[1])
    b = file.tensor(
        "b", bias.shape, np.int64 if dtype == np.int16 else np.int32, bias, scale=scales[0] * scales[1]
    )
    file.operator(schema.BuiltinOperator.FULLY_CONNECTED, [x, w, b], [y], "FullyConnectedOptions")
    if softmax:
        y, logits = file.tensor("p", (1, len(bias)), dtype, scale=1 / 256, zero_point=-128), y
        file.operator(schema.BuiltinOperator.SOFTMAX, [logits], [y], "SoftmaxOptions", beta=1.0)
    return file.data([x], [y], {"inputs": {"x": x}, "outputs": {"y": y}})


def convolution(
    kernels: np.ndarray, weights: np.ndarray, bias: np.ndarray, *, size: int, dtype: Any = np.float32
) -> bytes:
    """Return images x [1, size, size, channels] → 3 × 3 convolution, ReLU, mean over pixels, linear layer.

    Kernels are [out, 3, 3, in]; weights [classes, out]. With ``dtype=np.uint8``, x is cast to floats first.
    """
    file = TfliteFile()
    out, _, _, channels = kernels.shape
    x = first = file.tensor("image", (1, size, size, channels), dtype)
    if dtype != np.float32:
        first = file.tensor("floats", (1, size, size, channels))
        file.operator(schema.BuiltinOperator.CAST, [x], [first], "CastOptions")
    k, zero = (
        file.tensor("k", kernels.shape, values=kernels),
        file.tensor("zero", (out,), values=np.zeros(out)),
    )
    h = file.tensor("h", (1, size, size, out))
    file.operator(
        schema.BuiltinOperator.CONV_2D, [first, k, zero], [h], "Conv2DOptions",
        padding=schema.Padding.SAME, strideW=1, strideH=1,
        fusedActivationFunction=schema.ActivationFunctionType.RELU,
    )  # fmt: skip
    axes, pooled = file.tensor("axes", (2,), np.int32, np.array([1, 2])), file.tensor("pooled", (1, out))
    file.operator(schema.BuiltinOperator.MEAN, [h, axes], [pooled], "ReducerOptions", keepDims=False)
    w, b = file.tensor("w", weights.shape, values=weights), file.tensor("b", bias.shape, values=bias)
    y = file.tensor("logits", (1, len(bias)))
    file.operator(schema.BuiltinOperator.FULLY_CONNECTED, [pooled, w, b], [y], "FullyConnectedOptions")
    return file.data([x], [y], {"inputs": {"image": x}, "outputs": {"logits": y}})


def _maps(names: dict[str, int]) -> list[Any]:
    maps = []
    for name, index in names.items():
        entry = schema.TensorMapT()
        entry.name, entry.tensorIndex = name.encode(), index
        maps.append(entry)
    return maps
