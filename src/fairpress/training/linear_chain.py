"""Chains of linear layers and element-wise operators, for many networks at once, with one backward pass for all of it.

Autograd would record every operator of every layer in every step. A chain records nothing: its backward pass is that of its
operators in reverse order, most of them in place, and gives the gradients of autograd.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from fairpress.models.feature_scaling import LIMIT

Tensors = Mapping[str, Tensor]
Kept = tuple[Tensor, ...]


class ChainOperator(Protocol):
    """An operator on values [networks, rows, columns] that reads tensors [networks, …] by name.

    Attributes
    ----------
    parameters
        Names of the tensors that have a gradient.
    """

    @property
    def parameters(self) -> tuple[str, ...]: ...

    def forward(self, x: Tensor, tensors: Tensors) -> tuple[Tensor, Kept]:
        """Return the result, and what `backward` reads."""
        ...

    def backward(
        self, gradient: Tensor, kept: Sequence[Tensor], needs_input: bool
    ) -> tuple[Tensor | None, tuple[Tensor, ...]]:
        """Return the gradient of `x`, if `needs_input`, and those of the parameters; `gradient` may be overwritten."""
        ...


@dataclass(frozen=True)
class StackedScale:
    """(x − mean)/scale, clipped, with mean and scale [networks, columns] by these names."""

    mean: str
    scale: str
    parameters: tuple[str, ...] = ()

    def forward(self, x: Tensor, tensors: Tensors) -> tuple[Tensor, Kept]:
        scale = tensors[self.scale][:, None]
        exact = (x - tensors[self.mean][:, None]) / scale
        return exact.clamp(-LIMIT, LIMIT), (exact, scale)

    def backward(
        self, gradient: Tensor, kept: Sequence[Tensor], needs_input: bool
    ) -> tuple[Tensor | None, tuple[Tensor, ...]]:
        exact, scale = kept
        return gradient * (exact.abs() <= LIMIT) / scale if needs_input else None, ()


@dataclass(frozen=True)
class StackedLinear:
    """x Wᵀ + b, with weights [networks, out, in] and biases [networks, out] by these names."""

    weight: str
    bias: str | None

    @property
    def parameters(self) -> tuple[str, ...]:
        return (self.weight,) if self.bias is None else (self.weight, self.bias)

    def forward(self, x: Tensor, tensors: Tensors) -> tuple[Tensor, Kept]:
        weight = tensors[self.weight]
        if self.bias is None:
            return torch.bmm(x, weight.transpose(1, 2)), (x, weight)
        return torch.baddbmm(tensors[self.bias][:, None], x, weight.transpose(1, 2)), (x, weight)

    def backward(
        self, gradient: Tensor, kept: Sequence[Tensor], needs_input: bool
    ) -> tuple[Tensor | None, tuple[Tensor, ...]]:
        x, weight = kept
        # As autograd computes it: MKL sums some products in another order than their transposes.
        of_weight = torch.bmm(x.transpose(1, 2), gradient).transpose(1, 2)
        gradients = (of_weight,) if self.bias is None else (of_weight, gradient.sum(1))
        return torch.bmm(gradient, weight) if needs_input else None, gradients


@dataclass(frozen=True)
class StackedReLU:
    """max(x, 0), in place."""

    parameters: tuple[str, ...] = ()

    def forward(self, x: Tensor, tensors: Tensors) -> tuple[Tensor, Kept]:
        return x.relu_(), (x,)

    def backward(
        self, gradient: Tensor, kept: Sequence[Tensor], needs_input: bool
    ) -> tuple[Tensor | None, tuple[Tensor, ...]]:
        (result,) = kept
        return torch.ops.aten.threshold_backward.grad_input(gradient, result, 0, grad_input=gradient), ()


@dataclass(frozen=True)
class LinearChain:
    """Operators in the order they run.

    The last is a linear layer, and the first no ReLU: so neither inputs nor the gradient of the logits are overwritten.
    """

    operators: tuple[ChainOperator, ...]

    def __call__(self, tensors: Tensors, x: Tensor) -> Tensor:
        """Return the logits [networks, rows, classes] of inputs [networks, rows, columns]."""
        if not torch.is_grad_enabled():
            for operator in self.operators:
                x = operator.forward(x, tensors)[0]
            return x
        names = [name for operator in self.operators for name in operator.parameters]
        out: Tensor = _Chain.apply(self.operators, tensors, x, *(tensors[name] for name in names))
        return out


class _Chain(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, operators: Sequence[ChainOperator], tensors: Tensors, x: Tensor, *_: Tensor
    ) -> Tensor:
        kept: list[Tensor] = []
        ctx.records = []
        for operator in operators:
            start = len(kept)
            x, kept_by_operator = operator.forward(x, tensors)
            kept += kept_by_operator
            ctx.records.append((operator, slice(start, len(kept))))
        ctx.save_for_backward(*kept)
        return x

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        kept, first = ctx.saved_tensors, ctx.records[0][0]
        current: Tensor | None = gradient
        of_parameters: list[Tensor] = []
        for operator, part in reversed(ctx.records):
            if current is None:
                break
            needs_input = ctx.needs_input_grad[2] or operator is not first
            current, gradients = operator.backward(current, kept[part], needs_input)
            of_parameters[:0] = gradients
        return None, None, current, *of_parameters
