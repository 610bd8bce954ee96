"""Rows that groups need for "no harm", and the smallest margin that their rows can show, if the flips are as expected."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from fairpress.auditing.result import Values
from fairpress.auditing.statistics import special
from fairpress.auditing.verdicts.assurance import VerdictRule, chances_given_shares
from fairpress.auditing.verdicts.rules import floor_rows

MAX_ROWS = 10_000_000


@dataclass(frozen=True)
class GroupRows:
    """A group that an audit will judge.

    Attributes
    ----------
    attribute, values
        ``"sex"`` or ``"sex*race"``, and the group.
    n
        Rows of the group.
    denominator
        Rows of the metric's denominator: n for accuracy, positives for a TPR, negatives for an FPR.
    metric
        ``"accuracy"``, ``"tpr"`` or ``"fpr"``.
    flips
        Expected share of the denominator that flips, either way.
    flipped
        Observed flips, where both models' predictions of these rows are known; with or without labels.
    """

    attribute: str
    values: Values
    n: float
    denominator: float
    metric: str
    flips: float
    flipped: int | None = None


@dataclass(frozen=True)
class PlannedGroup:
    """What can be expected of a group.

    Attributes
    ----------
    rows
        The group.
    rows_needed
        Rows of the group with which "no harm" is shown with the requested chance; None beyond `MAX_ROWS`.
    chance
        Chance of "no harm" with the present rows.
    smallest_margin
        Smallest margin for which the present rows show "no harm" with the requested chance; None where there is none
        below 1.
    flips_bound
        Where flips were observed: the loss of accuracy that they rule out whatever the labels are (`flips_bound`).
    """

    rows: GroupRows
    rows_needed: int | None
    chance: float
    smallest_margin: float | None
    flips_bound: float | None = None


@dataclass(frozen=True)
class RowPlan:
    """A plan: the groups, in order, and the assumptions."""

    groups: tuple[PlannedGroup, ...]
    margin: float
    confidence: float
    assurance: float
    loss: float

    def joint(self, attribute: str, metric: str) -> float:
        """Return the chance that all groups of an attribute, which share no row, are cleared in a metric."""
        chances = [g.chance for g in self.groups if (g.rows.attribute, g.rows.metric) == (attribute, metric)]
        return float(np.prod(chances))

    def to_dict(self) -> dict[str, Any]:
        """Return the plan as JSON holds it."""
        return {
            "margin": self.margin,
            "confidence": self.confidence,
            "assurance": self.assurance,
            "loss": self.loss,
            "groups": [
                {
                    **asdict(g.rows),
                    "values": dict(g.rows.values),
                    **{k: getattr(g, k) for k in ("rows_needed", "chance", "smallest_margin", "flips_bound")},
                }
                for g in self.groups
            ],
            "joint": [
                {"attribute": a, "metric": m, "chance": self.joint(a, m)}
                for a, m in dict.fromkeys((g.rows.attribute, g.rows.metric) for g in self.groups)
            ],
        }


def plan_rows(
    groups: Sequence[GroupRows],
    margin: float = 0.02,
    confidence: float = 0.95,
    assurance: float = 0.8,
    loss: float = 0.0,
) -> RowPlan:
    """Return the plan of some groups.

    The verdict is that of an audit (`score_bounds.loss_ruled_out`); the true shares of losses and gains are taken as
    (flips ± loss)/2, so that `assurance` is a power.

    Parameters
    ----------
    margin, confidence
        Those of the audit.
    assurance
        The requested chance of "no harm".
    loss
        The true loss that is expected, in every group; 0 if nothing changes but single predictions.
    """
    needed: dict[float, int | None] = {}
    planned = []
    for group in groups:
        flips = max(group.flips, abs(loss))
        if flips not in needed:
            needed[flips] = _rows_needed(flips, margin, confidence, assurance, loss)
        per_row = group.denominator / group.n if group.n else 0.0
        rows = needed[flips]
        planned.append(
            PlannedGroup(
                replace(group, flips=flips),
                None if rows is None or not per_row else int(np.ceil(rows / per_row)),
                _chance(group.denominator, flips, margin, confidence, loss),
                _smallest_margin(group.denominator, flips, confidence, assurance, loss),
                None if group.flipped is None else flips_bound(group.flipped, group.denominator, confidence),
            )
        )
    return RowPlan(tuple(planned), margin, confidence, assurance, loss)


def flips_bound(flipped: float, n: float, confidence: float = 0.95) -> float:
    """Return the one-sided upper bound of the share of flips, which the loss of accuracy cannot exceed, labelled or not.

    Clopper and Pearson, Biometrika 26 (1934): exact. 1 without rows.
    """
    if flipped >= n:
        return 1.0
    return float(special.betaincinv(flipped + 1, n - flipped, confidence))


def _chance(n: float, flips: float, margin: float, confidence: float, loss: float) -> float:
    rule = VerdictRule(margin, confidence)
    return (
        float(chances_given_shares(n, (flips + loss) / 2, (flips - loss) / 2, rule).no_harm[0]) if n else 0.0
    )


def _rows_needed(flips: float, margin: float, confidence: float, assurance: float, loss: float) -> int | None:
    """Return the rows of the denominator to two digits, by bisection on the logarithm; None beyond `MAX_ROWS`."""
    if loss >= margin or _chance(MAX_ROWS, flips, margin, confidence, loss) < assurance:
        return None
    low, high = float(floor_rows(margin, confidence)), float(MAX_ROWS)
    if _chance(low, flips, margin, confidence, loss) >= assurance:
        return int(low)
    while high - low > 1 and high / low > 1.005:
        middle = max(np.floor(np.sqrt(low * high)), low + 1)
        if _chance(middle, flips, margin, confidence, loss) >= assurance:
            high = middle
        else:
            low = middle
    digits = 10 ** max(int(np.log10(high)) - 1, 0)
    return int(np.ceil(high / digits) * digits)


def _smallest_margin(
    n: float, flips: float, confidence: float, assurance: float, loss: float
) -> float | None:
    """Return the smallest margin to a tenth of a point, rounded up."""

    def lacking(margin: float) -> float:
        return assurance - _chance(n, flips, margin, confidence, loss)

    from scipy import optimize  # slow to import

    low, high = max(loss, 0.0) + 1e-4, 0.999
    if n <= 0 or lacking(high) > 0:
        return None
    margin = low if lacking(low) <= 0 else optimize.bisect(lacking, low, high, xtol=2e-4)
    return float(np.ceil(margin * 1000 - 1e-9) / 1000)
