"""Architectures for images: each is trained, quantized and run; here in miniature, its blocks as they are."""

from __future__ import annotations

from functools import cache

import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn
from torchvision.models import efficientnet, resnet

import fairpress as fp
from fairpress.core.errors import UserError
from fairpress.models import registry
from fairpress.models.image_architecture import MEAN, STD
from fairpress.models.pixel_scaling import ScalePixels
from fairpress.models.timm_models import ConvNeXtTiny, TimmNetwork, ViTSmall
from fairpress.runtime.backends.onnxruntime import run

SIDE = 32
VIT = {"depth": 2, "embed_dim": 48, "num_heads": 3}
SWIN = {"depths": (2, 1), "embed_dim": 24, "num_heads": (2, 4), "img_size": SIDE}
BLOCK = efficientnet.MBConvConfig


def mini(name: str) -> nn.Module:
    """Return a small network of the blocks of an architecture."""
    if name == "resnet50":
        return torchvision.models.ResNet(resnet.Bottleneck, [1, 1, 1, 1], 2, width_per_group=4)
    if name == "mobilenet_v2":
        blocks = [[1, 16, 1, 1], [6, 24, 1, 2], [6, 24, 1, 1]]
        return torchvision.models.MobileNetV2(2, 0.25, blocks)
    if name == "efficientnet_b0":
        return torchvision.models.EfficientNet(
            [BLOCK(1, 3, 1, 8, 8, 1), BLOCK(6, 3, 2, 8, 16, 2)], 0.2, 0.9, 2, last_channel=64
        )
    if name == "convnext_tiny":
        return timm.create_model(
            name, num_classes=2, depths=(1, 1, 1, 1), dims=(16, 16, 24, 24), drop_path_rate=0.9
        )
    options = SWIN if "swin" in name else {**VIT, "img_size": SIDE}
    return timm.create_model(name, num_classes=2, drop_path_rate=0.9 if "vit" in name else 0, **options)


