"""Networks trained side by side compute what each computes alone."""

import pytest
import torch
from torch import nn
from torch.func import vmap

from fairpress.models import registry
from fairpress.models.feature_scaling import Standardize
from fairpress.models.functional_call import FastFunctionalCall
from fairpress.models.registry import build
from fairpress.training.stacked_networks import StackedNetworks, plain_chain


@pytest.fixture
def stack() -> StackedNetworks:
    architecture = registry.get("mlp", widths=(12, 7))
    states = [dict(build(architecture, 5, 3, seed).state_dict()) for seed in range(4)]
    for i, state in enumerate(states):
        state["0.mean"], state["0.scale"] = torch.full((5,), 0.1 * i), torch.full((5,), 0.05 + i)
    return StackedNetworks.from_states(build(architecture, 5, 3), states, torch.device("cpu"))


def test_an_mlps_products_over_networks_are_those_of_vmap_digit_for_digit(stack):
    inputs = torch.randn(4, 30, 5, generator=torch.Generator().manual_seed(0))
    together = stack.forward(inputs)  # the first network clips its columns, at 5 standard deviations of .05
    assert stack.chain is not None
    by_vmap = vmap(stack.slots.call)({**stack.parameters, **stack.buffers}, inputs)
    assert torch.equal(together, by_vmap)
    gradients = [
        torch.autograd.grad((x**2).sum(), list(stack.parameters.values())) for x in (together, by_vmap)
    ]
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))


def hooked() -> nn.Module:
    module = nn.Sequential(nn.Linear(3, 3), nn.ReLU())
    module[0].register_forward_hook(lambda module, inputs, output: 2 * output)
    return module


def repeated() -> nn.Module:
    layer = nn.Linear(3, 3)
    return nn.Sequential(layer, nn.ReLU(), layer)


@pytest.mark.parametrize("widths", [(8, 16, 9), (9, 32, 2), (12, 12, 12)])
@pytest.mark.parametrize("bias", [True, False])
def test_gradients_of_any_width_are_those_of_vmap_digit_for_digit(widths, bias):
    columns, hidden, classes = widths
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(columns, hidden, bias), nn.ReLU(), nn.Linear(hidden, classes, bias))
    states = [{k: torch.randn(v.shape) for k, v in module.state_dict().items()} for _ in range(5)]
    stack = StackedNetworks.from_states(module, states, torch.device("cpu"))
    assert stack.chain is not None
    inputs = torch.randn(5, 64, columns)
    by_vmap = vmap(stack.slots.call)(stack.parameters, inputs)
    gradients = [
        torch.autograd.grad((logits**2).sum(), list(stack.parameters.values()))
        for logits in (stack.forward(inputs), by_vmap)
    ]
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))


def tied() -> nn.Module:
    module = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    module[1].weight = module[0].weight
    return module


@pytest.mark.parametrize(
    "module",
    [
        hooked(),
        repeated(),
        tied(),
        nn.Sequential(Standardize(3), nn.Linear(3, 3), nn.Dropout()),
        nn.Linear(3, 3),
    ],
)
def test_other_networks_are_left_to_vmap(module):
    assert plain_chain(FastFunctionalCall(module)) is None


def test_columns_pass_on_the_gradient_of_inputs_within_the_limits(stack):
    inputs = torch.randn(4, 30, 5, generator=torch.Generator().manual_seed(1)).requires_grad_()
    (by_chain,) = torch.autograd.grad((stack.forward(inputs) ** 2).sum(), inputs)
    by_vmap = vmap(stack.slots.call)({**stack.parameters, **stack.buffers}, inputs)
    (expected,) = torch.autograd.grad((by_vmap**2).sum(), inputs)
    assert (expected == 0).any()  # clipped columns
    torch.testing.assert_close(by_chain, expected)


def test_without_gradients_the_logits_are_the_same(stack):
    inputs = torch.randn(4, 30, 5, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        alone = stack.forward(inputs)
    assert torch.equal(alone, stack.forward(inputs).detach())
    assert not alone.requires_grad
