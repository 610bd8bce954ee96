"""The base of steps that remove whole units, heads or neurons, and fine-tune the smaller network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import is_dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

from pydantic import Field, model_validator

from fairpress.compression.step import TrainedNetwork
from fairpress.compression.steps.finetune import TrainingContext
from fairpress.compression.steps.ranked import RankedPruning, measured_importance
from fairpress.core.errors import UserError
from fairpress.core.progress import OnMessage
from fairpress.datasets.dataset import Dataset

if TYPE_CHECKING:
    from torch import Tensor, nn

    from fairpress.compression.pruning.units import Keep, UnitGroup


class StructuredPruning(RankedPruning):
    """Remove a share of the units of every layer, so that the network is smaller and dense, then fine-tune it.

    Attributes
    ----------
    share
        Share of each layer's units to remove.
    """

    recipe_name: ClassVar[str]
    removed: ClassVar[str]  # what the step removes, in the plural

    share: float = Field(gt=0, lt=1)

    @model_validator(mode="after")
    def _ceag_needs_same_shape(self) -> Self:
        if self.method == "ceag":
            raise ValueError(
                f"method=ceag compares a network with itself before the step, and {self.recipe_name} changes its layers; "
                "take another method"
            )
        return self

    def measured(
        self, module: nn.Module, names: Sequence[str], network: TrainedNetwork, dataset: Dataset, seed: int
    ) -> tuple[Mapping[str, Tensor], Keep]:
        """Return the importance of weights [groups, *shape], and the function that chooses units by theirs."""
        from fairpress.compression.pruning.units import keep_for_groups, keep_most_important, squared
        from fairpress.training.data import tensors

        if self.importance == "magnitude":
            return squared(network.state, names), keep_most_important
        parameters = dict(module.named_parameters(remove_duplicate=False))
        frozen = [parameter for parameter in module.parameters() if not parameter.requires_grad]
        for parameter in frozen:
            parameter.requires_grad_(True)
        rows = [tensors(dataset, "train", network.class_weights)]
        context = TrainingContext(lambda x: module(x[0])[None], parameters, rows, [dataset], [seed])
        measured = measured_importance(self, self.importance, context)
        weights = {name: parameters[name].detach()[None] for name in names if name in parameters}
        values = measured.compute(weights)
        for parameter in frozen:
            parameter.requires_grad_(False)
        return {name: value[:, 0] for name, value in values.items()}, keep_for_groups(measured.active)


class UnitPruning(StructuredPruning):
    """Remove the units that `groups_of` names from each network, then fine-tune all."""

    def groups_of(self, module: nn.Module, network: TrainedNetwork, dataset: Dataset) -> list[UnitGroup]:
        """Return the groups of units that lose a share. Raises UserError for a network without any."""
        raise TypeError(f"{type(self).__name__} does not define groups_of()")

    def multiple(self) -> int:
        """Return the number of which each layer keeps a multiple."""
        raise TypeError(f"{type(self).__name__} does not define multiple()")

    def facts(
        self, module: nn.Module, groups: Sequence[UnitGroup], retained: Sequence[int]
    ) -> dict[str, Any]:
        """Return what the card says of the layers, beside the number of weights."""
        raise TypeError(f"{type(self).__name__} does not define facts()")

    def apply(
        self,
        networks: Sequence[TrainedNetwork],
        datasets: Sequence[Dataset],
        seeds: Sequence[int],
        on_message: OnMessage | None = None,
    ) -> list[TrainedNetwork]:
        """Remove units from each network, then fine-tune all, small ones as one batch.

        Raises
        ------
        UserError
            The network has no such units, or too few of them.
        """
        from fairpress.models.initialize import initialize

        module = initialize(networks[0].architecture, datasets[0]).eval()
        module.load_state_dict(dict(networks[0].state))
        groups = self.groups_of(module, networks[0], datasets[0])
        smaller = [
            self._without_units(module, groups, n, d, s)
            for n, d, s in zip(networks, datasets, seeds, strict=True)
        ]
        if on_message is not None:
            on_message(self._message(smaller[0]))
        return self.train(smaller, datasets, seeds, on_message, lambda context: None)

    def _message(self, network: TrainedNetwork) -> str:
        facts = network.details[self.removed]
        text = f"{facts['weights_before']:,} weights pruned to {facts['weights_after']:,}"
        whole = facts.get("whole", [])
        if whole:
            shown = ", ".join(whole[:3]) + (", …" if len(whole) > 3 else "")
            text += f"; whole: {len(whole)} layer{'s' if len(whole) > 1 else ''} ({shown})"
        return f"{text}; fine-tuning"

    def _without_units(
        self,
        module: nn.Module,
        groups: Sequence[UnitGroup],
        network: TrainedNetwork,
        dataset: Dataset,
        seed: int,
    ) -> TrainedNetwork:
        from fairpress.compression.pruning.units import n_retained, unit_importance, weights_of, without

        module.load_state_dict(dict(network.state))
        importance, keep = self.measured(module, weights_of(groups, network.state), network, dataset, seed)
        retained = [n_retained(group, self.share, self.multiple()) for group in groups]
        kept = [keep(unit_importance(g, importance), n) for g, n in zip(groups, retained, strict=True)]
        changed = without(groups, kept, network.state)
        if not changed:
            raise UserError(self.too_few(groups))
        weights = sum(p.numel() for p in module.parameters())
        names = {name for name, _ in module.named_parameters(remove_duplicate=False)}
        removed = sum(network.state[n].numel() - v.numel() for n, v in changed.items() if n in names)
        details = {
            "share": self.share,
            "weights_before": weights,
            "weights_after": weights - removed,
            **self.facts(module, groups, retained),
        }
        return replace(
            network,
            architecture=smaller_architecture(network.architecture, module, changed),
            state={name: changed.get(name, value).clone() for name, value in network.state.items()},
            details={**network.details, self.removed: details},
        )

    def too_few(self, groups: Sequence[UnitGroup]) -> str:
        """Return the message for layers that are too small to lose the share."""
        raise TypeError(f"{type(self).__name__} does not define too_few()")


def example_rows(dataset: Dataset) -> Tensor:
    """Return two rows as a network reads them."""
    import torch

    from fairpress.compression.steps.quantize import inputs

    rows = inputs(dataset, "calibration", 2)
    return rows[torch.arange(len(rows))]


def smaller_architecture(architecture: Any, module: nn.Module, changed: Mapping[str, Tensor]) -> Any:
    """Return the architecture of a network with these tensors in place of larger ones.

    That of a user's module has the smaller module, `mlp` fewer units, and others the shapes of the tensors.
    """
    from fairpress.compression.pruning.witness import smaller

    shapes = {name: tuple(value.shape) for name, value in changed.items()}
    if is_dataclass(architecture) and not isinstance(architecture, type):
        return replace(architecture, module=smaller(module, changed))
    if hasattr(architecture, "with_shapes"):
        return architecture.with_shapes(shapes)
    channels = tuple({**dict(architecture.channels), **shapes}.items())
    return architecture.model_copy(update={"channels": channels})
