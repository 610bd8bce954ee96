"""Groups from numbers: a value falls into the bin between two edges."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

AGE_GROUPS = ("<25", "25-45", ">45")


def age_groups(age: np.ndarray) -> np.ndarray:
    """Return <25, 25-45 (both included) or >45 for ages in whole years [rows]."""
    groups: np.ndarray = np.array(AGE_GROUPS)[np.digitize(age, [25, 46])]
    return groups


def bin_names(edges: Sequence[float]) -> list[str]:
    """Return the names of the groups that edges e₁ < e₂ < … make; a value equal to an edge is above it."""
    text = [f"{edge:g}" for edge in edges]
    inner = [f"{low} to below {high}" for low, high in pairwise(text)]
    return [f"below {text[0]}", *inner, f"{text[-1]} and above"]


def binned(values: np.ndarray, edges: Sequence[float], names: Sequence[str]) -> np.ndarray:
    """Return the name of the bin of each value [rows]; there is one name more than edges."""
    groups: np.ndarray = np.array(list(names))[np.digitize(values, list(edges))]
    return groups
