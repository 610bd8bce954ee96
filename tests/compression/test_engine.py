"""The quantization engine: the file is what was asked for, whichever way it was made."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import nn

from conftest import make_dataset
from fairpress.compression.engine import NotAsAsked, _check, quantize_many
from fairpress.core.errors import UserError
from fairpress.models.checkpoint import from_bytes
from fairpress.models.mlp import Mlp
from fairpress.runtime.pack import weight_bits
from fairpress.runtime.session import operators, run
from fairpress.training.fit import FitConfig, fit


def networks(count: int) -> tuple[nn.Module, list[dict[str, torch.Tensor]], list[torch.Tensor]]:
    """Trained networks: what an untrained one decides is a matter of rounding."""
    data = [make_dataset(fold=i) for i in range(count)]
    architecture = Mlp(widths=(16, 16))
    made = fit(
        architecture, data, list(range(count)), FitConfig(max_epochs=8, batch_size=32, learning_rate=1e-2)
    )
    rows = [torch.from_numpy(d.part("calibration").inputs) for d in data]
    return architecture.build(4, 2), [from_bytes(a.weights) for a in made], rows


def contents(data: bytes) -> list[np.ndarray]:
    return [numpy_helper.to_array(t) for t in onnx.load_from_string(data).graph.initializer]


@pytest.mark.parametrize("bits", [8, 4])
def test_a_refilled_file_is_byte_for_byte_a_fresh_export(bits):
    module, states, rows = networks(3)
    together = quantize_many(module, states, rows, weight_bits=bits)
    for made, state, calibration in zip(together, states, rows, strict=True):
        (alone,) = quantize_many(module, [state], [calibration], weight_bits=bits)
        assert made.onnx == alone.onnx
    assert together[0].onnx != together[1].onnx


@pytest.mark.parametrize("bits", [8, 4])
def test_the_file_stores_the_bits_runs_integers_and_agrees_with_its_graph(bits):
    module, states, rows = networks(1)
    (made,) = quantize_many(module, states, rows, weight_bits=bits)
    assert sorted(b for b in weight_bits(made.onnx).values() if b < 32) == [bits] * 3
    assert operators(made.onnx)["QGemm"] == 3
    x = torch.randn(2000, 4)
    with torch.no_grad():
        same = made.graph(x).argmax(1).numpy() == run(made.onnx, x.numpy()).argmax(1)
    assert same.mean() >= {8: 0.995, 4: 0.98}[bits]


def test_the_callers_network_is_not_touched():
    module, states, rows = networks(1)
    before = {k: v.clone() for k, v in module.state_dict().items()}
    quantize_many(module, states, rows)
    assert all(torch.equal(v, before[k]) for k, v in module.state_dict().items())


def test_a_misspelt_layer_is_refused():
    module, states, rows = networks(1)
    with pytest.raises(UserError, match="no layer '99'"):
        quantize_many(module, states, rows, overrides={"99": 8})


def test_a_file_with_other_bits_than_asked_is_not_shipped():
    module, states, rows = networks(1)
    (made,) = quantize_many(module, states, rows, weight_bits=8)
    with pytest.raises(NotAsAsked, match="bits were asked for"):
        _check(made.onnx, made.graph, rows[0], dict.fromkeys("abc", 4))


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
        self.second = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8))
        self.head = nn.Linear(8, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.first(x)
        x = torch.relu(x + self.second(x))
        return self.head(nn.functional.adaptive_avg_pool2d(x, 1).flatten(1))


@pytest.mark.slow
def test_the_same_engine_quantizes_convolutions_with_batch_norm_and_a_residual_sum():
    modules = []
    for seed in range(2):
        torch.manual_seed(seed)
        modules.append(Residual().train())
        for _ in range(5):
            modules[-1](torch.randn(16, 3, 8, 8))
        modules[-1].eval()
    states, x = [m.state_dict() for m in modules], torch.randn(64, 3, 8, 8)
    together = quantize_many(modules[0], states, [x, x])
    counts = operators(together[0].onnx)
    assert counts["QLinearConv"] == 2
    assert counts["QLinearAdd"] == 1
    (alone,) = quantize_many(modules[1], states[1:], [x])
    assert together[1].onnx == alone.onnx
