"""Sentences that report the findings of an audit."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from fairpress.auditing.class_result import ClassBound, ClassComparison
from fairpress.auditing.measure import CLASS_MEASURES, Measure, measure_of
from fairpress.auditing.result import Flips, GroupComparison, Loss, LossBounds, Margin, Pool, Values, Verdict

ERROR_NAME: Mapping[str, str] = {metric: measure.name for metric, measure in CLASS_MEASURES.items()}
"""Judged metric → the error whose rise is its loss."""
DENOMINATOR: Mapping[str, str] = {"tpr": "positives", "fpr": "negatives"}
MAX_NAMES = 12
MANY_ERRORS, FEW_ERRORS = 10, 4
"""More errors than these are not all named in a sentence; how many of them are."""


def group_name(values: Values) -> str:
    """Return the name of a group for reports: ``sex = Female and race = Asian``."""
    return " and ".join(f"{k} = {v}" for k, v in values.items()) if values else "everybody"


def verdict_sentence(values: Values, flips: Flips) -> str:
    """Return the changes of a group as people per 1,000."""
    people = f"people with {group_name(values)}" if values else "people"
    lost, gained = (per_thousand(x, flips.n) for x in (flips.right_to_wrong, flips.wrong_to_right))
    return f"Of 1,000 {people}, {lost:.0f} lose a correct answer and {gained:.0f} gain one."


def per_thousand(count: float, n: float) -> float:
    """Return how many of 1,000 a count of n is, without the rounding errors of means over seeds: they decide no half."""
    return round(1000 * count / n, 9)


def name_groups(names: Sequence[str]) -> str:
    """Return the names as a list in text; of many, only the first."""
    more = f" and {len(names) - MAX_NAMES:,} more" if len(names) > MAX_NAMES else ""
    return ", ".join(names[:MAX_NAMES]) + more


def lacks_rows(group: GroupComparison) -> bool:
    """Return whether a group has too few rows in at least one of the judged metrics."""
    return any(x.verdict == "not_estimable" for x in (*group.losses, *group.class_losses))


def metric_name(metric: str) -> str:
    """Return the error that a metric is judged by: ``accuracy`` is judged by the error rate, ``tpr`` by false negatives."""
    return measure_of(metric).name


def who(group: Values | Pool) -> str:
    """Return the name of a group, or of a pool with its members."""
    if isinstance(group, Pool):
        return f"the {len(group.members):,} small groups of {group.attribute} together"
    return group_name(group)


def points(value: float) -> str:
    """Format a share as percentage points with one decimal, with a true minus sign."""
    rounded = round(100 * value, 1) + 0.0
    return f"{rounded:.1f}".replace("-", "−")


def points_up(value: float) -> str:
    """Format an upper bound in percentage points, rounded up: a bound above the margin is never shown as the margin."""
    return f"{math.ceil(round(1000 * value, 9)) / 10:.1f}".replace("-", "−")


def points_down(value: float) -> str:
    """Format a lower bound in percentage points, rounded down; with more decimals if a positive one would be 0."""
    scale = next((d for d in (1, 2, 3) if value <= 0 or value * 10 ** (d + 2) >= 1), 3)
    factor = 10**scale
    return f"{math.floor(round(100 * factor * value, 9)) / factor:.{scale}f}".replace("-", "−")


def headline(
    verdict: Verdict,
    groups: Sequence[GroupComparison],
    bounds: Sequence[LossBounds],
    confidence: float,
    pools: Sequence[Pool] = (),
    void: str | None = None,
    classes: ClassComparison | None = None,
) -> str:
    """Return the sentences of `headline_sentences` as one text."""
    return " ".join(headline_sentences(verdict, groups, bounds, confidence, pools, void, classes))


def headline_sentences(
    verdict: Verdict,
    groups: Sequence[GroupComparison],
    bounds: Sequence[LossBounds],
    confidence: float,
    pools: Sequence[Pool] = (),
    void: str | None = None,
    classes: ClassComparison | None = None,
) -> tuple[str, ...]:
    """Return what is ruled out and for whom, who was not assessed, and what is shown, the most important sentence first.

    `bounds` has one entry per metric, that of the deciding metric first; `groups` and `pools` are those of all attributes.
    """
    deciding = bounds[0]
    lacking = _not_assessed(groups, deciding.metric, pools)
    if verdict == "void":
        parts = [f"Void: {void} No verdict by group has a meaning here.", _sentence(lacking)]
    else:
        parts = [
            _ruled_out(deciding, confidence, lacking),
            shown_sentence(bounds),
            _cleared(deciding),
            _others(bounds),
            "" if classes is None else class_sentence(classes),
        ]
    parts.append(_pooled(deciding.metric, pools))
    if void is not None and verdict != "void":
        parts.append(void)
    return tuple(filter(None, parts))


def _ruled_out(bound: LossBounds, confidence: float, lacking: str) -> str:
    """Return the sentence with X: the largest loss that is not ruled out, the largest estimate, and who was not assessed."""
    m = bound.measure
    if bound.upper is None or bound.upper_group is None:
        return f"Too few rows for any verdict by group{_clause(lacking)}."
    start = f"With {100 * confidence:g} % confidence, the {m.name} of no assessed group {m.rises}"
    if bound.upper > 0:
        start += f" by more than {m.rounded_up(bound.upper)}{m.suffix} ({who(bound.upper_group)})"
    e = bound.largest
    if e is not None and e.value is not None and bound.largest_group is not None:
        n = f"n = {e.n:,.0f}"
        same = bound.largest_group == bound.upper_group and bound.upper > 0
        whose = f"in the same group ({n})" if same else f"({who(bound.largest_group)}, {n})"
        span = f" [{m.plain(e.low)}, {m.plain(e.high)}]" if e.low is not None and e.high is not None else ""
        start += f"; the largest estimate is {m.plain(e.value)}{span} {whose}"
    return f"{start}{_clause(lacking)}."


def shown_sentence(bounds: Sequence[LossBounds]) -> str:
    """Return the sentence with Y: the largest losses that are shown, by error, once per group."""
    text = shown_text(bounds, between="; for ")
    return f"Shown to {bounds[0].measure.rise} for {text}." if text else ""


def shown_text(bounds: Sequence[LossBounds], between: str = "; ") -> str:
    """Return the groups with a shown loss and by how much at least; empty if there are none."""
    shown: dict[str, list[str]] = {}
    known = [b for b in bounds if b.lower is not None and b.lower_group is not None]
    named = foremost(known, lambda b: b.lower or 0.0)
    for b in named:
        if b.lower is not None and b.lower_group is not None:
            shown.setdefault(who(b.lower_group), []).append(
                f"{b.measure.name} by at least {b.measure.rounded_down(b.lower)}"
            )
    if not shown:
        return ""
    m = bounds[0].measure
    texts = [f"{whose}: {', '.join(errors)}{m.brief_suffix}" for whose, errors in shown.items()]
    more = f"; and in {len(known) - len(named):,} more errors, by less" if len(known) > len(named) else ""
    return f"{between.join(texts)}{more}"


def foremost(bounds: Sequence[LossBounds], size: Callable[[LossBounds], float]) -> list[LossBounds]:
    """Return bounds to be named in a sentence, in their order: all, or of more than `MANY_ERRORS` the largest few."""
    if len(bounds) <= MANY_ERRORS:
        return list(bounds)
    largest = sorted(bounds, key=lambda b: -size(b) / b.margin.value)[:FEW_ERRORS]
    return [b for b in bounds if b in largest]


def class_sentence(classes: ClassComparison) -> str:
    """Return the sentence on the recall of single classes."""
    return f"Recall of single classes: {class_text(classes)}."


def class_text(classes: ClassComparison) -> str:
    """Return what is shown and what is open in the recall of single classes, and for how many pairs it could be judged."""

    def whose(bound: ClassBound) -> str:
        return f"{bound.name or 'the rare classes together'}, {group_name(bound.values)}"

    parts = []
    if classes.lower is not None:
        low = classes.lower
        parts.append(f"shown to fall by at least {points_down(low.value)} points ({whose(low)})")
    if classes.upper is not None:
        up = classes.upper
        parts.append(
            f"not ruled out up to {points_up(up.value)} points ({whose(up)})"
            if up.value > 0
            else "no fall in any assessed class"
        )
    parts.append(
        f"a fall above the margin is ruled out in {classes.cleared:,} of {classes.cells:,} pairs of class and group, of "
        f"which {classes.assessed:,} have enough rows"
    )
    return "; ".join(parts)


def _cleared(bound: LossBounds) -> str:
    if bound.upper is None:
        return ""
    share, limit = percent(bound.cleared), margin_text(bound.margin, bound.measure)
    return f"A {bound.measure.rise} above {limit} is ruled out for {share} of the people, in every group they belong to."


def _others(bounds: Sequence[LossBounds]) -> str:
    """Return the sentence on the errors that do not decide: they are never hidden."""
    text = others_text(bounds)
    return f"Other errors: {text}." if text else ""


def others_text(bounds: Sequence[LossBounds]) -> str:
    """Return how far the errors that do not decide can have risen; empty if there are none."""
    unknown = [b.measure.name for b in bounds[1:] if b.upper is None]
    parts = [f"too few rows in every group for the {' and the '.join(unknown)}"] if unknown else []
    known = [b for b in bounds[1:] if b.upper is not None]
    named = foremost(known, lambda b: b.upper or 0.0)
    for b in named:
        m = b.measure
        if b.upper is None or b.upper_group is None:
            continue
        if b.upper <= 0:
            parts.append(f"no {m.rise} of the {m.name}")
            continue
        whose = "" if b.upper_group == bounds[0].upper_group else f" ({who(b.upper_group)})"
        start = "" if is_cleared(b) else "open up to "
        parts.append(f"{m.name} {start or 'at most '}{m.rounded_up(b.upper)}{m.brief_suffix}{whose}")
    if len(known) > len(named):
        parts.append(f"the other {len(known) - len(named):,} less")
    return "; ".join(parts)


def is_cleared(bound: LossBounds) -> bool:
    """Return whether a loss above the margin is ruled out in every assessed group and pool.

    A relative margin differs from group to group, so that only all people's being cleared shows it.
    """
    if bound.upper is None:
        return False
    return bound.cleared >= 1 if bound.margin.relative else bound.upper < bound.margin.value


def percent(share: float) -> str:
    """Format a share in percent; 100 and 0 only where it is all or nothing."""
    if 0 < share < 1:
        share = min(max(share, 0.001), 0.999)
    return f"{100 * share:.3g} %"


def margin_text(margin: Margin, measure: Measure = CLASS_MEASURES["accuracy"]) -> str:
    """Return a margin for reports: ``2 points``, ``0.25 years`` or ``5 % of the baseline's``."""
    if margin.relative:
        return f"{100 * margin.value:g} % of the baseline's"
    return measure.exact(margin.value)


