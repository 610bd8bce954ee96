"""Exact bounds of one proportion, by Clopper and Pearson (Biometrika 26, 1934), with effective rows.

Weights and people divide successes and rows by the design effect (Korn and Graubard, Survey Methodology 24, 1998); the
binomial distribution is continued to such counts by the incomplete beta function.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from fairpress.auditing.statistics import special
from fairpress.auditing.statistics.t_estimate import Floats, TEstimate


def clopper_pearson_lower(rate: TEstimate, confidence: ArrayLike) -> Floats:
    """Return the one-sided lower bound of each proportion; 0 without successes, NaN where there is no estimate.

    The p for which P(Bin(n, p) ≥ x) = 1 − confidence: the beta quantile of 1 − confidence with parameters x and n − x + 1.
    """
    x, failures = _counts(rate)
    bound = special.betaincinv(np.where(x > 0, x, 1.0), failures + 1, 1 - np.asarray(confidence, float))
    return np.where(rate.estimable, np.where(x > 0, bound, 0.0), np.nan)


def clopper_pearson_upper(rate: TEstimate, confidence: ArrayLike) -> Floats:
    """Return the one-sided upper bound of each proportion; 1 without failures, NaN where there is no estimate."""
    x, failures = _counts(rate)
    bound = special.betaincinv(x + 1, np.where(failures > 0, failures, 1.0), np.asarray(confidence, float))
    return np.where(rate.estimable, np.where(failures > 0, bound, 1.0), np.nan)


def p_at_most(rate: TEstimate, limit: ArrayLike) -> Floats:
    """Return the p-values of H₀: proportion ≤ limit, P(Bin(n, limit) ≥ x); it inverts `clopper_pearson_lower`."""
    x, failures = _counts(rate)
    tail = special.betainc(np.where(x > 0, x, 1.0), failures + 1, np.asarray(limit, float))
    return np.where(rate.estimable, np.where(x > 0, tail, 1.0), np.nan)


def _counts(rate: TEstimate) -> tuple[Floats, Floats]:
    """Return effective successes and failures; 0 where there is no estimate."""
    n = np.where(rate.estimable, rate.effective_n, 0.0)
    x = np.where(rate.estimable, rate.value * rate.effective_n, 0.0)
    return x, np.maximum(n - x, 0.0)
