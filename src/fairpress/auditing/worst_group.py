"""The worst group of one compressed model: bound X of an audit without the rest of it, for loops that need a number."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fairpress.auditing.audit_table import judging_rules
from fairpress.auditing.inference.group_estimator import GroupEstimator
from fairpress.auditing.inference.relative_margins import baseline_error
from fairpress.auditing.judging import JudgedFamily, judge_family
from fairpress.auditing.options import AuditOptions
from fairpress.auditing.read_table import read_table
from fairpress.auditing.verdicts.margins import HARMS
from fairpress.auditing.verdicts.rules import Tested
from fairpress.auditing.verdicts.wording import group_name, metric_name, name_groups, points, points_up
from fairpress.core.attribute import OVERALL, Attribute
from fairpress.core.errors import UserError


@dataclass(frozen=True)
class WorstGroup:
    """The group whose loss is bounded worst, in the watched errors.

    Attributes
    ----------
    upper
        X: with the audit's confidence, no assessed group or pool loses more; a share of the group (0.02 is two points).
    group, error
        Whose bound it is, and of which error.
    loss, n
        The estimated loss of that group, and its rows in the error's denominator.
    assessed, too_few
        The groups and pools that are assessed in a watched error, and the groups that by themselves are assessed in none.
        Labels and groups alone decide it.
    """

    upper: float
    group: str
    error: str
    loss: float
    n: float
    assessed: tuple[str, ...]
    too_few: tuple[str, ...]

    def __str__(self) -> str:
        return (
            f"{self.group}: {self.error} up by at most {points_up(self.upper)} points (estimate {points(self.loss)}, "
            f"n = {self.n:,.0f})"
        )


@dataclass(frozen=True)
class _Candidate:
    name: str
    metric: str
    tested: Tested
    position: int

    @property
    def upper(self) -> float:
        return float(self.tested.upper[self.position])


def worst_group(table: Any, options: AuditOptions, watch: Sequence[str] = ()) -> WorstGroup:
    """Return bound X of the only compressed model of a table, and whose it is.

    The same groups, pools and bounds as in ``audit(…).comparisons[0].bounds[0]``, in about a fifth of the time: rates, gaps
    and flips are left out.

    Parameters
    ----------
    table, options
        As in `audit.audit`, with one compressed model and no outcome.
    watch
        The watched errors, ``"error"``, ``"fnr"`` and ``"fpr"``; by default the one that decides.

    Raises
    ------
    UserError
        The table cannot be audited, a watched error is not judged, or no group has enough rows to be assessed.
    """
    data = read_table(table, options)
    (name,) = data.compressed
    evidence = GroupEstimator(data.table.cells)
    rules = judging_rules(options, data.metrics, lambda m: baseline_error(evidence, data.baseline, m))
    family = judge_family(evidence, data.baseline, [name], data.attributes, rules)
    metrics = [HARMS[error] for error in watch] or [rules.metrics[0]]
    if unjudged := [error for error in watch if HARMS[error] not in rules.metrics]:
        raise UserError(
            f"`watch=` names {unjudged[0]!r}, which needs a positive class; name it with `positive=`, or watch the error "
            "rate."
        )
    candidates = [c for m in metrics for c in _candidates(evidence, family, name, data.attributes, m)]
    assessed = dict.fromkeys(
        c.name for c in candidates if c.tested.assessed[c.position] and c.name != group_name({})
    )
    if not assessed:
        by, needed = ", ".join(map(str, data.attributes)), rules.min_rows[metrics[0]]
        raise UserError(
            f"no group of {by} has the {needed:,} rows that an assessment needs among these {evidence.table_rows:,}; add "
            "rows, or allow a larger `margin=` or fewer rows (`min_rows=`)."
        )
    worst = max((c for c in candidates if not np.isnan(c.upper)), key=lambda c: c.upper)
    too_few = (g for m in metrics for g in _too_few(evidence, family, data.attributes, m))
    return WorstGroup(
        worst.upper,
        worst.name,
        metric_name(worst.metric),
        float(worst.tested.loss.value[worst.position]),
        float(worst.tested.loss.n[worst.position]),
        tuple(assessed),
        tuple(name for name in dict.fromkeys(too_few) if name not in assessed),
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
                yield _Candidate(group_name(values), metric, tested, i)
        if key in family.pools:
            members = [group_name(groups[i]) for i in family.eligibility[attribute, metric].pool]
            yield _Candidate(f"{name_groups(members)}, together", metric, family.pools[key], 0)


def _too_few(
    evidence: GroupEstimator, family: JudgedFamily, attributes: tuple[Attribute, ...], metric: str
) -> Iterator[str]:
    """Yield the groups that are not assessed by themselves."""
    for attribute in attributes:
        selection = family.eligibility[attribute, metric]
        for values, enough in zip(evidence.cells.grouping(attribute).values, selection.assessed, strict=True):
            if not enough:
                yield group_name(values)
