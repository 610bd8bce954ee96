"""Imported once by the server that workers are forked from; takes what is installed."""

from __future__ import annotations

import contextlib
import logging

# torchao registers its enums in a way that torch says it will not need in future.
logging.getLogger("torch.utils._pytree").setLevel(logging.ERROR)

with contextlib.suppress(ImportError):
    import onnxruntime  # noqa: F401
    import torch  # noqa: F401
    import torchao.quantization.pt2e.quantize_pt2e  # noqa: F401
