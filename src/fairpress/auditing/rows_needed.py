"""How many rows would decide: the answer to "inconclusive"."""

from __future__ import annotations

import math

from scipy import special

from fairpress.auditing.verdict import floor_rows


def rows_to_decide(
    loss: float, se: float, rows: float, margin: float = 0.02, confidence: float = 0.95, power: float = 0.9
) -> int:
    """Return the rows at which a loss that stays as estimated would be told from the margin.

    rows · ((z_conf + z_power)·se/|δ − ℓ|)²: the standard error shrinks with the root of the rows (over seeds:
    of rows and seeds alike). Capped at 10⁹, where the loss sits on the margin.
    """
    z, w = float(special.ndtri(confidence)), float(special.ndtri(power))
    distance = abs(margin - loss)
    wanted = rows * ((z + w) * se / distance) ** 2 if distance > 0 else math.inf
    return math.ceil(min(wanted, 1e9))


def rows_needed(flips: float, margin: float = 0.02, confidence: float = 0.95, power: float = 0.9) -> int:
    """Return the rows (of the metric's denominator) at which "no harm" is shown if nothing truly changed.

    With a share p of rows flipping, half each way, Bonett–Price's upper bound lies below the margin with the
    given power once (z_conf √(np+2) + z_power √(np))/(n+2) ≤ δ: normal approximation of the flips, within
    10 % of exact enumeration (δ = .02: 191, 300, 483, 878 at p = .5, 1, 2, 4 %).
    """
    z, w = float(special.ndtri(confidence)), float(special.ndtri(power))
    n = floor_rows(margin, confidence)

    def enough(rows: int) -> bool:
        return (z * math.sqrt(rows * flips + 2) + w * math.sqrt(rows * flips)) / (rows + 2) <= margin

    low, high = n, n
    while not enough(high):
        low, high = high, high * 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high
