"""Trace a network as a graph of aten operators, and fold batch norms into the layers before them."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Container, Mapping, Sequence
from contextlib import redirect_stderr
from dataclasses import dataclass
from io import StringIO
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Node
from torch.fx.node import map_arg

from fairpress.core.errors import UserError
from fairpress.models.exporter_warnings import copy_graph, suppress_exporter_warnings
from fairpress.models.garbage import without_garbage_collection

aten = torch.ops.aten
CONVOLUTIONS = (aten.conv1d.default, aten.conv1d.padding, aten.conv2d.default, aten.conv2d.padding)
WEIGHTED = (*CONVOLUTIONS, aten.linear.default)
LOOKUP = aten.embedding.default
# Other operators that compute products with what may be a weight → the positions of those arguments.
PRODUCTS: Mapping[Any, tuple[int, ...]] = {
    **dict.fromkeys((*WEIGHTED, aten.conv3d.default, aten.conv3d.padding), (1,)),
    **dict.fromkeys(
        (aten.conv_transpose1d.default, aten.conv_transpose2d.input, aten.conv_transpose3d.input), (1,)
    ),
    **dict.fromkeys(
        (aten.matmul.default, aten.mm.default, aten.bmm.default, aten.mv.default, aten.tensordot.default),
        (0, 1),
    ),
    **dict.fromkeys((aten.addmm.default, aten.baddbmm.default, aten.addmv.default), (1, 2)),
    **dict.fromkeys((aten.lstm.input, aten.gru.input, aten.rnn_tanh.input, aten.rnn_relu.input), (2,)),
    **dict.fromkeys((aten.lstm_cell.default, aten.gru_cell.default), (2, 3)),
    **dict.fromkeys((aten.rnn_tanh_cell.default, aten.rnn_relu_cell.default), (2, 3)),
    aten.einsum.default: (1,),
    aten.bilinear.default: (2,),
    **dict.fromkeys((LOOKUP, aten.embedding_bag.padding_idx, aten.embedding_bag.default), (0,)),
    **dict.fromkeys((aten.index.Tensor, aten.index_select.default, aten.gather.default), (0,)),
}
CHOICES = ("cond", "while_loop")  # operators whose branch depends on values
ANY_BATCH = {0: torch.export.Dim("batch", min=1, max=2**20)}


def has_token_ids(inputs: Tensor) -> bool:
    """Return whether inputs are whole numbers [rows, length], such as token ids: their length may vary."""
    return len(inputs.shape) == 2 and inputs.dtype in (torch.int32, torch.int64)


def dynamic_shape(example: Tensor) -> dict[int, Any]:
    """Return the dimensions of inputs that vary, for torch.export: the batch size, and the length of token ids."""
    if not has_token_ids(example):
        return ANY_BATCH
    return {**ANY_BATCH, 1: torch.export.Dim.AUTO}


def trace(module: nn.Module, example: Tensor) -> GraphModule:
    """Return the evaluation-mode graph of a network, which is not changed and shares no tensor with the graph.

    Parameters
    ----------
    module
        Maps inputs [rows, …] to logits [rows, classes].
    example
        Inputs of two rows or more: one row would fix the batch size. Token ids, ``int64`` [rows, length], of length two
        or more: the graph reads any length that the network reads.

    Raises
    ------
    UserError
        torch.export cannot trace the network; the message names the layer.
    """
    from torch.utils import _pytree  # noqa: F401  imported before warnings are filtered

    # An exported graph shares its tensors with the module it came from.
    module = copy.deepcopy(module).cpu().eval()
    for child in module.modules():
        # Stochastic depth is removed: the exported network would stay random after eval().
        if type(child).__name__ in ("StochasticDepth", "DropPath"):
            child.p = child.drop_prob = 0.0
    # torch prints the graph it could not finish.
    with suppress_exporter_warnings(), redirect_stderr(StringIO()), without_garbage_collection():
        try:
            graph = torch.export.export(module, (example,), dynamic_shapes=(dynamic_shape(example),)).module(
                check_guards=False
            )
        except Exception as error:
            layer = layer_at_fault(module, error.__traceback__)
            kind = "" if layer is None else type(module.get_submodule(layer)).__name__
            raise UserError(cannot_export(layer, kind, error)) from error
    assert isinstance(graph, GraphModule)
    for node in graph.graph.nodes:
        if getattr(node.target, "__name__", "") in CHOICES:
            raise UserError(
                f"the network calls torch.{node.target.__name__}, which takes one branch for all rows of a batch; compute "
                "both branches and choose with torch.where, for every row."
            )
    return graph


def cannot_export(layer: str | None, kind: str, error: BaseException) -> str:
    """Return the message for a failed export: the layer, its class, the cause and a remedy."""
    layer_text = f"layer {layer!r} ({kind})" if layer else "the network"
    if "onstraints violated" in str(error) or "specialized" in str(error):
        return (
            f"{layer_text} can be exported for some batch sizes only, because its forward fixes the number of rows: write "
            "x.shape[0] or -1 instead of int(x.shape[0]), len(x), a loop over rows or a number ((x[:, None] - c)"
            ".square().sum(-1).sqrt() for torch.cdist), and pass the module, not an exported program."
        )
    if "fake tensor in the exported program constant" in str(error):
        return (
            f"{layer_text} cannot be exported, because its forward reads a tensor through .data, which torch.export cannot "
            "trace; write .detach() instead."
        )
    if kind in ("LSTM", "GRU", "RNN") and "failed to unpack" in str(error):
        return (
            f"{layer_text} cannot be exported, because it reads a packed sequence; give it padded rows [rows, length, …], "
            "and take the step that counts by its index."
        )
    if "only 4D query" in str(error):
        return (
            f"{layer_text} calls scaled_dot_product_attention with is_causal or enable_gqa, and the exporter takes four "
            "axes then; give it query, key and value of three with .unsqueeze(1), and take .squeeze(1) of the result."
        )
    reason = next((line.strip() for line in str(error).splitlines() if line.strip()), "no reason given")
    return (
        f"{layer_text} cannot be exported ({type(error).__name__}: {reason.rstrip('.')}); rewrite it without control "
        "flow that depends on the values of tensors, with operators that ONNX supports."
    )


def node_at_fault(error: BaseException) -> tuple[str | None, str]:
    """Return name and class of the layer on whose operator a graph exporter failed; None and "" if unknown."""
    cause: BaseException | None = error
    while cause is not None:
        trail = cause.__traceback__
        while trail is not None:
            node = trail.tb_frame.f_locals.get("node")
            stack = node.meta.get("nn_module_stack") if isinstance(node, Node) else None
            if stack:
                name, kind = list(stack.values())[-1]
                return str(name), str(kind).rpartition(".")[2]
            trail = trail.tb_next
        cause = cause.__cause__ or cause.__context__
    return None, ""


def layer_at_fault(module: nn.Module, trail: TracebackType | None) -> str | None:
    """Return the name of the innermost layer in a traceback; None outside all layers."""
    names = {id(child): name for name, child in module.named_modules() if name}
    layer = None
    while trail is not None:
        layer = names.get(id(trail.tb_frame.f_locals.get("self")), layer)
        trail = trail.tb_next
    return layer


@dataclass(frozen=True)
class BatchNormFold:
    """A batch norm that can be folded into the layer before it: the names of the tensors, and its ε."""

    weight: str
    bias: str
    gamma: str | None
    beta: str | None
    mean: str
    variance: str
    eps: float


def find_batch_norm_folds(graph: GraphModule) -> tuple[BatchNormFold, ...]:
    """Return every batch norm that is the only reader of a convolution or linear layer.

    No other operator may read its tensors or the layer's: a tied weight would change in the other place too.
    """
    return tuple(_fold(layer, norm) for layer, norm in _pairs(graph))


def _pairs(graph: GraphModule) -> list[tuple[Node, Node]]:
    read = Counter(
        str(source.target) for n in graph.graph.nodes for source in _sources(n) if source.op == "get_attr"
    )
    names = {name for name, _ in (*graph.named_parameters(), *graph.named_buffers())}

    def exclusive(layer: Node, norm: Node) -> bool:
        tensors = [n for n in (*layer.args[1:3], *norm.args[1:5]) if isinstance(n, Node)]
        unshared = all(n.op == "get_attr" and read[str(n.target)] == 1 for n in tensors)
        has_bias = len(layer.args) > 2 and layer.args[2] is not None
        return unshared and (has_bias or _fold(layer, norm).bias not in names)

    return [
        (layer, norm)
        for norm in graph.graph.nodes
        if norm.target is aten.batch_norm.default and norm.args[3] is not None
        for layer in [norm.args[0]]
        if is_weighted(layer) and len(layer.users) == 1 and exclusive(layer, norm)
    ]


def _sources(node: Node) -> list[Node]:
    """Return the nodes that a node reads, with repetitions."""
    sources: list[Node] = []

    def note(source: Node) -> Node:
        sources.append(source)
        return source

    map_arg((node.args, node.kwargs), note)
    return sources


def _fold(layer: Node, norm: Node) -> BatchNormFold:
    weight = weight_of(layer)
    bias = layer.args[2] if len(layer.args) > 2 else None
    gamma, beta, mean, variance = (None if n is None else str(n.target) for n in norm.args[1:5])
    assert mean is not None
    assert variance is not None
    bias_name = f"{weight.removesuffix('weight')}bias" if bias is None else str(bias.target)
    return BatchNormFold(weight, bias_name, gamma, beta, mean, variance, float(norm.args[7]))


def fold_graph(graph: GraphModule) -> GraphModule:
    """Return a copy without the batch norms of `find_batch_norm_folds`; each of their layers gets a bias."""
    graph = copy_graph(graph)
    for layer, norm in _pairs(graph):
        fold = _fold(layer, norm)
        if len(layer.args) < 3 or layer.args[2] is None:
            owner, _, name = fold.bias.rpartition(".")
            channels = graph.get_parameter(fold.weight).shape[0]
            graph.get_submodule(owner).register_parameter(name, nn.Parameter(torch.zeros(channels)))
            with graph.graph.inserting_before(layer):
                bias = graph.graph.get_attr(fold.bias)
            _describe(bias, norm, graph.get_parameter(fold.bias))
            layer.args = (*layer.args[:2], bias, *layer.args[3:])
        norm.replace_all_uses_with(layer)
        graph.graph.erase_node(norm)
    graph.graph.eliminate_dead_code()
    graph.delete_all_unused_submodules()
    _drop_unread(graph)
    graph.recompile()
    return graph


def _describe(node: Node, like: Node, value: Tensor) -> None:
    """Set the metadata of a new node that later graph passes read."""
    node.meta["val"] = like.meta["val"].fake_mode.from_tensor(value, static_shapes=True)


def _drop_unread(graph: GraphModule) -> None:
    read = {str(n.target) for n in graph.graph.nodes if n.op == "get_attr"}
    for name in [n for n, _ in (*graph.named_parameters(), *graph.named_buffers()) if n not in read]:
        owner, _, last = name.rpartition(".")
        delattr(graph.get_submodule(owner), last)


def fold_factor(state: Mapping[str, Tensor], fold: BatchNormFold) -> Tensor:
    """Return γ/√(σ²+ε) per output channel, float64, by which folding multiplies the weights."""
    variance = state[fold.variance].detach().double()
    gamma = torch.ones_like(variance) if fold.gamma is None else state[fold.gamma].detach().double()
    return gamma / (variance + fold.eps).sqrt()


def fold_state(state: Mapping[str, Tensor], pairs: Sequence[BatchNormFold]) -> dict[str, Tensor]:
    """Return the state of `fold_graph`'s network: w·γ/√(σ²+ε) and β + (b − μ)·γ/√(σ²+ε) per output channel."""
    out = {name: value.detach() for name, value in state.items()}
    for fold in pairs:
        weight, bias = out[fold.weight], out.get(fold.bias)
        factor, mean = fold_factor(state, fold), out[fold.mean].double()
        beta = torch.zeros_like(mean) if fold.beta is None else out[fold.beta].double()
        shift = mean if bias is None else mean - bias.double()
        out[fold.weight] = (weight.double() * factor.view(-1, *[1] * (weight.dim() - 1))).to(weight.dtype)
        out[fold.bias] = (beta - shift * factor).to(weight.dtype)
        counter = fold.mean.removesuffix("running_mean") + "num_batches_tracked"
        for name in (fold.gamma, fold.beta, fold.mean, fold.variance, counter):
            out.pop(str(name), None)
    return out


