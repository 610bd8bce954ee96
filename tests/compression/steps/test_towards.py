"""Recipes that train towards the baseline's answers, and training that starts from compensated weights."""

from __future__ import annotations

import dataclasses

import numpy as np
import onnx
import pytest
import torch
from torch import nn

import fairpress as fp
from fairpress.compression import finetuning
from fairpress.compression.apply import compress
from fairpress.compression.data_loader import collect
from fairpress.compression.quantization.batch_quantizer import BatchQuantizer
from fairpress.compression.quantization.calibrate import scales_of_weights
from fairpress.compression.quantization.qat import QATGraphs
from fairpress.compression.quantized_graph.scheme import Scheme
from fairpress.compression.recipes import parse
from fairpress.compression.rounding.compensate import compensate
from fairpress.compression.verification.checks import integer_weights
from fairpress.core.errors import UserError
from fairpress.models.weights_io import from_bytes
from fairpress.runtime.backends.onnxruntime import run
from trained import easy, hard, images, random_group_batches, residual

FEW = "epochs=2,batch_size=32"


@pytest.mark.parametrize(
    ("written", "name", "control"),
    [
        ("qat-int2(towards=baseline)", "qat-int2(towards=baseline)", "placebo(towards=baseline)"),
        ("qat-int8(epochs=3, towards=both)", "qat-int8(towards=both,epochs=3)", "placebo(towards=both,epochs=3)"),
        ("prune-80(towards=labels)", "prune-80", "placebo"),
        ("prune-80(towards=baseline)+int8", "prune-80(towards=baseline)+int8", "placebo(towards=baseline)"),
        ("qat-int4(start=gptq)", "qat-int4(start=gptq)", "placebo"),
        (
            "qat-int4(start=gptq,towards=both,keep_head=true)",
            "qat-int4-fp32-head(towards=both,start=gptq)",
            "placebo(towards=both)",
        ),
        ("prune-50(towards=baseline)+qat-int4", "prune-50(towards=baseline)+qat-int4", "placebo(towards=baseline)+placebo"),
        (
            "qat-int4(towards=baseline,method=ceag,by=sex)",
            "qat-int4(towards=baseline,method=ceag,by=sex)",
            "placebo(towards=baseline)",
        ),
    ],
)  # fmt: skip
def test_a_recipe_has_one_name_and_its_placebo_trains_towards_the_same(written, name, control):
    recipe = parse(written)
    assert str(recipe) == name
    assert parse(name) == recipe
    assert recipe.placebo() == parse(control)
    assert str(recipe.placebo()) == control
    assert parse(f"placebo({written})") == parse(control)


def test_what_is_no_loss_or_no_start_is_refused():
    with pytest.raises(UserError, match=r"towards.*'labels', 'baseline' or 'both'"):
        parse("qat-int4(towards=teacher)")
    with pytest.raises(UserError, match=r"start.*'nearest' or 'gptq'"):
        parse("qat-int4(start=learned)")
    with pytest.raises(UserError, match="start"):
        parse("prune-80(start=gptq)")


def relabelled(data):
    """The same rows, every second training label another."""
    out = []
    for dataset in data:
        labels = dataset.labels.copy()
        chosen = dataset.parts["train"][::2]
        labels[chosen] = 1 - labels[chosen]
        out.append(dataclasses.replace(dataset, labels=labels))
    return out


@pytest.mark.parametrize("step", ["finetune", "prune-50", "qat-int4"])
def test_labels_play_no_part_unless_both_are_asked_for(step):
    data, bases = easy()
    weighted = [
        dataclasses.replace(
            base,
            card=dataclasses.replace(
                base.card,
                provenance={
                    **base.card.provenance,
                    "training": {**base.card.provenance["training"], "class_weights": "balanced"},
                },
            ),
        )
        for base in bases
    ]
    files = {}
    for towards in ("baseline", "both"):
        recipe = parse(f"{step}({FEW},towards={towards})")
        created = compress(bases, recipe, data, [0, 1])
        files[towards] = [a.onnx for a in created]
        assert files[towards] == [a.onnx for a in compress(bases, recipe, data, [0, 1])]
        other = [a.onnx for a in compress(bases, recipe, relabelled(data), [0, 1])]
        messages: list[str] = []
        reweighted = [a.onnx for a in compress(weighted, recipe, data, [0, 1], messages.append)]
        assert any("class weights of the baseline's loss do not apply" in m for m in messages) is (
            towards == "baseline"
        )
        assert (files[towards] == other) is (towards == "baseline")
        assert (files[towards] == reweighted) is (towards == "baseline")
        for artifact in created:
            assert artifact.card.provenance["steps"][0]["towards"] == towards
            reported = artifact.card.provenance["details"]["towards"]
            assert reported["loss"] == towards
            assert 0 <= reported["divergence"] < 0.7
    labels = [a.onnx for a in compress(bases, parse(f"{step}({FEW})"), data, [0, 1])]
    assert len({labels[0], files["baseline"][0], files["both"][0]}) == 3


