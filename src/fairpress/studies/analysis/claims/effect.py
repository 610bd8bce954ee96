"""From the arrays of a claim to its effect with interval and test."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from fairpress.auditing.statistics.max_contrasts import MaxContrasts, Term
from fairpress.auditing.statistics.paired_seeds import hedges_g_z, sign_flip_test
from fairpress.auditing.statistics.t_estimate import Floats
from fairpress.auditing.statistics.two_way_contrasts import CrossedProducts
from fairpress.core.estimate import Estimate
from fairpress.studies.analysis.claims.arrays import ClaimArrays, NotEstimable
from fairpress.studies.config.claims import Claim
from fairpress.studies.planning.claim_trials import ClaimTrials

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class MeasuredEffect:
    """What the trials say of a claim.

    Attributes
    ----------
    effect
        The weighted sum of the quantity, or the share recovered, with its interval; or why there is none.
    p
        Two-sided, of effect = `than`: the larger of the test over seeds × rows and the sign-flip test over networks.
    smallest_p
        What the sign-flip test cannot undercut with so many networks.
    per_seed
        Pairs of networks that one more seed adds to it.
    size
        Hedges' g_z over these pairs.
    above
        Whether the effect is above `than`.
    seeds, networks, rows
        What it rests on.
    """

    effect: Estimate
    p: float | None = None
    smallest_p: float = 1.0
    per_seed: int = 1
    size: Estimate | None = None
    above: bool = False
    seeds: int = 0
    networks: int = 0
    rows: int = 0
    groups: tuple[str, ...] = ()


def measure_effect(
    claim: Claim,
    found: ClaimTrials,
    tables: Mapping[str, pa.Table],
    *,
    positive: str | None,
    people: bool,
    folds: int,
    confidence: float,
) -> MeasuredEffect:
    """Return what the trials say.

    Parameters
    ----------
    tables
        Label of a part → its joined predictions on the seeds that are complete, sorted by seed and row.
    people
        Some have several rows and are the unit.
    """
    made = ClaimArrays(claim, found, tables, positive)
    counts = {
        "seeds": made.seeds,
        "networks": made.seeds * folds * len({*found.effect, *found.lost}),
        "rows": made.rows,
    }
    try:
        sums, effect, lost = made.terms(people)
        if claim.recovers is not None:
            return _recovered(claim, sums, effect, lost, made, confidence, counts)
        theta = MaxContrasts(sums, effect)
        low, high = theta.interval(confidence)
        value = theta.value
        method = "crossed-extremes" if made.seeds > 1 else "extremes"
        estimate = Estimate(value, min(low, value), max(high, value), made.rows, method)
        return _tested(theta, claim.than, estimate, made, confidence, counts)
    except NotEstimable as why:
        return MeasuredEffect(Estimate.not_estimable(str(why), made.rows), **counts, groups=made.names)


def _tested(
    theta: MaxContrasts,
    bound: float,
    estimate: Estimate,
    made: ClaimArrays,
    confidence: float,
    counts: Mapping[str, int],
) -> MeasuredEffect:
    units, per_seed = made.units(theta)
    p, smallest, size = effect_over_networks(units, bound, made.seeds, confidence)
    both = max(theta.p_two_sided(bound), p) if p is not None else None
    above = theta.value > bound
    return MeasuredEffect(estimate, both, smallest, per_seed, size, above, **counts, groups=made.names)


def effect_over_networks(
    units: Floats, bound: float, seeds: int, confidence: float
) -> tuple[float | None, float, Estimate]:
    """Return the sign-flip test of mean = bound over pairs of networks, its smallest p, and g_z; one seed tests nothing."""
    n = len(units)
    if seeds < 2:
        return None, 1.0, Estimate.not_estimable("one seed", n)
    test = sign_flip_test(units - bound, np.random.default_rng(0))
    size = Estimate.not_estimable("all networks agree", n)
    found = hedges_g_z(units - bound, confidence)
    if np.isfinite(found.value):
        size = Estimate(float(found.value), float(found.low), float(found.high), n, "hedges-g-z")
    return float(test.p), test.smallest, size


def _recovered(
    claim: Claim,
    sums: CrossedProducts,
    won: Sequence[Term],
    lost: Sequence[Term],
    made: ClaimArrays,
    confidence: float,
    counts: Mapping[str, int],
) -> MeasuredEffect:
    """Return the share of what was lost that is won back: N/D, tested as N − r·D; Fieller's way to an interval."""
    assert claim.recovers is not None
    loss = MaxContrasts(sums, lost)
    if loss.interval(confidence)[0] <= 0:
        raise NotEstimable("nothing is shown to be lost, so that nothing can be won back")

    def over(share: float) -> MaxContrasts:
        less = [replace(t, coefficient=-share * t.coefficient) for t in lost]
        return MaxContrasts(sums, _merged([*won, *less]))

    value = over(0.0).value / loss.value
    low = _crossing(lambda r: over(r).interval(confidence)[0] > 0, value, -1)
    high = _crossing(lambda r: over(r).interval(confidence)[1] >= 0, value, 1)
    estimate = Estimate(value, min(low, value), max(high, value), made.rows, "fieller")
    told = _tested(over(claim.recovers), 0.0, estimate, made, confidence, counts)
    least = loss.p_two_sided(0.0)
    return replace(told, p=None if told.p is None else max(told.p, least))


def _crossing(holds: object, start: float, sign: int) -> float:
    """Return where a monotone statement on the share stops holding, from the estimate outwards, at most 8 away."""
    assert callable(holds)
    inside, outside = start, start + sign * 8
    for _ in range(20):
        middle = (inside + outside) / 2
        # Going down the lower bound of N − rD rises above 0; going up the upper bound falls below it.
        stays = holds(middle) if sign > 0 else not holds(middle)
        inside, outside = (middle, outside) if stays else (inside, middle)
    return outside


def _merged(terms: Sequence[Term]) -> list[Term]:
    """Add the coefficients of terms that are the same, so that they are estimated once."""
    found: list[Term] = []
    for term in terms:
        for i, other in enumerate(found):
            if term.candidates is other.candidates:
                found[i] = replace(other, coefficient=other.coefficient + term.coefficient)
                break
        else:
            found.append(term)
    return [t for t in found if abs(t.coefficient) > 1e-12]


def seeds_needed(per_seed: int, alpha: float) -> int:
    """Return with how many seeds the sign-flip test could reach alpha, if all networks agreed."""
    return max(2, math.ceil(math.log2(2 / alpha) / per_seed))
