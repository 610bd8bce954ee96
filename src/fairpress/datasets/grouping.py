"""Which group each row belongs to: a value of one sensitive attribute, or of an intersection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from fairpress.core.errors import UserError, did_you_mean

Key = tuple[str, ...]


def parse_by(text: str) -> tuple[str, ...]:
    """Return the attributes that ``sex*race`` names, in order. Raises UserError for no name or one named twice."""
    names = tuple(part.strip() for part in text.split("*"))
    if not all(names) or len(set(names)) < len(names):
        raise UserError(
            f"by {text!r}: name an attribute, such as race, or several joined by *, such as sex*race."
        )
    return names


def keys_of_groups(attributes: Mapping[str, np.ndarray], by: Sequence[str], source_name: str) -> list[Key]:
    """Return each row's group as a tuple of values. Raises UserError for an attribute that `where` does not have."""
    for name in by:
        if name not in attributes:
            raise UserError(
                f"{source_name} has no sensitive attribute {name!r}." + did_you_mean(name, attributes)
            )
    return list(zip(*(map(str, attributes[name]) for name in by), strict=True))


def group_rows(keys: Sequence[Key]) -> dict[Key, np.ndarray]:
    """Return group → the positions of its rows, groups in alphabetical order."""
    positions: dict[Key, list[int]] = {}
    for i, key in enumerate(keys):
        positions.setdefault(key, []).append(i)
    return {key: np.array(positions[key]) for key in sorted(positions)}


def group_label(by: Sequence[str], key: Key) -> str:
    """Return a group as a sentence names it: ``race = Other, sex = Male``."""
    return ", ".join(f"{name} = {value}" for name, value in zip(by, key, strict=True))
