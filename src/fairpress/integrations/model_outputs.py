"""What a model in memory returns for batches of inputs: modules of PyTorch, compiled models, ONNX files, functions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from fairpress.core.errors import UserError

Call = Callable[[Any, Any], Any]
"""Receives a model and a batch, and returns the scores of its rows [rows, classes], or their classes [rows]."""

_LABELS = ("label", "labels")


def outputs_of(model: Any, batches: Iterable[Any], call: Call | None = None) -> list[Any]:
    """Return a model's outputs for each batch.

    Parameters
    ----------
    model
        A module of PyTorch (run without gradients and in evaluation mode, which is restored), a compiled model of OpenVINO,
        an ONNX model or session, or any function of a batch.
    batches
        Inputs; of a batch that is a tuple or list the first element is the input, and of a dictionary everything but the
        labels.
    call
        How to call the model, where it is called otherwise; of its result the `logits` or first output are taken.
    """
    with _evaluating(model):
        if call is None:
            run = _runner(model)
            return [_first(run(_inputs(batch))) for batch in batches]
        return [_first(call(model, batch)) for batch in batches]


@contextmanager
def _evaluating(model: Any) -> Iterator[None]:
    """Run a module of PyTorch without gradients and in evaluation mode; leave others alone."""
    if not (hasattr(model, "named_parameters") and hasattr(model, "eval")):
        yield
        return
    import torch

    training = {m for m in model.modules() if m.training}
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module in training:
            module.training = True


def _runner(model: Any) -> Callable[[Any], Any]:
    """Return the function that maps the inputs of a batch to a result."""
    if type(model).__name__ == "ModelProto":
        import onnxruntime

        model = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    if hasattr(model, "get_inputs") and hasattr(model, "run"):
        names = [x.name for x in model.get_inputs()]
        return lambda inputs: model.run(
            None, _array(inputs if isinstance(inputs, Mapping) else {names[0]: inputs})
        )
    if not callable(model):
        raise UserError(
            f"a {type(model).__name__} cannot be called with a batch; say how to run it with `call=`, a function of the "
            "model and a batch."
        )
    if hasattr(model, "named_parameters"):
        device = next((p.device for p in model.parameters()), None)
        return lambda inputs: (
            model(**{k: _on(device, v) for k, v in inputs.items()})
            if isinstance(inputs, Mapping)
            else model(_on(device, inputs))
        )
    return lambda inputs: model(_array(inputs))


def _on(device: Any, inputs: Any) -> Any:
    return inputs.to(device) if device is not None and hasattr(inputs, "to") else inputs


def _array(inputs: Any) -> Any:
    if isinstance(inputs, Mapping):
        return {name: _array(value) for name, value in inputs.items()}
    return inputs.detach().cpu().numpy() if hasattr(inputs, "detach") else inputs


def _inputs(batch: Any) -> Any:
    if isinstance(batch, tuple | list):
        return batch[0]
    if isinstance(batch, Mapping):
        return {name: value for name, value in batch.items() if name not in _LABELS}
    return batch


def _first(result: Any) -> Any:
    """Return the logits of a result that names them, else its first output; a list of classes as it is."""
    if hasattr(result, "logits"):
        return result.logits
    if isinstance(result, Mapping):
        return result["logits"] if "logits" in result else next(iter(result.values()))
    if isinstance(result, list) and result and np.ndim(_array(result[0])) == 0:
        return np.array([_array(value) for value in result])
    return result[0] if isinstance(result, tuple | list) else result
