"""Remove attention heads and feed-forward units from the state of a transformer: tensors in, smaller tensors out."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from fairpress.models.text_blocks import TextBlock

# Importance of units [groups, units] → bool [units], those to keep, of which the number is given.
Keep = Callable[[Tensor, int], Tensor]


def layers_of(block: TextBlock) -> tuple[str, ...]:
    """Return the names of the weights that heads and feed-forward units of a block have a part of."""
    return tuple(f"{layer}.weight" for layer in (*block.reading, block.output, block.expand, block.contract))


def head_importance(block: TextBlock, importance: Mapping[str, Tensor]) -> Tensor:
    """Return the importance of each head [groups, heads], summed over its weights of queries, keys, values and outputs.

    `importance` has that of each weight [groups, out, in].
    """
    rows = torch.stack([importance[f"{layer}.weight"].sum(2) for layer in block.reading]).sum(0)
    units = rows + importance[f"{block.output}.weight"].sum(1)
    return units.unflatten(1, (-1, block.head_size)).sum(2)


def unit_importance(block: TextBlock, importance: Mapping[str, Tensor]) -> Tensor:
    """Return the importance of each feed-forward unit [groups, units], summed over the weights that compute and read it."""
    return importance[f"{block.expand}.weight"].sum(2) + importance[f"{block.contract}.weight"].sum(1)


def n_retained_heads(heads: int, share: float) -> int:
    """Return the number of heads that stay; those that go are rounded down, so that one stays."""
    return heads - math.floor(heads * share + 1e-9)


def n_retained_units(units: int, share: float, round_to: int) -> int:
    """Return the number of units that stay, a multiple of `round_to`; all, if less than that would stay."""
    left = math.floor(units * (1 - share) + 1e-9) // round_to * round_to
    return left or units


def prune_block(
    block: TextBlock,
    state: Mapping[str, Tensor],
    importance: Mapping[str, Tensor],
    share: float,
    round_to: int,
    keep: Keep,
) -> dict[str, Tensor]:
    """Return the tensors of a block that lose heads or units, without these.

    Parameters
    ----------
    state
        The tensors of the network.
    importance
        Of each weight in `layers_of` [groups, out, in].
    """
    heads, units = head_importance(block, importance), unit_importance(block, importance)
    kept_heads = keep(heads, n_retained_heads(heads.shape[1], share)).repeat_interleave(block.head_size)
    kept_units = keep(units, n_retained_units(units.shape[1], share, round_to))
    smaller = {}
    for layers, reader, kept in (
        (block.reading, block.output, kept_heads),
        ((block.expand,), block.contract, kept_units),
    ):
        if bool(kept.all()):
            continue
        for layer in layers:
            smaller[f"{layer}.weight"] = state[f"{layer}.weight"][kept]
            if f"{layer}.bias" in state:
                smaller[f"{layer}.bias"] = state[f"{layer}.bias"][kept]
        smaller[f"{reader}.weight"] = state[f"{reader}.weight"][:, kept]
    return smaller


def keep_most_important(importance: Tensor, n_retained: int) -> Tensor:
    """Return which of the units [groups, units] of one group are kept: the most important; the first of equal ones."""
    order = importance[0].argsort(descending=True, stable=True)
    kept = torch.zeros(importance.shape[1], dtype=torch.bool)
    kept[order[:n_retained]] = True
    return kept


def keep_for_groups(active: Tensor) -> Keep:
    """Return the function that keeps units so that every group [groups] retains its share (`keep_for_all_groups`)."""
    from fairpress.compression.pruning.group_importance import keep_for_all_groups

    def keep(importance: Tensor, n_retained: int) -> Tensor:
        pooled = importance.sum(0, keepdim=True)
        return keep_for_all_groups(importance[:, None], pooled, n_retained, active)[0].bool()

    return keep


def squared(state: Mapping[str, Tensor], names: Sequence[str]) -> dict[str, Tensor]:
    """Return the importance of weights by magnitude, w², as [1, out, in]."""
    return {name: state[name].square()[None] for name in names}
