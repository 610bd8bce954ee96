"""The weights that pruning may set to zero, and a mask that keeps zeros during fine-tuning."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def prunable(parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights [networks, out, in, …] among parameters [networks, …], without biases and scales of channels."""
    return {name: value for name, value in parameters.items() if value.dim() >= 3}


def keep_zeros(parameters: Mapping[str, Tensor]) -> Callable[[float, dict[str, Tensor]], None]:
    """Return a function that, after every step, resets the weights that are zero now."""
    masks = {name: (value.detach() != 0).to(value) for name, value in prunable(parameters).items()}

    def mask(_done: float, current: dict[str, Tensor]) -> None:
        for name, mask_values in masks.items():
            current[name].mul_(mask_values)

    return mask
