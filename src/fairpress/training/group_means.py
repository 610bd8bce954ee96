"""Means over the rows of a group and a label in a batch, for many networks at once."""

from __future__ import annotations

from torch import Tensor, nn


def means(values: Tensor, groups: Tensor, count: int, chosen: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Return the mean of a value in each group and its rows, both [networks, count].

    Parameters
    ----------
    values
        [networks, rows].
    groups
        [networks, rows] int64 in 0 … count−1; −1 belongs to no group.
    chosen
        [networks, rows] bool: the rows that count. A group without any has mean 0 and no rows, and never NaN.
    """
    counted = groups >= 0 if chosen is None else (groups >= 0) & chosen
    member = nn.functional.one_hot(groups.clamp_min(0), count) * counted[..., None]
    rows = member.sum(1)
    return (member * values[..., None]).sum(1) / rows.clamp_min(1), rows


def row_losses(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the cross-entropy of every row [networks, rows] from logits [networks, rows, classes]."""
    flat = nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none")
    return flat.view_as(labels)
