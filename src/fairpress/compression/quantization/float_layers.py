"""The weights of a network that stay in float when it is quantized."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from torch.fx import GraphModule

from fairpress.compression.quantized_graph.pt2e_quantizer import layers
from fairpress.core.errors import UserError
from fairpress.models.tracing import stored_weight

MIN_INTEGER_SHARE = 0.1  # below this share of weights that can become integers, quantization is refused
MENTIONED_SHARE = (
    0.05  # from this share of weights in float on, a warning names them; the card always lists them
)


def float_layers(graph: GraphModule, chosen: Collection[str]) -> dict[str, int]:
    """Return layer → number of weights (of two dimensions or more), for layers that are not `chosen`."""
    chosen_weights = set(_weights(graph, chosen))
    read = {str(node.target) for node in graph.graph.nodes if node.op == "get_attr" and node.users}
    counts: dict[str, int] = {}
    for name, value in graph.named_parameters():
        if value.dim() >= 2 and value.is_floating_point() and name in read and name not in chosen_weights:
            layer = name.rpartition(".")[0] or name
            counts[layer] = counts.get(layer, 0) + value.numel()
    return counts


def integer_share(graph: GraphModule, chosen: Collection[str]) -> float:
    """Return the share of weights in `chosen` layers; 0 if there are no weights."""
    integers = sum(graph.get_parameter(name).numel() for name in _weights(graph, chosen))
    total = integers + sum(float_layers(graph, chosen).values())
    return integers / total if total else 0.0


def _weights(graph: GraphModule, chosen: Collection[str]) -> list[str]:
    names = dict(graph.named_parameters())
    return [stored_weight(layer, names) for layer in chosen]


def float_layers_note(graph: GraphModule, chosen: Collection[str], keep: Collection[str]) -> dict[str, Any]:
    """Return the card's facts on weights that stay in float without being named in `keep`; empty if none do."""
    in_float = float_layers(graph, chosen)
    unrequested = {name: count for name, count in in_float.items() if name not in keep}
    total = sum(in_float.values()) + sum(
        graph.get_parameter(name).numel() for name in _weights(graph, chosen)
    )
    return (
        {"float_layers": unrequested, "float_share": sum(unrequested.values()) / total} if unrequested else {}
    )


def check_quantizable(graph: GraphModule) -> None:
    """Raise UserError if nearly all weights would stay in float."""
    chosen = layers(graph)
    share, others = integer_share(graph, chosen), float_layers(graph, chosen)
    if share >= MIN_INTEGER_SHARE:
        return
    if not chosen and not others:
        raise UserError("the network has no layer with weights to quantize; take fp32.")
    largest = max(others, key=lambda name: others[name])
    raise UserError(
        f"{1 - share:.0%} of the network's weights would stay in float, most of them in {largest!r}, because only stored "
        "weights of convolutions, linear layers and embedding tables can become integers; take fp32, or a network of such "
        "layers."
    )


def computed_in_float(layers: Iterable[str]) -> dict[str, Any]:
    """Return the card's facts on layers whose weights are stored as integers and multiplied in float; empty for none."""
    names = list(layers)
    return {"computed_in_float": names} if names else {}


def weights_in_float(details: Mapping[str, Any]) -> str:
    """Return a sentence on the layers of a quantized file that stay in float, from its card's details; "" if hardly any."""
    counts = details.get("float_layers")
    if not counts or details["float_share"] < MENTIONED_SHARE:
        return ""
    names = sorted(counts, key=lambda name: -counts[name])
    shown = ", ".join(map(repr, names[:5])) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    return f"{details['float_share']:.1%} of the network's weights stay in float, in {shown}."
