"""Sentences about the change of a gap: between whom it was and is, how each of them moved, and what the rows cannot show."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fairpress.core.estimate import Estimate

RATE_NAMES = {"selection_rate": "the selection rate", "tpr": "TPR", "fpr": "FPR", "accuracy": "accuracy"}
GAP_OF_RATE = {
    "demographic_parity_difference": "selection_rate",
    "equal_opportunity_difference": "tpr",
    "predictive_equality_difference": "fpr",
    "accuracy_gap": "accuracy",
}
"""Gaps of a single rate."""
CLOSE_GROUPS = 4
"""From this number of nearly equal groups on, it is said which changes of a gap the rows cannot show."""


@dataclass(frozen=True)
class _Extremes:
    """The groups with the largest and the smallest rate of one model."""

    rate: str
    top: int
    bottom: int
    gap: float

    def between(self, groups: Sequence[str]) -> str:
        return f"between {groups[self.top]} and {groups[self.bottom]}"


def gap_sentences(
    groups: Sequence[str],
    before: Mapping[str, ArrayLike],
    after: Mapping[str, ArrayLike],
    changes: Mapping[str, Estimate],
) -> Iterator[str]:
    """Yield what moved in each gap of one rate whose change is shown.

    `groups`, `before` and `after` are as in `gap_change_sentence`, with all rates; `changes` maps a metric to its change.
    """
    for metric, rate in GAP_OF_RATE.items():
        if metric in changes:
            change = changes[metric]
            if (change.low is not None and change.low > 0) or (change.high is not None and change.high < 0):
                yield gap_change_sentence(metric, groups, {rate: before[rate]}, {rate: after[rate]}, change)


def gap_change_sentence(
    metric: str,
    groups: Sequence[str],
    before: Mapping[str, ArrayLike],
    after: Mapping[str, ArrayLike],
    change: Estimate,
) -> str:
    """Return what moved: ``The gap in FPR between men and women widened by 5.9 points [1.2, 10.6]: men +1.6, women −4.3.``

    Parameters
    ----------
    metric
        A gap of one rate, ``equalized_odds_difference``, ``average_odds_difference`` or ``disparate_impact``.
    groups
        Names of the groups.
    before, after
        The rates that the metric is made of, per group, under the baseline and the compressed model; NaN where unknown.
    change
        The change of the metric with its interval.

    Returns an empty string for a change that is not estimable. Raises ValueError for other metrics, whose change is not
    that of a few groups.
    """
    if change.value is None:
        return ""
    rates = [(r, np.asarray(before[r], float), np.asarray(after[r], float)) for r in before]
    if metric == "disparate_impact":
        ((rate, x0, x1),) = rates
        subject = "The ratio of the smallest to the largest selection rate"
        moved = _moved(groups, x0, x1, _extremes(rate, x0), _extremes(rate, x1), " points")
        return f"{_changed(subject, change, ('rose', 'fell'), 1, 3, '')}{moved}."
    if metric == "average_odds_difference":
        parts = []
        for rate, x0, x1 in rates:
            old, new = _extremes(rate, x0), _extremes(rate, x1)
            parts.append(f"in {RATE_NAMES[rate]} {new.between(groups)}{_moved(groups, x0, x1, old, new)}")
        return f"{_changed('The mean of the gaps in TPR and FPR', change)}; now {'; '.join(parts)}."
    if len(rates) > 1 and metric != "equalized_odds_difference":
        raise ValueError(f"the change of {metric} is not that of a few groups")
    old, new = (max((_extremes(r, pair[m]) for r, *pair in rates), key=lambda e: e.gap) for m in (0, 1))
    same_rate = old.rate == new.rate
    if same_rate and {old.top, old.bottom} == {new.top, new.bottom}:
        subject, path = f"The gap in {RATE_NAMES[new.rate]} {new.between(groups)}", ""
        if old.top != new.top:
            path = f", and the larger rate is now that of {groups[new.top]} instead of {groups[old.top]}"
    else:
        of = RATE_NAMES[new.rate] if same_rate else "TPR or FPR, whichever is larger,"
        subject = f"The gap in {of}"
        started, ended = (
            f"{100 * e.gap:.1f}{'' if same_rate else ' in ' + RATE_NAMES[e.rate]} {e.between(groups)}"
            for e in (old, new)
        )
        path = f", from {started} to {ended}"
    moved = ""
    for r, x0, x1 in rates:
        if r == new.rate:
            moved = _moved(groups, x0, x1, old if same_rate else new, new)
    return f"{_changed(subject, change)}{path}{moved}."


def showable_sentence(showable: float, close_groups: int) -> str:
    """Return which changes of a gap these rows cannot show, where at least four groups are nearly equal; else "".

    Parameters
    ----------
    showable
        The smallest change of the estimated gap that could be shown, between 0 and 1 (`fairness.Gap.showable`).
    close_groups
        The number of groups that may be the extreme ones.
    """
    if close_groups < CLOSE_GROUPS or not np.isfinite(showable):
        return ""
    limit = "can be shown" if showable >= 1 else f"below {100 * showable:.0f} points can be shown"
    return (
        f"Of {close_groups} nearly equal groups no change of the gap {limit} by these rows; "
        "compare the loss of each group with that of the rest instead."
    )


def _extremes(rate: str, x: NDArray[np.float64]) -> _Extremes:
    """Return the extreme groups; with fewer than two known rates a gap that is smaller than any other."""
    known = np.flatnonzero(np.isfinite(x))
    if known.size < 2:
        return _Extremes(rate, 0, 0, -1.0)
    order = known[np.argsort(x[known], kind="stable")]
    return _Extremes(rate, int(order[-1]), int(order[0]), float(x[order[-1]] - x[order[0]]))


def _changed(
    subject: str,
    change: Estimate,
    verbs: tuple[str, str] = ("widened", "narrowed"),
    scale: float = 100,
    digits: int = 1,
    unit: str = " points",
) -> str:
    """Return the subject with its change: shown, in one direction, or not shown."""
    assert change.value is not None
    value, low, high = (scale * (np.nan if x is None else x) for x in (change.value, change.low, change.high))
    if low > 0 or high < 0:
        verb, (a, b) = (verbs[0], (low, high)) if low > 0 else (verbs[1], (-high, -low))
        numbers = f"{abs(value):.{digits}f}{unit} [{a:.{digits}f}, {b:.{digits}f}]"
        return f"{subject} {verb} by {numbers}"
    bounds = "" if np.isnan(low) else f" [{_number(low, digits)}, {_number(high, digits)}]"
    subject = subject[0].lower() + subject[1:]
    return f"No change of {subject} is shown ({_number(value, digits, '+')}{unit}{bounds})"


def _moved(
    groups: Sequence[str],
    x0: NDArray[np.float64],
    x1: NDArray[np.float64],
    old: _Extremes,
    new: _Extremes,
    unit: str = "",
) -> str:
    """Return by how many percentage points the extreme groups' rates changed."""
    indices = dict.fromkeys([new.top, new.bottom, old.top, old.bottom])
    moves = [
        f"{groups[g]} {_number(100 * (x1[g] - x0[g]), 1, '+')}{unit}"
        for g in indices
        if np.isfinite(x1[g] - x0[g])
    ]
    return ": " + ", ".join(moves) if moves else ""


def _number(x: float, digits: int, sign: str = "") -> str:
    """Return a number with a minus sign, and 0 without a sign."""
    rounded = round(x, digits) + 0.0
    return f"{rounded:{sign if rounded else ''}.{digits}f}".replace("-", "−")
