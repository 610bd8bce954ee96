"""What the steps of recipes do to networks."""

from __future__ import annotations

import dataclasses

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

import fairpress as fp
from fairpress.compression.apply import compress
from fairpress.compression.quantized_graph.scheme import Scheme
from fairpress.compression.recipes import parse
from fairpress.compression.steps.prune import keep_largest
from fairpress.compression.verification.checks import integer_weights
from fairpress.core.errors import UserError
from fairpress.models.weights_io import from_bytes
from fairpress.runtime.artifact import Artifact
from fairpress.runtime.backends.onnxruntime import run
from trained import easy, hard


def created(recipe: str, which=easy) -> list[Artifact]:
    data, bases = which()
    return compress(bases, parse(recipe), data, range(len(data)))


def weights(artifact: Artifact) -> list[torch.Tensor]:
    return [v for _, v in sorted(from_bytes(artifact.weights).items()) if v.dim() == 2]


def accuracy(artifacts: list[Artifact], which, part: str) -> float:
    """Return the mean accuracy of the files on training or test rows."""
    right = []
    for artifact, dataset in zip(artifacts, which()[0], strict=True):
        rows = dataset.part(part)
        right.append((run(artifact.onnx, rows.inputs).argmax(1) == rows.labels).mean())
    return float(np.mean(right))


def test_four_bits_learned_beat_four_bits_given_where_those_lose():
    """A deep narrow network on a chequered plane: rounding its weights to 4 bits costs it points, which training
    with the rounding wins back; the same training without rounding is the most there is to win."""
    before, given = accuracy(hard()[1], hard, "train"), accuracy(created("int4", hard), hard, "train")
    learned, placebo = (accuracy(created(r, hard), hard, "train") for r in ("qat-int4", "placebo"))
    assert given < before - 0.04
    assert given + 0.04 < learned <= placebo + 0.01


def test_what_was_trained_in_integers_is_what_the_file_stores():
    (artifact, _) = created("qat-int2(epochs=4)")
    result = integer_weights(onnx.load_from_string(artifact.onnx))
    assert [bits for bits, _ in result] == [2, 2, 2]
    assert all(set(np.unique(values)) == {-1, 0, 1} for _, values in result)
    details = artifact.card.provenance["details"]
    assert details["agreement_with_graph"] >= 0.98
    assert details["extra_epochs"] == 4
    assert artifact.weights is None


@pytest.mark.parametrize("recipe", ["placebo(epochs=2)", "prune-50(epochs=2)", "qat-int4(epochs=2)"])
def test_networks_learn_the_same_alone_and_in_company(recipe):
    data, bases = easy()
    together = compress(bases, parse(recipe), data, [0, 1])[1]
    (alone,) = compress(bases[1:], parse(recipe), data[1:], [1])
    x = data[1].inputs
    a, b = run(together.onnx, x), run(alone.onnx, x)
    # A batched product may add in another order, and a rounding may fall to the other side for it.
    assert (a.argmax(1) == b.argmax(1)).mean() > 0.99
    assert np.abs(a - b).mean() < 0.02 * np.abs(a).mean()


def test_equal_arguments_give_equal_bytes():
    assert [a.onnx for a in created("qat-int4(epochs=2)")] == [a.onnx for a in created("qat-int4(epochs=2)")]


def test_the_quantized_and_the_placebo_see_the_same_rows_in_the_same_order(monkeypatch):
    from fairpress.training.stacked_networks import Batches

    seen: list[torch.Tensor] = []
    epoch = Batches.epoch

    def spy(self):
        steps = epoch(self)
        seen.append(torch.cat([x.flatten() for x, *_ in steps]))
        return steps

    monkeypatch.setattr(Batches, "epoch", spy)
    created("qat-int8(epochs=2)")
    created("placebo(epochs=2)")
    created("prune-50(epochs=2)")
    quantized, placebo, pruned = seen[:2], seen[2:4], seen[4:]
    for a, b, c in zip(quantized, placebo, pruned, strict=True):
        assert torch.equal(a, b)
        assert torch.equal(a, c)


@pytest.mark.parametrize("sparsity", [0.5, 0.8, 0.9])
def test_pruning_per_layer_empties_each_layer_alike(sparsity):
    for artifact in created(f"prune(sparsity={sparsity},epochs=2)"):
        assert [int((w == 0).sum()) for w in weights(artifact)] == [
            round(sparsity * w.numel()) for w in weights(artifact)
        ]


