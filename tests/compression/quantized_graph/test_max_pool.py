"""Max-pools between integer layers run on integers, and round nothing a second time."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import nn

from fairpress.compression.quantization.batch_quantizer import BatchQuantizer, quantize_many
from fairpress.compression.quantized_graph.scheme import Scheme
from fairpress.runtime.backends.onnxruntime import kernels, operators
from trained import images


class Pooled(nn.Module):
    """A pool between convolutions, one whose input is read by others as well, and one behind which shapes change."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.third, self.head = nn.Conv2d(16, 8, 1), nn.Linear(32, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.first(x))
        x = torch.relu(self.second(nn.functional.max_pool2d(x, 2)))
        x = torch.relu(self.third(torch.cat([x, nn.functional.max_pool2d(x, 3, 1, 1)], 1)))
        return self.head(torch.flatten(nn.functional.max_pool2d(x, 2), 1))


@pytest.fixture(scope="module")
def created():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = Pooled()
    x, _ = images(128)
    return {
        bits: quantize_many(BatchQuantizer.from_module(net, x), [net.state_dict()], [x], Scheme(bits))[0]
        for bits in (8, 2)
    }


@pytest.mark.parametrize("bits", [8, 2])
def test_nothing_is_converted_between_the_first_layer_and_the_last(created, bits):
    result = kernels(created[bits].onnx)
    assert (result.integer, result.floating) == (4, 0)
    assert result.conversions == 1  # pixels; the last layer writes floats itself
    counts = operators(created[bits].onnx)
    assert counts["MaxPool"] + counts["NhwcMaxPool"] == 3


def test_a_pool_writes_the_grid_that_it_reads(created):
    graph = onnx.load_from_string(created[8].onnx).graph
    values = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    producer = {o: n for n in graph.node for o in n.output}
    pools = [n for n in graph.node if n.op_type == "MaxPool"]
    for pool in pools:
        (behind,) = (n for n in graph.node if pool.output[0] in n.input)
        before = producer[pool.input[0]]
        assert (before.op_type, behind.op_type) == ("DequantizeLinear", "QuantizeLinear")
        for a, b in zip(before.input[1:], behind.input[1:], strict=True):
            assert np.array_equal(values[a], values[b])
    assert len(pools) == 3


def test_the_graph_rounds_once_for_each_pool(created):
    # What the first layer reads, the three pools, and the layer behind the join; not what the pools give.
    assert len(created[8].prepared.activations) == 5
