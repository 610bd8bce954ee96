"""Tell torchao's PT2E which values become integers: weights per channel, activations per tensor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torchao.quantization.pt2e.observer import HistogramObserver, PerChannelMinMaxObserver
from torchao.quantization.pt2e.quantizer import QuantizationAnnotation, QuantizationSpec, Quantizer

from fairpress.core.errors import UserError, did_you_mean

aten = torch.ops.aten
WEIGHTED = (aten.conv2d.default, aten.conv2d.padding, aten.linear.default)
SUMS = (aten.add.Tensor, aten.add_.Tensor)
POOLS = (aten.max_pool2d.default, aten.avg_pool2d.default, aten.adaptive_avg_pool2d.default)
CLIPPING = torch.linspace(1.0, 0.08, 47)


class MseObserver(PerChannelMinMaxObserver):
    """Symmetric scale per output channel that minimises Σ(w − q(w))² over a grid of clipping ratios."""

    def calculate_qparams(self) -> tuple[torch.Tensor, torch.Tensor]:
        return self.best, torch.zeros_like(self.best, dtype=torch.int64)

    def forward(self, w: torch.Tensor) -> torch.Tensor:
        rows = w.detach().transpose(0, self.ch_axis).flatten(1).float()
        top = rows.abs().amax(1).clamp_min(1e-8) / self.quant_max
        scales = top[:, None] * CLIPPING.to(top)
        grid = scales[:, :, None]
        error = (
            rows[:, None] - (rows[:, None] / grid).round().clamp(self.quant_min, self.quant_max) * grid
        ).square()
        self.best = scales.gather(1, error.sum(-1).argmin(1, keepdim=True)).squeeze(1)
        return w


class BitQuantizer(Quantizer):
    """`weight_bits` everywhere but in `overrides` (layer → width); activations unsigned 8 bits.

    Weights take the symmetric range −(2^(b−1)−1) … 2^(b−1)−1, which keeps every zero point at 0.
    After `annotate`, `layers` maps each quantized layer to its width.
    """

    def __init__(self, weight_bits: int, overrides: dict[str, int], ranges: str) -> None:
        super().__init__()
        self.weight_bits, self.overrides, self.ranges = weight_bits, overrides, ranges
        self.layers: dict[str, int] = {}

    def annotate(self, model: torch.fx.GraphModule) -> torch.fx.GraphModule:
        for node in model.graph.nodes:
            if node.target in WEIGHTED:
                name = layer_of(node)
                bits = self.layers[name] = self.overrides.get(name, self.weight_bits)
                # Activation first: PT2E reads this map by position.
                _annotate(node, {node.args[0]: _activation(), node.args[1]: self._weight(bits)})
            elif node.target in SUMS and _all_images(node.args[:2]):
                # Without these, each residual sum is an island of float between two conversions.
                _annotate(node, {i: _activation() for i in node.args[:2]})
            elif node.target in POOLS:
                _annotate(node, {node.args[0]: _activation()})
        unknown = sorted(set(self.overrides) - set(self.layers))
        if unknown:
            raise UserError(
                f"there is no layer {unknown[0]!r} to quantize." + did_you_mean(unknown[0], self.layers)
            )
        return model

    def validate(self, model: torch.fx.GraphModule) -> None:
        """Nothing to add: `annotate` refuses what it cannot do."""

    def _weight(self, bits: int) -> QuantizationSpec:
        top = 2 ** (bits - 1) - 1
        return QuantizationSpec(
            dtype=torch.int8,
            quant_min=-top,
            quant_max=top,
            ch_axis=0,
            qscheme=torch.per_channel_symmetric,
            observer_or_fake_quant_ctr=MseObserver if self.ranges == "mse" else PerChannelMinMaxObserver,
        )


def layer_of(node: torch.fx.Node) -> str:
    """Return the qualified name of the module a node came from; ``""`` for code outside modules."""
    stack = node.meta.get("nn_module_stack")
    return str(list(stack.values())[-1][0]).replace("L['self'].", "") if stack else ""


def _activation() -> QuantizationSpec:
    return QuantizationSpec(
        dtype=torch.uint8,
        quant_min=0,
        quant_max=255,
        qscheme=torch.per_tensor_affine,
        observer_or_fake_quant_ctr=HistogramObserver,
    )


def _annotate(node: torch.fx.Node, inputs: dict[Any, QuantizationSpec]) -> None:
    node.meta["quantization_annotation"] = QuantizationAnnotation(input_qspec_map=inputs, _annotated=True)


def _all_images(nodes: Sequence[Any]) -> bool:
    """Tell whether all are float feature maps; sums of counters and scalars stay as they are."""
    return all(
        isinstance(n, torch.fx.Node) and n.meta["val"].dim() == 4 and n.meta["val"].is_floating_point()
        for n in nodes
    )
