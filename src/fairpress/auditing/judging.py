"""Judge the losses of compressed models: every group, pool and metric of a family of hypotheses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from fairpress.auditing.cells.cells import Cells
from fairpress.auditing.cells.grouping import Grouping
from fairpress.auditing.class_recall import is_class_metric
from fairpress.auditing.inference.denominators import denominator_sizes
from fairpress.auditing.inference.flip_strata import POOL, Key, PoolKey, flip_strata
from fairpress.auditing.inference.group_estimator import GroupEstimator, per_group
from fairpress.auditing.inference.relative_margins import with_relative_margin
from fairpress.auditing.inference.seed_estimator import SeedGroupEstimator
from fairpress.auditing.inference.seed_tests import seed_noise
from fairpress.auditing.metrics.rates import loss_sign
from fairpress.auditing.result import Margin, SeedNoise
from fairpress.auditing.statistics.largest_loss import bonferroni_lower_bounds
from fairpress.auditing.statistics.t_estimate import Floats, TEstimate, concatenate
from fairpress.auditing.verdicts.eligibility import Eligibility, eligible
from fairpress.auditing.verdicts.multiplicity import CORRECTIONS
from fairpress.auditing.verdicts.rules import Tested, Verdicts, by_key, judge, judge_excess, run_tests
from fairpress.core.attribute import OVERALL, Attribute


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
    overall_margin
        The margin of the deciding metric among all people, as a share of them.
    classes
        The recalls of classes that are judged besides (`class_recall`); they can only make a verdict worse.
    """

    metrics: tuple[str, ...]
    margins: Mapping[str, Margin]
    min_rows: Mapping[str, int]
    confidence: float = 0.95
    correction: str = "westfall-young"
    family: str = "artifact"
    overall_margin: float = 0.02
    classes: tuple[str, ...] = ()

    @property
    def tested(self) -> tuple[str, ...]:
        """All metrics that are tested together."""
        return (*self.metrics, *self.classes)


@dataclass(frozen=True)
class JudgedFamily:
    """The hypotheses about some artifacts that are corrected together, and their verdicts.

    `tested` and `judged` have an entry per model, attribute and metric, with arrays over the groups; `pools` and
    `judged_pools` one of a single group where small groups form a pool. `excess` and `excess_adjusted` are the excess
    losses and adjusted p-values of E ≤ 0; `noise` that of training, where runs are stacked.
    `exact` as in `is_exact`.
    """

    exact: bool
    eligibility: Mapping[tuple[Attribute, str], Eligibility]
    tested: Mapping[Key, Tested]
    judged: Mapping[Key, Verdicts]
    pools: Mapping[Key, Tested]
    judged_pools: Mapping[Key, Verdicts]
    excess: Mapping[Key, TEstimate]
    excess_adjusted: Mapping[Key, Floats]
    noise: Mapping[Key, list[SeedNoise | None]]

    @property
    def tests(self) -> int:
        """The number of losses that are tested together: every group, metric and artifact, and all people."""
        return max(1, sum(int(x.loss.estimable.sum()) for x in self.tested.values()))


def eligibility_of(
    evidence: GroupEstimator, attributes: Sequence[Attribute], rules: JudgingRules
) -> dict[tuple[Attribute, str], Eligibility]:
    """Return which groups are assessed, by attribute and metric. Predictions are not read."""
    out = {}
    for attribute in (OVERALL, *attributes):
        for metric in rules.tested:
            sizes = denominator_sizes(evidence, metric, evidence.cells.grouping(attribute))
            selection = eligible(sizes, rules.min_rows[metric])
            if is_class_metric(metric) and not selection.assessed.any():
                selection = replace(selection, pool=())  # all its groups together are everybody
            out[attribute, metric] = selection
    return out