def test_without_rounding_and_weight_decay_nothing_moves_in_company_or_alone():
    data, bases = easy()
    recipe = f"placebo(towards=baseline,{FEW},weight_decay=0,learning_rate=0.1)"
    for artifact, base in zip(compress(bases, parse(recipe), data, [0, 1]), bases, strict=True):
        before, after = from_bytes(base.weights), from_bytes(artifact.weights)
        assert all(torch.equal(after[k], v) for k, v in before.items())
        assert artifact.onnx == base.onnx
    torch.manual_seed(0)
    module = nn.Sequential(nn.Flatten(), nn.Linear(192, 8), nn.ReLU(), nn.Linear(8, 2))
    artifact = fp.compress(module, recipe, data=random_group_batches())
    assert all(torch.equal(from_bytes(artifact.weights)[k], v) for k, v in module.state_dict().items())


@pytest.mark.parametrize("recipe", ["prune-50(epochs=2,towards=baseline)", "qat-int4(epochs=2,towards=both)"])
def test_networks_are_held_to_their_own_baselines_alone_and_in_company(recipe):
    data, bases = easy()
    together = compress(bases, parse(recipe), data, [0, 1])[1]
    (alone,) = compress(bases[1:], parse(recipe), data[1:], [1])
    x = data[1].inputs
    a, b = run(together.onnx, x), run(alone.onnx, x)
    assert (a.argmax(1) == b.argmax(1)).mean() > 0.99
    assert np.abs(a - b).mean() < 0.02 * np.abs(a).mean()
    reported = [c.card.provenance["details"]["towards"]["divergence"] for c in (together, alone)]
    assert reported[0] == pytest.approx(reported[1], rel=0.02)


def test_fewer_answers_change_than_with_labels():
    data, bases = hard()
    apart = {}
    for towards in ("labels", "baseline"):
        created = compress(bases, parse(f"qat-int4(towards={towards},epochs=6)"), data, [0, 1, 2])
        rows = [d.part("test").inputs for d in data]
        pairs = [(run(a.onnx, x), run(b.onnx, x)) for a, b, x in zip(created, bases, rows, strict=True)]
        apart[towards] = np.mean([(a.argmax(1) != b.argmax(1)).mean() for a, b in pairs])
    assert apart["baseline"] < apart["labels"]


@pytest.fixture
def baselines(monkeypatch):
    """The states of the baselines that training was held to, in the order of the steps."""
    seen, function = [], finetuning.baselines_of

    def spy(networks, dataset):
        seen.append([(n.baseline or n).state for n in networks])
        return function(networks, dataset)

    monkeypatch.setattr(finetuning, "baselines_of", spy)
    return seen


def test_every_step_is_held_to_the_network_that_the_recipe_starts_from(baselines):
    data, bases = easy()
    recipe = parse(f"prune-80(towards=baseline,{FEW})+finetune({FEW})+qat-int4(towards=baseline,{FEW})")
    compress(bases, recipe, data, [0, 1])
    assert len(baselines) == 2
    for states in baselines:
        for state, base in zip(states, bases, strict=True):
            assert all(torch.equal(state[k], v) for k, v in from_bytes(base.weights).items())


def test_a_compressed_model_has_no_baseline_to_be_held_to():
    data, bases = easy()
    pruned = compress(bases, parse(f"prune-80({FEW})"), data, [0, 1])
    with pytest.raises(
        UserError, match=r"compress the baseline by prune-80\(.*\)\+qat-int4\(towards=baseline\)"
    ):
        compress(pruned, parse("qat-int4(towards=baseline)"), data, [0, 1])
    recipe = parse("prune-80+qat-int4(towards=baseline)")
    assert recipe.after(["fp32", "prune-80"]) == ("fp32", recipe)
    recipe = parse("prune-80(towards=baseline)+int8")
    assert recipe.after(["fp32", "prune-80(towards=baseline)"]) == (
        "prune-80(towards=baseline)",
        parse("int8"),
    )


def test_a_narrower_network_is_held_to_the_one_that_it_was():
    created = fp.compress(
        residual(),
        "prune-channels(share=0.5,round_to=1,epochs=1,towards=baseline)",
        data=random_group_batches(),
    )
    assert created.card.provenance["details"]["towards"]["divergence"] > 0
    assert created.card.provenance["details"]["channels"]["share"] == 0.5
    data, bases = easy()
    few = f"distill(widths=8,epochs=2)+qat-int4(towards=baseline,{FEW})"
    student = compress(bases, parse(few), data, [0, 1])[0]
    assert student.card.architecture["widths"] == [8]


