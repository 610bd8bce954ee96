"""Divide rows into chunks that fit into memory; of texts, into chunks without padding."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from fairpress.training.token_rows import TokenRows

Rows: TypeAlias = Tensor | TokenRows
"""Inputs [rows, …] of a network."""

CHUNK = 2**20  # input values per chunk, to limit the memory for activations of images
VALUES_PER_TOKEN = 256  # a token id becomes a vector


def take(rows: Rows, positions: Tensor | np.ndarray | slice) -> Rows:
    """Return some of the rows."""
    return rows.take(positions) if isinstance(rows, TokenRows) else rows[positions]


def values_per_row(rows: Rows) -> int:
    """Return the number of values of a row that count for the size of a chunk; at least 1."""
    if isinstance(rows, TokenRows):
        return max(1, int(rows.lengths.max())) * VALUES_PER_TOKEN
    return max(1, rows[0].numel() * (1 if rows.is_floating_point() or rows.dim() > 2 else VALUES_PER_TOKEN))


def rows_at_once(rows: Rows) -> int:
    """Return the number of rows of a chunk."""
    return max(1, CHUNK // values_per_row(rows))


def positions_of_chunks(rows: Rows, size: int | None = None) -> list[Tensor]:
    """Return the positions [n] int64 of the rows of each chunk, at most `size` of them.

    Rows of a tensor stay in order. Rows of token ids are taken by length, and those of a chunk have the same one: no network
    computes anything from padding, which is not part of a text and would otherwise count in ranges and moments.
    """
    if size is None:
        size = rows_at_once(rows)
    if not isinstance(rows, TokenRows):
        return list(torch.arange(len(rows)).split(size))
    lengths, order = torch.sort(rows.lengths, stable=True)
    counts = torch.unique_consecutive(lengths, return_counts=True)[1]
    return [part for same in order.split(counts.tolist()) for part in same.split(size)]


def chunks(rows: Rows) -> Iterator[Tensor]:
    """Yield the inputs [rows, …] of each chunk."""
    return (rows[positions] for positions in positions_of_chunks(rows))


def by_chunk(compute: Callable[[Tensor], Tensor], rows: Rows) -> Tensor:
    """Return what a function computes from the inputs of each chunk, joined in the order of the rows."""
    positions = positions_of_chunks(rows)
    joined = torch.cat([compute(rows[part]) for part in positions])
    return joined[torch.argsort(torch.cat(positions))] if isinstance(rows, TokenRows) else joined
