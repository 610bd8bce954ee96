"""Heads of networks for images and of torch's attention, and that a network without them answers as with them at zero."""

import pytest
import timm
import torch
import torchvision
from torch import nn

from fairpress.compression.pruning.head_groups import head_groups, unknown_attention
from fairpress.compression.pruning.units import n_retained, without
from fairpress.compression.pruning.witness import confirmed, smaller
from fairpress.models.pruned_shapes import apply_pruned_shapes


def vit():
    return timm.create_model(
        "vit_tiny_patch16_224", img_size=32, depth=2, embed_dim=24, num_heads=4, num_classes=2
    )


def normed():
    return timm.create_model(
        "vit_tiny_patch16_224", img_size=32, depth=1, embed_dim=24, num_heads=4, num_classes=2, qk_norm=True
    )


def swin():
    return timm.create_model(
        "swin_tiny_patch4_window7_224",
        img_size=32,
        depths=(2, 1),
        embed_dim=16,
        num_heads=(2, 4),
        window_size=4,
        num_classes=2,
    )


def torchvision_vit():
    network = torchvision.models.VisionTransformer(32, 16, 2, 4, 24, 48, num_classes=2)
    nn.init.normal_(network.heads.head.weight)
    return network


def torchvision_swin():
    return torchvision.models.SwinTransformer([4, 4], 16, [1, 1], [2, 4], [4, 4], num_classes=2)


def transformers_vit():
    transformers = pytest.importorskip("transformers")
    config = transformers.ViTConfig(
        hidden_size=24,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=48,
        image_size=32,
        patch_size=16,
    )

    class Logits(nn.Module):
        def __init__(self):
            super().__init__()
            self.network = transformers.ViTForImageClassification(config)

        def forward(self, x):
            return self.network(x).logits

    return Logits()


def built(build):
    torch.manual_seed(0)
    network = build().eval()
    for name, parameter in network.named_parameters():
        if name.endswith(("bias", "bias_table")):
            nn.init.normal_(parameter, std=0.3)
    return network


@pytest.mark.parametrize(
    ("build", "heads"),
    [(vit, [4, 4]), (swin, [2, 2, 4]), (torchvision_vit, [4, 4]), (transformers_vit, [4, 4])],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_without_heads_a_network_answers_as_with_their_outputs_at_zero(build, heads):
    network = built(build)
    x = torch.randn(3, 3, 32, 32)
    groups = confirmed(network, head_groups(network), x[:2])
    assert [group.count for group in groups] == heads
    assert unknown_attention(network, groups) == []
    kept = [torch.arange(group.count) % 2 == 1 for group in groups]
    changed = without(groups, kept, network.state_dict())
    pruned = smaller(network, changed)
    hooks = []
    for group, stays in zip(groups, kept, strict=True):
        (part,) = (part for part in group.parts if part.reads)
        layer = network.get_submodule(part.tensor.rpartition(".")[0])
        mask = stays[part.unit].float()
        if "self_attention" in part.tensor:  # torch's attention passes its weight to a function
            with torch.no_grad():
                layer.weight *= mask
        else:
            hooks.append(layer.register_forward_pre_hook(lambda _, inputs, mask=mask: (inputs[0] * mask,)))
    with torch.no_grad():
        torch.testing.assert_close(pruned(x), network(x), atol=1e-5, rtol=1e-4)
        fresh = built(build)
        apply_pruned_shapes(fresh, {name: tuple(value.shape) for name, value in changed.items()})
        fresh.load_state_dict(pruned.state_dict())
        assert torch.equal(fresh(x), pruned(x))


def test_attention_that_takes_the_size_of_heads_from_its_width_keeps_them_and_is_named():
    network = built(torchvision_swin)
    groups = head_groups(network)
    assert groups == []
    assert unknown_attention(network, groups) == ["features.1.0.attn", "features.3.0.attn"]


def test_a_gate_or_norms_of_queries_leave_the_heads_whole():
    assert head_groups(built(normed)) == []
    gated = built(vit)
    gated.blocks[0].attn.gate = nn.Linear(24, 24)
    assert [group.name for group in head_groups(gated)] == ["blocks.1.attn"]


@pytest.mark.parametrize(
    "options", [{"add_bias_kv": True}, {"add_zero_attn": True}, {"kdim": 12, "vdim": 12}]
)
def test_torchs_attention_with_more_than_one_matrix_keeps_its_heads(options):
    network = nn.ModuleDict({"mix": nn.MultiheadAttention(24, 4, **options)})
    assert head_groups(network) == []
    assert unknown_attention(network, []) == ["mix"]


def test_heads_that_stay_are_rounded_up_and_units_to_a_multiple():
    (first, *_) = head_groups(built(vit))
    assert [n_retained(first, share, 8) for share in (0.2, 0.3, 0.5, 0.99)] == [4, 3, 2, 1]
