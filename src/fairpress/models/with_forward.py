"""Give a network another forward."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn


def with_forward(module: nn.Module, forward: Callable[[nn.Module, Tensor], Any]) -> nn.Module:
    """Give a network another forward, in place; its layers and tensors keep their names."""
    kind = type(module)
    module.__class__ = type(kind.__name__, (kind,), {"forward": forward, "__module__": kind.__module__})
    return module
