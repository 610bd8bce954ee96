"""Every check of a quantized file, and what makes it fail."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from fairpress.compression.errors import VerificationError
from fairpress.compression.quantization.batch_quantizer import Quantized, perturb_scales, quantize_many
from fairpress.compression.quantized_graph.onnx_template import make_template
from fairpress.compression.quantized_graph.prepare import prepare
from fairpress.compression.quantized_graph.scheme import Scheme
from fairpress.compression.verification import checks
from fairpress.compression.verification.checks import (
    assert_unmodified,
    check_agreement,
    check_file,
    clear_agreement,
)
from fairpress.compression.verification.numbers import check_values
from fairpress.models.tracing import trace
from fairpress.runtime.onnx.weight_packing import finalize
from trained import easy, parts, small_engine


@cache
def created(bits: int = 8, activations: bool = True) -> Quantized:
    states, rows = parts(*easy())
    return quantize_many(small_engine(), states[:1], rows[:1], Scheme(bits, activations))[0]


def checked(data: bytes, q: Quantized, *, integer: bool = True) -> int:
    return check_file(data, q.prepared.layers, q.state, integer=integer)


def changed(data: bytes, name: str, change) -> bytes:
    """Return the file with the weight of a layer changed; layers are read in order."""
    model = onnx.load_from_string(data)
    weights = [t for t in model.graph.initializer if t.data_type in checks.WIDTHS and len(t.dims) >= 2]
    tensor = weights[{"1": 0, "3": 1, "5": 2}[name]]
    change(model, tensor)
    return model.SerializeToString()


def test_a_file_as_asked_passes():
    assert checked(created(8).onnx, created(8)) == 3
    assert checked(created(4).onnx, created(4)) == 3
    assert checked(created(4, False).onnx, created(4, False), integer=False) == 0


def test_fewer_quantized_layers_than_asked_for():
    states, rows = parts(*easy())
    (two,) = quantize_many(small_engine(), states[:1], rows[:1], Scheme(keep=("3",)))
    with pytest.raises(VerificationError, match="expected 3 quantized layers, the file has 2"):
        checked(two.onnx, created(8))


def test_other_bits_than_asked_for():
    with pytest.raises(
        VerificationError, match=r"layer '1' should have weights .* of 4 bits, the file has .* of 8"
    ):
        checked(created(8).onnx, created(4))


def test_integers_out_of_range():
    def outside(_model: onnx.ModelProto, tensor: onnx.TensorProto) -> None:
        values = numpy_helper.to_array(tensor).copy()
        values[0, 0] = -128
        tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))

    with pytest.raises(VerificationError, match=r"layer '3' stores integers -128 … \d+, outside of ±127"):
        checked(changed(created(8).onnx, "3", outside), created(8))
    narrow = replace(
        created(8).prepared, layers=tuple(replace(layer, top=63) for layer in created(8).prepared.layers)
    )
    with pytest.raises(VerificationError, match="outside of ±63"):
        checked(created(8).onnx, replace(created(8), prepared=narrow))


def test_a_pruned_weight_that_came_back():
    q = created(8)
    state = dict(q.state)
    state["3.weight"] = state["3.weight"].clone()
    state["3.weight"][0] = 0.0
    with pytest.raises(VerificationError, match=r"\d+ weights of layer '3' that were 0 are not 0"):
        checked(q.onnx, replace(q, state=state))


def test_a_file_that_draws_random_numbers():
    model = onnx.load_from_string(created(8).onnx)
    output = model.graph.output[0].name
    last = model.graph.node[-1]
    last.output[0] = "before"
    model.graph.node.append(helper.make_node("RandomNormalLike", ["before"], ["noise"]))
    model.graph.node.append(helper.make_node("Add", ["before", "noise"], [output]))
    with pytest.raises(VerificationError, match=r"draws random numbers \(RandomNormalLike"):
        checked(model.SerializeToString(), created(8))


def test_layers_that_run_in_float():
    """One layer reads floats: what an activation that nobody marked would come to."""
    model = onnx.load_from_string(created(8).onnx)
    producer = {o: n for n in model.graph.node for o in n.output}
    second = [n for n in model.graph.node if n.op_type == "Gemm"][1]
    quantize = producer[producer[second.input[0]].input[0]]
    assert quantize.op_type == "QuantizeLinear"
    second.input[0] = quantize.input[0]
    sentence = (
        "expected 3 layers on integer kernels of ONNX Runtime, found 2 on integer kernels and 1 .*keep=3"
    )
    with pytest.raises(VerificationError, match=sentence):
        checked(model.SerializeToString(), created(8))


def test_weights_that_would_be_dequantized_in_every_run():
    """What PT2E's own form of a weight-only file would cost."""
    q = created(8, False)
    template = make_template(q.prepared, q.state, torch.zeros(2, 4))
    model = onnx.load_from_string(template.fill(q.prepared, q.state))
    graph = model.graph
    mul = next(n for n in graph.node if n.op_type == "Mul")
    cast = next(n for n in graph.node if n.output[0] in mul.input and n.op_type == "Cast")
    spread = next(n for n in graph.node if n.output[0] in mul.input and n.op_type == "Unsqueeze")
    inputs, out = [cast.input[0], spread.input[0]], mul.output[0]
    at = list(graph.node).index(cast)
    for node in (mul, cast, spread):
        graph.node.remove(node)
    graph.node.insert(at, helper.make_node("DequantizeLinear", inputs, [out], axis=0))
    with pytest.raises(VerificationError, match=r"float kernels .* 1 dequantized in every run .*keep=1\."):
        checked(model.SerializeToString(), q, integer=False)


