"""Adjusted p-values for many tests of one artifact."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fairpress.auditing.statistics.t_estimate import Floats


def holm(p: ArrayLike) -> Floats:
    """Return Holm's step-down adjusted p-values: family-wise error under any dependence (Holm 1979).

    `p` of any shape is one family; NaN entries (nothing to test) stay NaN and do not count.
    """
    return _adjust(p, lambda s: np.maximum.accumulate(s * np.arange(len(s), 0, -1)))


def benjamini_hochberg(p: ArrayLike) -> Floats:
    """Return Benjamini and Hochberg's (1995) adjusted p-values.

    Controls the false discovery rate under positive dependence.
    """
    return _adjust(p, _step_up)


def benjamini_yekutieli(p: ArrayLike) -> Floats:
    """Return Benjamini and Yekutieli's (2001) adjusted p-values: false discovery rate under any dependence.

    Use this one where marginal and intersectional groups overlap.
    """
    return _adjust(p, lambda s: _step_up(s) * (1 / np.arange(1, len(s) + 1)).sum())


CORRECTIONS: dict[str, Callable[[ArrayLike], Floats]] = {
    "westfall-young": holm,
    "holm": holm,
    "bh": benjamini_hochberg,
    "by": benjamini_yekutieli,
}
"""Corrections by name. The first two control the family-wise error rate, the others the false discovery rate.

Westfall and Young's correction is a joint test of the flips (`statistics.westfall_young`), for "loses nothing" alone; the
other tests of its family, and those of weighted rows, repeated people and several seeds, are Holm's.
"""


def reachable(smallest_p: ArrayLike, alpha: float) -> NDArray[np.bool_]:
    """Return which tests of a family could be significant after Holm's correction at all (Tarone, Biometrics 46, 1990).

    `smallest_p` are the smallest p-values that the tests can attain, of any shape; they must be known before the data are
    looked at, for example from numbers of rows. The others need not count in the family: they can never be rejected. NaN is
    never reachable.
    """
    p = np.asarray(smallest_p, float)
    ordered = np.sort(p[~np.isnan(p)])
    tests = np.arange(1, len(ordered) + 1)
    # The smallest K for which at most K tests can reach α/K.
    counts = np.searchsorted(ordered, alpha / tests, side="right")
    enough = np.flatnonzero(counts <= tests)
    if not len(enough):
        return np.zeros(p.shape, bool)
    with np.errstate(invalid="ignore"):
        return np.asarray(p <= alpha / tests[enough[0]])


def _step_up(s: Floats) -> Floats:
    m = len(s)
    return np.asarray(np.minimum.accumulate((s * m / np.arange(1, m + 1))[::-1])[::-1])


def _adjust(p: ArrayLike, step: Callable[[Floats], Floats]) -> Floats:
    values = np.asarray(p, float)
    flat = values.ravel()
    testable = np.flatnonzero(~np.isnan(flat))
    order = testable[np.argsort(flat[testable], kind="stable")]
    out = np.full(flat.shape, np.nan)
    if len(order):
        out[order] = np.minimum(1.0, step(flat[order]))
    return out.reshape(values.shape)
