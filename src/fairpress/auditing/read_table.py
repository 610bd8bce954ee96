"""The reading phase of an audit: a table is opened once, and everything that the audit needs from it becomes one value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from fairpress.auditing.cells.cells import Cells
from fairpress.auditing.cells.counting import count, decisions
from fairpress.auditing.cells.decision import Decision
from fairpress.auditing.cells.duckdb_source import TableSource
from fairpress.auditing.cells.open_source import open_source
from fairpress.auditing.cells.positive_class import PositiveClass
from fairpress.auditing.cells.score_columns import check_orientation
from fairpress.auditing.class_recall import RECALL
from fairpress.auditing.inference.closeness import ClosenessCounts, count_closeness
from fairpress.auditing.inference.score_tables import ScoreTables, count_scores
from fairpress.auditing.inference.template_counts import TemplateCounts, count_templates
from fairpress.auditing.model_rates import PredictionProvenance
from fairpress.auditing.options import AuditOptions
from fairpress.auditing.table_metadata import MODELS, recorded_text
from fairpress.auditing.table_warnings import table_warnings
from fairpress.auditing.verdicts.rules import JUDGED_MULTICLASS
from fairpress.core.attribute import Attribute, parse_attributes
from fairpress.core.errors import UserError
from fairpress.core.version import __version__


@dataclass(frozen=True)
class CountedTable:
    """The cells of a table, and its name in messages."""

    name: str
    cells: Cells


@dataclass(frozen=True)
class AuditInput:
    """Everything that an audit takes from its tables; the tables are not read again.

    Attributes
    ----------
    options
        The options of the audit.
    baseline, compressed
        The models: those of the options, or those that the table records.
    attributes
        The audited attributes, without duplicates.
    metrics
        The metrics whose losses are judged, without the recall of every class.
    table
        The counted table.
    scores
        The counted scores of models that have them.
    runs
        Model → what produced its predictions.
    digests
        Model → digest of the file that produced its predictions, where the table records it.
    validation
        The table `pairs_from` counted for the baseline, if the options name one.
    warnings
        Sentences about the table.
    provenance
        Versions of the packages that compute the audit, and the table's path.
    closeness, closeness_notes
        The rows by how close to call the baseline's answers were, where it has scores; or why not.
    templates
        The rows by template, if the options name a column of them.
    """

    options: AuditOptions
    baseline: str
    compressed: tuple[str, ...]
    attributes: tuple[Attribute, ...]
    metrics: tuple[str, ...]
    table: CountedTable
    scores: ScoreTables
    runs: Mapping[str, PredictionProvenance]
    digests: Mapping[str, str]
    validation: CountedTable | None
    warnings: tuple[str, ...]
    provenance: Mapping[str, str]
    closeness: ClosenessCounts | None = None
    closeness_notes: tuple[str, ...] = ()
    templates: TemplateCounts | None = None

    @property
    def models(self) -> tuple[str, ...]:
        """The baseline, then the compressed models."""
        return (self.baseline, *self.compressed)


def read_table(table: Any, options: AuditOptions) -> AuditInput:
    """Read a table for an audit.

    Parameters
    ----------
    table
        As in `audit.audit`, or an open source.

    Raises
    ------
    UserError
        The table cannot be read or counted, or has no such model, column or class.
    """
    source = open_source(table)
    baseline, compressed = models_of(source, options)
    models = (baseline, *compressed)
    attributes = parse_attributes(options.by, source.columns)
    cells = count(
        source,
        label=options.label,
        models=models,
        by=attributes,
        positive=options.positive,
        decide=options.decide,
        weight=options.weight,
        bins=options.bins,
        missing=options.missing,
        keys=options.keys,
        warned=True,
    )
    decided_by = decisions(source, models, options.decide)
    positive = PositiveClass(cells.positive, cells.positive_from)
    orientation_warnings = check_orientation(source, decided_by, positive, cells.classes)
    if RECALL in (options.metrics or ()) and len(cells.classes) < 3:
        raise UserError(
            f"the label {options.label!r} has two classes, whose recalls are the TPR and 1 − FPR; ask for "
            "`metrics=['accuracy', 'tpr', 'fpr']`."
        )
    if cells.positive is None and set(options.metrics or ()) - {*JUDGED_MULTICLASS, RECALL}:
        raise UserError(
            f"the label {options.label!r} has {len(cells.classes)} classes, and TPR and FPR need a positive class; name "
            "it with `positive=`, or judge accuracy alone with `metrics='accuracy'`."
        )
    validation = _validation_table(table, source, options, cells, baseline, attributes)
    scores = count_scores(source, cells, options, baseline, compressed)
    runs = source.runs()
    closeness, closeness_notes = count_closeness(source, cells, options, models, attributes)
    source.release()
    return AuditInput(
        options=options,
        baseline=baseline,
        compressed=compressed,
        attributes=attributes,
        metrics=options.judged(cells.positive is not None),
        table=CountedTable(source.name, cells),
        scores=scores,
        runs=_prediction_provenance(runs, decided_by),
        digests=_digests(runs) if source.single else {},
        validation=validation,
        warnings=(
            *orientation_warnings,
            *table_warnings(source, cells, options, models, attributes),
        ),
        provenance=provenance_of(source),
        closeness=closeness,
        closeness_notes=closeness_notes,
        templates=count_templates(source, cells, options, models, attributes),
    )


def models_of(source: TableSource, options: AuditOptions) -> tuple[str, tuple[str, ...]]:
    """Return the baseline and the compressed models: those of the options, or those that the table records."""
    if options.baseline is not None and options.compressed is not None:
        return options.baseline, tuple(options.compressed)
    recorded = _recorded_models(source)
    baseline = options.baseline if options.baseline is not None else next(iter(recorded), None)
    if baseline is None:
        raise UserError("name the column of the baseline, such as `baseline='fp32'`.")
    if options.compressed is not None:
        return baseline, tuple(options.compressed)
    return baseline, tuple(name for name in recorded if name != baseline)


def _recorded_models(source: TableSource) -> list[str]:
    """Return the models that `predict` recorded in the table; none for several tables, which may differ in them."""
    text = recorded_text(source, MODELS)
    return text.split("\n") if text else []


def _validation_table(
    table: Any,
    source: TableSource,
    options: AuditOptions,
    cells: Cells,
    baseline: str,
    attributes: Sequence[Attribute],
) -> CountedTable | None:
    """Count the baseline in the table `pairs_from`, on which pairs of groups are chosen."""
    other = options.pairs_from
    if other is None:
        return None
    validation = open_source(other)
    if other is table or set(validation.locations) & set(source.locations) or source.shares_file(validation):
        raise UserError(
            "a pair chosen on the audited rows regresses to the mean and makes compression look better than it is; "
            "choose it on validation rows with `pairs_from=`, or fix it with `pairs=`."
        )
    counted = count(
        validation,
        label=options.label,
        models=[baseline],
        by=attributes,
        positive=options.positive if options.positive is not None else cells.positive,
        decide={m: d for m, d in options.decide.items() if m == baseline},
        bins=options.bins,
        missing=options.missing,
    )
    return CountedTable(validation.name, counted)


def _prediction_provenance(
    runs: Mapping[str, Mapping[str, Any]], decided_by: Mapping[str, Decision]
) -> dict[str, PredictionProvenance]:
    """Return the runtime and threshold of each model, from the table's metadata and from its decision rule."""
    provenance = {}
    for name, decision in decided_by.items():
        run = runs.get(name, {})
        threshold = decision.number if decision.sign else run.get("threshold")
        provenance[name] = PredictionProvenance(
            _describe_runtime(run),
            float(threshold) if isinstance(threshold, (int, float)) else None,
        )
    return provenance


def _describe_runtime(run: Mapping[str, Any]) -> str | None:
    """Return runtime, version and options, such as ``onnxruntime 1.22.0 (precision f32, provider CPU, threads 1)``."""
    name = run.get("runtime")
    if not isinstance(name, str):
        return None
    details = {
        k: v for k, v in sorted(run.items()) if k not in ("runtime", "threshold", "processor", "digest")
    }
    options = [f"{k} {v}" for k, v in details.items() if isinstance(v, (str, int, float))]
    options += [
        f"{k} {v}" for part in details.values() if isinstance(part, Mapping) for k, v in sorted(part.items())
    ]
    return f"{name} ({', '.join(options)})" if options else name


def _digests(runs: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    return {name: str(run["digest"]) for name, run in runs.items() if run.get("digest")}


def provenance_of(source: TableSource) -> dict[str, str]:
    """Return the versions of the packages that compute the audit, and the path of the table."""
    versions = {name: str(import_module(name).__version__) for name in ("duckdb", "numpy", "scipy")}
    table = {"table": ", ".join(source.locations)} if source.locations else {}
    return {"fairpress": __version__, **versions, **table}