def batch_norm(
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    mean: Tensor | None,
    variance: Tensor | None,
    training: bool,
    momentum: float,
    eps: float,
    _cudnn: bool = False,
) -> Tensor:
    """Normalise as aten.batch_norm does; running statistics are updated in place during training."""
    return nn.functional.batch_norm(x, mean, variance, weight, bias, training, momentum, eps)


def hide_batch_norm(graph: GraphModule) -> GraphModule:
    """Return a copy whose batch norms have a name unknown to PT2E, so that it does not change them."""
    graph = copy_graph(graph)
    for node in graph.graph.nodes:
        if node.target is aten.batch_norm.default:
            node.target = batch_norm
    graph.recompile()
    return graph


def set_training(graph: GraphModule, training: bool, *, dropout: bool = True) -> None:
    """Set batch norm (and with `dropout`, dropout) of a graph to training or evaluation mode."""
    flags = {batch_norm: (5, training), aten.batch_norm.default: (5, training)}
    flags[aten.dropout.default] = (2, training and dropout)
    changed = False
    for node in graph.graph.nodes:
        position, value = flags.get(node.target, (None, None))
        if position is not None and node.args[position] is not value:
            node.args = (*node.args[:position], value, *node.args[position + 1 :])
            changed = True
    if changed:
        graph.recompile()


