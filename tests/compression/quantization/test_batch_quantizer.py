"""The quantization engine: the file is what was asked for, whichever way it was made."""

from __future__ import annotations

import dataclasses

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator

from fairpress.compression.errors import VerificationError
from fairpress.compression.quantization import batch_quantizer as module
from fairpress.compression.quantization.batch_quantizer import BatchQuantizer, quantize_many
from fairpress.compression.quantization.calibrate import calibrate
from fairpress.compression.quantized_graph.scheme import Scheme
from fairpress.compression.verification.checks import optimized_graph, stored_weights
from fairpress.core.errors import UserError
from fairpress.runtime.backends.onnxruntime import operators, run
from fairpress.runtime.onnx.weight_packing import weight_bits
from trained import SMALL, easy, images, parts, residual, small_engine

SCHEMES = {
    "int8": Scheme(8),
    "int4": Scheme(4),
    "int3": Scheme(3),
    "int2": Scheme(2),
    "w8": Scheme(8, activations=False),
    "w4": Scheme(4, activations=False),
    "first at 8": Scheme(4, bits=(("1", 8),)),
    "head in float": Scheme(4, keep_head=True),
    "7 of 8 bits": Scheme(8, reduce_range=True),
}


@pytest.mark.parametrize("name", SCHEMES)
def test_the_file_computes_what_its_integers_and_scales_say(name):
    """Against onnx's reference implementation in float64-free numpy, and against weights dequantized by hand."""
    states, rows = parts(*easy())
    (created,) = quantize_many(small_engine(), states[:1], rows[:1], SCHEMES[name])
    x = rows[0].numpy()
    graph = created.graph(rows[0]).numpy()
    reference = _reference(created.onnx)(x)
    assert np.allclose(graph, reference, atol=0.05)
    assert (graph.argmax(1) == reference.argmax(1)).mean() >= 0.97
    for layer in created.prepared.layers:
        integers = np.round(
            created.state[layer.weight].numpy() / created.state[f"{layer.module}.scale"].numpy()[:, None]
        )
        stored = [
            w.values
            for w in stored_weights(onnx.load_from_string(created.onnx))
            if w.values.shape == layer.shape
        ]
        assert any(np.array_equal(np.clip(integers, -layer.top, layer.top), t) for t in stored)


def _reference(data: bytes):
    model = onnx.load_from_string(data)
    for tensor in model.graph.initializer:  # the reference knows no packed types as Cast inputs
        if tensor.data_type in (onnx.TensorProto.INT4, onnx.TensorProto.INT2):
            values = numpy_helper.to_array(tensor).astype(np.int8)
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    session = ReferenceEvaluator(model)
    return lambda x: session.run(None, {"x": x})[0]


@pytest.mark.parametrize("bits", [8, 2])
def test_a_refilled_file_is_byte_for_byte_a_fresh_export(bits):
    states, rows = parts(*easy())
    together = quantize_many(small_engine(), states, rows, Scheme(bits))
    for created, state, calibration in zip(together, states, rows, strict=True):
        fresh = BatchQuantizer.from_module(SMALL.build(4, 2), torch.zeros(2, 4))
        (alone,) = quantize_many(fresh, [state], [calibration], Scheme(bits))
        assert created.onnx == alone.onnx
    assert together[0].onnx != together[1].onnx


@pytest.mark.parametrize("bits", [8, 4, 3, 2])
def test_the_file_stores_the_bits_and_runs_integers(bits):
    states, rows = parts(*easy())
    (created,) = quantize_many(small_engine(), states[:1], rows[:1], Scheme(bits))
    assert sorted(b for b in weight_bits(created.onnx).values() if b < 32) == [bits] * 3
    assert operators(created.onnx)["QGemm"] == 3
    assert created.details["integer_kernels"] == 3
    assert created.details["bits"] == {"1": bits, "3": bits, "5": bits}


def test_weight_only_files_are_unpacked_when_they_are_loaded():
    states, rows = parts(*easy())
    (created,) = quantize_many(small_engine(), states[:1], rows[:1], Scheme(4, activations=False))
    assert sorted(b for b in weight_bits(created.onnx).values()) == [4] * 3
    result = operators(created.onnx)
    assert not {op for op in result if "Quantize" in op or op in ("Cast", "Mul")}
    assert created.details["agreement_with_graph"] == 1.0


