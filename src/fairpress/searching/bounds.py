"""One-sided bounds on what is limited: a p-value for every group, or pair of groups, and limit.

A candidate keeps to all limits only if it keeps to each of them in every group: an intersection–union test, in which every
part is tested at the full α and nothing is corrected (Berger 1982, Technometrics 24). Its p-value is the largest of all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from scipy import special

from fairpress.auditing.inference.group_estimator import GroupEstimator
from fairpress.auditing.metrics.rates import LOSS_SIGN
from fairpress.auditing.statistics.t_estimate import Floats, TEstimate, t_tail
from fairpress.auditing.verdicts.noninferiority import score_statistic
from fairpress.auditing.verdicts.sample_size import rows_to_decide
from fairpress.auditing.verdicts.wording import group_name
from fairpress.searching.gap_increase_bound import gap_increase_bound
from fairpress.searching.limits import GAPS

BASELINE, CANDIDATE = "baseline", "candidate"
EVERYBODY = ""
THE_FILE = "the file"
HOPELESS = 1e6
RISK_WEIGHT = 100.0  # rows: what everybody's loss counts for in a group's, when risks are estimated


@dataclass(frozen=True)
class Bound:
    """What is known of one limit in one group or pair of groups.

    Attributes
    ----------
    limit, allowed
        Its name, and the number.
    who, metric
        The group, or ``a against b``; the rate it is about.
    value, bound
        The estimate, and its one-sided bound at the confidence asked for: upper, or lower where the limit is a minimum.
        None where there are no rows.
    p
        Of the hypothesis that the limit is not kept; below α it is shown to be kept.
    n
        Rows behind it (of a pair: of the smaller group).
    rows_needed
        Rows at which the estimate, if it stays, would be told from the limit; None where it is beyond the limit.
    risk
        −log of the chance that as many rows as there are to judge show the limit to be kept, as these rows tell.
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
    """What is judged: limits, attributes, and who has the rows for it."""

    limits: Mapping[str, float]
    by: tuple[str, ...]
    metrics: tuple[str, ...]
    confidence: float
    rows: Mapping[tuple[str, str], Mapping[str, float]]
    """(Attribute, rate) → group → rows that judge it, for the groups that have enough."""
    too_few: tuple[tuple[str, str, float], ...] = ()
    """Group, rate, rows: who has not, and is judged only together with the others of the attribute that have not."""
    together: Mapping[tuple[str, str], tuple[str, frozenset[str]]] = field(default_factory=dict)
    """(Attribute, rate) → what those are called together, and who they are, where together they have enough."""

    @property
    def alpha(self) -> float:
        return 1 - self.confidence


def worst_bound(bounds: Sequence[Bound]) -> Bound:
    """Return the bound with the largest p: the one that binds."""
    return max(bounds, key=lambda b: (b.p, b.risk))


def risk(bounds: Sequence[Bound]) -> float:
    """Return −log of the chance that all limits would be shown to be kept, were they independent."""
    return sum(b.risk for b in bounds)


def bounds_of(evidence: GroupEstimator, asked: JudgingPlan) -> list[Bound]:
    """Return a bound for every limit and everybody, group or pair it concerns, in a fixed order."""
    found: list[Bound] = []
    for name, limit in asked.limits.items():
        if name == "max_group_loss":
            for attribute in asked.by:
                for metric in asked.metrics:
                    found += _losses(evidence, asked, name, limit, attribute, metric)
        elif name == "max_loss":
            found += _losses(evidence, asked, name, limit, EVERYBODY, "accuracy")
        elif name == "min_accuracy":
            found.append(_accuracy(evidence, asked, limit))
        else:
            gap = name.removeprefix("max_").removesuffix("_rise").removesuffix("_gap")
            for attribute in asked.by:
                for metric in GAPS[gap]:
                    found += _gaps(evidence, asked, name, limit, attribute, metric)
    return found


