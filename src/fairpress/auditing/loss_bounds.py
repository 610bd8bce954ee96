"""What an audit rules out and what it shows: the bounds of the headline, in one metric over all groups."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from fairpress.auditing.cells.cells import Cells
from fairpress.auditing.inference.flip_strata import Key, loss_lower_bounds
from fairpress.auditing.judging import JudgedFamily, JudgingRules, cleared_share, simultaneous_lower_bounds
from fairpress.auditing.result import AttributeComparison, GroupComparison, Loss, LossBounds, Pool, Values
from fairpress.auditing.statistics.t_estimate import Floats
from fairpress.core.attribute import OVERALL, Attribute


class _Candidate(NamedTuple):
    group: Values | Pool
    loss: Loss


def loss_bounds(
    cells: Cells,
    baseline: str,
    family: JudgedFamily,
    name: str,
    rules: JudgingRules,
    overall: GroupComparison,
    attributes: Sequence[AttributeComparison],
) -> tuple[LossBounds, ...]:
    """Return the bounds of one artifact in each metric, that of the deciding metric first."""
    by = [Attribute.from_text(a.attribute) for a in attributes]
    out = []
    for i, metric in enumerate(rules.metrics):
        candidates = list(_candidates(i, metric, overall, attributes))
        bounded = [c for c in candidates if c.loss.upper is not None]
        highest = max(bounded, key=lambda c: c.loss.upper or 0.0, default=None)
        estimated = [c for c in candidates if c.group != {} and c.loss.estimate.value is not None]
        largest = max(estimated, key=lambda c: c.loss.estimate.value or 0.0, default=None)
        shown, shown_group = _largest_lower(cells, baseline, family, name, metric, rules, overall, attributes)
        out.append(
            LossBounds(
                metric,
                rules.margins[metric],
                None if highest is None else highest.loss.upper,
                None if highest is None else highest.group,
                shown,
                shown_group,
                None if largest is None else largest.loss.estimate,
                None if largest is None else largest.group,
                cleared_share(cells, family, name, by, metric),
            )
        )
    return tuple(out)


def _candidates(
    i: int, metric: str, overall: GroupComparison, attributes: Sequence[AttributeComparison]
) -> Iterator[_Candidate]:
    """Yield the groups and pools that X covers: those that are assessed, and smaller ones with a loss that is shown.

    Without the latter, X could lie below a harm that is shown.
    """
    for group in (overall, *(g for a in attributes for g in a.groups)):
        loss = group.losses[i]
        if loss.assessed or loss.verdict in ("harm", "loss"):
            yield _Candidate(group.values, loss)
    for attribute in attributes:
        for pool in attribute.pools:
            if pool.loss.metric == metric:
                yield _Candidate(pool, pool.loss)


def _largest_lower(
    cells: Cells,
    baseline: str,
    family: JudgedFamily,
    name: str,
    metric: str,
    rules: JudgingRules,
    overall: GroupComparison,
    attributes: Sequence[AttributeComparison],
) -> tuple[float | None, Values | None]:
    """Return the largest simultaneous lower bound of a loss that is shown, and whose it is; None where it is not above 0.

    Only losses whose adjusted p-value shows them count, and a bound is above the margin only where harm is shown, so that it
    never says more than the verdicts, which are corrected over all metrics. Where losses are tested exactly, bounds are also
    those of `flip_strata.loss_lower_bounds`, which know how groups overlap.
    """
    judged = {a: v for (n, a, m), v in family.judged.items() if (n, m) == (name, metric)}
    with np.errstate(invalid="ignore"):
        shown = {a: v.p_loss_adjusted < 1 - rules.confidence for a, v in judged.items()}
    if not any(s.any() for s in shown.values()):
        return None, None
    lower = simultaneous_lower_bounds(family, name, metric, rules.confidence)
    if family.exact:
        dealt = loss_lower_bounds(cells, baseline, [name], list(lower), metric, rules.confidence)
        lower = {a: np.fmax(bound, dealt[name, a, metric]) for a, bound in lower.items()}
    groups = {OVERALL: (overall,)} | {Attribute.from_text(a.attribute): a.groups for a in attributes}
    bounds = [
        (float(stated), float(bound), group.values)
        for attribute, values in groups.items()
        for group, stated, bound, is_shown in zip(
            values,
            _within_verdict(lower[attribute], family, (name, attribute, metric), rules),
            lower[attribute],
            shown[attribute],
            strict=True,
        )
        if is_shown and stated > 0
    ]
    stated, _, whose = max(bounds, key=lambda b: b[:2], default=(None, None, None))
    return stated, whose


def _within_verdict(lower: Floats, family: JudgedFamily, key: Key, rules: JudgingRules) -> Floats:
    """Return lower bounds [groups] that stop at the margin where no loss above it is shown."""
    with np.errstate(invalid="ignore"):
        harm = family.judged[key].p_harm_adjusted < 1 - rules.confidence
    return np.where(harm, lower, np.fmin(lower, family.tested[key].margin))
