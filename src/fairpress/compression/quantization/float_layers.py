"""The weights of a network that stay in float when it is quantized."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch.fx import GraphModule

from fairpress.compression.quantized_graph.pt2e_quantizer import layers
from fairpress.core.errors import UserError
from fairpress.models.storable_weights import storable_weights
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
        f"{1 - share:.0%} of the network's weights would stay in float, most of them in {largest!r}, because they are added "
        "or scale something, and only what layers and products multiply by or look up can become integers; take fp32."
    )


def computed_in_float(
    graph: GraphModule, layers: Collection[str], *, dynamic: bool = False
) -> dict[str, Any]:
    """Return the card's facts on layers whose weights are stored as integers and multiplied in float; empty for none.

    With `dynamic` the file's ranges are those of each call, so that no other recipe would run LSTM layers on integers.
    """
    counts: dict[str, int] = {}
    for name in layers:
        counts[name] = graph.get_parameter(stored_weight(name, dict(graph.named_parameters()))).numel()
    total = sum(p.numel() for p in graph.parameters() if p.dim() >= 2 and p.is_floating_point())
    if not counts:
        return {}
    readers = storable_weights(graph)
    lstm = any(
        node.target is torch.ops.aten.lstm.input
        for name in layers
        for node in readers.get(stored_weight(name, readers), ())
    )
    facts = {"computed_in_float": counts, "computed_in_float_share": sum(counts.values()) / total}
    return {**facts, **({"integer_lstm_by": "int8-dynamic"} if lstm and not dynamic else {})}


def weights_in_float(details: Mapping[str, Any]) -> str:
    """Return a sentence on the layers of a quantized file that stay in float, from its card's details; "" if hardly any.

    A second one names layers whose weights are integers in the file alone.
    """
    sentences = []
    if details.get("float_layers") and details["float_share"] >= MENTIONED_SHARE:
        shown = _largest(details["float_layers"])
        sentences.append(f"{details['float_share']:.1%} of the network's weights stay in float, in {shown}.")
    if details.get("computed_in_float") and details["computed_in_float_share"] >= MENTIONED_SHARE:
        sentences.append(
            f"{details['computed_in_float_share']:.1%} of the network's weights, in "
            f"{_largest(details['computed_in_float'])}, are stored as integers and multiplied as floats, since there is no "
            "integer kernel for them: they take fewer bytes, and no less time."
        )
        if "integer_lstm_by" in details:
            sentences.append(f"{details['integer_lstm_by']} runs LSTM layers on integers.")
    return " ".join(sentences)


def _largest(counts: Mapping[str, int]) -> str:
    """Return the names of the layers with most weights."""
    names = sorted(counts, key=lambda name: -counts[name])
    return ", ".join(map(repr, names[:5])) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
