"""One-sided confidence bounds and p-values for every limit and group, or pair of groups.

A candidate meets all limits only if it meets each of them in every group. This is an intersection–union test: every part is
tested at the full α without correction (Berger 1982, Technometrics 24), and the p-value is the largest of all parts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from fairpress.auditing.cells.grouping import Grouping
from fairpress.auditing.inference.group_estimator import GroupEstimator
from fairpress.auditing.metrics.rates import LOSS_SIGN
from fairpress.auditing.statistics import special
from fairpress.auditing.statistics.exact_proportion import clopper_pearson_lower, p_at_most
from fairpress.auditing.statistics.rate_difference import difference_p, difference_upper_bound
from fairpress.auditing.statistics.score_bounds import loss_upper_bound, noninferiority_p
from fairpress.auditing.statistics.t_estimate import Floats, TEstimate
from fairpress.auditing.verdicts.sample_size import rows_to_decide
from fairpress.auditing.verdicts.wording import group_name
from fairpress.core.attribute import Attribute
from fairpress.searching.gap_increase_bound import gap_increase_bound
from fairpress.searching.limits import GAPS

BASELINE, CANDIDATE = "baseline", "candidate"
OVERALL = ""
MODEL_FILE = "the file"
IMPOSSIBLE_RISK = 1e6
RISK_WEIGHT = 100.0  # rows: weight of the overall loss in that of a group, when risks are estimated


@dataclass(frozen=True)
class Bound:
    """The evidence on one limit in one group or pair of groups.

    Attributes
    ----------
    limit, allowed
        The name of the limit, and its value.
    who, metric
        The group, or ``a against b`` for a pair; the rate that is limited.
    value, bound
        The estimate, and its one-sided bound at the requested confidence: upper, or lower if the limit is a minimum.
        None if there are no rows.
    p
        p-value of the hypothesis that the limit is violated; at most α if the limit is demonstrated to hold.
    n
        Rows that the estimate is based on (for a pair: rows of the smaller group).
    rows_needed
        Rows with which the limit would be demonstrated if the estimate stays; None if the estimate violates the limit.
    risk
        −log of the estimated probability that the judging rows demonstrate the limit to hold.
    """

    limit: str
    allowed: float
    who: str
    metric: str
    value: float | None
    bound: float | None
    p: float
    n: float
    rows_needed: int | None = None
    risk: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class JudgingPlan:
    """What is judged: limits, attributes, and the groups with enough rows."""

    limits: Mapping[str, float]
    by: tuple[str, ...]
    metrics: tuple[str, ...]
    confidence: float
    rows: Mapping[tuple[str, str], Mapping[str, float]]
    """(Attribute, rate) → group → its number of judging rows, for groups with enough rows."""
    too_few: tuple[tuple[str, str, float], ...] = ()
    """(Group, rate, rows) of groups with too few rows, which are judged only pooled with other small groups."""
    pooled: Mapping[tuple[str, str], tuple[str, frozenset[str]]] = field(default_factory=dict)
    """(Attribute, rate) → name and members of the pooled small groups, if together they have enough rows."""

    @property
    def alpha(self) -> float:
        return 1 - self.confidence


def worst_bound(bounds: Sequence[Bound]) -> Bound:
    """Return the binding bound: the one with the largest p-value."""
    return max(bounds, key=lambda b: (b.p, b.risk))


def risk(bounds: Sequence[Bound]) -> float:
    """Return −log of the probability that all limits are demonstrated to hold, if they were independent."""
    return sum(b.risk for b in bounds)


def bounds_of(evidence: GroupEstimator, plan: JudgingPlan) -> list[Bound]:
    """Return a bound for every limit and each group or pair that it applies to, in a fixed order."""
    bounds: list[Bound] = []
    for name, limit in plan.limits.items():
        if name == "max_group_loss":
            for attribute in plan.by:
                for metric in plan.metrics:
                    bounds += _losses(evidence, plan, name, limit, attribute, metric)
        elif name == "max_loss":
            bounds += _losses(evidence, plan, name, limit, OVERALL, "accuracy")
        elif name == "min_accuracy":
            bounds.append(_accuracy(evidence, plan, limit))
        else:
            gap = name.removeprefix("max_").removesuffix("_rise").removesuffix("_gap")
            for attribute in plan.by:
                for metric in GAPS[gap]:
                    bounds += _gaps(evidence, plan, name, limit, attribute, metric)
    return bounds


def _losses(
    evidence: GroupEstimator, plan: JudgingPlan, name: str, limit: float, attribute: str, metric: str
) -> list[Bound]:
    names, grouping = _pool_small_groups(evidence, plan, attribute, metric)

    def loss(grouping: Grouping) -> tuple[TEstimate, Floats]:
        change = evidence.change(CANDIDATE, BASELINE, metric, grouping)
        flip_rate = evidence.flip_share(CANDIDATE, BASELINE, metric, grouping)
        return (change if LOSS_SIGN[metric] > 0 else -change), flip_rate

    group_change, flip_rate = loss(grouping)
    overall, overall_flip_rate = loss(grouping_of(evidence, OVERALL))
    p = noninferiority_p(group_change, flip_rate, limit)
    upper = loss_upper_bound(group_change, flip_rate, plan.confidence)
    bounds = []
    for i, group in enumerate(names):
        if group not in plan.rows[attribute, metric]:
            continue
        n, rows = float(group_change.n[i]), plan.rows[attribute, metric][group]
        if not group_change.estimable[i]:
            bounds.append(Bound(name, limit, group, metric, None, None, 1.0, n))
            continue
        # The estimates of a small group are shrunk toward the overall ones: its own flips alone would be 0 or many. Gains
        # do not count: with few rows they are luck, and would favour candidates that flip many predictions.
        share = n / (n + RISK_WEIGHT)
        flips = share * flip_rate[i] + (1 - share) * overall_flip_rate[0]
        centre = max(float(share * group_change.value[i] + (1 - share) * overall.value[0]), 0.0)
        se = np.sqrt(max(float(flips), 1 / rows) / rows)
        value = float(group_change.value[i])
        bounds.append(
            Bound(
                name,
                limit,
                group,
                metric,
                value,
                float(upper[i]),
                float(p[i]),
                n,
                _rows_needed(value, float(group_change.se[i]), n, limit, plan),
                _risk(limit - centre, float(se), plan),
            )
        )
    return bounds


def _pool_small_groups(
    evidence: GroupEstimator, plan: JudgingPlan, attribute: str, metric: str
) -> tuple[list[str], Grouping]:
    """Return the names of groups and their grouping of the cells; groups with too few rows are pooled as the last one."""
    grouping = grouping_of(evidence, attribute)
    names = [group_name(values) for values in grouping.values]
    pooled_name, members = plan.pooled.get((attribute, metric), ("", frozenset()))
    if not members:
        return names, grouping
    small = np.array([name in members for name in names])
    pooled = Grouping(
        grouping.attribute,
        (*grouping.values, {attribute: pooled_name}),
        np.where(small[grouping.index], len(names), grouping.index),
    )
    return [*names, pooled_name], pooled


def grouping_of(evidence: GroupEstimator, attribute: str) -> Grouping:
    return evidence.cells.grouping(Attribute.from_text(attribute))


def _accuracy(evidence: GroupEstimator, plan: JudgingPlan, limit: float) -> Bound:
    x = evidence.smoothed(CANDIDATE, "accuracy", grouping_of(evidence, OVERALL))
    value, se, n = float(x.value[0]), float(x.se[0]), float(x.n[0])
    rows = plan.rows[OVERALL, "accuracy"][group_name({})]
    return Bound(
        "min_accuracy",
        limit,
        group_name({}),
        "accuracy",
        value,
        float(clopper_pearson_lower(x, plan.confidence)[0]),
        float(p_at_most(x, limit)[0]),
        n,
        rows_to_decide(-value, se, n, -limit, plan.confidence) if value > limit else None,
        _risk(value - limit, se * np.sqrt(n / rows), plan),
    )


def _gaps(
    evidence: GroupEstimator, plan: JudgingPlan, name: str, limit: float, attribute: str, metric: str
) -> list[Bound]:
    """Return a bound for each ordered pair of groups: a gap is small only if no difference is large.

    A rise G₁ − G₀ is at most the change of the difference between the two groups that are furthest apart afterwards: it is
    small if the change of no pair is large (`gap_increase_bound`). This is conservative.
    """
    grouping = grouping_of(evidence, attribute)
    groups = grouping.values
    rising = name.endswith("_rise")
    if rising:
        x = evidence.change(CANDIDATE, BASELINE, metric, grouping)
        flip_rate = evidence.flip_share(CANDIDATE, BASELINE, metric, grouping)
    else:
        x = evidence.smoothed(CANDIDATE, metric, grouping)
    judged = plan.rows[attribute, metric]
    judged_index = [i for i, values in enumerate(groups) if group_name(values) in judged and x.estimable[i]]
    names = [group_name(values) for values in groups]
    pairs = [(i, j) for i in judged_index for j in judged_index if i != j]
    if not pairs:
        return []
    first, second = (np.array(side) for side in zip(*pairs, strict=True))
    d = x[first] - x[second]
    if rising:
        upper, p = gap_increase_bound(
            x[first], x[second], (flip_rate[first], flip_rate[second]), limit, plan.confidence
        )
    else:
        upper = difference_upper_bound(x[first], x[second], plan.confidence)
        p = difference_p(x[first], x[second], limit)
    se = (upper - d.value) / special.ndtri(plan.confidence)
    bounds = []
    for k, (i, j) in enumerate(pairs):
        value, n = float(d.value[k]), float(min(x.n[i], x.n[j]))
        rows = min(judged[names[i]], judged[names[j]])
        bounds.append(
            Bound(
                name,
                limit,
                f"{names[i]} against {names[j]}",
                metric,
                value,
                float(upper[k]),
                float(p[k]),
                n,
                _rows_needed(value, float(se[k]), n, limit, plan),
                _risk(limit - value, float(d.se[k]) * np.sqrt(n / rows), plan),
            )
        )
    return bounds


def _rows_needed(value: float, se: float, n: float, limit: float, plan: JudgingPlan) -> int | None:
    return rows_to_decide(value, se, n, limit, plan.confidence) if value < limit else None


def _risk(room: float, se: float, plan: JudgingPlan) -> float:
    """Return −log of the probability that an estimate `room` below the limit stays below it by z standard errors."""
    return -float(special.log_ndtr(room / se - special.ndtri(plan.confidence)))


def exact_bound(limit: str, allowed: float, value: float, bound: float | None = None) -> Bound:
    """Return the bound for a quantity that is measured and not estimated from rows: bytes or latency."""
    upper = value if bound is None else bound
    within = upper <= allowed
    metric = limit.removeprefix("max_")
    return Bound(
        limit,
        allowed,
        MODEL_FILE,
        metric,
        value,
        upper,
        0.0 if within else 1.0,
        1,
        None,
        0.0 if within else IMPOSSIBLE_RISK,
    )
