"""Many fake-quantized networks trained as a chain compute what their graphs compute, digit for digit."""

import pytest
import torch
from torch import nn
from torch.func import vmap

from fairpress.compression.quantization import qat
from fairpress.compression.quantization.batch_quantizer import BatchQuantizer
from fairpress.compression.quantization.qat import QATGraphs
from fairpress.compression.quantized_graph.rounded_chain import rounded_chain
from fairpress.compression.quantized_graph.scheme import Scheme
from fairpress.models import registry
from fairpress.models.registry import build
from fairpress.training.stacked_networks import StackedNetworks

NETWORKS, ROWS, COLUMNS = 3, 40, 7


def graphs_of(module: nn.Module, scheme: Scheme) -> QATGraphs:
    return QATGraphs.prepare(BatchQuantizer.from_module(module, torch.zeros(2, COLUMNS)), scheme)


@pytest.mark.parametrize(
    "scheme", [Scheme(8), Scheme(4), Scheme(4, activations=False), Scheme(8, keep=("3",))], ids=str
)
def test_logits_and_gradients_are_those_of_vmap(scheme):
    architecture = registry.get("mlp", widths=(16, 12))
    graphs = graphs_of(build(architecture, COLUMNS, 2), scheme)
    states = [
        graphs.first_state(build(architecture, COLUMNS, 2, seed).state_dict()) for seed in range(NETWORKS)
    ]
    chain = rounded_chain(graphs.training.graph)
    assert chain is not None
    stack = StackedNetworks.from_states(graphs.training.graph, states, torch.device("cpu"), chain=chain)
    rows = torch.randn(NETWORKS, ROWS, COLUMNS, generator=torch.Generator().manual_seed(0))
    graphs.update_ranges({**stack.parameters, **stack.buffers}, list(rows), [("mse", "mse")] * NETWORKS)
    together = stack.forward(3 * rows)  # wider than the rows of the ranges: activations are clipped
    by_vmap = vmap(stack.slots.call)({**stack.parameters, **stack.buffers}, 3 * rows)
    assert torch.equal(together, by_vmap)
    gradients = [
        torch.autograd.grad((logits**2).sum(), list(stack.parameters.values()))
        for logits in (together, by_vmap)
    ]
    for one, other in zip(*gradients, strict=True):
        assert one.count_nonzero()
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("method", ["minmax", "mse"])
def test_ranges_of_networks_observed_together_are_those_of_each_alone(method, monkeypatch):
    architecture = registry.get("mlp", widths=(16, 12))
    graphs = graphs_of(build(architecture, COLUMNS, 2), Scheme(4))
    states = [
        graphs.first_state(build(architecture, COLUMNS, 2, seed).state_dict()) for seed in range(NETWORKS)
    ]
    rows = list(torch.randn(NETWORKS, ROWS, COLUMNS, generator=torch.Generator().manual_seed(0)))
    rows = [
        (1 + i) * part[: ROWS - i] for i, part in enumerate(rows)
    ]  # a range and a number of rows for each
    together = {name: torch.stack([state[name] for state in states]) for name in states[0]}
    calls = []
    real = qat.activation_histograms
    monkeypatch.setattr(qat, "activation_histograms", lambda *given: calls.append(1) or real(*given))
    graphs.update_ranges(together, rows, [(method, method)] * NETWORKS)
    for i, (state, part) in enumerate(zip(states, rows, strict=True)):
        alone = {name: value[None].clone() for name, value in state.items()}
        graphs.update_ranges(alone, [part], [(method, method)])
        assert len(calls) == 1
        for name, value in alone.items():
            torch.testing.assert_close(together[name][i], value[0])


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(COLUMNS, COLUMNS), nn.Linear(COLUMNS, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(x + torch.relu(self.first(x)))


def tied() -> nn.Module:
    layer = nn.Linear(COLUMNS, COLUMNS)
    return nn.Sequential(layer, nn.ReLU(), layer)


@pytest.mark.parametrize("module", [Residual(), tied(), nn.Sequential(nn.ReLU(), nn.Linear(COLUMNS, 2))])
def test_other_graphs_are_left_to_vmap(module):
    assert rounded_chain(graphs_of(module, Scheme(8)).training.graph) is None


def test_layers_with_preserved_channels_are_left_to_vmap():
    module = nn.Sequential(nn.Linear(COLUMNS, 40), nn.ReLU(), nn.Linear(40, 2))
    assert rounded_chain(graphs_of(module, Scheme(4, preserve=0.1)).training.graph) is None
