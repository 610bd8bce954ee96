"""A multilayer perceptron for tables; by default the eight hidden layers of Kamal and Talbert (2024)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt

if TYPE_CHECKING:
    from torch import nn


class Mlp(BaseModel):
    """Widths of the hidden layers; (68,)·8 has about 33,600 parameters on COMPAS, 136 KB in fp32."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: ClassVar[str] = "mlp"
    reads: ClassVar[Literal["table", "images"]] = "table"
    version: ClassVar[int] = 1

    widths: tuple[PositiveInt, ...] = Field(default=(68,) * 8, min_length=1)

    def build(self, shape: int | Sequence[int], n_classes: int) -> nn.Module:
        """Return the network; raw inputs [rows, columns] in, logits [rows, n_classes] out.

        `shape` is the number of columns, or (columns,).

        Weights are drawn from torch's global generator (He et al. 2015); the caller seeds it.
        """
        from torch import nn

        from fairpress.models.standardize import Standardize

        before = shape if isinstance(shape, int) else shape[0]
        layers: list[nn.Module] = [Standardize(before)]
        for width in self.widths:
            linear = nn.Linear(before, width)
            nn.init.kaiming_normal_(linear.weight, nonlinearity="relu")
            nn.init.zeros_(linear.bias)
            layers += [linear, nn.ReLU()]
            before = width
        layers.append(nn.Linear(before, n_classes))
        return nn.Sequential(*layers)
