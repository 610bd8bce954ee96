"""Which neurons go together, and that a network without them answers as with their outputs at zero."""

import pytest
import torch
from torch import nn

from fairpress.compression.pruning.neuron_groups import neuron_groups
from fairpress.compression.pruning.units import n_retained_units, without
from fairpress.compression.pruning.witness import confirmed, smaller


class Net(nn.Module):
    """Layers a, b, c, d … of given widths, with a forward of its own."""

    def __init__(self, forward, *sizes, **layers):
        super().__init__()
        for name, (n_inputs, n_outputs) in zip("abcdefg", sizes, strict=False):
            self.add_module(name, nn.Linear(n_inputs, n_outputs))
        for name, layer in layers.items():
            self.add_module(name, layer)
        self._answer = forward

    def forward(self, x):
        return self._answer(self, x)


def chain():
    norm = nn.BatchNorm1d(12)
    nn.init.uniform_(norm.weight, 0.5, 1.5)
    norm.running_mean.normal_()
    return Net(
        lambda n, x: n.c(n.prelu(n.norm(n.b(n.a(x).sigmoid())))),
        *((6, 8), (8, 12), (12, 3)),
        norm=norm,
        prelu=nn.PReLU(12, 0.1),
    )


def summed():
    def forward(n, x):
        x = n.a(x).relu()
        x = x + n.b(x).relu()
        return n.c(x + n.b2(x).relu())

    return Net(forward, (6, 10), (10, 10), (10, 2), b2=nn.Linear(10, 10))


def joined():
    return Net(lambda n, x: n.c(torch.cat([n.a(x).relu(), n.b(x).tanh()], 1)), (6, 10), (6, 4), (14, 2))


def read_twice():
    def forward(n, x):
        x = n.a(x).relu()
        return n.b(x) + n.c(x.square())

    return Net(forward, (6, 10), (10, 2), (10, 2))


def first_defined_last_run():
    return Net(lambda n, x: n.a(n.b(x).relu()), (8, 2), (6, 8))


EXPECTED = {
    chain: [{"a", "b"}],
    summed: [{"a", "b", "b2"}],
    joined: [{"a"}, {"b"}],
    read_twice: [{"a"}],
    first_defined_last_run: [{"b"}],
}


def computing(group):
    return {p.tensor.split(".")[0] for p in group.parts if p.axis == 0 and p.tensor.endswith("weight")} - {
        "norm",
        "prelu",
    }


def answers_with_zeros(network, groups, kept, x):
    """Return what the network answers when its linear layers read zeros in place of the neurons that go."""
    masks = {}
    for group, stays in zip(groups, kept, strict=True):
        for part in group.parts:
            if part.reads:
                mask = masks.setdefault(part.tensor.rpartition(".")[0], torch.ones(len(part.unit)))
                mask[part.unit >= 0] *= stays[part.unit[part.unit >= 0]].float()
    hooks = [
        network.get_submodule(name).register_forward_pre_hook(
            lambda _, inputs, mask=mask: (inputs[0] * mask,)
        )
        for name, mask in masks.items()
    ]
    with torch.no_grad():
        answers = network(x)
    for hook in hooks:
        hook.remove()
    return answers


@pytest.mark.parametrize("build", EXPECTED, ids=lambda build: build.__name__)
def test_without_neurons_a_network_answers_as_with_their_outputs_at_zero(build):
    torch.manual_seed(0)
    network, x = build().eval(), torch.randn(7, 6)
    groups = neuron_groups(network, x[:2])
    names = [computing(group) for group in groups]
    assert set().union(*names) == set().union(*EXPECTED[build])
    assert build is chain or names == EXPECTED[build]
    kept = [torch.rand(group.count) < 0.6 for group in groups]
    for stays in kept:
        stays[0] = True
    state = network.state_dict()
    changed = without(groups, kept, state)
    pruned = smaller(network, changed)
    with torch.no_grad():
        answers = pruned(x)
    torch.testing.assert_close(answers, answers_with_zeros(network, groups, kept, x), atol=1e-5, rtol=1e-4)
    assert not torch.allclose(answers, network(x), atol=1e-3)
    for group, stays in zip(groups, kept, strict=True):
        for name in computing(group):
            assert pruned.get_submodule(name).out_features == int(stays.sum())
    assert {n: tuple(v.shape) for n, v in network.state_dict().items()} == {
        n: tuple(v.shape) for n, v in state.items()
    }


