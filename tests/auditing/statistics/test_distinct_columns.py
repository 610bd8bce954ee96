import numpy as np
import pytest

from fairpress.auditing.statistics.distinct_columns import distinct_columns


@pytest.mark.parametrize("size", [2, 40, 10**6])
def test_distinct_columns_are_those_of_numpy(size):
    # Five rows of a million values are beyond one number, which NumPy's own way then handles.
    rng = np.random.default_rng(size)
    array = rng.integers(-1, size, (5, 4))[:, rng.integers(0, 4, 300)]
    columns, inverse, counts = np.unique(array, axis=1, return_inverse=True, return_counts=True)
    found = distinct_columns(array)
    assert np.array_equal(found.columns, columns)
    assert np.array_equal(found.inverse, inverse.reshape(-1))
    assert np.array_equal(found.counts, counts)
    assert np.array_equal(found.columns[:, found.inverse], array)


def test_an_array_without_columns_has_none():
    found = distinct_columns(np.zeros((3, 0), dtype=np.int8))
    assert found.columns.shape == (3, 0)
    assert found.inverse.shape == found.counts.shape == (0,)


@pytest.mark.parametrize("constant", [40, 300])
def test_constant_rows_take_no_room_however_many_they_are(constant):
    array = np.full((constant, 50), 3)
    array[constant // 2] = np.arange(50) % 7
    found = distinct_columns(array)
    assert found.columns[constant // 2].tolist() == list(range(7))
    assert found.counts.tolist() == [8, 7, 7, 7, 7, 7, 7]
    assert np.array_equal(found.columns[:, found.inverse], array)
