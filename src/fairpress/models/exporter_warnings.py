"""Suppress deprecation warnings of torch's exporters."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def suppress_exporter_warnings() -> Iterator[None]:
    """Suppress deprecation warnings of torch's exporters within the context, and no other warnings."""
    loggers = [
        logging.getLogger(n) for n in ("torch.onnx", "torch.export", "torch.utils._pytree", "onnxscript")
    ]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            for category in (DeprecationWarning, FutureWarning, PendingDeprecationWarning):
                warnings.filterwarnings(
                    "ignore", category=category, module=r"(torch|torchao|onnxscript|onnx_ir|copyreg)\b"
                )
            warnings.filterwarnings(
                "ignore",
                message=r".*(LeafSpec|isinstance\(treespec|assigned during export|torch\.jit|erase_node).*",
            )
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
