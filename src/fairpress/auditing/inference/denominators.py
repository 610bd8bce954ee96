"""The size of a metric's denominator in each group, from labels, weights and people alone."""

from __future__ import annotations

import numpy as np

from fairpress.auditing.cells.grouping import Grouping
from fairpress.auditing.inference.group_estimator import GroupEstimator, per_group
from fairpress.auditing.statistics.t_estimate import Floats


def denominator_sizes(evidence: GroupEstimator, metric: str, grouping: Grouping) -> Floats:
    """Return the effective number of rows [groups] in the denominator of a judged metric.

    Rows without weights and repeats. Weighted rows count as (Σw)²/Σw² rows (Kish, *Survey Sampling*, 1965, §11.7), rows
    that belong to people as (Σm)²/Σm² people, with m the weight of a person: a lower bound, since several rows of a person
    are worth at least one. No prediction is read, so that the groups that are assessed do not depend on any model.
    """
    cells, groups = evidence.cells, grouping.size
    lines = evidence.one_run  # a row has the same label and weight under every seed
    inside = cells.rows_in(metric)[lines]
    weight, index = cells.weight[lines][inside], grouping.index[lines][inside]
    total = per_group(weight, index, groups)
    if evidence.plain:
        return total
    if "subject" in cells.keys:
        person = cells.keys["subject"][lines][inside]
        entry, entry_index = np.unique(person * groups + index, return_inverse=True)
        squares = per_group(per_group(weight, entry_index, len(entry)) ** 2, entry % groups, groups)
    else:
        squares = per_group(cells.weight_squares[lines][inside], index, groups)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.nan_to_num(np.where(squares > 0, total**2 / squares, 0.0))
