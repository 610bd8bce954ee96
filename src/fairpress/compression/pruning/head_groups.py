"""The heads of a network's attention blocks, and the neurons of text blocks' feed-forward layers, as units."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from fairpress.compression.pruning.units import Part, UnitGroup
from fairpress.models.attention import attentions, multihead_attentions, window_attentions
from fairpress.models.text_blocks import TextBlock

# Layers of an attention of transformers' networks for images, which view their outputs as heads of `head_dim`.
SEPARATE = ("q_proj", "k_proj", "v_proj", "o_proj")


def head_groups(module: nn.Module) -> list[UnitGroup]:
    """Return the heads of each attention block that can lose some, in the order of the blocks.

    These are `timm.layers.Attention`, timm's attention in windows, `nn.MultiheadAttention`, and the attention of
    transformers' networks for images. Texts' blocks have names of their own (`text_block_groups`).
    """
    groups = {}
    for name, block in attentions(module).items():
        groups[name] = _packed(name, f"{name}.qkv", f"{name}.proj", block.num_heads, block.qkv.out_features)
    for name, window in window_attentions(module).items():
        table = Part(f"{name}.relative_position_bias_table", 1, torch.arange(window.num_heads))
        groups[name] = _packed(
            name, f"{name}.qkv", f"{name}.proj", window.num_heads, window.qkv.out_features, table
        )
    for name, part in multihead_attentions(module).items():
        size = part.in_proj_weight.shape[0]
        unit = _units_of(part.num_heads, size // 3).repeat(3)
        bias = [] if part.in_proj_bias is None else [Part(f"{name}.in_proj_bias".lstrip("."), 0, unit)]
        groups[name] = UnitGroup(
            name,
            "heads",
            part.num_heads,
            (
                Part(f"{name}.in_proj_weight".lstrip("."), 0, unit),
                *bias,
                Part(f"{name}.out_proj.weight".lstrip("."), 1, unit[: size // 3], reads=True),
            ),
        )
    groups |= {group.name: group for group in _separate(module)}
    names = [name for name, _ in module.named_modules() if name in groups]
    return [_present(groups[name], module) for name in names]


def unknown_attention(module: nn.Module, known: list[UnitGroup]) -> list[str]:
    """Return the names of layers that attend, by the names of their classes, and that no group of heads is of."""
    names = {group.name for group in known}
    return [
        name
        for name, part in module.named_modules()
        if name
        and "Attention" in type(part).__name__
        and not any(
            f"{other}.".startswith(f"{name}.") or f"{name}.".startswith(f"{other}.") for other in names
        )
    ]


def text_block_groups(module: nn.Module, blocks: list[TextBlock]) -> list[UnitGroup]:
    """Return the heads and the feed-forward neurons of blocks that read texts: two groups a block."""
    groups = []
    for block in blocks:
        heads = module.get_submodule(block.output).in_features // block.head_size
        unit = torch.arange(heads).repeat_interleave(block.head_size)
        computes = [
            Part(f"{layer}.{kind}", 0, unit) for layer in block.reading for kind in ("weight", "bias")
        ]
        reads = Part(f"{block.output}.weight", 1, unit, reads=True)
        groups.append(UnitGroup(block.name, "heads", heads, (*computes, reads)))
        units = int(module.get_submodule(block.expand).out_features)
        each = torch.arange(units)
        parts = (
            Part(f"{block.expand}.weight", 0, each),
            Part(f"{block.expand}.bias", 0, each),
            Part(f"{block.contract}.weight", 1, each, reads=True),
        )
        groups.append(UnitGroup(block.name, "neurons", units, parts))
    return [_present(group, module) for group in groups]


def _units_of(heads: int, positions: int) -> Tensor:
    return torch.arange(heads).repeat_interleave(positions // heads)


def _packed(name: str, qkv: str, proj: str, heads: int, outputs: int, *more: Part) -> UnitGroup:
    """Return the heads of a layer whose outputs are queries, then keys, then values, each head by head."""
    unit = _units_of(heads, outputs // 3)
    parts = (
        Part(f"{qkv}.weight", 0, unit.repeat(3)),
        Part(f"{qkv}.bias", 0, unit.repeat(3)),
        *more,
        Part(f"{proj}.weight", 1, unit, reads=True),
    )
    return UnitGroup(name, "heads", heads, parts)


def _separate(module: nn.Module) -> Iterator[UnitGroup]:
    for name, owner in module.named_modules():
        layers = [getattr(owner, layer, None) for layer in SEPARATE]
        size = getattr(owner, "head_dim", None)
        if not isinstance(size, int) or not all(isinstance(layer, nn.Linear) for layer in layers):
            continue
        width = layers[3].in_features  # type: ignore[union-attr]
        if width % size or any(layer.out_features != width for layer in layers[:3]):  # type: ignore[union-attr]
            continue
        unit = _units_of(width // size, width)
        computes = [
            Part(f"{name}.{layer}.{kind}", 0, unit) for layer in SEPARATE[:3] for kind in ("weight", "bias")
        ]
        yield UnitGroup(
            name, "heads", width // size, (*computes, Part(f"{name}.o_proj.weight", 1, unit, reads=True))
        )


def _present(group: UnitGroup, module: nn.Module) -> UnitGroup:
    """Return a group without the tensors that a network does not have, such as biases."""
    names = {name for name, _ in module.named_parameters(remove_duplicate=False)}
    parts = tuple(part for part in group.parts if part.tensor.lstrip(".") in names)
    return UnitGroup(group.name, group.kind, group.count, parts)
