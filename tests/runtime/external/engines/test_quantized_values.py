"""Numbers and the integers that stand for them: rounding, saturation, and the way back."""

from __future__ import annotations

import numpy as np
import pytest

from fairpress.runtime.external.engines.quantized_values import QuantizedType


def test_values_are_rounded_half_to_even_and_saturate_at_the_ends_of_the_range():
    kind = QuantizedType(np.dtype(np.int8), 0.5, -10)
    values = np.array([[0.0, 0.25, 0.75, -0.25], [68.5, 68.74, 68.76, -60.0]], np.float32)
    integers, outside = kind.quantize(values)
    # (0, 0.5, 1.5, −0.5) / 1 → 0, 0, 2, 0 on the grid; 137 − 10 = 127 is the end, and 137.48 rounds to it.
    assert integers.tolist() == [[-10, -10, -8, -10], [127, 127, 127, -128]]
    assert integers.dtype == np.int8
    assert outside == 2  # 68.76 / 0.5 = 137.52 rounds beyond; −120 − 10 is below −128


def test_nan_counts_as_outside_and_becomes_zero():
    integers, outside = QuantizedType(np.dtype(np.uint8), 1.0, 128).quantize(
        np.array([np.nan, np.inf, -np.inf])
    )
    assert integers.tolist() == [128, 255, 0]
    assert outside == 3


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16])
def test_what_is_on_the_grid_comes_back_exactly(dtype):
    limits = np.iinfo(dtype)
    kind = QuantizedType(np.dtype(dtype), 2.0**-5, int(limits.max) // 3)
    every = np.arange(limits.min, limits.max + 1).astype(dtype)
    integers, outside = kind.quantize(kind.dequantize(every))
    np.testing.assert_array_equal(integers, every)
    assert outside == 0


@pytest.mark.parametrize(
    ("zero_point", "text"), [(0, "0.05 × q"), (3, "0.05 × (q − 3)"), (-128, "0.05 × (q + 128)")]
)
def test_it_is_written_as_a_formula(zero_point, text):
    assert str(QuantizedType(np.dtype(np.int8), 0.05, zero_point)) == text