def test_the_file_of_another_network_does_not_agree():
    states, rows = parts(*easy())
    first, second = quantize_many(small_engine(), states, rows)
    turned = onnx.load_from_string(second.onnx)
    for (
        tensor
    ) in turned.graph.initializer:  # integers of the last layer's bias: decisions move, structure does not
        if tensor.data_type == TensorProto.INT32 and tuple(tensor.dims) == (2,):
            values = numpy_helper.to_array(tensor)
            if values.any():
                tensor.CopyFrom(
                    numpy_helper.from_array(values[::-1] + np.array([90_000, -90_000], np.int32), tensor.name)
                )
    with pytest.raises(VerificationError, match=r"agrees with its graph on only \d+\.\d% of 60 predictions"):
        check_agreement(turned.SerializeToString(), rows[0], first.graph(rows[0]))
    outcome = check_agreement(first.onnx, rows[0], first.graph(rows[0]))
    assert outcome["agreement_with_graph"] >= 0.98
    assert outcome["error_against_graph"] < 0.15


def test_a_processor_that_saturates_is_told_from_a_wrong_file(monkeypatch):
    """The same file decides rightly in exact arithmetic: it is as asked, and the card says what happens here."""
    rows, q = parts(*easy())[1][0], created(8)
    outcome = {"default": (0.5, 0.9), "exact": (1.0, 0.01)}
    monkeypatch.setattr(checks, "_agreement", lambda _d, _i, _w, runtime, _o: outcome[runtime.variant])
    monkeypatch.setattr(checks, "sums_saturate", lambda: True)
    reported = check_agreement(q.onnx, rows, q.graph(rows))
    assert reported == {"agreement_with_graph": 0.5, "error_against_graph": 0.9, "saturates": True}


@pytest.mark.parametrize(("exact", "saturates"), [((1.0, 0.01), True), ((0.99, 0.035), False)])
def test_saturation_that_moves_few_decisions_is_told_as_well(monkeypatch, exact, saturates):
    rows, q = parts(*easy())[1][0], created(8)
    outcome = {"default": (0.99, 0.04), "exact": exact}
    monkeypatch.setattr(checks, "_agreement", lambda _d, _i, _w, runtime, _o: outcome[runtime.variant])
    monkeypatch.setattr(checks, "sums_saturate", lambda: True)
    assert ("saturates" in check_agreement(q.onnx, rows, q.graph(rows))) is saturates


