"""Networks of torchvision, by their names there. They read uint8 pixels and scale them themselves."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from fairpress.core.errors import MissingExtra, UserError

if TYPE_CHECKING:
    from torch import nn


class TorchvisionNetwork(BaseModel):
    """One of ``torchvision.models``; a subclass says which by its `name`.

    Attributes
    ----------
    weights
        A local safetensors file to start training from, with the names torchvision gives its tensors; its last
        layer is left out where it has another number of classes. Weights stand in the model folder afterwards,
        so that the file is needed no more.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: ClassVar[str]
    reads: ClassVar[Literal["table", "images"]] = "images"

    weights: str | None = Field(default=None, exclude=True)

    def build(self, shape: Sequence[int], n_classes: int) -> nn.Module:
        """Return the network: uint8 pixels [rows, 3, height, width] in, logits [rows, n_classes] out.

        Weights are drawn from torch's global generator, as torchvision draws them; the caller seeds it.
        """
        from importlib.util import find_spec

        from torch import nn

        from fairpress.models.pixels import ScalePixels

        if find_spec("torchvision") is None:
            raise MissingExtra(f"The network {self.name}", "torch")
        import torchvision

        body = getattr(torchvision.models, self.name)(weights=None, num_classes=n_classes)
        return nn.Sequential(OrderedDict(pixels=ScalePixels(), body=body))

    def start(self, network: nn.Module) -> dict[str, Any]:
        """Load `weights` into a network that `build` made, and return what a card says of them.

        Raises
        ------
        UserError
            There is no such file, it is no safetensors file, or it belongs to another network.
        """
        if self.weights is None:
            return {}
        from fairpress.models.checkpoint import from_bytes

        path = Path(self.weights).expanduser()
        try:
            data = path.read_bytes()
        except OSError as error:
            raise UserError(f"cannot read the weights {path}: {error.strerror or error}.") from None
        given = from_bytes(data, str(path))
        body = network.get_submodule("body")
        own = body.state_dict()
        # The last layer's weight and bias are the last tensors of every torchvision classifier.
        head = set(list(own)[-2:])
        fitting = {k: v for k, v in given.items() if k in own and v.shape == own[k].shape}
        lacking = [k for k in own if k not in fitting and k not in head and "num_batches" not in k]
        if lacking:
            raise UserError(
                f"{path} holds no weights of {self.name}: {lacking[0]!r} is absent or of another shape "
                f"({len(lacking)} of {len(own)} tensors)."
            )
        body.load_state_dict({**own, **fitting})
        kept_head = sorted(head - set(fitting))
        return {"file": path.name, "sha256": hashlib.sha256(data).hexdigest(), "drawn_anew": kept_head}


class ResNet18(TorchvisionNetwork):
    """ResNet-18 (He et al. 2016): 11.2 million weights, 45 MB in fp32."""

    name: ClassVar[str] = "resnet18"
