"""Sentences that report the findings of an audit."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from fairpress.auditing.result import Flips, GroupComparison, Loss, LossBounds, Margin, Pool, Values, Verdict

ERROR_NAME: Mapping[str, str] = {
    "accuracy": "error rate",
    "tpr": "false negative rate",
    "fpr": "false positive rate",
}
"""Judged metric → the error whose rise is its loss."""
_DENOMINATOR = {"tpr": "positives", "fpr": "negatives"}
MAX_NAMES = 12


def group_name(values: Values) -> str:
    """Return the name of a group for reports: ``sex = Female and race = Asian``."""
    return " and ".join(f"{k} = {v}" for k, v in values.items()) if values else "everybody"


def verdict_sentence(values: Values, flips: Flips) -> str:
    """Return the changes of a group as people per 1,000."""
    people = f"people with {group_name(values)}" if values else "people"
    lost, gained = (round(1000 * x / flips.n) for x in (flips.right_to_wrong, flips.wrong_to_right))
    return f"Of 1,000 {people}, {lost} lose a correct answer and {gained} gain one."


def name_groups(names: Sequence[str]) -> str:
    """Return the names as a list in text; of many, only the first."""
    more = f" and {len(names) - MAX_NAMES:,} more" if len(names) > MAX_NAMES else ""
    return ", ".join(names[:MAX_NAMES]) + more


def lacks_rows(group: GroupComparison) -> bool:
    """Return whether a group has too few rows in at least one of the judged metrics."""
    return any(x.verdict == "not_estimable" for x in group.losses)


def metric_name(metric: str) -> str:
    """Return the error that a metric is judged by: ``accuracy`` is judged by the error rate, ``tpr`` by false negatives."""
    return ERROR_NAME[metric]


def who(group: Values | Pool) -> str:
    """Return the name of a group, or of a pool with its members."""
    if isinstance(group, Pool):
        return f"the {len(group.members)} small groups of {group.attribute} together"
    return group_name(group)


def points(value: float) -> str:
    """Format a share as percentage points with one decimal, with a true minus sign."""
    rounded = round(100 * value, 1) + 0.0
    return f"{rounded:.1f}".replace("-", "−")


def points_up(value: float) -> str:
    """Format an upper bound in percentage points, rounded up: one above the margin is never shown as the margin."""
    return f"{math.ceil(round(1000 * value, 9)) / 10:.1f}".replace("-", "−")


def points_down(value: float) -> str:
    """Format a lower bound in percentage points, rounded down."""
    return f"{math.floor(round(1000 * value, 9)) / 10:.1f}".replace("-", "−")


def headline(
    verdict: Verdict,
    groups: Sequence[GroupComparison],
    bounds: Sequence[LossBounds],
    confidence: float,
    pools: Sequence[Pool] = (),
    void: str | None = None,
) -> str:
    """Return what is ruled out, for whom, what is shown, and who was not assessed, in a few sentences.

    `bounds` has one entry per metric, that of the deciding metric first.
    """
    parts = [f"Void: {void} No verdict by group has a meaning here."] if verdict == "void" else []
    if verdict != "void":
        parts += [
            _ruled_out(bounds[0], confidence),
            _shown(bounds),
            *_cleared(bounds[0]),
            *_others(bounds[1:]),
        ]
    parts += _not_assessed(groups, bounds[0].metric, pools)
    if void is not None and verdict != "void":
        parts.append(void)
    return " ".join(filter(None, parts))


def _ruled_out(bound: LossBounds, confidence: float) -> str:
    error = ERROR_NAME[bound.metric]
    if bound.upper is None:
        return "Too few rows for any verdict by group."
    start = f"With {100 * confidence:g} % confidence, the {error} of no assessed group"
    assert bound.upper_group is not None
    if bound.upper <= 0:
        return f"{start} rises."
    estimate = ""
    if bound.largest is not None and bound.largest.value is not None and bound.largest_group is not None:
        n = f"n = {bound.largest.n:,.0f}"
        estimate = (
            f"; the largest estimate is {points(bound.largest.value)} ({who(bound.largest_group)}, {n})"
        )
    return f"{start} rises by more than {points_up(bound.upper)} percentage points ({who(bound.upper_group)}){estimate}."


def _shown(bounds: Sequence[LossBounds]) -> str:
    shown = [
        f"the {ERROR_NAME[b.metric]} of {who(b.lower_group)} by at least {points_down(b.lower)} points"
        for b in bounds
        if b.lower is not None and b.lower_group is not None
    ]
    return f"Shown to rise: {'; '.join(shown)}." if shown else ""


def _cleared(bound: LossBounds) -> list[str]:
    if bound.upper is None:
        return []
    share = _percent(bound.cleared)
    return [
        f"A rise above {margin_text(bound.margin)} is ruled out for {share} of the people, in every group they belong to."
    ]


def _others(bounds: Sequence[LossBounds]) -> list[str]:
    """Return what the metrics that do not decide leave open: they are never hidden."""
    parts = [
        f"{ERROR_NAME[b.metric]} up to {points_up(b.upper)} points ({who(b.upper_group)})"
        for b in bounds
        if b.upper is not None and b.upper_group is not None
    ]
    unknown = [ERROR_NAME[b.metric] for b in bounds if b.upper is None]
    sentences = [f"Not ruled out: {'; '.join(parts)}."] if parts else []
    return [
        *sentences,
        *([f"Too few rows for the {' and the '.join(unknown)} of any group."] if unknown else []),
    ]


def _percent(share: float) -> str:
    """Format a share in percent; 100 and 0 only where it is all or nothing."""
    if 0 < share < 1:
        share = min(max(share, 0.001), 0.999)
    return f"{100 * share:.3g} %"


def margin_text(margin: Margin) -> str:
    """Return a margin for reports: ``2 points`` or ``5 % of the baseline's``."""
    if margin.relative:
        return f"{100 * margin.value:g} % of the baseline's"
    return f"{100 * margin.value:g} points"


def _not_assessed(groups: Sequence[GroupComparison], metric: str, pools: Sequence[Pool]) -> list[str]:
    """Name the groups that were not assessed: alone in a pool, or not at all."""
    pooled = [dict(m) for p in pools if p.loss.metric == metric for m in p.members]
    lacking = [g for g in groups if not _loss_of(g, metric).assessed and dict(g.values) not in pooled]
    out, pooled_names = [], []
    for pool in pools:
        if pool.loss.metric == metric:
            rows = f"{pool.loss.estimate.n:,.0f} {_DENOMINATOR.get(metric, 'people')}"
            names = name_groups([" · ".join(m.values()) for m in pool.members])
            pooled_names.append(f"{pool.attribute}: {names} ({rows})")
    if pooled_names:
        out.append(f"Judged only together, too few people alone: {'; '.join(pooled_names)}.")
    if lacking:
        out.append(
            f"Not assessed, too few people: {name_groups([_name_with_rows(g, metric) for g in lacking])}."
        )
    return out


def _loss_of(group: GroupComparison, metric: str) -> Loss:
    return next(x for x in group.losses if x.metric == metric)


def _name_with_rows(group: GroupComparison, metric: str) -> str:
    """Return a group with its rows: ``sex = Female (461, of which 68 negatives)``."""
    rows = f"{group.n:,.0f}"
    if metric in _DENOMINATOR:
        rows += f", of which {_loss_of(group, metric).estimate.n or 0:,.0f} {_DENOMINATOR[metric]}"
    return f"{group_name(group.values)} ({rows})"