def test_where_no_sum_saturates_nothing_is_compared_twice(monkeypatch):
    rows, q = parts(*easy())[1][0], created(8)
    monkeypatch.setattr(checks, "sums_saturate", lambda: False)
    variants = []

    def agreement(_data, _inputs, _expected, runtime, _outputs):
        variants.append(runtime.variant)
        return 0.97, 0.04

    monkeypatch.setattr(checks, "_agreement", agreement)
    assert check_agreement(q.onnx, rows, q.graph(rows)) == {
        "agreement_with_graph": 0.97,
        "error_against_graph": 0.04,
    }
    assert variants == ["default"]


@pytest.mark.parametrize(
    ("result", "saturates", "settled"),
    [
        ((0.8, 0.01), True, True),  # a rounding error, whatever it decides
        ((1.0, 0.3), False, True),
        ((0.9, 0.1), False, True),
        ((0.9, 0.2), False, False),  # more rows have to show it
        ((1.0, 0.3), True, False),  # what saturates is reported, by all rows
    ],
)
def test_few_rows_accept_a_file_and_never_refuse_one(monkeypatch, result, saturates, settled):
    rows, q = parts(*easy())[1][0], created(8)
    monkeypatch.setattr(checks, "_agreement", lambda *_: result)
    monkeypatch.setattr(checks, "sums_saturate", lambda: saturates)
    assert (clear_agreement(q.onnx, rows, q.graph(rows)) is not None) is settled


def test_a_network_that_was_changed_meanwhile():
    net = nn.Linear(2, 2)
    with (
        pytest.raises(VerificationError, match=r"changed the caller's network \(bias\)"),
        assert_unmodified(net),
        torch.no_grad(),
    ):
        net.bias.add_(1)
    with pytest.raises(VerificationError, match="its mode"), assert_unmodified(net):
        net.eval()


def test_a_template_whose_numbers_are_not_the_graphs(monkeypatch):
    """Were our integers to differ from those of PT2E's own conversion, no file would be made."""
    from fairpress.compression.quantized_graph import onnx_template as template

    q = created(8)
    true = template.numbers

    def off_by_one(*args):
        outcome = true(*args)
        return outcome | {"3 integers": outcome["3 integers"] + 1}

    monkeypatch.setattr(template, "numbers", off_by_one)
    with pytest.raises(VerificationError, match="PT2E's conversion contains other numbers"):
        make_template(q.prepared, q.state, torch.zeros(2, 4))


def test_two_layers_that_pruning_emptied_stay_two():
    """Equal constants are stored once; weights are not, or the file would have a layer less."""
    model = onnx.load_from_string(created(8).onnx)
    first, second, _ = (
        t for t in model.graph.initializer if t.data_type == TensorProto.INT8 and len(t.dims) == 2
    )
    empty = np.zeros((16, 16), np.int8)
    first.CopyFrom(numpy_helper.from_array(empty, first.name))
    second.CopyFrom(numpy_helper.from_array(empty, second.name))
    assert len(checks.integer_weights(onnx.load_from_string(finalize(model)))) == 3


