"""Networks of the user's own, with loaders of batches."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import fairpress as fp
from fairpress.compression.quantization.batch_quantizer import BatchQuantizer
from fairpress.compression.quantization.qat import QATGraphs
from fairpress.compression.quantized_graph.scheme import Scheme
from fairpress.core.errors import UserError
from fairpress.runtime.backends.onnxruntime import operators, run
from made_dataset import make_dataset
from trained import images, residual, waves


def loader(rows: int = 640, *, draw=images, groups: bool = False):
    x, y = draw(rows, 77)
    for at in range(0, rows, 64):
        batch = (x[at : at + 64], y[at : at + 64])
        yield (*batch, ["a", "b"] * 32) if groups else batch


def right(artifact: fp.Artifact, draw=images) -> float:
    x, y = draw(1000, 99)
    return float((run(artifact.onnx, x.numpy()).argmax(1) == y.numpy()).mean())


@pytest.mark.parametrize("recipe", ["fp32", "int8(ranges=auto)", "w4", "int4-fp32-head"])
def test_a_network_of_ones_own_keeps_its_answers(recipe):
    net = residual()
    before = {k: v.clone() for k, v in net.state_dict().items()}
    artifact = fp.compress(net, recipe, data=loader(groups=True))
    x, y = images(1000, 99)
    with torch.no_grad():
        base = float((net(x).argmax(1) == y).float().mean())
    assert base > 0.85
    assert right(artifact) > base - 0.03
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    assert artifact.card.recipe == recipe
    assert artifact.card.classes == ("0", "1")
    assert artifact.card.inputs == {"name": "x", "shape": [3, 8, 8], "dtype": "float32", "columns": []}
    assert (artifact.weights is not None) == (recipe == "fp32")


@pytest.mark.slow
def test_two_bits_are_learned_with_batch_norm_where_two_bits_given_fail():
    net = residual(0, waves)
    given, learned, placebo = (
        fp.compress(net, r, data=loader(1280, draw=waves))
        for r in ("int2", "qat-int2(epochs=6)", "placebo(epochs=6)")
    )
    assert right(learned, waves) > right(given, waves) + 0.1
    assert right(learned, waves) > right(placebo, waves) - 0.1
    assert operators(learned.onnx)["QLinearConv"] == 3
    details = learned.card.provenance["details"]
    assert details["agreement_with_graph"] >= 0.98
    assert set(details["bits"].values()) == {2}


@pytest.mark.slow
def test_folding_batch_norm_after_training_ships_the_integers_that_were_trained():
    """The scale is one per output channel, so that folding multiplies it: integers stay, or change their sign."""
    net, (x, _) = residual(0, waves), waves(256)
    net = copy.deepcopy(net)
    with torch.no_grad():
        net.first[1].weight[::2] *= -1  # a channel that batch norm turns over
    learning = QATGraphs.prepare(BatchQuantizer.from_module(net, x), Scheme(2))
    (state,) = [learning.first_state(net.state_dict())]
    learning.update_ranges({k: v[None] for k, v in state.items()}, [x], [("mse", "mse")])
    created = learning.finish(state, x, ("mse", "mse"))
    for layer in learning.training.layers:
        spread = (-1, *[1] * (len(layer.shape) - 1))
        trained = (state[layer.weight] / state[f"{layer.module}.scale"].view(spread)).round().clamp(-1, 1)
        shipped = (
            (created.state[layer.weight] / created.state[f"{layer.module}.scale"].view(spread))
            .round()
            .clamp(-1, 1)
        )
        sign = torch.ones(layer.shape[0])
        if layer.name == "first.0":
            sign = torch.where(net.first[1].weight < 0, -1.0, 1.0)
        elif layer.name == "second.0":
            sign = torch.where(net.second[1].weight < 0, -1.0, 1.0)
        assert torch.equal(shipped, trained * sign.view(spread)), layer.name


@pytest.mark.slow
def test_pruning_and_its_placebo_train_a_network_of_ones_own():
    net = residual()
    pruned, placebo = (
        fp.compress(net, r, data=loader()) for r in ("prune-80(epochs=2)", "placebo(epochs=2)")
    )
    assert pruned.card.provenance["details"]["sparsity"] == pytest.approx(0.8, abs=0.01)
    assert "sparsity" not in placebo.card.provenance["details"]
    assert right(placebo) > 0.85
    assert not net.training
    both = fp.compress(net, "prune-80(epochs=2)+int8", data=loader())
    assert both.card.provenance["details"]["sparsity"] == pruned.card.provenance["details"]["sparsity"]


def test_a_data_loader_and_a_dataset_will_do():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    data = make_dataset()
    rows = TensorDataset(torch.from_numpy(data.inputs), torch.from_numpy(data.labels))
    assert fp.compress(net, "w8", data=DataLoader(rows, batch_size=50)).size > 0
    artifact = fp.compress(net, "w8", data=data)
    assert artifact.card.inputs["columns"] == ["a", "b", "c", "d"]
    assert fp.predict({"w8": artifact}, data).num_rows == len(data.parts["test"])


def test_uint8_images_and_networks_that_scale_them():
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 2))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.body(x.float() / 255)

    torch.manual_seed(0)
    x = torch.randint(0, 256, (64, 3, 8, 8), dtype=torch.uint8)
    artifact = fp.compress(Scaled(), "int8(keep=body.3)", data=[(x, torch.arange(64) % 2)])
    assert artifact.card.inputs["dtype"] == "uint8"
    assert run(artifact.onnx, x.numpy()).shape == (64, 2)


def test_a_loader_is_read_no_further_than_needed():
    calls = []

    def endless():
        x, y = images(512)
        while True:
            calls.append(1)
            yield x, y

    fp.compress(residual(), "int8", data=endless())
    assert len(calls) == 4


class Undecided(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x if x.sum() > 0 else -x


TABLE = [(torch.randn(64, 4), torch.arange(64) % 2)]


@pytest.mark.parametrize(
    ("net", "recipe", "data", "sentence"),
    [
        (
            nn.Sequential(nn.Linear(4, 4), Undecided(), nn.Linear(4, 2)),
            "int8",
            TABLE,
            r"layer '1' \(Undecided\) cannot",
        ),
        (
            nn.Sequential(nn.Linear(5, 2)),
            "int8",
            TABLE,
            r"layer '0' cannot read rows of 4 numbers \(float32\)",
        ),
        (
            nn.Unflatten(1, (2, 2)),
            "int8",
            TABLE,
            r"returns a tensor \(2, 2, 2\) for 2 rows; it must return a logit per class",
        ),
        (nn.LSTM(4, 2), "int8", TABLE, "can be exported for some batch sizes only"),
        (nn.Linear(4, 2), "int8", None, "calibration data"),
        (nn.Linear(4, 2), "int8", [{"x": 1, "y": 2}], "batch 1 has one label, so it is a single row"),
        (nn.Linear(4, 2), "int8", [(torch.randn(64, 4), torch.randn(64))], "labels must be class indices"),
        (nn.Linear(4, 2), "int8", [(torch.randn(9, 4), torch.arange(9) % 2)], "has 9 rows"),
        (
            nn.Linear(4, 2),
            "int8",
            [(torch.randn(64, 4), torch.arange(64) % 3)],
            "label 2, but the network has 2 outputs",
        ),
        (nn.Sequential(nn.Linear(4, 2)), "int8(keep=fc)", TABLE, "no layer 'fc' to quantize"),
        (nn.Sequential(nn.Linear(4, 2)), "checkpoint-1", TABLE, "trained in another way"),
    ],
)
def test_what_cannot_be_compressed_is_one_sentence(net, recipe, data, sentence):
    with pytest.raises(UserError, match=sentence):
        fp.compress(net, recipe, data=data)


def test_batches_are_for_networks_and_not_for_model_folders():
    artifact = fp.compress(nn.Linear(4, 2), "fp32", data=TABLE)
    with pytest.raises(UserError, match="not with batches"):
        fp.compress(artifact, "int8", data=TABLE)
    assert np.isfinite(artifact.card.provenance["details"]["validation"]["accuracy"])


def test_a_file_that_lost_what_the_network_had_learned_is_warned_of():
    with pytest.warns(UserWarning, match="has lost what its baseline had learned"):
        artifact = fp.compress(residual(), "prune-99(epochs=1,learning_rate=1e-9)", data=loader())
    assert "warnings" in artifact.card.provenance
    assert "warnings" not in artifact.card.provenance["origin"]


def test_a_network_that_had_learned_nothing_is_on_the_card_and_no_warning_of_its_compression():
    net = residual()
    with torch.no_grad():
        next(m for m in reversed(list(net.modules())) if isinstance(m, nn.Linear)).bias[0] += 1000
    artifact = fp.compress(net, "w8", data=loader())  # warnings are errors here
    assert "the network answers '0' for all" in artifact.card.provenance["origin"]["warnings"][0]
