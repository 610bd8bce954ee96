"""Zero points of weights: common to layers of one kind, separate where the rank of the weights differs."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from fairpress.compression.quantization.batch_quantizer import BatchQuantizer, quantize_many
from fairpress.compression.quantized_graph.scheme import Scheme
from fairpress.runtime.backends.base import Backend, prepare_file
from fairpress.runtime.backends.onnxruntime import run

BATCH = 4


class Patches(nn.Module):
    """Patches of a picture, and two linear layers with as many channels as the convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 32, 4, 4)
        self.norm = nn.LayerNorm(32)
        self.linear = nn.Sequential(nn.Linear(32, 32), nn.GELU(), nn.Linear(32, 32))
        self.head = nn.Linear(32, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens = self.patches(x).flatten(2).transpose(1, 2)
        logits: torch.Tensor = self.head((tokens + self.linear(self.norm(tokens))).mean(1))
        return logits


@pytest.fixture(scope="module")
def rows() -> torch.Tensor:
    return torch.rand(16, 3, 16, 16, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module", params=[8, 4, 3])
def file(request, rows) -> bytes:
    torch.manual_seed(0)
    network = Patches().eval()
    engine = BatchQuantizer.from_module(network, rows)
    (made,) = quantize_many(engine, [network.state_dict()], [rows], Scheme(request.param))
    return made.onnx


def zero_points(data: bytes) -> list[str]:
    graph = onnx.load_from_string(data).graph
    channels = {
        t.name for t in graph.initializer if list(t.dims) == [32] and t.data_type == onnx.TensorProto.INT8
    }
    points = [n.input[2] for n in graph.node if n.op_type == "DequantizeLinear" and len(n.input) > 2]
    return [name for name in points if name in channels]


def test_a_convolution_and_linear_layers_have_separate_zero_points(file):
    assert sorted(zero_points(file).count(name) for name in set(zero_points(file))) == [1, 2]


def test_openvino_multiplies_integers_for_a_fixed_number_of_rows(file, rows):
    openvino = pytest.importorskip("openvino")
    core = openvino.Core()
    model = core.read_model(prepare_file(file, Backend("openvino")))
    model.reshape([BATCH, 3, 16, 16])
    compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    facts = [node.get_rt_info() for node in compiled.get_runtime_model().get_ops()]
    kinds = [(f["layerType"].astype(str), f["runtimePrecision"].astype(str)) for f in facts]
    layers = [precision for kind, precision in kinds if kind in ("Convolution", "FullyConnected")]
    assert layers == ["u8"] * 4
    found = compiled(rows[:BATCH].numpy())[0]
    assert np.allclose(found, run(file, rows[:BATCH].numpy()), atol=0.05)
