"""Judge the losses of an outcome: every group and pool, by the rules of every other audit (`verdicts.rules.judge`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from fairpress.auditing.cells.grouping import Grouping
from fairpress.auditing.inference.flip_strata import POOL, Key, PoolKey
from fairpress.auditing.judging import JudgedFamily, JudgingRules, pooled_grouping
from fairpress.auditing.outcomes.evidence import OutcomeEvidence
from fairpress.auditing.statistics.skewed_estimate import SkewedEstimate
from fairpress.auditing.statistics.t_estimate import Floats
from fairpress.auditing.verdicts.eligibility import Eligibility, eligible
from fairpress.auditing.verdicts.multiplicity import CORRECTIONS
from fairpress.auditing.verdicts.rules import Tested, judge, judge_excess
from fairpress.core.attribute import OVERALL, Attribute

MIN_UNITS = 100
"""Rows, or people, that a group needs to be assessed. How many would show "no harm" depends on how much the differences
scatter, which cannot be known before looking; from so many on, the bounds hold for log-normal losses (`skewed_estimate`)."""
MIN_PEOPLE = 30
"""The same where people have several rows: their sums are less skewed than single rows."""
MIN_TESTED, MIN_PEOPLE_TESTED = 50, 20
"""Rows, or people, below which no harm or loss is tested: few values agree by chance, or lack their tail."""


def judge_outcome(
    evidence: OutcomeEvidence,
    baseline: str,
    names: Sequence[str],
    attributes: Sequence[Attribute],
    rules: JudgingRules,
) -> JudgedFamily:
    """Judge all rows, every group and every pool of some compressed models; all rows together count as one more group."""
    cells = evidence.table.cells
    eligibility: dict[tuple[Attribute, str], Eligibility] = {}
    for attribute in (OVERALL, *attributes):
        for metric in rules.metrics:
            units = evidence.units(metric, cells.grouping(attribute))
            eligibility[attribute, metric] = eligible(units, rules.min_rows[metric])
    everything: dict[Key | PoolKey, Tested] = {}
    excess: dict[Key, SkewedEstimate] = {}
    for name in names:
        for (attribute, metric), selection in eligibility.items():
            grouping = cells.grouping(attribute)
            query = (name, baseline, metric, grouping)
            key = (name, attribute, metric)
            everything[key] = _tested(evidence, query, rules, selection.assessed)
            if selection.pool:
                pooled = (name, baseline, metric, pooled_grouping(grouping, selection))
                assessed = np.ones(grouping.size + 1, bool)
                everything[(*key, POOL)] = _tested(evidence, pooled, rules, assessed)[-1:]
            if attribute != OVERALL:
                x = evidence.excess(*query)
                few = x.effective_n < _tested_from(evidence, rules, metric)
                excess[key] = replace(x, se=np.where(few, np.nan, x.se))
    adjust = CORRECTIONS[rules.correction]
    judged = judge(everything, rules.confidence, adjust, smallest_p=_any_p)
    keys = [(name, attribute, metric) for name in names for attribute, metric in eligibility]
    pool_keys = [key for key in keys if (*key, POOL) in everything]
    return JudgedFamily(
        False,
        eligibility,
        {key: everything[key] for key in keys},
        {key: judged[key] for key in keys},
        {key: everything[(*key, POOL)] for key in pool_keys},
        {key: judged[(*key, POOL)] for key in pool_keys},
        excess,
        judge_excess(excess, rules.confidence, adjust)[1],
        {},
    )


def _tested(
    evidence: OutcomeEvidence,
    query: tuple[str, str, str, Grouping],
    rules: JudgingRules,
    assessed: NDArray[np.bool_],
) -> Tested:
    _, baseline, metric, grouping = query
    margin = rules.margins[metric]
    loss = evidence.loss(*query)
    upper, (low, high) = loss.upper(rules.confidence), loss.interval(rules.confidence)
    margins = np.full(loss.value.shape, margin.value)
    beyond = loss
    limit = margins
    if margin.relative:
        margins = np.abs(margin.value * evidence.level(baseline, metric, grouping).value)
        beyond, limit = evidence.beyond(*query, margin.value), np.zeros(loss.value.shape)
    with np.errstate(invalid="ignore"):
        cleared = loss.estimable & (beyond.upper(rules.confidence) < limit)
    p_harm = beyond.p_above(limit)
    p_loss = loss.p_above(0.0)
    untested = ~loss.estimable | (loss.effective_n < _tested_from(evidence, rules, metric))
    p_loss, p_harm = (np.where(untested, np.nan, p) for p in (p_loss, p_harm))
    return Tested(
        loss,
        np.zeros(loss.value.shape),
        np.nan_to_num(margins),
        assessed,
        p_loss,
        p_harm,
        upper,
        cleared,
        low,
        high,
    )


def _tested_from(evidence: OutcomeEvidence, rules: JudgingRules, metric: str) -> int:
    """Return the units from which harm, loss and excess are tested."""
    return min(MIN_TESTED if evidence.unit is None else MIN_PEOPLE_TESTED, rules.min_rows[metric])


def _any_p(family: Sequence[Tested]) -> Floats:
    """Return the smallest p-values that losses can attain: 0, except in groups that are not tested."""
    return np.concatenate([np.where(np.isnan(x.p_harm), np.nan, 0.0) for x in family])
