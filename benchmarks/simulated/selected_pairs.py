"""The change of a gap by the selected extreme pairs' own changes, an earlier interval of fairpress, for comparison."""

from __future__ import annotations

import numpy as np

from fairpress.auditing.statistics.range_bounds import largest_low, pair_quantile, pair_se, plausible_pairs
from fairpress.auditing.statistics.t_estimate import TEstimate, t_quantile


def selected_pairs_bounds(
    before: TEstimate, after: TEstimate, change: TEstimate, alpha: float = 0.05
) -> tuple[float, float]:
    """Return [min over A₀ of L(D), max over A₁ of U(D)], D_ij = Δ_i − Δ_j, within the difference of the gaps' own bounds.

    A_m are the pairs that may be extreme in model m (simultaneously, α/10 each), L and U one-sided bounds at 2α/5. Where
    groups are close, both orders of a pair are among them, so the interval holds D and −D, and excludes 0 almost never.
    """
    share = alpha / 10
    z = float(t_quantile(change.df.min(), 1 - 0.4 * alpha))
    difference = change.centre[:, None] - change.centre[None, :]
    reach = z * pair_se(change.se, change.se, False)
    smallest = [largest_low(x, share, False) for x in (before, after)]
    largest = [
        float(
            (
                np.subtract.outer(x.centre, x.centre)
                + pair_quantile(x, share, False) * pair_se(x.se, x.se, False)
            ).max()
        )
        for x in (before, after)
    ]
    among = [
        plausible_pairs(x, share, False, 1, low) for x, low in zip((before, after), smallest, strict=True)
    ]
    low = max(float((difference - reach)[among[0]].min()), smallest[1] - largest[0])
    high = min(float((difference + reach)[among[1]].max()), largest[1] - smallest[0])
    return low, high
