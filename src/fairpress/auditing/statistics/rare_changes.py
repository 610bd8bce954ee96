"""What rare changes add to the error of a mean: compression leaves most rows as they are, and few changed rows hide others.

Of 300 rows of which 1 % change, 5 % of samples have none: their differences do not scatter at all, and any t interval is a
point. The bound of Bonett and Price (2012) for classes adds flips that were not seen; the same for numbers: `UNSEEN` changed
units enter the variance of a mean, of the size of those that were seen, fewer the more were seen, none from `ENOUGH` on. The
size is the root mean square distance of changed units from their group's mean, in the group and, as if `BORROWED` of its
units were those of an average group, in all groups; if no row of the table changed, the deviation of the baseline's values.
At the upper bound, three of them are worth the log(20) = 3.0 changes that none seen cannot rule out.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from fairpress.auditing.statistics.skewed_estimate import SkewedEstimate
from fairpress.auditing.statistics.t_estimate import Floats
from fairpress.auditing.statistics.unit_means import UnitSums

UNSEEN = 3.0
ENOUGH = 30
BORROWED = 10


def unseen_variance(s: UnitSums, changed: Floats, otherwise: float = 0.0) -> Floats:
    """Return what unseen changes add to the variance of each group's mean [groups].

    Parameters
    ----------
    changed
        1 for an entry with a row that the models differ in, else 0 [entries].
    otherwise
        The mean square of a change, if nothing changed anywhere.
    """
    n, squares, seen, distances, weights = _sums(s, changed)
    typical = squares / np.where(n > 0, n, 1.0)  # weight of a unit
    borrowed = BORROWED * typical**2
    size = (distances + borrowed * _average(distances, weights, otherwise)) / np.where(
        n > 0, weights + borrowed, 1.0
    )
    return _variance(seen, typical, size, n)


def unseen_variance_of_rest(s: UnitSums, changed: Floats, otherwise: float = 0.0) -> Floats:
    """Return the same for all rows outside each group [groups]."""
    n, squares, seen, distances, weights = _sums(s, changed)
    rest = n.sum() - n
    typical = (squares.sum() - squares) / np.where(rest > 0, rest, 1.0)
    return _variance(
        seen.sum() - seen, typical, np.full(s.groups, _average(distances, weights, otherwise)), rest
    )


def with_variance(x: SkewedEstimate, added: Floats) -> SkewedEstimate:
    """Return estimates with an added variance; the skewness stays that of the units seen, which only widens bounds."""
    return replace(x, se=np.sqrt(x.se**2 + added))


def _sums(s: UnitSums, changed: Floats) -> tuple[Floats, ...]:
    """Return weights, their squares, changed units, and the squared distances and weights of these, of each group."""
    n = s.per_group(s.weight)
    mean = s.per_group(s.total) / np.where(n > 0, n, 1.0)
    distance = s.total - mean[s.group] * s.weight
    return (
        n,
        s.per_group(s.weight**2),
        s.per_group(changed),
        s.per_group(changed * distance**2),
        s.per_group(changed * s.weight**2),
    )


def _average(distances: Floats, weights: Floats, otherwise: float) -> float:
    return float(distances.sum() / weights.sum()) if weights.sum() > 0 else otherwise


def _variance(seen: Floats, typical: Floats, size: Floats, n: Floats) -> Floats:
    unseen = UNSEEN * np.maximum(0.0, 1 - seen / ENOUGH)
    return np.asarray(unseen * size * (typical / np.where(n > 0, n, 1.0)) ** 2)
