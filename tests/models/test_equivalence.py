"""What a float file may differ from its network by: float rounding as the network itself shows it, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import onnx
import pytest
import torch
from onnx import helper, numpy_helper
from torch import nn

from fairpress.core.errors import UserError
from fairpress.models import equivalence, export
from fairpress.models.equivalence import (
    EquivalenceError,
    Reference,
    check_equivalence,
    check_file_equivalence,
    reference,
    references,
)
from fairpress.models.export import export_many
from fairpress.models.mlp import Mlp
from fairpress.runtime.backends.onnxruntime import session
from fairpress.training.config import FitConfig
from fairpress.training.fit import fit
from made_dataset import make_dataset


def network() -> nn.Sequential:
    """A batch norm that is not folded (a ReLU stands between), a dropout, two linear layers."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.BatchNorm1d(16), nn.Dropout(0.2), nn.Linear(16, 3))
    net[2].running_mean.normal_()
    net[2].running_var.uniform_(0.5, 2)
    return net.eval()


def rows(count: int = 300) -> torch.Tensor:
    return torch.randn(count, 6, generator=torch.Generator().manual_seed(1))


def file_of(net: nn.Module) -> bytes:
    return export_many(net, [net.state_dict()], rows(2))[0]


@cache
def file_of_network() -> bytes:
    return file_of(network())


def network_reference() -> Reference:
    return reference(network(), network().state_dict(), rows())


def test_the_references_of_many_states_are_those_of_each_alone():
    """The module is copied once: no state may leave a trace for the next."""
    states = [{k: v * factor for k, v in network().state_dict().items()} for factor in (1.0, 0.5, 1.0)]
    inputs = [rows(40), rows(30), rows(20)]
    together = list(references(network(), states, inputs))
    for found, state, own in zip(together, states, inputs, strict=True):
        alone = reference(network(), state, own)
        assert np.array_equal(found.outputs, alone.outputs)
        assert np.array_equal(found.tolerance, alone.tolerance)
    assert not np.array_equal(together[0].outputs[:30], together[1].outputs)


def with_constant(
    data: bytes, shape: tuple[int, ...], change: Callable[[np.ndarray], None], which: int = 0
) -> bytes:
    model = onnx.load_from_string(data)
    tensor = [t for t in model.graph.initializer if tuple(t.dims) == shape][which]
    values = numpy_helper.to_array(tensor).copy()
    change(values)
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    return model.SerializeToString()


def one_weight(values: np.ndarray) -> None:
    values.flat[0] += 1e-3


def one_statistic(values: np.ndarray) -> None:
    values *= 1.001


def test_a_file_passes_with_rounding_to_spare():
    result = network_reference()
    check_file_equivalence(file_of_network(), result)
    assert 0 < result.tolerance.max() < 1e-4 * np.abs(result.outputs).max()


@pytest.mark.parametrize(
    ("shape", "which", "change"),
    [((16, 6), 0, one_weight), ((3, 16), 0, one_weight), ((3,), 0, one_weight), ((16,), 3, one_statistic)],
)
def test_a_file_with_one_other_number_is_refused(shape, which, change):
    data = with_constant(file_of_network(), shape, change, which)
    with pytest.raises(EquivalenceError, match=r"does not reproduce the network.*float rounding"):
        check_file_equivalence(data, network_reference())


def test_a_file_that_drops_out_is_refused():
    model = onnx.load_from_string(file_of_network())
    last = model.graph.node[-1]
    noise = [
        helper.make_node("RandomUniformLike", [last.input[0]], ["drawn"], low=0.9, high=1.1),
        helper.make_node("Mul", [last.input[0], "drawn"], ["noisy"]),
    ]
    last.input[0] = "noisy"
    for node in noise:
        model.graph.node.insert(len(model.graph.node) - 1, node)
    with pytest.raises(EquivalenceError, match="does not reproduce"):
        check_file_equivalence(model.SerializeToString(), network_reference())