TOO_FEW_PEOPLE = "too few people"
"""Why a group is not assessed, unless it has no level at all."""


def not_assessed(
    groups: Sequence[GroupComparison], metric: str, pools: Sequence[Pool]
) -> list[GroupComparison]:
    """Return the groups without a verdict in a metric: too few rows, alone and in no pool. A shown loss is a verdict."""
    pooled = [dict(m) for p in pools if p.loss.metric == metric for m in p.members]
    return [
        g
        for g in groups
        if not loss_in(g, metric).assessed
        and loss_in(g, metric).verdict not in ("harm", "loss")
        and dict(g.values) not in pooled
    ]


def _not_assessed(groups: Sequence[GroupComparison], metric: str, pools: Sequence[Pool]) -> str:
    text = reasons_text(not_assessed(groups, metric, pools), metric)
    return f"not assessed, {text}" if text else ""


def reasons_text(lacking: Sequence[GroupComparison], metric: str) -> str:
    """Return why groups are not assessed in a metric, and which with how many rows; empty without any."""
    return "; ".join(
        f"{why}: {name_groups([_name_with_rows(g, metric) for g in unclear])}"
        for why, unclear in by_reason(lacking, metric).items()
    )


def by_reason(lacking: Sequence[GroupComparison], metric: str) -> dict[str, list[GroupComparison]]:
    """Return the groups that are not assessed, by the reason: too few people, or nothing that an outcome is a share of."""
    reasons: dict[str, list[GroupComparison]] = {}
    for group in lacking:
        loss = loss_in(group, metric)
        without = loss.outcome_measure is not None and not loss.estimate.estimable and group.n >= 2
        reasons.setdefault(
            loss.estimate.reason if without and loss.estimate.reason else TOO_FEW_PEOPLE, []
        ).append(group)
    return reasons


