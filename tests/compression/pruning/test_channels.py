"""Which channels go, in convolutions of every kind, and that the smaller network answers as with them at zero."""

import copy

import pytest
import torch
import torch_pruning
import torchvision
from torch import nn

import fairpress as fp
from fairpress.compression.pruning.channels import remove_channels
from fairpress.compression.pruning.units import keep_for_groups, keep_most_important
from fairpress.core.errors import UserError


def ending(pool, channels):
    return pool(1), nn.Flatten(), nn.Linear(channels, 2)


KINDS = {
    "1d": lambda: (
        nn.Sequential(
            nn.Conv1d(2, 16, 5),
            nn.BatchNorm1d(16),
            nn.ReLU(),
            nn.Conv1d(16, 16, 3),
            nn.ReLU(),
            *ending(nn.AdaptiveAvgPool1d, 16),
        ),
        torch.randn(3, 2, 40),
    ),
    "3d": lambda: (
        nn.Sequential(
            nn.Conv3d(1, 16, 3), nn.ReLU(), nn.Conv3d(16, 16, 2), nn.ReLU(), *ending(nn.AdaptiveAvgPool3d, 16)
        ),
        torch.randn(3, 1, 6, 6, 6),
    ),
    "transposed": lambda: (
        nn.Sequential(
            nn.ConvTranspose2d(3, 16, 3),
            nn.ReLU(),
            nn.ConvTranspose2d(16, 16, 3),
            nn.ReLU(),
            *ending(nn.AdaptiveAvgPool2d, 16),
        ),
        torch.randn(3, 3, 8, 8),
    ),
}


def zeroed_channels(module, layer, gone):
    """Return a copy whose layer has outputs of zero in place of these channels, behind what follows without reading."""
    masked = copy.deepcopy(module)

    def hook(_, __, out):
        out = out.clone()
        out[:, gone] = 0
        return out

    masked[layer].register_forward_hook(hook)
    return masked


@pytest.mark.parametrize("kind", KINDS)
def test_a_convolution_of_any_kind_loses_its_smallest_channels_and_nothing_else_changes(kind):
    torch.manual_seed(0)
    module, x = KINDS[kind]()
    convolutions = [i for i, part in enumerate(module) if isinstance(part, nn.modules.conv._ConvNd)]
    gone = [[1, 3, 4, 9, 10, 12, 13, 15], [0, 2, 4, 6, 8, 10, 12, 14]]
    with torch.no_grad():
        for i, channels in zip(convolutions, gone, strict=True):
            weight = module[i].weight
            (weight.transpose(0, 1) if module[i].transposed else weight)[channels] *= 0.01
    smaller = remove_channels(module.eval(), x, 0.5, 8)
    assert smaller.equals_zeroed is True
    expected = module
    for i, channels in zip(convolutions, gone, strict=True):
        assert smaller.module[i].out_channels == 8
        following = next(j for j in range(i, len(module)) if isinstance(module[j], nn.ReLU))
        expected = zeroed_channels(expected, following, channels)
    with torch.no_grad():
        torch.testing.assert_close(smaller.module(x), expected(x), atol=1e-5, rtol=1e-4)


def test_groups_of_a_convolution_lose_the_same_number_each():
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(3, 16, 3),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, groups=4),
        nn.ReLU(),
        *ending(nn.AdaptiveAvgPool2d, 32),
    )
    smaller = remove_channels(module.eval(), torch.randn(2, 3, 8, 8), 0.5, 1)
    assert smaller.equals_zeroed is True
    grouped = smaller.module[2]
    assert (grouped.groups, grouped.in_channels, grouped.out_channels) == (4, 8, 16)


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small", "regnet_y_400mf"])
def test_sums_depthwise_and_grouped_convolutions_of_torchvision_keep_their_channels_apart(name):
    torch.manual_seed(0)
    network = getattr(torchvision.models, name)(num_classes=2).eval()
    for part in network.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean.normal_()
            nn.init.uniform_(part.weight, 0.5, 1.5)
            nn.init.normal_(part.bias)
    smaller = remove_channels(network, torch.randn(2, 3, 48, 48), 0.5, 8)
    assert smaller.equals_zeroed is True
    count = [sum(p.numel() for p in net.parameters()) for net in (network, smaller.module)]
    assert count[1] < 0.6 * count[0]


