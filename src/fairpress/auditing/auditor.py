"""From evidence to the parts of an audit: rates, gaps, judged losses, verdicts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from fairpress.auditing.bootstrap import bootstrap_changes
from fairpress.auditing.cells import Cells
from fairpress.auditing.evidence import Evidence
from fairpress.auditing.gap_changes import fairness_changes
from fairpress.auditing.gaps import Gap, fairness_intervals
from fairpress.auditing.intervals import exact_mcnemar
from fairpress.auditing.result import (
    AttributeComparison,
    Comparison,
    Fairness,
    Flips,
    GroupComparison,
    GroupRates,
    Loss,
    ModelResult,
    Verdict,
)
from fairpress.auditing.rows_needed import rows_needed, rows_to_decide
from fairpress.auditing.sentences import headline, sentence
from fairpress.auditing.studentized import Studentized, t_quantile
from fairpress.auditing.verdict import (
    Judged,
    floor_rows,
    group_verdicts,
    judge,
    judge_excess,
    overall_verdict,
)
from fairpress.core.estimate import Estimate

CHANGES = ("accuracy", "selection_rate", "tpr", "fpr", "tnr", "fnr")
GAP_RATES = ("accuracy", "selection_rate", "tpr", "fpr")
EVERYBODY = ""

WHY_EMPTY = {
    "accuracy": "no rows in this group",
    "selection_rate": "no rows in this group",
    "tpr": "no positives in this group",
    "fnr": "no positives in this group",
    "fpr": "no negatives in this group",
    "tnr": "no negatives in this group",
    "ppv": "nobody in this group was predicted positive",
    "npv": "nobody in this group was predicted negative",
    "balanced_accuracy": "no positives or no negatives in this group",
}


@dataclass(frozen=True)
class Auditor:
    """Audits models by the same evidence, baseline, margin and metrics.

    `metrics` are the losses that are judged; without a positive class there is accuracy only.
    """

    evidence: Evidence
    cells: Cells
    by: tuple[str, ...]
    baseline: str
    margin: float
    confidence: float
    metrics: tuple[str, ...]

    def _of(self, names: tuple[str, ...]) -> tuple[str, ...]:
        return names if self.cells.positive is not None else ("accuracy",)

    def model(self, name: str) -> ModelResult:
        """Return the rates of one model: everybody's, then each group's."""
        groups = [g for attribute in self.by for g in self._rates(name, attribute)]
        constant = len(np.unique(self.cells.predicted[name])) == 1
        warning = f"{name} predicts one class only: its gaps of 0 say nothing." if constant else None
        return ModelResult(name, self._rates(name, EVERYBODY)[0], tuple(groups), degenerate=warning)

    def _rates(self, name: str, attribute: str) -> list[GroupRates]:
        values, index = self.cells.groups(attribute)
        k = len(values)
        per_rate: dict[str, list[Estimate]] = {}
        for rate in self._of(self.evidence.rates):
            found = self.evidence.rate(name, rate, index, k, self.confidence)
            per_rate[rate] = [
                Estimate(float(v), float(low), float(high), float(n), found.method)
                if n > 0
                else Estimate.not_estimable(WHY_EMPTY[rate])
                for v, low, high, n in zip(found.value, found.low, found.high, found.n, strict=True)
            ]
        if self.cells.positive is not None:
            per_rate["balanced_accuracy"] = self._balanced(name, index, k)
        n = self.evidence.flips(name, name, index, k)["n"]
        counts: dict[str, np.ndarray] = {}
        if self.cells.positive is not None:
            pair = self.cells.pair(name, name, index, k).sum(axis=-1) / self.evidence.repeats
            counts = {"tn": pair[:, 0, 0], "fp": pair[:, 0, 1], "fn": pair[:, 1, 0], "tp": pair[:, 1, 1]}
        return [
            GroupRates(
                group,
                float(n[g]),
                {rate: found[g] for rate, found in per_rate.items()},
                **{key: float(count[g]) for key, count in counts.items()},
            )
            for g, group in enumerate(values)
        ]

    def _balanced(self, name: str, index: np.ndarray, k: int) -> list[Estimate]:
        """Return (TPR + TNR)/2; positives and negatives are disjoint rows, so variances add."""
        tpr, tnr = (self.evidence.smoothed(name, rate, index, k) for rate in ("tpr", "tnr"))
        centre, se = (tpr.centre + tnr.centre) / 2, np.sqrt(tpr.se**2 + tnr.se**2) / 2
        reach = t_quantile(np.fmin(tpr.df, tnr.df), (1 + self.confidence) / 2) * se
        value = (tpr.value + tnr.value) / 2
        low, high = np.fmin(centre - reach, value), np.fmax(centre + reach, value)
        return [
            Estimate(
                float(value[g]),
                max(0.0, float(low[g])),
                min(1.0, float(high[g])),
                float(tpr.n[g] + tnr.n[g]),
                f"{tpr.method}-sum",
            )
            if np.isfinite(value[g])
            else Estimate.not_estimable(WHY_EMPTY["balanced_accuracy"])
            for g in range(k)
        ]

    def fairness(self, name: str) -> list[Fairness]:
        """Return every fairness metric of one model over the groups of each attribute."""
        out = []
        for attribute in self.by:
            values, index = self.cells.groups(attribute)
            found = fairness_intervals(
                {r: self.evidence.smoothed(name, r, index, len(values)) for r in self._of(GAP_RATES)},
                np.random.default_rng(0),
                self.confidence,
                self.evidence.dependent,
            )
            out += [
                Fairness(name, attribute, metric, _gap(gap, len(values))) for metric, gap in found.items()
            ]
        return out

    def compare(self, name: str) -> Comparison:
        """Return one compressed model against the baseline, judged over all groups and metrics at once."""

        def losses_of(attribute: str) -> dict[tuple[str, str], Studentized]:
            values, index = self.cells.groups(attribute)
            return {
                (attribute, m): _oriented(m, self.evidence.change(name, self.baseline, m, index, len(values)))
                for m in self.metrics
            }

        losses: dict[tuple[str, str], Studentized] = {}
        excess: dict[tuple[str, str], Studentized] = {}
        for attribute in self.by:
            values, index = self.cells.groups(attribute)
            losses |= losses_of(attribute)
            for m in self.metrics:
                excess[attribute, m] = self.evidence.excess(name, self.baseline, m, index, len(values))
        judged = judge(losses, self.margin, self.confidence)
        disparate, adjusted = judge_excess(excess, self.confidence)
        attributes = tuple(self._attribute(name, a, losses, judged, excess, adjusted) for a in self.by)
        own = losses_of(EVERYBODY)
        everybody = self._attribute(name, EVERYBODY, own, judge(own, self.margin, self.confidence), {}, {})
        groups = [g for a in attributes for g in a.groups]
        verdict = overall_verdict(np.array([g.verdict for g in groups], dtype=object))
        return Comparison(name, verdict, disparate, headline(groups), everybody.groups[0], attributes)

    def _attribute(
        self,
        name: str,
        attribute: str,
        losses: Mapping[tuple[str, str], Studentized],
        judged: Mapping[tuple[str, str], Judged],
        excess: Mapping[tuple[str, str], Studentized],
        adjusted: Mapping[tuple[str, str], np.ndarray],
    ) -> AttributeComparison:
        values, index = self.cells.groups(attribute)
        k = len(values)
        changes = {r: self.evidence.change(name, self.baseline, r, index, k) for r in self._of(CHANGES)}
        moved = self._bootstrapped(name, index, k)
        shares = {m: self.evidence.flip_share(name, self.baseline, m, index, k) for m in self.metrics}
        flips = self._flips(name, index, k)
        verdicts = group_verdicts([judged[attribute, m].verdict for m in self.metrics])
        groups = []
        for g, group in enumerate(values):
            found = tuple(
                self._loss(
                    m,
                    g,
                    losses[attribute, m],
                    judged[attribute, m],
                    excess.get((attribute, m)),
                    adjusted.get((attribute, m)),
                    float(shares[m][g]),
                )
                for m in self.metrics
            )
            # From rows of the metric's denominator (positives, for a TPR) to rows of the group.
            needed = [
                math.ceil(loss.rows_needed * flips[g].n / loss.estimate.n)
                for loss in found
                if loss.rows_needed is not None and loss.estimate.n > 0
            ]
            groups.append(
                GroupComparison(
                    values=group,
                    n=flips[g].n,
                    verdict=verdicts[g],
                    changes={
                        **{
                            r: _estimate(s, g, self.confidence, r, two_sided=True) for r, s in changes.items()
                        },
                        **{r: estimates[g] for r, estimates in moved.items()},
                    },
                    losses=found,
                    flips=flips[g],
                    rows_needed=max(needed) if needed else None,
                    sentence=sentence(group, flips[g]),
                )
            )
        own = losses[attribute, self.metrics[0]]
        known = np.flatnonzero(own.effective_n >= floor_rows(self.margin, self.confidence))
        worst = values[int(known[np.argmax(own.value[known])])] if len(known) else None
        gaps = self._gap_changes(name, index, k, changes) if k > 1 else {}
        return AttributeComparison(attribute, overall_verdict(verdicts), worst, tuple(groups), gaps)

    def _flips(self, name: str, index: np.ndarray, k: int) -> list[Flips]:
        counts = self.evidence.flips(name, self.baseline, index, k)
        p = None
        if self.evidence.plain and not self.evidence.dependent:
            p = exact_mcnemar(counts["wrong_to_right"], counts["right_to_wrong"])
        return [
            Flips(
                **{key: float(count[g]) for key, count in counts.items()},
                p_mcnemar=None if p is None else float(p[g]),
            )
            for g in range(k)
        ]

    def _bootstrapped(self, name: str, index: np.ndarray, k: int) -> dict[str, list[Estimate]]:
        """Return changes of PPV, NPV and balanced accuracy; one unweighted table without repeated people only."""
        if self.cells.positive is None or not self.evidence.plain or self.evidence.dependent:
            return {}
        pair = self.cells.pair(self.baseline, name, index, k)
        found = bootstrap_changes(pair, np.random.default_rng(0), self.confidence)
        return {
            rate: [
                Estimate(
                    float(b.change[g]), float(b.low[g]), float(b.high[g]), float(pair[g].sum()), "bootstrap"
                )
                if np.isfinite(b.change[g])
                else Estimate.not_estimable(WHY_EMPTY[rate] + ", by one of the models or in many replicates")
                for g in range(k)
            ]
            for rate, b in found.items()
        }

    def _gap_changes(
        self, name: str, index: np.ndarray, k: int, changes: Mapping[str, Studentized]
    ) -> dict[str, Estimate]:
        rates = self._of(GAP_RATES)
        before, after = (
            {r: self.evidence.smoothed(m, r, index, k) for r in rates} for m in (self.baseline, name)
        )
        moved = fairness_changes(
            before,
            after,
            {r: changes[r] for r in rates},
            np.random.default_rng(0),
            self.confidence,
            self.evidence.dependent,
        )
        return {metric: _gap(gap, k) for metric, gap in moved.items()}

    def _loss(
        self,
        metric: str,
        g: int,
        losses: Studentized,
        judged: Judged,
        excess: Studentized | None,
        adjusted: np.ndarray | None,
        flip_share: float,
    ) -> Loss:
        verdict: Verdict = judged.verdict[g]
        beyond = None
        if excess is not None:
            beyond = _estimate(excess, g, self.confidence, metric)
            if beyond.estimable and adjusted is not None:
                beyond = replace(beyond, p=float(excess.p_above(0.0)[g]), p_adjusted=float(adjusted[g]))
        estimate = _estimate(losses, g, self.confidence, metric)
        if not estimate.estimable:
            floor = floor_rows(self.margin, self.confidence)
            return Loss(metric, estimate, None, None, verdict, beyond, floor)
        estimate = replace(estimate, p=float(judged.p_loss[g]), p_adjusted=float(judged.p_loss_adjusted[g]))
        return Loss(
            metric,
            estimate,
            float(judged.upper[g]),
            float(judged.p_harm_adjusted[g]),
            verdict,
            beyond,
            self._needed(losses[g : g + 1], flip_share)
            if verdict in ("inconclusive", "not_estimable")
            else None,
        )

    def _needed(self, loss: Studentized, flip_share: float) -> int:
        """Return the rows of the metric's denominator that would decide."""
        rows, worth = float(loss.n[0]), float(loss.effective_n[0])
        needed = rows_needed(flip_share, self.margin, self.confidence)
        if worth >= needed:
            # The rows would do if nothing had changed; what keeps it open is the loss itself.
            needed = rows_to_decide(
                float(loss.value[0]), float(loss.se[0]), worth, self.margin, self.confidence
            )
        return math.ceil(needed * rows / worth) if worth > 0 else needed


def _oriented(metric: str, change: Studentized) -> Studentized:
    """Orient a change so that positive = worse."""
    return change if metric == "fpr" else -change


def _estimate(s: Studentized, g: int, confidence: float, rate: str, two_sided: bool = False) -> Estimate:
    if not s.estimable[g]:
        return Estimate.not_estimable(WHY_EMPTY[rate])
    low, high = s.interval(confidence)
    p = float(s.p_two_sided()[g]) if two_sided else None
    return Estimate(float(s.value[g]), float(low[g]), float(high[g]), float(s.n[g]), s.method, p)


def _gap(gap: Gap, groups: int) -> Estimate:
    if np.isnan(gap.value):
        return Estimate.not_estimable(
            f"only {gap.groups} of {groups} groups have the rows this needs", gap.groups
        )
    return Estimate(float(gap.value), float(gap.low), float(gap.high), gap.groups, gap.method)
