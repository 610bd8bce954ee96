"""The audit of an outcome that is not a class: read the rows, estimate, judge, and return the one result of all audits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from fairpress.auditing.cells.duckdb_source import TableSource
from fairpress.auditing.cells.encoding import MISSING
from fairpress.auditing.judging import JudgingRules
from fairpress.auditing.options import AuditOptions
from fairpress.auditing.outcome import AuditedOutcome, OutcomeRequest
from fairpress.auditing.outcomes.bounded_evidence import BoundedEvidence
from fairpress.auditing.outcomes.comparison import TRIMMED, OutcomeComparison
from fairpress.auditing.outcomes.equivalence import equivalence_notes, limit_of
from fairpress.auditing.outcomes.evidence import OutcomeEvidence
from fairpress.auditing.outcomes.judging import MIN_PEOPLE, MIN_UNITS
from fairpress.auditing.outcomes.margins import ALL, no_margin, outcome_margins
from fairpress.auditing.outcomes.protocol import BoundedValues, OutcomeKind, RowValues
from fairpress.auditing.outcomes.registry import kind_of
from fairpress.auditing.outcomes.row_table import RowTable, read_rows
from fairpress.auditing.read_table import models_of, provenance_of
from fairpress.auditing.result import Audit, Comparison, Fairness, Margin
from fairpress.auditing.table_warnings import row_warnings
from fairpress.auditing.verdicts.wording import group_name, name_groups
from fairpress.core.attribute import OVERALL, Attribute, parse_attributes
from fairpress.core.errors import UserError

ONE_OUTCOME_LOOK = (
    "This audit is for one look: repeated after more rows until a verdict appears, it clears a loss of the margin more "
    "often than it states."
)
_CLASSES_ONLY: Mapping[str, str] = {
    "positive": "numbers have no positive class",
    "decide": "numbers need no threshold; audit the class with `decide=` and without `outcome=`",
    "pairs": "the groups' changes and their differences are in the report",
    "pairs_from": "the groups' changes and their differences are in the report",
    "counterfactual": "pairs of one template are compared by the predicted class",
    "seed_column": "average the values of each row over its seeds, or audit one seed",
}
"""Options that are about classes → why, or what to do instead."""


def audit_outcome(source: TableSource, options: AuditOptions) -> Audit:
    """Audit a table by the outcome of the options. Raises UserError where the table or an option does not suit it."""
    request = options.outcome
    if request is None:
        raise ValueError("the options have no outcome")
    kind = kind_of(request)
    _refuse_options(source, options, request)
    limit = limit_of(request)
    baseline, compressed = models_of(source, options)
    models = (baseline, *compressed)
    if len(set(models)) < len(models):
        raise UserError("a model is named twice; name each column once in `baseline=` and `compressed=`.")
    attributes = parse_attributes(options.by, source.columns)
    numbers, texts = kind.columns(request, models, options.label, source.columns)
    for name in (n for a in attributes for n in a.names):
        if name in numbers or name in texts:
            role = {**numbers, **texts}[name]
            raise UserError(f"{name!r} holds {role} and cannot be a sensitive attribute too.")
    margins = outcome_margins(options.margin, request, kind)
    if compressed and not margins and kind.needs_margin:
        raise no_margin(request, kind)
    table = read_rows(source, options, attributes, numbers, texts)
    row_values = kind.bind(request, table, models, options.label)
    rules = _rules(options, request, row_values.metrics, margins)
    estimator = BoundedEvidence if isinstance(row_values, BoundedValues) else OutcomeEvidence
    evidence = estimator(table, baseline, row_values, kind.measures(request, margins), kind.linear)
    measures = kind.measures(request, _absolute(evidence, baseline, rules, bool(margins)))
    evidence = replace(evidence, measures={m: measures[m] for m in rules.metrics})
    of_kind = row_values.notes
    if isinstance(evidence, BoundedEvidence) and limit is not None:
        confidence = options.confidence
        of_kind += tuple(equivalence_notes(evidence, models, rules.metrics[0], attributes, limit, confidence))
    comparison = OutcomeComparison(evidence, attributes, baseline, rules)
    comparisons = comparison.compare(compressed)
    metric = rules.metrics[0]
    outcome = AuditedOutcome(
        request.kind, request.columns, kind.title(request), evidence.measures, request.settings
    )
    return Audit(
        rows=table.rows,
        subjects=evidence.people if evidence.unit is not None else None,
        seeds=None,
        baseline=baseline,
        margin=rules.margins[metric].value,
        confidence=options.confidence,
        label=next((n for n, role in numbers.items() if role == "the label"), str(request)),
        positive=None,
        attributes=tuple(map(str, attributes)),
        metrics=rules.metrics,
        margins=rules.margins,
        min_rows=rules.min_rows,
        models=tuple(comparison.model(name) for name in models),
        fairness=tuple(
            Fairness(name, str(a), key, estimate)
            for name in models
            for a in attributes
            for key, estimate in comparison.gaps(name, a)
        ),
        comparisons=comparisons,
        weight=options.weight,
        correction="holm" if options.correction == "westfall-young" else options.correction,
        family=options.family,
        notes=tuple(_notes(table, options, of_kind, evidence, rules, kind, comparisons)),
        warnings=(
            *row_values.warnings,
            *_same_as_baseline(row_values, baseline, compressed),
            *row_warnings(source, table.cells, options, {*numbers, *texts}, attributes),
        ),
        provenance=provenance_of(source),
        outcome=outcome,
        policy=None if options.policy is None else options.policy.record(),
    )


def _same_as_baseline(row_values: RowValues, baseline: str, compressed: Sequence[str]) -> Iterator[str]:
    """Yield a warning about a model that is the baseline in every row: its column may be a copy."""
    for name in compressed:
        losses = [row_values.row_losses(name, baseline, m) for m in row_values.metrics]
        if not any(x is None or x.any() for x in losses):
            yield (
                f"{name} is judged as {baseline} is in every single row: check that its column is not that of {baseline} "
                "again."
            )


def _absolute(
    evidence: OutcomeEvidence, baseline: str, rules: JudgingRules, with_margins: bool
) -> dict[str, Margin]:
    """Return the margins in the outcome's unit among all people, for the decimals of reports.

    Without margins, a tenth of the baseline's level.
    """
    absolute = {}
    for metric, margin in rules.margins.items():
        level = evidence.level(baseline, metric, evidence.table.cells.grouping(OVERALL)).value[0]
        value = margin.value * abs(level) if margin.relative else margin.value
        value = value if with_margins else abs(level) / 10
        if np.isfinite(value) and value > 0:
            absolute[metric] = Margin(float(value))
    return absolute


def _rules(
    options: AuditOptions, request: OutcomeRequest, metrics: tuple[str, ...], given: Mapping[str, Margin]
) -> JudgingRules:
    unknown = [name for name in given if name not in (*metrics, ALL)]
    if unknown:
        raise UserError(
            f"`margin=`: there is no metric {unknown[0]!r} in {str(request)!r}, only {', '.join(metrics)}."
        )
    chosen = {m: given.get(m, given.get(ALL)) for m in metrics}
    without = [m for m, margin in chosen.items() if margin is None]
    if without and given:
        raise UserError(f"`margin=` has none for {without[0]!r}; give one for each of {', '.join(metrics)}.")
    margins = {m: margin or Margin(0.02) for m, margin in chosen.items()}
    default = MIN_UNITS if options.subject is None else MIN_PEOPLE
    min_units = next(iter(options.min_rows.values()), default)
    return JudgingRules(
        metrics,
        margins,
        dict.fromkeys(metrics, min_units),
        options.confidence,
        options.correction,
        options.family,
        margins[metrics[0]].value,
    )


def _refuse_options(source: TableSource, options: AuditOptions, request: OutcomeRequest) -> None:
    defaults: dict[str, Any] = {"decide": {}, "pairs": ()}
    for name, why in _CLASSES_ONLY.items():
        value = getattr(options, name)
        if value is not None and value != defaults.get(name):
            raise UserError(f"`{name}=` does not go with `outcome={str(request)!r}`: {why}.")
    if options.harm != "error" or options.metrics is not None:
        name = "harm" if options.harm != "error" else "metrics"
        raise UserError(
            f"`{name}=` is about classes; `outcome={str(request)!r}` itself says what is judged. Leave it out."
        )
    if any(error != ALL for error in options.min_rows):
        raise UserError(f"`min_rows=` is one number with `outcome={str(request)!r}`, such as 200.")
    if source.holds_cells:
        raise UserError(f"{source.name} holds cells, which count classes; audit the table of rows.")
    if not source.counts_scores:
        raise UserError(
            f"{source.name}: an outcome is read row by row, which databases are not; export its columns to a Parquet file."
        )


def _notes(
    table: RowTable,
    options: AuditOptions,
    of_kind: tuple[str, ...],
    evidence: OutcomeEvidence,
    rules: JudgingRules,
    kind: OutcomeKind,
    comparisons: tuple[Comparison, ...],
) -> Iterator[str]:
    unit = "rows" if evidence.unit is None else "people"
    if options.weight is not None:
        yield f"Rows are weighted by {options.weight!r}, scaled to a mean of one; every n is a weighted number of rows."
    if evidence.unit is not None:
        yield (
            f"{table.rows:,} rows belong to {evidence.people:,} people ({options.subject!r}), the unit of "
            "every interval."
        )
    if comparisons:
        needed = min(rules.min_rows.values())
        yield (
            f"A group is assessed from {needed:,} {unit} on, whatever the models predict; how small a loss they "
            "can rule out depends on how much the differences scatter. "
            + (
                "Values are bounded: two rows more, at either bound, enter every error, so that what no row shows is not "
                "ruled out."
                if isinstance(evidence, BoundedEvidence)
                else "A loss that 1 % of the rows suffer is easily absent from a group of 100: of numbers without bounds, "
                "nothing rules out what no row shows."
            )
        )
        yield (
            "Bounds are the farther of Student's t and Hall's transformation for skewed values; harm, loss and unevenness "
            "are corrected by Holm's method."
            if options.correction in ("westfall-young", "holm")
            else "Bounds are the farther of Student's t and Hall's transformation for skewed values."
        )
    if options.family == "study":
        yield "Findings are corrected over all compressed models together."
    for name, column in table.cells.attributes.items():
        if MISSING in column.names:
            rows = int((column.codes == column.names.index(MISSING)).sum())
            yield f"{name!r} is missing in {rows:,} rows; they form a separate group, {MISSING}."
    yield from of_kind
    if evidence.unit is not None and comparisons:
        yield from _too_few_people(comparisons[0], evidence, rules)
    for comparison in comparisons:
        yield from _disagreements(comparison, evidence, rules)
    groups = [g for c in comparisons for g in (c.overall, *(g for a in c.attributes for g in a.groups))]
    if any(x.rows_to_decide is not None for g in groups for x in g.losses):
        yield ONE_OUTCOME_LOOK


def _too_few_people(comparison: Comparison, evidence: OutcomeEvidence, rules: JudgingRules) -> Iterator[str]:
    """Yield a note with the effective number of people of each group that is not assessed alone."""
    metric = rules.metrics[0]
    names = []
    for attribute in comparison.attributes:
        grouping = evidence.table.cells.grouping(Attribute.from_text(attribute.attribute))
        people = evidence.units(metric, grouping)
        names += [
            f"{group_name(group.values)} ({count:,.0f})"
            for group, count in zip(attribute.groups, people, strict=True)
            if not group.losses[0].assessed
        ]
    if names:
        yield (
            f"Too few people to be assessed alone, counted so that people with many rows do not count for more: "
            f"{name_groups(names)}."
        )


def _disagreements(comparison: Comparison, evidence: OutcomeEvidence, rules: JudgingRules) -> Iterator[str]:
    """Yield a note on the groups in which the trimmed mean disagrees with the mean: a few rows decide there."""
    for metric in rules.metrics:
        names = []
        measure = evidence.measures[metric]
        for group in (comparison.overall, *(g for a in comparison.attributes for g in a.groups)):
            loss = next(x for x in group.losses if x.metric == metric)
            mean, trimmed = group.changes[metric], group.changes.get(f"{metric}_{TRIMMED}")
            if (
                trimmed is None
                or mean.value is None
                or trimmed.value is None
                or loss.verdict == "not_estimable"
            ):
                continue
            apart = abs(mean.value - trimmed.value) > loss.margin
            shown = mean.low is not None and mean.high is not None and not mean.low <= 0 <= mean.high
            if apart or (shown and mean.value * trimmed.value < 0):
                names.append(
                    f"{group_name(group.values)} ({measure.signed(mean.value)}, trimmed "
                    f"{measure.signed(trimmed.value)})"
                )
        if names:
            yield (
                f"{comparison.compressed}: a few rows move the {measure.name}, which decides, away from its 10 % trimmed "
                f"mean, in {name_groups(names)}."
            )