def draw(rows: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Reddish noise and bluish noise."""
    y = torch.randint(0, 2, (rows,), generator=generator)
    x = torch.randint(0, 150, (rows, 3, SIDE, SIDE), generator=generator)
    x[:, 0] += 30 * y[:, None, None]
    x[:, 2] += 30 * (1 - y[:, None, None])
    return x.to(torch.uint8), y


@cache
def trained(name: str) -> nn.Module:
    """Return a network that learned a little, in evaluation mode."""
    generator = torch.Generator().manual_seed(0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = nn.Sequential(ScalePixels(MEAN, STD), mini(name))
        for part in net.modules():
            if isinstance(part, nn.BatchNorm2d):
                part.momentum = 0.5  # statistics of a short training
        optimizer = torch.optim.AdamW(net.parameters(), 3e-3)
        for _ in range(20):
            x, y = draw(32, generator)
            loss = nn.functional.cross_entropy(net(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return net.eval()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "recipe"),
    [
        ("resnet50", "int8"),
        ("mobilenet_v2", "qat-int8(epochs=1)"),
        ("efficientnet_b0", "int8"),
        ("vit_small_patch16_224", "qat-int8(epochs=1)"),
        ("swin_tiny_patch4_window7_224", "int8"),
        ("convnext_tiny", "int8"),
    ],
)
def test_every_layer_runs_on_integers_and_answers_are_kept(name, recipe):
    net, generator = trained(name), torch.Generator().manual_seed(7)
    artifact = fp.compress(net, recipe, data=[draw(32, generator) for _ in range(6)])
    details = artifact.card.provenance["details"]
    layers = [m for m in net.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert details["integer_kernels"] == len(layers)
    assert set(details["bits"].values()) == {8}
    x, y = draw(128, torch.Generator().manual_seed(9))
    with torch.no_grad():
        before = float((net(x).argmax(1) == y).float().mean())
    after = float((run(artifact.onnx, x.numpy()).argmax(1) == y.numpy()).mean())
    assert before > 0.8
    assert after > before - 0.08


def test_all_architectures_for_images_are_there():
    assert set(registry.architectures_for("images")) >= {
        *(
            "resnet18",
            "resnet50",
            "mobilenet_v2",
            "efficientnet_b0",
            "squeezenet1_1",
            "vit_small_patch16_224",
        ),
        *("convnext_tiny", "deit_tiny_patch16_224", "swin_tiny_patch4_window7_224"),
    }
    with pytest.raises(UserError, match="Did you mean 'mobilenet_v2'"):
        registry.get("mobilenetv2")


def test_squeezenet_learns_two_classes():
    """Behind a rectifier both logits of most drawn networks are 0 on many rows, and no gradient is left there."""
    torch.manual_seed(3)
    network = registry.build(registry.get("squeezenet1_1"), (3, 32, 32), 2)
    pixels = torch.randint(0, 256, (16, 3, 32, 32), dtype=torch.uint8)
    logits = network(pixels)
    assert (logits < 0).any()
    logits.sum(1).abs().sum().backward()
    assert all((p.grad != 0).any() for p in network.parameters() if p.dim() > 1)


def test_logits_of_two_classes_begin_small_in_efficientnet():
    """As torchvision draws its last layer they begin some twenty-five times as large."""
    network = registry.build(registry.get("efficientnet_b0"), (3, 32, 32), 2)
    own = network.get_submodule("body.classifier.1").weight
    assert 0.9 * 1280**-0.5 < own.abs().max() <= 1280**-0.5
    published = torchvision.models.efficientnet_b0(num_classes=2).classifier[1].weight
    assert published.abs().max() > 15 * own.abs().max()


@pytest.mark.parametrize("name", ["mobilenet_v2", "squeezenet1_1"])
def test_weights_of_another_number_of_classes_lend_all_but_the_last_layer(name, tmp_path):
    source = getattr(torchvision.models, name)(num_classes=5)
    save_file(source.state_dict(), tmp_path / "w.safetensors")
    architecture = registry.get(name, weights=str(tmp_path / "w.safetensors"))
    network = registry.build(architecture, (3, 32, 32), 2)
    reported = architecture.start(network)
    own = network.get_submodule("body").state_dict()
    head = list(own)[-2:]
    assert reported["drawn_anew"] == sorted(head)
    assert all(torch.equal(own[k], v) for k, v in source.state_dict().items() if k not in head)


@pytest.fixture
def small_timm(monkeypatch):
    """timm's networks, two blocks deep."""

    def created(self, size, n_classes, *, pretrained):
        return timm.create_model(
            self.name, num_classes=n_classes, img_size=tuple(size), pretrained=pretrained, **VIT
        )

    monkeypatch.setattr(TimmNetwork, "_create", created)


def test_a_transformer_reads_all_pixels_of_any_size_and_takes_positions_of_another(small_timm, tmp_path):
    source = timm.create_model("vit_small_patch16_224", num_classes=7, img_size=64, **VIT)
    nn.init.normal_(source.pos_embed)
    save_file(source.state_dict(), tmp_path / "w.safetensors")
    architecture = ViTSmall(weights=str(tmp_path / "w.safetensors"))
    network = registry.build(architecture, (3, 40, 40), 2).eval()
    reported = architecture.start(network)
    assert reported["drawn_anew"] == ["head.bias", "head.weight"]
    # 40 pixels are filled up to 48: nine patches and the class token; 64 pixels were sixteen and the token.
    assert network.get_submodule("body").pos_embed.shape == (1, 10, 48)
    assert torch.equal(network.get_submodule("body").pos_embed[:, 0], source.pos_embed[:, 0])
    x = torch.full((2, 3, 40, 40), 100, dtype=torch.uint8)
    x[1, :, -1, -1] = 200
    with torch.no_grad():
        a, b = network(x)
    assert not torch.equal(a, b)


def test_what_a_network_cannot_start_from_is_said_in_a_sentence(small_timm, tmp_path, monkeypatch):
    save_file({"x": torch.zeros(2)}, tmp_path / "w.safetensors")
    wrong = ViTSmall(weights=str(tmp_path / "w.safetensors"))
    with pytest.raises(
        UserError, match="does not contain weights of vit_small_patch16_224: 'cls_token' is missing"
    ):
        wrong.start(registry.build(wrong, (3, 32, 32), 2))
    with pytest.raises(UserError, match="exclude each other"):
        registry.get("convnext_tiny", pretrained=True, weights="w.safetensors")
    with pytest.raises(UserError, match="32 × 32 pixels or more, not 16 × 20; set a larger image size"):
        registry.build(ConvNeXtTiny(), (3, 16, 20), 2)

    def no_network(*_, **__):
        raise OSError("Network is unreachable")

    monkeypatch.setattr("timm.models._builder.load_pretrained", no_network)
    architecture = ViTSmall(pretrained=True)
    with pytest.raises(
        UserError, match=r"could not download its weights .*Network is unreachable.*give a safetensors"
    ):
        architecture.start(registry.build(architecture, (3, 32, 32), 2))