def _pooled(metric: str, pools: Sequence[Pool]) -> str:
    """Return the sentence that names the members of the pools of a metric."""
    text = pooled_text(metric, pools)
    return f"Judged only together, too few people alone: {text}." if text else ""


def pooled_text(metric: str, pools: Sequence[Pool]) -> str:
    """Return the members of the pools of a metric, and how many people they have; empty without a pool."""
    texts = [
        f"{pool.attribute}: {name_groups([' · '.join(m.values()) for m in pool.members])}"
        f" ({pool.loss.estimate.n:,.0f} {DENOMINATOR.get(metric, 'people')})"
        for pool in pools
        if pool.loss.metric == metric
    ]
    return "; ".join(texts)


def _clause(text: str) -> str:
    return f"; {text}" if text else ""


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}." if text else ""


def loss_in(group: GroupComparison, metric: str) -> Loss:
    """Return the loss of a group in a metric."""
    return next(x for x in group.losses if x.metric == metric)


def deciding_loss(group: GroupComparison) -> Loss:
    """Return the loss behind a group's verdict: that of the deciding metric, else the largest that has the same verdict.

    A "loss" or "harm" can come from a metric that does not decide (`rules.group_verdicts`).
    """
    first = group.losses[0]
    if first.verdict == group.verdict:
        return first
    same = [
        x
        for x in (*group.losses, *group.class_losses)
        if x.verdict == group.verdict and x.estimate.value is not None
    ]
    return max(same, key=lambda x: x.estimate.value or 0.0, default=first)


def _name_with_rows(group: GroupComparison, metric: str) -> str:
    """Return a group with its rows and those of the metric: ``sex = Female (461, of which 68 negatives)``."""
    rows = f"{group.n:,.0f}"
    if metric in DENOMINATOR:
        rows += f", of which {loss_in(group, metric).estimate.n or 0:,.0f} {DENOMINATOR[metric]}"
    return f"{group_name(group.values)} ({rows})"
