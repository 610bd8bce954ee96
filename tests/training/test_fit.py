"""Networks trained side by side are the networks trained alone."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from fairpress.compression.apply import compress
from fairpress.compression.recipes import parse
from fairpress.core.errors import UserError
from fairpress.models.mlp import Mlp
from fairpress.models.weights_io import from_bytes
from fairpress.runtime.backends.onnxruntime import run
from fairpress.runtime.predict import predictions
from fairpress.training.config import FitConfig
from fairpress.training.fit import fit
from made_dataset import make_dataset

CONFIG = FitConfig(max_epochs=6, batch_size=32, learning_rate=1e-2)
SMALL = Mlp(widths=(16, 16))


@pytest.fixture(scope="module")
def pair():
    data = [make_dataset(fold=0), make_dataset(fold=1)]
    return data, fit(SMALL, [d.development() for d in data], [3, 4], CONFIG)


def test_a_network_learns_the_same_alone_and_in_company(pair):
    """Not bitwise: a batched product may add in another order than a single one; float32 has 1e-7."""
    data, together = pair
    (alone,) = fit(SMALL, [data[1].development()], [4], CONFIG)
    a, b = from_bytes(together[1].weights), from_bytes(alone.weights)
    for name, value in a.items():
        assert torch.allclose(value, b[name], atol=1e-4), name


def test_equal_arguments_give_equal_bytes_and_other_seeds_other_networks(pair):
    data, together = pair
    again = fit(SMALL, [d.development() for d in data], [3, 4], CONFIG)
    assert [a.onnx for a in again] == [a.onnx for a in together]
    assert together[0].onnx != together[1].onnx


def test_training_leaves_the_global_generator_alone(small):
    torch.manual_seed(7)
    before = torch.random.get_rng_state()
    fit(SMALL, [small.development()], [0], FitConfig(max_epochs=1))
    assert torch.equal(before, torch.random.get_rng_state())


def test_it_learns_what_can_be_learned(pair):
    data, together = pair
    table = predictions({"fp32": together[0]}, data[0])
    right = np.mean(np.array(table["fp32"]) == np.array(table["label"]))
    assert right > 0.85  # the label is a linear rule with noise of 10-15 % of rows near the border


def test_the_file_computes_what_the_network_computes(pair):
    data, (artifact, _) = pair
    module = SMALL.build(4, 2)
    module.load_state_dict(from_bytes(artifact.weights))
    x = data[0].inputs[:50]
    with torch.no_grad():
        assert np.allclose(module(torch.from_numpy(x)).numpy(), run(artifact.onnx, x), atol=1e-4)


def test_pruning_reaches_its_sparsity_in_every_layer_and_the_placebo_prunes_nothing(pair):
    data, bases = pair
    pruned = compress(bases, parse("prune-80(epochs=3)"), data, [3, 4])
    placebo = compress(bases, parse("placebo(prune-80(epochs=3))"), data, [3, 4])
    for artifact in pruned:
        weights = [v for v in from_bytes(artifact.weights).values() if v.dim() == 2]
        assert [int((w == 0).sum()) for w in weights] == [round(0.8 * w.numel()) for w in weights]
    for artifact, base in zip(placebo, bases, strict=True):
        weights = [v for v in from_bytes(artifact.weights).values() if v.dim() == 2]
        assert not any((w == 0).any() for w in weights)
        assert artifact.onnx != base.onnx
        assert artifact.card.baseline == base.digest


def test_a_compressed_model_is_not_compressed_again(pair):
    data, bases = pair
    (created,) = compress(bases[:1], parse("int8"), data[:1], [3])
    with pytest.raises(UserError, match="no float weights"):
        compress([created], parse("int4"), data[:1], [3])
    assert created.weights is None
    assert created.card.recipe == "int8"


def test_missing_values_are_refused_before_training(small):
    bad = small.inputs.copy()
    bad[3, 1] = np.nan
    with pytest.raises(UserError, match="column 'b' has 1 missing"):
        fit(SMALL, [dataclasses.replace(small, inputs=bad)], [0], CONFIG)


def test_one_class_is_refused(small):
    with pytest.raises(UserError, match="one class"):
        fit(SMALL, [dataclasses.replace(small, labels=np.zeros_like(small.labels))], [0], CONFIG)


def test_an_unknown_device_is_one_sentence(small):
    with pytest.raises(UserError, match="device 'tpu9'"):
        fit(SMALL, [small], [0], CONFIG, device="tpu9")


def test_the_last_epoch_is_kept_where_that_is_asked_for(small):
    best, last = (
        fit(SMALL, [small], [0], FitConfig(max_epochs=12, patience=2, learning_rate=0.1, keep=keep))[0]
        for keep in ("best", "last")
    )
    assert last.card.provenance["epochs"] == last.card.provenance["best_epoch"] == 12
    assert best.card.provenance["epochs"] < 12
    assert best.card.provenance["validation_loss"] < last.card.provenance["validation_loss"]
    assert best.weights != last.weights
