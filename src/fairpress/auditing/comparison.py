"""Compare a compressed model with the baseline: losses, excess losses, changes of rates and gaps, flips, verdicts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from fairpress.auditing.cells.cells import Cells
from fairpress.auditing.cells.grouping import Grouping
from fairpress.auditing.class_comparison import class_comparison
from fairpress.auditing.group_pairs import GroupPair, pair_change
from fairpress.auditing.inference.bootstrapped_changes import BootstrappedChanges
from fairpress.auditing.inference.degenerate_models import degenerate, lost_class
from fairpress.auditing.inference.exemplars import exemplars
from fairpress.auditing.inference.flip_strata import Key
from fairpress.auditing.inference.group_estimator import GroupEstimator
from fairpress.auditing.inference.rows_to_decide import rows_to_decide
from fairpress.auditing.inference.score_metrics import ScorePair
from fairpress.auditing.inference.seed_estimator import SeedGroupEstimator
from fairpress.auditing.inference.to_estimates import (
    UNDEFINED_REASONS,
    gap_estimate,
    to_estimates,
    undefined_reason,
)
from fairpress.auditing.judging import JudgedFamily, JudgingRules, judge_family
from fairpress.auditing.loss_bounds import loss_bounds
from fairpress.auditing.metrics.fairness_changes import fairness_changes
from fairpress.auditing.metrics.linearization import LINEARIZED
from fairpress.auditing.model_rates import GAP_RATES
from fairpress.auditing.result import (
    AttributeComparison,
    Comparison,
    Flips,
    GroupComparison,
    Loss,
    Pool,
    RowsToDecide,
    SeedNoise,
    Values,
)
from fairpress.auditing.statistics.proportion_intervals import exact_mcnemar
from fairpress.auditing.statistics.t_estimate import TEstimate
from fairpress.auditing.verdicts.gap_wording import gap_sentences, showable_sentence
from fairpress.auditing.verdicts.rules import (
    Tested,
    Verdicts,
    artifact_verdict,
    decides,
    disparate,
    group_verdicts,
    overall_verdict,
)
from fairpress.auditing.verdicts.wording import headline, verdict_sentence
from fairpress.core.attribute import OVERALL, Attribute
from fairpress.core.estimate import Estimate

CHANGES = ("accuracy", "selection_rate", "tpr", "fpr", "tnr", "fnr")


@dataclass(frozen=True)
class _Gaps:
    """Changes of the fairness metrics of an attribute, what moved, and what these rows cannot show."""

    changes: Mapping[str, Estimate] = field(default_factory=dict)
    moves: tuple[str, ...] = ()
    cannot_show: str = ""


@dataclass(frozen=True)
class CompressionComparison:
    """Compares models with the baseline by the same evidence and rules.

    `names` are the compressed models; `scores` maps a model to its scores paired with the baseline's; `pairs` are the fixed
    pairs of groups.
    """

    evidence: GroupEstimator
    cells: Cells
    by: tuple[Attribute, ...]
    baseline: str
    names: Sequence[str]
    rules: JudgingRules
    scores: Mapping[str, ScorePair] = field(default_factory=dict)
    pairs: Sequence[GroupPair] = ()

    @property
    def confidence(self) -> float:
        return self.rules.confidence

    @property
    def metrics(self) -> tuple[str, ...]:
        return self.rules.metrics

    @property
    def margin(self) -> float:
        """The margin of the deciding metric among all people, as a share of them."""
        return self.rules.overall_margin

    @cached_property
    def _bootstrapped(self) -> BootstrappedChanges:
        return BootstrappedChanges(self.cells, self.baseline, self.names, self.confidence)

    def compare(self) -> tuple[Comparison, ...]:
        """Return the comparison of each compressed model with the baseline."""
        if self.rules.family == "study":
            shared_family = self._family(self.names)
            return tuple(self._comparison(name, shared_family) for name in self.names)
        return tuple(self._comparison(name, self._family([name])) for name in self.names)

    def _family(self, names: Sequence[str]) -> JudgedFamily:
        return judge_family(self.evidence, self.baseline, names, self.by, self.rules)

    def _comparison(self, name: str, family: JudgedFamily) -> Comparison:
        attributes = tuple(self._attribute(name, a, family) for a in self.by)
        overall = self._attribute(name, OVERALL, family).groups[0]
        rates = self.cells.rates_of(GAP_RATES)
        void = self._void(name)
        if void is not None:
            overall = _void_group(overall)
            attributes = tuple(map(_void_attribute, attributes))
        groups = [g for a in attributes for g in a.groups]
        pools = [p for a in attributes for p in a.pools]
        verdict = artifact_verdict(overall.verdict, _group_and_pool_verdicts(attributes, self.metrics[0]))
        if void is not None and verdict != "harm":
            verdict = "void"
        bounds = loss_bounds(self.cells, self.baseline, family, name, self.rules, overall, attributes)
        if void is not None:  # nobody is cleared by models that have nothing to lose
            bounds = tuple(replace(b, cleared=0.0) for b in bounds)
        classes = (
            class_comparison(self.evidence, self.baseline, name, self.by, self.rules, family)
            if self.rules.classes
            else None
        )
        return Comparison(
            name,
            verdict,
            disparate(
                [p for key, p in family.excess_adjusted.items() if key[0] == name and key[2] in self.metrics],
                self.confidence,
            ),
            headline(verdict, groups, bounds, self.confidence, pools, void, classes),
            overall,
            attributes,
            bounds,
            tuple(
                pair_change(p, self.evidence, self.baseline, name, rates, self.confidence, UNDEFINED_REASONS)
                for p in self.pairs
            ),
            exemplars(
                self.evidence,
                self.baseline,
                name,
                [self.cells.grouping(a) for a in (OVERALL, *self.by)],
                self.confidence,
            )
            if isinstance(self.evidence, SeedGroupEstimator)
            else None,
            void,
            classes=classes,
        )

    def _void(self, name: str) -> str | None:
        """Return why this comparison is void, or None: a model has nothing to lose, or a class was lost."""
        before, after = (
            degenerate(self.evidence, m, self.margin, self.confidence) for m in (self.baseline, name)
        )
        lost = lost_class(self.evidence, self.baseline, name, self.confidence)
        after_reason = after.sentence if after is not None and after.void else None
        reasons = [
            before.sentence if before is not None and before.void else None,
            (lost or after_reason) if after is None or after.rare else (after_reason or lost),
        ]
        return " ".join(filter(None, reasons)) or None

    def _attribute(self, name: str, attribute: Attribute, family: JudgedFamily) -> AttributeComparison:
        grouping = self.cells.grouping(attribute)
        values = grouping.values
        changes = {
            r: self.evidence.change(name, self.baseline, r, grouping) for r in self.cells.rates_of(CHANGES)
        }
        estimates = {
            r: to_estimates(x, self.confidence, UNDEFINED_REASONS[r], x.p_two_sided())
            for r, x in changes.items()
        } | self._other_changes(name, grouping)
        losses = {m: self._losses((name, attribute, m), family) for m in self.rules.tested}
        flips = self._flips(name, grouping)
        keys = [(name, attribute, m) for m in self.rules.tested]
        verdicts = group_verdicts(
            [family.judged[key].verdict for key in keys],
            [family.tested[key].loss.value for key in keys],
            [family.tested[key].margin for key in keys],
        )
        groups = [
            GroupComparison(
                values=group,
                n=flips[g].n,
                verdict=verdicts[g],
                changes={r: per_group[g] for r, per_group in estimates.items()},
                losses=tuple(losses[m][g] for m in self.metrics),
                flips=flips[g],
                sentence=verdict_sentence(group, flips[g]),
                class_losses=tuple(losses[m][g] for m in self.rules.classes),
            )
            for g, group in enumerate(values)
        ]
        pools = tuple(self._pools(name, attribute, values, family))
        deciding = family.tested[keys[0]].loss
        # A harm or loss can be demonstrated in a group of few rows, too.
        decided = np.isin(verdicts, ("harm", "loss")) & deciding.estimable
        candidates = np.flatnonzero((family.tested[keys[0]].assessed & deciding.estimable) | decided)
        worst = values[int(candidates[np.argmax(deciding.value[candidates])])] if len(candidates) else None
        gaps = self._gap_changes(name, grouping, changes) if grouping.size > 1 else _Gaps()
        verdict = overall_verdict(
            [*verdicts, *(p.loss.verdict for p in pools if p.loss.metric == self.metrics[0])]
        )
        return AttributeComparison(
            str(attribute), verdict, worst, tuple(groups), gaps.changes, pools, gaps.moves, gaps.cannot_show
        )

    def _pools(
        self, name: str, attribute: Attribute, values: Sequence[Values], family: JudgedFamily
    ) -> Iterator[Pool]:
        """Yield the groups that are judged together in a metric."""
        for metric in self.rules.tested:
            key = (name, attribute, metric)
            if key in family.pools:
                loss = _loss(metric, family.pools[key], family.judged_pools[key], self.confidence)[0]
                members = family.eligibility[attribute, metric].pool
                yield Pool(str(attribute), tuple(values[i] for i in members), loss)

    def _flips(self, name: str, grouping: Grouping) -> list[Flips]:
        counts = self.evidence.flips(name, self.baseline, grouping)
        p = None
        if self.evidence.plain and not self.evidence.dependent:
            p = exact_mcnemar(counts["wrong_to_right"], counts["right_to_wrong"])
        return [
            Flips(
                **{key: float(count[g]) for key, count in counts.items()},
                p_mcnemar=None if p is None else float(p[g]),
            )
            for g in range(grouping.size)
        ]

    def _other_changes(self, name: str, grouping: Grouping) -> dict[str, list[Estimate]]:
        """Return changes of PPV, NPV and balanced accuracy, and of score metrics where there are scores."""
        out = {}
        if self.cells.positive is not None:
            plain = self.evidence.plain and not self.evidence.dependent
            out = (self._bootstrapped.of if plain else self._linearised)(name, grouping)
        if name in self.scores:
            out |= self.scores[name].changes(grouping.attribute, self.confidence)
        return out

    def _linearised(self, name: str, grouping: Grouping) -> dict[str, list[Estimate]]:
        ratio_changes = {r: self.evidence.ratio_change(name, self.baseline, r, grouping) for r in LINEARIZED}
        return {
            r: to_estimates(
                x, self.confidence, f"{UNDEFINED_REASONS[r]}, by one of the models", x.p_two_sided()
            )
            for r, x in ratio_changes.items()
        }

    def _gap_changes(self, name: str, grouping: Grouping, changes: Mapping[str, TEstimate]) -> _Gaps:
        rates = self.cells.rates_of(GAP_RATES)
        before, after = (
            {r: self.evidence.smoothed(m, r, grouping) for r in rates} for m in (self.baseline, name)
        )
        gap_changes = fairness_changes(
            before,
            after,
            {r: changes[r] for r in rates},
            np.random.default_rng(0),
            self.confidence,
            self.evidence.dependent,
        )
        estimates = {metric: gap_estimate(gap, grouping.size) for metric, gap in gap_changes.items()}
        names = [" · ".join(values.values()) for values in grouping.values]
        rates_before, rates_after = ({r: x.value for r, x in model.items()} for model in (before, after))
        unshown = (showable_sentence(gap.showable, gap.close_groups) for gap in gap_changes.values())
        return _Gaps(
            estimates,
            tuple(gap_sentences(names, rates_before, rates_after, estimates)),
            next(filter(None, unshown), ""),
        )

    def _rows_to_decide(self, key: Key, family: JudgedFamily) -> list[RowsToDecide | None]:
        name, attribute, metric = key
        return rows_to_decide(
            self.evidence,
            (name, self.baseline, metric, self.cells.grouping(attribute)),
            family.tested[key],
            family.judged[key],
            self.confidence,
            self.rules.min_rows[metric],
            family.tests,
        )

    def _losses(self, key: Key, family: JudgedFamily) -> list[Loss]:
        """Return the judged loss of every group of an attribute in one metric."""
        metric, judged = key[2], family.judged[key]
        more: Sequence[RowsToDecide | None] | None = None
        if metric == self.metrics[0] and not self.rules.margins[metric].relative:
            more = self._rows_to_decide(key, family)
        excesses: Sequence[Estimate] | None = None
        if key in family.excess:
            excess = family.excess[key]
            excesses = to_estimates(
                excess,
                self.confidence,
                undefined_reason(metric),
                excess.p_above(0.0),
                family.excess_adjusted[key],
            )
        return _loss(
            metric, family.tested[key], judged, self.confidence, excesses, more, family.noise.get(key)
        )


def _loss(
    metric: str,
    tested: Tested,
    judged: Verdicts,
    confidence: float,
    excesses: Sequence[Estimate] | None = None,
    more: Sequence[RowsToDecide | None] | None = None,
    seeds: Sequence[SeedNoise | None] | None = None,
) -> list[Loss]:
    """Return the losses of some groups with their verdicts, bounds and intervals, and what else is known of each group."""
    estimates = to_estimates(
        tested.loss,
        confidence,
        undefined_reason(metric),
        judged.p_loss,
        judged.p_loss_adjusted,
        (tested.low, tested.high),
    )
    return [
        Loss(
            metric,
            estimate,
            upper if estimate.estimable else None,
            p_harm if estimate.estimable else None,
            verdict,
            margin,
            assessed,
            None if excesses is None else excesses[g],
            None if more is None else more[g],
            None if seeds is None else seeds[g],
        )
        for g, (estimate, upper, p_harm, verdict, margin, assessed) in enumerate(
            zip(
                estimates,
                judged.upper.tolist(),
                judged.p_harm_adjusted.tolist(),
                judged.verdict,
                tested.margin.tolist(),
                tested.assessed.tolist(),
                strict=True,
            )
        )
    ]


def _void_group(group: GroupComparison) -> GroupComparison:
    """Return a group of a void comparison, with "void" instead of "no harm": it had nothing to lose."""

    def void(losses: tuple[Loss, ...]) -> tuple[Loss, ...]:
        return tuple(replace(x, verdict="void") if x.verdict == "no_harm" else x for x in losses)

    return replace(
        group,
        losses=void(group.losses),
        class_losses=void(group.class_losses),
        verdict="void" if group.verdict == "no_harm" else group.verdict,
    )


def _void_attribute(attribute: AttributeComparison) -> AttributeComparison:
    """Return an attribute of a void comparison."""
    return replace(
        attribute,
        verdict="void" if attribute.verdict == "no_harm" else attribute.verdict,
        groups=tuple(map(_void_group, attribute.groups)),
        pools=tuple(
            replace(p, loss=replace(p.loss, verdict="void")) if p.loss.verdict == "no_harm" else p
            for p in attribute.pools
        ),
    )


def _group_and_pool_verdicts(attributes: Sequence[AttributeComparison], metric: str) -> np.ndarray:
    """Return the verdicts that make up that of the artifact: of every group, and of the pools that count."""
    groups = [g.verdict for a in attributes for g in a.groups]
    pools = [p.loss.verdict for a in attributes for p in a.pools if decides(p, metric)]
    return np.array([*groups, *pools], dtype=object)