def test_a_layer_in_float_is_one_also_when_it_runs():
    """Left to itself, ONNX Runtime makes a float layer between two integer values an 8-bit one."""
    states, rows = parts(*easy())
    for layer in ("1", "3", "5"):
        (created,) = quantize_many(small_engine(), states[:1], rows[:1], Scheme(keep=(layer,)))
        counts = operators(created.onnx)
        assert counts["QGemm"] == 2, layer
        assert created.details["bits"][layer] == 32
        floats = [
            t
            for t in optimized_graph(created.onnx).graph.initializer
            if t.data_type == 1 and len(t.dims) == 2
        ]
        expected = states[0][f"{layer}.weight"].numpy()
        assert any(
            np.array_equal(v, expected) or np.array_equal(v.T, expected)
            for v in map(numpy_helper.to_array, floats)
        )


def test_auto_takes_the_ranges_that_move_the_outputs_on_validation_rows_least():
    states, rows = parts(*easy())
    validation = [torch.from_numpy(d.part("validation").inputs) for d in easy()[0]]

    def distance(**choice: str) -> float:
        created = quantize_many(small_engine(), states, rows, Scheme(4), validation=validation, **choice)
        total = 0.0
        for q, state, held_out in zip(created, states, validation, strict=True):
            expected = q.prepared.run({**q.state, **state}, held_out, rounded=False).log_softmax(-1)
            result = q.graph(held_out).log_softmax(-1)
            total += float((expected.exp() * (expected - result)).sum(1).mean())
        return total

    auto = distance(weights="auto", activations="auto")
    for weights in ("minmax", "percentile", "mse"):
        for activations in ("minmax", "percentile", "mse"):
            assert auto <= distance(weights=weights, activations=activations) + 1e-6


def test_the_callers_network_is_not_touched():
    module = SMALL.build(4, 2).train()
    before = {k: v.clone() for k, v in module.state_dict().items()}
    states, rows = parts(*easy())
    quantize_many(BatchQuantizer.from_module(module, torch.zeros(2, 4)), states, rows)
    assert all(torch.equal(v, before[k]) for k, v in module.state_dict().items())
    assert module.training


@pytest.mark.parametrize(
    ("scheme", "sentence"),
    [
        (Scheme(keep=("99",)), "no layer '99'.*Available: 1, 3, 5"),
        (Scheme(bits=(("head", 4),)), "no layer 'head'"),
        (Scheme(keep=("1",), bits=(("1", 4),)), "layer '1' is both kept in float and given 4 bits"),
        (Scheme(keep=("1", "3", "5")), "leaves all layers in float"),
    ],
)
def test_layers_that_cannot_be_meant_are_refused(scheme, sentence):
    states, rows = parts(*easy())
    with pytest.raises(UserError, match=sentence):
        quantize_many(small_engine(), states, rows, scheme)


@pytest.mark.slow
def test_the_same_engine_quantizes_convolutions_with_batch_norm_sums_joins_and_pools():
    nets, (x, _) = [residual(0), residual(1)], images(256)
    states = [n.state_dict() for n in nets]
    together = quantize_many(BatchQuantizer.from_module(nets[0], x), states, [x, x])
    counts = operators(together[0].onnx)
    assert (counts["QLinearConv"], counts["QLinearAdd"], counts["QGemm"]) == (3, 1, 1)
    (alone,) = quantize_many(BatchQuantizer.from_module(nets[1], x), states[1:], [x])
    assert together[1].onnx == alone.onnx
    for net, created in zip(nets, together, strict=True):
        with torch.no_grad():
            same = net(x).argmax(1).numpy() == run(created.onnx, x.numpy()).argmax(1)
        assert same.mean() > 0.95


@pytest.mark.parametrize("rounding", ["gptq", "brecq"])
def test_rounding_that_moves_pruned_weights_is_refused(rounding, monkeypatch):
    states, rows = parts(*easy())
    state = {k: v.clone() for k, v in states[0].items()}
    name = next(k for k, v in state.items() if v.dim() == 2)
    state[name][:, 0] = 0.0
    quantize_many(small_engine(), [state], rows[:1], Scheme(3, full_range=True), rounding=rounding)

    def moved(*given, **options):
        calibrated = calibrate(*given, **options)
        weight = calibrated.state[name].clone()
        weight[0, 0] = calibrated.state[f"{given[0].layers[0].module}.scale"][0]
        return dataclasses.replace(calibrated, state={**calibrated.state, name: weight})

    monkeypatch.setattr(module, "calibrate", moved)
    with pytest.raises(VerificationError, match=r"1 weights of layer .* that were 0 are not 0"):
        quantize_many(small_engine(), [state], rows[:1], Scheme(3, full_range=True), rounding=rounding)