def test_the_channels_are_those_that_torch_prunings_own_pruner_takes():
    torch.manual_seed(0)
    network, x = torchvision.models.resnet18(num_classes=2).eval(), torch.randn(2, 3, 32, 32)
    peer = copy.deepcopy(network)
    torch_pruning.pruner.BasePruner(
        peer,
        x,
        importance=torch_pruning.importance.GroupMagnitudeImportance(p=2),
        pruning_ratio=0.5,
        ignored_layers=[peer.fc],
        round_to=8,
    ).step()
    ours = remove_channels(network, x, 0.5, 8).module.state_dict()
    for name, value in peer.state_dict().items():
        assert torch.equal(ours[name], value), name


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv1d(2, 16, 3), nn.Conv1d(16, 16, 3)
        self.memory = nn.LSTM(16, 8, batch_first=True)
        self.head = nn.Linear(8, 2)

    def forward(self, x):
        x = self.second(self.first(x).relu()).relu()
        return self.head(self.memory(x.mT)[0][:, -1])


def test_what_a_recurrent_layer_reads_stays_whole():
    smaller = remove_channels(Recurrent().eval(), torch.randn(2, 2, 20), 0.5, 1)
    assert smaller.equals_zeroed is True
    assert (smaller.module.first.out_channels, smaller.module.second.out_channels) == (8, 16)


def batches(shape, rows=96):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(rows, *shape, generator=generator)
    y = (x.flatten(1).mean(1) > 0).long()
    return [(x[at : at + 32], y[at : at + 32], ["a", "b"] * 16) for at in range(0, rows, 32)]


def test_transposed_convolutions_in_groups_are_refused_by_name():
    module = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.ReLU(), nn.ConvTranspose2d(8, 8, 3, groups=4), *ending(nn.AdaptiveAvgPool2d, 8)
    )
    with pytest.raises(UserError, match=r"layer '2' \(ConvTranspose2d\) reads or computes.*take prune-50"):
        fp.compress(module, "prune-channels-50", data=batches((3, 8, 8)))


class MeanOfChannels(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 16, 3), nn.Conv2d(16, 16, 3)
        self.head = nn.Linear(16, 2)

    def forward(self, x):
        x = self.first(x)
        x = self.second(x * x.mean(1, keepdim=True).sigmoid()).relu()
        return self.head(x.mean((2, 3)))


def test_a_network_that_averages_channels_is_not_said_to_equal_one_with_zeros():
    assert remove_channels(MeanOfChannels().eval(), torch.randn(2, 3, 8, 8), 0.5, 1).equals_zeroed is False
    norm = nn.Sequential(
        nn.Conv2d(3, 16, 3), nn.GroupNorm(4, 16), nn.ReLU(), *ending(nn.AdaptiveAvgPool2d, 16)
    )
    assert remove_channels(norm.eval(), torch.randn(2, 3, 8, 8), 0.5, 1).equals_zeroed is None


def test_by_importance_to_each_group_the_channel_that_a_small_group_needs_stays():
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), *ending(nn.AdaptiveAvgPool2d, 4)).eval()
    worth = torch.tensor([[100.0, 90, 80, 1], [0, 0, 1, 50.0]])
    values = {
        "0.weight": worth[:, :, None, None, None].expand(2, 4, 3, 3, 3) / 27,
        "4.weight": torch.zeros(2, 2, 4),
    }
    x = torch.randn(2, 3, 8, 8)

    def left(values, keep):
        weight = remove_channels(module, x, 0.5, 1, (values, keep)).module[0].weight
        return [i for i, row in enumerate(module[0].weight) if any(torch.equal(row, w) for w in weight)]

    assert left(values, keep_for_groups(torch.ones(1, 2, dtype=torch.bool))) == [0, 3]
    pooled = {name: value.sum(0, keepdim=True) for name, value in values.items()}
    assert left(pooled, keep_most_important) == [0, 1]


def test_importance_by_gradients_reaches_grouped_convolutions_and_heads():
    module = nn.Sequential(
        nn.Conv2d(3, 16, 3),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, groups=4),
        nn.ReLU(),
        *ending(nn.AdaptiveAvgPool2d, 32),
    )
    small = fp.compress(
        module,
        "prune-channels(share=0.5,round_to=1,importance=groups,by=group,least=5,epochs=1)",
        data=batches((3, 8, 8)),
    )
    facts = small.card.provenance["details"]["channels"]
    assert facts["equals_zeroed"] is True
    assert facts["weights_after"] < 0.5 * facts["weights_before"]
