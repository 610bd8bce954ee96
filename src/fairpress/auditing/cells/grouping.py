"""The groups of an attribute, and the group of each combination of some cells."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fairpress.auditing.result import Values
from fairpress.core.attribute import Attribute


@dataclass(frozen=True, eq=False)
class Grouping:
    """One value for a grouping, made once per attribute by `Cells.grouping`.

    Attributes
    ----------
    attribute
        What the groups differ in.
    values
        Attribute → value of each group, in sorted order.
    index
        The group of each combination [combinations], a position in `values`.
    """

    attribute: Attribute
    values: tuple[Values, ...]
    index: np.ndarray

    @property
    def size(self) -> int:
        """The number of groups."""
        return len(self.values)

    def pair(self, first: int, second: int) -> Grouping:
        """Return two of the groups. Combinations of other groups have index 1; their values must be masked."""
        return Grouping(
            self.attribute,
            (self.values[first], self.values[second]),
            np.where(self.index == first, 0, 1),
        )

    def against_rest(self, group: int) -> Grouping:
        """Return two groups: one of these, and all other combinations."""
        return Grouping(self.attribute, (self.values[group], {}), np.where(self.index == group, 0, 1))
