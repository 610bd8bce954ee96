"""Multi-head attention as timm writes it: one linear layer for queries, keys and values, head by head."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Protocol, cast

from torch import nn


class Attention(Protocol):
    """An attention block whose heads can be taken out.

    `qkv` has 3 · `attn_dim` outputs, queries before keys before values; `proj` reads `attn_dim` = `num_heads` ·
    `head_dim`.
    """

    num_heads: int
    head_dim: int
    attn_dim: int
    qkv: nn.Linear
    proj: nn.Linear


def attentions(module: nn.Module) -> dict[str, Attention]:
    """Return the blocks of a network that are such attention, by name; none with a gate, whose outputs are heads' too."""
    return {name: cast("Attention", part) for name, part in module.named_modules() if _has_heads(part)}


def _has_heads(part: nn.Module) -> bool:
    sizes = [getattr(part, name, None) for name in ("num_heads", "head_dim", "attn_dim")]
    return (
        all(isinstance(size, int) for size in sizes)
        and all(isinstance(getattr(part, name, None), nn.Linear) for name in ("qkv", "proj"))
        and getattr(part, "gate", None) is None
    )


def shares_of_heads(blocks: Mapping[str, Attention], share: float) -> dict[nn.Linear, float]:
    """Return what torch-pruning is to take of each block's heads, by `qkv`: a share of whole heads, rounded down.

    It keeps ⌊heads · (1 − its share)⌋; the hundredth of a head is for its rounding.
    """
    found = {}
    for block in blocks.values():
        kept = block.num_heads - math.floor(block.num_heads * share + 1e-9)
        found[block.qkv] = 1 - (kept + 0.01) / block.num_heads
    return found


def count_heads(module: nn.Module) -> None:
    """Let every attention block know, in place, how many heads its `qkv` has; a head keeps its size."""
    for block in attentions(module).values():
        block.attn_dim = block.qkv.out_features // 3
        block.num_heads = block.attn_dim // block.head_dim
