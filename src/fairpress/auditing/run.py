"""The audit of a predictions table: count, estimate, judge, say it in words."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fairpress.auditing import rates as rates_
from fairpress.auditing.cells import Cells, code
from fairpress.auditing.crossed import crossed_change, crossed_excess, crossed_rate, crossed_sums
from fairpress.auditing.gap_changes import fairness_changes
from fairpress.auditing.gaps import Gap, fairness_intervals
from fairpress.auditing.intervals import agresti_caffo, bonett_price, excess_loss, wilson
from fairpress.auditing.result import (
    AttributeComparison,
    Audit,
    Comparison,
    Fairness,
    Flips,
    GroupComparison,
    GroupRates,
    Loss,
    ModelResult,
    Values,
    Verdict,
)
from fairpress.auditing.rows_needed import rows_needed, rows_to_decide
from fairpress.auditing.source import Decision, Source, parse_decision
from fairpress.auditing.studentized import Floats, Studentized
from fairpress.auditing.verdict import (
    JUDGED_BINARY,
    WORST_FIRST,
    Judged,
    floor_rows,
    group_verdicts,
    judge,
    judge_excess,
    overall_verdict,
)
from fairpress.core.errors import UserError
from fairpress.core.estimate import Estimate

SHOWN = ("accuracy", "selection_rate", "tpr", "fpr", "tnr", "fnr", "ppv", "npv")
CROSSED = ("accuracy", "selection_rate", "tpr", "fpr", "tnr", "fnr")
GAP_RATES = ("accuracy", "selection_rate", "tpr", "fpr")
EVERYBODY = ""


def audit(
    table: Any,
    *,
    label: str = "label",
    baseline: str,
    compressed: Sequence[str] = (),
    by: Sequence[str],
    positive: str | None = None,
    decide: Mapping[str, str] | None = None,
    margin: float = 0.02,
    confidence: float = 0.95,
    metrics: Sequence[str] = JUDGED_BINARY,
    seed_column: str | None = None,
    row_id: str = "row_id",
    notes: Sequence[str] = (),
) -> Audit:
    """Audit compressed models against a baseline on the same rows.

    Parameters
    ----------
    table
        A pandas, polars or pyarrow frame, or the path of Parquet or CSV files.
    label
        Column of true classes.
    baseline, compressed
        Models: columns of predicted classes; where there is no column M but ``M.score`` (the probability of
        the positive class), it is decided at 0.5. No compressed model: rates and gaps only.
    by
        Sensitive attributes, ``"sex"``, and intersections, ``"sex*race"``.
    positive
        The positive class; by default 1, yes or true, else the last in the alphabet.
    decide
        Model → ``column>=number`` for models given by any numeric score.
    margin
        δ: a loss above this is harm.
    metrics
        The losses that are judged, of accuracy, tpr, fpr.
    seed_column
        Column of training seeds when runs are stacked; intervals then take seeds and rows as random.
    row_id
        Column that tells which rows of different seeds are the same; read only with `seed_column`.

    Raises
    ------
    UserError
        One sentence with the remedy for anything in the table or the arguments that cannot be audited.
    """
    by = tuple(dict.fromkeys(b.strip() for b in by if b.strip()))
    if not by:
        raise UserError("name at least one sensitive attribute with --by, such as --by sex,race.")
    if not 0 < margin < 1:
        raise UserError(f"the margin {margin} is no share between 0 and 1; 0.02 means two points.")
    strange = [m for m in metrics if m not in JUDGED_BINARY]
    if strange or not metrics:
        raise UserError(
            f"losses can be judged in accuracy, tpr and fpr, not in {', '.join(strange) or 'nothing'}."
        )
    names = [baseline, *compressed]
    if len(set(names)) < len(names):
        raise UserError("a model is named twice; compare the baseline with other columns.")
    source = Source(table)
    attributes = tuple(dict.fromkeys(part for b in by for part in b.split("*")))
    source.require(label, "the label")
    for name in attributes:
        source.require(name, "a sensitive attribute")
    if label in attributes:
        raise UserError(f"the label {label!r} cannot be a sensitive attribute too.")
    decisions, decided = _decisions(source, names, decide or {})
    columns = [label, *attributes]
    coding = {
        "label": label,
        "attributes": attributes,
        "models": names,
        "decided": decided,
        "positive": positive,
    }
    if seed_column is None:
        cells = code(source.distinct(columns, decisions), **coding, where=source.name)  # type: ignore[arg-type]
        evidence: _Evidence = _Rows(cells)
        rows, seeds = int(cells.counts.sum()), None
    else:
        source.require(seed_column, "the seed column")
        source.require(row_id, "the row id, which tells equal rows of different seeds")
        raw = source.rows([*columns, seed_column, row_id], decisions)
        cells = code(raw, **coding, where=source.name)  # type: ignore[arg-type]
        crossed = _Crossed(cells, raw[seed_column], raw[row_id], source.name)
        evidence, rows, seeds = crossed, crossed.rows, crossed.seeds
    auditor = _Auditor(evidence, cells, by, baseline, margin, confidence, tuple(metrics))
    return Audit(
        rows=rows,
        subjects=None,
        seeds=seeds,
        baseline=baseline,
        margin=margin,
        confidence=confidence,
        label=label,
        positive=cells.positive,
        attributes=by,
        metrics=tuple(metrics),
        models=tuple(auditor.model(name) for name in names),
        fairness=tuple(f for name in names for f in auditor.fairness(name)),
        comparisons=tuple(auditor.compare(name) for name in compressed),
        notes=(*notes, *_notes(cells, seeds)),
    )


def _decisions(
    source: Source, names: Sequence[str], decide: Mapping[str, str]
) -> tuple[dict[str, Decision], list[str]]:
    unknown = [m for m in decide if m not in names]
    if unknown:
        raise UserError(
            f"--decide names {unknown[0]!r}, which is neither the baseline nor a compressed model."
        )
    found, decided = {}, []
    for name in names:
        if name in decide:
            found[name] = parse_decision(decide[name], name)
        elif name not in source.columns and f"{name}.score" in source.columns:
            found[name] = Decision(f"{name}.score", ">=", 0.5)
        else:
            found[name] = Decision(name)
        if found[name].sign:
            decided.append(name)
    return found, decided


def _notes(cells: Cells, seeds: int | None) -> list[str]:
    out = []
    if len(cells.classes) > 2:
        out.append(
            f"The label has {len(cells.classes)} classes; everything here is {cells.positive!r} against the rest."
        )
    if seeds is not None:
        out.append(
            f"Intervals take both the {seeds} training seeds and the rows as random: they speak of the recipe."
        )
    return out


class _Evidence:
    """What is known of every group of an attribute, with rows only or with seeds × rows."""

    dependent = False

    def rate(self, model: str, name: str, index: np.ndarray, groups: int) -> Studentized:
        raise NotImplementedError

    def change(self, model: str, baseline: str, name: str, index: np.ndarray, groups: int) -> Studentized:
        raise NotImplementedError

    def excess(self, model: str, baseline: str, name: str, index: np.ndarray, groups: int) -> Studentized:
        raise NotImplementedError

    def divisor(self) -> float:
        """Return how many times every row was counted (once per seed)."""
        return 1.0


class _Rows(_Evidence):
    def __init__(self, cells: Cells) -> None:
        self.cells = cells

    def rate(self, model: str, name: str, index: np.ndarray, groups: int) -> Studentized:
        ratio = rates_.rate(rates_.confusion(self.cells.pair(model, model, index, groups), 0), name)
        return agresti_caffo(ratio.numerator, ratio.denominator)

    def change(self, model: str, baseline: str, name: str, index: np.ndarray, groups: int) -> Studentized:
        return bonett_price(*rates_.flipped(self.cells.pair(baseline, model, index, groups), name))

    def excess(self, model: str, baseline: str, name: str, index: np.ndarray, groups: int) -> Studentized:
        up, down, n = rates_.flipped(self.cells.pair(baseline, model, index, groups), name)
        return excess_loss(up, down, n) if name == "fpr" else excess_loss(down, up, n)


class _Crossed(_Evidence):
    """Rows × seeds; every seed must have predicted every row of the table once."""

    dependent = True

    def __init__(self, cells: Cells, seed: np.ndarray, row: np.ndarray, where: str) -> None:
        _, s = np.unique(seed.astype(str), return_inverse=True)
        _, r = np.unique(row.astype(str), return_inverse=True)
        self.seeds, self.rows = int(s.max()) + 1, int(r.max()) + 1
        if self.seeds < 2:
            raise UserError(f"{where} has one seed only; leave --seed-column out, or stack more runs.")
        if len(s) != self.seeds * self.rows or len(np.unique(s * self.rows + r)) != len(s):
            raise UserError(
                f"{where}: each of the {self.seeds} seeds must have each of the {self.rows:,} rows exactly once "
                f"({len(s):,} rows are there); stack complete runs."
            )
        order = np.lexsort((r, s))
        self._shape = (self.seeds, self.rows)
        self._order = order
        self.label = self._matrix(cells.label)
        if (self.label != self.label[0]).any():
            raise UserError(
                f"{where}: a row has different labels under different seeds; are the row ids right?"
            )
        self.models = {k: self._matrix(v) for k, v in cells.models.items()}

    def divisor(self) -> float:
        return float(self.seeds)

    def _matrix(self, values: np.ndarray) -> np.ndarray:
        return np.asarray(values[self._order].reshape(self._shape))

    def _indicator(self, model: str, name: str) -> Floats:
        """Return 0/1 [seeds, rows], NaN outside the rate's denominator."""
        y, p = self.label, self.models[model]
        match name:
            case "accuracy":
                return np.asarray(y == p, float)
            case "selection_rate":
                return np.asarray(p, float)
        positive = name in ("tpr", "fnr")
        hit = p if name in ("tpr", "fpr") else 1 - p
        return np.asarray(np.where(y == (1 if positive else 0), hit, np.nan))

    def _sums(self, values: np.ndarray, index: np.ndarray, groups: int) -> Any:
        group = self._matrix(index)[0]
        inside = ~np.isnan(values[0])
        return crossed_sums(values[:, inside], group[inside], groups)

    def rate(self, model: str, name: str, index: np.ndarray, groups: int) -> Studentized:
        return crossed_rate(self._sums(self._indicator(model, name), index, groups))

    def _difference(self, model: str, baseline: str, name: str) -> Floats:
        return np.asarray(self._indicator(model, name) - self._indicator(baseline, name))

    def change(self, model: str, baseline: str, name: str, index: np.ndarray, groups: int) -> Studentized:
        return crossed_change(self._sums(self._difference(model, baseline, name), index, groups))

    def excess(self, model: str, baseline: str, name: str, index: np.ndarray, groups: int) -> Studentized:
        found = crossed_excess(self._sums(self._difference(model, baseline, name), index, groups))
        return found if name == "fpr" else -found


