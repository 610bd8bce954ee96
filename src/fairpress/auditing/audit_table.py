"""The audit: read a table into cells, estimate rates, gaps and losses, and judge them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from fairpress.auditing.cells.cells import Cells
from fairpress.auditing.cells.open_source import open_source
from fairpress.auditing.class_comparison import with_classes
from fairpress.auditing.class_recall import RECALL, is_class_metric
from fairpress.auditing.comparison import CompressionComparison
from fairpress.auditing.flip_comparisons import with_flips
from fairpress.auditing.group_pairs import GroupPair, fixed_pairs, widest_pairs
from fairpress.auditing.inference.counterfactual_pairs import notes_on_templates
from fairpress.auditing.inference.group_estimator import GroupEstimator
from fairpress.auditing.inference.relative_margins import baseline_error
from fairpress.auditing.inference.score_tables import score_pairs
from fairpress.auditing.inference.seed_estimator import SeedGroupEstimator
from fairpress.auditing.judging import JudgingRules
from fairpress.auditing.model_rates import ModelRates
from fairpress.auditing.notes import ONE_LOOK, notes
from fairpress.auditing.options import AuditOptions
from fairpress.auditing.read_table import AuditInput, read_table
from fairpress.auditing.result import Audit, Comparison, Margin
from fairpress.auditing.table_metadata import recorded_options, with_recorded
from fairpress.auditing.verdicts.eligibility import min_rows_for
from fairpress.auditing.verdicts.margins import DEFAULT, HARMS, by_metric
from fairpress.core.errors import UserError


def audit_table(table: Any, options: AuditOptions) -> Audit:
    """Audit a table of predictions; `audit.audit` describes tables, options and errors."""
    source = open_source(table)
    options = recorded_options(source, options)
    if options.outcome is None:
        # `read_table` refuses pairs that are chosen on the audited table itself, and must see that it is the same.
        audited = table if options.pairs_from is table else source
        return with_recorded(audit_input(read_table(audited, options)), source)
    from fairpress.auditing.outcomes.audit_outcome import audit_outcome

    return with_recorded(audit_outcome(source, options), source)


def audit_input(data: AuditInput) -> Audit:
    """Audit what was read from a table. Raises UserError for options that do not suit it."""
    options, cells = data.options, data.table.cells
    evidence = _evidence(data, cells)
    scored = score_pairs(data.scores, cells, data.baseline, data.table.name)
    rules = judging_rules(
        options, data.metrics, lambda metric: baseline_error(evidence, data.baseline, metric)
    )
    if options.judges_classes:
        margin, min_rows = class_margin(options, lambda: baseline_error(evidence, data.baseline, "accuracy"))
        rules, rare = with_classes(rules, evidence, margin, min_rows)
        cells = replace(cells, rare_classes=rare)
        evidence = _evidence(data, cells)
    rates = ModelRates(
        evidence, cells, data.attributes, options.confidence, scored.sides, data.runs, rules.overall_margin
    )
    comparison = CompressionComparison(
        evidence,
        cells,
        data.attributes,
        data.baseline,
        data.compressed,
        rules,
        scored.pairs,
        _group_pairs(data, rules.overall_margin),
    )
    models = (replace(rates.model(name), digest=data.digests.get(name)) for name in data.models)
    comparisons = with_flips(data, comparison.compare())
    pairs = () if data.templates is None else notes_on_templates(data.templates, data.attributes)
    again = (ONE_LOOK,) if any(map(is_open, comparisons)) else ()
    return Audit(
        rows=evidence.table_rows,
        subjects=evidence.subjects,
        seeds=evidence.seeds if isinstance(evidence, SeedGroupEstimator) else None,
        baseline=data.baseline,
        margin=rules.margins[rules.metrics[0]].value,
        confidence=options.confidence,
        label=options.label,
        positive=cells.positive,
        classes=cells.classes,
        weight=options.weight,
        correction=options.correction,
        family=options.family,
        attributes=tuple(map(str, data.attributes)),
        metrics=rules.metrics,
        margins={m: x for m, x in rules.margins.items() if not is_class_metric(m)},
        min_rows={m: n for m, n in rules.min_rows.items() if not is_class_metric(m)},
        models=tuple(models),
        fairness=tuple(f for name in data.models for f in rates.fairness(name)),
        comparisons=comparisons,
        notes=(
            *notes(cells, evidence, data.attributes, options, data.scores.notes),
            *data.closeness_notes,
            *pairs,
            *again,
        ),
        warnings=data.warnings,
        positive_from=cells.positive_from,
        provenance=data.provenance,
        policy=None if options.policy is None else options.policy.record(),
    )


def _evidence(data: AuditInput, cells: Cells) -> GroupEstimator:
    if data.options.seed_column is None:
        return GroupEstimator(cells)
    return SeedGroupEstimator(cells, data.table.name)


def class_margin(options: AuditOptions, error: Callable[[], float]) -> tuple[Margin, int]:
    """Return the margin of the recall of every class, and the rows of a class that a group needs to be assessed.

    A relative margin needs as many rows as an absolute one of that share of `error`, the baseline's error rate.
    """
    margin = options.margin.get(RECALL, options.margin[DEFAULT])
    absolute = margin.value * error() if margin.relative else margin.value
    rows = options.min_rows.get(RECALL, options.min_rows.get(DEFAULT))
    return margin, rows or min_rows_for(absolute, options.confidence)


def is_open(comparison: Comparison) -> bool:
    """Return whether the verdict of some group could be settled by more rows, which tempts to look again."""
    groups = (comparison.overall, *(g for a in comparison.attributes for g in a.groups))
    return any(x.rows_to_decide is not None for g in groups for x in g.losses)


def judging_rules(
    options: AuditOptions, metrics: Sequence[str], error_of: Callable[[str], float] = lambda metric: 1.0
) -> JudgingRules:
    """Return how the losses in these metrics are judged.

    Parameters
    ----------
    metrics
        The judged metrics.
    error_of
        Returns the baseline's error among all people in a metric. What is relative to it needs as many rows as an absolute
        margin of that share of it: one number for all groups, which no compressed model influences.

    Raises
    ------
    UserError
        The error that decides, or one with a margin, is not among the judged metrics.
    """
    deciding = HARMS[options.harm]
    if deciding not in metrics:
        others = " or ".join(f"`harm={h!r}`" for h, m in HARMS.items() if m in metrics)
        remedy = (
            f"add {deciding} to `metrics=`" if options.metrics else "name the positive class with `positive=`"
        )
        raise UserError(
            f"`harm={options.harm!r}` decides, but is not among the judged metrics ({', '.join(metrics)}); choose {others}, "
            f"or {remedy}."
        )
    ordered = (deciding, *(m for m in metrics if m != deciding))
    given = {e: x for e, x in options.margin.items() if e != RECALL or not options.judges_classes}
    margins = by_metric(given, ordered)
    absolute = {m: x.value * error_of(m) if x.relative else x.value for m, x in margins.items()}
    chosen = {m: options.min_rows.get(e, options.min_rows.get(DEFAULT)) for e, m in HARMS.items()}
    min_rows = {m: chosen[m] or min_rows_for(absolute[m], options.confidence) for m in ordered}
    return JudgingRules(
        ordered,
        margins,
        min_rows,
        options.confidence,
        options.correction,
        options.family,
        absolute[deciding],
    )


def _group_pairs(data: AuditInput, margin: float) -> list[GroupPair]:
    """Return the pairs that the user fixed, and those with the baseline's largest gaps on validation rows."""
    cells, options = data.table.cells, data.options
    pairs = fixed_pairs(options.pairs, cells, data.attributes)
    if data.validation is None:
        return pairs
    widest = widest_pairs(
        cells,
        GroupEstimator(data.validation.cells),
        data.baseline,
        data.attributes,
        data.metrics,
        margin,
    )
    if not widest:
        raise UserError(
            f"{data.validation.name}: no attribute has two groups with enough rows to choose a pair from; fix a pair with "
            "`pairs=`."
        )
    return pairs + widest
