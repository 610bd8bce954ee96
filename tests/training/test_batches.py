"""Batches of rows by length, and rows of token ids."""

from __future__ import annotations

import numpy as np
import torch

from fairpress.training.batches import evaluation_batches, padding_share, training_batches
from fairpress.training.token_rows import TokenRows


def rows_of_lengths(lengths: list[int], pad_id: int = 0, longest: int = 40) -> TokenRows:
    ids = np.full((len(lengths), longest), pad_id, dtype=np.int32)
    for row, length in enumerate(lengths):
        ids[row, :length] = pad_id + 1 + row % 7
    return TokenRows(ids, np.arange(len(lengths)), pad_id)


LENGTHS = np.random.default_rng(0).integers(1, 41, 1000).tolist()


def test_rows_are_cut_to_the_longest_taken() -> None:
    rows = rows_of_lengths([3, 9, 40])
    assert rows[torch.tensor([0, 1])].shape == (2, 9)
    assert rows[:1].shape == (1, 3)
    assert rows[torch.arange(3)].dtype == torch.int64
    assert rows.shape == (3, 40)


def test_rows_have_two_columns_at_least() -> None:
    assert rows_of_lengths([1, 1])[torch.arange(2)].shape == (2, 2)


def test_padding_inside_a_row_counts_as_length() -> None:
    ids = np.array([[5, 0, 5, 0]], dtype=np.int32)
    rows = TokenRows(ids, np.arange(1), 0)
    assert rows.lengths.tolist() == [3]
    assert rows[:1].tolist() == [[5, 0, 5]]


def test_lengths_are_those_of_the_rows() -> None:
    assert rows_of_lengths(LENGTHS).lengths.tolist() == LENGTHS


def test_a_padding_id_that_is_not_0() -> None:
    assert rows_of_lengths([4, 2], pad_id=9).lengths.tolist() == [4, 2]


def test_each_row_is_in_one_batch_of_an_epoch() -> None:
    batches = training_batches(rows_of_lengths(LENGTHS), 16, torch.Generator().manual_seed(0))
    assert sorted(torch.cat(batches).tolist()) == list(range(1000))
    assert max(map(len, batches)) == 16


def test_batches_by_length_have_little_padding_and_a_random_order() -> None:
    rows = rows_of_lengths(LENGTHS)
    by_length = training_batches(rows, 16, torch.Generator().manual_seed(0))
    by_chance = list(torch.randperm(1000, generator=torch.Generator().manual_seed(0)).split(16))
    assert padding_share(rows.lengths, by_length) < 0.1 < 0.4 < padding_share(rows.lengths, by_chance)
    means = [float(rows.lengths[batch].float().mean()) for batch in by_length]
    assert means != sorted(means)


def test_the_padding_share_of_a_batch() -> None:
    # 3 rows of 2, 3 and 5 tokens: 10 tokens of 15 computed
    assert padding_share(torch.tensor([2, 3, 5]), [torch.arange(3)]) == 1 - 10 / 15


def test_batches_follow_from_the_seed() -> None:
    rows = rows_of_lengths(LENGTHS)
    first, again, other = (
        training_batches(rows, 16, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)
    )
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(first, other, strict=True))


def test_rows_without_lengths_that_fill_no_batch_sit_the_epoch_out() -> None:
    batches = training_batches(torch.zeros(35, 2), 16, torch.Generator().manual_seed(0))
    assert [len(b) for b in batches] == [16, 16]


def test_evaluation_takes_each_row_once_and_short_rows_first() -> None:
    rows = rows_of_lengths(LENGTHS)
    batches = evaluation_batches(rows, 64)
    order = torch.cat(batches)
    assert sorted(order.tolist()) == list(range(1000))
    assert rows.lengths[order].tolist() == sorted(LENGTHS)
    assert torch.cat(evaluation_batches(torch.zeros(10, 3), 4)).tolist() == list(range(10))
