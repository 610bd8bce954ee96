"""Bias correction: the means of outputs are those of the float network."""

from __future__ import annotations

import torch
from torch import nn

from fairpress.compression.quantization.batch_quantizer import BatchQuantizer, quantize_many
from fairpress.compression.quantization.calibrate import scales_of_weights
from fairpress.compression.quantized_graph.scheme import Scheme
from fairpress.compression.rounding.bias_correction import correct_biases
from fairpress.compression.rounding.reconstruct import rounded_weight
from trained import images, residual


class Layers(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 6, 3, groups=6, bias=False)
        self.head = nn.Linear(6 * 36, 2)

    def forward(self, x):
        return self.head(torch.relu(self.second(torch.relu(self.first(x)))).flatten(1))


def corrected(network: nn.Module, rows: torch.Tensor, bits: int = 2):
    engine = BatchQuantizer.from_module(network, rows)
    prepared, state = engine.prepare(Scheme(bits, activations=False)), engine.fold(network.state_dict())
    state = {**state, **scales_of_weights(prepared, state, "mse")}
    return prepared, state, *correct_biases(prepared, state, state, rows.split(40))


def test_every_layer_with_a_bias_has_the_mean_output_of_the_float_layer():
    network, (rows, _) = Layers().eval(), images(100)
    prepared, state, changed, count = corrected(network, rows)
    weights = {layer.name: rounded_weight(layer, state, state).grid for layer in prepared.layers}
    assert count == 2
    conv = nn.functional.conv2d
    expected = network.first(rows)
    result = conv(rows, weights["first"], changed["first.bias"], padding=1)
    assert torch.allclose(result.mean((0, 2, 3)), expected.mean((0, 2, 3)), atol=1e-5)
    uncorrected = conv(rows, weights["first"], state["first.bias"], padding=1)
    assert not torch.allclose(uncorrected.mean((0, 2, 3)), expected.mean((0, 2, 3)), atol=1e-3)
    # The last layer makes up for the layers before it too.
    after, float_logits = prepared.run(changed, rows).mean(0), network(rows).mean(0)
    assert torch.allclose(after, float_logits, atol=1e-5)
    assert not torch.allclose(prepared.run(state, rows).mean(0), float_logits, atol=1e-3)


def test_nothing_but_biases_changes():
    _, state, changed, count = corrected(residual(), images(64)[0], 4)
    biases = {"first.0.bias", "second.0.bias", "wide.bias", "head.bias"}
    assert count == 4
    assert {name for name in state if not torch.equal(state[name], changed[name])} == biases


class SharedBias(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second, self.head = nn.Linear(5, 5), nn.Linear(5, 5), nn.Linear(5, 2)
        self.second.bias = self.first.bias

    def forward(self, x):
        return self.head(torch.relu(self.second(torch.relu(self.first(x)))))


def test_a_shared_bias_is_not_corrected():
    rows = torch.randn(50, 5, generator=torch.Generator().manual_seed(0))
    _, state, changed, count = corrected(SharedBias().eval(), rows)
    assert count == 1
    assert torch.equal(changed["first.bias"], state["first.bias"])


def test_the_file_has_the_corrected_biases():
    network, (rows, _) = residual(), images(200, 1)
    engine = BatchQuantizer.from_module(network, rows)
    for activations in (True, False):
        scheme = Scheme(4, activations=activations)
        (created,) = quantize_many(engine, [network.state_dict()], [rows], scheme, bias_correction=True)
        assert created.details["corrected_biases"] == 4
        assert created.details["agreement_with_graph"] > 0.97