def test_random_depth_is_gone_from_the_graph():
    class DropPath(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.drop_prob = 0.9

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x if self.drop_prob == 0 else x * torch.bernoulli(torch.full_like(x[:, :1], 0.1))

    graph = trace(nn.Sequential(nn.Linear(4, 4), DropPath(), nn.Linear(4, 2)), torch.zeros(2, 4))
    assert not [n for n in graph.graph.nodes if "bernoulli" in str(n.target)]
    assert len(prepare(graph, Scheme()).layers) == 2


ROUNDINGS = (0.93, 0.2)  # of a file whose sums do not saturate


@pytest.mark.parametrize(
    ("default", "own", "reported"),
    [
        ((0.93, 0.2), 0.25, {}),  # the graph moves as much by itself
        ((0.93, 0.2), 0.14, {}),
        ((0.8, 0.5), 0.25, {"saturates": True}),
        (
            (0.93, 0.2),
            0.1,
            "agrees with its graph on only 93.0% of 60 predictions, and its logits differ by 20%",
        ),
        (
            (0.93, 0.2),
            0.6,
            r"too sensitive to rounding errors.* by 60% of their spread \(the file differs by 20%\).*keep=",
        ),
        ((0.6, 0.9), 0.45, {"saturates": True}),
    ],
)
def test_a_file_that_roundings_move_is_held_against_what_they_do_to_its_graph(
    monkeypatch, default, own, reported
):
    rows, q = parts(*easy())[1][0], created(8)
    expected = q.graph(rows)
    outcome = {"default": default, "exact": ROUNDINGS}
    monkeypatch.setattr(checks, "_agreement", lambda _d, _i, _w, runtime, _o: outcome[runtime.variant])
    monkeypatch.setattr(checks, "sums_saturate", lambda: True)
    centred = expected - expected.mean(1, keepdim=True)
    spread = float((centred - centred.mean(0)).square().mean().sqrt())
    other = expected + own * spread * torch.tensor([1.0, -1.0])
    if isinstance(reported, str):
        with pytest.raises(VerificationError, match=reported):
            check_agreement(q.onnx, rows, expected, lambda: [expected, other])
    else:
        result = check_agreement(q.onnx, rows, expected, lambda: [expected, other])
        assert result.pop("moved_by_rounding") == pytest.approx(own, rel=1e-3)
        assert result == {"agreement_with_graph": default[0], "error_against_graph": default[1], **reported}


def test_steps_changed_by_a_ten_thousandth_move_next_to_nothing_where_the_network_is_shallow():
    rows, q = parts(*easy())[1][0], created(8)
    state = perturb_scales(q.prepared, q.state)
    other = replace(q, state=state)
    assert all((state[f"{n}.scale"] != q.state[f"{n}.scale"]).all() for n in q.prepared.activations)
    share, error = checks.compare_outputs(other.graph(rows).numpy(), q.graph(rows).numpy())
    assert share > 0.98
    assert 0 < error < 0.05


def replaced(data: bytes, which, change) -> bytes:
    """Return the file with the first constant changed that is one of those looked for."""
    model = onnx.load_from_string(data)
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if which(tensor, values):
            tensor.CopyFrom(numpy_helper.from_array(change(values.copy()), tensor.name))
            return model.SerializeToString()
    raise AssertionError("there is no such constant")


@pytest.mark.parametrize(("bits", "activations"), [(8, True), (4, True), (4, False)])
def test_a_file_with_the_numbers_of_its_network_passes(bits, activations):
    q = created(bits, activations)
    check_values(q.onnx, q.prepared, q.state)


@pytest.mark.parametrize(
    ("which", "change", "reported"),
    [
        (
            lambda t, v: t.data_type == TensorProto.INT8 and v.ndim == 2,
            lambda v: v[
                [1, 0, *range(2, len(v))]
            ],  # two channels change places, which few answers would tell
            r"layer '1' has \d+ wrong integers of \d+",
        ),
        (
            lambda t, v: t.data_type == TensorProto.FLOAT and v.ndim == 1 and len(v) > 2,
            lambda v: v * np.float32(1.01),
            "does not contain the (scales|bias) of layer",
        ),
        (
            lambda t, v: t.data_type == TensorProto.INT32 and v.ndim == 1 and np.abs(v).max() > 1,
            lambda v: v[::-1],
            "does not contain the bias of layer",
        ),
        (
            lambda t, v: t.data_type == TensorProto.UINT8 and v.ndim == 0,
            lambda v: v + np.uint8(1),
            "has a quantization scale of .* which no activation has",
        ),
    ],
)
def test_other_numbers_than_the_networks_are_found_whatever_it_answers(which, change, reported):
    q = created(8)
    with pytest.raises(VerificationError, match=reported):
        check_values(replaced(q.onnx, which, change), q.prepared, q.state)
