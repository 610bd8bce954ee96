"""Let torch's ONNX exporter read its translations of operators once in a process.

It parses the source of some 500 functions for each export, which takes longer than the rest for a small network.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from fairpress.models.translated_operators import are_of_one_graph

_tables: dict[tuple[Any, ...], Any] = {}


@contextmanager
def translations_read_once() -> Iterator[None]:
    """Keep the exporter's table of translations within the context, for later ones; each export gets a copy.

    The table leaves out operators that torch does not know yet, such as torchao's before its import, so it is built again
    once torch knows others. Nothing is kept of the translations of one graph alone (`translations_of`), nor with a release
    of torch whose exporter has no such table.
    """
    try:
        from torch.onnx._internal.exporter._registration import ONNXRegistry

        original = ONNXRegistry.__dict__["from_torchlib"]
    except (ImportError, KeyError):
        yield
        return
    build: Any = ONNXRegistry.from_torchlib

    def from_torchlib(*args: Any, **kwargs: Any) -> Any:
        if are_of_one_graph():
            return build(*args, **kwargs)
        key = (len(torch._C._dispatch_get_all_op_names()), args, tuple(kwargs.items()))
        if key not in _tables:
            _tables[key] = build(*args, **kwargs)
        table = copy.copy(_tables[key])
        table.functions = {target: list(entries) for target, entries in table.functions.items()}
        return table

    ONNXRegistry.from_torchlib = staticmethod(from_torchlib)
    try:
        yield
    finally:
        ONNXRegistry.from_torchlib = original
