"""Finalize exported ONNX files: strip everything but the network, and pack weights of 4, 3 and 2 bits."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from fairpress.core.errors import UserError
from fairpress.runtime.onnx.three_bits import split_three_bits, three_bit_weights
from fairpress.runtime.onnx.zero_points import separate_zero_points

# INT4 requires opset 21, INT2 opset 25; a Cast from them is folded when the file is loaded, so that integer kernels
# see 8-bit weights while the file contains packed ones.
INT2: int = getattr(TensorProto, "INT2", -1)  # since onnx 1.20, without which nothing has 2 bits
FORMATS = {4: (TensorProto.INT4, 21, 10), 2: (INT2, 25, 13)}


def require_packing(widths: Collection[int | None]) -> None:
    """Raise UserError if the installed onnx has no type for one of these bit widths."""
    if INT2 < 0 and not {2, 3}.isdisjoint(widths):
        raise UserError(
            f"weights of 2 and 3 bits need onnx 1.20 or later, and {onnx.__version__} is installed; update it with "
            "`pip install -U onnx`, or take 4 bits."
        )


def pack_weights(model: onnx.ModelProto, bits: Mapping[str, int]) -> None:
    """Store int8 initializers at the given bit widths, in place.

    Parameters
    ----------
    model
        A graph whose quantized weights are INT8 initializers.
    bits
        Initializer → bit width; those of 8 bits are not changed.

    Raises
    ------
    ValueError
        A weight does not fit its bit width.
    """
    initializers = {t.name: t for t in model.graph.initializer}
    nodes = model.graph.node
    for name, width in bits.items():
        if width == 8:
            continue
        tensor = initializers[name]
        values = numpy_helper.to_array(tensor)
        limit = 2 ** (width - 1)
        if values.max(initial=0) >= limit or values.min(initial=0) < -limit:
            raise ValueError(f"{name} does not fit {width} bits")
        low, unpacking = (
            f"{name}_packed",
            [helper.make_node("Cast", [f"{name}_packed"], [name], to=TensorProto.INT8)],
        )
        if width == 3:
            values, unpacking = split_three_bits(model.graph, low, name, values)
        kind, opset, ir = FORMATS[2 if width == 3 else width]
        del tensor.int32_data[:]
        tensor.name, tensor.data_type, tensor.raw_data = (
            low,
            kind,
            pack_bits(values, 2 if width == 3 else width),
        )
        reader = next(i for i, node in enumerate(nodes) if name in node.input)
        for node in reversed(unpacking):
            nodes.insert(reader, node)
        model.opset_import[0].version = max(model.opset_import[0].version, opset)
        model.ir_version = max(model.ir_version, ir)


def pack_channels(model: onnx.ModelProto, name: str, width: int, wide: np.ndarray) -> None:
    """Store some output channels of an int8 initializer in 8 bits and the others at a lower bit width, in place.

    Operators on constants, which runtimes fold at load time, join them again: one integer kernel then runs the whole
    layer.

    Parameters
    ----------
    name
        An INT8 initializer [channels, …].
    wide
        [channels] bool: those that stay in 8 bits; at least one, but not all.

    Raises
    ------
    ValueError
        A channel does not fit its bit width.
    """
    graph = model.graph
    stored = next(t for t in graph.initializer if t.name == name)
    values = numpy_helper.to_array(stored)
    graph.initializer.remove(stored)
    narrow, rest = f"{name} narrow", f"{name} wide"
    order = np.argsort(np.concatenate([np.flatnonzero(~wide), np.flatnonzero(wide)]))
    order = order.astype(np.uint8 if len(wide) <= 256 else np.uint16)
    graph.initializer.extend(
        [
            numpy_helper.from_array(np.ascontiguousarray(values[~wide]), narrow),
            numpy_helper.from_array(np.ascontiguousarray(values[wide]), rest),
            numpy_helper.from_array(order, f"{name} order"),
        ]
    )
    reader = next(i for i, node in enumerate(graph.node) if name in node.input)
    for new in (
        helper.make_node("Gather", [f"{name} joined", f"{name} places"], [name], axis=0),
        helper.make_node("Cast", [f"{name} order"], [f"{name} places"], to=TensorProto.INT32),
        helper.make_node("Concat", [narrow, rest], [f"{name} joined"], axis=0),
    ):
        graph.node.insert(reader, new)
    pack_weights(model, {narrow: width})


def pack_bits(values: np.ndarray, width: int) -> bytes:
    """Pack integers of 2 or 4 bits, several per byte, the first in the lowest bits."""
    per_byte = 8 // width
    fields = (values.astype(np.uint8) & (2**width - 1)).ravel()
    fields = np.pad(fields, (0, -len(fields) % per_byte)).reshape(-1, per_byte)
    shifts = np.arange(per_byte, dtype=np.uint8) * width
    return bytes(np.bitwise_or.reduce(fields << shifts, axis=1).astype(np.uint8).tobytes())


def weight_bits(data: bytes) -> dict[str, int]:
    """Return the bit width of every stored weight matrix (initializers of two or more dimensions), in bits."""
    widths = {TensorProto.FLOAT: 32, TensorProto.INT8: 8, TensorProto.INT4: 4, INT2: 2}
    graph = onnx.load_from_string(data).graph
    bits = {t.name: widths[t.data_type] for t in graph.initializer if len(t.dims) >= 2}
    return bits | {part.low: 3 for part in three_bit_weights(graph)}


def finalize(model: onnx.ModelProto) -> bytes:
    """Return deterministic bytes of the model: equal constants are stored once, metadata and long names are removed.

    Zero points are stored as often as `separate_zero_points` says.
    """
    graph = model.graph
    del graph.value_info[:], model.metadata_props[:], model.functions[:], graph.metadata_props[:]
    model.doc_string = graph.doc_string = ""
    model.producer_name, model.producer_version, graph.name = "fairpress", "", "g"
    _share_equal_initializers(graph)
    keep = {v.name for v in (*graph.input, *graph.output)}
    short: dict[str, str] = {"": ""}

    def rename(name: str) -> str:
        return short.setdefault(name, name if name in keep else f"v{len(short)}")

    for tensor in graph.initializer:
        tensor.name, tensor.doc_string = rename(tensor.name), ""
        del tensor.metadata_props[:]
    for inner in _with_subgraphs(graph):
        if inner is not graph:  # a name means one value in the whole file
            for value in (*inner.input, *inner.output, *inner.value_info, *inner.initializer):
                value.name, value.doc_string = rename(value.name), ""
                del value.metadata_props[:]
        for node in inner.node:
            node.name = node.doc_string = ""
            del node.metadata_props[:]
            inputs, outputs = [rename(i) for i in node.input], [rename(o) for o in node.output]
            del node.input[:], node.output[:]
            node.input.extend(inputs)
            node.output.extend(outputs)
    for value in (*graph.input, *graph.output):
        del value.metadata_props[:]
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString(deterministic=True))


def _with_subgraphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """Yield a graph, and the graphs in its nodes: branches and bodies of loops."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                yield from _with_subgraphs(inner)