def _losses(
    evidence: GroupEstimator, asked: JudgingPlan, name: str, limit: float, attribute: str, metric: str
) -> list[Bound]:
    names, index = _with_small_ones_together(evidence, asked, attribute, metric)
    whole = np.zeros(len(index), dtype=np.int64)

    def loss(at: np.ndarray, count: int) -> tuple[TEstimate, Floats]:
        change = evidence.change(CANDIDATE, BASELINE, metric, at, count)
        moved = evidence.flip_share(CANDIDATE, BASELINE, metric, at, count)
        return (change if LOSS_SIGN[metric] > 0 else -change), moved

    own, moved = loss(index, len(names))
    everybody, all_moved = loss(whole, 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        p = np.maximum(
            t_tail(own.df, (limit - own.centre) / own.se),
            t_tail(own.df, -score_statistic(own, moved, limit)),
        )
    upper = own.upper(asked.confidence)
    out = []
    for i, who in enumerate(names):
        if who not in asked.rows[attribute, metric]:
            continue
        n, rows = float(own.n[i]), asked.rows[attribute, metric][who]
        if not own.estimable[i]:
            out.append(Bound(name, limit, who, metric, None, None, 1.0, n))
            continue
        # A group of few rows is judged by its own flips and everybody's: its own alone would be 0 or a lot. A gain is not
        # counted: on few rows it is luck, and would put a candidate that flips much before one that flips little.
        share = n / (n + RISK_WEIGHT)
        flips = share * moved[i] + (1 - share) * all_moved[0]
        centre = max(float(share * own.value[i] + (1 - share) * everybody.value[0]), 0.0)
        se = np.sqrt(max(float(flips), 1 / rows) / rows)
        value = float(own.value[i])
        out.append(
            Bound(
                name,
                limit,
                who,
                metric,
                value,
                float(upper[i]),
                float(p[i]),
                n,
                _needed(value, float(own.se[i]), n, limit, asked),
                _risk(limit - centre, float(se), asked),
            )
        )
    return out


def _with_small_ones_together(
    evidence: GroupEstimator, asked: JudgingPlan, attribute: str, metric: str
) -> tuple[list[str], np.ndarray]:
    """Return the groups' names and each combination's group, those with too few rows as one that stands last."""
    groups, index = evidence.cells.groups(attribute)
    names = [group_name(values) for values in groups]
    called, members = asked.together.get((attribute, metric), ("", frozenset()))
    if not members:
        return names, index
    small = np.array([name in members for name in names])
    return [*names, called], np.where(small[index], len(names), index)


def _accuracy(evidence: GroupEstimator, asked: JudgingPlan, limit: float) -> Bound:
    index = np.zeros(len(evidence.cells.label), dtype=np.int64)
    x = evidence.smoothed(CANDIDATE, "accuracy", index, 1)
    value, se, n = float(x.value[0]), float(x.se[0]), float(x.n[0])
    rows = asked.rows[EVERYBODY, "accuracy"][group_name({})]
    return Bound(
        "min_accuracy",
        limit,
        group_name({}),
        "accuracy",
        value,
        float(x.lower(asked.confidence)[0]),
        float(t_tail(x.df, (x.centre - limit) / x.se)[0]),
        n,
        rows_to_decide(-value, se, n, -limit, asked.confidence) if value > limit else None,
        _risk(value - limit, se * np.sqrt(n / rows), asked),
    )


def _gaps(
    evidence: GroupEstimator, asked: JudgingPlan, name: str, limit: float, attribute: str, metric: str
) -> list[Bound]:
    """Return a bound for each ordered pair of groups: a gap is small only if no difference is large.

    A rise G₁ − G₀ is at most the change of the difference of the two groups that are furthest apart afterwards, whichever
    these are: it is small if no pair's change is large (`rises`). That errs on the safe side.
    """
    groups, index = evidence.cells.groups(attribute)
    rising = name.endswith("_rise")
    if rising:
        x = evidence.change(CANDIDATE, BASELINE, metric, index, len(groups))
        moved = evidence.flip_share(CANDIDATE, BASELINE, metric, index, len(groups))
    else:
        x = evidence.smoothed(CANDIDATE, metric, index, len(groups))
    judged = asked.rows[attribute, metric]
    own = [i for i, values in enumerate(groups) if group_name(values) in judged and x.estimable[i]]
    names = [group_name(values) for values in groups]
    pairs = [(i, j) for i in own for j in own if i != j]
    if not pairs:
        return []
    first, second = (np.array(side) for side in zip(*pairs, strict=True))
    d = x[first] - x[second]
    if rising:
        upper, p = gap_increase_bound(
            x[first], x[second], (moved[first], moved[second]), limit, asked.confidence
        )
        wide = (upper - d.value) / special.ndtri(asked.confidence)
    else:
        upper, p, wide = d.upper(asked.confidence), t_tail(d.df, (limit - d.centre) / d.se), d.se
    out = []
    for k, (i, j) in enumerate(pairs):
        value, n = float(d.value[k]), float(min(x.n[i], x.n[j]))
        rows = min(judged[names[i]], judged[names[j]])
        out.append(
            Bound(
                name,
                limit,
                f"{names[i]} against {names[j]}",
                metric,
                value,
                float(upper[k]),
                float(p[k]),
                n,
                _needed(value, float(wide[k]), n, limit, asked),
                _risk(limit - value, float(d.se[k]) * np.sqrt(n / rows), asked),
            )
        )
    return out


def _needed(value: float, se: float, n: float, limit: float, asked: JudgingPlan) -> int | None:
    return rows_to_decide(value, se, n, limit, asked.confidence) if value < limit else None


def _risk(room: float, se: float, asked: JudgingPlan) -> float:
    """Return −log of the chance that an estimate this far below the limit stays below it by z standard errors."""
    return -float(special.log_ndtr(room / se - special.ndtri(asked.confidence)))


def exact_p_value(limit: str, allowed: float, value: float, bound: float | None = None) -> Bound:
    """Return the bound of what is measured and not estimated from rows: bytes, latency."""
    reach = value if bound is None else bound
    kept = reach <= allowed
    what = limit.removeprefix("max_")
    return Bound(
        limit, allowed, THE_FILE, what, value, reach, 0.0 if kept else 1.0, 1, None, 0.0 if kept else HOPELESS
    )