def test_a_file_for_one_size_of_batch_is_refused():
    model = onnx.load_from_string(file_of_network())
    last = model.graph.node[-1]
    last.output[0] = "before"
    shape = numpy_helper.from_array(np.array([300, 3], np.int64), "shape")
    model.graph.initializer.append(shape)
    model.graph.node.append(helper.make_node("Reshape", ["before", "shape"], ["y"]))
    with pytest.raises(EquivalenceError, match="cannot read 1 rows at a time"):
        check_file_equivalence(model.SerializeToString(), network_reference())


def test_a_graph_that_took_one_side_of_a_branch_is_refused():
    net = network()

    def traced(x: torch.Tensor) -> np.ndarray:
        with torch.no_grad():
            return (net(x) if True else -net(x)).numpy()

    class Branching(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = net

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            out = self.net(x)
            return torch.where(x[:, :1] > 2.5, -out, out)  # what a few rows only take

    module = Branching().eval()
    result = reference(module, module.state_dict(), rows())
    with pytest.raises(EquivalenceError, match=r"the graph .* \d+ of 300 rows differ"):
        check_equivalence(traced, result, "the graph")


def test_where_the_tolerance_is_large_the_network_itself_is_badly_conditioned():
    """x − c by the difference of large squares: float32 leaves four digits, and the check allows for that."""

    class Distances(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.c = nn.Parameter(300 + torch.arange(9.0).view(3, 3))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return (
                2 * nn.functional.linear(x, self.c) - self.c.square().sum(1) - x.square().sum(1, keepdim=True)
            )

    net, x = Distances(), 300 + rows()[:, :3]
    result = reference(net, net.state_dict(), x)
    exact = net.double()(x.double()).detach().numpy()
    rounding = np.abs(result.outputs - exact).max()
    assert 1e-3 < rounding < result.tolerance.max() < 0.1 * result.outputs.std()


def test_a_file_that_the_exporter_simplified_wrongly_is_written_without_simplifying(monkeypatch):
    simplified = []

    def spoiled(graph, state, example, *, simplify=True):
        simplified.append(simplify)
        model = export_with_names(graph, state, example, simplify=simplify)
        if simplify:
            model.graph.node.append(helper.make_node("Neg", ["y"], ["z"]))
            model.graph.output[0].name = "z"
        return model

    export_with_names = export.export_with_names
    monkeypatch.setattr(export, "export_with_names", spoiled)
    net = network()
    (data,) = export_many(net, [net.state_dict()], rows(2), rows=[rows()])
    assert simplified == [True, False]
    check_file_equivalence(data, network_reference())


def spoil(monkeypatch: pytest.MonkeyPatch, factor: float) -> None:
    """Let every file hold other weights than its network."""
    filled = export.fill
    monkeypatch.setattr(
        export, "fill", lambda model, values: filled(model, {k: factor * v for k, v in values.items()})
    )


def test_a_file_that_differs_either_way_is_refused(monkeypatch):
    spoil(monkeypatch, 2)
    net = network()
    with pytest.raises(EquivalenceError, match="is not shipped"):
        export_many(net, [net.state_dict()], rows(2), rows=[rows()])


def test_training_ends_in_a_file_that_was_held_against_its_network(monkeypatch):
    spoil(monkeypatch, 1.01)
    with pytest.raises(EquivalenceError):
        fit(Mlp(widths=(7,)), [make_dataset()], [0], FitConfig(max_epochs=1))


def test_rounding_is_measured_without_touching_random_numbers():
    net = network()
    drawn = torch.get_rng_state()
    reference(net, net.state_dict(), rows())
    assert torch.equal(torch.get_rng_state(), drawn)


def test_outputs_that_depend_on_the_batch_are_the_networks_fault():
    net = nn.Sequential(nn.Linear(6, 3), nn.Softmax(dim=0)).eval()
    with pytest.raises(UserError, match="depends on the other rows of its batch"):
        reference(net, net.state_dict(), rows())


class Ordinal(nn.Module):
    """Log probabilities of two classes, added up in a way that the exporter writes as formulas that overflow."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.head = nn.Linear(6, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        one, other = self.head(x).split(1, 1)
        return torch.cat([nn.functional.logsigmoid(one), torch.logaddexp(one, other)], 1)


def test_logarithms_of_sums_do_not_overflow_in_a_file_where_they_do_not_in_the_network():
    net = Ordinal()
    for large in (1.0, 300.0, -300.0):
        own = large * rows()
        with torch.no_grad():
            expected = net(own).numpy()
        opened = session(file_of(net))
        result = opened.run(None, {"x": own.numpy()})[0]
        assert np.allclose(result, expected, rtol=1e-5, atol=1e-5)


class Half(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(6, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return self.head(x).float()


class Data(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(2, 6))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.linear(x, self.weight.data * 2)


@pytest.mark.parametrize(
    ("net", "sentence"),
    [
        (Half, "no kernel for .* compute in float32 throughout, without autocast"),
        (Data, r"through \.data.*write \.detach\(\)"),
    ],
)
def test_what_no_file_can_compute_is_refused_with_what_to_write(net, sentence):
    own = net()
    with pytest.raises(UserError, match=sentence):
        export_many(own, [own.state_dict()], rows(2), rows=[rows()])


class Summed(nn.Module):
    """Class scores of small images."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.head = nn.Linear(3 * 64 * 64, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(x.flatten(1))


@pytest.mark.parametrize(
    ("size", "count", "batches"),
    [(64, 42, [7, 7, 7, 7, 7, 6, 1]), (224, 4, [3, 1]), (224, 2, [2, 1, 1]), (512, 4, [1, 1, 2])],
)
def test_large_rows_run_once_and_in_batches_of_two_sizes(size: int, count: int, batches: list[int]) -> None:
    images = torch.rand(50, 3, size, size, generator=torch.Generator().manual_seed(2))
    net = nn.Sequential(nn.AdaptiveAvgPool2d(64), Summed()).eval()
    result = reference(net, net.state_dict(), images[: max(count, 4)] if count == 2 else images)
    result = result.part(slice(count))
    seen: list[torch.Tensor] = []

    def compute(rows: torch.Tensor) -> np.ndarray:
        seen.append(rows)
        with torch.no_grad():
            return net(rows).numpy()

    check_equivalence(compute, result, "the graph")
    assert [len(rows) for rows in seen] == batches
    if count > 2:
        assert torch.equal(torch.cat(seen), images[:count])


@pytest.mark.parametrize("wrong", [0, 41])
def test_one_large_row_that_differs_is_found_wherever_it_is(wrong: int) -> None:
    images = torch.rand(42, 3, 64, 64, generator=torch.Generator().manual_seed(2))
    net = Summed().eval()
    result = reference(net, net.state_dict(), images)

    def compute(rows: torch.Tensor) -> np.ndarray:
        same = (rows == images[wrong]).all(dim=(1, 2, 3))
        with torch.no_grad():
            return (net(rows) + 1e-3 * same[:, None]).numpy()

    with pytest.raises(EquivalenceError, match=r"the outputs of 1 of \d+ rows differ"):
        check_equivalence(compute, result, "the graph")


def test_halves_of_large_rows_show_the_rounding_that_whole_ones_show(monkeypatch) -> None:
    images = torch.rand(42, 3, 64, 64, generator=torch.Generator().manual_seed(2))
    net = Summed().eval()
    halves = reference(net, net.state_dict(), images).tolerance
    monkeypatch.setattr(equivalence, "_is_large", lambda rows: False)
    whole = reference(net, net.state_dict(), images).tolerance
    assert 0.5 < np.median(halves) / np.median(whole) < 1.2


def test_large_rows_that_depend_on_their_batch_are_the_networks_fault() -> None:
    images = torch.rand(42, 3, 64, 64, generator=torch.Generator().manual_seed(2))
    net = nn.Sequential(Summed(), nn.Softmax(dim=0)).eval()
    with pytest.raises(UserError, match="depends on the other rows of its batch"):
        reference(net, net.state_dict(), images)