def judge_family(
    evidence: GroupEstimator,
    baseline: str,
    names: Sequence[str],
    attributes: Sequence[Attribute],
    rules: JudgingRules,
) -> JudgedFamily:
    """Judge all rows, every group and every pool of some artifacts; all rows together count as one more group."""
    eligibility = eligibility_of(evidence, attributes, rules)
    queries: dict[Key | PoolKey, tuple[str, str, str, Grouping]] = {}
    for name in names:
        for (attribute, metric), selection in eligibility.items():
            grouping = evidence.cells.grouping(attribute)
            queries[name, attribute, metric] = (name, baseline, metric, grouping)
            if selection.pool:
                pooled = pooled_grouping(grouping, selection)
                queries[name, attribute, metric, POOL] = (name, baseline, metric, pooled)
    everything = _test(evidence, queries, eligibility, rules)
    excess: dict[Key, TEstimate] = {}
    seeds: dict[Key, Floats] = {}
    for name, attribute, metric in _keys(names, eligibility):
        query = queries[name, attribute, metric]
        if attribute != OVERALL:
            excess[name, attribute, metric] = evidence.excess(*query)
        if isinstance(evidence, SeedGroupEstimator):
            seeds[name, attribute, metric] = evidence.per_seed(*query) * loss_sign(metric)
    adjust = CORRECTIONS[rules.correction]
    exact: dict[Key | PoolKey, Floats] | None = None
    if is_exact(evidence, rules):
        pools = {(name, a, m): x.pool for name in names for (a, m), x in eligibility.items() if x.pool}
        flips = flip_strata(evidence.cells, baseline, names, (OVERALL, *attributes), rules.tested)
        strata = flips.with_pools(pools)
        exact = strata.p_adjusted()
        for key, p in strata.p_values().items():
            everything[key] = replace(everything[key], p_loss=p)
    judged = judge(everything, rules.confidence, adjust, exact)
    keys = _keys(names, eligibility)
    excess_adjusted: dict[Key, Floats] = {}
    for metrics in (
        rules.metrics,
        rules.classes,
    ):  # whether groups lose unevenly is about the judged errors alone
        part = {key: x for key, x in excess.items() if key[2] in metrics}
        excess_adjusted |= judge_excess(part, rules.confidence, adjust)[1]
    pool_keys = [key for key in keys if (*key, POOL) in everything]
    return JudgedFamily(
        exact is not None,
        eligibility,
        {key: everything[key] for key in keys},
        {key: judged[key] for key in keys},
        {key: everything[(*key, POOL)] for key in pool_keys},
        {key: judged[(*key, POOL)] for key in pool_keys},
        excess,
        excess_adjusted,
        seed_noise(seeds, rules.confidence, adjust),
    )


def is_exact(evidence: GroupEstimator, rules: JudgingRules) -> bool:
    """Return whether losses are tested exactly and jointly: each row counts once, in one run."""
    return rules.correction == "westfall-young" and evidence.plain and not evidence.dependent


def pooled_grouping(grouping: Grouping, selection: Eligibility) -> Grouping:
    """Return a grouping with the pool of small groups as one more group, after the last, in place of its members."""
    return Grouping(grouping.attribute, (*grouping.values, {}), selection.pooled_index(grouping.index))


def _keys(names: Sequence[str], eligibility: Mapping[tuple[Attribute, str], Eligibility]) -> list[Key]:
    return [(name, attribute, metric) for name in names for attribute, metric in eligibility]


def _test(
    evidence: GroupEstimator,
    queries: Mapping[Key | PoolKey, tuple[str, str, str, Grouping]],
    eligibility: Mapping[tuple[Attribute, str], Eligibility],
    rules: JudgingRules,
) -> dict[Key | PoolKey, Tested]:
    """Return what judges each loss; bounds of all losses are computed together."""
    losses, shares, margins, assessed = [], [], [], []
    for key, query in queries.items():
        metric = query[2]
        loss, share = evidence.change(*query), evidence.flip_share(*query)
        enough = eligibility[key[1], metric].assessed
        if len(key) == 4:
            loss, share, enough = loss[-1:], share[-1:], np.ones(1, bool)
        losses.append(loss if loss_sign(metric) > 0 else -loss)
        shares.append(share)
        margins.append(np.full(len(share), rules.margins[metric].value))
        assessed.append(enough)
    joined = run_tests(
        concatenate(losses),
        np.concatenate(shares),
        np.concatenate(margins),
        rules.confidence,
        np.concatenate(assessed),
    )
    out = by_key(list(queries), [len(share) for share in shares], joined)
    for key, query in queries.items():
        margin = rules.margins[query[2]]
        if margin.relative:
            out[key] = with_relative_margin(
                out[key], evidence, query, margin.value, rules.confidence, last=len(key) == 4
            )
    return out


def cleared_share(
    cells: Cells, family: JudgedFamily, name: str, attributes: Sequence[Attribute], metric: str
) -> float:
    """Return the share of the people for whom a loss of their group is ruled out in every attribute.

    A person in a pool is cleared with the pool, unless the own group is shown to lose; a person in a group that is neither
    assessed nor pooled is not cleared.
    """
    cleared = np.ones(len(cells.label), bool)
    for attribute in attributes:
        key = (name, attribute, metric)
        by_group = family.judged[key].verdict == "no_harm"
        if key in family.judged_pools:
            by_group = by_group.copy()
            pool = list(family.eligibility[attribute, metric].pool)
            shown = np.isin(family.judged[key].verdict[pool], ("harm", "loss"))
            by_group[pool] = (family.judged_pools[key].verdict[0] == "no_harm") & ~shown
        cleared &= by_group[cells.grouping(attribute).index]
    weight = per_group(cells.weight, cleared.astype(np.int64), 2)
    return float(weight[1] / weight.sum()) if weight.sum() > 0 else 0.0


def simultaneous_lower_bounds(
    family: JudgedFamily, name: str, metric: str, confidence: float
) -> dict[Attribute, Floats]:
    """Return lower bounds [groups] of an artifact's losses in one metric that all hold at once (Bonferroni)."""
    losses = {a: x.loss for (n, a, m), x in family.tested.items() if n == name and m == metric}
    return dict(zip(losses, bonferroni_lower_bounds(list(losses.values()), confidence), strict=True))
