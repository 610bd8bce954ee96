"""Two groups fixed beforehand: the difference of their rates before and after, and the difference in differences.

The pair must not be chosen on the audited rows: the pair with the largest gap there regresses to the mean, which makes
compression look better than it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fairpress.auditing.cells.cells import Cells
from fairpress.auditing.cells.grouping import Grouping
from fairpress.auditing.inference.group_estimator import GroupEstimator
from fairpress.auditing.metrics.fairness_changes import difference_in_differences
from fairpress.auditing.result import PairChange, Values
from fairpress.auditing.statistics.t_estimate import TEstimate
from fairpress.auditing.verdicts.rules import floor_rows
from fairpress.core.attribute import SEPARATOR, Attribute
from fairpress.core.errors import UserError, did_you_mean
from fairpress.core.estimate import Estimate

USER, VALIDATION = "by the user", "on other rows"


@dataclass(frozen=True)
class GroupPair:
    """Two groups of one attribute, by their position among its groups."""

    attribute: Attribute
    first: int
    second: int
    chosen: str


def parse_pair(text: str) -> tuple[Attribute, list[str], list[str]]:
    """Read ``sex=Female|Male`` or ``sex*race=Female,Black|Male,White``; raise UserError for anything else."""
    attribute, _, groups = text.partition("=")
    sides = [[v.strip() for v in side.split(",")] for side in groups.split("|")]
    parts = [p.strip() for p in attribute.split(SEPARATOR)]
    if len(sides) != 2 or any(len(side) != len(parts) or not all(side) for side in sides):
        raise UserError(
            f"`pairs=`: {text!r} is not a pair; write attribute=group|group, such as sex=Female|Male or "
            "'sex*race=Female,Black|Male,White'."
        )
    return Attribute(tuple(parts)), sides[0], sides[1]


def fixed_pairs(
    requested: Sequence[str | tuple[Values, Values]], cells: Cells, by: Sequence[Attribute]
) -> list[GroupPair]:
    """Return the pairs that the user fixed: texts as for `parse_pair`, or two groups as attribute → value.

    Raises UserError for an attribute that is not audited, or a group that is not in the table.
    """
    pairs = []
    for pair in requested:
        if isinstance(pair, str):
            attribute, *sides = parse_pair(pair)
            first, second = (dict(zip(attribute.names, side, strict=True)) for side in sides)
        else:
            first, second = (dict(side) for side in pair)
            attribute = Attribute(tuple(first))
        if attribute not in by:
            raise UserError(
                f"`pairs=`: the attribute {str(attribute)!r} is not audited; add it to `by=`."
                + did_you_mean(str(attribute), map(str, by))
            )
        grouping = cells.grouping(attribute)
        positions = [_group_index(dict(side), grouping) for side in (first, second)]
        if positions[0] == positions[1]:
            raise UserError(
                f"the pair of {str(attribute)!r} names the same group twice; a difference needs two."
            )
        pairs.append(GroupPair(attribute, positions[0], positions[1], USER))
    return pairs


def widest_pairs(
    cells: Cells,
    other: GroupEstimator,
    baseline: str,
    by: Sequence[Attribute],
    metrics: Sequence[str],
    margin: float,
) -> list[GroupPair]:
    """Return, per attribute and judged metric, the pair with the largest gap of the baseline on other rows.

    Groups with too few of these rows for a verdict, and groups that are missing from the audited rows, are left out.
    """
    pairs: dict[GroupPair, None] = {}
    for attribute in by:
        groups, grouping = cells.grouping(attribute).values, other.cells.grouping(attribute)
        for metric in metrics:
            rate = other.smoothed(baseline, metric, grouping)
            usable = [
                i
                for i, g in enumerate(grouping.values)
                if g in groups and rate.estimable[i] and rate.effective_n[i] >= floor_rows(margin)
            ]
            if len(usable) < 2:
                continue
            top, bottom = (usable[int(pick(rate.value[usable]))] for pick in (np.argmax, np.argmin))
            first, second = (groups.index(grouping.values[g]) for g in (top, bottom))
            if GroupPair(attribute, second, first, VALIDATION) not in pairs:
                pairs[GroupPair(attribute, first, second, VALIDATION)] = None
    return list(pairs)


def _group_index(values: Values, grouping: Grouping) -> int:
    if values in grouping.values:
        return grouping.values.index(values)
    group_names = [", ".join(g.values()) for g in grouping.values]
    requested = ", ".join(values.values())
    raise UserError(
        f"{str(grouping.attribute)!r} has no group {requested!r}." + did_you_mean(requested, group_names)
    )


def pair_change(
    pair: GroupPair,
    evidence: GroupEstimator,
    baseline: str,
    model: str,
    rates: Sequence[str],
    confidence: float,
    why_empty: Mapping[str, str],
) -> PairChange:
    """Return the differences of a pair in each rate, and their paired changes."""
    grouping = evidence.cells.grouping(pair.attribute)
    between = (pair.first, pair.second)
    parts: list[dict[str, Estimate]] = []
    n: dict[str, float] = {}
    for name in (baseline, model):
        rate = {r: evidence.smoothed(name, r, grouping) for r in rates}
        n = {r: float(x.n[list(between)].sum()) for r, x in rate.items()}
        parts.append(
            {
                r: _single_estimate(
                    difference_in_differences(x, *between, evidence.dependent), n[r], confidence, why_empty[r]
                )
                for r, x in rate.items()
            }
        )
    changes = {
        r: _single_estimate(
            evidence.contrast(model, baseline, r, grouping, between)[0], n[r], confidence, why_empty[r]
        )
        for r in rates
    }
    return PairChange(
        str(pair.attribute),
        grouping.values[pair.first],
        grouping.values[pair.second],
        pair.chosen,
        parts[0],
        parts[1],
        changes,
    )


def _single_estimate(x: TEstimate, n: float, confidence: float, why: str) -> Estimate:
    if not bool(x.estimable):
        return Estimate.not_estimable(f"{why}, or in the other", n)
    low, high = (float(v) for v in x.interval(confidence))
    value = float(x.value)
    return Estimate(value, min(low, value), max(high, value), n, x.method, float(x.p_two_sided()))
