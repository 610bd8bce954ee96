"""The number types in which a user's own network computes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from fairpress.core.errors import UserError


class OutputTypes(TorchDispatchMode):
    """Note the types of the tensors that operators return within the context."""

    supports_higher_order_operators = True  # such as torch.cond, of which the export has to judge

    def __init__(self) -> None:
        super().__init__()
        self.types: set[torch.dtype] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        self.types |= {value.dtype for value in tree_leaves(out) if isinstance(value, Tensor)}
        return out


def refuse_bfloat16(noted: OutputTypes) -> None:
    """Raise UserError if a float32 network computed in bfloat16, for which ONNX Runtime has no kernels."""
    if torch.bfloat16 in noted.types:
        raise UserError(
            "the network's forward computes in bfloat16 (autocast, or .bfloat16()), which no file for processors does; "
            "leave the conversion out, so that it computes in float32 throughout."
        )
