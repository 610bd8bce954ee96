"""Let torch's ONNX exporter prepare translations for the operators of a graph alone.

In every export it parses the source of several hundred translations and derives their signatures, for a graph that has
some thirty operators.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from threading import RLock
from typing import Any

from torch._ops import OpOverload
from torch.fx import Graph

ATEN = "aten::"
_changing = RLock()  # the registry is one for all threads


@contextmanager
def translations_of(graph: Graph) -> Iterator[None]:
    """Register onnxscript's translations for the operators of a graph within the context, and no others of aten."""
    names = {node.target._schema.name for node in graph.nodes if isinstance(node.target, OpOverload)}
    try:
        # The import of ops registers all translations.
        from onnxscript.function_libs.torch_lib import ops, registration  # noqa: F401

        with _changing:
            every = registration.default_registry
    except (ImportError, AttributeError):
        yield
        return
    with _changing:
        registration.default_registry = _Chosen(every, names)
        try:
            yield
        finally:
            registration.default_registry = every


def are_of_one_graph() -> bool:
    """Return whether the exporter sees the translations of one graph alone: within `translations_of`."""
    registration = sys.modules.get("onnxscript.function_libs.torch_lib.registration")
    return isinstance(getattr(registration, "default_registry", None), _Chosen)


class _Chosen:
    """The entries of a registry of translations for some operators of aten, and all others."""

    def __init__(self, registry: Any, names: Collection[str]) -> None:
        self._registry, self._names = registry, names

    def items(self) -> list[tuple[str, Any]]:
        return [
            (name, translations)
            for name, translations in self._registry.items()
            if not name.startswith(ATEN) or name.partition(".")[0] in self._names
        ]
