"""Suppress deprecation warnings of torch's exporters, which serve one thread at a time."""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from threading import RLock
from typing import TypeVar

_LOGGERS = ("torch.onnx", "torch.export", "torch.utils._pytree", "torchao", "onnxscript")
"""torchao complains of its CUDA kernels where torch is a build for processors."""
_Graph = TypeVar("_Graph")
_exporting = RLock()  # tracing, the levels of loggers and the filters of warnings are those of all threads


@contextmanager
def suppress_exporter_warnings() -> Iterator[None]:
    """Suppress deprecation warnings of torch's exporters within the context, and no other warnings.

    Other threads wait for the end of the context: torch cannot trace two networks at a time.
    """
    with _exporting, _quiet():
        yield


@contextmanager
def _quiet() -> Iterator[None]:
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