@dataclass(frozen=True)
class _Auditor:
    evidence: _Evidence
    cells: Cells
    by: tuple[str, ...]
    baseline: str
    margin: float
    confidence: float
    metrics: tuple[str, ...]

    def groups(self, attribute: str) -> tuple[list[dict[str, str]], np.ndarray]:
        if attribute == EVERYBODY:
            return [{}], np.zeros(len(self.cells.counts), dtype=np.int64)
        return self.cells.groups(attribute)

    def model(self, name: str) -> ModelResult:
        overall = self._rates(name, EVERYBODY)[0]
        groups = [g for attribute in self.by for g in self._rates(name, attribute)]
        constant = bool(rates_.degenerate(rates_.confusion(self.cells.pair(name, name, *self._all()), 0))[0])
        sentence = f"{name} predicts one class only: its gaps of 0 say nothing." if constant else None
        return ModelResult(name, overall, tuple(groups), degenerate=sentence)

    def _all(self) -> tuple[np.ndarray, int]:
        return np.zeros(len(self.cells.counts), dtype=np.int64), 1

    def _rates(self, name: str, attribute: str) -> list[GroupRates]:
        values, index = self.groups(attribute)
        k = len(values)
        counts = rates_.confusion(self.cells.pair(name, name, index, k), 0)
        share = self.evidence.divisor()
        per_rate: dict[str, list[Estimate]] = {}
        for rate in CROSSED if self.evidence.dependent else SHOWN:
            ratio = rates_.rate(counts, rate)
            if self.evidence.dependent:
                found = self.evidence.rate(name, rate, index, k)
                low, high = found.interval(self.confidence)
            else:
                low, high = wilson(ratio.numerator, ratio.denominator, self.confidence)
            method = "crossed" if self.evidence.dependent else "wilson"
            per_rate[rate] = [
                Estimate(float(a / b), float(lo), float(hi), float(b / share), method)
                if b > 0
                else Estimate.not_estimable(_WHY_EMPTY[rate])
                for a, b, lo, hi in zip(ratio.numerator, ratio.denominator, low, high, strict=True)
            ]
        out = []
        for g, group in enumerate(values):
            tn, fp, fn, tp = (float(c[g]) / share for c in (counts.tn, counts.fp, counts.fn, counts.tp))
            estimates = {rate: found[g] for rate, found in per_rate.items()}
            out.append(GroupRates(group, tn + fp + fn + tp, estimates, tp, fp, tn, fn))
        return out

    def fairness(self, name: str) -> list[Fairness]:
        out = []
        for attribute in self.by:
            values, index = self.groups(attribute)
            found = fairness_intervals(
                {r: self.evidence.rate(name, r, index, len(values)) for r in GAP_RATES},
                np.random.default_rng(0),
                self.confidence,
                self.evidence.dependent,
            )
            out += [
                Fairness(name, attribute, metric, _gap(gap, len(values))) for metric, gap in found.items()
            ]
        return out

    def compare(self, name: str) -> Comparison:
        def losses_of(attribute: str) -> dict[tuple[str, str], Studentized]:
            values, index = self.groups(attribute)
            return {
                (attribute, m): _loss(m, self.evidence.change(name, self.baseline, m, index, len(values)))
                for m in self.metrics
            }

        losses: dict[tuple[str, str], Studentized] = {}
        excess: dict[tuple[str, str], Studentized] = {}
        for attribute in self.by:
            values, index = self.groups(attribute)
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
        values, index = self.groups(attribute)
        k = len(values)
        changes = {r: self.evidence.change(name, self.baseline, r, index, k) for r in CROSSED}
        cells = self.cells.pair(self.baseline, name, index, k)
        gained, lost, n = rates_.flipped(cells, "accuracy")
        share = self.evidence.divisor()
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
                    cells[g],
                )
                for m in self.metrics
            )
            flips = Flips(float(n[g]) / share, float(lost[g]) / share, float(gained[g]) / share)
            verdict: Verdict = verdicts[g]
            # From rows of the metric's denominator (positives, for a TPR) to rows of the group.
            needed = [
                math.ceil(loss.rows_needed * flips.n / loss.estimate.n)
                for loss in found
                if loss.rows_needed is not None and loss.estimate.n > 0
            ]
            groups.append(
                GroupComparison(
                    values=group,
                    n=flips.n,
                    verdict=verdict,
                    changes={
                        r: _estimate(s, g, self.confidence, r, two_sided=True) for r, s in changes.items()
                    },
                    losses=found,
                    flips=flips,
                    rows_needed=max(needed) if needed else None,
                    sentence=sentence(group, flips),
                )
            )
        own = losses[attribute, self.metrics[0]]
        known = np.flatnonzero(own.effective_n >= floor_rows(self.margin, self.confidence))
        worst = values[int(known[np.argmax(own.value[known])])] if len(known) else None
        gaps: dict[str, Estimate] = {}
        if k > 1:
            both = {
                m: {r: self.evidence.rate(m, r, index, k) for r in GAP_RATES} for m in (self.baseline, name)
            }
            moved = fairness_changes(
                both[self.baseline],
                both[name],
                {r: changes[r] for r in GAP_RATES},
                np.random.default_rng(0),
                self.confidence,
                self.evidence.dependent,
            )
            gaps = {metric: _gap(gap, k) for metric, gap in moved.items()}
        return AttributeComparison(attribute, overall_verdict(verdicts), worst, tuple(groups), gaps)

    def _loss(
        self,
        metric: str,
        g: int,
        losses: Studentized,
        judged: Judged,
        excess: Studentized | None,
        adjusted: np.ndarray | None,
        cells: np.ndarray,
    ) -> Loss:
        verdict: Verdict = judged.verdict[g]
        estimate = _estimate(losses, g, self.confidence, metric)
        beyond = None
        if excess is not None:
            beyond = _estimate(excess, g, self.confidence, metric)
            if beyond.estimable and adjusted is not None:
                beyond = Estimate(
                    beyond.value,
                    beyond.low,
                    beyond.high,
                    beyond.n,
                    beyond.method,
                    p=float(excess.p_above(0.0)[g]),
                    p_adjusted=float(adjusted[g]),
                )
        if not estimate.estimable:
            return Loss(
                metric, estimate, None, None, verdict, beyond, floor_rows(self.margin, self.confidence)
            )
        estimate = Estimate(
            estimate.value,
            estimate.low,
            estimate.high,
            estimate.n,
            estimate.method,
            p=float(judged.p_loss[g]),
            p_adjusted=float(judged.p_loss_adjusted[g]),
        )
        needed = None
        if verdict in ("inconclusive", "not_estimable"):
            up, down, n = rates_.flipped(cells, metric)
            flips = float((up + down) / n)
            needed = rows_needed(flips, self.margin, self.confidence)
            if losses.effective_n[g] >= needed:
                # The rows would do if nothing had changed; what keeps it open is the loss itself.
                needed = rows_to_decide(
                    float(losses.value[g]),
                    float(losses.se[g]),
                    float(losses.n[g]),
                    self.margin,
                    self.confidence,
                )
        return Loss(
            metric,
            estimate,
            float(judged.upper[g]),
            float(judged.p_harm_adjusted[g]),
            verdict,
            beyond,
            needed,
        )


