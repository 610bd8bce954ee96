"""What one simulated setting found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fairpress.auditing.statistics.proportion_intervals import wilson

DELTA = 0.02
Rng = np.random.Generator


@dataclass(frozen=True)
class Found:
    """One simulated setting. `at_least` tells which side of the bound is right; no bound: shown for comparison.

    `simulations` is 0 where all outcomes were enumerated.
    """

    claim: str
    setting: str
    simulations: int
    share: float
    low: float
    high: float
    width: float | None
    bound: float | None
    at_least: bool
    passed: bool | None


def found(
    claim: str,
    setting: str,
    hits: np.ndarray | Sequence[bool],
    bound: float | None = None,
    at_least: bool = True,
    width: float | None = None,
) -> Found:
    """Sum up the hits of one setting."""
    hit = np.asarray(hits, dtype=float)
    low, high = (float(v) for v in wilson(hit.sum(), hit.size))
    passed = None if bound is None else (high >= bound if at_least else low <= bound)
    return Found(claim, setting, hit.size, float(hit.mean()), low, high, width, bound, at_least, passed)


def exact(claim: str, setting: str, error: float, bound: float | None = None) -> Found:
    """Return an error rate that was computed from all outcomes; it must be at most the bound."""
    passed = None if bound is None else error <= bound
    return Found(claim, setting, 0, error, error, error, None, bound, False, passed)
