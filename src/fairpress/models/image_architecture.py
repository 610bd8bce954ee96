"""Base class of image networks: uint8 pixels as input, scaling inside, optional initial weights."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from fairpress.core.errors import UserError
from fairpress.datasets.dataset import Kind
from fairpress.models.channels import Channels

if TYPE_CHECKING:
    from torch import Tensor, nn

# Statistics of ImageNet's training images, in units of 0 … 1, with which most published weights were trained.
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class ImageNetwork(BaseModel):
    """A network by its `name`; a subclass defines its `body`.

    Class attributes: `mean`, `std` of the pixels that its published weights expect; `multiple`, to which the sides of an
    image are padded; `min_side` of an image; `packages`, whose versions are recorded.

    Attributes
    ----------
    weights
        A local safetensors file with initial weights: that of a model folder, or one with the tensor names of the body.
        Its last layer is ignored if the number of classes differs. The model folder contains the trained weights, so the
        file is not needed afterwards.
    channels
        Shapes of the tensors that channel pruning made smaller, from the card.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: ClassVar[str]
    reads: ClassVar[Kind] = "images"
    version: ClassVar[int] = 1
    mean: ClassVar[tuple[float, float, float]] = MEAN
    std: ClassVar[tuple[float, float, float]] = STD
    multiple: ClassVar[int] = 1
    min_side: ClassVar[int] = 1
    packages: ClassVar[tuple[str, ...]] = ("torchvision",)

    weights: str | None = Field(default=None, exclude=True)
    channels: Channels = Field(default=(), exclude=True)

    def body(self, shape: Sequence[int], n_classes: int) -> nn.Module:
        """Return the network after the scaling: float pixels [rows, 3, height, width] in, logits out."""
        raise TypeError(f"{type(self).__name__} does not define body()")

    def build(self, shape: Sequence[int], n_classes: int) -> nn.Module:
        """Return the network: uint8 pixels [rows, 3, height, width] in, logits [rows, n_classes] out.

        Weights are drawn from torch's global generator with the initialisation of the body's library; the caller seeds it.

        Raises
        ------
        UserError
            The images are too small for this network.
        """
        from torch import nn

        from fairpress.models.pixel_scaling import ScalePixels, padded_side
        from fairpress.models.pruned_shapes import apply_pruned_shapes

        height, width = (padded_side(side, self.multiple) for side in shape[1:])
        if min(height, width) < self.min_side:
            raise UserError(
                f"{self.name} reads images of {self.min_side} × {self.min_side} pixels or more, not "
                f"{shape[1]} × {shape[2]}; set a larger image size."
            )
        pixels = ScalePixels(self.mean, self.std, self.multiple)
        body = self.body((shape[0], height, width), n_classes)
        network = nn.Sequential(OrderedDict(pixels=pixels, body=body))
        apply_pruned_shapes(network, dict(self.channels))
        return network

    def adapt_weights(self, weights: dict[str, Tensor], body: nn.Module) -> dict[str, Tensor]:
        """Return the weights of a file with the names and shapes of `body`; unchanged by default."""
        return weights

    def start(self, network: nn.Module) -> dict[str, Any]:
        """Load `weights` into a network from `build`, and return their provenance for the card.

        Raises
        ------
        UserError
            The file cannot be read, is not a safetensors file, or belongs to another network.
        """
        if self.weights is None:
            return {}
        from fairpress.models.weights_io import from_bytes

        path = Path(self.weights).expanduser()
        try:
            data = path.read_bytes()
        except OSError as error:
            raise UserError(f"cannot read the weights {path}: {error.strerror or error}.") from None
        body = network.get_submodule("body")
        body_state = body.state_dict()
        weights = {k.removeprefix("body."): v for k, v in from_bytes(data, str(path)).items()}
        weights = self.adapt_weights({k: v for k, v in weights.items() if not k.startswith("pixels.")}, body)
        # The last layer's weight and bias are the last tensors of every classifier of torchvision and timm.
        head = set(list(body_state)[-2:])
        matching = {k: v for k, v in weights.items() if k in body_state and v.shape == body_state[k].shape}
        missing = [k for k in body_state if k not in matching and k not in head and "num_batches" not in k]
        if missing:
            raise UserError(
                f"{path} does not contain weights of {self.name}: {missing[0]!r} is missing or has another shape "
                f"({len(missing)} of {len(body_state)} tensors); give a file of this architecture."
            )
        body.load_state_dict({**body_state, **matching})
        kept_head = sorted(head - set(matching))
        return {"file": path.name, "sha256": hashlib.sha256(data).hexdigest(), "drawn_anew": kept_head}