def test_constraints_are_added_to_it():
    data, bases = easy()
    plain = compress(bases, parse(f"qat-int4(towards=baseline,{FEW})"), data, [0, 1])
    for how in (
        "method=fairalm,constraint=equal_opportunity,by=sex,step=0",
        "method=penalty,constraint=demographic_parity,by=sex,strength=0",
        "method=ceag,by=sex,step=0",
    ):
        same = compress(bases, parse(f"qat-int4(towards=baseline,{FEW},{how})"), data, [0, 1])
        assert [a.onnx for a in same] == [a.onnx for a in plain]
        details = same[0].card.provenance["details"]
        assert details["fairness"]["groups"] == ["Female", "Male"]
        assert details["towards"]["loss"] == "baseline"
        moved = how.replace("step=0", "step=5").replace("strength=0", "strength=5")
        other = compress(bases, parse(f"qat-int4(towards=baseline,{FEW},{moved})"), data, [0, 1])
        assert [a.onnx for a in other] != [a.onnx for a in plain]


def integers(data: bytes) -> list[np.ndarray]:
    return [values for _, values in integer_weights(onnx.load_from_string(data))]


def test_training_starts_from_the_compensated_integers():
    """A rate that moves nothing: the file has the integers of gptq, with batch norms and without, alone and in company.

    At 2 and 3 bits training takes the symmetric range, gptq alone all integers.
    """
    bits = 4
    still = f"qat-int{bits}(start=gptq,epochs=3,learning_rate=1e-12)"
    data, bases = easy()
    given = compress(bases, parse(f"int{bits}(rounding=gptq)"), data, [0, 1])
    nearest = compress(bases, parse(f"int{bits}"), data, [0, 1])
    for a, b, c in zip(compress(bases, parse(still), data, [0, 1]), given, nearest, strict=True):
        assert all(np.array_equal(x, y) for x, y in zip(integers(a.onnx), integers(b.onnx), strict=True))
        assert not all(np.array_equal(x, y) for x, y in zip(integers(a.onnx), integers(c.onnx), strict=True))
    (artifact,) = compress(bases[:1], parse(still), data[:1], [0])
    assert all(
        np.array_equal(x, y) for x, y in zip(integers(artifact.onnx), integers(given[0].onnx), strict=True)
    )


def test_images_start_from_the_compensated_integers_too():
    """Batch norm moves its statistics, and with them scales, but no integer."""
    data = collect(random_group_batches(), trains=True).dataset
    still, given = (
        fp.compress(residual(), r, data=data)
        for r in ("qat-int4(start=gptq,epochs=2,learning_rate=1e-12)", "int4(rounding=gptq)")
    )
    for x, y in zip(integers(still.onnx), integers(given.onnx), strict=True):
        assert np.array_equal(x, y)


def test_weights_are_compensated_through_the_fold():
    module = residual()
    state = {k: v.clone() for k, v in module.state_dict().items()}
    state["first.1.weight"][0] *= -1  # a factor below 0 turns the signs of a channel
    state["first.1.weight"][1] = 0.0  # one that folds to nothing
    state["wide.weight"][:, :4] = 0.0  # and pruned weights
    rows = images(96, 3)[0]
    graphs = QATGraphs.prepare(BatchQuantizer.from_module(module, rows[:2]), Scheme(4))
    started = graphs.compensated(graphs.first_state(state), rows, "mse")
    folded = graphs.engine.fold(graphs.first_state(state))
    scales = scales_of_weights(graphs.shipping, folded, "mse")
    expected, _ = compensate(graphs.shipping, {**folded, **scales}, rows)
    for layer in graphs.training.layers:
        shape = (-1, *[1] * (len(layer.shape) - 1))
        scale = f"{layer.module}.scale"
        now = (started[layer.weight] / started[scale].view(shape)).round()
        target = (expected[layer.weight] / expected[scale].view(shape)).round()
        if layer.name == "first.0":
            assert torch.equal(started[layer.weight][1], state[layer.weight][1])
            now[1] = target[1] = 0
            target[0] *= -1
            assert now[0].abs().max() > 0
        target[state[layer.weight] == 0] = 0
        assert torch.equal(now, target), layer.name
        assert started[scale].isfinite().all()
    others = {k for k, v in graphs.first_state(state).items() if not torch.equal(started[k], v)}
    assert others <= {n for layer in graphs.training.layers for n in (layer.weight, f"{layer.module}.scale")}


def test_what_was_pruned_stays_zero_when_training_starts_from_compensated_weights():
    data, bases = easy()
    recipe = f"prune-80({FEW})+qat-int4(start=gptq,towards=baseline,{FEW})"
    for artifact in compress(bases, parse(recipe), data, [0, 1]):
        assert np.mean([(w == 0).mean() for w in integers(artifact.onnx)]) >= 0.75
        assert artifact.card.provenance["steps"][1]["start"] == "gptq"
