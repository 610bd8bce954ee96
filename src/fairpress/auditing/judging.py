"""Judge the losses of compressed models: every group, pool and metric of a family of hypotheses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from fairpress.auditing.cells.cells import Cells
from fairpress.auditing.inference.denominators import denominator_sizes
from fairpress.auditing.inference.flip_strata import loss_p_adjusted
from fairpress.auditing.inference.group_estimator import GroupEstimator, per_group
from fairpress.auditing.inference.relative_margins import tested_relative
from fairpress.auditing.inference.seed_estimator import SeedGroupEstimator
from fairpress.auditing.inference.seed_tests import seed_noise
from fairpress.auditing.metrics.rates import LOSS_SIGN
from fairpress.auditing.model_rates import OVERALL
from fairpress.auditing.result import Margin, SeedNoise
from fairpress.auditing.statistics.t_estimate import Floats, TEstimate
from fairpress.auditing.verdicts.eligibility import Eligibility, eligible
from fairpress.auditing.verdicts.multiplicity import CORRECTIONS
from fairpress.auditing.verdicts.rules import Tested, Verdicts, judge, judge_excess, tested

T = TypeVar("T")
Key = tuple[str, str, str]
"""Compressed model, attribute (``""`` for everybody), metric."""


@dataclass(frozen=True)
class JudgingRules:
    """How losses are judged, fixed before any prediction is looked at.

    Attributes
    ----------
    metrics
        The judged metrics, first the one that decides.
    margins, min_rows
        Metric → margin, and rows of its denominator that a group needs to be assessed.
    correction, family
        As in `result.Audit`.
    """

    metrics: tuple[str, ...]
    margins: Mapping[str, Margin]
    min_rows: Mapping[str, int]
    confidence: float = 0.95
    correction: str = "westfall-young"
    family: str = "artifact"


@dataclass(frozen=True)
class JudgedFamily:
    """The hypotheses about some artifacts that are corrected together, and their verdicts.

    `losses`, `flip_shares`, `excess`, `margins` hold arrays over the groups of an attribute; `pools` the verdict of the pool of
    small groups, where there is one, as arrays of one entry. `margins` are absolute: a relative one is multiplied by the
    baseline's error in each group.
    """

    losses: Mapping[Key, TEstimate]
    flip_shares: Mapping[Key, Floats]
    margins: Mapping[Key, Floats]
    judged: Mapping[Key, Verdicts]
    eligibility: Mapping[Key, Eligibility]
    pool_losses: Mapping[Key, TEstimate]
    pool_flip_shares: Mapping[Key, Floats]
    pool_margins: Mapping[Key, Floats]
    pools: Mapping[Key, Verdicts]
    excess: Mapping[Key, TEstimate]
    excess_adjusted: Mapping[Key, Floats]
    noise: Mapping[Key, list[SeedNoise | None]]


def eligibility_of(
    evidence: GroupEstimator, attributes: Sequence[str], rules: JudgingRules
) -> dict[tuple[str, str], Eligibility]:
    """Return which groups are assessed, by attribute and metric. Predictions are not read."""
    out = {}
    for attribute in (OVERALL, *attributes):
        values, index = evidence.cells.groups(attribute)
        for metric in rules.metrics:
            sizes = denominator_sizes(evidence, metric, index, len(values))
            out[attribute, metric] = eligible(sizes, rules.min_rows[metric])
    return out


def judge_family(
    evidence: GroupEstimator,
    baseline: str,
    names: Sequence[str],
    attributes: Sequence[str],
    rules: JudgingRules,
) -> JudgedFamily:
    """Judge all rows, every group and every pool of some artifacts; all rows together count as one more group."""
    cells = evidence.cells
    selection = eligibility_of(evidence, attributes, rules)
    family: dict[Key, Tested] = {}
    pools: dict[Key, Tested] = {}
    shares: dict[Key, Floats] = {}
    pool_shares: dict[Key, Floats] = {}
    pool_margins: dict[Key, Floats] = {}
    margins: dict[Key, Floats] = {}
    excess: dict[Key, TEstimate] = {}
    seeds: dict[Key, Floats] = {}
    for name in names:
        for attribute in (OVERALL, *attributes):
            values, index = cells.groups(attribute)
            k = len(values)
            for metric in rules.metrics:
                key, query = (name, attribute, metric), (name, baseline, metric)
                chosen = selection[attribute, metric]
                family[key], shares[key], margins[key] = _test(evidence, query, index, k, chosen.assessed, rules)
                if chosen.pool:
                    pooled, pool_share, pool_margin = _test(
                        evidence, query, chosen.pooled_index(index), k + 1, np.ones(k + 1, bool), rules
                    )
                    pools[key], pool_shares[key] = _last(pooled), pool_share[-1:]
                    pool_margins[key] = pool_margin[-1:]
                if attribute != OVERALL:
                    excess[key] = evidence.excess(*query, index, k)
                if isinstance(evidence, SeedGroupEstimator):
                    seeds[key] = evidence.per_seed(*query, index, k) * LOSS_SIGN[metric]
    adjust = CORRECTIONS[rules.correction]
    everything: dict[tuple[str, ...], Tested] = {**_by_tuple(family), **{(*key, "pool"): x for key, x in pools.items()}}
    judged = judge(everything, rules.confidence, adjust, _exact(evidence, baseline, names, attributes, rules, pools))
    return JudgedFamily(
        {key: x.loss for key, x in family.items()},
        shares,
        margins,
        {key: judged[key] for key in family},
        {(name, a, m): e for (a, m), e in selection.items() for name in names},
        {key: x.loss for key, x in pools.items()},
        pool_shares,
        pool_margins,
        {key: judged[(*key, "pool")] for key in pools},
        excess,
        judge_excess(excess, rules.confidence, adjust)[1],
        seed_noise(seeds, rules.confidence, adjust),
    )


def _exact(
    evidence: GroupEstimator,
    baseline: str,
    names: Sequence[str],
    attributes: Sequence[str],
    rules: JudgingRules,
    pools: Mapping[Key, Tested],
) -> dict[tuple[str, ...], Floats] | None:
    """Return the adjusted p-values of the exact joint tests of "loses nothing"; None where the correction takes estimates.

    A pool is not one of the tests: its members are.
    """
    if not is_exact(evidence, rules):
        return None
    adjusted = loss_p_adjusted(evidence.cells, baseline, names, (OVERALL, *attributes), rules.metrics)
    return {**_by_tuple(adjusted), **{(*key, "pool"): np.full(1, np.nan) for key in pools}}


def _by_tuple(values: Mapping[Key, T]) -> dict[tuple[str, ...], T]:
    """Return a mapping that can be joined with one whose keys are longer."""
    return {tuple(key): value for key, value in values.items()}


def is_exact(evidence: GroupEstimator, rules: JudgingRules) -> bool:
    """Return whether losses are tested exactly and jointly: each row counts once, in one run."""
    return rules.correction == "westfall-young" and evidence.plain and not evidence.dependent


def _test(
    evidence: GroupEstimator,
    query: tuple[str, str, str],
    index: np.ndarray,
    groups: int,
    assessed: np.ndarray,
    rules: JudgingRules,
) -> tuple[Tested, Floats, Floats]:
    """Return what judges the losses of one metric, the share of flips, and the absolute margin [groups]."""
    metric = query[2]
    margin = rules.margins[metric]
    change = evidence.change(*query, index, groups)
    loss = change if LOSS_SIGN[metric] > 0 else -change
    flip_share = evidence.flip_share(*query, index, groups)
    if margin.relative:
        return tested_relative(
            evidence, query, index, groups, loss, flip_share, margin.value, rules.confidence, assessed
        )
    absolute = np.full(groups, margin.value)
    return tested(loss, flip_share, margin.value, rules.confidence, assessed), flip_share, absolute


def _last(x: Tested) -> Tested:
    return Tested(x.loss[-1:], x.p_loss[-1:], x.p_harm[-1:], x.upper[-1:], x.cleared[-1:], x.assessed[-1:])


def cleared_share(cells: Cells, family: JudgedFamily, name: str, attributes: Sequence[str], metric: str) -> float:
    """Return the share of the people for whom a loss of their group is ruled out in every attribute.

    A person in a pool is cleared with the pool; a person in a group that is neither assessed nor pooled is not cleared.
    """
    cleared = np.ones(len(cells.label), bool)
    for attribute in attributes:
        values, index = cells.groups(attribute)
        key = (name, attribute, metric)
        by_group = family.judged[key].verdict == "no_harm"
        if key in family.pools:
            by_group = by_group.copy()
            by_group[list(family.eligibility[key].pool)] = family.pools[key].verdict[0] == "no_harm"
        cleared &= by_group[index]
    weight = per_group(cells.weight, cleared.astype(np.int64), 2)
    return float(weight[1] / weight.sum()) if weight.sum() > 0 else 0.0
