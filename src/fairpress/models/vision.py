"""Networks of torchvision, by their names there: a class of two lines each."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, ClassVar

from fairpress.core.errors import MissingExtra
from fairpress.models.image_network import ImageNetwork

if TYPE_CHECKING:
    from torch import nn


class TorchvisionNetwork(ImageNetwork):
    """One of ``torchvision.models``."""

    def body(self, shape: Sequence[int], n_classes: int) -> nn.Module:
        """Return torchvision's network with weights drawn anew; any height and width will do."""
        if find_spec("torchvision") is None:
            raise MissingExtra(f"The network {self.name}", "torch")
        import torchvision

        network: nn.Module = getattr(torchvision.models, self.name)(weights=None, num_classes=n_classes)
        return network


class ResNet18(TorchvisionNetwork):
    """ResNet-18 (He et al. 2016): 11.2 million weights, 45 MB in fp32."""

    name: ClassVar[str] = "resnet18"