_WHY_EMPTY = {
    "accuracy": "no rows in this group",
    "selection_rate": "no rows in this group",
    "tpr": "no positives in this group",
    "fnr": "no positives in this group",
    "fpr": "no negatives in this group",
    "tnr": "no negatives in this group",
    "ppv": "nobody in this group was predicted positive",
    "npv": "nobody in this group was predicted negative",
}


def _loss(metric: str, change: Studentized) -> Studentized:
    """Orient a change so that positive = worse."""
    return change if metric == "fpr" else -change


def _estimate(s: Studentized, g: int, confidence: float, rate: str, two_sided: bool = False) -> Estimate:
    if not s.estimable[g]:
        return Estimate.not_estimable(_WHY_EMPTY[rate])
    low, high = s.interval(confidence)
    p = float(s.p_two_sided()[g]) if two_sided else None
    return Estimate(float(s.value[g]), float(low[g]), float(high[g]), float(s.n[g]), s.method, p)


def _gap(gap: Gap, groups: int) -> Estimate:
    if np.isnan(gap.value):
        return Estimate.not_estimable(
            f"only {gap.groups} of {groups} groups have the rows this needs", gap.groups
        )
    return Estimate(float(gap.value), float(gap.low), float(gap.high), gap.groups, gap.method)


def group_name(values: Values) -> str:
    """Return a group as people read it: ``sex = Female and race = Asian``."""
    return " and ".join(f"{k} = {v}" for k, v in values.items()) if values else "everybody"


