"""Imported once by the server that workers are forked from; takes what is installed."""

from __future__ import annotations

import contextlib

with contextlib.suppress(ImportError):
    import onnxruntime
    import torch
    import torchao.quantization.pt2e.quantize_pt2e  # noqa: F401
