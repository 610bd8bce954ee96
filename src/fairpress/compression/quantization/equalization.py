"""Cross-layer equalization: move scale between layers that only a homogeneous function separates.

Nagel et al. 2019, arXiv 1906.04721, section 4.1. Since ReLU(s·x) = s·ReLU(x) for s > 0, a layer's output channel can be
divided by s if the next layer's weights for it are multiplied by s. With s = √(r₁/r₂), where r₁ and r₂ are the largest
|weight| of the channel in both layers, both become √(r₁·r₂). The network computes the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from fairpress.models.tracing import (
    CONVOLUTIONS,
    BatchNormFold,
    aten,
    fold_state,
    is_weighted,
    layer_name,
    weight_of,
)

SWEEPS = 30
CONVERGED = 1e-3  # largest change of ln s in a sweep
# f(s·x) = s·f(x) for s > 0, value by value
POINTWISE = (
    *(aten.relu.default, aten.relu_.default, aten.leaky_relu.default, aten.leaky_relu_.default),
    *(aten.dropout.default, aten.dropout_.default, aten.feature_dropout.default),
)
# … channel by channel
POOLS = (
    *(aten.max_pool1d.default, aten.max_pool2d.default, aten.avg_pool1d.default, aten.avg_pool2d.default),
    *(aten.adaptive_avg_pool1d.default, aten.adaptive_avg_pool2d.default),
)


@dataclass(frozen=True)
class EqualizedPair:
    """Two layers of which the second alone reads the first, each of whose channels it reads as `repeats` neighbours."""

    first: str
    first_weight: str
    first_bias: str | None
    second_weight: str
    groups: int

    def ranges(self, state: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Return the largest |weight| of every channel [channels] in both layers."""
        first = state[self.first_weight].flatten(1).abs().amax(1)
        return first, self._by_channel(state[self.second_weight], len(first)).abs().amax((1, 3)).flatten()

    def scaled_second(self, weight: Tensor, scale: Tensor) -> Tensor:
        """Return the second layer's weight with what it reads of each channel multiplied by scale [channels]."""
        by_channel = self._by_channel(weight, len(scale))
        return (by_channel * scale.view(self.groups, 1, -1, 1).to(weight)).reshape(weight.shape)

    def _by_channel(self, weight: Tensor, channels: int) -> Tensor:
        """Return [groups, outputs of a group, channels of a group, values of a channel]."""
        return weight.reshape(self.groups, len(weight) // self.groups, channels // self.groups, -1)


def find_equalized_pairs(
    folded: GraphModule, folds: Sequence[BatchNormFold]
) -> tuple[list[EqualizedPair], dict[str, list[str]]]:
    """Return the pairs of layers that can be equalized; and for all other layers but the last why not, reason → layers."""
    reads = Counter(weight_of(node) for node in folded.graph.nodes if is_weighted(node))
    attributes = Counter(
        str(n.target) for n in folded.graph.nodes if n.op == "get_attr" for _ in range(len(n.users))
    )
    unscaled = {fold.weight for fold in folds if fold.gamma is None}
    pairs, skipped = [], dict[str, list[str]]()
    for node in folded.graph.nodes:
        if not is_weighted(node):
            continue
        tensors = [n for n in node.args[1:3] if isinstance(n, Node)]
        if weight_of(node) in unscaled:
            second: Node | str = "batch norm without scale"
        elif any(attributes[str(n.target)] > 1 for n in tensors):
            second = "shared weights"
        else:
            second = _reader(node)
        if isinstance(second, Node) and reads[weight_of(second)] > 1:
            second = "shared weights"
        if isinstance(second, str):
            skipped.setdefault(second, []).append(layer_name(node))
            continue
        bias: Any = node.args[2] if len(node.args) > 2 else None
        groups: Any = second.args[6] if second.target in CONVOLUTIONS and len(second.args) > 6 else 1
        pairs.append(
            EqualizedPair(
                layer_name(node),
                weight_of(node),
                None if bias is None else str(bias.target),
                weight_of(second),
                int(groups),
            )
        )
    return pairs, {reason: names for reason, names in skipped.items() if reason != "output"}


def _reader(layer: Node) -> Node | str:
    """Return the layer that alone reads a layer, through homogeneous functions at most; or what is there instead."""
    node, convolution = layer, layer.target in CONVOLUTIONS
    by_rows = convolution  # whether axis 1 has the channels, not the last one
    while True:
        if len(node.users) != 1:
            return "several readers"
        (user,) = node.users
        if user.op == "output":
            return "output"
        if is_weighted(user) and user.args[0] is node:
            return user if (user.target in CONVOLUTIONS) == by_rows else "another order of axes"
        if user.target is aten.flatten.using_ints and by_rows and user.args[1:] in ((1,), (1, -1)):
            by_rows = False
        elif not (user.target in POINTWISE or (user.target in POOLS and by_rows)):
            name = getattr(user.target, "__name__", str(user.target)).partition(".")[0].rstrip("_")
            return {"hardtanh": "ReLU6", "add": "a sum", "cat": "a join"}.get(name, name)
        node = user


@torch.no_grad()
def equalize(
    state: Mapping[str, Tensor], folds: Sequence[BatchNormFold], pairs: Sequence[EqualizedPair]
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return the equalized state, and s [channels] of every pair by its first layer.

    Ranges are those of the folded weights; of a layer with a batch norm, the batch norm's γ and β are divided. Channels
    whose weights are all 0 in one of both layers stay as they are. Pairs are equalized in turn until nothing changes: the
    second layer of one may be the first of another.

    Parameters
    ----------
    state
        The float state, with batch norms.
    """
    folded = {k: v.double() for k, v in fold_state(state, folds).items() if v.is_floating_point()}
    logarithms = {p.first: torch.zeros(len(folded[p.first_weight]), dtype=torch.float64) for p in pairs}
    for _ in range(SWEEPS):
        largest = 0.0
        for pair in pairs:
            first, second = pair.ranges(folded)
            alive = (first > 0) & (second > 0)
            step = torch.where(alive, first / second.clamp_min(1e-300), 1.0).sqrt()
            folded[pair.first_weight] = _divided(folded[pair.first_weight], step)
            folded[pair.second_weight] = pair.scaled_second(folded[pair.second_weight], step)
            logarithms[pair.first] += step.log()
            largest = max(largest, float(step.log().abs().max()))
        if largest < CONVERGED:
            break
    scales = {name: value.exp() for name, value in logarithms.items()}
    out = dict(state)
    norms = {fold.weight: fold for fold in folds}
    for pair in pairs:
        scale, fold = scales[pair.first], norms.get(pair.first_weight)
        divided = (pair.first_weight, pair.first_bias) if fold is None else (fold.gamma, fold.beta)
        for name in divided:
            if name is not None:
                out[name] = _divided(out[name], scale)
        out[pair.second_weight] = pair.scaled_second(out[pair.second_weight], scale)
    return out, scales


def _divided(tensor: Tensor, scale: Tensor) -> Tensor:
    return (tensor.double() / scale.view(-1, *[1] * (tensor.dim() - 1))).to(tensor.dtype)
