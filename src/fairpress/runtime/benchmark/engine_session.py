"""External files in other formats than ONNX as sessions of a benchmark."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fairpress.core.errors import UserError
from fairpress.runtime.backends.base import Backend, Input
from fairpress.runtime.backends.cast import NUMPY
from fairpress.runtime.benchmark.inputs import check_shape
from fairpress.runtime.external.engines.base import FileEngine
from fairpress.runtime.external.engines.registry import load, load_to_time


class EngineSession:
    """A file with one input, loaded by its runtime; quantized values are passed as the file holds them."""

    def __init__(self, engine: FileEngine) -> None:
        self._engine = engine
        self.input = input_of_engine(engine, "the file")
        self._outputs = list(engine.outputs)[:1]

    @property
    def facts(self) -> Mapping[str, Any]:
        return self._engine.facts

    def run(self, rows: np.ndarray) -> np.ndarray:
        return np.asarray(self._engine.run(self._outputs, {self.input.name: rows})[0])


def input_of_file(path: Path, runtime: Backend, model_name: str) -> Input:
    """Return the one input of a file, as it holds values; its first dimension is 1 if it takes one row in a call.

    Raises
    ------
    UserError
        The runtime cannot load the file, or rows cannot be generated for its inputs.
    """
    try:
        load(path, runtime)
    except UserError as error:
        raise type(error)(f"{model_name}: {error}") from None
    spec = input_of_engine(load_to_time(path, runtime), model_name)
    check_shape(spec, model_name)
    return spec


def input_of_engine(engine: FileEngine, model_name: str) -> Input:
    """Return the one input of a loaded file. Raises UserError if it has several, or one of another kind than numbers."""
    inputs = engine.inputs
    if len(inputs) != 1:
        names = ", ".join(i.name for i in inputs) or "none"
        raise UserError(
            f"{model_name} has {len(inputs)} inputs ({names}); bench supports files with one input of known shape."
        )
    dtype = NUMPY.get(inputs[0].type)
    if dtype is None or inputs[0].type == "tensor(string)":
        raise UserError(
            f"{model_name}: its input {inputs[0].name!r} takes {inputs[0].type}, which bench cannot generate; export it "
            "with an input of floats or integers."
        )
    shape = inputs[0].shape or ()
    if shape and engine.facts.get("rows_per_call") == 1:
        shape = (1, *shape[1:])
    if len(shape) == 2 and shape[1] is None and np.dtype(dtype).kind in "iu":
        raise UserError(
            f"{model_name}: its input {inputs[0].name!r} takes token ids of any length, and bench times texts in ONNX files "
            "alone; time the model folder that it was exported from, with --length."
        )
    return Input(inputs[0].name, shape, np.dtype(dtype))
