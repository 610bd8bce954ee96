"""Run an ONNX file with ONNX Runtime."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from fairpress.core.errors import UserError
from fairpress.runtime.artifact import Artifact


def session(data: bytes, *, threads: int = 1, dump: str | None = None) -> Any:
    """Return an ONNX Runtime session on the CPU. Raises UserError when the bytes are no ONNX model.

    Parameters
    ----------
    threads
        Threads within an operator.
    dump
        Where to write the optimised graph.
    """
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    if dump is not None:
        options.optimized_model_filepath = dump
    try:
        return ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(
            f"this is no ONNX model that ONNX Runtime can load ({first}); export it again."
        ) from None


def run(data: bytes, inputs: np.ndarray, *, threads: int = 1, batch: int = 8192) -> np.ndarray:
    """Return the file's first output [rows, …] for inputs [rows, …]."""
    s = session(data, threads=threads)
    name = s.get_inputs()[0].name
    return np.concatenate(
        [s.run(None, {name: inputs[i : i + batch]})[0] for i in range(0, len(inputs), batch)]
    )


def scores(artifact: Artifact, inputs: np.ndarray, *, threads: int = 1) -> np.ndarray:
    """Return class probabilities [rows, classes], float32, by the activation on the card."""
    out = run(artifact.onnx, inputs, threads=threads)
    if artifact.card.activation == "softmax":
        shifted = np.exp(out - out.max(axis=1, keepdims=True))
        out = shifted / shifted.sum(axis=1, keepdims=True)
    elif artifact.card.activation == "sigmoid":
        positive = 1 / (1 + np.exp(-out.reshape(len(out), -1)[:, 0]))
        out = np.stack([1 - positive, positive], axis=1)
    return out.astype(np.float32)


def operators(data: bytes) -> Counter[str]:
    """Count the operators of the graph as ONNX Runtime optimises it for this machine."""
    import onnx

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "optimised.onnx"
        session(data, dump=str(path))
        return Counter(node.op_type for node in onnx.load(path).graph.node)


def identity() -> str:
    """Name the runtime that made predictions."""
    import onnxruntime as ort

    return f"onnxruntime {ort.__version__} CPU"
