"""Weights of 3 bits, which an ONNX file stores in two parts."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from fairpress.compression.quantization.batch_quantizer import BatchQuantizer
from fairpress.compression.quantized_graph.scheme import Scheme
from fairpress.compression.verification.checks import optimized_graph, stored_weights
from fairpress.core.errors import UserError
from fairpress.runtime.backends.onnxruntime import run
from fairpress.runtime.onnx import weight_packing
from fairpress.runtime.onnx.compatibility import widen_two_bits
from fairpress.runtime.onnx.three_bits import three_bit_weights
from fairpress.runtime.onnx.weight_packing import finalize, pack_channels, pack_weights, weight_bits

RNG = np.random.default_rng(0)


def network(*weights: np.ndarray) -> onnx.ModelProto:
    """x [n, 8] times each weight [columns, 8], one after the other, which are stored as INT8."""
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 8])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", len(weights[-1])])
    nodes, last = [], "x"
    for i in range(len(weights)):
        nodes += [
            helper.make_node("Cast", [f"w{i}"], [f"f{i}"], to=TensorProto.FLOAT),
            helper.make_node("Gemm", [last, f"f{i}"], [f"h{i}"], transB=1),
        ]
        last = f"h{i}"
    nodes[-1].output[0] = "y"
    tensors = [numpy_helper.from_array(w, f"w{i}") for i, w in enumerate(weights)]
    graph = helper.make_graph(nodes, "g", [x], [y], tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def integers(*shape: int) -> np.ndarray:
    return RNG.integers(-4, 4, shape).astype(np.int8)


@pytest.mark.parametrize("channels", [1, 2, 3, 8, 65])
def test_what_is_packed_is_read_back_and_computed_with(channels):
    weights = [integers(8, 8), integers(channels, 8)]
    rows = RNG.normal(size=(20, 8)).astype(np.float32)
    model = network(*weights)
    expected = run(finalize(network(*weights)), rows)
    pack_weights(model, {"w0": 3, "w1": 3})
    data = finalize(model)
    assert np.allclose(run(data, rows), expected, rtol=1e-6)
    assert np.allclose(run(widen_two_bits(data), rows), expected, rtol=1e-6)
    stored = stored_weights(onnx.load_from_string(data))
    assert [w.bits for w in stored] == [3, 3]
    assert all(np.array_equal(w.values, own) for w, own in zip(stored, weights, strict=True))
    assert list(weight_bits(data).values()) == [3, 3]
    assert {n.op_type for n in optimized_graph(data).graph.node} == {"Gemm"}


@pytest.mark.parametrize("shape", [(3, 1, 1, 3), (5, 3, 3, 3), (1, 7)])
def test_sizes_that_are_no_multiple_of_four(shape):
    values = integers(*shape)
    model = network(integers(8, 8))
    model.graph.initializer.append(numpy_helper.from_array(values, "odd"))
    model.graph.node.append(helper.make_node("Cast", ["odd"], ["odd float"], to=TensorProto.FLOAT))
    model.graph.output.append(helper.make_tensor_value_info("odd float", TensorProto.FLOAT, shape))
    pack_weights(model, {"odd": 3})
    (part,) = three_bit_weights(model.graph)
    constants = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    low, high = (constants[name].astype(np.int8) for name in (part.low, part.high))
    assert np.array_equal(part.values(low, high), values)
    import onnxruntime

    session = onnxruntime.InferenceSession(finalize(model))
    (computed,) = session.run(["odd float"], {"x": np.zeros((1, 8), np.float32)})
    assert np.array_equal(computed, values)


def test_a_weight_takes_three_bits_and_what_joins_it_a_few_hundred_bytes():
    def size(columns: int, bits: int) -> int:
        weight = np.clip(integers(columns, 8), -3, 3)
        model = network(weight)
        pack_weights(model, {"w0": bits})
        return len(finalize(model))

    large, small = size(8000, 3), size(16, 3)
    assert large - small == pytest.approx(3 * 8 * (8000 - 16) / 8, rel=0.001)
    assert large - 3 * 8000 < size(8000, 4) - 4 * 8000 + 600  # the table included
    assert large < 0.77 * size(8000, 4)


def test_preserved_channels_beside_channels_of_three_bits():
    weight = integers(10, 8)
    wide = np.arange(10) % 3 == 0
    weight[wide] = RNG.integers(-63, 64, (4, 8))
    model = network(weight)
    rows = RNG.normal(size=(20, 8)).astype(np.float32)
    expected = run(finalize(network(weight)), rows)
    pack_channels(model, "w0", 3, wide)
    data = finalize(model)
    (stored,) = stored_weights(onnx.load_from_string(data))
    assert stored.bits == 3
    assert np.array_equal(stored.values, weight)
    assert np.array_equal(stored.preserved, wide)
    assert np.allclose(run(data, rows), expected, rtol=1e-6)


def test_an_integer_beyond_three_bits_is_refused():
    with pytest.raises(ValueError, match="does not fit 3 bits"):
        pack_weights(network(np.full((2, 8), 4, np.int8)), {"w0": 3})


def test_other_sums_are_not_taken_for_a_weight():
    model = network(np.clip(integers(8, 8), -2, 1))
    pack_weights(model, {"w0": 2})
    assert three_bit_weights(model.graph) == []
    assert list(weight_bits(finalize(model)).values()) == [2]


@pytest.mark.parametrize("bits", [3, 2])
def test_an_onnx_without_the_type_of_two_bits_is_named_before_anything_is_computed(bits, monkeypatch):
    monkeypatch.setattr(weight_packing, "INT2", -1)
    engine = BatchQuantizer.from_module(torch.nn.Linear(4, 2).eval(), torch.zeros(2, 4))
    with pytest.raises(UserError, match=r"2 and 3 bits need onnx 1\.20 or later, and .* is installed"):
        engine.prepare(Scheme(bits))
    assert [layer.bits for layer in engine.prepare(Scheme(4)).layers] == [4]
