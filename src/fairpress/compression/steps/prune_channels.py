"""Structured pruning of whole channels of convolutions, with the heads and neurons beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import is_dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from fairpress.compression.step import TrainedNetwork
from fairpress.compression.steps.remove_units import StructuredPruning, example_rows
from fairpress.core.errors import UserError
from fairpress.core.progress import OnMessage
from fairpress.datasets.dataset import Dataset

if TYPE_CHECKING:
    from torch import Tensor, nn

    from fairpress.compression.pruning.units import Keep


class PruneChannels(StructuredPruning):
    """Remove the least important channels from every layer, then fine-tune the smaller dense network.

    Channels of convolutions of one to three dimensions, transposed or not, and of linear layers behind them. By magnitude
    they are ranked by the squares of their weights, averaged over the layers that share a channel; layers that are joined by
    a sum lose the same channels, and groups of a convolution the same number each. The last layer keeps its classes.
    Attention loses whole heads, those whose queries, keys, values and outputs have the smallest weights together; a head
    keeps its size.

    Attributes
    ----------
    share
        Share of each layer's channels, and of each attention's heads, to remove; heads are rounded down.
    round_to
        Each layer keeps a multiple of this number of channels, which kernels need for speed, so slightly more may be
        removed. A layer that would keep fewer than this loses none; the card names it.
    importance
        Of each channel, by its weights (`RankedPruning`).
    """

    recipe_name: ClassVar[str] = "prune-channels"
    removed: ClassVar[str] = "channels"

    round_to: int = Field(default=8, ge=1, le=65_536)

    def apply(
        self,
        networks: Sequence[TrainedNetwork],
        datasets: Sequence[Dataset],
        seeds: Sequence[int],
        on_message: OnMessage | None = None,
    ) -> list[TrainedNetwork]:
        """Prune each network, then fine-tune all. Raises UserError naming the layer that cannot lose channels."""
        pruned_networks = [self._prune(n, d, s) for n, d, s in zip(networks, datasets, seeds, strict=True)]
        if on_message is not None:
            first = pruned_networks[0].details["channels"]
            note = (
                "; without the channels the network predicts differently than with them at zero, since an operation "
                "mixes channels"
                if first["equals_zeroed"] is False
                else ""
            )
            on_message(
                f"{first['weights_before']:,} weights pruned to {first['weights_after']:,}{note}; fine-tuning"
            )
        return self.train(pruned_networks, datasets, seeds, on_message, lambda context: None)

    def _prune(self, network: TrainedNetwork, dataset: Dataset, seed: int) -> TrainedNetwork:
        from fairpress.compression.pruning.channels import (
            layers_with_channels,
            remove_channels,
            unknown_layers,
        )
        from fairpress.models.attention import attentions
        from fairpress.models.initialize import initialize

        if network.tokenizer is not None:
            raise UserError(
                f"prune-channels is for networks with convolutions, and {network.architecture.name} reads texts; take "
                f"prune-heads-{100 * self.share:g}, which removes attention heads and feed-forward neurons."
            )
        module = initialize(network.architecture, dataset)
        module.load_state_dict(dict(network.state))
        module.eval()
        example = example_rows(dataset)
        shapes_before = {k: tuple(v.shape) for k, v in module.state_dict().items()}
        weights = sum(p.numel() for p in module.parameters())
        measured = self._measured(module, network, dataset, seed)
        smaller = remove_channels(module, example, self.share, self.round_to, measured)
        pruned = smaller.module
        state = pruned.state_dict()
        changed = {k: tuple(v.shape) for k, v in state.items() if tuple(v.shape) != shapes_before[k]}
        if not changed:
            unknown = unknown_layers(module)
            if unknown:
                name, part = unknown[0]
                raise UserError(
                    f"prune-channels cannot remove channels that layer {name!r} ({type(part).__name__}) reads or computes, "
                    "and no others can go; take prune-50, which sets single weights to zero."
                )
            raise UserError(
                f"no layer has enough channels to remove {self.share:.0%} of them in multiples of {self.round_to}; set "
                "round_to=1, or take a larger share."
            )
        facts: dict[str, Any] = {
            "share": self.share,
            "weights_before": weights,
            "weights_after": sum(p.numel() for p in pruned.parameters()),
            "whole": [name for name in layers_with_channels(module) if f"{name}.weight" not in changed],
            "equals_zeroed": smaller.equals_zeroed,
        }
        heads = {name: block.num_heads for name, block in attentions(pruned).items()}
        if heads:
            facts["heads"] = heads
        return replace(
            network,
            architecture=_architecture(network.architecture, pruned, changed),
            state={k: v.detach().clone() for k, v in state.items()},
            details={**network.details, "channels": facts},
        )

    def _measured(
        self, module: nn.Module, network: TrainedNetwork, dataset: Dataset, seed: int
    ) -> tuple[Mapping[str, Tensor], Keep] | None:
        from fairpress.compression.pruning.channels import layers_with_channels

        if self.importance == "magnitude":
            return None
        names = [f"{name}.weight" for name in layers_with_channels(module)]
        return self.measured(module, names, network, dataset, seed)


def _architecture(architecture: Any, pruned: nn.Module, changed: dict[str, tuple[int, ...]]) -> Any:
    """Return the architecture of the pruned network: with the pruned module for a user's module, else with new shapes."""
    if is_dataclass(architecture) and not isinstance(architecture, type):
        return replace(architecture, module=pruned)
    return architecture.model_copy(
        update={"channels": tuple({**dict(architecture.channels), **changed}.items())}
    )
