"""Networks of a number, of several labels and of embeddings are compressed like classifiers, and their files checked."""

from __future__ import annotations

import warnings

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

import fairpress as fp
from fairpress.core.errors import UserError

ROWS = 400
GENERATOR = torch.Generator().manual_seed(0)
X = torch.randn(ROWS, 8, generator=GENERATOR)
NUMBER = 40 + X @ torch.randn(8, generator=GENERATOR) * 3 + torch.randn(ROWS, generator=GENERATOR)
LABELS = torch.stack([X[:, 0] > 0, X[:, 1] + X[:, 2] > 0.5, X[:, 3] > 1], 1).long()
NAMES = ["smile", "young", "hat"]


def trained(width, loss):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, width))
    optimizer = torch.optim.Adam(net.parameters(), 1e-2)
    for _ in range(150):
        optimizer.zero_grad()
        loss(net(X)).backward()
        optimizer.step()
    return net.eval()


@pytest.fixture(scope="module")
def of_number():
    return trained(1, lambda out: nn.functional.mse_loss(out[:, 0], NUMBER))


@pytest.fixture(scope="module")
def of_labels():
    return trained(3, lambda out: nn.functional.binary_cross_entropy_with_logits(out, LABELS.float()))


def outputs_of(artifact, x=X):
    session = onnxruntime.InferenceSession(artifact.onnx, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: x.numpy()})[0]


def logits(net):
    with torch.no_grad():
        return net(X).numpy()


@pytest.mark.parametrize(("recipe", "tolerance"), [("fp32", 1e-4), ("int8", 0.4), ("w4", 2.5)])
def test_file_of_a_number_is_as_near_as_its_bits_allow(of_number, recipe, tolerance):
    artifact = fp.compress(of_number, recipe, data=[(X, NUMBER)], outputs="number")
    np.testing.assert_allclose(outputs_of(artifact), logits(of_number), atol=tolerance)
    assert (artifact.card.classes, artifact.card.output_kind) == ((), "number")
    facts = artifact.card.provenance["details"]["validation"]
    assert facts["mean_absolute_change"] <= tolerance
    assert facts["mean_absolute_error"] == pytest.approx(facts["mean_absolute_error_before"], abs=tolerance)


def test_what_is_assumed_of_numbers_is_said_and_the_change_reported(of_number):
    messages = []
    with pytest.warns(UserWarning, match="taken for a number in their unit .outputs='number'"):
        fp.compress(of_number, "int8", data=[(X, NUMBER[:, None])], on_message=messages.append)
    assert any("the number changes by" in m and "in the unit of the labels" in m for m in messages)


def test_file_of_several_labels_has_a_logit_and_a_threshold_for_each(of_labels):
    artifact = fp.compress(of_labels, "int8", data=[(X, LABELS)], outputs="labels", label_names=NAMES)
    assert artifact.card.outputs == {"kind": "labels", "names": NAMES, "thresholds": [0.5, 0.5, 0.5]}
    assert ((outputs_of(artifact) >= 0) == (logits(of_labels) >= 0)).mean() > 0.98


@pytest.mark.parametrize("data", [[X], [(X,)], [{"input": X}], [(X, NUMBER)]])
def test_embeddings_need_no_labels(of_labels, data):
    artifact = fp.compress(of_labels, "fp32", data=data, outputs="embedding")
    np.testing.assert_allclose(fp.embed(artifact, X), logits(of_labels), atol=1e-4)
    assert artifact.card.outputs == {"kind": "embedding", "size": 3}


def test_embeddings_report_their_cosine_similarity_with_its_spread(of_labels):
    messages = []
    artifact = fp.compress(of_labels, "w4", data=[X], outputs="embedding", on_message=messages.append)
    facts = artifact.card.provenance["details"]["validation"]["cosine_similarity"]
    assert 0.9 < facts["smallest"] <= facts["low"] <= facts["mean"] < 1
    assert any("cosine similarity" in m and "quantile" in m for m in messages)
    low = fp.embed(artifact, X)
    assert low.shape == (ROWS, 3)
    assert low.dtype == np.float32


