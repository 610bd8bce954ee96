"""Values are quantized before they are reshaped and transposed, and no number changes."""

from __future__ import annotations

from functools import partial

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from fairpress.compression.quantization.batch_quantizer import BatchQuantizer, quantize_many
from fairpress.compression.quantized_graph import onnx_template
from fairpress.compression.quantized_graph.integer_reshapes import quantize_before_reshapes
from fairpress.runtime.backends import registry
from fairpress.runtime.backends.onnxruntime import kernels, run
from trained import images


class Averaged(nn.Module):
    """A mean over the pixels, flattened for the last layer, as most convolutional networks end."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.head = nn.Conv2d(3, 8, 3, padding=1), nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.adaptive_avg_pool2d(torch.relu(self.first(x)), 1)
        return self.head(torch.flatten(x, 1))


class Attentive(nn.Module):
    """Attention over the rows of an image, whose heads are put together before a layer reads them."""

    def __init__(self) -> None:
        super().__init__()
        self.mixed, self.out, self.head = nn.Linear(24, 72), nn.Linear(24, 24), nn.Linear(24, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = x.permute(0, 2, 1, 3).flatten(2)
        q, k, v = self.mixed(x).unflatten(-1, (3, 2, 12)).permute(2, 0, 3, 1, 4)
        x = nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        return self.head(self.out(x).mean(1))


@pytest.mark.parametrize("architecture", [Averaged, Attentive])
def test_integers_are_reshaped_and_the_numbers_stay(architecture, monkeypatch):
    torch.manual_seed(0)
    net, (x, _) = architecture(), images(128)
    create = partial(quantize_many, states=[net.state_dict()], calibration=[x])
    (new,) = create(BatchQuantizer.from_module(net, x))
    monkeypatch.setattr(onnx_template, "quantize_before_reshapes", lambda _: None)
    (old,) = create(BatchQuantizer.from_module(net, x))
    assert np.array_equal(run(new.onnx, x.numpy()), run(old.onnx, x.numpy()))
    assert kernels(new.onnx) == kernels(old.onnx)
    before, after = (onnx.load_from_string(q.onnx).graph for q in (old, new))
    producer = {o: n for n in after.node for o in n.output}
    quantized = [
        producer[n.input[0]].op_type
        for n in after.node
        if n.op_type == "QuantizeLinear" and n.input[0] != "x"
    ]
    assert quantized
    assert not {"Reshape", "Flatten", "Transpose"} & set(quantized)
    assert len(after.node) == len(before.node)
    pytest.importorskip("openvino")
    openvino = registry.choose("openvino")
    assert registry.kernels(new.onnx, openvino).floating == 0
    conversions = [registry.kernels(q.onnx, openvino).conversions for q in (old, new)]
    assert conversions[1] < conversions[0]


def graph_of(*nodes: onnx.NodeProto, outputs: tuple[str, ...] = ("y",)) -> onnx.ModelProto:
    values = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, None]) for name in ("x", *outputs)
    ]
    stored = [
        numpy_helper.from_array(np.array(value), name)
        for name, value in (("s", np.float32(0.1)), ("z", np.uint8(3)), ("shape", np.array([-1, 4])))
    ]
    graph = helper.make_graph(nodes, "g", values[:1], values[1:], stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)])


QUANTIZE = [
    helper.make_node("QuantizeLinear", ["r", "s", "z"], ["q"]),
    helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"]),
]
RESHAPE = helper.make_node("Reshape", ["x", "shape"], ["r"])


def kinds(model: onnx.ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node]


def test_all_reshapes_that_nothing_else_reads_follow_the_conversion():
    transposed = helper.make_node("Transpose", ["t"], ["r"], perm=[1, 0])
    reshaped = helper.make_node("Reshape", ["x", "shape"], ["t"])
    model = graph_of(reshaped, transposed, *QUANTIZE, helper.make_node("Relu", ["d"], ["y"]))
    quantize_before_reshapes(model)
    assert kinds(model) == ["QuantizeLinear", "DequantizeLinear", "Reshape", "Transpose", "Relu"]
    onnx.checker.check_model(model)


@pytest.mark.parametrize(
    "model",
    [
        graph_of(RESHAPE, *QUANTIZE, helper.make_node("Add", ["d", "r"], ["y"])),
        graph_of(RESHAPE, *QUANTIZE, helper.make_node("Relu", ["d"], ["y"]), outputs=("y", "r")),
        graph_of(RESHAPE, *QUANTIZE[:1], helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"])),
        graph_of(
            helper.make_node("QuantizeLinear", ["x", "s", "z"], ["i"]),
            helper.make_node("DequantizeLinear", ["i", "s", "z"], ["f"]),
            helper.make_node("Reshape", ["f", "shape"], ["r"]),
            *QUANTIZE,
            helper.make_node("Relu", ["d"], ["y"]),
        ),
    ],
    ids=["read in float", "an output", "ends the graph", "of integers"],
)
def test_other_conversions_stay_where_they_are(model):
    before = kinds(model)
    quantize_before_reshapes(model)
    assert kinds(model) == before
