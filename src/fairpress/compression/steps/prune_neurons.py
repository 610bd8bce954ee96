"""Neuron pruning: whole neurons of hidden linear layers go (He et al. 2014, "Reshaping deep neural network …")."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from fairpress.compression.step import TrainedNetwork
from fairpress.compression.steps.remove_units import UnitPruning, example_rows
from fairpress.core.errors import UserError
from fairpress.datasets.dataset import Dataset

if TYPE_CHECKING:
    from torch import nn

    from fairpress.compression.pruning.units import UnitGroup


class PruneNeurons(UnitPruning):
    """Remove the least important neurons of every hidden linear layer, then fine-tune the smaller dense network.

    A neuron goes with its row of weights, its bias, its entries of the norms after it, and the columns that read it: without
    them the network answers as it does with the neuron's output at zero, which is tested before anything is removed. Every
    layer loses the same share, so that none is emptied; layers that are joined by a sum lose the same neurons. Hidden layers
    of networks for tables, classifiers behind convolutions, and feed-forward layers of transformers lose neurons; the width
    of a transformer, attention and convolutions stay.

    Attributes
    ----------
    share
        Share of each layer's neurons to remove.
    round_to
        Each layer keeps a multiple of this number of neurons, so that slightly more may be removed. A layer that would keep
        fewer than this loses none; the card names it.
    importance
        Of each neuron, summed over the weights that compute and read it (`RankedPruning`).
    """

    recipe_name: ClassVar[str] = "prune-neurons"
    removed: ClassVar[str] = "neurons"

    round_to: int = Field(default=1, ge=1, le=65_536)

    def multiple(self) -> int:
        return self.round_to

    def groups_of(self, module: nn.Module, network: TrainedNetwork, dataset: Dataset) -> list[UnitGroup]:
        from torch import nn

        from fairpress.compression.pruning.neuron_groups import neuron_groups

        groups = neuron_groups(module, example_rows(dataset))
        if not groups:
            kinds = [
                type(part).__name__ for part in module.modules() if isinstance(part, nn.modules.conv._ConvNd)
            ]
            remedy = "prune-channels-50, which removes channels of convolutions" if kinds else "prune-50"
            kind, name = type(module).__name__, network.architecture.name
            raise UserError(
                f"{self.recipe_name} removes neurons of hidden linear layers that further linear layers read, and "
                f"{kind if kind == name else f'{kind} ({name})'} has none that can go; take {remedy}."
            )
        return groups

    def facts(
        self, module: nn.Module, groups: Sequence[UnitGroup], retained: Sequence[int]
    ) -> dict[str, Any]:
        """Return the neurons that each layer keeps, and the names of the linear layers whose weights all stay."""
        from torch import nn

        left = {
            part.tensor.rpartition(".")[0]: n
            for group, n in zip(groups, retained, strict=True)
            for part in group.parts
            if n < group.count and part.axis == 0 and not part.reads and part.tensor.endswith("weight")
        }
        lost = {part.tensor for g, n in zip(groups, retained, strict=True) for part in g.parts if n < g.count}
        linear = [name for name, part in module.named_modules() if isinstance(part, nn.Linear)]
        return {
            "layers": {name: left[name] for name in linear if name in left},
            "whole": [name for name in linear if f"{name}.weight" not in lost],
        }

    def too_few(self, groups: Sequence[UnitGroup]) -> str:
        widest = max(group.count for group in groups)
        least = "one" if self.round_to == 1 else f"a multiple of {self.round_to}"
        return (
            f"no layer has enough neurons to remove {self.share:.0%} of them and keep {least}, since "
            f"the widest has {widest}; "
            + ("set round_to=1, or " if self.round_to > 1 else "")
            + "take a smaller share."
        )
