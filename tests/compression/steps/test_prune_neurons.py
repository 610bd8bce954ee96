"""Pruning of whole neurons, from the recipe to the file."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

import fairpress as fp
from fairpress.compression.apply import compress
from fairpress.compression.pruning.neuron_groups import neuron_groups
from fairpress.compression.recipes import parse
from fairpress.core.errors import UserError
from fairpress.models import registry
from fairpress.models.weights_io import from_bytes
from fairpress.runtime.artifact import Artifact
from fairpress.runtime.backends.onnxruntime import run
from trained import easy

# So small that the file holds the weights as pruning left them.
UNCHANGED = "epochs=1,learning_rate=1e-12,weight_decay=0"


def created(recipe, networks=1):
    data, bases = easy()
    return compress(bases[:networks], parse(recipe), data[:networks], list(range(networks)))


def test_before_fine_tuning_the_file_answers_as_the_network_with_the_smallest_neurons_at_zero():
    data, bases = easy()
    smaller = created(f"prune-neurons-50({UNCHANGED})", networks=2)
    for dataset, base, small in zip(data, bases, smaller, strict=True):
        state = from_bytes(base.weights)
        for layer, reader in ((1, 3), (3, 5)):
            worth = state[f"{layer}.weight"].square().sum(1) + state[f"{reader}.weight"].square().sum(0)
            if layer == 1:
                first = worth
            else:
                second = worth
        for reader, worth in ((3, first), (5, second)):
            state[f"{reader}.weight"][:, worth.argsort()[:8]] = 0
        network = registry.build(registry.get("mlp", widths=(16, 16)), dataset.inputs.shape[1:], 2).eval()
        network.load_state_dict(state)
        x = dataset.part("test").inputs
        with torch.no_grad():
            expected = network(torch.from_numpy(x)).numpy()
        np.testing.assert_allclose(run(small.onnx, x), expected, atol=1e-4, rtol=1e-4)
        assert small.card.architecture == {"name": "mlp", "widths": [8, 8]}


def test_the_card_says_what_went_and_the_folder_goes_on(tmp_path):
    data, bases = easy()
    (small,) = created("prune-neurons-50")
    facts = small.card.provenance["details"]["neurons"]
    state = from_bytes(small.weights)
    assert facts["layers"] == {"1": 8, "3": 8}
    assert facts["whole"] == []
    assert facts["weights_after"] == sum(v.numel() for n, v in state.items() if not n.startswith("0."))
    assert small.size < 0.6 * bases[0].size
    small = Artifact.load(small.save(tmp_path / "small"))
    (again,) = compress([small], parse("prune-neurons-50(epochs=1)+int8"), data[:1], [0])
    assert again.card.recipe == "prune-neurons-50+prune-neurons-50(epochs=1)+int8"
    assert again.card.architecture["widths"] == [4, 4]
    rows = data[0].part("test")
    right = (run(small.onnx, rows.inputs).argmax(1) == rows.labels).mean()
    assert right > np.bincount(rows.labels).max() / len(rows.labels) + 0.2  # far from a constant prediction


@pytest.mark.parametrize("importance", ["gradient", "groups,by=sex,least=5"])
def test_importance_by_gradients_removes_as_many(importance):
    recipe = parse(f"prune-neurons-50(importance={importance},epochs=1)")
    assert parse(str(recipe)) == recipe
    (small,) = created(str(recipe))
    assert small.card.architecture["widths"] == [8, 8]


def test_the_neurons_worth_most_by_gradient_stay():
    """A neuron with large weights that no row reaches is worth nothing to the loss."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
    with torch.no_grad():
        network[0].weight[1] *= 10
        network[0].bias[1] = -1000
    x = torch.randn(320, 4)
    batches = [(x[i : i + 64], (x[i : i + 64, 0] > 0).long()) for i in range(0, 320, 64)]

    def kept(importance):
        recipe = f"prune-neurons(share=0.25,importance={importance},{UNCHANGED})"
        small = fp.compress(copy.deepcopy(network), recipe, data=batches)
        assert small.card.provenance["details"]["neurons"]["layers"] == {"0": 3}
        state = from_bytes(small.weights)
        return bool((state["0.bias"] < -900).any())

    assert kept("magnitude")
    assert not kept("gradient")


