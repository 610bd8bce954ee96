"""Numerically stable ONNX translations of operators whose default translation overflows."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch

aten = torch.ops.aten


@cache
def replace_unstable_operators() -> dict[Any, Callable[..., Any]]:
    """Return ONNX translations of log-sigmoid and log(exp a + exp b), for `torch.onnx.export`.

    The exporter's translations, log(sigmoid(x)) and log(exp(a) + exp(b)), are infinite beyond a logit of about 90, where
    torch is finite; the check of a file may not reach such values.
    """
    from onnxscript import opset18 as op

    def log_sigmoid(self: Any) -> Any:
        return op.Neg(op.Softplus(op.Neg(self)))

    def logaddexp(self: Any, other: Any) -> Any:
        return op.Add(op.Max(self, other), op.Softplus(op.Neg(op.Abs(op.Sub(self, other)))))

    return {aten.log_sigmoid.default: log_sigmoid, aten.logaddexp.default: logaddexp}
