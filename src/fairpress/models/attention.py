"""Multi-head attention as timm and torch write it: one matrix for queries, keys and values, head by head."""

from __future__ import annotations

import math
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Protocol, cast

from torch import Tensor, nn

from fairpress.models.fewer_heads import count_multihead, is_plain


class Attention(Protocol):
    """An attention block whose heads can be removed.

    `qkv` has 3 · `attn_dim` outputs, queries before keys before values; `proj` reads `attn_dim` = `num_heads` ·
    `head_dim`.
    """

    num_heads: int
    head_dim: int
    attn_dim: int
    qkv: nn.Linear
    proj: nn.Linear


class WindowAttention(Protocol):
    """Attention in windows; `relative_position_bias_table` has a column for each head."""

    num_heads: int
    qkv: nn.Linear
    proj: nn.Linear
    relative_position_bias_table: Tensor


def attentions(module: nn.Module) -> dict[str, Attention]:
    """Return a network's `timm.layers.Attention` blocks, by name.

    Other classes, such as timm's subclasses, may order queries, keys and values differently. Blocks with a gate, or with
    norms of queries and keys, are excluded: torch-pruning does not treat these as parts of heads.
    """
    if find_spec("timm") is None:
        return {}
    from timm.layers import Attention as Known

    return {
        name: cast("Attention", part)
        for name, part in module.named_modules()
        if type(part) is Known and _plain(part)
    }


def _plain(part: nn.Module) -> bool:
    return (
        isinstance(getattr(part, "attn_dim", None), int)
        and getattr(part, "gate", None) is None
        and all(isinstance(getattr(part, name, None), nn.Identity) for name in ("q_norm", "k_norm"))
    )


def shares_of_heads(blocks: Mapping[str, Attention], share: float) -> dict[nn.Linear, float]:
    """Return the pruning ratio of each block for torch-pruning, by `qkv`: a share of whole heads, rounded down.

    torch-pruning keeps ⌊heads · (1 − ratio)⌋; a hundredth of a head allows for floating-point error.
    """
    shares = {}
    for block in blocks.values():
        n_retained = block.num_heads - math.floor(block.num_heads * share + 1e-9)
        shares[block.qkv] = 1 - (n_retained + 0.01) / block.num_heads
    return shares


def window_attentions(module: nn.Module) -> dict[str, WindowAttention]:
    """Return the attention blocks of timm's Swin transformers, by name."""
    if find_spec("timm") is None:
        return {}
    from timm.models.swin_transformer import WindowAttention as Known

    return {
        name: cast("WindowAttention", part) for name, part in module.named_modules() if type(part) is Known
    }


def multihead_attentions(module: nn.Module) -> dict[str, nn.MultiheadAttention]:
    """Return the plain `nn.MultiheadAttention` blocks, by name."""
    return {
        name: cast("nn.MultiheadAttention", part) for name, part in module.named_modules() if is_plain(part)
    }


def count_heads(module: nn.Module) -> None:
    """Update the number of heads of every attention block to its tensors, in place; a head keeps its size."""
    for block in attentions(module).values():
        block.attn_dim = block.qkv.out_features // 3
        block.num_heads = block.attn_dim // block.head_dim
    for window in window_attentions(module).values():
        window.num_heads = window.relative_position_bias_table.shape[1]
    for multihead in multihead_attentions(module).values():
        count_multihead(multihead)
