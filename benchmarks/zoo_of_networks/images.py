"""Image classifiers of torchvision, timm and transformers, small and with random weights."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import timm
import torch
import transformers
from torch import nn
from torchvision import models

CLASSES = 5
# timm: name → image side and what makes the network small.
TIMM = {
    "resnet10t": (64, {}),
    "mobilenetv3_small_050": (64, {}),
    "ghostnet_050": (64, {}),
    "mobilevit_xxs": (64, {}),
    "deit_tiny_patch16_224": (64, {"img_size": 64, "depth": 2}),
    "cait_xxs24_224": (64, {"img_size": 64, "depth": 2}),
    "mixer_s32_224": (64, {"img_size": 64, "num_blocks": 2}),
    "xcit_nano_12_p16_224": (64, {"img_size": 64, "depth": 2}),
    "convnext_atto": (64, {"depths": (1, 1, 1, 1)}),
    "poolformer_s12": (64, {"depths": (1, 1, 1, 1)}),
    "edgenext_xx_small": (64, {"depths": (1, 1, 1, 1)}),
    "eva02_tiny_patch14_224": (56, {"img_size": 56, "depth": 2}),
    "beit_base_patch16_224": (64, {"img_size": 64, "depth": 2, "embed_dim": 64, "num_heads": 4}),
    "repvgg_a0": (64, {}),
}


def _timm(name: str, **options: object) -> nn.Module:
    return timm.create_model(name, pretrained=False, num_classes=CLASSES, **options)


def _resnet(layers: list[int], **options: object) -> nn.Module:
    return models.ResNet(models.resnet.Bottleneck, layers, num_classes=CLASSES, **options)


def _vgg() -> nn.Module:
    net = models.VGG(models.vgg.make_layers([16, "M", 32, "M", 64, "M"], batch_norm=True), init_weights=False)
    net.avgpool = nn.AdaptiveAvgPool2d(2)
    net.classifier = nn.Sequential(
        nn.Linear(256, 64), nn.ReLU(), nn.Dropout(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, CLASSES)
    )
    return net


def _convnext() -> nn.Module:
    block = models.convnext.CNBlockConfig
    return models.ConvNeXt([block(24, 48, 1), block(48, 96, 1), block(96, None, 1)], num_classes=CLASSES)


def _swin(version: type = models.SwinTransformer, **options: object) -> nn.Module:
    return version([4, 4], 24, [2, 2], [2, 4], [4, 4], num_classes=CLASSES, **options)


def _maxvit() -> nn.Module:
    return models.MaxVit(
        input_size=(64, 64),
        stem_channels=16,
        partition_size=4,
        block_channels=[16, 32],
        block_layers=[1, 1],
        head_dim=8,
        stochastic_depth_prob=0.0,
        num_classes=CLASSES,
    )


def _vit() -> nn.Module:
    return models.VisionTransformer(64, 16, 2, 4, 64, 128, num_classes=CLASSES)


def _transformers_vit() -> nn.Module:
    config = transformers.ViTConfig(
        hidden_size=48, num_hidden_layers=2, num_attention_heads=4, intermediate_size=96, image_size=64
    )
    config.num_labels = CLASSES
    return transformers.ViTForImageClassification(config)


def _mobilenet_v3() -> nn.Module:
    block = models.mobilenetv3.InvertedResidualConfig
    blocks = [
        block(16, 3, 16, 16, True, "RE", 2, 1, 1.0),
        block(16, 3, 72, 24, False, "RE", 2, 1, 1.0),
        block(24, 5, 96, 40, True, "HS", 2, 1, 1.0),
    ]
    return models.MobileNetV3(blocks, 128, num_classes=CLASSES)


def _efficientnet() -> nn.Module:
    block = models.efficientnet.MBConvConfig
    blocks = [block(1, 3, 1, 16, 16, 1), block(6, 3, 2, 16, 24, 1), block(6, 5, 2, 24, 40, 2)]
    return models.EfficientNet([*blocks], 0.2, num_classes=CLASSES, last_channel=160)


def _mobilenet_v2() -> nn.Module:
    blocks = [[1, 16, 1, 1], [6, 24, 2, 2], [6, 32, 2, 1]]
    return models.MobileNetV2(CLASSES, inverted_residual_setting=blocks)


def _regnet() -> nn.Module:
    blocks = models.regnet.BlockParams.from_init_params(4, 16, 8.0, 2.0, 8, se_ratio=0.25)
    return models.RegNet(blocks, CLASSES)


def _basic() -> nn.Module:
    return models.ResNet(models.resnet.BasicBlock, [1, 1, 1, 1], num_classes=CLASSES)


TORCHVISION: dict[str, tuple[int, Callable[[], nn.Module]]] = {
    "resnet with basic blocks": (64, _basic),
    "resnet with bottlenecks": (64, partial(_resnet, [1, 1, 1, 1])),
    "resnext": (64, partial(_resnet, [1, 1, 1, 1], groups=4, width_per_group=8)),
    "mobilenet_v2": (64, _mobilenet_v2),
    "mobilenet_v3": (64, _mobilenet_v3),
    "efficientnet": (64, _efficientnet),
    "convnext": (64, _convnext),
    "shufflenet_v2": (64, partial(models.ShuffleNetV2, [2, 2, 2], [24, 32, 64, 128, 256], CLASSES)),
    "squeezenet1_1": (64, partial(models.squeezenet1_1, num_classes=CLASSES)),
    "densenet": (64, partial(models.DenseNet, 12, (2, 2, 2), 24, num_classes=CLASSES)),
    "regnet": (64, _regnet),
    "vgg": (64, _vgg),
    "vit": (64, _vit),
    "swin": (64, _swin),
    "swin_v2": (
        64,
        partial(
            _swin,
            models.SwinTransformer,
            block=models.swin_transformer.SwinTransformerBlockV2,
            downsample_layer=models.swin_transformer.PatchMergingV2,
        ),
    ),
    "maxvit": (64, _maxvit),
    "mnasnet0_5": (64, partial(models.mnasnet0_5, num_classes=CLASSES)),
    "googlenet": (64, partial(models.GoogLeNet, CLASSES, aux_logits=False, init_weights=False)),
    "inception_v3": (80, partial(models.Inception3, CLASSES, aux_logits=False, init_weights=False)),
}


def all_networks() -> dict[str, tuple[int, Callable[[], nn.Module]]]:
    """Return name → (side of its images, what builds it)."""
    return {
        **{f"torchvision {name}": entry for name, entry in TORCHVISION.items()},
        **{f"timm {name}": (side, partial(_timm, name, **options)) for name, (side, options) in TIMM.items()},
        "transformers ViT": (64, _transformers_vit),
    }


def pictures(rows: int, side: int, generator: torch.Generator) -> torch.Tensor:
    """Return smooth pictures [rows, 3, side, side] with a little noise, float32."""
    coarse = torch.randn(rows, 3, 4, 4, generator=generator)
    smooth = nn.functional.interpolate(coarse, side, mode="bicubic")
    return smooth + 0.2 * torch.randn(rows, 3, side, side, generator=generator)