def trainable(graph: GraphModule) -> GraphModule:
    """Return the graph with train() and eval() that set its mode; those of an exported graph raise an error."""

    def train(mode: bool = True) -> GraphModule:
        set_training(graph, mode)
        return graph

    graph.train, graph.eval = train, lambda: train(False)
    return graph


def is_weighted(node: Node) -> bool:
    """Return whether a node is a convolution or linear operator with a stored weight."""
    return node.target in WEIGHTED and isinstance(node.args[1], Node) and node.args[1].op == "get_attr"


def weighted(graph: GraphModule) -> list[Node]:
    """Return the convolutions and linear operators with stored weights, in the order they run."""
    return [n for n in graph.graph.nodes if is_weighted(n)]


def is_lookup(node: Node) -> bool:
    """Return whether a node looks up rows of a stored embedding table that only lookups read."""
    if node.target is not LOOKUP:
        return False
    table = node.args[0]
    return (
        isinstance(table, Node)
        and table.op == "get_attr"
        and all(user.target is LOOKUP and user.args[0] is table for user in table.users)
    )


def weights_in_products(node: Node) -> list[Node]:
    """Return what an operator of `PRODUCTS` multiplies or looks up, a weight or not; nothing for other operators."""
    nodes: list[Node] = []
    for position in PRODUCTS.get(node.target, ()):
        value: Any = node.args[position] if position < len(node.args) else None
        nodes += [v for v in (value if isinstance(value, list | tuple) else [value]) if isinstance(v, Node)]
    return nodes


