"""Rows of batches in one array: equal to all batches joined, whatever a loader does with their memory."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from fairpress.compression.batch_values import RowBuffer
from fairpress.compression.data_loader import collect


@pytest.mark.parametrize("dtype", [np.float32, np.uint8, np.int64])
@pytest.mark.parametrize("sizes", [[5], [0, 3, 0, 1], [64] * 40, [1] * 200 + [1000], [7, 1, 300, 2]])
@pytest.mark.parametrize("shape", [(), (3,), (2, 0), (3, 4, 5)])
def test_rows_are_those_of_all_batches(
    dtype: type[np.generic], sizes: list[int], shape: tuple[int, ...]
) -> None:
    rng = np.random.default_rng(0)
    batches = [rng.integers(0, 200, (n, *shape)).astype(dtype) for n in sizes]
    buffer = RowBuffer()
    for batch in batches:
        buffer.add(batch)
    rows = buffer.take()
    assert rows.dtype == dtype
    assert rows.flags.c_contiguous
    np.testing.assert_array_equal(rows, np.concatenate(batches))
    buffer.add(batches[-1])  # it starts anew
    np.testing.assert_array_equal(buffer.take(), batches[-1])


def test_columns_in_another_order_of_memory() -> None:
    batches = [np.asfortranarray(np.arange(24.0).reshape(4, 6) + i) for i in range(3)]
    buffer = RowBuffer()
    for batch in batches:
        buffer.add(batch)
    np.testing.assert_array_equal(buffer.take(), np.concatenate(batches))


@pytest.mark.parametrize("dtype", [torch.float32, torch.uint8, torch.int64])
def test_a_loader_may_refill_its_batch(dtype: torch.dtype) -> None:
    """Loaders that save memory yield the same tensor each time, with other rows in it."""
    rows = torch.randint(0, 200, (48, 6), generator=torch.Generator().manual_seed(0)).to(dtype)

    def loader() -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        x, y = torch.empty((16, 6), dtype=dtype), torch.empty(16, dtype=torch.int64)
        for start in range(0, 48, 16):
            x.copy_(rows[start : start + 16])
            y.copy_(torch.arange(start, start + 16) % 2)
            yield x, y

    collected = collect(loader(), trains=False)
    np.testing.assert_array_equal(collected.dataset.inputs, rows.numpy())
    np.testing.assert_array_equal(collected.dataset.labels, np.arange(48) % 2)


def test_the_rows_of_the_caller_are_not_shared() -> None:
    """What is changed in the dataset must not reach the tensors of a list of batches."""
    x = torch.zeros(24, 3)
    collected = collect([(x, torch.arange(24) % 2)], trains=False)
    collected.dataset.inputs[:] = 1
    assert not x.any()
