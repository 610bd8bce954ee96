"""Cross-layer equalization computes the same with weights that are easier to round."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from fairpress.compression.apply import compress
from fairpress.compression.errors import VerificationError
from fairpress.compression.quantization.batch_quantizer import BatchQuantizer
from fairpress.compression.quantization.equalization import equalize, find_equalized_pairs
from fairpress.compression.recipes import parse
from fairpress.compression.steps.equalize import check_same_outputs
from fairpress.runtime.backends.onnxruntime import run
from fairpress.runtime.onnx.weight_packing import weight_bits
from trained import easy, images, residual


def separable(norm: bool, activation: type[nn.Module] = nn.ReLU) -> nn.Module:
    """Pointwise and depthwise convolutions, pooling, and a linear layer that reads several values of a channel."""
    torch.manual_seed(0)

    def after(channels: int) -> list[nn.Module]:
        return [nn.BatchNorm2d(channels), activation()] if norm else [activation()]

    network = nn.Sequential(
        *(nn.Conv2d(3, 8, 3, padding=1), *after(8), nn.Conv2d(8, 8, 3, padding=1, groups=8), *after(8)),
        *(nn.Conv2d(8, 6, 1), nn.MaxPool2d(4), *after(6), nn.Conv2d(6, 9, 1, groups=3), *after(9)),
        *(nn.Flatten(), nn.Dropout(), nn.Linear(36, 5), activation(), nn.Linear(5, 2)),
    )
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():  # unequal channels
        for module in network:
            if isinstance(module, nn.Conv2d | nn.Linear):
                sizes = torch.randn(len(module.weight), generator=generator).exp()
                module.weight *= sizes.view(-1, *[1] * (module.weight.dim() - 1))
        network.train()(images(64)[0])  # running statistics
    return network.eval()


def equalized(network: nn.Module, rows: torch.Tensor):
    engine = BatchQuantizer.from_module(network, rows)
    pairs, skipped = find_equalized_pairs(engine.folded, engine.pairs)
    state, scales = equalize(network.state_dict(), engine.pairs, pairs)
    return engine, pairs, skipped, state, scales


@pytest.mark.parametrize("norm", [False, True])
def test_separable_networks_compute_the_same_with_equal_ranges(norm):
    network, (rows, _) = separable(norm), images(64)
    engine, pairs, skipped, state, scales = equalized(network, rows)
    assert len(pairs) == (4 if norm else 5)  # a batch norm after a pool is not folded
    assert list(skipped) == (["batch_norm"] if norm else [])
    with torch.no_grad():
        before = network(rows)
        network.load_state_dict(state)
        after = network(rows)
    assert torch.allclose(before, after, atol=1e-4, rtol=1e-4)
    check_same_outputs(engine, network.state_dict(), state, rows)
    folded = engine.fold(state)
    for pair in pairs:
        first, second = pair.ranges(folded)
        alive = (first > 0) & (second > 0)
        assert torch.allclose(first[alive], second[alive], rtol=0.02)
    assert max(float(s.max()) for s in scales.values()) > 2


def test_one_pair_has_the_geometric_mean_of_its_ranges():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2)).eval()
    first, second = (network[i].weight.detach().abs() for i in (0, 2))
    expected = (first.amax(1) * second.amax(0)).sqrt()
    _, _, _, state, scales = equalized(network, torch.randn(8, 4))
    assert torch.allclose(state["0.weight"].abs().amax(1), expected)
    assert torch.allclose(state["2.weight"].abs().amax(0), expected)
    assert torch.allclose(scales["0"].float(), (first.amax(1) / second.amax(0)).sqrt())


def test_zeros_stay_and_dead_channels_are_left_alone():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2)).eval()
    with torch.no_grad():
        network[0].weight[2] = 0
        network[2].weight[:, 3] = 0
        network[0].weight[5, 1] = 0
    _, _, _, state, scales = equalized(network, torch.randn(8, 4))
    assert scales["0"][[2, 3]].tolist() == [1, 1]
    for name in ("0.weight", "2.weight"):
        assert torch.equal(state[name] == 0, network.state_dict()[name] == 0)


def test_other_activations_sums_and_joins_are_named():
    _, pairs, skipped, _, _ = equalized(residual(), images(64)[0])
    assert [pair.first for pair in pairs] == ["wide"]
    assert skipped == {"several readers": ["first.0"], "a sum": ["second.0"]}
    for activation, reason in (
        (nn.ReLU6, "ReLU6"),
        (nn.SiLU, "silu"),
        (nn.GELU, "gelu"),
        (nn.Hardswish, "hardswish"),
    ):
        _, pairs, skipped, _, _ = equalized(separable(False, activation), images(64)[0])
        assert not pairs
        assert list(skipped) == [reason]


class Shared(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.head = nn.Linear(5, 5), nn.Linear(5, 2)

    def forward(self, x):
        return self.head(torch.relu(self.first(torch.relu(self.first(x)))))


def test_layers_that_run_twice_are_left_alone():
    _, pairs, skipped, _, _ = equalized(Shared().eval(), torch.randn(8, 5))
    assert not pairs
    assert set(skipped) == {"shared weights"}


def test_a_recipe_equalizes_then_quantizes():
    data, bases = easy()
    messages: list[str] = []
    (alone,) = compress(bases[:1], parse("equalize"), data[:1], [0], messages.append)
    (both,) = compress(bases[:1], parse("equalize+int4"), data[:1], [0])
    rows = data[0].part("test").inputs
    assert abs(run(alone.onnx, rows) - run(bases[0].onnx, rows)).max() < 1e-3
    assert messages[0] == "2 layers equalized with the next"
    assert both.card.recipe == "equalize+int4"
    assert both.card.provenance["details"]["equalized"]["layers"] == ["1", "3"]
    assert set(weight_bits(both.onnx).values()) == {4}


def test_a_network_that_computes_something_else_is_refused():
    network, rows = residual(), images(64)[0]
    engine, _, _, state, _ = equalized(network, rows)
    state["head.bias"] = state["head.bias"] + 1
    with pytest.raises(VerificationError, match="equalize changed the network's outputs"):
        check_same_outputs(engine, network.state_dict(), state, rows)
