"""Networks of timm, under timm's names: vision transformers, and ConvNeXt."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field, model_validator

from fairpress.core.errors import MissingExtra, UserError
from fairpress.models.image_architecture import ImageNetwork

if TYPE_CHECKING:
    from torch import Tensor, nn


class TimmNetwork(ImageNetwork):
    """One of ``timm.list_models()``.

    Attributes
    ----------
    pretrained
        Start from the weights that timm publishes, which it downloads and caches. The last layer is re-initialised, and
        position embeddings are interpolated to the size of the images.
    """

    packages: ClassVar[tuple[str, ...]] = ("torchvision", "timm")
    sized: ClassVar[bool] = True  # whether the network is built for a fixed image size

    pretrained: bool = Field(default=False, exclude=True)

    @model_validator(mode="after")
    def _check_start(self) -> TimmNetwork:
        if self.pretrained and self.weights is not None:
            raise ValueError("`weights` and `pretrained` exclude each other; give one of them")
        return self

    def body(self, shape: Sequence[int], n_classes: int) -> nn.Module:
        """Return timm's network with random initial weights, for images of `shape`."""
        return self._create(shape[1:], n_classes, pretrained=False)

    def _create(self, size: Sequence[int], n_classes: int, *, pretrained: bool) -> nn.Module:
        if find_spec("timm") is None:
            raise MissingExtra(f"The network {self.name}", "torch")
        import timm

        sized = {"img_size": tuple(size)} if self.sized else {}
        network: nn.Module = timm.create_model(
            self.name, pretrained=pretrained, num_classes=n_classes, **sized
        )
        return network

    def adapt_weights(self, weights: dict[str, Tensor], body: nn.Module) -> dict[str, Tensor]:
        """Return weights under timm's current names, with position embeddings interpolated to the image size."""
        converted: dict[str, Tensor] = import_module(type(body).__module__).checkpoint_filter_fn(
            weights, body
        )
        return converted

    def start(self, network: nn.Module) -> dict[str, Any]:
        """Load `weights`, or those that timm publishes, into a network from `build`.

        Raises
        ------
        UserError
            The file does not fit, or timm's weights cannot be downloaded.
        """
        if not self.pretrained:
            return super().start(network)
        body = network.get_submodule("body")
        body_state = body.state_dict()
        head = list(body_state)[-2:]
        size = body.patch_embed.img_size if self.sized else (224, 224)
        try:
            published = self._create(size, len(body_state[head[1]]), pretrained=True)
        except Exception as error:  # download libraries raise many kinds of errors
            reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
            raise UserError(
                f"timm could not download its weights of {self.name} ({reason.strip().rstrip('.')}); check the network "
                "connection, or give a safetensors file as `weights=`."
            ) from None
        body.load_state_dict({**published.state_dict(), **{k: body_state[k] for k in head}})
        return {"timm": f"{self.name}.{published.pretrained_cfg.get('tag', '')}", "drawn_anew": sorted(head)}


class ViTSmall(TimmNetwork):
    """ViT-S/16 (Dosovitskiy et al. 2021; Steiner et al. 2022): 21.7 million weights, 87 MB in fp32."""

    name: ClassVar[str] = "vit_small_patch16_224"
    mean: ClassVar[tuple[float, float, float]] = (0.5, 0.5, 0.5)
    std: ClassVar[tuple[float, float, float]] = (0.5, 0.5, 0.5)
    multiple: ClassVar[int] = 16


class DeiTTiny(TimmNetwork):
    """DeiT-Ti/16 (Touvron et al. 2021): 5.5 million weights, 22 MB in fp32."""

    name: ClassVar[str] = "deit_tiny_patch16_224"
    multiple: ClassVar[int] = 16


class SwinTiny(TimmNetwork):
    """Swin-T (Liu et al. 2021): attention in windows, 27.5 million weights, 110 MB in fp32."""

    name: ClassVar[str] = "swin_tiny_patch4_window7_224"
    multiple: ClassVar[int] = 4
    min_side: ClassVar[int] = 16


class ConvNeXtTiny(TimmNetwork):
    """ConvNeXt-T (Liu et al. 2022): 27.8 million weights, 111 MB in fp32."""

    name: ClassVar[str] = "convnext_tiny"
    sized: ClassVar[bool] = False
    min_side: ClassVar[int] = 32
