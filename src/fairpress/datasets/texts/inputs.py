"""Texts as the inputs of a dataset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Texts:
    """The texts [rows] that a network reads, after a model's tokenizer has encoded them.

    Attributes
    ----------
    values
        The texts, one a row.
    raw
        The table's columns that the texts come from, as they are [rows]: for external models.
    """

    values: Sequence[str]
    raw: Mapping[str, np.ndarray] = field(default_factory=dict)
    names: tuple[()] = ()
    columns: tuple[()] = ()

    def matrix(self) -> np.ndarray:
        """Return the texts, ``object`` [rows] of str."""
        texts = np.empty(len(self.values), dtype=object)
        texts[:] = list(self.values)
        return texts

    @property
    def content(self) -> bytes:
        """The texts as bytes for the fingerprint: of each its length in UTF-8, eight bytes, and its UTF-8."""
        pieces = []
        for text in self.values:
            encoded = text.encode("utf-8", "surrogatepass")
            pieces += [len(encoded).to_bytes(8, "little"), encoded]
        return b"".join(pieces)
