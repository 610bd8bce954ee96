"""Which share of a network's weights a converted graph stores at which width."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import torch
from torch.fx import GraphModule, Node


def shares_at_bits(graph: GraphModule) -> dict[str, dict[str, float]]:
    """Return bit width → its shares of the parameters, and of their bytes; scales count as bytes of 32 bits.

    Parameters
    ----------
    graph
        A float graph, or one that PT2E has converted.
    """
    parameters: Counter[int] = Counter()
    stored: Counter[int] = Counter()
    seen: set[str] = set()
    for node in graph.graph.nodes:
        if node.op != "get_attr" or not node.users or str(node.target) in seen:
            continue
        seen.add(str(node.target))
        value = _tensor(graph, str(node.target))
        if value is None or value.dtype not in (torch.int8, torch.float32):
            continue
        bits = 8 * value.element_size()
        stored[bits] += value.numel() * bits
        if not _is_scale(node):
            parameters[bits] += value.numel()
    return {
        str(bits): {
            "parameters": parameters[bits] / max(parameters.total(), 1),
            "bytes": stored[bits] / max(stored.total(), 1),
        }
        for bits in sorted(stored)
    }


def _tensor(graph: GraphModule, name: str) -> torch.Tensor | None:
    value: object = graph
    for part in name.split("."):
        value = getattr(value, part)
    return value if isinstance(value, torch.Tensor) else None


def _is_scale(node: Node) -> bool:
    """Return whether a tensor is the scale or zero point of another."""
    return all("dequantize_per_channel" in str(u.target) and u.args[0] is not node for u in node.users)


def integer_share(shares: Mapping[str, Mapping[str, float]]) -> float:
    """Return the share of the parameters that are integers of 8 bits."""
    return shares.get("8", {}).get("parameters", 0.0)
