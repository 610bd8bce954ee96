"""Turn a traced graph into a program that torch's ONNX exporter translates as it is.

Given a module, the exporter traces it once more, and traces the result again to decompose its operators. That takes most of
an export, and changes nothing in a graph whose operators it translates directly.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch._ops import OpOverload
from torch.export import ExportedProgram, ModuleCallEntry, ModuleCallSignature
from torch.export.graph_signature import (
    ExportGraphSignature,
    InputKind,
    InputSpec,
    OutputKind,
    OutputSpec,
    TensorArgument,
)
from torch.fx import Graph, GraphModule, Node
from torch.fx.node import map_arg
from torch.utils import _pytree as pytree

aten = torch.ops.aten
# Operators that in evaluation mode return their input itself, which their schemas do not say.
PASSING = frozenset(
    {
        aten.dropout.default,
        aten.feature_dropout.default,
        aten.alpha_dropout.default,
        aten.feature_alpha_dropout.default,
    }
)
# Pooling to one value is a mean over these dimensions.
POOLED_DIMS = {aten.adaptive_avg_pool1d.default: [-1], aten.adaptive_avg_pool2d.default: [-1, -2]}
RESHAPES = frozenset({aten.flatten.using_ints, aten.unflatten.int})


class UndecomposedProgram(ExportedProgram):
    """A program whose operators are not decomposed."""

    def run_decompositions(self, *_: Any, **__: Any) -> ExportedProgram:
        """Return the program itself."""
        return self


def lowered_program(traced: GraphModule) -> UndecomposedProgram | None:
    """Return the program of a traced graph in evaluation mode, which is not changed; it shares the graph's tensors.

    None if the graph calls modules, reads or returns anything but one tensor, or writes into a tensor that has another name.
    Whether the exporter translates each operator is not checked.
    """
    graph = Graph()
    out = graph.graph_copy(traced.graph, {})
    results = out if isinstance(out, tuple | list) else (out,)
    given = [node for node in graph.nodes if node.op == "placeholder"]
    operations = {node.op for node in graph.nodes}
    if len(results) != 1 or len(given) != 1 or not operations <= {"placeholder", "get_attr", "call_function"}:
        return None
    graph.output(tuple(results))
    if not _without_writes(graph):
        return None
    tensors = _as_placeholders(graph, given[0], traced)
    _pool_by_means(graph)
    _reshape_to_sizes(graph, given[0])
    _describe_new_nodes(graph, tensors, given[0])
    return _program(graph, tensors, given[0])


def _without_writes(graph: Graph) -> bool:
    """Replace operators that write into their input by those that return a new tensor; False where these differ.

    They do not differ if no other value shares the memory: the input is a new tensor, and no earlier operator returned a
    view of it.
    """
    seen: set[Node] = set()
    for node in graph.nodes:
        if isinstance(node.target, OpOverload) and node.target._schema.is_mutable:
            functional, written = _functional(node.target), node.args[0]
            earlier = [user for user in written.users if user in seen]
            if functional is None or _may_alias(written) or any(_may_alias(user) for user in earlier):
                return False
            for user in [user for user in written.users if user not in seen and user is not node]:
                user.replace_input_with(written, node)
            node.target = functional
        seen.add(node)
    return True


def _functional(target: OpOverload) -> OpOverload | None:
    """Return the operator that computes the same into a new tensor, as relu does for ``relu_``; None if there is none."""
    namespace, _, name = target._schema.name.partition("::")
    if namespace != "aten" or not name.endswith("_"):
        return None
    functional = getattr(getattr(aten, name.removesuffix("_"), None), target._overloadname, None)
    return functional if isinstance(functional, OpOverload) and not functional._schema.is_mutable else None


def _may_alias(node: Node) -> bool:
    """Return whether a value may share the memory of another."""
    if not isinstance(node.target, OpOverload) or node.target in PASSING:
        return True
    return any(r.alias_info is not None for r in node.target._schema.returns)


def _pool_by_means(graph: Graph) -> None:
    """Replace adaptive pooling to one value, for which the exporter has no translation."""
    for node in graph.nodes:
        dims = POOLED_DIMS.get(node.target)
        if dims is not None and list(node.args[1]) == [1] * len(dims):
            node.target, node.args = aten.mean.dim, (node.args[0], dims, True)


def _reshape_to_sizes(graph: Graph, given: Node) -> None:
    """Replace flattening and its opposite by a view of known sizes, which takes fewer nodes of a file."""
    sizes: dict[str, Node] = {}  # expression → the first node that computes it
    with graph.inserting_before(given.next):
        for dim, size in enumerate(given.meta["val"].shape):
            if isinstance(size, torch.SymInt):
                sizes[str(size)] = graph.call_function(aten.sym_size.int, (given, dim))
                sizes[str(size)].meta["val"] = size
    for node in graph.nodes:
        value = node.meta.get("val")
        if isinstance(value, torch.SymInt):
            first = sizes.setdefault(str(value), node)
            if first is not node:
                node.replace_all_uses_with(first)
        elif node.target in RESHAPES and value is not None:
            shape = [size if isinstance(size, int) else sizes.get(str(size)) for size in value.shape]
            if None not in shape:
                node.target, node.args, node.kwargs = aten.view.default, (node.args[0], shape), {}
    graph.eliminate_dead_code()


def _as_placeholders(graph: Graph, given: Node, traced: GraphModule) -> dict[Node, tuple[str, Tensor]]:
    """Replace the tensors that a graph reads by its first inputs; return the name and the tensor of each."""
    readers: dict[str, list[Node]] = {}
    for node in graph.nodes:
        if node.op == "get_attr":
            readers.setdefault(str(node.target), []).append(node)
    placeholders = {}
    for i, (name, nodes) in enumerate(readers.items()):
        with graph.inserting_before(nodes[0]):
            placeholders[name] = graph.placeholder(f"tensor_{i}")
        for node in nodes:
            node.replace_all_uses_with(placeholders[name])
            graph.erase_node(node)
    for node in (given, *reversed(placeholders.values())):
        first = next(iter(graph.nodes))
        if node is not first:
            first.prepend(node)
    return {node: (name, _tensor(traced, name)) for name, node in placeholders.items()}


def _tensor(module: nn.Module, name: str) -> Tensor:
    owner, _, last = name.rpartition(".")
    tensor = getattr(module.get_submodule(owner), last)
    assert isinstance(tensor, Tensor)
    return tensor


def _describe_new_nodes(graph: Graph, tensors: dict[Node, tuple[str, Tensor]], given: Node) -> None:
    """Give inputs, and nodes that were inserted after tracing, what the exporter reads: shape and type of the value."""
    with given.meta["val"].fake_mode as fake:
        for node in graph.nodes:
            if node in tensors:
                node.meta["val"] = fake.from_tensor(tensors[node][1], static_shapes=True)
            elif node.op == "call_function" and "val" not in node.meta:
                args, kwargs = map_arg((node.args, node.kwargs), lambda n: n.meta["val"])
                node.meta["val"] = node.target(*args, **kwargs)


def _program(graph: Graph, tensors: dict[Node, tuple[str, Tensor]], given: Node) -> UndecomposedProgram:
    """Return a graph with its signature."""

    def described(node: Node, name: str, tensor: Tensor) -> InputSpec:
        if isinstance(tensor, nn.Parameter):
            return InputSpec(InputKind.PARAMETER, TensorArgument(node.name), name)
        return InputSpec(InputKind.BUFFER, TensorArgument(node.name), name, persistent=True)

    (result,) = next(node for node in graph.nodes if node.op == "output").args[0]
    argument, output = TensorArgument(given.name), TensorArgument(result.name)
    signature = ExportGraphSignature(
        [
            *(described(node, *tensor) for node, tensor in tensors.items()),
            InputSpec(InputKind.USER_INPUT, argument, None),
        ],
        [OutputSpec(OutputKind.USER_OUTPUT, output, None)],
    )
    structures = pytree.tree_structure(((0,), {})), pytree.tree_structure(0)
    called = ModuleCallSignature([argument], [output], *structures)
    return UndecomposedProgram(
        nn.Module(), graph, signature, dict(tensors.values()), {}, [ModuleCallEntry("", called)]
    )
