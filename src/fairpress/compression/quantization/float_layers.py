"""Which weights of a network stay in float when it is quantized: an integer file is not all integers."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from torch.fx import GraphModule

from fairpress.compression.quantized_graph.pt2e_quantizer import layers
from fairpress.core.errors import UserError
from fairpress.models.tracing import stored_weight

MIN_INTEGER_SHARE = (
    0.1  # share of weights that can become integers, below which a recipe that quantizes is refused
)
MENTIONED_SHARE = (
    0.05  # share of weights in float from which on a warning names them; the card always lists them
)


def float_layers(graph: GraphModule, chosen: Collection[str]) -> dict[str, int]:
    """Return the layers with weights (of two dimensions or more) that are not `chosen`, and how many weights they have."""
    chosen_weights = set(_weights(graph, chosen))
    read = {str(node.target) for node in graph.graph.nodes if node.op == "get_attr" and node.users}
    counts: dict[str, int] = {}
    for name, value in graph.named_parameters():
        if value.dim() >= 2 and value.is_floating_point() and name in read and name not in chosen_weights:
            layer = name.rpartition(".")[0] or name
            counts[layer] = counts.get(layer, 0) + value.numel()
    return counts


def integer_share(graph: GraphModule, chosen: Collection[str]) -> float:
    """Return the share of weights that are those of `chosen` layers; 0 where there are no weights."""
    integers = sum(graph.get_parameter(name).numel() for name in _weights(graph, chosen))
    total = integers + sum(float_layers(graph, chosen).values())
    return integers / total if total else 0.0


def _weights(graph: GraphModule, chosen: Collection[str]) -> list[str]:
    names = dict(graph.named_parameters())
    return [stored_weight(layer, names) for layer in chosen]


def float_layers_note(graph: GraphModule, chosen: Collection[str], keep: Collection[str]) -> dict[str, Any]:
    """Return what a card says of weights that stay in float though nobody asked for it (`keep`); nothing where none do."""
    in_float = float_layers(graph, chosen)
    unrequested = {name: count for name, count in in_float.items() if name not in keep}
    total = sum(in_float.values()) + sum(
        graph.get_parameter(name).numel() for name in _weights(graph, chosen)
    )
    return (
        {"float_layers": unrequested, "float_share": sum(unrequested.values()) / total} if unrequested else {}
    )


def check_quantizable(graph: GraphModule) -> None:
    """Raise UserError where nearly all weights would stay in float, so that a quantized file were one by name only."""
    chosen = layers(graph)
    share, others = integer_share(graph, chosen), float_layers(graph, chosen)
    if share >= MIN_INTEGER_SHARE:
        return
    if not chosen and not others:
        raise UserError("the network has no layer with weights, so there is nothing to quantize; take fp32.")
    largest = max(others, key=lambda name: others[name])
    raise UserError(
        f"{1 - share:.0%} of the network's weights would stay in float, most of them those of {largest!r}; only "
        "convolutions and linear layers whose weights are stored become integers. Take fp32, or a network of such "
        "layers."
    )


def weights_in_float(details: Mapping[str, Any]) -> str:
    """Say which layers of a quantized file stay in float, from its card's details; "" where hardly any do."""
    counts = details.get("float_layers")
    if not counts or details["float_share"] < MENTIONED_SHARE:
        return ""
    names = sorted(counts, key=lambda name: -counts[name])
    shown = ", ".join(map(repr, names[:5])) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    return f"{details['float_share']:.1%} of the network's weights stay in float: those of {shown}."
