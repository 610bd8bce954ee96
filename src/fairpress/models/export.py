"""Networks of one architecture as ONNX: exported once, then refilled with each network's weights."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn
from torch.fx import GraphModule

from fairpress.core.errors import UserError
from fairpress.models.graph import (
    ANY_BATCH,
    Fold,
    cannot_export,
    fold_graph,
    fold_state,
    folds,
    node_at_fault,
    trace,
)
from fairpress.models.quiet import quiet
from fairpress.runtime.pack import finish

INPUT, OUTPUT = "x", "y"
_templates: dict[Hashable, Template] = {}


class Merged(ValueError):
    """The exporter made one constant of several weights, so that a file cannot be refilled."""


@dataclass(frozen=True)
class Template:
    """An exported float network: each of its weights is a constant under its own name, batch norms are folded."""

    model: onnx.ModelProto
    pairs: tuple[Fold, ...]

    def fill(self, state: Mapping[str, Tensor]) -> bytes:
        """Return the file of the network with this state."""
        values = fold_state(state, self.pairs)
        return finish(filled(self.model, {k: v.detach().cpu().numpy() for k, v in values.items()}))


def export_many(
    module: nn.Module, states: Sequence[Mapping[str, Tensor]], example: Tensor, key: Hashable = None
) -> list[bytes]:
    """Return one ONNX file (logits out) for each state of a network.

    Parameters
    ----------
    module
        The network; it is not changed.
    states
        A state dict for each file.
    example
        Inputs [rows, …] with two rows or more (one row would fix the batch size).
    key
        Says that this architecture may be kept for the next call in this process with an equal key.

    Raises
    ------
    UserError
        The network cannot be exported; the sentence names the layer.
    """
    known = (key, tuple(example.shape[1:]), example.dtype)
    if key is not None and known in _templates:
        template = _templates[known]
    else:
        graph = trace(module, example)
        pairs, folded = folds(graph), fold_graph(graph)
        try:
            template = Template(keeping_names(folded, fold_state(states[0], pairs), example), pairs)
        except Merged:
            return [finish(export_graph(holding(folded, fold_state(s, pairs)), example)) for s in states]
        if key is not None:
            _templates[known] = template
    return [template.fill(state) for state in states]


def keeping_names(
    graph: GraphModule, state: Mapping[str, Tensor], example: Tensor, *, turn: bool = False
) -> onnx.ModelProto:
    """Export a graph and make sure that each tensor it reads is stored under its own name.

    The stored values are near those of `state`, no two of them equal: the exporter would store them as one.
    Raises Merged where it did so all the same. With `turn`, a matrix that it stored transposed is stored as it is, and
    transposed when the file is loaded.
    """
    state = distinct(state)
    model = export_graph(holding(graph, state), example)
    stored = {t.name: t for t in model.graph.initializer}
    for node in graph.graph.nodes:
        name = str(node.target)
        if node.op != "get_attr" or not node.users or name not in state:
            continue
        value = state[name].numpy()
        if not holds(stored.get(name), value) and not (turn and _turned(model, name, value)):
            raise Merged(f"the exporter did not keep {name!r} as a weight of its own")
    return model


def _turned(model: onnx.ModelProto, name: str, value: np.ndarray) -> bool:
    """Store a matrix that a model has transposed as it is, transposed by the model; tell whether there was one."""
    graph = model.graph
    for tensor in graph.initializer:
        if list(tensor.dims) != [*reversed(value.shape)] or value.ndim != 2:
            continue
        if np.array_equal(numpy_helper.to_array(tensor), value.T):
            turning = onnx.helper.make_node("Transpose", [name], [tensor.name], perm=[1, 0])
            graph.initializer.remove(tensor)
            graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
            graph.node.insert(0, turning)
            return True
    return False


def export_graph(module: nn.Module, example: Tensor) -> onnx.ModelProto:
    """Return the exporter's graph of an evaluation-mode module, input ``x``, output ``y``, any batch size.

    Raises
    ------
    UserError
        ONNX has no such operator; the sentence names the layer.
    """
    with quiet():
        try:
            program = torch.onnx.export(
                module,
                (example,),
                dynamo=True,
                dynamic_shapes=(ANY_BATCH,),
                input_names=[INPUT],
                output_names=[OUTPUT],
                verbose=False,
            )
        except Exception as error:
            root: BaseException = error
            while root.__cause__ is not None:
                root = root.__cause__
            raise UserError(cannot_export(*node_at_fault(error), root)) from error
    assert program is not None
    return program.model_proto


def holding(graph: GraphModule, state: Mapping[str, Tensor]) -> GraphModule:
    """Put a state into a graph and return it, ready to be exported.

    What the state does not speak of stays: buffers that a module keeps out of it, the same for all its networks.
    """
    with torch.no_grad():
        for name, target in (*graph.named_parameters(), *graph.named_buffers()):
            if name in state:
                target.copy_(state[name])
    return shippable(graph)


def shippable(graph: GraphModule) -> GraphModule:
    """Return the graph, which refuses eval() and train() for being in the one form it has, as one that agrees to them."""
    graph.eval = graph.train = lambda *_: graph
    graph.training = False
    return graph


def distinct(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a state near this one in which no two tensors are equal."""
    generator = torch.Generator().manual_seed(0)

    def near(value: Tensor) -> Tensor:
        if not value.is_floating_point() or value.dim() == 0:
            return value
        noise = torch.rand(value.shape, generator=generator)
        return value * (1 + 1e-3 * noise) + 1e-6 * noise

    return {name: near(value.detach().cpu()) for name, value in state.items()}


def filled(template: onnx.ModelProto, values: Mapping[str, np.ndarray]) -> onnx.ModelProto:
    """Return a copy of a model in which every constant of a name in `values` holds that value."""
    model = onnx.ModelProto()
    model.CopyFrom(template)
    for tensor in model.graph.initializer:
        value = values.get(tensor.name)
        if value is not None:
            kind = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
            own = np.ascontiguousarray(value.astype(kind)).reshape(tuple(tensor.dims))
            tensor.CopyFrom(numpy_helper.from_array(own, tensor.name))
    return model


def holds(tensor: onnx.TensorProto | None, value: np.ndarray) -> bool:
    """Tell whether a constant of a model is there and has this value, whatever its shape."""
    return tensor is not None and np.array_equal(numpy_helper.to_array(tensor).ravel(), np.ravel(value))