def varying_nodes(graph: GraphModule) -> set[Node]:
    """Return the nodes that depend on the network's inputs."""
    varying: set[Node] = set()
    for node in graph.graph.nodes:
        if node.op == "placeholder" or not varying.isdisjoint(node.all_input_nodes):
            varying.add(node)
    return varying


def products(graph: GraphModule) -> Counter[str]:
    """Return the number of different products of each layer: runtimes merge two calls on the same values.

    Products that do not depend on the inputs are computed when the file is loaded, and do not count.
    """
    varying = varying_nodes(graph)
    numbers: dict[Node, int] = {}
    number_of: dict[Any, int] = {}
    distinct: set[tuple[str, int]] = set()
    for node in graph.graph.nodes:
        same = (node.op, node.target, repr(map_arg((node.args, node.kwargs), lambda n: f"%{numbers[n]}")))
        numbers[node] = number_of.setdefault(same, len(number_of))
        if is_weighted(node) and node in varying:
            distinct.add((layer_name(node), numbers[node]))
    return Counter(layer for layer, _ in distinct)


def weight_of(node: Node) -> str:
    """Return the name of a layer's weight, or of the table that is looked up."""
    weight: Any = node.args[0 if node.target is LOOKUP else 1]
    return str(weight.target)


def stored_weight(layer: str, tensors: Container[str]) -> str:
    """Return the name of a layer's weight among a network's tensors: LAYER.weight, or LAYER for a bare parameter."""
    name = f"{layer}.weight"
    return name if name in tensors else layer


def layer_name(node: Node) -> str:
    """Return the name of an operator's layer: the name of its weight without ``.weight``."""
    return layer_of_weight(weight_of(node))


def layer_of_weight(name: str) -> str:
    """Return the name of the layer that a weight belongs to: without ``.weight``, or that of a bare parameter."""
    return name.removesuffix(".weight")
