"""Rows of a memory-mapped array, read on access."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor


class MemmapRows:
    """A part's rows of a larger tensor: indexed like the tensor [rows, …] they make, and copied only then.

    So a data set larger than the memory can be trained on: `data.Data` takes it in place of a tensor.
    """

    def __init__(self, whole: np.ndarray, rows: np.ndarray) -> None:
        self.whole, self.rows = torch.from_numpy(whole), torch.from_numpy(np.ascontiguousarray(rows))

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, which: Any) -> Tensor:
        return self.whole[self.rows[which]]

    @property
    def shape(self) -> torch.Size:
        return torch.Size((len(self.rows), *self.whole.shape[1:]))

    @property
    def dtype(self) -> torch.dtype:
        return self.whole.dtype
