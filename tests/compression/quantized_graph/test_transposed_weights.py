"""Weights of products of matrices are stored as the product reads them, and are checked in their own order."""

from __future__ import annotations

from importlib import util

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import nn

from fairpress.compression.errors import VerificationError
from fairpress.compression.quantization.batch_quantizer import BatchQuantizer, Quantized, quantize_many
from fairpress.compression.quantized_graph import onnx_template
from fairpress.compression.quantized_graph.onnx_template import integers_of, numbers
from fairpress.compression.quantized_graph.scheme import Scheme
from fairpress.compression.verification.checks import check_file, stored_weights
from fairpress.compression.verification.numbers import check_values
from fairpress.runtime.backends.base import Backend
from fairpress.runtime.backends.registry import open_session


class Tokens(nn.Module):
    """Linear layers of positions, whose products are of matrices, and one of rows. The last two share a weight."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.inner, self.outer, self.twice = nn.Linear(16, 24), nn.Linear(24, 16), nn.Linear(16, 16)
        self.head = nn.Linear(16, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.outer(self.inner(x).relu())
        return self.head(self.twice(self.twice(x).tanh()).mean(1))


def quantized(scheme: Scheme | None = None, tops: dict[str, torch.Tensor] | None = None) -> Quantized:
    net = Tokens().eval()
    rows = torch.randn(64, 5, 16, generator=torch.Generator().manual_seed(1))
    engine = BatchQuantizer.from_module(net, rows)
    (result,) = quantize_many(
        engine, [net.state_dict()], [rows], scheme, tops=None if tops is None else [tops]
    )
    return result


def transposes_of_weights(data: bytes) -> int:
    graph = onnx.load_from_string(data).graph
    constant = {tensor.name for tensor in graph.initializer}
    for node in graph.node:
        if node.input and all(name in constant for name in node.input):
            constant.update(node.output)
    return sum(node.op_type == "Transpose" and node.input[0] in constant for node in graph.node)


@pytest.mark.parametrize("bits", [8, 4, 3, 2])
def test_no_weight_is_transposed_when_the_file_is_loaded(bits: int) -> None:
    result = quantized(Scheme(bits))
    assert transposes_of_weights(result.onnx) == 0
    graph = onnx.load_from_string(result.onnx).graph
    kinds = (onnx.TensorProto.INT8, onnx.TensorProto.INT4, getattr(onnx.TensorProto, "INT2", None))
    stored = [tuple(t.dims) for t in graph.initializer if len(t.dims) == 2 and t.data_type in kinds]
    assert stored == [(16, 24), (24, 16), (16, 16), (3, 16)]
    expected = numbers(result.prepared, result.state)
    for layer, weight in zip(
        result.prepared.layers, stored_weights(onnx.load_from_string(result.onnx)), strict=True
    ):
        assert np.array_equal(weight.values, expected[integers_of(layer.name)])
        assert weight.bits == bits


@pytest.mark.parametrize("bits", [8, 4, 3, 2])
def test_the_file_computes_what_it_computes_with_the_transposes(
    bits: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = quantized(Scheme(bits)).onnx
    monkeypatch.setattr(onnx_template, "store_transposed", lambda *_: None)
    other = quantized(Scheme(bits)).onnx
    assert transposes_of_weights(other) == 3
    rows = np.random.default_rng(0).normal(size=(7, 5, 16)).astype(np.float32)
    names = ["onnxruntime", *(["openvino"] if util.find_spec("openvino") else [])]
    for name in names:
        computed, same = (open_session(data, Backend(name), 7).run(rows) for data in (file, other))
        # OpenVINO multiplies a weight that two products share in float where the file transposes it.
        assert np.array_equal(computed, same) or (
            name == "openvino" and np.allclose(computed, same, atol=0.05)
        )


def test_layers_with_preserved_channels_are_stored_as_they_are() -> None:
    scheme = Scheme(4, preserve=0.1)
    engine = BatchQuantizer.from_module(Tokens().eval(), torch.zeros(2, 5, 16))
    tops = {
        layer.channel_tops: torch.tensor(
            [127.0] * layer.preserved + [7.0] * (layer.shape[0] - layer.preserved)
        )
        for layer in engine.prepare(scheme).layers
        if layer.preserved
    }
    assert tops
    result = quantized(scheme, tops)
    assert transposes_of_weights(result.onnx) > 0
    check_file(result.onnx, result.prepared.layers, result.state, integer=True)


def test_a_wrong_integer_of_a_transposed_weight_is_found() -> None:
    result = quantized()
    model = onnx.load_from_string(result.onnx)
    tensor = next(t for t in model.graph.initializer if tuple(t.dims) == (16, 24))
    values = numpy_helper.to_array(tensor).copy()
    values[3, 5] = -values[3, 5] or 1
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    with pytest.raises(VerificationError, match="layer 'inner' has 1 wrong integers of 384"):
        check_values(model.SerializeToString(), result.prepared, result.state)
