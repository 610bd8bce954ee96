"""Compare a compressed model with the baseline: losses, excess losses, changes of rates and gaps, flips, verdicts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from fairpress.auditing.cells.cells import Cells
from fairpress.auditing.cells.grouping import Grouping
from fairpress.auditing.group_pairs import GroupPair, pair_change
from fairpress.auditing.inference.degenerate_models import degenerate, lost_class
from fairpress.auditing.inference.exemplars import exemplars
from fairpress.auditing.inference.group_estimator import GroupEstimator
from fairpress.auditing.inference.score_metrics import ScorePair
from fairpress.auditing.inference.seed_estimator import SeedGroupEstimator
from fairpress.auditing.inference.seed_tests import seed_noise
from fairpress.auditing.inference.to_estimates import UNDEFINED_REASONS, gap_estimate, to_estimates
from fairpress.auditing.metrics.cell_bootstrap import bootstrap_changes
from fairpress.auditing.metrics.fairness_changes import fairness_changes
from fairpress.auditing.metrics.linearization import LINEARIZED
from fairpress.auditing.model_rates import GAP_RATES
from fairpress.auditing.result import (
    AttributeComparison,
    Comparison,
    Flips,
    GroupComparison,
    Loss,
    SeedNoise,
    Verdict,
)
from fairpress.auditing.statistics.proportion_intervals import exact_mcnemar
from fairpress.auditing.statistics.t_estimate import Floats, TEstimate
from fairpress.auditing.verdicts.multiplicity import CORRECTIONS
from fairpress.auditing.verdicts.rules import (
    Verdicts,
    artifact_verdict,
    disparate,
    floor_rows,
    group_verdicts,
    judge,
    judge_excess,
    overall_verdict,
)
from fairpress.auditing.verdicts.sample_size import rows_needed, rows_to_decide
from fairpress.auditing.verdicts.wording import headline, verdict_sentence
from fairpress.core.attribute import OVERALL, Attribute
from fairpress.core.estimate import Estimate

CHANGES = ("accuracy", "selection_rate", "tpr", "fpr", "tnr", "fnr")

Key = tuple[str, Attribute, str]
"""Compressed model, attribute, metric."""


@dataclass(frozen=True)
class HypothesisFamily:
    """The hypotheses about some artifacts that are corrected together."""

    losses: Mapping[Key, TEstimate]
    judged: Mapping[Key, Verdicts]
    flip_shares: Mapping[Key, Floats]
    excess: Mapping[Key, TEstimate]
    adjusted: Mapping[Key, Floats]
    noise: Mapping[Key, list[SeedNoise | None]]


@dataclass(frozen=True)
class CompressionComparison:
    """Compares models with the baseline by the same evidence, margin and metrics.

    `metrics` are those whose losses are judged; `correction` and `family` as in `result.Audit`; `scores` maps a model to
    its scores paired with the baseline's; `pairs` are the fixed pairs of groups.
    """

    evidence: GroupEstimator
    cells: Cells
    by: tuple[Attribute, ...]
    baseline: str
    margin: float
    confidence: float
    metrics: tuple[str, ...]
    correction: str = "holm"
    family: str = "artifact"
    scores: Mapping[str, ScorePair] = field(default_factory=dict)
    pairs: Sequence[GroupPair] = ()

    def compare(self, names: Sequence[str]) -> tuple[Comparison, ...]:
        """Return the comparison of each compressed model with the baseline."""
        if self.family == "study":
            shared_family = self._family(names)
            return tuple(self._comparison(name, shared_family) for name in names)
        return tuple(self._comparison(name, self._family([name])) for name in names)

    def _family(self, names: Sequence[str]) -> HypothesisFamily:
        """Judge all rows and every group of some artifacts; all rows together count as one more group."""
        losses: dict[Key, TEstimate] = {}
        excess: dict[Key, TEstimate] = {}
        seeds: dict[Key, Floats] = {}
        flip_shares: dict[Key, Floats] = {}
        for name in names:
            for attribute in (OVERALL, *self.by):
                grouping = self.cells.grouping(attribute)
                for m in self.metrics:
                    key, query = (name, attribute, m), (name, self.baseline, m, grouping)
                    losses[key] = _as_loss(m, self.evidence.change(*query))
                    flip_shares[key] = self.evidence.flip_share(*query)
                    if attribute != OVERALL:
                        excess[key] = self.evidence.excess(*query)
                    if isinstance(self.evidence, SeedGroupEstimator):
                        seeds[key] = self.evidence.per_seed(*query) * (1 if m == "fpr" else -1)
        adjust = CORRECTIONS[self.correction]
        return HypothesisFamily(
            losses,
            judge(losses, self.margin, self.confidence, adjust, flip_shares),
            flip_shares,
            excess,
            judge_excess(excess, self.confidence, adjust)[1],
            seed_noise(seeds, self.confidence, adjust),
        )

    def _comparison(self, name: str, family: HypothesisFamily) -> Comparison:
        attributes = tuple(self._attribute(name, a, family) for a in self.by)
        overall = self._attribute(name, OVERALL, family).groups[0]
        rates = self.cells.rates_of(GAP_RATES)
        void = self._void(name)
        if void is not None:
            overall = _void_group(overall)
            attributes = tuple(
                replace(
                    a,
                    verdict="void" if a.verdict == "no_harm" else a.verdict,
                    groups=tuple(map(_void_group, a.groups)),
                )
                for a in attributes
            )
        groups = [g for a in attributes for g in a.groups]
        verdict = artifact_verdict(overall.verdict, np.array([g.verdict for g in groups], dtype=object))
        if void is not None and verdict != "harm":
            verdict = "void"
        return Comparison(
            name,
            verdict,
            disparate([p for key, p in family.adjusted.items() if key[0] == name], self.confidence),
            headline(verdict, overall, groups, void),
            overall,
            attributes,
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

    def _attribute(self, name: str, attribute: Attribute, family: HypothesisFamily) -> AttributeComparison:
        grouping = self.cells.grouping(attribute)
        changes = {
            r: self.evidence.change(name, self.baseline, r, grouping) for r in self.cells.rates_of(CHANGES)
        }
        estimates = {
            r: to_estimates(x, self.confidence, UNDEFINED_REASONS[r], x.p_two_sided())
            for r, x in changes.items()
        } | self._other_changes(name, grouping)
        losses = {m: self._losses((name, attribute, m), family) for m in self.metrics}
        flips = self._flips(name, grouping)
        verdicts = group_verdicts([family.judged[name, attribute, m].verdict for m in self.metrics])
        groups = []
        for g, group in enumerate(grouping.values):
            group_losses = tuple(losses[m][g] for m in self.metrics)
            # Convert rows of the metric's denominator (positives, for a TPR) to rows of the group.
            rows_needed = [
                math.ceil(loss.rows_needed * flips[g].n / loss.estimate.n)
                for loss in group_losses
                if loss.rows_needed is not None and loss.estimate.n > 0
            ]
            groups.append(
                GroupComparison(
                    values=group,
                    n=flips[g].n,
                    verdict=verdicts[g],
                    changes={r: per_group[g] for r, per_group in estimates.items()},
                    losses=group_losses,
                    flips=flips[g],
                    rows_needed=max(rows_needed) if rows_needed else None,
                    sentence=verdict_sentence(group, flips[g]),
                )
            )
        first_losses = family.losses[name, attribute, self.metrics[0]]
        # A harm or loss can be demonstrated in a group of few rows, too.
        decided = np.isin(verdicts, ("harm", "loss")) & first_losses.estimable
        candidates = np.flatnonzero(
            (first_losses.effective_n >= floor_rows(self.margin, self.confidence)) | decided
        )
        worst = (
            grouping.values[int(candidates[np.argmax(first_losses.value[candidates])])]
            if len(candidates)
            else None
        )
        gaps = self._gap_changes(name, grouping, changes) if grouping.size > 1 else {}
        return AttributeComparison(str(attribute), overall_verdict(verdicts), worst, tuple(groups), gaps)

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
            out = (self._bootstrapped if plain else self._linearised)(name, grouping)
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

    def _bootstrapped(self, name: str, grouping: Grouping) -> dict[str, list[Estimate]]:
        pair = self.cells.pair(self.baseline, name, grouping)
        bootstrapped = bootstrap_changes(pair, np.random.default_rng(0), self.confidence)
        return {
            rate: [
                Estimate(
                    float(b.change[g]), float(b.low[g]), float(b.high[g]), float(pair[g].sum()), "bootstrap"
                )
                if np.isfinite(b.change[g])
                else Estimate.not_estimable(
                    UNDEFINED_REASONS[rate] + ", by one of the models or in many replicates"
                )
                for g in range(grouping.size)
            ]
            for rate, b in bootstrapped.items()
        }

    def _gap_changes(
        self, name: str, grouping: Grouping, changes: Mapping[str, TEstimate]
    ) -> dict[str, Estimate]:
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
        return {metric: gap_estimate(gap, grouping.size) for metric, gap in gap_changes.items()}

    def _losses(self, key: Key, family: HypothesisFamily) -> list[Loss]:
        """Return the judged loss of every group of an attribute in one metric."""
        metric, flip_shares = key[2], family.flip_shares[key]
        judged, losses, why = family.judged[key], family.losses[key], UNDEFINED_REASONS[metric]
        estimates = to_estimates(losses, self.confidence, why, judged.p_loss, judged.p_loss_adjusted)
        excesses: Sequence[Estimate | None] = [None] * len(estimates)
        if key in family.excess:
            excess = family.excess[key]
            excesses = to_estimates(excess, self.confidence, why, excess.p_above(0.0), family.adjusted[key])
        noise = family.noise.get(key, [None] * len(estimates))
        floor = floor_rows(self.margin, self.confidence)
        out = []
        for g, loss in enumerate(estimates):
            verdict: Verdict = judged.verdict[g]
            if not loss.estimable:
                out.append(Loss(metric, loss, None, None, verdict, excesses[g], floor, noise[g]))
                continue
            rows_needed = None
            if verdict in ("inconclusive", "not_estimable"):
                rows_needed = self._rows_needed(losses[g : g + 1], float(flip_shares[g]))
            upper, p_harm = float(judged.upper[g]), float(judged.p_harm_adjusted[g])
            out.append(Loss(metric, loss, upper, p_harm, verdict, excesses[g], rows_needed, noise[g]))
        return out

    def _rows_needed(self, loss: TEstimate, flip_share: float) -> int:
        """Return the number of rows of the metric's denominator that would settle the verdict."""
        rows, effective_rows = float(loss.n[0]), float(loss.effective_n[0])
        needed = rows_needed(flip_share, self.margin, self.confidence)
        if effective_rows >= needed:
            # The rows would suffice without a change; the verdict is inconclusive because of the loss itself.
            needed = rows_to_decide(
                float(loss.value[0]), float(loss.se[0]), effective_rows, self.margin, self.confidence
            )
        return math.ceil(needed * rows / effective_rows) if effective_rows > 0 else needed


def _void_group(group: GroupComparison) -> GroupComparison:
    """Return a group of a void comparison, with "void" instead of "no harm": it had nothing to lose."""
    losses = tuple(replace(x, verdict="void") if x.verdict == "no_harm" else x for x in group.losses)
    return replace(group, losses=losses, verdict="void" if group.verdict == "no_harm" else group.verdict)


def _as_loss(metric: str, change: TEstimate) -> TEstimate:
    """Return a change as a loss: positive is worse."""
    return change if metric == "fpr" else -change
