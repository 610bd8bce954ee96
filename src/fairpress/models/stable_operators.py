"""Operators that the exporter writes as formulas which overflow, written so that they do not."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch

aten = torch.ops.aten


@cache
def replace_unstable_operators() -> dict[Any, Callable[..., Any]]:
    """Return ONNX for log-sigmoid and log(exp a + exp b), for `torch.onnx.export`.

    Its own, log(sigmoid(x)) and log(exp(a) + exp(b)), are infinite beyond a logit of about 90, where torch is not. Rows
    that a file is checked on need not go that far.
    """
    from onnxscript import opset18 as op

    def log_sigmoid(self: Any) -> Any:
        return op.Neg(op.Softplus(op.Neg(self)))

    def logaddexp(self: Any, other: Any) -> Any:
        return op.Add(op.Max(self, other), op.Softplus(op.Neg(op.Abs(op.Sub(self, other)))))

    return {aten.log_sigmoid.default: log_sigmoid, aten.logaddexp.default: logaddexp}
