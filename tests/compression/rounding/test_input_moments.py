"""What a layer's channels read, against the operators themselves."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from fairpress.compression.rounding import input_moments as module
from fairpress.compression.rounding.input_moments import input_moments, patches
from fairpress.models.tracing import trace, weighted

LAYERS = {
    "linear": (nn.Linear(6, 4), (6,)),
    "linear of tokens": (nn.Linear(6, 4), (5, 6)),
    "3 × 3": (nn.Conv2d(3, 4, 3), (3, 9, 8)),
    "padding and stride": (nn.Conv2d(3, 4, (3, 5), stride=(2, 1), padding=(1, 2)), (3, 9, 8)),
    "dilation": (nn.Conv2d(3, 4, 3, dilation=(2, 1), padding=2), (3, 9, 8)),
    "same": (nn.Conv2d(3, 4, (5, 3), dilation=(1, 2), padding="same"), (3, 9, 8)),
    "valid": (nn.Conv2d(3, 4, 3, padding="valid"), (3, 9, 8)),
    "groups": (nn.Conv2d(6, 4, 3, groups=2, padding=1), (6, 7, 7)),
    "depthwise": (nn.Conv2d(6, 12, 3, groups=6, stride=2), (6, 7, 7)),
    "1d": (nn.Conv1d(3, 4, 5, stride=2, padding=2, dilation=2), (3, 20)),
    "1d in groups": (nn.Conv1d(4, 8, 3, groups=4), (4, 20)),
}


def traced(layer: nn.Module, row: tuple[int, ...], rows: int = 7):
    """Return a layer's node, inputs, weight and outputs [rows, channels, positions]."""
    x = torch.randn(rows, *row, generator=torch.Generator().manual_seed(0))

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = layer

        def forward(self, x):
            return self.layer(x).flatten(1)

    (node,) = weighted(trace(Network(), x))
    with torch.no_grad():
        bias = layer.bias if isinstance(layer, nn.Linear) else layer.bias.view(-1, *[1] * (len(row) - 1))
        out = layer(x) - bias
    out = out.reshape(rows, -1, layer.weight.shape[0]).mT if isinstance(layer, nn.Linear) else out.flatten(2)
    return node, x, layer.weight.detach(), out


@pytest.mark.parametrize("name", LAYERS)
def test_patches_times_weights_are_the_layers_outputs(name):
    node, x, weight, out = traced(*LAYERS[name])
    columns = patches(node, x, weight.shape)  # [rows, groups, positions, k]
    by_group = weight.flatten(1).view(columns.shape[1], -1, columns.shape[-1])
    assert torch.allclose((columns @ by_group.mT).transpose(2, 3).flatten(1, 2), out, atol=1e-5)


@pytest.mark.parametrize("name", LAYERS)
def test_moments_give_the_squared_outputs(name):
    node, x, weight, out = traced(*LAYERS[name])
    moments = input_moments(node, x.split(3), weight.shape)
    by_group = weight.flatten(1).view(len(moments), -1, moments.shape[-1])
    squares = ((by_group @ moments) * by_group).sum(-1).flatten()
    assert torch.allclose(squares, out.square().mean((0, 2)), rtol=1e-4)
    assert torch.allclose(moments, moments.mT, rtol=1e-5, atol=1e-7)


def test_panels_and_batches_change_nothing(monkeypatch):
    node, x, weight, _ = traced(*LAYERS["groups"])
    whole = input_moments(node, [x], weight.shape)
    monkeypatch.setattr(module, "PANEL", 10)
    monkeypatch.setattr(module, "BATCH", 100)
    assert torch.allclose(input_moments(node, x.split(1), weight.shape), whole, atol=1e-5)


def test_a_part_of_the_values_has_that_part_of_the_moments():
    node, x, weight, _ = traced(*LAYERS["3 × 3"])
    whole, part = input_moments(node, [x], weight.shape), slice(5, 14)
    assert torch.allclose(input_moments(node, [x], weight.shape, part=part), whole[:, part, part], atol=1e-6)


def test_weights_of_rows_count_rows_more_often():
    node, x, weight, _ = traced(*LAYERS["padding and stride"])
    counts = torch.tensor([3, 1, 0, 2, 1, 1, 4])
    repeated = input_moments(node, [x.repeat_interleave(counts, 0)], weight.shape)
    result = input_moments(node, x.split(4), weight.shape, counts.float().split(4))
    assert torch.allclose(result, repeated, atol=1e-5)


def test_of_many_positions_equally_many_of_every_row_are_drawn(monkeypatch):
    layer = nn.Conv2d(2, 3, 1)
    node, _, weight, _ = traced(layer, (2, 40, 40))
    x = torch.ones(10, 2, 40, 40) * torch.arange(10.0)[:, None, None, None]
    x[:, 1] = torch.randn(10, 40, 40, generator=torch.Generator().manual_seed(1))
    monkeypatch.setattr(module, "MAX_POSITIONS", 2000)
    moments = input_moments(node, x.split(4), weight.shape)
    assert moments[0, 0, 0] == pytest.approx(float(torch.arange(10.0).square().mean()))
    assert moments[0, 1, 1] == pytest.approx(1, abs=0.15)
    assert moments[0, 1, 1] != pytest.approx(float(x[:, 1].square().mean()), abs=1e-6)
    assert torch.equal(moments, input_moments(node, x.split(4), weight.shape))


@pytest.mark.parametrize("name", ["linear", "linear of tokens", "3 × 3", "depthwise", "1d"])
def test_chunks_without_rows_change_nothing(name, monkeypatch):
    node, x, weight, _ = traced(*LAYERS[name])
    monkeypatch.setattr(module, "MAX_POSITIONS", 20)
    monkeypatch.setattr(module, "POSITIONS_PER_INPUT", 0)
    expected = input_moments(node, [x[:4], x[4:]], weight.shape)
    assert torch.equal(input_moments(node, [x[:0], x[:4], x[:0], x[4:]], weight.shape), expected)
