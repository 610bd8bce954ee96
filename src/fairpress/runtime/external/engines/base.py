"""What a runtime knows of a model file that it has loaded, and how it runs it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:
    import onnx


@dataclass(frozen=True)
class FileInput:
    """An input: its type in ONNX Runtime's notation, and its shape; free dimensions and unknown ranks are None."""

    name: str
    type: str
    shape: tuple[int | None, ...] | None

    def __str__(self) -> str:
        return f"{self.name} {self.type} {format_shape(self.shape)}"


class FileEngine(Protocol):
    """A model file, loaded by a runtime."""

    @property
    def title(self) -> str:
        """Return the name of the runtime in sentences."""
        ...

    @property
    def inputs(self) -> tuple[FileInput, ...]: ...

    @property
    def outputs(self) -> Mapping[str, str]:
        """Return output → its type in ONNX Runtime's notation, such as ``tensor(float)``."""
        ...

    @property
    def output_steps(self) -> Mapping[str, float]:
        """Return quantized output → the difference of neighbouring values; empty where outputs are floats."""
        ...

    @property
    def facts(self) -> Mapping[str, Any]:
        """What is needed to reproduce a run: ``runtime``, ``threads``, ``precision``, ``processor`` …"""
        ...

    @property
    def notes(self) -> tuple[str, ...]:
        """Return what was assumed in reading the file: sentences without a full stop."""
        ...

    @property
    def operators(self) -> frozenset[str]:
        """Return the operators of the file, by their names in ONNX; empty if they are unknown."""
        ...

    @property
    def max_rows(self) -> int | None:
        """Return the number of rows whose values in a call surely fit into memory; None if unknown."""
        ...

    @property
    def graph(self) -> onnx.GraphProto | None:
        """Return the graph of an ONNX file; None for other formats."""
        ...

    def operators_to(self, output: str) -> Iterator[str]:
        """Yield the operators that lead to an output, the last one first, by their names in ONNX, as far as known."""
        ...

    def run(self, names: list[str], feed: Mapping[str, np.ndarray]) -> list[Any]:
        """Return some outputs for the rows of a feed.

        Raises UserError with the cause if the runtime's limits are exceeded, and the runtime's own exceptions.
        """
        ...


def format_shape(shape: tuple[int | None, ...] | None) -> str:
    """Return a shape as text, such as [n, 3]: the free first dimension is the number of rows."""
    if shape is None:
        return "of unknown rank"
    texts = [("n" if i == 0 else "any") if d is None else str(d) for i, d in enumerate(shape)]
    return f"[{', '.join(texts)}]"
