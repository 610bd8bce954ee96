"""Networks of one architecture as ONNX: exported once, then refilled with each network's weights."""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from fairpress.runtime.pack import finish

INPUT, OUTPUT = "x", "y"


class Folded(ValueError):
    """The exporter made one constant of several weights, so that a file cannot be refilled."""


def export_many(module: nn.Module, states: Sequence[Mapping[str, Tensor]], example: Tensor) -> list[bytes]:
    """Return one ONNX file (logits out) for each state of a network.

    Parameters
    ----------
    module
        The network; it is not changed.
    states
        A state dict for each file.
    example
        Inputs [rows, …] with two rows or more (one row would fix the batch size).
    """
    module = copy.deepcopy(module).cpu().eval()
    module.load_state_dict(dict(states[0]))
    template = export_graph(module, example)
    try:
        return [finish(refill(template, states[0], state)) for state in states]
    except Folded:  # batch norm becomes part of a convolution: such a network is exported by itself
        files = [finish(template)]
    for state in states[1:]:
        module.load_state_dict(dict(state))
        files.append(finish(export_graph(module, example)))
    return files


def export_graph(module: nn.Module, example: Tensor) -> onnx.ModelProto:
    """Return the exporter's graph of an evaluation-mode module, input ``x``, output ``y``, any batch size."""
    batch = torch.export.Dim("batch", min=1, max=2**20)
    with quiet():
        program = torch.onnx.export(
            module,
            (example,),
            dynamo=True,
            dynamic_shapes=({0: batch},),
            input_names=[INPUT],
            output_names=[OUTPUT],
            verbose=False,
        )
    assert program is not None
    return program.model_proto


def refill(
    template: onnx.ModelProto, before: Mapping[str, Tensor], after: Mapping[str, Tensor]
) -> onnx.ModelProto:
    """Return a copy of the template in which every tensor of `before` holds the value it has in `after`.

    Raises
    ------
    Folded
        A tensor of the state is not stored under its name and with its value: the exporter folded it,
        and a refilled file would keep the first network's value.
    """
    model = onnx.ModelProto()
    model.CopyFrom(template)
    initializers = {t.name: t for t in model.graph.initializer}
    for name, value in before.items():
        old = value.detach().cpu().numpy()
        tensor = initializers.get(name)
        if tensor is None or not np.array_equal(numpy_helper.to_array(tensor), old):
            raise Folded(f"the exporter did not keep {name!r} as a weight of its own")
        tensor.CopyFrom(numpy_helper.from_array(after[name].detach().cpu().numpy().astype(old.dtype), name))
    return model


@contextmanager
def quiet() -> Iterator[None]:
    """Hold back what torch's exporters say about their own future; nothing else."""
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
                "ignore", message=r".*(LeafSpec|isinstance\(treespec|torch\.jit|erase_node).*"
            )
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
