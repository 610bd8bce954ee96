"""The ONNX translation of scaled dot-product attention: softmax(c·q·kᵀ + mask)·v, as runtimes fuse it.

The exporter's translation reshapes the keys to three axes, transposes and reshapes them again, and multiplies queries and
keys by √c each: four passes over memory, of which OpenVINO fuses none with the products. A transposition of four axes is
fused, and the scores are multiplied once.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import onnx_ir as ir
import torch

aten = torch.ops.aten


@cache
def translate_attention() -> dict[Any, Callable[..., Any]]:
    """Return the ONNX translation of `scaled_dot_product_attention`, for `torch.onnx.export`.

    What is causal, repeats heads, or has a head of unknown size is translated as the exporter does. A query to which a mask
    leaves no key gets 0, as in PyTorch.
    """
    from onnxscript import opset18 as op
    from onnxscript.function_libs.torch_lib.ops import nn as exporter

    def attention(
        query: Any,
        key: Any,
        value: Any,
        attn_mask: Any = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> Any:
        def constant(number: float) -> Any:
            return op.Constant(value=ir.tensor(number, query.dtype))

        known = None not in (query.shape, key.shape) and isinstance(query.shape[-1], int)
        boolean = attn_mask is not None and attn_mask.dtype == ir.DataType.BOOL
        lowest = query.dtype.min  # Not −∞: where a whole row is masked, its softmax would be NaN.
        mask = op.Where(attn_mask, constant(0.0), constant(lowest)) if boolean else attn_mask
        if is_causal or enable_gqa or dropout_p or not known:
            out = exporter.aten_scaled_dot_product_attention(
                query, key, value, mask, dropout_p, is_causal, scale, enable_gqa
            )
        else:
            factor = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
            *first, length, size = range(len(key.shape))
            scores = op.MatMul(query, op.Transpose(key, perm=[*first, size, length]))
            scores = op.Mul(scores, constant(factor))
            scores = scores if mask is None else op.Add(scores, mask)
            out = op.MatMul(op.Softmax(scores, axis=-1), value)
        if mask is None:
            return out
        # The softmax of a query to which the mask leaves no key is uniform, or NaN.
        highest = op.ReduceMax(mask, op.Constant(value_ints=[-1]), keepdims=True)
        nothing = op.Equal(highest, constant(lowest if boolean else -math.inf))
        return op.Where(nothing, constant(0.0), out)

    return {aten.scaled_dot_product_attention.default: attention}
