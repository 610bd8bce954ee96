"""Networks of torchvision, under torchvision's names."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, ClassVar

from fairpress.core.errors import MissingExtra
from fairpress.models.image_architecture import ImageNetwork

if TYPE_CHECKING:
    from torch import nn


class TorchvisionNetwork(ImageNetwork):
    """One of ``torchvision.models``."""

    def body(self, shape: Sequence[int], n_classes: int) -> nn.Module:
        """Return torchvision's network with random initial weights, for any height and width from `min_side`."""
        if find_spec("torchvision") is None:
            raise MissingExtra(f"The network {self.name}", "torch")
        import torchvision

        network: nn.Module = getattr(torchvision.models, self.name)(weights=None, num_classes=n_classes)
        return network


class ResNet18(TorchvisionNetwork):
    """ResNet-18 (He et al. 2016): 11.2 million weights, 45 MB in fp32."""

    name: ClassVar[str] = "resnet18"


class ResNet50(TorchvisionNetwork):
    """ResNet-50 (He et al. 2016): 23.5 million weights, 94 MB in fp32."""

    name: ClassVar[str] = "resnet50"


class MobileNetV2(TorchvisionNetwork):
    """MobileNetV2 (Sandler et al. 2018): depthwise convolutions, 2.2 million weights, 9 MB in fp32."""

    name: ClassVar[str] = "mobilenet_v2"


class EfficientNetB0(TorchvisionNetwork):
    """EfficientNet-B0 (Tan and Le 2019): squeeze and excitation, 4.0 million weights, 16 MB in fp32.

    Its last layer is drawn within ±1/√inputs, torch's default for linear layers, not within ±1/√classes. The latter suits
    ImageNet's thousand classes; with two, initial logits are about 25 times as large, and most of a short training would
    go into shrinking them.
    """

    name: ClassVar[str] = "efficientnet_b0"
    version: ClassVar[int] = 2

    def body(self, shape: Sequence[int], n_classes: int) -> nn.Module:
        """Return torchvision's network, with the last layer initialised for few classes."""
        from torch import nn

        network = super().body(shape, n_classes)
        last = network.get_submodule("classifier.1")
        assert isinstance(last, nn.Linear)
        last.reset_parameters()
        return network


class SqueezeNet(TorchvisionNetwork):
    """SqueezeNet 1.1 (Iandola et al. 2016): 0.7 million weights, 3 MB in fp32; a convolution is its last layer.

    The ReLU after its last convolution is removed: with two classes, two negative logits on all rows would give zero
    gradient, and training would stall.
    """

    name: ClassVar[str] = "squeezenet1_1"
    min_side: ClassVar[int] = 17

    def body(self, shape: Sequence[int], n_classes: int) -> nn.Module:
        """Return torchvision's network without the ReLU after its last convolution."""
        from torch import nn

        network = super().body(shape, n_classes)
        classifier = network.get_submodule("classifier")
        assert isinstance(classifier, nn.Sequential)
        assert isinstance(classifier[2], nn.ReLU)
        classifier[2] = nn.Identity()
        return network