def test_pruning_globally_empties_the_network_by_its_share_and_layers_by_their_own():
    for artifact in created("prune-80(scope=global,epochs=2)"):
        zeros = [int((w == 0).sum()) for w in weights(artifact)]
        sizes = [w.numel() for w in weights(artifact)]
        assert sum(zeros) == round(0.8 * sum(sizes))
        assert zeros != [round(0.8 * n) for n in sizes]
        assert artifact.card.provenance["details"]["sparsity"] == pytest.approx(0.8, abs=0.01)


def test_the_weights_that_go_are_the_smallest():
    weight = torch.tensor([[[0.1, -5.0, 0.3], [2.0, -0.2, 1.1]]])
    (mask,) = keep_largest([weight], 0.5)
    assert torch.equal(mask, torch.tensor([[[0.0, 1.0, 0.0], [1.0, 0.0, 1.0]]]))
    first, second = keep_largest([weight, 7 * weight], 0.5)
    assert (int(first.sum()), int(second.sum())) == (2, 4)  # six of the twelve are above 1.4
    assert keep_largest([weight], 0.0)[0].all()


def test_weights_up_to_the_threshold_are_dropped_with_its_ties():
    """The threshold is torch's k-th value, of each network by itself, zeros of an earlier mask included."""
    weight = torch.randn(3, 20, 11, generator=torch.Generator().manual_seed(0))
    weight[1, :10] = 0
    weight[2] = weight[2].round(decimals=1)
    for sparsity in (0.01, 0.3, 0.5, 0.97):
        (mask,) = keep_largest([weight], sparsity)
        flat = weight.abs().flatten(1)
        threshold = flat.kthvalue(round(sparsity * 220), dim=1).values[:, None]
        assert torch.equal(mask.flatten(1), (flat > threshold).float())


@pytest.mark.parametrize(
    "recipe", ["prune-80(epochs=2)+int8", "prune-80(epochs=2)+qat-int4(epochs=2)", "prune-80(epochs=2)+w4"]
)
def test_pruned_weights_stay_zero_after_quantization(recipe):
    pruned = created("prune-80(epochs=2)")
    for artifact, before in zip(created(recipe), pruned, strict=True):
        result = integer_weights(onnx.load_from_string(artifact.onnx))
        for (_, integers), weight in zip(result, weights(before), strict=True):
            assert not integers[weight.numpy() == 0].any()
        assert artifact.card.provenance["details"]["sparsity"] == pytest.approx(0.8, abs=0.01)


def test_pruned_weights_stay_zero_when_training_goes_on():
    (artifact, _), (before, _) = (
        created("prune-80(epochs=2)+finetune(epochs=2)"),
        created("prune-80(epochs=2)"),
    )
    for after, weight in zip(weights(artifact), weights(before), strict=True):
        assert torch.equal(after == 0, weight == 0)
        assert not torch.equal(after, weight)
    assert artifact.card.provenance["details"]["extra_epochs"] == 4


@pytest.mark.parametrize("second", ["int8", "finetune(epochs=1)", "qat-int4(epochs=1)"])
def test_two_recipes_after_one_another_are_the_two_in_one(second):
    data, bases = easy()
    pruned = created("prune-80(epochs=2)")
    after = compress(pruned, parse(second), data, [0, 1])
    at_once = created(f"prune-80(epochs=2)+{second}")
    for a, b, base in zip(after, at_once, bases, strict=True):
        assert a.onnx == b.onnx
        assert a.card.provenance == b.card.provenance
        assert a.card.baseline == b.card.baseline == base.digest


def test_the_checkpoint_of_its_best_epoch_is_the_baseline_itself():
    data, bases = easy()
    for i, base in enumerate(bases):
        epoch = base.card.provenance["best_epoch"]
        result = compress(bases, parse(f"checkpoint-{epoch}"), data, [0, 1])[i]
        assert result.onnx == base.onnx


def test_checkpoints_are_a_curve_from_ignorance_to_the_baseline():
    data, bases = easy()
    points = ["checkpoint(epochs=0.1)", "checkpoint(epochs=0.5)", "checkpoint-2"]
    curve = [compress(bases, parse(r), data, [0, 1]) for r in points]
    result = [np.mean([a.card.provenance["details"]["validation"]["accuracy"] for a in c]) for c in curve]
    assert result == sorted(result)
    assert result[0] < result[-1] - 0.02
    assert curve[0][0].card.provenance["details"]["epochs_trained"] == 0.1


