"""Biases of convolutions behind negative numbers are integers, which changes nothing but the time in OpenVINO."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from fairpress.compression.quantization.batch_quantizer import BatchQuantizer, quantize_many
from fairpress.compression.quantized_graph import integer_biases
from fairpress.runtime.backends.onnxruntime import operators, run
from fairpress.runtime.backends.registry import choose, open_session
from trained import images


class Bottleneck(nn.Module):
    """Convolutions that read pixels, a ReLU, a sum of ReLUs, numbers of both signs, and a ReLU6."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Conv2d(i, 8, 1) for i in (3, 8, 8, 8, 8))
        self.head = nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.layers[0](x))
        x = x + torch.relu(self.layers[1](x))
        x = self.layers[2](x)
        x = nn.functional.relu6(self.layers[3](x))
        return self.head(torch.relu(self.layers[4](x)).mean((2, 3)))


@pytest.fixture(scope="module")
def created():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = Bottleneck()
    x, _ = images(128)
    x = 2 * x.float() - x.float().mean()
    return net, x, quantize_many(BatchQuantizer.from_module(net, x), [net.state_dict()], [x])[0]


def biases(data: bytes) -> dict[str, np.ndarray]:
    """Return the output of each convolution → its bias as stored."""
    graph = onnx.load_from_string(data).graph
    stored = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    producer = {o: n for n in graph.node for o in n.output}
    return {
        n.output[0]: stored[producer[n.input[2]].input[0] if n.input[2] in producer else n.input[2]]
        for n in graph.node
        if n.op_type == "Conv"
    }


def test_biases_behind_numbers_of_both_signs_are_integers(created):
    assert [str(b.dtype) for b in biases(created[2].onnx).values()] == [
        "int32",  # pixels
        "float32",  # a ReLU
        "float32",  # a sum of ReLUs
        "int32",
        "float32",  # a ReLU6
    ]


def test_onnxruntime_computes_the_same_numbers(created, monkeypatch):
    net, x, new = created
    monkeypatch.setattr(integer_biases, "_is_nonnegative", lambda *_: True)
    (old,) = quantize_many(BatchQuantizer.from_module(net, x), [net.state_dict()], [x])
    assert {str(b.dtype) for b in biases(old.onnx).values()} == {"float32"}
    assert operators(new.onnx) == operators(old.onnx)
    assert operators(new.onnx)["QLinearConv"] == 5
    assert np.array_equal(run(new.onnx, x.numpy()), run(old.onnx, x.numpy()))


def test_openvino_computes_the_same_numbers(created):
    pytest.importorskip("openvino")
    _, x, new = created
    expected = new.graph(x).numpy()
    computed = open_session(new.onnx, choose("openvino"), len(x)).run(x.numpy())
    assert np.abs(computed - expected).max() < 0.02 * np.abs(expected).max()


@pytest.mark.parametrize("share", [1e-4, 1e-6, 1e-9])
def test_channels_of_hardly_any_weights_keep_their_biases(share):
    """Batch norm leaves such channels: at the scale of their products, an int32 would not hold the bias."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        layers = (nn.Conv2d(3, 8, 3), nn.SiLU(), nn.Conv2d(8, 8, 3), nn.SiLU())
        net = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2)).eval()
    with torch.no_grad():
        for layer in (net[2], net[6]):
            layer.weight[1] *= share
            layer.bias[1] = 0.5
    x, _ = images(64)
    x = x.float() / x.float().std()
    file = quantize_many(BatchQuantizer.from_module(net, x), [net.state_dict()], [x])[0].onnx
    with torch.no_grad():
        expected = net(x)
    assert np.abs(run(file, x.numpy()) - expected.numpy()).max() < 0.05
    assert [str(b.dtype) for b in biases(file).values()] == ["int32", "int32"]