def test_names_controls_and_options_of_the_recipe():
    recipe = parse("prune-neurons(share=0.5,importance=groups,by=race)+int8")
    assert str(recipe) == "prune-neurons-50(importance=groups,by=race)+int8"
    assert str(recipe.plain()) == "prune-neurons-50(importance=gradient)+int8"
    assert str(recipe.placebo()) == "placebo"
    with pytest.raises(UserError, match="prune-neurons changes its layers"):
        parse("prune-neurons-50(method=ceag,by=race)")
    with pytest.raises(UserError, match="importance=groups needs a sensitive attribute"):
        parse("prune-channels-50(importance=groups)")


def batches(shape, rows=96):
    x = torch.randn(rows, *shape, generator=torch.Generator().manual_seed(0))
    y = (x.flatten(1).mean(1) > 0).long()
    return [(x[at : at + 32], y[at : at + 32]) for at in range(0, rows, 32)]


REFUSED = {
    "nothing would stay": (
        lambda: nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)),
        "prune-neurons-90",
        r"no layer has enough neurons to remove 90% of them.*the widest has 8; take a smaller share",
    ),
    "a multiple too large": (
        lambda: nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)),
        "prune-neurons-50(round_to=16)",
        r"keep a multiple of 16, since the widest has 8; set round_to=1, or take a smaller share",
    ),
    "one neuron": (
        lambda: nn.Sequential(nn.Linear(4, 1), nn.ReLU(), nn.Linear(1, 2)),
        "prune-neurons-50",
        "Sequential has none that can go; take prune-50",
    ),
    "one layer": (lambda: nn.Sequential(nn.Linear(4, 2)), "prune-neurons-50", "has none that can go"),
    "convolutions alone": (
        lambda: nn.Sequential(
            nn.Unflatten(1, (1, 4)),
            nn.Conv1d(1, 8, 3),
            nn.AdaptiveAvgPool1d(1),
            nn.Flatten(),
            nn.Linear(8, 2),
        ),
        "prune-neurons-50",
        "take prune-channels-50",
    ),
    "no attention": (
        lambda: nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)),
        "prune-heads-50",
        r"has no attention; take prune-neurons-50",
    ),
    "no convolutions": (
        lambda: nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)),
        "prune-channels-50",
        r"this one has none; take prune-neurons-50",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_lose_neurons_is_refused_with_what_can_be_done(case):
    build, recipe, message = REFUSED[case]
    with pytest.raises(UserError, match=message):
        fp.compress(build(), recipe, data=batches((4,)))


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Linear(6, 16)
        self.blocks = nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 4, 32, batch_first=True), 2)
        self.head = nn.Linear(16, 2)

    def forward(self, x):
        return self.head(self.blocks(self.embed(x)).mean(1))


def test_torchs_encoder_loses_heads_and_feed_forward_neurons_and_its_file_is_quantized():
    torch.manual_seed(0)
    network = Encoder()
    small = fp.compress(network, "prune-heads-50(epochs=1)+int8", data=batches((7, 6)))
    facts = small.card.provenance["details"]
    assert facts["heads"]["heads"] == {f"blocks.layers.{i}.self_attn": 2 for i in (0, 1)}
    assert facts["heads"]["feedforward"] == {f"blocks.layers.{i}.linear1": 16 for i in (0, 1)}
    assert facts["integer_kernels"] == 10
    assert network.blocks.layers[0].self_attn.num_heads == 4


def test_a_transformers_width_is_not_taken_for_neurons():
    groups = neuron_groups(Encoder().eval(), torch.randn(2, 7, 6))
    assert [group.name for group in groups] == ["blocks.layers.0.linear1", "blocks.layers.1.linear1"]


@pytest.mark.parametrize("recipe", ["prune-neurons-50", "prune-channels-50"])
def test_importance_by_gradients_leaves_frozen_layers_frozen_and_layers_that_do_not_run_alone(recipe):
    class Classifier(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.Conv1d(1, 16, 3)
            self.hidden, self.head = nn.Linear(16, 16), nn.Linear(16, 2)
            self.unused = nn.Linear(16, 2)
            for parameter in self.head.parameters():
                parameter.requires_grad_(False)

        def forward(self, x):
            x = self.first(x[:, None]).relu().mean(2)
            return self.head(self.hidden(x).relu())

    torch.manual_seed(0)
    network = Classifier()
    small = fp.compress(
        network, f"{recipe}(importance=gradient,epochs=2,learning_rate=0.1)", data=batches((8,))
    )
    state = from_bytes(small.weights)
    assert state["head.weight"].shape == (2, 8)
    for column in state["head.weight"].T:
        assert any(torch.equal(column, whole) for whole in network.head.weight.T)
    assert not network.head.weight.requires_grad
