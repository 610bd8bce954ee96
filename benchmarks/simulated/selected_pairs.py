"""The change of a gap by the selected extreme pairs' own changes, an earlier interval of fairpress, for comparison."""

from __future__ import annotations

import numpy as np

from fairpress.auditing.statistics.range_bounds import largest_low, plausible_pairs
from fairpress.auditing.statistics.t_estimate import TEstimate, t_quantile


def selected_pairs_bounds(
    before: TEstimate, after: TEstimate, change: TEstimate, alpha: float = 0.05
) -> tuple[float, float]:
    """Return [min over A₀ of L(D), max over A₁ of U(D)], D_ij = Δ_i − Δ_j.

    A_m are the pairs that may be extreme in model m (simultaneously, α/10 each), L and U one-sided bounds at 2α/5. At ties
    both orders of a pair are among them, so the interval holds D and −D, and excludes 0 almost never.
    """
    z = float(t_quantile(change.df.min(), 1 - 0.4 * alpha))
    difference = change.centre[:, None] - change.centre[None, :]
    reach = z * np.hypot(change.se[:, None], change.se[None, :])
    among = [
        plausible_pairs(x, alpha / 10, False, 1, largest_low(x, alpha / 10, False)) for x in (before, after)
    ]
    return float((difference - reach)[among[0]].min()), float((difference + reach)[among[1]].max())
