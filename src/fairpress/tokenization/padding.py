"""Padding at the end of rows of token ids."""

from __future__ import annotations

import numpy as np


def text_lengths(ids: np.ndarray, pad_id: int) -> np.ndarray:
    """Return the number of ids of each row [rows] int64 of token ids [rows, length] without the padding at its end.

    At least 1, so that a text without token ids is one of padding.
    """
    if not ids.size:
        return np.ones(len(ids), dtype=np.int64)
    used = ids != pad_id
    last = ids.shape[1] - np.argmax(used[:, ::-1], axis=1)
    return np.where(used.any(axis=1), last, 1).astype(np.int64)


def trim_padding(ids: np.ndarray, pad_id: int, shortest: int = 1) -> np.ndarray:
    """Return rows of token ids [rows, length] without the columns at the end in which all rows are padding.

    `shortest` columns stay.
    """
    used = np.flatnonzero((ids != pad_id).any(axis=0))
    return ids[:, : max(shortest, int(used[-1]) + 1 if len(used) else 1)]
