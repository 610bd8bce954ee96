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

import numpy as np
import onnx_ir as ir
import torch

aten = torch.ops.aten


@cache
def translate_attention() -> dict[Any, Callable[..., Any]]:
    """Return the ONNX translation of `scaled_dot_product_attention`, for `torch.onnx.export`.

    What is causal, repeats heads, or has a head of unknown size is translated as the exporter does.
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
        shapes = [x.shape for x in (query, key, value)]
        plain = all(shape is not None and len(shape) == 4 for shape in shapes)
        if is_causal or enable_gqa or dropout_p or not plain or not isinstance(shapes[0][-1], int):
            return exporter.aten_scaled_dot_product_attention(
                query, key, value, attn_mask, dropout_p, is_causal, scale, enable_gqa
            )
        dtype = query.dtype.numpy()

        def constant(number: float) -> Any:
            return op.Constant(value=ir.tensor(np.array(number, dtype)))

        factor = 1 / math.sqrt(shapes[0][-1]) if scale is None else scale
        scores = op.Mul(op.MatMul(query, op.Transpose(key, perm=[0, 1, 3, 2])), constant(factor))
        if attn_mask is not None:
            if attn_mask.dtype == ir.DataType.BOOL:
                # Not −∞: where a whole row is masked, its softmax would be NaN.
                attn_mask = op.Where(attn_mask, constant(0.0), constant(float(np.finfo(dtype).min)))
            scores = op.Add(scores, attn_mask)
        return op.MatMul(op.Softmax(scores, axis=-1), value)

    return {aten.scaled_dot_product_attention.default: attention}
