"""Values of quantized inputs and outputs: q = round(x / scale) + zero point, within the range of the integer type."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class QuantizedType:
    """An integer type with its scale and zero point: x = scale × (q − zero point)."""

    dtype: np.dtype[Any]
    scale: float
    zero_point: int

    def __str__(self) -> str:
        if not self.zero_point:
            return f"{self.scale:.6g} × q"
        sign = "−" if self.zero_point > 0 else "+"
        return f"{self.scale:.6g} × (q {sign} {abs(self.zero_point)})"

    def quantize(self, values: np.ndarray) -> tuple[np.ndarray, int]:
        """Return integers of the shape of `values`, rounded half to even, and how many values were outside the range.

        Values outside become the nearest end of the range; NaN becomes the zero point and counts as outside.
        """
        limits = np.iinfo(self.dtype)
        rounded = np.rint(values.astype(np.float64) / self.scale) + self.zero_point
        rounded = np.where(np.isnan(rounded), float(self.zero_point), rounded)
        clipped = np.clip(rounded, limits.min, limits.max)
        # A value within half a step of the range's end is rounded to it, and is not outside.
        outside = int((rounded != clipped).sum()) + int(np.isnan(values).sum())
        return clipped.astype(self.dtype), outside

    def dequantize(self, values: np.ndarray) -> np.ndarray:
        """Return the float32 numbers that integers of this type stand for."""
        return ((values.astype(np.float64) - self.zero_point) * self.scale).astype(np.float32)
