"""Remove whole channels from a network, with torch-pruning's dependency graph (Fang et al. 2023, arXiv 2301.12900)."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from fairpress.compression.pruning.channel_importance import ChannelImportance
from fairpress.compression.pruning.neuron_chains import executed_layers
from fairpress.compression.pruning.units import Keep
from fairpress.compression.pruning.witness import TOLERANCE
from fairpress.core.errors import MissingExtra, UserError
from fairpress.models.attention import attentions, count_heads, shares_of_heads

CONVOLUTION = nn.modules.conv._ConvNd


@dataclass(frozen=True)
class SmallerNetwork:
    """A network without some of its channels.

    Attributes
    ----------
    equals_zeroed
        Whether it answers as the whole network does with these channels at zero; None where a norm over channels, whose
        statistics depend on their number, makes the two differ.
    """

    module: nn.Module
    equals_zeroed: bool | None


def layers_with_channels(module: nn.Module) -> dict[str, nn.Module]:
    """Return convolutions and linear layers by name, in the order of their definition."""
    return {name: part for name, part in module.named_modules() if isinstance(part, CONVOLUTION | nn.Linear)}


def remove_channels(
    module: nn.Module,
    example: Tensor,
    share: float,
    round_to: int,
    measured: tuple[Mapping[str, Tensor], Keep] | None = None,
) -> SmallerNetwork:
    """Return a copy of a network without a share of each layer's channels and heads.

    Parameters
    ----------
    measured
        Importance of the weights [groups, *shape] by name, and the function that chooses channels by theirs. None: channels
        are ranked by the squares of their weights, averaged over the layers that share a channel.

    Raises
    ------
    UserError
        A layer cannot lose channels, or an attention block heads; the message names it.
    """
    if find_spec("torch_pruning") is None:
        raise MissingExtra("Pruning channels", "torch")
    network = copy.deepcopy(module)
    order, shape_before = executed_layers(network, example, (CONVOLUTION, nn.Linear))
    blocks = attentions(network)
    _refuse_attention(network, set(blocks))
    layers = [network.get_submodule(name) for name in dict.fromkeys(order)]
    if not any(isinstance(layer, CONVOLUTION) for layer in layers):
        raise UserError(
            "prune-channels is for networks with convolutions, and this one has none; take prune-neurons-50, which removes "
            "neurons of linear layers."
        )
    frozen = {name for name, p in network.named_parameters() if not p.requires_grad}
    for parameter in network.parameters():
        parameter.requires_grad_(True)
    try:
        with warnings.catch_warnings():  # the warning describes the correct treatment of position embeddings
            warnings.filterwarnings("ignore", message="Unwrapped parameters detected")
            positions = _prune(network, layers[-1], example, share, round_to, measured)
        count_heads(network)
        with torch.no_grad():
            out = network(example)
    except Exception as error:
        from fairpress.models.tracing import layer_at_fault

        layer = layer_at_fault(network, error.__traceback__)
        layer_text = "the network" if layer is None else f"layer {layer!r}"
        reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise UserError(
            f"prune-channels cannot remove channels of {layer_text} ({reason.strip().rstrip('.')}); take prune-50, "
            "which sets single weights to zero."
        ) from error
    if tuple(out.shape) != shape_before:
        raise UserError(
            f"prune-channels would change the number of classes from {shape_before[-1]} to {out.shape[-1]}, because the "
            "network runs other layers after its output layer; take prune-50, which sets single weights to zero."
        )
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(name not in frozen)
    equals = _equals_zeroed(module, positions, example, out)
    grouped = _grouped(module)
    if grouped and equals is False:
        raise UserError(
            f"prune-channels cannot remove channels of layer {grouped[0]!r} "
            f"({type(module.get_submodule(grouped[0])).__name__}), since they belong to groups that the layers around it "
            "order otherwise; take prune-50, which sets single weights to zero."
        )
    return SmallerNetwork(network, equals)


def _refuse_attention(network: nn.Module, known: set[str]) -> None:
    for name, part in network.named_modules():
        if "Attention" in type(part).__name__ and name not in known:
            raise UserError(
                f"prune-channels cannot remove channels of layer {name!r} ({type(part).__name__}), since they belong to "
                "heads, which are removed from plain timm.layers.Attention only; take prune-heads-50, which leaves the "
                "width of a transformer and removes heads and feed-forward neurons, or prune-50, which sets single weights "
                "to zero."
            )


def _grouped(module: nn.Module) -> list[str]:
    """Return the names of convolutions in groups of several channels each."""
    return [
        name
        for name, part in module.named_modules()
        if isinstance(part, CONVOLUTION) and part.groups not in (1, part.in_channels)
    ]


def _prune(
    network: nn.Module,
    last: nn.Module,
    example: Tensor,
    share: float,
    round_to: int,
    measured: tuple[Mapping[str, Tensor], Keep] | None,
) -> dict[str, Tensor]:
    """Remove channels in place, and return where the entries of each tensor were among those of its larger form."""
    import torch_pruning

    blocks = attentions(network)
    heads = {block.qkv: block.num_heads for block in blocks.values()}
    importance: Any = torch_pruning.importance.GroupMagnitudeImportance(p=2)
    if measured is not None:
        importance = ChannelImportance(network, *measured, share, round_to, heads)
    pruner = torch_pruning.pruner.BasePruner(
        network,
        example,
        importance=importance,
        pruning_ratio=share,
        ignored_layers=[last, *_coupled_to_unknown(network, last, example)],
        round_to=round_to,
        in_channel_groups={},  # the library's mutable defaults would keep entries of earlier calls
        out_channel_groups={},
        num_heads=heads,
        prune_num_heads=True,
        prune_head_dims=False,
        head_pruning_ratio_dict=shares_of_heads(blocks, share),
    )
    state = {k: v.detach().clone() for k, v in network.state_dict().items() if v.dtype == torch.float32}
    traced = False
    for group in pruner.step(interactive=True):
        if not traced:  # every channel is ranked by now
            _number(network)
            traced = True
        group.prune()
    if not traced:
        return {name: torch.arange(value.numel()).view(value.shape) for name, value in state.items()}
    positions = {}
    for name, value in network.state_dict().items():
        if name in state:
            positions[name] = value.contiguous().view(torch.int32).long()
            value.copy_(state[name].flatten()[positions[name].flatten()].view(value.shape))
    return positions


def unknown_layers(network: nn.Module) -> list[tuple[str, nn.Module]]:
    """Return the layers, by name, of which torch-pruning does not remove channels rightly.

    These are recurrent layers, transposed convolutions in groups, and those with several outputs a channel.
    """
    return [
        (name, part)
        for name, part in network.named_modules()
        if isinstance(part, nn.RNNBase)
        or (
            isinstance(part, CONVOLUTION)
            and part.groups > 1
            and (part.groups < part.in_channels if part.transposed else part.groups == part.in_channels)
            and (part.groups, part.groups) != (part.in_channels, part.out_channels)
        )
    ]


def _coupled_to_unknown(network: nn.Module, last: nn.Module, example: Tensor) -> list[nn.Module]:
    """Return the layers that must stay whole, since they share channels with one that torch-pruning does not know."""
    import torch_pruning

    unknown = {part for _, part in unknown_layers(network)}
    if not unknown:
        return []
    graph = torch_pruning.DependencyGraph().build_dependency(network, example_inputs=example)
    layers = list(unknown)
    kinds = [torch_pruning.ops.TORCH_CONV, torch_pruning.ops.TORCH_LINEAR]
    for group in graph.get_all_groups(ignored_layers=[last], root_module_types=kinds):
        targets = [item.dep.target.module for item in group]
        if any(target in unknown for target in targets if isinstance(target, nn.Module)):
            layers += [target for target in targets if isinstance(target, CONVOLUTION | nn.Linear)]
    return layers


def _number(network: nn.Module) -> None:
    """Put the position of each entry of a float32 tensor in its place, as the bits of an int32: pruning moves them only."""
    for value in network.state_dict().values():
        if value.dtype == torch.float32:
            numbers = torch.arange(value.numel(), dtype=torch.int32).view(torch.float32)
            value.copy_(numbers.view(value.shape))


@torch.no_grad()
def _equals_zeroed(
    module: nn.Module, positions: Mapping[str, Tensor], example: Tensor, out: Tensor
) -> bool | None:
    """Tell whether the outputs without channels are those of the whole network whose other weights are zero.

    Then no layer reads a channel that is gone, and each reads the right ones of those that stay.
    """
    kinds = (nn.LayerNorm, nn.GroupNorm, nn.RMSNorm, nn.LocalResponseNorm)
    if any(isinstance(part, kinds) or "LayerNorm" in type(part).__name__ for part in module.modules()):
        return None
    zeroed = {}
    for name, value in module.state_dict().items():
        if name in positions and value.dim() >= 2:
            stays = torch.zeros(math.prod(value.shape), dtype=torch.bool)
            stays[positions[name].flatten()] = True
            zeroed[name] = value * stays.view(value.shape)
    expected = functional_call(module, zeroed, (example,))
    return bool((expected - out).abs().max() <= TOLERANCE * (1 + float(expected.abs().max())))
