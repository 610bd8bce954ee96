"""Suppress deprecation warnings of torch's exporters."""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

_LOGGERS = ("torch.onnx", "torch.export", "torch.utils._pytree", "torchao", "onnxscript")
"""torchao complains of its CUDA kernels where torch is a build for processors."""
_Graph = TypeVar("_Graph")


@contextmanager
def suppress_exporter_warnings() -> Iterator[None]:
    """Suppress deprecation warnings of torch's exporters within the context, and no other warnings."""
    loggers = [logging.getLogger(name) for name in _LOGGERS]
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


def copy_graph(graph: _Graph) -> _Graph:
    """Return a deep copy of an exported graph, of which torch 2.13 warns."""
    with suppress_exporter_warnings():
        return copy.deepcopy(graph)
