"""A network as a graph: folding changes nothing but the form, and what cannot be exported is named."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from fairpress.core.errors import UserError
from fairpress.models.export import export_many, export_with_names, fill
from fairpress.models.functional_call import FastFunctionalCall
from fairpress.models.tracing import find_batch_norm_folds, fold_graph, fold_state, set_training, trace
from fairpress.runtime.backends.onnxruntime import run


def convolutional() -> nn.Sequential:
    """Two convolutions with batch norms that are not trivial: one without bias, one without scale and shift."""
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3, bias=False),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Conv2d(4, 4, 3),
        nn.BatchNorm2d(4, affine=False),
        nn.Dropout(0.5),
        nn.Flatten(),
        nn.Linear(4 * 4 * 4, 3),
        nn.BatchNorm1d(3),
    )
    for child in net:
        if isinstance(child, nn.BatchNorm2d | nn.BatchNorm1d):
            child.running_mean.normal_()
            child.running_var.uniform_(0.5, 2)
            if child.affine:
                nn.init.normal_(child.weight)
                nn.init.normal_(child.bias)
    return net.eval()


def test_folding_batch_norm_changes_no_output():
    net, x = convolutional(), torch.randn(5, 3, 8, 8)
    graph = trace(net, x)
    pairs = find_batch_norm_folds(graph)
    assert [p.weight for p in pairs] == ["0.weight", "3.weight", "7.weight"]
    with torch.no_grad():
        result = FastFunctionalCall(fold_graph(graph)).call(fold_state(net.state_dict(), pairs), x)
        assert torch.allclose(result, net(x), atol=1e-5)


def test_a_traced_graph_shares_nothing_with_the_network():
    net = convolutional()
    graph = trace(net, torch.randn(2, 3, 8, 8))
    before = {k: v.clone() for k, v in net.state_dict().items()}
    with torch.no_grad():
        for value in graph.parameters():
            value.zero_()
    assert all(torch.equal(v, before[k]) for k, v in net.state_dict().items())
    assert not net.training


def test_a_graph_in_training_mode_normalises_by_the_batch_as_the_network_does():
    net, x = convolutional(), torch.randn(16, 3, 8, 8)
    net[5].p = 0.0
    graph = trace(net, x)
    set_training(graph, True)
    with torch.no_grad():
        result = graph(x)
        assert torch.allclose(result, net.train()(x), atol=1e-5)
    moved = dict(graph.named_buffers())["1.running_mean"]
    assert torch.allclose(moved, net[1].running_mean, atol=1e-6)


def test_dropout_is_off_unless_asked_for():
    graph, x = trace(convolutional(), torch.randn(2, 3, 8, 8)), torch.randn(64, 3, 8, 8)
    set_training(graph, True, dropout=False)
    assert torch.equal(graph(x), graph(x))
    set_training(graph, True)
    assert not torch.equal(graph(x), graph(x))


def test_one_export_serves_networks_whose_batch_norms_differ():
    nets, x = [convolutional(), convolutional()], torch.randn(4, 3, 8, 8)
    with torch.no_grad():
        for value in nets[1].parameters():
            value.mul_(1.5)
        nets[1][1].running_mean.add_(1)
    files = export_many(nets[0], [n.state_dict() for n in nets], x)
    for net, file in zip(nets, files, strict=True):
        with torch.no_grad():
            assert torch.allclose(torch.from_numpy(run(file, x.numpy())), net(x), atol=1e-4)


def test_equal_tensors_of_the_first_network_stay_two_in_the_file():
    """Untrained biases are all zero; a file that stored them once would give every layer the first one's."""
    nets = [nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4)) for _ in range(2)]
    for layer in (nets[0][0], nets[0][2]):
        nn.init.zeros_(layer.bias)
    x = torch.randn(3, 4)
    files = export_many(nets[0], [n.state_dict() for n in nets], x)
    with torch.no_grad():
        assert torch.allclose(torch.from_numpy(run(files[1], x.numpy())), nets[1](x), atol=1e-5)


class Undecided(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x if x.sum() > 0 else -x


class Unknown(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.special.bessel_j0(x)


@pytest.mark.parametrize("odd", [Undecided(), Unknown()])
def test_a_layer_that_cannot_be_exported_is_named(odd, capfd):
    net = nn.Sequential(nn.Linear(4, 4), odd, nn.Linear(4, 2))
    with pytest.raises(UserError, match=rf"^layer '1' \({type(odd).__name__}\) cannot be exported"):
        export_many(net, [net.state_dict()], torch.randn(2, 4))
    assert "forward" not in capfd.readouterr().err


def test_a_tensor_under_two_names_is_replaced_under_both():
    net = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    net[1].weight = net[0].weight
    slots, x = FastFunctionalCall(net), torch.randn(2, 4)
    assert slots.aliases == {"1.weight": "0.weight"}
    before = net(x)
    assert torch.equal(slots.call({"0.weight": torch.zeros(4, 4)}, x), net[1].bias.expand(2, 4))
    assert torch.equal(net(x), before)


def test_a_matrix_that_the_exporter_turns_is_stored_as_it_is():
    class Tokens(nn.Module):
        def __init__(self):
            super().__init__()
            self.wide, self.narrow = nn.Linear(64, 96), nn.Linear(96, 2)

        def forward(self, x):
            return self.narrow(self.wide(x).relu().mean(1))

    torch.manual_seed(0)
    net, x = Tokens().eval(), torch.randn(2, 5, 64)
    graph = trace(net, x)
    state = {k: v.detach() for k, v in net.state_dict().items()}
    model = export_with_names(graph, state, x)
    other = {k: torch.randn_like(v) for k, v in state.items()}
    created = fill(model, {k: v.numpy() for k, v in other.items()})
    assert {"wide.weight", "narrow.weight"} <= {t.name for t in created.graph.initializer}
    net.load_state_dict(other)
    result = torch.as_tensor(run(created.SerializeToString(), x.numpy()))
    torch.testing.assert_close(result, net(x).detach(), rtol=1e-4, atol=1e-4)
