"""What an audit rules out and what it shows: the bounds of the headline, in one metric over all groups."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from fairpress.auditing.cells.cells import Cells
from fairpress.auditing.inference.flip_strata import Key, largest_loss
from fairpress.auditing.judging import JudgedFamily, JudgingRules, cleared_share, simultaneous_lower_bounds
from fairpress.auditing.result import AttributeComparison, GroupComparison, Loss, LossBounds, Pool, Values
from fairpress.core.attribute import Attribute


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
    for group in (overall, *(g for a in attributes for g in a.groups)):
        if group.losses[i].assessed:
            yield _Candidate(group.values, group.losses[i])
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
    """Return the largest simultaneous lower bound and the group that has it; None where it is not above 0.

    Where losses are tested exactly, the bound is that of `flip_strata.largest_loss`, which is at least as large as
    Bonferroni's.
    """
    lower = simultaneous_lower_bounds(family, name, metric, rules.confidence)
    best: tuple[float, Values] | None = None
    for attribute, groups in (("", (overall,)), *((a.attribute, a.groups) for a in attributes)):
        for group, bound in zip(groups, lower[Attribute.from_text(attribute)], strict=True):
            if np.isfinite(bound) and (best is None or bound > best[0]):
                best = float(bound), group.values
    if best is None:
        return None, None
    bound, values = best
    if family.exact and any(
        _is_shown(family, key, rules) for key in family.judged if key[::2] == (name, metric)
    ):
        bound = max(bound, largest_loss(cells, baseline, [name], list(lower), metric, rules.confidence))
    return (bound, values) if bound > 0 else (None, None)


def _is_shown(family: JudgedFamily, key: Key, rules: JudgingRules) -> bool:
    with np.errstate(invalid="ignore"):
        return bool((family.judged[key].p_loss_adjusted < 1 - rules.confidence).any())
