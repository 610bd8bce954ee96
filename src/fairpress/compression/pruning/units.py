"""Units that pruning removes whole, such as neurons and attention heads: what they are made of, worth, and leave behind."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

# Importance of units [groups, units] → bool [units], those to keep, of which the number is given.
Keep = Callable[[Tensor, int], Tensor]


@dataclass(frozen=True)
class Part:
    """What units hold of one tensor: `unit` [positions] is the unit of each position along `axis`, −1 for that of no unit.

    `reads` tells a part that reads the units' outputs from one that computes them.
    """

    tensor: str
    axis: int
    unit: Tensor
    reads: bool = False


@dataclass(frozen=True, eq=False)
class UnitGroup:
    """Units of one layer, or of layers that are joined, and all tensors that they have a part of.

    Attributes
    ----------
    name
        Of the layer that computes the units, or of their attention.
    kind
        ``"heads"`` of an attention, or ``"neurons"``: outputs of linear layers.
    count
        The number of units.
    """

    name: str
    kind: Literal["heads", "neurons"]
    count: int
    parts: tuple[Part, ...]


def weights_of(groups: Sequence[UnitGroup], state: Mapping[str, Tensor]) -> list[str]:
    """Return the names of the weights by which units are ranked; not biases, scales of norms or tables."""
    names = [part.tensor for group in groups for part in group.parts]
    return [name for name in dict.fromkeys(names) if name.endswith("weight") and state[name].dim() >= 2]


def unit_importance(group: UnitGroup, importance: Mapping[str, Tensor]) -> Tensor:
    """Return the importance of each unit [groups, units], summed over the weights that compute and read it.

    `importance` has that of each weight [groups, *shape]; tensors without one do not count.
    """
    total: Tensor | None = None
    for part in group.parts:
        if part.tensor not in importance:
            continue
        values = importance[part.tensor].movedim(part.axis + 1, 1).flatten(2).sum(2)
        held = part.unit >= 0
        if total is None:
            total = values.new_zeros(len(values), group.count)
        total = total.index_add(1, part.unit[held], values[:, held])
    if total is None:
        raise ValueError(f"the units of {group.name!r} have no weights")
    return total


def n_retained_heads(heads: int, share: float) -> int:
    """Return the number of heads that stay; those that go are rounded down, so that one stays."""
    return heads - math.floor(heads * share + 1e-9)


def n_retained_units(units: int, share: float, round_to: int) -> int:
    """Return the number of units that stay, a multiple of `round_to`; all, if less than that would stay."""
    left = math.floor(units * (1 - share) + 1e-9) // round_to * round_to
    return left or units


def n_retained(group: UnitGroup, share: float, round_to: int) -> int:
    """Return the number of units of a group that stay; heads are not rounded to a multiple."""
    return (
        n_retained_heads(group.count, share)
        if group.kind == "heads"
        else n_retained_units(group.count, share, round_to)
    )


def without(
    groups: Sequence[UnitGroup], kept: Sequence[Tensor], state: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Return the tensors that lose a part with their units, without it; `kept` is bool [units] of each group."""
    positions: dict[tuple[str, int], Tensor] = {}
    for group, units in zip(groups, kept, strict=True):
        for part in group.parts:
            stays = units[part.unit.clamp_min(0)] | (part.unit < 0)
            at = part.tensor, part.axis
            positions[at] = positions[at] & stays if at in positions else stays
    smaller: dict[str, Tensor] = {}
    for (name, axis), stays in positions.items():
        if not bool(stays.all()):
            value = smaller.get(name, state[name])
            smaller[name] = value.index_select(axis, torch.nonzero(stays).flatten())
    return smaller


def masked(
    groups: Sequence[UnitGroup], kept: Sequence[Tensor], state: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Return the tensors in their old shapes that read every unit that goes as zero."""
    changed: dict[str, Tensor] = {}
    for group, units in zip(groups, kept, strict=True):
        for part in group.parts:
            if part.reads:
                value = changed.get(part.tensor, state[part.tensor])
                stays = units[part.unit.clamp_min(0)] | (part.unit < 0)
                shape = [-1 if axis == part.axis else 1 for axis in range(value.dim())]
                changed[part.tensor] = value * stays.to(value).view(shape)
    return changed


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
    """Return the importance of weights by magnitude, w², as [1, *shape]."""
    return {name: state[name].square()[None] for name in names}