def _in_order(graph: onnx.GraphProto) -> Iterator[list[str]]:
    """Yield the names that each node reads, those of its subgraphs after its own."""
    for node in graph.node:
        yield list(node.input)
        for attribute in node.attribute:
            for inner in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                yield from _in_order(inner)
                yield [value.name for value in inner.output]


def _share_equal_initializers(graph: onnx.GraphProto) -> None:
    """Merge equal initializers, drop unused ones, and order them by their first reader.

    The order must not depend on what the exporter happened to share; otherwise equal networks differ in bytes.
    """
    graphs = list(_with_subgraphs(graph))
    used = {i for inner in graphs for node in inner.node for i in node.input}
    used |= {value.name for inner in graphs for value in inner.output}
    first: dict[tuple[object, ...], str] = {}
    alias: dict[str, str] = {}
    for tensor in (t for t in graph.initializer if t.name in used):
        # Two weights remain separate, even if pruning made both zero.
        weight = tensor.name if len(tensor.dims) >= 2 else ""
        content = (tensor.data_type, tuple(tensor.dims), _raw(tensor), weight)
        alias[tensor.name] = first.setdefault(content, tensor.name)
    for inner in graphs:
        for node in inner.node:
            inputs = [alias.get(i, i) for i in node.input]
            del node.input[:]
            node.input.extend(inputs)
        for value in inner.output if inner is not graph else ():
            value.name = alias.get(value.name, value.name)
    separate_zero_points(graph)
    stored = {t.name: t for t in graph.initializer}
    read = dict.fromkeys(i for node in _in_order(graph) for i in node if i in stored)
    retained = [stored[name] for name in read]
    del graph.initializer[:]
    graph.initializer.extend(retained)


def _raw(tensor: onnx.TensorProto) -> bytes:
    if tensor.HasField("raw_data"):
        return bytes(tensor.raw_data)
    return bytes(numpy_helper.to_array(tensor).tobytes())