def sentence(values: Values, flips: Flips) -> str:
    """Say what changed for a group in people, per 1,000."""
    who = f"people with {group_name(values)}" if values else "people"
    lost, gained = (round(1000 * x / flips.n) for x in (flips.right_to_wrong, flips.wrong_to_right))
    return f"Of 1,000 {who}, {lost} lose a correct answer and {gained} gain one."


_HEADLINE: Mapping[Verdict, str] = {
    "harm": "harm",
    "loss": "loss shown",
    "inconclusive": "inconclusive",
    "no_harm": "no harm",
}


def headline(groups: Sequence[GroupComparison]) -> str:
    """List how many groups are where; harmed groups and groups with too few rows by name."""
    parts = []
    for verdict in WORST_FIRST:
        found = [g for g in groups if g.verdict == verdict]
        if not found:
            continue
        names = ", ".join(f"{group_name(g.values)}" for g in found)
        if verdict == "not_estimable":
            names = ", ".join(f"{group_name(g.values)} ({g.n:,.0f})" for g in found)
            parts.append(f"too few rows: {names}")
        elif verdict in ("harm", "loss"):
            parts.append(f"{_HEADLINE[verdict]} {len(found)} ({names})")
        else:
            parts.append(f"{_HEADLINE[verdict]} {len(found)}")
    return "; ".join(parts)