def test_embed_refuses_other_models_and_other_rows(of_labels):
    embedding = fp.compress(of_labels, "fp32", data=[X], outputs="embedding")
    with pytest.raises(UserError, match="reads rows of 8, the data have rows of 3"):
        fp.embed(embedding, X[:, :3])
    with pytest.raises(UserError, match="model reads numbers"):
        fp.embed(embedding, ["a", "b"])
    labels = fp.compress(of_labels, "fp32", data=[(X, LABELS)], outputs="labels")
    with pytest.raises(UserError, match="predicts several labels"):
        fp.embed(labels, X)


@pytest.mark.parametrize(
    ("kind", "recipe"),
    [
        ("number", "qat-int8(epochs=1)"),
        ("number", "prune-20(epochs=2,towards=baseline)"),
        ("labels", "prune-50(epochs=1,importance=gradient)"),
        ("labels", "mixed(budget=60%)"),
        ("embedding", "qat-int4(epochs=1,towards=baseline)"),
    ],
)
def test_recipes_that_train_or_measure_apply_to_other_outputs(of_number, of_labels, kind, recipe):
    net, y = (of_number, NUMBER) if kind == "number" else (of_labels, LABELS)
    artifact = fp.compress(net, recipe, data=[(X, y)], outputs=kind)
    expected = logits(net)
    spread = expected.std(0)
    assert np.abs(outputs_of(artifact) - expected).mean() < spread.mean()


def test_distilled_number_starts_at_the_mean_of_the_labels(of_number):
    artifact = fp.compress(
        of_number,
        "distill(into=mlp,widths=32,epochs=30,learning_rate=0.01)",
        data=[(X, NUMBER)],
        outputs="number",
    )
    error = artifact.card.provenance["details"]["validation"]["mean_absolute_error"]
    assert error < float((NUMBER - NUMBER.median()).abs().mean())


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ("qat-int8", r"fine-tunes on labels, and an embedding has none; add \(towards=baseline\)"),
        ("distill(into=mlp,widths=8)", "an embedding has none; take a recipe without fine-tuning"),
        (
            "prune-50(importance=gradient,towards=baseline)",
            "importance=gradient is what the loss of the labels",
        ),
        ("prune-neurons-50(importance=gradient,towards=baseline)", "leave it out, and weights are ranked by"),
    ],
)
def test_embeddings_are_not_trained_on_labels(of_labels, recipe, message):
    with pytest.raises(UserError, match=message):
        fp.compress(of_labels, recipe, data=[X], outputs="embedding")


def test_options_about_classes_are_refused_for_other_outputs(of_number):
    with pytest.raises(UserError, match="method=ceag is about classes, and this network predicts a number"):
        fp.compress(
            of_number,
            "prune-50(by=group,method=ceag)",
            data=[(X, NUMBER, ["a", "b"] * 200)],
            outputs="number",
        )
    with pytest.raises(UserError, match="calibration=balanced-label is about classes"):
        fp.compress(of_number, "int8(calibration=balanced-label)", data=[(X, NUMBER)], outputs="number")


def test_a_baseline_no_better_than_a_constant_is_noted(of_number):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        artifact = fp.compress(of_number, "fp32", data=[(X, NUMBER + 100)])
    assert "always answering" in artifact.card.provenance["origin"]["warnings"][0]


def test_a_model_without_classes_survives_its_folder(of_labels, tmp_path):
    artifact = fp.compress(of_labels, "fp32", data=[(X, LABELS)], outputs="labels", label_names=NAMES)
    again = fp.Artifact.load(artifact.save(tmp_path / "model"))
    assert again.card == artifact.card
    with pytest.raises(UserError, match="compress the module itself"):
        fp.compress(tmp_path / "model", "int8", data=fp.load_dataset("compas"))


@pytest.mark.parametrize("word", ["embeddings", "regression"])
def test_an_unknown_kind_is_refused(of_labels, word):
    with pytest.raises(UserError, match="`outputs=` is one of classes, number, labels, embedding"):
        fp.compress(of_labels, "fp32", data=[X], outputs=word)
