"""Rows of token ids, cut to the longest of the rows that are taken."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

MIN_LENGTH = 2  # torch.export takes a length of one for a constant


class TokenRows:
    """A part's rows of token ids: indexed like the tensor [rows, length] they make, and cut only then.

    They are stored as int32 of the maximum length; an access returns int64 [rows, length] without the columns at the end in
    which all rows are padding. `data.Data` takes it in place of a tensor.
    """

    def __init__(self, whole: np.ndarray, rows: np.ndarray, pad_id: int) -> None:
        self.whole, self.rows = torch.from_numpy(whole), torch.from_numpy(np.ascontiguousarray(rows))
        self.pad_id = pad_id

    @cached_property
    def lengths(self) -> Tensor:
        """Number of token ids of each row without padding at the end [rows] int64."""
        places = torch.arange(1, self.whole.shape[1] + 1)
        return ((self.whole[self.rows] != self.pad_id) * places).amax(1)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, which: Any) -> Tensor:
        ids = self.whole[self.rows[which]].long()
        used = (ids.reshape(-1, ids.shape[-1]) != self.pad_id).any(0).nonzero()
        length = max(MIN_LENGTH, int(used[-1]) + 1 if len(used) else 0)
        return ids[..., :length]

    def take(self, positions: Tensor | np.ndarray | slice) -> TokenRows:
        """Return these rows, not yet cut."""
        return TokenRows(self.whole.numpy(), self.rows[positions].numpy(), self.pad_id)

    @property
    def shape(self) -> torch.Size:
        return torch.Size((len(self.rows), *self.whole.shape[1:]))

    @property
    def dtype(self) -> torch.dtype:
        return torch.int64
