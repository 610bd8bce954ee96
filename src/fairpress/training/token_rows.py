"""Rows of token ids, cut to the longest of the rows that are taken."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fairpress.tokenization.padding import text_lengths

MIN_LENGTH = 2  # torch.export takes a length of one for a constant


class TokenRows:
    """A part's rows of token ids: indexed like the tensor [rows, length] they make, and cut only then.

    They are stored as int32 of the maximum length; an access returns int64 [rows, length] without the columns at the end in
    which all rows are padding. `data.Data` takes it in place of a tensor.
    """

    def __init__(self, whole: np.ndarray, rows: np.ndarray, pad_id: int) -> None:
        self.ids, self.pad_id = torch.from_numpy(whole[rows]), pad_id

    @cached_property
    def lengths(self) -> Tensor:
        """Number of token ids of each row without padding at the end [rows] int64, at least 1."""
        return torch.from_numpy(text_lengths(self.ids.numpy(), self.pad_id))

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, which: Any) -> Tensor:
        ids = self.ids[which].long()
        used = (ids.reshape(-1, ids.shape[-1]) != self.pad_id).any(0).nonzero()
        length = max(MIN_LENGTH, int(used[-1]) + 1 if len(used) else 0)
        return ids[..., :length]

    def take(self, positions: Tensor | np.ndarray | slice) -> TokenRows:
        """Return these rows, not yet cut."""
        return TokenRows(self.ids.numpy(), torch.arange(len(self))[positions].numpy(), self.pad_id)

    @property
    def shape(self) -> torch.Size:
        return self.ids.shape

    @property
    def dtype(self) -> torch.dtype:
        return torch.int64
