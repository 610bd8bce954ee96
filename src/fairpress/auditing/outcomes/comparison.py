"""Compare a compressed model with the baseline in an outcome: losses, excess, changes of levels and gaps, verdicts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from fairpress.auditing.cells.grouping import Grouping
from fairpress.auditing.inference.rows_to_decide import MIN_ROWS, OPEN
from fairpress.auditing.inference.to_estimates import to_estimates
from fairpress.auditing.judging import JudgedFamily, JudgingRules
from fairpress.auditing.loss_bounds import loss_bounds
from fairpress.auditing.outcomes.evidence import OutcomeEvidence
from fairpress.auditing.outcomes.judging import judge_outcome
from fairpress.auditing.result import (
    AttributeComparison,
    Comparison,
    Flips,
    GroupComparison,
    GroupRates,
    Loss,
    ModelResult,
    Pool,
    RowsToDecide,
    Values,
)
from fairpress.auditing.statistics.mean_assurance import units_to_decide
from fairpress.auditing.statistics.skewed_estimate import SkewedEstimate
from fairpress.auditing.statistics.t_estimate import t_quantile
from fairpress.auditing.verdicts.assurance import ASSURANCE, CAP, GRID
from fairpress.auditing.verdicts.rules import (
    Tested,
    Verdicts,
    artifact_verdict,
    decides,
    disparate,
    group_verdicts,
    overall_verdict,
)
from fairpress.auditing.verdicts.wording import headline
from fairpress.core.attribute import OVERALL, Attribute
from fairpress.core.estimate import Estimate

GAP, TRIMMED = "gap", "trimmed"
"""Ends of the names of estimates: ``abs_error_gap``, ``abs_error_trimmed``."""


@dataclass(frozen=True)
class OutcomeComparison:
    """Compares models with the baseline in one outcome, by the same evidence and rules."""

    evidence: OutcomeEvidence
    by: tuple[Attribute, ...]
    baseline: str
    rules: JudgingRules

    @property
    def metrics(self) -> tuple[str, ...]:
        return self.rules.metrics

    def compare(self, names: Sequence[str]) -> tuple[Comparison, ...]:
        """Return the comparison of each compressed model with the baseline."""
        if self.rules.family == "study":
            family = self._family(names)
            return tuple(self._comparison(name, family) for name in names)
        return tuple(self._comparison(name, self._family([name])) for name in names)

    def model(self, name: str) -> ModelResult:
        """Return the levels of one model, for all rows and for each group."""
        groups = [g for a in self.by for g in self._levels(name, a)]
        return ModelResult(name, self._levels(name, OVERALL)[0], tuple(groups))

    def gaps(self, name: str, attribute: Attribute) -> Iterator[tuple[str, Estimate]]:
        """Yield the gap between the levels of an attribute's groups under one model, in each metric."""
        grouping = self._grouping(attribute)
        for metric in self.metrics:
            level = self.evidence.level(name, metric, grouping)
            known = level.value[level.estimable]
            if len(known) < 2:
                yield f"{metric}_{GAP}", Estimate.not_estimable("fewer than two groups have rows", len(known))
                continue
            bounds = self.evidence.gap(name, metric, grouping, 1 - self.rules.confidence)
            value = float(np.ptp(known))
            low, high = min(bounds.low, value), max(bounds.high, value)
            yield f"{metric}_{GAP}", Estimate(value, low, high, len(known), "simultaneous")

    def _family(self, names: Sequence[str]) -> JudgedFamily:
        return judge_outcome(self.evidence, self.baseline, names, self.by, self.rules)

    def _grouping(self, attribute: Attribute) -> Grouping:
        return self.evidence.table.cells.grouping(attribute)

    def _level(self, name: str, metric: str, grouping: Grouping) -> list[Estimate]:
        return to_estimates(
            self.evidence.level(name, metric, grouping),
            self.rules.confidence,
            self.evidence.row_values.undefined,
        )

    def _levels(self, name: str, attribute: Attribute) -> list[GroupRates]:
        grouping = self._grouping(attribute)
        levels = {metric: self._level(name, metric, grouping) for metric in self.metrics}
        rows = self.evidence.rows(grouping)
        return [
            GroupRates(values, float(rows[g]), {m: x[g] for m, x in levels.items()})
            for g, values in enumerate(grouping.values)
        ]

    def _comparison(self, name: str, family: JudgedFamily) -> Comparison:
        attributes = tuple(self._attribute(name, a, family) for a in self.by)
        overall = self._attribute(name, OVERALL, family).groups[0]
        groups = [g for a in attributes for g in a.groups]
        pools = [p for a in attributes for p in a.pools]
        counting = [p.loss.verdict for p in pools if decides(p, self.metrics[0])]
        verdict = artifact_verdict(
            overall.verdict, np.array([*(g.verdict for g in groups), *counting], dtype=object)
        )
        bounds = tuple(
            replace(b, outcome_measure=self.evidence.measures[b.metric])
            for b in loss_bounds(
                self.evidence.table.cells, self.baseline, family, name, self.rules, overall, attributes
            )
        )
        return Comparison(
            name,
            verdict,
            disparate(
                [p for key, p in family.excess_adjusted.items() if key[0] == name], self.rules.confidence
            ),
            headline(verdict, groups, bounds, self.rules.confidence, pools),
            overall,
            attributes,
            bounds,
        )

    def _attribute(self, name: str, attribute: Attribute, family: JudgedFamily) -> AttributeComparison:
        grouping = self._grouping(attribute)
        keys = [(name, attribute, m) for m in self.metrics]
        losses = {key[2]: self._losses(key, family) for key in keys}
        changes = self._changes(name, grouping)
        counts = self.evidence.changed(name, self.baseline, self.metrics[0], grouping)
        rows = self.evidence.rows(grouping)
        verdicts = group_verdicts(
            [family.judged[key].verdict for key in keys],
            [family.tested[key].loss.value for key in keys],
            [family.tested[key].margin for key in keys],
        )
        groups = [
            GroupComparison(
                values,
                float(rows[g]),
                verdicts[g],
                {k: x[g] for k, x in changes.items()},
                tuple(losses[m][g] for m in self.metrics),
                Flips(float(rows[g]), *((0.0, 0.0) if counts is None else (float(c[g]) for c in counts))),
            )
            for g, values in enumerate(grouping.values)
        ]
        pools = tuple(self._pools(name, attribute, grouping.values, family))
        deciding = family.tested[keys[0]]
        decided = np.isin(verdicts, ("harm", "loss"))
        candidates = np.flatnonzero((deciding.assessed | decided) & deciding.loss.estimable)
        worst = (
            grouping.values[int(candidates[np.argmax(deciding.loss.value[candidates])])]
            if len(candidates)
            else None
        )
        verdict = overall_verdict(
            [*verdicts, *(p.loss.verdict for p in pools if p.loss.metric == self.metrics[0])]
        )
        gaps = dict(self._gap_changes(name, attribute)) if grouping.size > 1 else {}
        return AttributeComparison(str(attribute), verdict, worst, tuple(groups), gaps, pools)

    def _pools(
        self, name: str, attribute: Attribute, values: Sequence[Values], family: JudgedFamily
    ) -> Iterator[Pool]:
        for metric in self.metrics:
            key = (name, attribute, metric)
            if key in family.pools:
                loss = self._judged(metric, family.pools[key], family.judged_pools[key])[0]
                members = family.eligibility[attribute, metric].pool
                yield Pool(str(attribute), tuple(values[i] for i in members), loss)

    def _changes(self, name: str, grouping: Grouping) -> Mapping[str, list[Estimate]]:
        """Return compressed − baseline of every level, and of its 10 % trimmed mean over rows (or people)."""
        out = {}
        side = (1 + self.rules.confidence) / 2
        for metric in self.metrics:
            loss = self.evidence.loss(name, self.baseline, metric, grouping)
            higher = self.evidence.measures[metric].higher_is_better
            change = -loss if higher else loss
            out[metric] = to_estimates(
                change, self.rules.confidence, self.evidence.row_values.undefined, change.p_two_sided()
            )
            value, se = self.evidence.trimmed_loss(name, self.baseline, metric, grouping)
            value = -value if higher else value
            reach = t_quantile(np.maximum(0.8 * loss.effective_n - 1, 1), side) * se
            out[f"{metric}_{TRIMMED}"] = [
                Estimate(float(v), float(v - r), float(v + r), float(n), "trimmed-10")
                if np.isfinite(v) and np.isfinite(r)
                else Estimate.not_estimable("too few rows for a trimmed mean")
                for v, r, n in zip(value, reach, loss.n, strict=True)
            ]
        return out

    def _gap_changes(self, name: str, attribute: Attribute) -> Iterator[tuple[str, Estimate]]:
        grouping = self._grouping(attribute)
        for metric in self.metrics:
            bounds = self.evidence.gap_change(
                name, self.baseline, metric, grouping, 1 - self.rules.confidence
            )
            levels = [self.evidence.level(m, metric, grouping) for m in (name, self.baseline)]
            known = levels[0].estimable & levels[1].estimable
            if bounds is None:
                yield (
                    f"{metric}_{GAP}",
                    Estimate.not_estimable("too few or too many groups have rows", int(known.sum())),
                )
                continue
            value = float(np.ptp(levels[0].value[known]) - np.ptp(levels[1].value[known]))
            low, high = min(bounds.low, value), max(bounds.high, value)
            yield f"{metric}_{GAP}", Estimate(value, low, high, int(known.sum()), "pair-contrasts")

    def _losses(self, key: tuple[str, Attribute, str], family: JudgedFamily) -> list[Loss]:
        name, attribute, metric = key
        grouping = self._grouping(attribute)
        levels = zip(*(self._level(m, metric, grouping) for m in (self.baseline, name)), strict=True)
        losses = self._judged(metric, family.tested[key], family.judged[key], list(levels))
        if metric == self.metrics[0] and not self.rules.margins[metric].relative:
            advice = self._rows_to_decide(key, family)
            losses = [replace(x, rows_to_decide=more) for x, more in zip(losses, advice, strict=True)]
        if key not in family.excess:
            return losses
        excess = family.excess[key]
        estimates = to_estimates(
            excess,
            self.rules.confidence,
            "no other rows, or too few",
            excess.p_above(0.0),
            family.excess_adjusted[key],
        )
        return [replace(x, excess=e) for x, e in zip(losses, estimates, strict=True)]

    def _rows_to_decide(
        self, key: tuple[str, Attribute, str], family: JudgedFamily
    ) -> list[RowsToDecide | None]:
        """Return what more rows of each group would do; None where it is decided, or has too few to predict from."""
        tested, judged, metric = family.tested[key], family.judged[key], key[2]
        x = tested.loss
        if not isinstance(x, SkewedEstimate):
            return [None] * len(x.value)
        units, chances = units_to_decide(
            x,
            self.rules.margins[metric].value,
            self.rules.confidence,
            (1 - self.rules.confidence) / family.tests,
            self.rules.min_rows[metric],
            GRID,
            ASSURANCE,
        )
        per_unit = self.evidence.rows(self._grouping(key[1])) / np.where(
            x.effective_n > 0, x.effective_n, 1.0
        )
        return [
            RowsToDecide(
                int(np.ceil(u * rows)) if np.isfinite(u) else None,
                float(no_harm + loss),
                float(no_harm),
                float(loss),
                round(CAP * rows),
            )
            if verdict in OPEN and ok and n >= MIN_ROWS
            else None
            for u, rows, no_harm, loss, verdict, ok, n in zip(
                units,
                per_unit,
                chances.no_harm,
                chances.loss,
                judged.verdict,
                x.estimable & (x.se > 0),
                x.effective_n,
                strict=True,
            )
        ]

    def _judged(
        self,
        metric: str,
        tested: Tested,
        judged: Verdicts,
        levels: Sequence[tuple[Estimate, Estimate]] | None = None,
    ) -> list[Loss]:
        estimates = to_estimates(
            tested.loss,
            self.rules.confidence,
            self.evidence.row_values.undefined,
            judged.p_loss,
            judged.p_loss_adjusted,
            (tested.low, tested.high),
        )
        return [
            Loss(
                metric,
                estimate,
                float(judged.upper[g]) if estimate.estimable else None,
                float(judged.p_harm_adjusted[g])
                if estimate.estimable and np.isfinite(judged.p_harm_adjusted[g])
                else None,
                judged.verdict[g],
                float(tested.margin[g]),
                bool(tested.assessed[g]),
                outcome_measure=self.evidence.measures[metric],
                levels=None if levels is None else levels[g],
            )
            for g, estimate in enumerate(estimates)
        ]
