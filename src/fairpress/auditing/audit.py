"""Audit a predictions table: check the options, count the table into cells, estimate and judge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any

import numpy as np

from fairpress.auditing.cells.cells import Cells
from fairpress.auditing.cells.counting import count, decisions
from fairpress.auditing.cells.duckdb_source import TableSource
from fairpress.auditing.cells.positive_class import PositiveClass
from fairpress.auditing.cells.score_columns import check_orientation
from fairpress.auditing.comparison import CompressionComparison
from fairpress.auditing.group_pairs import GroupPair, fixed_pairs, widest_pairs
from fairpress.auditing.inference.group_estimator import GroupEstimator
from fairpress.auditing.inference.score_tables import score_pairs
from fairpress.auditing.inference.seed_estimator import SeedGroupEstimator
from fairpress.auditing.judging import JudgingRules
from fairpress.auditing.model_rates import ModelRates, PredictionProvenance
from fairpress.auditing.notes import notes as audit_notes
from fairpress.auditing.result import Audit, Margin, Values
from fairpress.auditing.table_warnings import table_warnings
from fairpress.auditing.verdicts.eligibility import min_rows_for
from fairpress.auditing.verdicts.multiplicity import CORRECTIONS
from fairpress.auditing.verdicts.rules import JUDGED_BINARY, JUDGED_MULTICLASS
from fairpress.auditing.verdicts.wording import group_name
from fairpress.core.attribute import SEPARATOR, parse_attributes
from fairpress.core.errors import UserError

__all__ = ["audit", "count", "group_name"]

FAMILIES = ("artifact", "study")


def audit(
    table: Any,
    *,
    label: str = "label",
    baseline: str,
    compressed: Sequence[str] | str = (),
    by: Sequence[str] | str,
    positive: Any = None,
    decide: Mapping[str, str] | None = None,
    margin: float = 0.02,
    confidence: float = 0.95,
    metrics: Sequence[str] | str | None = None,
    weight: str | None = None,
    subject: str | None = None,
    seed_column: str | None = None,
    row_id: str = "row_id",
    bins: Mapping[str, Sequence[float]] | None = None,
    missing: str = "group",
    correction: str = "westfall-young",
    family: str = "artifact",
    pairs: str | Sequence[str | tuple[Values, Values]] = (),
    pairs_from: Any = None,
    notes: Sequence[str] = (),
) -> Audit:
    """Audit compressed models against a baseline on the same rows.

    Parameters
    ----------
    table
        A pandas, polars or pyarrow frame, the path of Parquet or CSV files, or a list of those; also tables of cells
        (`cells.export`), whose counts add up. An Ibis table, or an address such as
        ``snowflake://account/database/schema/table``, is aggregated in its database.
    label
        Column of true classes.
    baseline, compressed
        Models: columns of predicted classes. Without a column M, ``M.score`` (the probability of the positive class) is
        thresholded at 0.5; with ``M.score.<class>`` only, the class with the largest score is predicted. Models with scores
        get score metrics, too (`score_metrics`). Without a compressed model, the audit has rates and gaps only.
    by
        Sensitive attributes, ``"sex"``, and intersections, ``"sex*race"``.
    positive
        The positive class; by default the one that the table records (`predict` writes it), else the one called 1, yes,
        true or positive, else the last of two in alphabetical order, which a note then reports. Where predictions come from
        scores, alphabetical order is not enough and the class must be named. With more than two classes and no positive
        class, only accuracy and flips are audited.
    decide
        Model → ``column>=number``, for models whose prediction is a threshold on a numeric score.
    margin
        δ: a loss above this is harm.
    metrics
        The metrics whose losses are judged: accuracy, tpr, fpr; all three by default.
    weight
        Column of row weights; they are scaled to a mean of one, and every n is weighted.
    subject
        Column that identifies the person of each row; people are then the unit of every interval.
    seed_column
        Column of training seeds when runs are stacked; intervals then take seeds and rows as random.
    row_id
        Column that identifies the same row under different seeds; read only with `seed_column`.
    bins
        Numeric attribute → edges that cut it into groups.
    missing
        Missing attribute values: ``"group"`` (a separate group) or ``"refuse"``.
    correction
        ``"holm"`` controls the family-wise error rate; ``"bh"`` and ``"by"`` control the false discovery rate.
    family
        Tests that are corrected together: the groups × metrics × attributes of each ``"artifact"``, or of the whole
        ``"study"``.
    pairs
        Pairs of groups for which to estimate the difference in differences: ``"sex=Female|Male"``,
        ``"sex*race=Female,Black|Male,White"``, or two groups as attribute → value.
    pairs_from
        Another table, such as validation rows, on which the pair with the baseline's largest gap is chosen for each
        attribute and judged metric.

    Raises
    ------
    UserError
        The table or the arguments cannot be audited; the message gives the cause and the remedy.
    """
    by = as_list(by, "by")
    compressed = as_list(compressed, "compressed")
    metrics = None if metrics is None else as_list(metrics, "metrics")
    pairs = [pairs] if isinstance(pairs, str) else list(pairs or ())
    _check_mappings({"decide": decide, "bins": bins})
    _check_names(
        {"label": label, "baseline": baseline},
        {"weight": weight, "subject": subject, "seed_column": seed_column},
    )
    _check_options(by, margin, confidence, missing, metrics, correction, family)
    source = open_source(table)
    attributes = parse_attributes(by, source.columns)
    names = [baseline, *compressed]
    keys = {
        **({"subject": subject} if subject is not None else {}),
        **({"seed": seed_column, "row": row_id} if seed_column is not None else {}),
    }
    count_options: dict[str, Any] = {
        "label": label,
        "by": attributes,
        "positive": positive,
        "decide": decide,
        "bins": bins,
        "missing": missing,
    }
    cells = count(source, models=names, weight=weight, keys=keys, **count_options)
    positive_class = PositiveClass(cells.positive, cells.positive_from)
    orientation_warnings = check_orientation(
        source, decisions(source, names, decide or {}), positive_class, cells.classes
    )
    if cells.positive is None and set(metrics or JUDGED_MULTICLASS) - {*JUDGED_MULTICLASS}:
        raise UserError(
            f"the label {label!r} has {len(cells.classes)} classes, and TPR and FPR need a positive class; name it with "
            "`positive=`, or judge accuracy alone with `metrics='accuracy'`."
        )
    default = JUDGED_BINARY if cells.positive is not None else JUDGED_MULTICLASS
    judged = tuple(metrics) if metrics is not None else default
    evidence = GroupEstimator(cells) if seed_column is None else SeedGroupEstimator(cells, source.name)
    fixed = fixed_pairs(pairs, cells, attributes)
    if pairs_from is not None:
        if pairs_from is table or (isinstance(pairs_from, (str, PathLike)) and pairs_from == table):
            raise UserError(
                "a pair chosen on the audited rows regresses to the mean and makes compression look better than it is; "
                "choose it on validation rows with `pairs_from=`, or fix it with `pairs=`."
            )
        fixed += _widest_pairs(pairs_from, cells, baseline, judged, margin, count_options)
    scored = score_pairs(
        source, cells, baseline, compressed, label=label, bins=bins or {}, keys=keys, weight=weight
    )
    margins = {m: Margin(margin) for m in judged}
    rules = JudgingRules(
        judged, margins, {m: min_rows_for(margin, confidence) for m in judged}, confidence, correction, family
    )
    auditor = ModelRates(
        evidence,
        cells,
        attributes,
        confidence,
        scored.sides,
        _prediction_provenance(source, names, decide or {}),
        margin,
    )
    comparer = CompressionComparison(
        evidence,
        cells,
        attributes,
        baseline,
        rules,
        scored.pairs,
        fixed,
    )
    return Audit(
        rows=evidence.table_rows,
        subjects=evidence.subjects,
        seeds=evidence.seeds if isinstance(evidence, SeedGroupEstimator) else None,
        baseline=baseline,
        margin=margin,
        confidence=confidence,
        label=label,
        positive=cells.positive,
        classes=cells.classes,
        weight=weight,
        correction=correction,
        family=family,
        attributes=tuple(map(str, attributes)),
        metrics=judged,
        margins=margins,
        min_rows=rules.min_rows,
        models=tuple(auditor.model(name) for name in names),
        fairness=tuple(f for name in names for f in auditor.fairness(name)),
        comparisons=comparer.compare(compressed),
        notes=(
            *notes,
            *audit_notes(
                cells,
                evidence,
                attributes,
                weight=weight,
                subject=subject,
                correction=correction,
                family=family,
                scores=scored.notes,
            ),
        ),
        warnings=(
            *orientation_warnings,
            *table_warnings(
                source,
                cells,
                label=label,
                baseline=baseline,
                models=names,
                by=attributes,
                subject=subject,
                seed_column=seed_column,
                row_id=row_id,
            ),
        ),
        positive_from=cells.positive_from,
    )


def open_source(table: Any) -> TableSource:
    """Open a table for counting; an Ibis table or an address is counted in its database."""
    from fairpress.auditing.cells.ibis_source import WarehouseSource, is_address, is_ibis

    return WarehouseSource(table) if is_address(table) or is_ibis(table) else TableSource(table)


def as_list(given: Any, name: str) -> list[str]:
    """Return a list of names; a single name may be given as a string."""
    if isinstance(given, str):
        return [given]
    try:
        names = [] if given is None else list(given)
    except TypeError:
        names = [given]
    invalid = next((x for x in names if not isinstance(x, str)), None)
    if invalid is None:
        return names
    if name == "by" and isinstance(invalid, (tuple, list)) and all(isinstance(x, str) for x in invalid):
        crossed = SEPARATOR.join(invalid)
        raise UserError(
            f"`by=` is a list of names, and an intersection is one of them: `by=[{crossed!r}]`, not {invalid!r}."
        )
    raise UserError(
        f"`{name}=` is a list of names, such as ['{'sex' if name == 'by' else 'int8'}'], and must not contain {invalid!r}."
    )


def _check_mappings(given: Mapping[str, Any]) -> None:
    for name, value in given.items():
        if value is not None and not isinstance(value, Mapping):
            example = "{'int8': 'int8.score>=0.3'}" if name == "decide" else "{'age': [25, 45]}"
            raise UserError(f"`{name}=` is a dict, such as {example}, not {value!r}.")


def _check_names(needed: Mapping[str, Any], optional: Mapping[str, Any]) -> None:
    for name, value in {**needed, **{k: v for k, v in optional.items() if v is not None}}.items():
        if not isinstance(value, str):
            raise UserError(f"`{name}=` is the name of one column, not {value!r}.")


def _check_options(
    by: Sequence[str],
    margin: Any,
    confidence: Any,
    missing: str,
    metrics: Sequence[str] | None,
    correction: str,
    family: str,
) -> None:
    for name, value in (("margin", margin), ("confidence", confidence)):
        if isinstance(value, bool) or not isinstance(value, (int, float, np.number)):
            raise UserError(
                f"the {name} is a number such as {0.02 if name == 'margin' else 0.95}, not {value!r}."
            )
    if not any(b.strip() for b in by):
        raise UserError("name at least one sensitive attribute, such as `by=['sex', 'race']`.")
    if not 0 < margin < 1:
        raise UserError(f"the margin {margin} is not between 0 and 1; 0.02 means two percentage points.")
    if not 0.5 < confidence < 1:
        raise UserError(f"the confidence {confidence} is not between 0.5 and 1; 0.95 means 95 %.")
    if missing not in ("group", "refuse"):
        raise UserError(f"`missing=` must be group or refuse, not {missing!r}.")
    if correction not in CORRECTIONS:
        raise UserError(f"`correction=` must be one of {', '.join(CORRECTIONS)}, not {correction!r}.")
    if family not in FAMILIES:
        raise UserError(f"`family=` must be {' or '.join(FAMILIES)}, not {family!r}.")
    unknown = [m for m in metrics or () if m not in JUDGED_BINARY]
    if unknown or (metrics is not None and not metrics):
        raise UserError(
            f"`metrics=` must name some of accuracy, tpr and fpr, not {', '.join(unknown) or 'an empty list'}."
        )


def _widest_pairs(
    table: Any,
    cells: Cells,
    baseline: str,
    metrics: Sequence[str],
    margin: float,
    count_options: Mapping[str, Any],
) -> list[GroupPair]:
    """Return the pairs with the baseline's largest gaps on other rows."""
    source = open_source(table)
    decide = {m: d for m, d in (count_options["decide"] or {}).items() if m == baseline}
    positive = count_options["positive"] if count_options["positive"] is not None else cells.positive
    other = count(source, models=[baseline], **{**count_options, "decide": decide, "positive": positive})
    pairs = widest_pairs(cells, GroupEstimator(other), baseline, count_options["by"], metrics, margin)
    if not pairs:
        raise UserError(
            f"{source.name}: no attribute has two groups with enough rows to choose a pair from; fix a pair with `pairs=`."
        )
    return pairs


def _prediction_provenance(
    source: TableSource, names: Sequence[str], decide: Mapping[str, str]
) -> dict[str, PredictionProvenance]:
    """Return the runtime and threshold of each model, from the table's metadata and from its decision rule."""
    recorded, provenance = source.runs(), {}
    for name, decision in decisions(source, names, decide).items():
        run = recorded.get(name, {})
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
