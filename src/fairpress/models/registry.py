"""Architectures by name; the frozen config class is the key. Imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, cast

from pydantic import BaseModel

from fairpress.core.config import parse
from fairpress.core.errors import UserError, did_you_mean
from fairpress.datasets.dataset import Kind

if TYPE_CHECKING:
    from torch import nn

_CONFIGS = {
    "mlp": "fairpress.models.mlp:Mlp",
    "convnext_tiny": "fairpress.models.timm_models:ConvNeXtTiny",
    "deit_tiny_patch16_224": "fairpress.models.timm_models:DeiTTiny",
    "efficientnet_b0": "fairpress.models.torchvision_models:EfficientNetB0",
    "huggingface": "fairpress.models.huggingface.architecture:HuggingFace",
    "mobilenet_v2": "fairpress.models.torchvision_models:MobileNetV2",
    "resnet18": "fairpress.models.torchvision_models:ResNet18",
    "resnet50": "fairpress.models.torchvision_models:ResNet50",
    "squeezenet1_1": "fairpress.models.torchvision_models:SqueezeNet",
    "swin_tiny_patch4_window7_224": "fairpress.models.timm_models:SwinTiny",
    "text": "fairpress.models.text_encoder:TextEncoder",
    "vit_small_patch16_224": "fairpress.models.timm_models:ViTSmall",
}


class Architecture(Protocol):
    """A frozen pydantic config that builds its network.

    `reads` is the kind of a row: numbers of a table, an image of uint8 pixels [3, height, width], or token ids of a text.
    `version` is increased by hand when the network or its initialisation changes, so that a study does not reuse older
    results.
    """

    reads: ClassVar[Kind]
    version: ClassVar[int]

    @property
    def name(self) -> str: ...

    def build(self, shape: Sequence[int], n_classes: int) -> nn.Module: ...

    def __hash__(self) -> int: ...

    def model_dump(self, *, mode: str = "json") -> dict[str, Any]: ...


def build(architecture: Architecture, shape: int | Sequence[int], n_classes: int, seed: int = 0) -> nn.Module:
    """Return an architecture's network with weights drawn from `seed`; torch's global generator is not changed.

    Parameters
    ----------
    shape
        Shape of one row: (columns,) or (3, height, width); a number means (columns,).
    """
    import torch

    row = (shape,) if isinstance(shape, int) else tuple(shape)
    with torch.random.fork_rng(devices=[]):
        # Not `torch.manual_seed`, which seeds other devices too and takes as long as a small network.
        torch.default_generator.manual_seed(seed)
        return architecture.build(row, n_classes)


def names() -> list[str]:
    """Return the names of all architectures."""
    return sorted(_CONFIGS)


def config_class(name: str) -> type[BaseModel]:
    """Return the config class of an architecture. Raises UserError, with suggestions, for an unknown name."""
    if name not in _CONFIGS:
        raise UserError(f"there is no model {name!r}." + did_you_mean(name, _CONFIGS))
    module, _, attribute = _CONFIGS[name].partition(":")
    return cast("type[BaseModel]", getattr(import_module(module), attribute))


def version(name: str) -> int:
    """Return the version of an architecture (`Architecture.version`). Raises UserError for an unknown name."""
    return cast("type[Architecture]", config_class(name)).version


def get(name: str, **params: Any) -> Architecture:
    """Return an architecture's config. Raises UserError for an unknown name or parameter."""
    return cast("Architecture", parse(config_class(name), params, f"model {name}"))


def architectures_for(input_kind: Kind) -> list[str]:
    """Return the architectures that read tables, images, or texts."""
    return [name for name in names() if cast("Architecture", config_class(name)).reads == input_kind]
