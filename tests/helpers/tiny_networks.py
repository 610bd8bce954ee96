"""Small networks built by hand, in floats and in quantized form; no torch."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from fairpress.core.card import ModelCard
from fairpress.datasets.dataset import Dataset, Task
from fairpress.runtime.artifact import Artifact
from fairpress.runtime.onnx.weight_packing import pack_weights


def _file(nodes, shape, weights, *, kind=TensorProto.FLOAT, classes=2, opset=21, ir=10, bits=None) -> bytes:
    x = helper.make_tensor_value_info("x", kind, shape)
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [shape[0], classes])
    tensors = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "g", [x], [y], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir)
    if bits is not None:
        pack_weights(model, {"w": bits})
    onnx.checker.check_model(model)
    return model.SerializeToString()


def linear(columns: int = 4, batch: int | str = "n", seed: int = 0) -> bytes:
    """x [n, columns] → logits [n, 2]."""
    rng = np.random.default_rng(seed)
    weights = {"w": rng.normal(size=(columns, 2)).astype(np.float32), "b": np.float32([0.1, -0.1])}
    return _file([helper.make_node("Gemm", ["x", "w", "b"], ["y"])], [batch, columns], weights)


def chain(layers: int, width: int) -> bytes:
    """x [n, width] through `layers` products of width × width; the time of a call is theirs."""
    rng = np.random.default_rng(0)
    weights = {
        f"w{i}": (rng.normal(size=(width, width)) / width**0.5).astype(np.float32) for i in range(layers)
    }
    nodes = [
        helper.make_node(
            "MatMul", ["x" if i == 0 else f"h{i}", f"w{i}"], ["y" if i == layers - 1 else f"h{i + 1}"]
        )
        for i in range(layers)
    ]
    return _file(nodes, ["n", width], weights, classes=width)


def pixels(side: int = 8, batch: int | str = "n") -> bytes:
    """uint8 x [n, 3, side, side] → float / 255 → mean of each colour → logits [n, 2]."""
    rng = np.random.default_rng(0)
    weights = {
        "w": rng.normal(size=(3, 2)).astype(np.float32),
        "b": np.float32([0, 0]),
        "top": np.float32(255),
        "axes": np.int64([2, 3]),
    }
    nodes = [
        helper.make_node("Cast", ["x"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("Div", ["f", "top"], ["d"]),
        helper.make_node("ReduceMean", ["d", "axes"], ["m"], keepdims=0),
        helper.make_node("Gemm", ["m", "w", "b"], ["y"]),
    ]
    return _file(nodes, [batch, 3, side, side], weights, kind=TensorProto.UINT8)


def quantized(weights: np.ndarray, *, bits: int = 8, scale: float = 1.0) -> bytes:
    """Unsigned 8-bit x times a signed matrix of `bits`, summed exactly: y = round(x) @ weights · scale, in QDQ form.

    The zero points of input and output are one constant, as in a file whose equal constants are stored once.
    """
    constants = {
        "w": weights.astype(np.int8),
        "one": np.float32(1),
        "w_scale": np.full(weights.shape[1], scale, np.float32),
        "zero_u": np.uint8(0),
        "zero_s": np.zeros(weights.shape[1], np.int8),
        "b": np.zeros(weights.shape[1], np.int32),
        "zero_b": np.zeros(weights.shape[1], np.int32),
    }
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "one", "zero_u"], ["xq"]),
        helper.make_node("DequantizeLinear", ["xq", "one", "zero_u"], ["xd"]),
        helper.make_node("DequantizeLinear", ["w", "w_scale", "zero_s"], ["wd"], axis=1),
        helper.make_node("DequantizeLinear", ["b", "w_scale", "zero_b"], ["bd"], axis=0),
        helper.make_node("Gemm", ["xd", "wd", "bd"], ["y"]),
    ]
    shape = ["n", weights.shape[0]]
    return _file(nodes, shape, constants, classes=weights.shape[1], bits=None if bits == 8 else bits)


def artifact(
    data: bytes, shape: list[int], columns: tuple[str, ...] = (), *, trained_on=None, **card
) -> Artifact:
    """A model of the label y (no, yes) of the datasets below."""
    card["data"] = trained_on or {}
    inputs = {"name": "x", "shape": shape, "columns": list(columns), **card.pop("inputs", {})}
    return Artifact(ModelCard("y", ("no", "yes"), "yes", {"name": "hand-made"}, inputs, **card), data)


def images(pixels_: np.ndarray) -> Dataset:
    """A dataset of images, every second one a test row."""
    n = len(pixels_)
    ids = np.array([f"i{i}" for i in range(n)])
    labels = np.arange(n) % 3 // 2
    test = np.arange(0, n, 2)
    return Dataset(
        "faces",
        Task("y", ("no", "yes"), "yes"),
        pixels_,
        (),
        labels,
        {"sex": np.where(np.arange(n) % 5 < 2, "Female", "Male")},
        ids,
        ids,
        {"test": test, "validation": np.arange(1, n, 2)},
        "made",
    )
