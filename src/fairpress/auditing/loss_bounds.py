"""What an audit rules out and what it shows: the bounds of the headline, in one metric over all groups."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from fairpress.auditing.cells.cells import Cells
from fairpress.auditing.judging import JudgedFamily, JudgingRules, cleared_share, simultaneous_lower_bounds
from fairpress.auditing.result import AttributeComparison, GroupComparison, Loss, LossBounds, Pool, Values
from fairpress.core.attribute import Attribute


class _Candidate(NamedTuple):
    group: Values | Pool
    loss: Loss


def loss_bounds(
    cells: Cells,
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
        lower = simultaneous_lower_bounds(family, name, metric, rules.confidence)
        shown, shown_group = _largest_lower(overall, attributes, lower)
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
    overall: GroupComparison, attributes: Sequence[AttributeComparison], lower: Mapping[Attribute, np.ndarray]
) -> tuple[float | None, Values | None]:
    """Return the largest simultaneous lower bound and its group; None where it is not above 0."""
    best: tuple[float, Values] | None = None
    for attribute, groups in (("", (overall,)), *((a.attribute, a.groups) for a in attributes)):
        for group, bound in zip(groups, lower[Attribute.from_text(attribute)], strict=True):
            if bound > 0 and (best is None or bound > best[0]):
                best = float(bound), group.values
    return best if best is not None else (None, None)
