"""What a LiteRT file says of itself: signatures, operators and the sizes of its values."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

IDENTIFIER = b"TFL3"
# Operators by their names in ONNX, as far as outputs and activations are recognized by them.
ONNX_NAMES: Mapping[str, str] = {
    "SOFTMAX": "Softmax",
    "LOGISTIC": "Sigmoid",
    "LOG_SOFTMAX": "LogSoftmax",
    "LOG": "Log",
    "NEG": "Neg",
    "FULLY_CONNECTED": "Gemm",
    "BATCH_MATMUL": "MatMul",
    "RESHAPE": "Reshape",
    "SQUEEZE": "Squeeze",
    "EXPAND_DIMS": "Unsqueeze",
    "CAST": "Cast",
    "QUANTIZE": "Cast",
    "DEQUANTIZE": "Cast",
}


@dataclass(frozen=True)
class LiteRtSignature:
    """A function of a file: its name, its subgraph, and the tensors that its inputs and outputs are."""

    name: str
    subgraph: int
    inputs: Mapping[str, int]
    outputs: Mapping[str, int]


@dataclass(frozen=True)
class LiteRtFile:
    """The structure of a file.

    Attributes
    ----------
    signatures
        Its functions; files of old converters have none.
    producers
        For each subgraph: tensor → the operator that computes it, by its name in ONNX where there is one, and the
        operator's first input.
    bytes_per_row
        For each subgraph: the bytes of all values that are computed, free dimensions counted as 1.
    """

    signatures: tuple[LiteRtSignature, ...]
    producers: tuple[Mapping[int, tuple[str, int | None]], ...]
    bytes_per_row: tuple[int, ...]

    @property
    def operators(self) -> frozenset[str]:
        return frozenset(operator for graph in self.producers for operator, _ in graph.values())

    def operators_to(self, tensor: int, subgraph: int) -> Iterator[str]:
        """Yield the operators that lead to a tensor, the last one first, along first inputs."""
        graph, current, left = self.producers[subgraph], tensor, len(self.producers[subgraph])
        while current in graph and left > 0:
            operator, first = graph[current]
            yield operator
            if first is None:
                return
            current, left = first, left - 1


def read_file(data: bytes) -> LiteRtFile:
    """Return the structure of a file that LiteRT has loaded, and so verified."""
    from ai_edge_litert import schema_py_generated as schema

    model = schema.Model.GetRootAs(data, 0)
    codes = [_operator(model.OperatorCodes(i)) for i in range(model.OperatorCodesLength())]
    signatures = tuple(
        LiteRtSignature(
            _text(s.SignatureKey()),
            s.SubgraphIndex(),
            {_text(s.Inputs(i).Name()): s.Inputs(i).TensorIndex() for i in range(s.InputsLength())},
            {_text(s.Outputs(i).Name()): s.Outputs(i).TensorIndex() for i in range(s.OutputsLength())},
        )
        for s in (model.SignatureDefs(i) for i in range(model.SignatureDefsLength()))
    )
    graphs = [model.Subgraphs(i) for i in range(model.SubgraphsLength())]
    return LiteRtFile(
        signatures,
        tuple(dict(_producers(graph, codes)) for graph in graphs),
        tuple(map(_bytes_per_row, graphs)),
    )


def one_node() -> bytes:
    """Return a file that negates its input [1, 1]."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model, graph, code, node = schema.ModelT(), schema.SubGraphT(), schema.OperatorCodeT(), schema.OperatorT()
    model.version, model.buffers, model.subgraphs, model.operatorCodes = (
        3,
        [schema.BufferT()],
        [graph],
        [code],
    )
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.NEG
    code.version, graph.tensors, graph.operators = 1, [], [node]
    for name in (b"x", b"y"):
        tensor = schema.TensorT()
        tensor.name, tensor.shape, tensor.type, tensor.buffer = name, [1, 1], schema.TensorType.FLOAT32, 0
        graph.tensors.append(tensor)
    graph.inputs = node.inputs = [0]
    graph.outputs = node.outputs = [1]
    node.opcodeIndex = 0
    builder = flatbuffers.Builder(256)
    builder.Finish(model.Pack(builder), IDENTIFIER)
    return bytes(builder.Output())


def _producers(graph: Any, codes: list[str]) -> Iterator[tuple[int, tuple[str, int | None]]]:
    for i in range(graph.OperatorsLength()):
        node = graph.Operators(i)
        first = node.Inputs(0) if node.InputsLength() else None
        for j in range(node.OutputsLength()):
            yield node.Outputs(j), (codes[node.OpcodeIndex()], first)


def _bytes_per_row(graph: Any) -> int:
    nodes = (graph.Operators(i) for i in range(graph.OperatorsLength()))
    computed = {node.Outputs(j) for node in nodes for j in range(node.OutputsLength())}
    computed |= {graph.Inputs(i) for i in range(graph.InputsLength())}
    tensors = (graph.Tensors(i) for i in computed if i >= 0)
    return sum(4 * math.prod(max(t.Shape(j), 1) for j in range(t.ShapeLength())) for t in tensors)


def _operator(code: Any) -> str:
    """Return an operator's name in ONNX where there is one, else LiteRT's, or the name of a custom operator."""
    if code.CustomCode():
        return _text(code.CustomCode())
    # Codes beyond 127 do not fit into the older field, which holds 127 for them.
    name = _operator_names().get(max(code.BuiltinCode(), code.DeprecatedBuiltinCode()), "unknown")
    return ONNX_NAMES.get(name, name)


@cache
def _operator_names() -> Mapping[int, str]:
    from ai_edge_litert.schema_py_generated import BuiltinOperator

    return {code: name for name, code in vars(BuiltinOperator).items() if isinstance(code, int)}


def _text(value: bytes | None) -> str:
    return (value or b"").decode("utf-8", "replace")
