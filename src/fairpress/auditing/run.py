"""The audit of a predictions table: open it, check what is asked, count, and let the auditor judge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fairpress.auditing.auditor import Auditor
from fairpress.auditing.cells import Cells, build
from fairpress.auditing.evidence import Evidence
from fairpress.auditing.result import Audit
from fairpress.auditing.seed_evidence import SeedEvidence
from fairpress.auditing.sentences import group_name
from fairpress.auditing.source import Decision, Source, parse_decision
from fairpress.auditing.verdict import JUDGED_BINARY, JUDGED_MULTICLASS
from fairpress.core.errors import UserError

__all__ = ["audit", "group_name"]


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
    metrics: Sequence[str] | None = None,
    weight: str | None = None,
    subject: str | None = None,
    seed_column: str | None = None,
    row_id: str = "row_id",
    bins: Mapping[str, Sequence[float]] | None = None,
    missing: str = "group",
    notes: Sequence[str] = (),
) -> Audit:
    """Audit compressed models against a baseline on the same rows.

    Parameters
    ----------
    table
        A pandas, polars or pyarrow frame, or the path of Parquet or CSV files, or a list of paths; also tables of
        cells (`cells_file`), whose counts add up.
    label
        Column of true classes.
    baseline, compressed
        Models: columns of predicted classes; where there is no column M but ``M.score`` (the probability of
        the positive class), it is decided at 0.5. No compressed model: rates and gaps only.
    by
        Sensitive attributes, ``"sex"``, and intersections, ``"sex*race"``.
    positive
        The positive class; by default 1, yes or true, else the last of two in the alphabet. With more than two
        classes and none named, accuracy and flips only.
    decide
        Model → ``column>=number`` for models given by any numeric score.
    margin
        δ: a loss above this is harm.
    metrics
        The losses that are judged, of accuracy, tpr, fpr; all three by default.
    weight
        Column of row weights; they are scaled to a mean of one, and every n is weighted.
    subject
        Column that says who a row is about; people are then the unit of every interval.
    seed_column
        Column of training seeds when runs are stacked; intervals then take seeds and rows as random.
    row_id
        Column that tells which rows of different seeds are the same; read only with `seed_column`.
    bins
        Numeric attribute → edges that cut it into groups.
    missing
        Missing attribute values: ``"group"`` (a group of their own) or ``"refuse"``.

    Raises
    ------
    UserError
        One sentence with the remedy for anything in the table or the arguments that cannot be audited.
    """
    by = tuple(dict.fromkeys("*".join(p.strip() for p in b.split("*")) for b in by if b.strip()))
    if not by:
        raise UserError("name at least one sensitive attribute with --by, such as --by sex,race.")
    if not 0 < margin < 1:
        raise UserError(f"the margin {margin} is no share between 0 and 1; 0.02 means two points.")
    if not 0.5 < confidence < 1:
        raise UserError(f"the confidence {confidence} is no share between 0.5 and 1, such as 0.95.")
    if missing not in ("group", "refuse"):
        raise UserError(f"--missing takes group or refuse, not {missing!r}.")
    strange = [m for m in metrics or () if m not in JUDGED_BINARY]
    if strange or (metrics is not None and not metrics):
        raise UserError(
            f"losses can be judged in accuracy, tpr and fpr, not in {', '.join(strange) or 'nothing'}."
        )
    source = Source(table)
    names = [baseline, *compressed]
    cells = count(
        source,
        label=label,
        models=names,
        by=by,
        positive=positive,
        decide=decide,
        weight=weight,
        bins=bins,
        missing=missing,
        keys={
            **({"subject": subject} if subject is not None else {}),
            **({"seed": seed_column, "row": row_id} if seed_column is not None else {}),
        },
    )
    if cells.positive is None and set(metrics or JUDGED_MULTICLASS) - {*JUDGED_MULTICLASS}:
        raise UserError(
            f"the label {label!r} has {len(cells.classes)} classes; name the one that tpr and fpr speak of with "
            "--positive, or judge accuracy only."
        )
    default = JUDGED_BINARY if cells.positive is not None else JUDGED_MULTICLASS
    judged = tuple(metrics) if metrics is not None else default
    evidence = Evidence(cells) if seed_column is None else SeedEvidence(cells, source.name)
    auditor = Auditor(evidence, cells, by, baseline, margin, confidence, judged)
    return Audit(
        rows=evidence.table_rows,
        subjects=evidence.subjects,
        seeds=evidence.seeds if isinstance(evidence, SeedEvidence) else None,
        baseline=baseline,
        margin=margin,
        confidence=confidence,
        label=label,
        positive=cells.positive,
        classes=cells.classes,
        weight=weight,
        attributes=by,
        metrics=judged,
        models=tuple(auditor.model(name) for name in names),
        fairness=tuple(f for name in names for f in auditor.fairness(name)),
        comparisons=tuple(auditor.compare(name) for name in compressed),
        notes=(*notes, *_notes(cells, evidence, weight, subject)),
    )


def count(
    source: Source,
    *,
    label: str,
    models: Sequence[str],
    by: Sequence[str],
    positive: str | None = None,
    decide: Mapping[str, str] | None = None,
    weight: str | None = None,
    bins: Mapping[str, Sequence[float]] | None = None,
    missing: str = "group",
    keys: Mapping[str, str] | None = None,
) -> Cells:
    """Return the cells of a table; see `audit` for the arguments. `keys` names the columns of subject, seed, row."""
    keys = keys or {}
    if len(set(models)) < len(models):
        raise UserError("a model is named twice; compare the baseline with other columns.")
    attributes = tuple(dict.fromkeys(part for b in by for part in b.split("*")))
    source.require(label, "the label")
    for name in attributes:
        source.require(name, "a sensitive attribute")
    roles = {
        "subject": "the subject",
        "seed": "the seed column",
        "row": "the row id, which tells equal rows of different seeds",
    }
    for role, name in keys.items():
        source.require(name, roles[role])
        if source.counted_already:
            raise UserError(f"{source.name} holds cells, which know no {role}; audit the rows themselves.")
    if label in attributes:
        raise UserError(f"the label {label!r} cannot be a sensitive attribute too.")
    cut = {name: _edges(name, edges, attributes) for name, edges in (bins or {}).items()}
    decisions, decided = _decisions(source, models, decide or {})
    counted = source.count(
        list(dict.fromkeys([label, *attributes, *keys.values()])), decisions, weight=weight, bins=cut
    )
    return build(
        counted,
        label=label,
        attributes=attributes,
        decided=decided,
        positive=positive,
        keys=keys,
        missing=missing,
        where=source.name,
    )


def _edges(name: str, edges: Sequence[float], attributes: Sequence[str]) -> list[float]:
    if name not in attributes:
        raise UserError(f"--bins names {name!r}, which is not among the sensitive attributes of --by.")
    if not edges or list(edges) != sorted(set(edges)):
        raise UserError(f"the bins of {name!r} need ascending edges, such as {name}=25,45.")
    return [float(e) for e in edges]


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


def _notes(cells: Cells, evidence: Evidence, weight: str | None, subject: str | None) -> list[str]:
    out = []
    if len(cells.classes) > 2:
        rest = (
            f"the rates are of {cells.positive!r} against the rest, accuracy and flips of all classes."
            if cells.positive is not None
            else "accuracy and flips only, for no class was named as the positive one."
        )
        out.append(f"The label has {len(cells.classes)} classes; {rest}")
    if weight is not None:
        out.append(
            f"Rows are weighted by {weight!r}, scaled to a mean of one; every n is a weighted number of rows."
        )
    if subject is not None:
        out.append(
            f"{evidence.table_rows:,} rows are about {evidence.subjects:,} people ({subject!r}), who are the unit of "
            "every interval."
        )
    if isinstance(evidence, SeedEvidence):
        unit = "rows" if subject is None else "people"
        out.append(
            f"Intervals take both the {evidence.seeds} training seeds and the {unit} as random: they speak of the recipe."
        )
    return out
