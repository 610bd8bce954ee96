"""The worst group of one compressed model: bound X of an audit without the rest of it, for loops that need a number."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from fairpress.auditing.audit_table import judging_rules
from fairpress.auditing.inference.group_estimator import GroupEstimator
from fairpress.auditing.inference.relative_margins import baseline_error
from fairpress.auditing.judging import JudgedFamily, judge_family
from fairpress.auditing.options import AuditOptions
from fairpress.auditing.read_table import read_table
from fairpress.auditing.verdicts.rules import Tested
from fairpress.auditing.verdicts.wording import group_name, name_groups, points, points_up
from fairpress.core.attribute import OVERALL, Attribute
from fairpress.core.errors import UserError


@dataclass(frozen=True)
class WorstGroup:
    """The group whose loss is bounded worst, in the error that decides.

    Attributes
    ----------
    upper
        X: with the audit's confidence, no assessed group or pool loses more; a share of the group (0.02 is two points).
    group
        Whose bound it is.
    loss, n
        The estimated loss of that group, and its rows in the error's denominator.
    assessed, too_few
        The groups and pools that are assessed, and the groups with too few rows. Labels and groups alone decide it.
    """

    upper: float
    group: str
    loss: float
    n: float
    assessed: tuple[str, ...]
    too_few: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.group}: at most {points_up(self.upper)} points (estimate {points(self.loss)}, n = {self.n:,.0f})"


@dataclass(frozen=True)
class _Candidate:
    name: str
    tested: Tested
    position: int

    @property
    def upper(self) -> float:
        return float(self.tested.upper[self.position])


def worst_group(table: Any, options: AuditOptions) -> WorstGroup:
    """Return bound X of the only compressed model of a table, and whose it is.

    The same groups, pools and bounds as in ``audit(…).comparisons[0].bounds[0]``, in about a fifth of the time: rates, gaps
    and flips are left out.

    Parameters
    ----------
    table, options
        As in `audit.audit`, with one compressed model and no outcome.

    Raises
    ------
    UserError
        The table cannot be audited, or no group has enough rows to be assessed.
    """
    data = read_table(table, options)
    (name,) = data.compressed
    evidence = GroupEstimator(data.table.cells)
    rules = judging_rules(options, data.metrics, lambda m: baseline_error(evidence, data.baseline, m))
    family = judge_family(evidence, data.baseline, [name], data.attributes, rules)
    metric = rules.metrics[0]
    candidates = list(_candidates(evidence, family, name, data.attributes, metric))
    assessed = tuple(c.name for c in candidates if c.tested.assessed[c.position] and c.name != group_name({}))
    if not assessed:
        raise UserError(
            f"no group of {', '.join(map(str, data.attributes))} has the {rules.min_rows[metric]:,} rows that an assessment "
            f"needs among these {evidence.table_rows:,}; add rows, or allow a larger `margin=` or fewer rows (`min_rows=`)."
        )
    worst = max((c for c in candidates if not np.isnan(c.upper)), key=lambda c: c.upper)
    return WorstGroup(
        worst.upper,
        worst.name,
        float(worst.tested.loss.value[worst.position]),
        float(worst.tested.loss.n[worst.position]),
        assessed,
        tuple(_too_few(evidence, family, data.attributes, metric)),
    )


def _candidates(
    evidence: GroupEstimator,
    family: JudgedFamily,
    name: str,
    attributes: tuple[Attribute, ...],
    metric: str,
) -> Iterator[_Candidate]:
    """Yield what X covers (`loss_bounds`): assessed groups, pools, and smaller groups whose loss is shown."""
    for attribute in (OVERALL, *attributes):
        key = (name, attribute, metric)
        tested, verdicts = family.tested[key], family.judged[key].verdict
        groups = evidence.cells.grouping(attribute).values
        for i, values in enumerate(groups):
            if tested.assessed[i] or verdicts[i] in ("harm", "loss"):
                yield _Candidate(group_name(values), tested, i)
        if key in family.pools:
            members = [group_name(groups[i]) for i in family.eligibility[attribute, metric].pool]
            yield _Candidate(f"{name_groups(members)}, together", family.pools[key], 0)


def _too_few(
    evidence: GroupEstimator, family: JudgedFamily, attributes: tuple[Attribute, ...], metric: str
) -> Iterator[str]:
    """Yield the groups that are not assessed by themselves."""
    for attribute in attributes:
        selection = family.eligibility[attribute, metric]
        for values, enough in zip(evidence.cells.grouping(attribute).values, selection.assessed, strict=True):
            if not enough:
                yield group_name(values)
