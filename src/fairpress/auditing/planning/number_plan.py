"""Plan an audit of numbers: the rows that a group needs for a margin, given how much the paired differences scatter."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from fairpress.auditing.outcomes.judging import MIN_UNITS
from fairpress.auditing.statistics.skewed_estimate import TAIL_SHARE
from fairpress.core.errors import UserError

MAX_ROWS = 10**9


@dataclass(frozen=True)
class NumberPlan:
    """The rows that a group needs so that an audit of numbers says "no harm" with the requested chance.

    Attributes
    ----------
    rows
        Rows (or people) of the group.
    margin, sd, loss
        In the outcome's unit: the margin, the standard deviation of the paired difference, and the true loss.
    confidence, assurance
        Confidence of the audit, and the requested chance.
    """

    rows: int
    margin: float
    sd: float
    loss: float
    confidence: float
    assurance: float

    def to_dict(self) -> dict[str, Any]:
        """Return the plan as plain JSON."""
        return asdict(self)


def plan_numbers(
    margin: float, sd: float, loss: float = 0.0, confidence: float = 0.95, assurance: float = 0.8
) -> NumberPlan:
    """Return the rows that a group needs: the smallest n at which the bound is below the margin with the chance `assurance`.

    By the noncentral t distribution, for differences without skewness; skewed ones need more (``benchmarks/coverage.py
    --only number-power``). Never fewer than a group needs to be assessed.

    Raises
    ------
    UserError
        A number is out of range, or the expected loss is not below the margin.
    """
    for name, value in {"margin": margin, "sd": sd}.items():
        if not 0 < value < math.inf:
            raise UserError(f"`{name}=` must be greater than 0 and finite, not {value:g}.")
    if not math.isfinite(loss) or loss >= margin:
        raise UserError(
            f"a true loss of {loss:g} is not below the margin {margin:g}: no number of rows would show no harm."
        )
    if not 0.5 < confidence < 1 or not 0 < assurance < 1:
        raise UserError(
            "`confidence=` is between 0.5 and 1, `assurance=` between 0 and 1, such as 0.95 and 0.8."
        )
    low, high = MIN_UNITS, MAX_ROWS
    if chance_of_no_harm(high, margin, sd, loss, confidence) < assurance:
        raise UserError(
            f"more than {MAX_ROWS:,} rows are needed; the margin {margin:g} is too small for this deviation."
        )
    while low < high:
        middle = (low + high) // 2
        if chance_of_no_harm(middle, margin, sd, loss, confidence) >= assurance:
            high = middle
        else:
            low = middle + 1
    return NumberPlan(low, margin, sd, loss, confidence, assurance)


def chance_of_no_harm(rows: int, margin: float, sd: float, loss: float, confidence: float) -> float:
    """Return the chance that a group of so many rows is cleared, if differences are normal."""
    from scipy import stats  # slow to import

    critical = stats.t.ppf(1 - TAIL_SHARE * (1 - confidence), rows - 1)
    return float(stats.nct.sf(critical, rows - 1, np.sqrt(rows) * (margin - loss) / sd))
