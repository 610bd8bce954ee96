"""Output channels that keep 8 bits where the others get fewer."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch

import fairpress as fp
from fairpress.compression.errors import VerificationError
from fairpress.compression.quantization.batch_quantizer import make_quantizer, quantize_many
from fairpress.compression.quantization.gradient_sensitivity import channel_sensitivities
from fairpress.compression.quantization.preserved_channels import largest_group_difference
from fairpress.compression.quantization.sensitivity import rounded
from fairpress.compression.quantized_graph.scheme import Scheme
from fairpress.compression.recipes import parse
from fairpress.compression.verification import checks
from fairpress.compression.verification.checks import check_file, stored_weights
from fairpress.core.errors import UserError
from fairpress.models.functional_call import FastFunctionalCall
from fairpress.runtime.backends.base import Backend
from fairpress.runtime.backends.onnxruntime import run
from fairpress.runtime.backends.registry import open_session
from fairpress.training.output_divergence import output_divergence
from trained import DEEP, brightness_group_batches, hard, parts, residual


def test_what_gradients_say_of_a_channel_is_what_rounding_it_alone_does():
    states, rows = parts(*hard())
    engine = make_quantizer(DEEP, (4,), torch.float32, 2)
    state = engine.fold(states[0])

    def answers(own):
        with torch.no_grad():
            return FastFunctionalCall(engine.folded).call(own, rows[0]).double().log_softmax(-1)

    expected, weight = answers(state), state["3.weight"]
    change = rounded(weight, 8) - weight
    result = channel_sensitivities(engine.folded, state, {"3": change}, rows[0])["3"]
    assert result.shape == (len(rows[0]), 16)
    measured = []
    for channel in range(16):
        own = weight.clone()
        own[channel] += change[channel]
        measured.append(
            float(output_divergence(answers({**state, "3.weight": own}), expected, "classes").mean())
        )
    assert np.corrcoef(measured, result.mean(0))[0, 1] > 0.95
    assert float(result.mean()) == pytest.approx(np.mean(measured), rel=0.2)


def test_the_spread_is_that_of_group_means():
    harm = torch.tensor([[1.0, 0.0], [3.0, 0.0], [0.0, 5.0], [90.0, 0.0]])
    assert largest_group_difference(harm, torch.tensor([0, 0, 1, -1])).tolist() == [2.0, 5.0]


@pytest.mark.parametrize("bits", [4, 2])
def test_the_file_stores_so_many_channels_at_8_bits_and_computes_as_its_graph(bits):
    data, bases = hard()
    created = fp.compress(bases[0], f"int{bits}(preserve=0.25,by=sex)", data=data[0])
    plain = fp.compress(bases[0], f"int{bits}", data=data[0])
    details = created.card.provenance["details"]
    assert created.size - plain.size == details["preserved_bytes"] > 0
    assert details["channels"] == "groups"
    assert set(details["rows_of_groups"]) == {"Female", "Male"}
    for (name, bits_of), own in zip(
        details["bits"].items(), stored_weights(onnx.load_from_string(created.onnx)), strict=True
    ):
        channels = details["preserved"].get(name, [])
        assert own.bits == bits_of == bits
        assert len(channels) == round(0.25 * len(own.values))
        assert np.flatnonzero(own.preserved).tolist() == channels
        assert np.abs(own.values[~own.preserved]).max() <= 2 ** (bits - 1) - 1
        assert not own.preserved.any() or 7 < np.abs(own.values[own.preserved]).max() <= 63
    assert details["integer_kernels"] == 7
    assert details["error_against_graph"] < 0.1


def test_preserved_channels_bring_the_answers_nearer_and_random_ones_less_so():
    data, bases = hard()
    x = data[0].part("calibration").inputs
    expected = torch.from_numpy(run(bases[0].onnx, x)).double().log_softmax(-1)

    def apart(options: str) -> float:
        created = fp.compress(bases[0], f"w2({options})", data=data[0])
        return float(output_divergence(torch.from_numpy(run(created.onnx, x)), expected, "classes").mean())

    none, random = (
        apart("rows=512"),
        np.mean([apart(f"preserve=0.5,channels=random,draw={d}") for d in range(3)]),
    )
    pooled = apart("preserve=0.5")
    assert pooled < random < none


def test_networks_of_convolutions_and_training_that_rounds():
    created = fp.compress(residual(), "int4(preserve=0.25,by=group)", data=brightness_group_batches())
    details = created.card.provenance["details"]
    assert {k: len(v) for k, v in details["preserved"].items()} == {"first.0": 2, "second.0": 2, "wide": 2}
    trained = fp.compress(
        residual(), "qat-int4(preserve=0.25,by=group,epochs=1,batch_size=64)", data=brightness_group_batches()
    )
    assert trained.card.provenance["details"]["preserved"].keys() == details["preserved"].keys()


def test_training_goes_on_with_the_channels_that_were_chosen():
    data, bases = hard()
    recipe = parse("qat-int2(preserve=0.25,by=sex,epochs=1)")
    from fairpress.compression.apply import compress

    together = compress(bases[:2], recipe, data[:2], [0, 1])
    given = fp.compress(bases[1], "int2(preserve=0.25,by=sex)", data=data[1], seed=1)
    reported = [a.card.provenance["details"]["preserved"] for a in (*together, given)]
    assert reported[1] == reported[2] != reported[0]
    own = stored_weights(onnx.load_from_string(together[1].onnx))
    assert np.flatnonzero(own[1].preserved).tolist() == reported[1]["3"]
    assert np.abs(own[1].values[own[1].preserved]).max() > 7


def test_openvino_runs_them_on_integers_too():
    pytest.importorskip("openvino")
    from fairpress.runtime.backends.openvino import kernels

    data, bases = hard()
    x = data[0].part("test").inputs
    for bits in (4, 2):
        created = fp.compress(bases[0], f"int{bits}(preserve=0.25)", data=data[0])
        assert kernels(created.onnx).integer == 7
        result = open_session(created.onnx, Backend("openvino")).run(x)
        assert (result.argmax(1) == run(created.onnx, x).argmax(1)).mean() > 0.97


def test_other_channels_than_chosen_are_noticed(monkeypatch):
    states, rows = parts(*hard())
    engine = make_quantizer(DEEP, (4,), torch.float32, 2)
    scheme = Scheme(4, preserve=0.25)
    tops = {
        n.channel_tops: torch.where(torch.arange(n.shape[0]) < n.preserved, 63.0, 7.0)
        for n in engine.prepare(scheme).layers
        if n.preserved
    }
    (created,) = quantize_many(engine, states[:1], rows[:1], scheme, tops=[tops])
    other = dict(created.state)
    name = created.prepared.layers[1].channel_tops
    other[name] = other[name].roll(-1)
    monkeypatch.setattr(checks, "check_range", lambda *_: None)
    with pytest.raises(
        VerificationError,
        match=r"layer '3' should have 4 channels preserved at 8 bits, the file has 4, 3 of them",
    ):
        check_file(created.onnx, created.prepared.layers, other, integer=True)
    monkeypatch.undo()
    with pytest.raises(
        VerificationError, match=r"layer '3' stores integers .* outside of ±7 .*some channels 8"
    ):
        check_file(created.onnx, created.prepared.layers, other, integer=True)


def test_names_controls_and_what_is_refused():
    recipe = parse("int4(by=race, preserve=0.1)")
    assert str(recipe) == "int4(preserve=0.1,by=race)"
    assert str(recipe.plain()) == "int4(preserve=0.1)"
    assert parse("int4(preserve=0.1)").plain() is None
    assert parse("int4(preserve=0.1,channels=random)").plain() is None
    trained = parse("qat-int4(preserve=0.1,by=race,epochs=2)")
    assert str(trained.plain()) == "qat-int4(preserve=0.1,epochs=2)"
    assert str(trained.placebo()) == "placebo(epochs=2)"
    for text, sentence in {
        "int8(preserve=0.1)": "here all have 8 bits; take int4, int3 or int2",
        "int4(channels=random)": "add their share, such as preserve=0.1",
        "int4(preserve=0.1,channels=groups)": "needs a sensitive attribute, such as by=race",
        "int4(preserve=0.1,channels=random,by=race)": "by needs",
        "int4(preserve=1)": "less than 1",
    }.items():
        with pytest.raises(UserError, match=sentence):
            parse(text)
    data, bases = hard()
    with pytest.raises(UserError, match=r"preserve=0.01 preserves no channel: .*; raise it"):
        fp.compress(bases[0], "int4(preserve=0.01)", data=data[0])
    with pytest.raises(UserError, match=r"preserve=0.1: fewer than two groups have 10 calibration rows"):
        fp.compress(bases[0], "int4(preserve=0.1,by=sex,rows=12)", data=data[0])
