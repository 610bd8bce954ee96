"""Rows of two models in two groups, which may be topped up."""

from __future__ import annotations

import numpy as np


def table(rows: int, flips: float = 0.01, seed: int = 0, loss: float = 0.0) -> dict[str, list[object]]:
    """Rows of two groups; the first rows are the same for any number of them."""
    label, sex, right, u = (np.random.default_rng(seed + i).random(9000)[:rows] for i in range(4))
    y = label < 0.4
    a = right < 0.9
    down = a & (u < (flips / 2 + loss) / 0.9)
    up = ~a & (u < flips / 2 / 0.1)
    b = (a & ~down) | up
    return {
        "label": y.astype(int).tolist(),
        "sex": np.where(sex < 0.5, "Female", "Male").tolist(),
        "fp32": np.where(a, y, ~y).astype(int).tolist(),
        "int8": np.where(b, y, ~y).astype(int).tolist(),
    }