def test_what_a_control_of_equal_accuracy_is_chosen_by_comes_from_validation_rows():
    data, _ = easy()
    for recipe in ("int8", "prune-50(epochs=2)", "checkpoint-1"):
        for artifact, dataset in zip(created(recipe), data, strict=True):
            rows = dataset.part("validation")
            right = (run(artifact.onnx, rows.inputs).argmax(1) == rows.labels).mean()
            assert artifact.card.provenance["details"]["validation"] == {"rows": 60, "accuracy": right}


@pytest.mark.parametrize("recipe", ["int8", "qat-int4(epochs=1)", "prune-50(epochs=1)", "checkpoint-1"])
def test_test_rows_change_nothing(recipe):
    data, bases = easy()
    moved = []
    for dataset in data:
        inputs, labels = dataset.inputs.copy(), dataset.labels.copy()
        test = dataset.parts["test"]
        inputs[test], labels[test] = 1e3, 1 - labels[test]
        moved.append(dataclasses.replace(dataset, inputs=inputs, labels=labels))
    assert [a.onnx for a in compress(bases, parse(recipe), moved, [0, 1])] == [
        a.onnx for a in created(recipe)
    ]


def test_a_checkpoint_needs_a_training_that_can_be_repeated():
    data, bases = easy()
    stranger = dataclasses.replace(bases[0].card, provenance={})
    with pytest.raises(UserError, match="fairpress did not train this network"):
        compress([dataclasses.replace(bases[0], card=stranger)], parse("checkpoint-1"), data[:1], [0])
    with pytest.raises(UserError, match="the baseline trains for at most 8"):
        compress(bases, parse("checkpoint-9"), data, [0, 1])


def test_only_a_baseline_has_checkpoints():
    data, _ = easy()
    with pytest.raises(
        UserError,
        match=r"checkpoint-1 applies to a baseline; this model \(prune-50\(epochs=2\)\) is already compressed",
    ):
        compress(created("prune-50(epochs=2)"), parse("checkpoint-1"), data, [0, 1])


def test_a_misspelt_layer_is_refused_by_its_name():
    with pytest.raises(UserError, match=r"no layer '9' to quantize. Available: 1, 3, 5"):
        created("int8(keep=9)")
    with pytest.raises(UserError, match="no layer 'head'"):
        created("qat-int4(bits=head:8)")


def test_the_first_and_the_last_layer_are_named_by_their_place():
    (artifact, _) = created("int2(bits=first:8|last:4)")
    assert artifact.card.provenance["details"]["bits"] == {"1": 8, "3": 2, "5": 4}
    (kept, _) = created("int8(keep=first)")
    assert kept.card.provenance["details"]["bits"] == {"1": 32, "3": 8, "5": 8}
    with pytest.raises(UserError, match="'5' is both kept in float and given 8 bits"):
        created("int4(bits=last:8,keep_head=true)")
    scheme = Scheme(weight_bits=4, bits=(("first", 8),))
    assert scheme.widths(["a", "first"]) == {"a": 4, "first": 8}  # a layer's own name comes before its place


def test_a_network_with_preserved_channels_is_read_again(tmp_path):
    (artifact, _) = created("int2(preserve=0.2)")
    artifact.save(tmp_path / "kept")
    details = Artifact.load(tmp_path / "kept").card.provenance["details"]
    assert details["channels"] == "pooled"
    assert details == artifact.card.provenance["details"]


def test_widths_by_layer_are_stored_and_told():
    (artifact, _) = created("int4(bits=1:8,keep=5)")
    assert artifact.card.provenance["details"]["bits"] == {"1": 8, "3": 4, "5": 32}
    model = onnx.load_from_string(artifact.onnx)
    assert [bits for bits, _ in integer_weights(model)] == [8, 4]
    floats = [
        numpy_helper.to_array(t) for t in model.graph.initializer if t.data_type == 1 and len(t.dims) == 2
    ]
    assert [f.shape for f in floats] == [(2, 16)]


@pytest.mark.parametrize(
    ("recipe", "larger"), [("int3", True), ("int4", False), ("int3(bits=0:4|2:4)", False)]
)
def test_files_that_3_bits_make_larger_than_4_say_so(recipe, larger):
    network = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, 2))
    rows = torch.randn(80, 8, generator=torch.Generator().manual_seed(0))
    messages: list[str] = []
    batches = [(rows, torch.arange(80) % 2)]
    size = len(fp.compress(network.eval(), recipe, data=batches, on_message=messages.append).onnx)
    assert (size > len(fp.compress(network, "int4", data=batches).onnx)) is larger
    assert any("3 bits make 1 of 1 files larger than 4 bits would" in m for m in messages) is larger
