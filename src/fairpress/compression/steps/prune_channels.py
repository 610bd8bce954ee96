"""Structured pruning of whole channels, with torch-pruning's dependency graph (Fang et al. 2023, arXiv 2301.12900)."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Sequence
from dataclasses import is_dataclass, replace
from typing import TYPE_CHECKING, Any, Self

from pydantic import Field, model_validator

from fairpress.compression.step import TrainedNetwork
from fairpress.compression.steps.finetune import FineTune
from fairpress.core.errors import MissingExtra, UserError
from fairpress.core.progress import OnMessage
from fairpress.datasets.dataset import Dataset

if TYPE_CHECKING:
    from torch import Tensor, nn


class PruneChannels(FineTune):
    """Remove the channels with the smallest weights from every layer, then fine-tune the smaller dense network.

    Channels are ranked by the Euclidean norm of their weights, averaged over the layers that share a channel; layers that
    are joined by a sum lose the same channels. The last layer keeps its classes. Attention loses whole heads, those whose
    queries, keys, values and outputs have the smallest weights together; a head keeps its size.

    Attributes
    ----------
    share
        Share of each layer's channels, and of each attention's heads, to remove; heads are rounded down.
    round_to
        Each layer keeps a multiple of this number of channels, which kernels need for speed, so slightly more may be
        removed. A layer that would keep fewer than this loses none; the card names it.
    """

    share: float = Field(gt=0, lt=1)
    round_to: int = Field(default=8, ge=1, le=65_536)

    @model_validator(mode="after")
    def _ceag_needs_same_shape(self) -> Self:
        if self.method == "ceag":
            raise ValueError(
                "method=ceag compares a network with itself before the step, and prune-channels changes its channels; take "
                "another method"
            )
        return self

    def apply(
        self,
        networks: Sequence[TrainedNetwork],
        datasets: Sequence[Dataset],
        seeds: Sequence[int],
        on_message: OnMessage | None = None,
    ) -> list[TrainedNetwork]:
        """Prune each network, then fine-tune all. Raises UserError naming the layer that cannot lose channels."""
        pruned_networks = [self._prune(n, d) for n, d in zip(networks, datasets, strict=True)]
        if on_message is not None:
            first = pruned_networks[0].details["channels"]
            on_message(
                f"{first['weights_before']:,} weights pruned to {first['weights_after']:,}; fine-tuning"
            )
        return self.train(pruned_networks, datasets, seeds, on_message, lambda context: None)

    def _prune(self, network: TrainedNetwork, dataset: Dataset) -> TrainedNetwork:
        from fairpress.compression.steps.quantize import inputs
        from fairpress.models.attention import attentions
        from fairpress.models.initialize import initialize

        if network.tokenizer is not None:
            raise UserError(
                f"prune-channels is for networks with convolutions, and {network.architecture.name} reads texts; take "
                f"prune-heads-{100 * self.share:g}, which removes attention heads and feed-forward units."
            )
        module = initialize(network.architecture, dataset)
        module.load_state_dict(dict(network.state))
        example = inputs(dataset, "calibration", 2)
        shapes_before = {k: tuple(v.shape) for k, v in module.state_dict().items()}
        weights = sum(p.numel() for p in module.parameters())
        pruned = remove_channels(module.eval(), example, self.share, self.round_to)
        state = pruned.state_dict()
        changed = {k: tuple(v.shape) for k, v in state.items() if tuple(v.shape) != shapes_before[k]}
        if not changed:
            raise UserError(
                f"no layer has enough channels to remove {self.share:.0%} of them in multiples of {self.round_to}; set "
                "round_to=1, or take a larger share."
            )
        facts: dict[str, Any] = {
            "share": self.share,
            "weights_before": weights,
            "weights_after": sum(p.numel() for p in pruned.parameters()),
            "whole": [name for name in _layers(module) if f"{name}.weight" not in changed],
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


def _layers(module: nn.Module) -> dict[str, nn.Module]:
    """Return convolutions and linear layers by name, in the order of their definition."""
    from torch import nn

    return {name: part for name, part in module.named_modules() if isinstance(part, nn.Conv2d | nn.Linear)}


def remove_channels(module: nn.Module, example: Tensor, share: float, round_to: int) -> nn.Module:
    """Return a copy of a network without a share of each layer's channels and heads.

    Raises
    ------
    UserError
        A layer cannot lose channels, or an attention block heads; the message names it.
    """
    from importlib.util import find_spec

    if find_spec("torch_pruning") is None:
        raise MissingExtra("Pruning channels", "torch")
    import torch
    import torch_pruning
    from torch import nn

    from fairpress.models.attention import attentions, count_heads, shares_of_heads

    network = copy.deepcopy(module)
    layers, shape_before = _execution_order(network, example)
    blocks = attentions(network)
    for name, part in network.named_modules():
        grouped = isinstance(part, nn.Conv2d) and part.groups not in (1, part.in_channels)
        unknown = "Attention" in type(part).__name__ and name not in blocks
        if unknown or grouped:
            raise UserError(
                f"prune-channels cannot remove channels of layer {name!r} ({type(part).__name__}), since they belong to "
                f"{'groups' if grouped else 'heads, which are removed from plain timm.layers.Attention only'}; "
                "take prune-50, which sets single weights to zero."
            )
    if not any(isinstance(m, nn.Conv2d) for m in layers):
        raise UserError(
            "prune-channels is for networks with convolutions, and this one has none; take prune-50, or train narrower "
            "layers."
        )
    frozen = {name for name, p in network.named_parameters() if not p.requires_grad}
    for parameter in network.parameters():
        parameter.requires_grad_(True)
    heads = {block.qkv: block.num_heads for block in blocks.values()}
    try:
        with warnings.catch_warnings():  # the warning describes the correct treatment of position embeddings
            warnings.filterwarnings("ignore", message="Unwrapped parameters detected")
            pruner = torch_pruning.pruner.BasePruner(
                network,
                example,
                importance=torch_pruning.importance.GroupMagnitudeImportance(p=2),
                pruning_ratio=share,
                ignored_layers=layers[-1:],
                round_to=round_to,
                in_channel_groups={},  # the library's mutable defaults would keep entries of earlier calls
                out_channel_groups={},
                num_heads=heads,
                prune_num_heads=True,
                prune_head_dims=False,
                head_pruning_ratio_dict=shares_of_heads(blocks, share),
            )
        pruner.step()
        count_heads(network)
        with torch.no_grad():
            shape_after = tuple(network(example).shape)
    except Exception as error:
        from fairpress.models.tracing import layer_at_fault

        layer = layer_at_fault(network, error.__traceback__)
        layer_text = "the network" if layer is None else f"layer {layer!r}"
        reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise UserError(
            f"prune-channels cannot remove channels of {layer_text} ({reason.strip().rstrip('.')}); take prune-50, "
            "which sets single weights to zero."
        ) from error
    if shape_after != shape_before:
        raise UserError(
            f"prune-channels would change the number of classes from {shape_before[-1]} to {shape_after[-1]}, because the "
            "network runs other layers after its output layer; take prune-50, which sets single weights to zero."
        )
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(name not in frozen)
    return network


def _execution_order(module: nn.Module, example: Tensor) -> tuple[list[nn.Module], tuple[int, ...]]:
    """Return the convolutions and linear layers in the order they run, and the shape of the output."""
    import torch

    order: list[nn.Module] = []
    hooks = [
        part.register_forward_hook(lambda layer, *_: order.append(layer)) for part in _layers(module).values()
    ]
    with torch.no_grad():
        shape = tuple(module(example).shape)
    for hook in hooks:
        hook.remove()
    return list(dict.fromkeys(order)), shape


def _architecture(architecture: Any, pruned: nn.Module, changed: dict[str, tuple[int, ...]]) -> Any:
    """Return the architecture of the pruned network: with the pruned module for a user's module, else with new shapes."""
    if is_dataclass(architecture) and not isinstance(architecture, type):
        return replace(architecture, module=pruned)
    return architecture.model_copy(
        update={"channels": tuple({**dict(architecture.channels), **changed}.items())}
    )
