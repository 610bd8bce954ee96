"""Plan the rows of an audit; see `plan`."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fairpress.auditing.options import names_of
from fairpress.auditing.planning.group_sizes import METRICS, groups_of_counts, groups_of_table
from fairpress.auditing.planning.row_plan import RowPlan, plan_rows
from fairpress.auditing.verdicts.margins import margin_of
from fairpress.core.errors import UserError, did_you_mean
from fairpress.core.public_function import public_function


@public_function
def plan(
    by_counts: str | os.PathLike[str] | Iterable[Mapping[str, Any]] | None = None,
    *,
    table: Any = None,
    by: Sequence[str] | str = (),
    flips: float | None = None,
    margin: float | str = 0.02,
    confidence: float = 0.95,
    assurance: float = 0.8,
    loss: float = 0.0,
    metrics: Sequence[str] | str = ("accuracy",),
    baseline: str | None = None,
    compressed: str | None = None,
) -> RowPlan:
    """Return the rows that each group needs, its chance of "no harm" now, and the smallest margin that its rows can show.

    Parameters
    ----------
    by_counts
        A CSV file, or mappings, with a line for each group: its attributes, ``n`` (or ``rows``) and, for rates,
        ``positives``; or with the columns ``attribute``, ``group`` and ``rows``, for several attributes one after the other.
    table
        In place of counts: a table of rows, whose labels are not needed. With the predictions of `baseline` and
        `compressed`, the flips are counted, and bound the loss of accuracy of each group whatever the labels are.
    by
        Attributes and intersections; by default, for counts, the intersection of all columns, or every ``attribute``.
    flips
        Expected share of predictions that change, either way, such as 0.03.
    margin, confidence
        Those of the audit that is planned.
    assurance
        The requested chance of "no harm" in a group.
    loss
        The true loss that is expected in every group; 0 if nothing changes but single predictions.
    metrics
        ``"accuracy"``, ``"tpr"``, ``"fpr"``; rates need counts with positives.

    Raises
    ------
    UserError
        A number is out of range, or the counts or the table cannot be read; the message gives the cause and the remedy.
    """
    margin = _absolute(margin)
    _check_numbers(flips, margin, confidence, assurance, loss)
    metrics = names_of(metrics, "metrics")
    for metric in metrics or [""]:
        if metric not in METRICS:
            raise UserError(
                f"`metrics=` must name some of {', '.join(METRICS)}, not {metric!r}."
                + did_you_mean(metric, METRICS)
            )
    by = names_of(by, "by")
    if (by_counts is None) == (table is None):
        raise UserError(
            "give the groups once: the file of their counts with `by_counts='groups.csv'`, or a table of rows with `table=`."
        )
    if by_counts is not None:
        if flips is None:
            raise UserError("the flips to expect are unknown; give their share, such as `flips=0.03`.")
        if baseline is not None or compressed is not None:
            raise UserError("counts have no predictions; name models only with `table=`.")
        groups = groups_of_counts(by_counts, flips, by, metrics)
    else:
        if not by:
            raise UserError("name the sensitive attributes of the table, such as `by=['sex', 'race']`.")
        if metrics != ("accuracy",):
            raise UserError(
                "a table of rows is planned for accuracy; for rates give counts with positives, `by_counts='groups.csv'`."
            )
        groups = groups_of_table(table, by, flips=flips, baseline=baseline, compressed=compressed)
    return plan_rows(groups, margin, confidence, assurance, loss)


def _absolute(margin: float | str) -> float:
    """Return a margin as a share of the people; raises UserError for one that is relative to the baseline's error."""
    if not isinstance(margin, str):
        return margin
    parsed = margin_of(margin)
    if parsed.relative:
        raise UserError(
            f"the margin {margin!r} depends on the baseline's error, which is not known before there are predictions; "
            "plan with one in points, such as `margin='2pp'`."
        )
    return parsed.value


def _check_numbers(
    flips: float | None, margin: float, confidence: float, assurance: float, loss: float
) -> None:
    for name, value in {"flips": flips, "margin": margin, "loss": loss}.items():
        if value is not None and abs(value) >= 1:
            hint = f"for {value:g} % write {value / 100:g}" if abs(value) < 100 else "0.02 means 2 %"
            raise UserError(f"`{name}=` is a share below 1, not {value:g}; {hint}.")
    if flips is not None and not flips > 0:
        raise UserError(
            f"`flips=` must be greater than 0, not {flips:g}; 0.03 means that 3 % of predictions change."
        )
    if not margin > 0:
        raise UserError(f"the margin must be greater than 0, not {margin:g}; 0.02 means 2 percentage points.")
    for name, value in {"confidence": confidence, "assurance": assurance}.items():
        low = 0.5 if name == "confidence" else 0.0
        if not low < value < 1:
            hint = f"did you mean {value / 100:g}?" if 1 < value < 100 else "0.8 means 80 %."
            raise UserError(f"`{name}=` must be between {low:g} and 1, not {value:g}; {hint}")
