"""Turn columns into network inputs: raw float32 numbers, categories one-hot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np


@dataclass
class Encoder:
    """Collects input columns in order.

    Attributes
    ----------
    names
        Name of each input column: ``"age"``, ``"race=Asian"``.
    columns
        The table's column each input column comes from.
    raw
        Each column as it is in the table, numbers or text.
    """

    names: list[str] = field(default_factory=list)
    columns: list[str] = field(default_factory=list)
    values: list[np.ndarray] = field(default_factory=list)
    raw: dict[str, np.ndarray] = field(default_factory=dict)

    def number(self, column: str, values: np.ndarray) -> None:
        """Add a numeric column [rows] as it is."""
        self.raw[column] = values
        self.names.append(column)
        self.columns.append(column)
        self.values.append(values.astype(np.float32))

    def category(self, column: str, values: np.ndarray, categories: Sequence[str]) -> None:
        """Add a column of text [rows]: one 0/1 column for the second of two categories, else one for each."""
        self.raw[column] = values
        distinct, index = np.unique(values, return_inverse=True)
        number = {text: i for i, text in enumerate(distinct.tolist())}
        index = index.reshape(-1)
        for category in categories[1:] if len(categories) == 2 else categories:
            self.names.append(f"{column}={category}")
            self.columns.append(column)
            self.values.append((index == number.get(category, -1)).astype(np.float32))

    @property
    def content(self) -> None:
        """None: the fingerprint reads the inputs themselves."""

    def matrix(self) -> np.ndarray:
        """Return the inputs, float32 [rows, columns], C-contiguous."""
        return np.ascontiguousarray(np.stack(self.values, axis=1), dtype=np.float32)
