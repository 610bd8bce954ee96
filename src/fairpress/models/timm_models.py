"""Networks of timm, by their names there: vision transformers, and ConvNeXt."""

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
        Start from the weights that timm publishes, which it downloads and keeps. The last layer is drawn anew, and
        positions are interpolated to the size of the images.
    """

    makers: ClassVar[tuple[str, ...]] = ("torchvision", "timm")
    sized: ClassVar[bool] = True  # whether the network is made for a size of image

    pretrained: bool = Field(default=False, exclude=True)

    @model_validator(mode="after")
    def _check_start(self) -> TimmNetwork:
        if self.pretrained and self.weights is not None:
            raise ValueError("a network starts from `weights`, a file, or is `pretrained`; say one")
        return self

    def body(self, shape: Sequence[int], n_classes: int) -> nn.Module:
        """Return timm's network with weights drawn anew, for images of `shape`."""
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
        """Return weights by timm's present names, positions interpolated where the images had another size."""
        converted: dict[str, Tensor] = import_module(type(body).__module__).checkpoint_filter_fn(
            weights, body
        )
        return converted

    def start(self, network: nn.Module) -> dict[str, Any]:
        """Load `weights`, or those that timm publishes, into a network that `build` made.

        Raises
        ------
        UserError
            The file does not fit, or timm's weights cannot be had.
        """
        if not self.pretrained:
            return super().start(network)
        body = network.get_submodule("body")
        body_state = body.state_dict()
        head = list(body_state)[-2:]
        size = body.patch_embed.img_size if self.sized else (224, 224)
        try:
            published = self._create(size, len(body_state[head[1]]), pretrained=True)
        except Exception as error:  # timm passes on whatever its ways of downloading raise
            reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
            raise UserError(
                f"timm could not fetch its weights of {self.name} ({reason.strip().rstrip('.')}): connect to a network, or "
                "give a safetensors file as weights."
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
    least_side: ClassVar[int] = 16


class ConvNeXtTiny(TimmNetwork):
    """ConvNeXt-T (Liu et al. 2022): 27.8 million weights, 111 MB in fp32."""

    name: ClassVar[str] = "convnext_tiny"
    sized: ClassVar[bool] = False
    least_side: ClassVar[int] = 32
