"""A multilayer perceptron for tables, sized by the number of rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from fairpress.datasets.dataset import Kind

if TYPE_CHECKING:
    from torch import nn

Width = Annotated[int, Field(gt=0, le=16_384)]
DEFAULT_WIDTHS = (68,) * 8
# Minimum number of rows, and the units of hidden layers in addition to those that carry the logistic regression.
FREE_UNITS: tuple[tuple[int, tuple[int, ...]], ...] = ((20_000, (126, 62)), (2_000, (62, 62)), (0, (30, 30)))


class Mlp(BaseModel):
    """Linear layers and ReLU, inputs standardized by the first layer.

    Attributes
    ----------
    widths
        Units of the hidden layers. By default they are chosen by the table's number of rows (`sized`), and training starts
        from the logistic regression. If the number of rows is not known, the default is the eight layers of Kamal and
        Talbert (2024): (68,)·8, about 33,600 parameters on COMPAS, 136 KB in fp32.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: ClassVar[str] = "mlp"
    reads: ClassVar[Kind] = "table"
    version: ClassVar[int] = 1

    widths: tuple[Width, ...] | None = Field(default=None, min_length=1, max_length=64)

    def sized(self, rows: int, n_classes: int) -> Mlp:
        """Return the config for a table of `rows` rows, about half of which are for training; with `widths`, unchanged.

        For two classes: hidden layers of 32 and 32 units below 2,000 rows, 64 and 64 below 20,000, 128 and 64 above.
        Two of the units of each layer (two per class for more than two classes) carry the logistic regression that training
        starts from.
        """
        if self.widths is not None:
            return self
        free = next(units for min_rows, units in FREE_UNITS if rows >= min_rows)
        return Mlp(widths=tuple(carriers(n_classes) + units for units in free))

    def with_shapes(self, shapes: Mapping[str, Sequence[int]]) -> Mlp:
        """Return the config with as many units as the weights of these shapes have, by the names of the weights."""
        widths = list(self.widths or DEFAULT_WIDTHS)
        for index in range(len(widths)):
            shape = shapes.get(f"{2 * index + 1}.weight")
            widths[index] = widths[index] if shape is None else shape[0]
        return self.model_copy(update={"widths": tuple(widths)})

    def build(self, shape: int | Sequence[int], n_classes: int) -> nn.Module:
        """Return the network; raw inputs [rows, columns] in, logits [rows, n_classes] out.

        `shape` is the number of columns, or (columns,).

        Weights are drawn from torch's global generator (He et al. 2015); the caller seeds it.
        """
        from torch import nn

        from fairpress.models.feature_scaling import Standardize

        n_inputs = shape if isinstance(shape, int) else shape[0]
        layers: list[nn.Module] = [Standardize(n_inputs)]
        for width in self.widths or DEFAULT_WIDTHS:
            linear = nn.Linear(n_inputs, width)
            nn.init.kaiming_normal_(linear.weight, nonlinearity="relu")
            nn.init.zeros_(linear.bias)
            layers += [linear, nn.ReLU()]
            n_inputs = width
        layers.append(nn.Linear(n_inputs, n_classes))
        return nn.Sequential(*layers)


def carriers(n_classes: int) -> int:
    """Return the number of units that carry a linear function through a ReLU layer: ReLU(u) and ReLU(−u) of each u."""
    return 2 if n_classes == 2 else 2 * n_classes
