"""Lower a graph to a program of ExecuTorch, with what XNNPACK can compute delegated to it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from fairpress.core.errors import UserError
from fairpress.models.exporter_warnings import suppress_exporter_warnings
from fairpress.models.tracing import has_token_ids, node_at_fault
from fairpress.runtime.backends.executorch import quiet, require

# Operators of a graph that compute nothing in the program.
UNCOUNTED = ("getitem", "quantized_decomposed", "sym_size", "alloc", "view", "_clone_dim_order")
LAYERS = ("linear", "convolution", "addmm", "mm")


@dataclass(frozen=True)
class LoweredProgram:
    """A program and what is known of it.

    Attributes
    ----------
    data
        The bytes of the ``.pte`` file.
    delegated, portable
        Operators that XNNPACK computes, and those that run on ExecuTorch's portable kernels, with their counts.
    layers
        Convolutions and linear layers on XNNPACK's kernels for integers, on its kernels for floats, and on portable kernels.
    planned_bytes
        Memory that the program reserves for its inputs, outputs and values between operators at the largest batch.
    """

    data: bytes
    delegated: Mapping[str, int]
    portable: Mapping[str, int]
    layers: Mapping[str, int]
    planned_bytes: int


def lower(
    graph: GraphModule, example: Tensor, max_batch: int, max_length: int | None = None
) -> LoweredProgram:
    """Lower an evaluation-mode graph.

    Parameters
    ----------
    example
        A row [1, …] of its inputs.
    max_batch
        The program reads 1 … `max_batch` rows; with 1, exactly one.
    max_length
        The longest token ids, where it reads these.

    Raises
    ------
    UserError
        ExecuTorch does not support an operator; the message names the layer.
    MissingExtra
        ExecuTorch is not installed.
    """
    require("Exporting to ExecuTorch")
    with suppress_exporter_warnings(), quiet():
        from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
        from executorch.exir import to_edge_transform_and_lower

        # The example has the largest size: some operators of torch compare it with a constant (convolutions with 16 rows),
        # and the program would accept sizes on the example's side of it alone.
        rows = example.expand(max_batch, *example.shape[1:]).contiguous()
        if has_token_ids(example) and max_length is not None:
            rows = rows.new_ones((max_batch, max_length))
        try:
            exported = torch.export.export(
                graph, (rows,), dynamic_shapes=(_free_sizes(rows, max_batch, max_length),)
            )
            edge = to_edge_transform_and_lower(exported, partitioner=[XnnpackPartitioner()])
            program = edge.to_executorch()
        except Exception as error:
            raise UserError(_cannot_lower(error)) from error
    delegated, others = _nodes(edge.exported_program().graph_module)
    plan = program.executorch_program.execution_plan[0]
    return LoweredProgram(
        bytes(program.buffer),
        _count(delegated),
        _count(others),
        {
            "integer": sum(_is_integer_layer(node) for node in delegated),
            "float": sum(_name(node) in LAYERS and not _is_integer_layer(node) for node in delegated),
            "portable": sum(_name(node) in LAYERS for node in others),
        },
        sum(plan.non_const_buffer_sizes),
    )


def _cannot_lower(error: BaseException) -> str:
    root = error
    while root.__cause__ is not None:
        root = root.__cause__
    layer, kind = node_at_fault(error)
    subject = f"layer {layer!r} ({kind})" if layer else "the network"
    reason = next((line.strip() for line in str(root).splitlines() if line.strip()), "no reason given")
    return (
        f"ExecuTorch cannot lower {subject} ({type(root).__name__}: {reason.rstrip('.')[:300]}); take `max_batch=1`, or a "
        "network of other operators."
    )


def _free_sizes(rows: Tensor, max_batch: int, max_length: int | None) -> dict[int, Any]:
    sizes: dict[int, Any] = {}
    if max_batch > 1:
        sizes[0] = torch.export.Dim("batch", min=1, max=max_batch)
    if has_token_ids(rows) and max_length is not None and max_length > 1:
        sizes[1] = torch.export.Dim("length", min=1, max=max_length)
    return sizes


def _nodes(graph: GraphModule) -> tuple[list[Node], list[Node]]:
    """Return the operators that are delegated, and the others."""
    delegated: list[Node] = []
    others: list[Node] = []
    for node in graph.graph.nodes:
        if node.op != "call_function":
            continue
        if "executorch_call_delegate" in str(node.target):
            lowered = getattr(graph, str(node.args[0].target))
            inner = lowered.original_module.graph_module.graph
            delegated += [n for n in inner.nodes if n.op == "call_function"]
        else:
            others.append(node)
    return delegated, others


def _is_integer_layer(node: Node) -> bool:
    """Return whether a layer reads integers and has integer weights."""
    if _name(node) not in LAYERS:
        return False
    read = [n for n in node.args if isinstance(n, Node)]
    return sum("dequantize" in str(n.target) for n in read) >= 2


def _count(nodes: Sequence[Node]) -> Counter[str]:
    names = [_name(node) for node in nodes]
    return Counter(name for name in names if not name.startswith(UNCOUNTED))


def _name(node: Node) -> str:
    name = str(getattr(node.target, "__name__", node.target))
    parts = [part for part in name.split(".") if part not in ("aten", "dim_order_ops", "default", "Tensor")]
    return parts[0] if parts else name
