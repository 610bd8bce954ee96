"""Rounding in which no group is drowned by the others."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import fairpress as fp
from fairpress.compression.quantization.batch_quantizer import BatchQuantizer
from fairpress.compression.quantization.calibrate import scales_of_weights
from fairpress.compression.quantized_graph.scheme import Scheme
from fairpress.compression.recipes import parse
from fairpress.compression.rounding.compensate import compensate
from fairpress.compression.rounding.group_moments import weights_of_rows
from fairpress.core.errors import UserError
from trained import hard


def two_groups():
    """A linear layer, 400 rows of a group and 20 of another, whose inputs depend on each other in another way."""
    draw = torch.Generator().manual_seed(1)
    a = torch.randn(400, 16, generator=draw) @ torch.randn(16, 16, generator=draw)
    b = torch.randn(20, 16, generator=draw) @ torch.randn(16, 16, generator=draw) * 1.5
    codes = torch.cat([torch.zeros(400), torch.ones(20)]).long()
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 2))
    engine = BatchQuantizer.from_module(network, a[:2])
    prepared, state = engine.prepare(Scheme(2)), engine.fold(network.state_dict())
    return prepared, {**state, **scales_of_weights(prepared, state, "mse")}, torch.cat([a, b]), codes


def errors(prepared, state, rows, codes, **options):
    """Squared error of the first layer's outputs in each group."""
    changed, _ = compensate(prepared, state, rows, **options)
    change = changed["0.weight"] - state["0.weight"]
    return [float((rows[codes == g] @ change.T).square().mean()) for g in (0, 1)]


def test_weights_make_groups_count_alike():
    weights = weights_of_rows(torch.tensor([0, 0, 0, 1, -1, 2, 2, -1]))
    assert weights[4] == weights[7] == 0
    sums = [float(weights[torch.tensor([0, 0, 0, 1, -1, 2, 2, -1]) == g].sum()) for g in (0, 1, 2)]
    assert sums == pytest.approx([8.0, 8.0, 8.0])


def test_balanced_and_minimax_moments_help_the_small_group():
    prepared, state, rows, codes = two_groups()
    pooled = errors(prepared, state, rows, codes)
    balanced = errors(prepared, state, rows, codes, moments="balanced", groups=codes)
    minimax = errors(prepared, state, rows, codes, moments="minimax", groups=codes)
    assert pooled[1] == max(pooled)
    assert balanced[1] < pooled[1]
    assert max(minimax) <= max(pooled)
    assert max(minimax) < 0.9 * max(pooled)


def test_balanced_moments_are_pooled_ones_of_repeated_rows():
    prepared, state, rows, codes = two_groups()
    repeated = torch.cat([rows[:400], rows[400:].repeat(20, 1)])
    balanced, facts = compensate(prepared, state, rows, moments="balanced", groups=codes)
    again, _ = compensate(prepared, state, repeated)
    assert torch.equal(balanced["0.weight"], again["0.weight"])
    assert facts == {"rounding_rows": 420, "moments": "balanced"}


@pytest.mark.parametrize("moments", ["balanced", "minimax"])
def test_rows_of_no_counted_group_have_no_influence(moments):
    prepared, state, rows, codes = two_groups()
    codes[100:200] = -1
    changed = rows.clone()
    changed[100:200] = 50.0
    first, _ = compensate(prepared, state, rows, moments=moments, groups=codes)
    second, _ = compensate(prepared, state, changed, moments=moments, groups=codes)
    assert torch.equal(first["0.weight"], second["0.weight"])


def test_a_recipe_names_its_groups():
    data, bases = hard()
    created = fp.compress(bases[0], "int4(rounding=gptq,moments=minimax,by=sex)", data=data[0])
    details = created.card.provenance["details"]
    assert details["moments"] == "minimax"
    assert set(details["rows_of_groups"]) == {"Female", "Male"}
    assert (
        str(parse("int4(by=sex,moments=balanced,rounding=gptq)"))
        == "int4(rounding=gptq,moments=balanced,by=sex)"
    )
    assert str(parse("int4(by=sex,moments=balanced,rounding=gptq)").plain()) == "int4(rounding=gptq)"
    for text, sentence in {
        "int4(moments=balanced,by=sex)": "moments=balanced belongs to rounding=gptq",
        "int4(rounding=gptq,by=sex)": "moments=balanced or preserve",
    }.items():
        with pytest.raises(UserError, match=sentence):
            parse(text)


class TokensFirst(nn.Module):
    """Reads rows [rows, 16] as [4 tokens, rows, 4 values], and a constant through the same kind of layer."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens, self.head = nn.Linear(4, 8), nn.Linear(8, 2)

    def forward(self, x):
        return self.head(self.tokens(x.reshape(-1, 4, 4).transpose(0, 1)).relu().mean(0))


class WithConstant(nn.Module):
    """Adds what a layer computes from a constant to what another computes from rows."""

    def __init__(self) -> None:
        super().__init__()
        self.constant = nn.Parameter(torch.randn(5, 16))
        self.position, self.first, self.head = nn.Linear(16, 8), nn.Linear(16, 8), nn.Linear(8, 2)

    def forward(self, x):
        return self.head((self.first(x) + self.position(self.constant).mean(0)).relu())


def prepared_for(network, rows):
    """The prepared graph of a network with weights of 3 bits, and its state with scales."""
    engine = BatchQuantizer.from_module(network.eval(), rows[:2])
    prepared, state = engine.prepare(Scheme(3, activations=False)), engine.fold(network.state_dict())
    return prepared, {**state, **scales_of_weights(prepared, state, "mse")}


@pytest.mark.parametrize("moments", ["balanced", "minimax"])
def test_layers_whose_first_axis_is_not_that_of_rows_are_refused(moments):
    _, _, rows, codes = two_groups()
    prepared, state = prepared_for(TokensFirst(), rows)
    with pytest.raises(UserError, match=f"moments={moments} needs .* layer 'tokens' .* take moments=pooled"):
        compensate(prepared, state, rows, moments=moments, groups=codes)
    assert compensate(prepared, state, rows)[1] == {"rounding_rows": 420}


@pytest.mark.parametrize("moments", ["balanced", "minimax"])
def test_a_layer_that_reads_a_constant_reads_the_same_in_every_group(moments):
    _, _, rows, codes = two_groups()
    prepared, state = prepared_for(WithConstant(), rows)
    changed, _ = compensate(prepared, state, rows, moments=moments, groups=codes)
    assert torch.equal(changed["position.weight"], compensate(prepared, state, rows)[0]["position.weight"])


@pytest.mark.parametrize("moments", ["balanced", "minimax"])
@pytest.mark.parametrize("value", [float("nan"), 3e19])
def test_values_that_are_not_finite_are_refused(moments, value):
    prepared, state, rows, codes = two_groups()
    rows[401, 3] = value
    with pytest.raises(UserError, match="layer '0' reads values that are not finite"):
        compensate(prepared, state, rows, moments=moments, groups=codes)


@pytest.mark.parametrize("zero", ["inputs", "weights"])
def test_layers_that_no_rounding_changes_are_left_alone(zero):
    prepared, state, rows, codes = two_groups()
    if zero == "inputs":
        rows = rows * 0
    else:
        state["0.weight"] = torch.zeros_like(state["0.weight"])
    changed, _ = compensate(prepared, state, rows, moments="minimax", groups=codes)
    assert torch.equal(changed["0.weight"], compensate(prepared, state, rows)[0]["0.weight"])
