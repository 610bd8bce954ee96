"""The number of rows that would settle an inconclusive verdict."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from fairpress.auditing.statistics import special
from fairpress.auditing.statistics.proportion_intervals import bonett_price
from fairpress.auditing.statistics.score_bounds import loss_ruled_out
from fairpress.auditing.verdicts.rules import floor_rows


def rows_to_decide(
    loss: float, se: float, rows: float, margin: float = 0.02, confidence: float = 0.95, power: float = 0.9
) -> int:
    """Return the rows at which a loss that remains as estimated would be distinguished from the margin.

    rows · ((z_conf + z_power)·se/|δ − ℓ|)²: the standard error shrinks with the root of the rows (over seeds:
    of rows and seeds alike). Capped at 10⁹, for a loss equal to the margin.
    """
    z, w = float(special.ndtri(confidence)), float(special.ndtri(power))
    distance = abs(margin - loss)
    needed = rows * ((z + w) * se / distance) ** 2 if distance > 0 else math.inf
    return math.ceil(min(needed, 1e9))


def rows_needed(flips: float, margin: float = 0.02, confidence: float = 0.95, power: float = 0.9) -> int:
    """Return the rows (of the metric's denominator) at which "no harm" is shown if nothing truly changed.

    With a share p of rows flipping, half each way, b − c is taken to lie √(np) · z_power above 0; at that outcome both
    conditions of `score_bounds.loss_ruled_out` must hold. Within 10 % of exact enumeration (``benchmarks/all_clear.py``).
    """
    return _rows_needed(float(f"{flips:.3g}"), margin, confidence, power)


@lru_cache(maxsize=4096)
def _rows_needed(flips: float, margin: float, confidence: float, power: float) -> int:
    w = float(special.ndtri(power))
    low = high = floor_rows(margin, confidence)

    def enough(rows: int) -> bool:
        expected_flips = rows * flips
        # Flips are integers: if one is expected, allow for one more loss than gains.
        ahead = max(w * math.sqrt(expected_flips), min(expected_flips, 1.0))
        b, c = (np.array([(max(expected_flips, ahead) + sign * ahead) / 2]) for sign in (1, -1))
        loss = bonett_price(b, c, np.array([float(rows)]))
        return bool(loss_ruled_out(loss, (b + c) / rows, margin, confidence)[0])

    while not enough(high):
        low, high = high, high * 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high
