"""A fake-quantized graph of scaled columns, linear layers and ReLUs as a `LinearChain`, to run many networks at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Node
from torch.nn.utils.rnn import pad_sequence

from fairpress.compression.quantized_graph.fake_quantize import FakeQuantizeActivation, FakeQuantizeWeight
from fairpress.compression.quantized_graph.range_estimators import Histogram
from fairpress.models.feature_scaling import LIMIT
from fairpress.training.linear_chain import (
    ChainOperator,
    Kept,
    LinearChain,
    StackedLinear,
    StackedReLU,
    StackedScale,
    Tensors,
)

aten = torch.ops.aten


@dataclass(frozen=True)
class RoundedLinear:
    """A `StackedLinear` whose weights are rounded as by `FakeQuantizeWeight`; their gradient passes unchanged."""

    linear: StackedLinear
    module: str
    low: int
    high: int

    @property
    def parameters(self) -> tuple[str, ...]:
        return self.linear.parameters

    def rounded(self, tensors: Tensors) -> Tensor:
        """Return the rounded weights [networks, out, in]."""
        weight, scale = tensors[self.linear.weight].detach(), tensors[f"{self.module}.scale"][..., None]
        return (weight * scale.reciprocal()).round_().clamp_(self.low, self.high).mul_(scale)

    def forward(self, x: Tensor, tensors: Tensors) -> tuple[Tensor, Kept]:
        weight, rounded = tensors[self.linear.weight].detach(), self.rounded(tensors)
        rounded.sub_(weight).add_(weight)  # as in training; the sum is not always exact
        return self.linear.forward(x, {**tensors, self.linear.weight: rounded})

    def backward(
        self, gradient: Tensor, kept: Sequence[Tensor], needs_input: bool
    ) -> tuple[Tensor | None, tuple[Tensor, ...]]:
        return self.linear.backward(gradient, kept, needs_input)


@dataclass(frozen=True)
class RoundedActivation:
    """What `FakeQuantizeActivation` computes, and its gradient: 1 within the range, 0 outside."""

    module: str
    low: float
    high: float
    parameters: tuple[str, ...] = ()

    def forward(self, x: Tensor, tensors: Tensors) -> tuple[Tensor, Kept]:
        scale, zero = (tensors[f"{self.module}.{name}"][:, None, None] for name in ("scale", "zero_point"))
        inverse = scale.reciprocal()
        exact = (x * inverse).add_(zero)
        levels = exact.clamp(self.low, self.high).round_()
        return levels.sub_(zero).mul_(scale), (exact, scale, inverse)

    def backward(
        self, gradient: Tensor, kept: Sequence[Tensor], needs_input: bool
    ) -> tuple[Tensor | None, tuple[Tensor, ...]]:
        if not needs_input:
            return None, ()
        exact, scale, inverse = kept
        gradient = gradient.mul_(scale)
        aten.hardtanh_backward.grad_input(gradient, exact, self.low, self.high, grad_input=gradient)
        return gradient.mul_(inverse), ()


def rounded_chain(graph: GraphModule) -> LinearChain | None:
    """Return the operators of a prepared graph; None if it has others, or channels of different widths in a layer."""
    modules = dict(graph.named_modules())
    operators: list[ChainOperator] = []
    (node,) = (n for n in graph.graph.nodes if n.op == "placeholder")
    while len(node.users) == 1:
        (user,) = node.users
        if user.op == "output":
            return LinearChain(tuple(operators)) if operators and _is_linear(operators[-1]) else None
        operator, node = _operator(node, user, modules)
        if operator is None or (isinstance(operator, StackedReLU) and not operators):
            return None
        operators.append(operator)
    return None


@torch.no_grad()
def activation_histograms(
    chain: LinearChain, tensors: Tensors, rows: Sequence[Tensor]
) -> dict[str, list[Histogram]]:
    """Return the histograms of what each `RoundedActivation` reads, one for each network, by the names of its module.

    Weights are rounded as in evaluation mode, and activations are not.

    Parameters
    ----------
    tensors
        Tensors [networks, …] by name.
    rows
        Inputs [rows, columns] of each network.
    """
    # Parts of a table differ by a few rows: what is computed of the rows that pad the shorter ones is left out.
    x, histograms = pad_sequence(list(rows), batch_first=True), dict[str, list[Histogram]]()
    for operator in chain.operators:
        if isinstance(operator, RoundedActivation):
            histograms[operator.module] = [Histogram() for _ in rows]
            for histogram, values, inputs in zip(histograms[operator.module], x, rows, strict=True):
                histogram.add(values[: len(inputs)])
        elif isinstance(operator, RoundedLinear):
            x, _ = operator.linear.forward(x, {**tensors, operator.linear.weight: operator.rounded(tensors)})
        else:
            x, _ = operator.forward(x, tensors)
    return histograms


def _is_linear(operator: ChainOperator) -> bool:
    return isinstance(operator, StackedLinear | RoundedLinear)


def _operator(value: Node, node: Node, modules: Mapping[str, nn.Module]) -> tuple[ChainOperator | None, Node]:
    """Return the operator that reads a value, and the node of its result."""
    if node.target is aten.relu.default:
        return StackedReLU(), node
    if node.op == "call_module":
        module = modules[str(node.target)]
        if type(module) is FakeQuantizeActivation:
            return RoundedActivation(str(node.target), float(module.quant_min), float(module.quant_max)), node
    if node.target is aten.sub.Tensor:
        return _scale(value, node)
    if node.target is aten.linear.default and node.args[0] is value:
        return _linear(node, modules), node
    return None, node


def _scale(value: Node, difference: Node) -> tuple[ChainOperator | None, Node]:
    quotient = next(iter(difference.users))
    clipped = next(iter(quotient.users))
    if (
        difference.args[0] is value
        and (quotient.target, quotient.args[0]) == (aten.div.Tensor, difference)
        and (clipped.target, clipped.args) == (aten.clamp.default, (quotient, -LIMIT, LIMIT))
        and len(difference.users) == len(quotient.users) == 1
    ):
        mean, scale = difference.args[1], quotient.args[1]
        if _is_stored(mean) and _is_stored(scale):
            return StackedScale(str(mean.target), str(scale.target)), clipped
    return None, clipped


def _is_stored(node: Any) -> TypeGuard[Node]:
    return isinstance(node, Node) and node.op == "get_attr"


def _linear(node: Node, modules: Mapping[str, nn.Module]) -> ChainOperator | None:
    weight, bias = node.args[1], node.args[2] if len(node.args) > 2 else None
    if not isinstance(weight, Node) or len(weight.users) > 1 or not (bias is None or _is_stored(bias)):
        return None
    name = None if bias is None else str(bias.target)
    if weight.op == "get_attr":
        return StackedLinear(str(weight.target), name)
    module = modules.get(str(weight.target)) if weight.op == "call_module" else None
    if type(module) is not FakeQuantizeWeight or module.top is not None or len(weight.args[0].users) > 1:
        return None
    linear = StackedLinear(str(weight.args[0].target), name)
    return RoundedLinear(linear, str(weight.target), module.quant_min, module.quant_max)
