"""Calibration on ONNX Runtime: the ranges of PyTorch, or PyTorch itself."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from fairpress.compression.quantization import calibrate as module
from fairpress.compression.quantization.batch_quantizer import BatchQuantizer
from fairpress.compression.quantization.calibrate import calibrate, scales_of_weights
from fairpress.compression.quantized_graph import observed_graph
from fairpress.compression.quantized_graph.observed_graph import observe
from fairpress.compression.quantized_graph.range_estimators import RANGES
from fairpress.compression.quantized_graph.scheme import Scheme
from fairpress.core.errors import UserError
from fairpress.training.token_rows import TokenRows


class Residual(nn.Module):
    """Convolutions with batch norm, a max-pool, a sum, a gate, and a concatenation."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2)
        )
        self.second = nn.Sequential(
            nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.BatchNorm2d(8), nn.Hardswish()
        )
        self.gate, self.head = nn.Conv2d(8, 8, 1), nn.Linear(16, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.first(x)
        x = x + self.second(x)
        x = torch.cat([x, x * self.gate(x).sigmoid()], 1)
        return self.head(nn.functional.adaptive_avg_pool2d(x, 1).flatten(1))


class Attention(nn.Module):
    """A vision transformer of one block."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 16, 4, stride=4)
        self.block = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True, activation="gelu")
        self.head = nn.Linear(16, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.block(self.patches(x).flatten(2).transpose(1, 2)).mean(1))


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner, self.lstm, self.head = nn.Linear(5, 6), nn.LSTM(6, 7, batch_first=True), nn.Linear(7, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.lstm(self.inner(x).relu())[0][:, -1])


class Repeated(nn.Module):
    """A layer that runs twice, and one of which only a part is read."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.head = nn.Linear(6, 6), nn.Linear(6, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.inner(self.inner(x).relu()).tanh()[:, :6])


class Words(nn.Module):
    """Token ids of any length."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.inner, self.head = nn.Embedding(20, 8), nn.Linear(8, 8), nn.Linear(8, 3)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.head(self.inner(self.table(ids)).relu().mean(1))


def images(rows: int) -> torch.Tensor:
    return torch.rand(rows, 3, 16, 16, generator=torch.Generator().manual_seed(1))


def normal(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(1))


def texts(rows: int) -> TokenRows:
    """Rows of four different lengths, filled up with 0."""
    ids = np.random.default_rng(1).integers(1, 20, (rows, 9))
    for i in range(rows):
        ids[i, 4 + i % 4 :] = 0
    return TokenRows(ids, np.arange(rows), 0)


NETWORKS = {
    "convolutions": (Residual, images(40)),
    "attention": (Attention, images(40)),
    "LSTM": (Recurrent, normal(40, 4, 5)),
    "repeated": (Repeated, normal(40, 6)),
    "words": (Words, texts(40)),
    "one row": (Residual, images(1)),
    "pixels": (lambda: nn.Sequential(_Scaled(), Residual()), (images(8) * 255).to(torch.uint8)),
}


class _Scaled(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.float() / 255


def prepared_network(name, scheme=None):
    """Return the template of a network's files, its prepared graph, its state with scales of weights, and rows."""
    make, rows = NETWORKS[name]
    torch.manual_seed(0)
    network = make()
    example = rows[:2] if len(rows) > 1 else rows[[0, 0]]
    with torch.no_grad():
        for _ in range(3):
            network.train()(example)
    network.eval()
    engine = BatchQuantizer.from_module(network, example)
    prepared, state = engine.prepare(scheme or Scheme()), engine.fold(network.state_dict())
    return engine.template(prepared, state), prepared, state, rows


@pytest.mark.parametrize("name", NETWORKS)
def test_ranges_are_those_of_pytorch(name):
    template, prepared, state, rows = prepared_network(name)
    rounded = {**state, **scales_of_weights(prepared, state, "mse")}
    observed = observe(template, prepared, rounded, rows)
    expected = module._observe_in_torch(prepared, rounded, rows, torch.device("cpu"))
    assert observed is not None
    assert len(observed) == len(expected) == len(prepared.activations) > 0
    for one, other in zip(observed, expected, strict=True):
        assert one.counts.sum() == other.counts.sum()
        assert one.low == pytest.approx(other.low, rel=1e-5, abs=1e-6)
        assert one.high == pytest.approx(other.high, rel=1e-5, abs=1e-6)
        assert (one.counts - other.counts).abs().sum() <= max(2, 2e-3 * other.counts.sum())


@pytest.mark.parametrize("name", ["convolutions", "attention", "words"])
@pytest.mark.parametrize("scheme", [Scheme(), Scheme(4, keep_head=True)], ids=["int8", "int4"])
def test_scales_are_those_of_pytorch(name, scheme, monkeypatch):
    template, prepared, state, rows = prepared_network(name, scheme)
    for method in RANGES:
        fast = calibrate(prepared, state, rows, activations=method, template=template).state
        with monkeypatch.context() as patched:
            patched.setattr(module, "observe", lambda *_: pytest.fail("ONNX Runtime runs without a template"))
            slow = calibrate(prepared, state, rows, activations=method).state
        for activation in prepared.activations:
            for number in (f"{activation}.scale", f"{activation}.zero_point"):
                assert float(fast[number]) == pytest.approx(float(slow[number]), rel=1e-5), (method, number)


def test_rows_arrive_in_batches_whose_values_are_bounded(monkeypatch):
    template, prepared, state, rows = prepared_network("convolutions")
    rounded = {**state, **scales_of_weights(prepared, state, "mse")}
    batches = []
    run = observed_graph._Runner.run

    def counting(self, some):
        values = run(self, some)
        batches.append((len(some), sum(value.numel() * 4 for value in values.values())))
        return values

    monkeypatch.setattr(observed_graph._Runner, "run", counting)
    monkeypatch.setattr(observed_graph, "OBSERVED_BYTES", 200_000)
    few = observe(template, prepared, rounded, rows)
    assert all(size <= 200_000 for _, size in batches)
    assert sum(count for count, _ in batches) == len(rows) + 1  # the first row is compared with PyTorch
    monkeypatch.setattr(observed_graph, "OBSERVED_BYTES", 2**40)
    whole = observe(template, prepared, rounded, rows)
    assert [h.high for h in few] == pytest.approx([h.high for h in whole], rel=1e-5)


def test_a_graph_with_other_values_than_pytorchs_is_not_used():
    template, prepared, state, rows = prepared_network("repeated")
    rounded = {**state, **scales_of_weights(prepared, state, "mse")}
    other = replace(template, model=type(template.model).FromString(template.model.SerializeToString()))
    (relu,) = (node for node in other.model.graph.node if node.op_type == "Relu")
    relu.op_type = "Identity"
    assert observe(template, prepared, rounded, rows) is not None
    assert observe(other, prepared, rounded, rows) is None


@pytest.mark.parametrize("problem", ["no kernel", "size", "NaN"])
def test_what_onnx_runtime_cannot_observe_pytorch_observes(problem, monkeypatch):
    template, prepared, state, rows = prepared_network("convolutions")
    expected = calibrate(prepared, state, rows).state
    if problem == "no kernel":

        def refuse(*_args, **_options):
            raise UserError("ONNX Runtime cannot load this model (no kernel); export it again.")

        monkeypatch.setattr(observed_graph, "session", refuse)
    elif problem == "size":
        monkeypatch.setattr(observed_graph, "MAX_BYTES", 100)
    else:
        run = observed_graph._Runner.run
        broken = lambda self, some: {name: value * torch.nan for name, value in run(self, some).items()}  # noqa: E731
        monkeypatch.setattr(observed_graph._Runner, "run", broken)
    result = calibrate(prepared, state, rows, template=template).state
    assert all(torch.equal(result[name], value) for name, value in expected.items())
