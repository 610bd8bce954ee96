"""Estimate the effect of a claim with its interval and test."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

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


Test = Literal["seeds × rows", "seeds", "sign flips"]

SIGN_FLIPS_BELOW = 8
"""With fewer seeds the sign-flip test over pairs of networks must agree, which assumes no distribution of the seeds.

From eight seeds on the test over seeds × rows has its level, and sign flips would add little but their smallest p-value:
over ten seeds 2/2^10, after the correction for thirteen claims .025, which a single dissenting seed makes .10.
"""


@dataclass(frozen=True)
class MeasuredEffect:
    """The measured effect of a claim.

    Attributes
    ----------
    effect
        The weighted sum of the quantity, or the share recovered, with its interval; or the reason why there is none.
    p
        Two-sided p-value of effect = `than` over seeds × rows; below eight seeds the larger of it and that of the
        sign-flip test over networks.
    smallest_p
        The smallest p-value that this number of networks allows: below eight seeds that of the sign-flip test, else 0.
    test
        The test whose p-value `p` is; None without one.
    per_seed
        Pairs of networks that each further seed adds.
    size
        Hedges' g_z over these pairs.
    above
        Whether the effect is above `than`.
    seeds, networks, rows
        Sample sizes.
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
    test: Test | None = None


def measure_effect(
    claim: Claim,
    trials: ClaimTrials,
    tables: Mapping[str, pa.Table],
    *,
    positive: str | None,
    people: bool,
    folds: int,
    confidence: float,
) -> MeasuredEffect:
    """Estimate the effect of a claim.

    Parameters
    ----------
    tables
        Label of a part → its joined predictions on the complete seeds, sorted by seed and row.
    people
        Whether people have several rows and are the clusters.
    """
    arrays = ClaimArrays(claim, trials, tables, positive)
    counts = {
        "seeds": arrays.seeds,
        "networks": arrays.seeds * folds * len({*trials.effect, *trials.lost}),
        "rows": arrays.rows,
    }
    try:
        sums, effect, lost = arrays.terms(people)
        if claim.recovers is not None:
            return _recovered(claim, sums, effect, lost, arrays, confidence, counts)
        theta = MaxContrasts(sums, effect)
        low, high = theta.interval(confidence)
        value = theta.value
        method = "crossed-extremes" if arrays.seeds > 1 else "extremes"
        estimate = Estimate(value, min(low, value), max(high, value), arrays.rows, method)
        return _measured(theta, claim.than, estimate, arrays, confidence, counts)
    except NotEstimable as error:
        return MeasuredEffect(Estimate.not_estimable(str(error), arrays.rows), **counts, groups=arrays.names)


def _measured(
    theta: MaxContrasts,
    bound: float,
    estimate: Estimate,
    arrays: ClaimArrays,
    confidence: float,
    counts: Mapping[str, int],
) -> MeasuredEffect:
    units, per_seed = arrays.units(theta)
    p, smallest, size = effect_over_networks(units, bound, arrays.seeds, confidence)
    above = theta.value > bound
    measured = MeasuredEffect(
        estimate, None, 1.0, per_seed, size, above, **counts, groups=arrays.names, test=None
    )
    if p is None:
        return measured
    return decided(measured, theta.p_two_sided(bound), "seeds × rows", p, smallest)


def decided(
    measured: MeasuredEffect, p: float, test: Test, sign_flip_p: float, smallest_p: float
) -> MeasuredEffect:
    """Return the effect with the p-value that decides: that of `test`, or below eight seeds the larger of the two."""
    if measured.seeds >= SIGN_FLIPS_BELOW:
        return replace(measured, p=p, smallest_p=0.0, test=test)
    if sign_flip_p > p:
        p, test = sign_flip_p, "sign flips"
    return replace(measured, p=p, smallest_p=smallest_p, test=test)


def effect_over_networks(
    units: Floats, bound: float, seeds: int, confidence: float
) -> tuple[float | None, float, Estimate]:
    """Return the p-value of the sign-flip test of mean = bound over pairs of networks, the smallest p-value, and g_z.

    With one seed no test is possible, and the p-value is None.
    """
    n = len(units)
    if seeds < 2:
        return None, 1.0, Estimate.not_estimable("one seed", n)
    test = sign_flip_test(units - bound, np.random.default_rng(0))
    size = Estimate.not_estimable("all networks agree", n)
    effect_size = hedges_g_z(units - bound, confidence)
    if np.isfinite(effect_size.value):
        size = Estimate(
            float(effect_size.value), float(effect_size.low), float(effect_size.high), n, "hedges-g-z"
        )
    return float(test.p), test.smallest, size


def _recovered(
    claim: Claim,
    sums: CrossedProducts,
    won: Sequence[Term],
    lost: Sequence[Term],
    arrays: ClaimArrays,
    confidence: float,
    counts: Mapping[str, int],
) -> MeasuredEffect:
    """Return the recovered share N/D of a loss, tested as N − r·D, with Fieller's interval."""
    assert claim.recovers is not None
    loss = MaxContrasts(sums, lost)
    if loss.interval(confidence)[0] <= 0:
        raise NotEstimable("no loss is demonstrated, so there is nothing to recover")

    def unrecovered(share: float) -> MaxContrasts:
        less = [replace(t, coefficient=-share * t.coefficient) for t in lost]
        return MaxContrasts(sums, _merged([*won, *less]))

    value = unrecovered(0.0).value / loss.value
    low = _confidence_bound(lambda r: unrecovered(r).interval(confidence)[0] > 0, value, -1)
    high = _confidence_bound(lambda r: unrecovered(r).interval(confidence)[1] >= 0, value, 1)
    estimate = Estimate(value, min(low, value), max(high, value), arrays.rows, "fieller")
    measured = _measured(unrecovered(claim.recovers), 0.0, estimate, arrays, confidence, counts)
    loss_p_value = loss.p_two_sided(0.0)
    if measured.p is None or measured.p >= loss_p_value:
        return measured
    return replace(measured, p=loss_p_value, test="seeds × rows")


def _confidence_bound(holds: object, start: float, sign: int) -> float:
    """Return the share, at most 8 from the estimate, at which a monotone condition stops holding."""
    assert callable(holds)
    inside, outside = start, start + sign * 8
    for _ in range(20):
        middle = (inside + outside) / 2
        # Going down the lower bound of N − rD rises above 0; going up the upper bound falls below it.
        stays = holds(middle) if sign > 0 else not holds(middle)
        inside, outside = (middle, outside) if stays else (inside, middle)
    return outside


def _merged(terms: Sequence[Term]) -> list[Term]:
    """Add the coefficients of equal terms, so that each is estimated once."""
    merged: list[Term] = []
    for term in terms:
        for i, existing in enumerate(merged):
            if term.candidates is existing.candidates:
                merged[i] = replace(existing, coefficient=existing.coefficient + term.coefficient)
                break
        else:
            merged.append(term)
    return [t for t in merged if abs(t.coefficient) > 1e-12]


def seeds_needed(per_seed: int, alpha: float) -> int:
    """Return the number of seeds with which alpha can be reached: all networks agree, or no sign-flip test is needed."""
    return min(SIGN_FLIPS_BELOW, max(2, math.ceil(math.log2(2 / alpha) / per_seed)))