def tied():
    network = Net(lambda n, x: n.d(n.c(n.b(n.a(x).relu()).relu()).relu()), (6, 6), (6, 6), (6, 8), (8, 2))
    network.b.weight = network.a.weight
    return network, {"c"}


def called_twice():
    return Net(lambda n, x: n.c(n.b(n.b(n.a(x)).relu()).relu()), (6, 8), (8, 8), (8, 2)), None


def shared_out_by_softmax():
    return Net(lambda n, x: n.c(n.b(n.a(x).softmax(1)).relu()), (6, 8), (8, 8), (8, 2)), {"b"}


def shuffled():
    def forward(n, x):
        x = n.a(x).relu().view(-1, 2, 4).transpose(1, 2).reshape(-1, 8)
        return n.c(n.b(x).relu())

    return Net(forward, (6, 8), (8, 8), (8, 2)), {"b"}


def one_neuron():
    return Net(lambda n, x: n.c(n.b(n.a(x).relu()).relu()), (6, 1), (1, 4), (4, 2)), {"b"}


def reads_its_own_weight():
    def forward(n, x):
        return n.b(n.a(x).relu()) + n.a.weight.sum()

    return Net(forward, (6, 8), (8, 2)), set()


def parallel_of_equal_width():
    """b runs after a and has its width, and reads the inputs."""
    return Net(
        lambda n, x: n.c(n.a(x).relu() * 2 + n.b(x)) if x.shape[1] == 8 else None, (8, 8), (8, 8), (8, 2)
    ), {
        "a",
        "b",
    }


@pytest.mark.parametrize(
    "build",
    [
        *(tied, called_twice, shared_out_by_softmax, shuffled, one_neuron, reads_its_own_weight),
        parallel_of_equal_width,
    ],
    ids=lambda build: build.__name__,
)
def test_layers_whose_neurons_cannot_go_alone_stay_whole(build):
    torch.manual_seed(0)
    network, expected = build()
    x = torch.randn(5, network.a.in_features)
    groups = neuron_groups(network.eval(), x[:2])
    if expected is not None:
        assert set().union(*(computing(group) for group in groups)) == expected
    kept = [torch.arange(group.count) % 3 != 1 for group in groups]
    pruned = smaller(network, without(groups, kept, network.state_dict()))
    with torch.no_grad():
        torch.testing.assert_close(
            pruned(x), answers_with_zeros(network, groups, kept, x), atol=1e-5, rtol=1e-4
        )


def test_a_layer_norm_over_neurons_forbids_nothing():
    network = Net(lambda n, x: n.b(n.norm(n.a(x)).relu()), (6, 8), (8, 2), norm=nn.LayerNorm(8))
    (group,) = neuron_groups(network.eval(), torch.randn(2, 6))
    assert [part.tensor for part in group.parts] == [
        "a.weight",
        "a.bias",
        "norm.weight",
        "norm.bias",
        "b.weight",
    ]
    pruned = smaller(network, without([group], [torch.arange(8) < 5], network.state_dict()))
    assert pruned.norm.normalized_shape == (5,)
    assert pruned(torch.randn(3, 6)).shape == (3, 2)


def test_a_group_that_names_the_wrong_reader_is_not_confirmed():
    network = Net(lambda n, x: n.c(n.a(x).relu()) + n.d(n.b(x).relu()), (6, 8), (6, 8), (8, 2), (8, 2)).eval()
    x = torch.randn(3, 6)
    groups = neuron_groups(network, x)
    assert len(groups) == 2
    a, b = groups
    swapped = type(a)(
        "a", "neurons", 8, tuple(p for p in a.parts if not p.reads) + tuple(p for p in b.parts if p.reads)
    )
    assert confirmed(network, [a, b], x) == [a, b]
    assert confirmed(network, [swapped, b], x) == [b]


@pytest.mark.parametrize(
    ("neurons", "share", "round_to", "retained"),
    [(10, 0.5, 1, 5), (10, 0.55, 1, 4), (10, 0.95, 1, 10), (10, 0.5, 4, 4), (10, 0.9, 4, 10), (1, 0.5, 1, 1)],
)
def test_a_layer_that_would_keep_none_keeps_all(neurons, share, round_to, retained):
    assert n_retained_units(neurons, share, round_to) == retained
