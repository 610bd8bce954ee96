"""A study's report: read the results of the tasks, render them, and write the study's folder."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

from fairpress.auditing.output.audit_json import to_dict
from fairpress.core.canonical_json import canonical_json, digest
from fairpress.core.code_digest import code_digest
from fairpress.core.errors import FairpressError
from fairpress.core.indented_json import indented_json
from fairpress.core.version import installed_version
from fairpress.reporting.html import ModelFacts, render
from fairpress.reporting.paper_tables import tables
from fairpress.reporting.tradeoff import Tradeoff, draw
from fairpress.reporting.tradeoff_result import TradeoffResult
from fairpress.store.local import Entry, Store
from fairpress.studies.analysis import audit_tasks
from fairpress.studies.analysis.bias_findings import bias_findings
from fairpress.studies.analysis.claims.verdict import CLAIMS
from fairpress.studies.analysis.tradeoff import TRADEOFF
from fairpress.studies.config.network_facts import NetworkFacts, parse_facts
from fairpress.studies.config.recipe_names import BASELINE, MITIGATION_SEPARATOR
from fairpress.studies.config.store_files import MODELS, PREDICTIONS, read_entry
from fairpress.studies.execution.executor import Outcome
from fairpress.studies.planning.plan import StudyPlan, StudyTask
from fairpress.studies.planning.prepare import PreparedStudy
from fairpress.studies.planning.report_plan import ReportPlan
from fairpress.studies.report.latency import latency
from fairpress.studies.report.manifest import manifest_text
from fairpress.studies.report.overview_charts import study_charts
from fairpress.studies.report.result import StudyResult
from fairpress.studies.report.sections import report_sections
from fairpress.studies.report.write_folder import slug, write

REPORT = "report.json"


def write_report(
    name: str,
    study: PreparedStudy,
    report: ReportPlan,
    outcome: Outcome,
    tasks: Mapping[str, StudyTask],
    store: Store,
    out: Path,
    command: str,
) -> StudyResult:
    """Write the report of the finished tasks and return it; raise FairpressError if there is nothing to report."""
    planned = [p for p in report.sections if p.task.key not in outcome.undone]
    if not planned:
        reasons = "; ".join(dict.fromkeys(outcome.failed.values())) or "nothing ran"
        raise FairpressError(f"no baseline could be trained: {reasons}")
    entries = {p.task.key: read_entry(store, p.task.key) for p in planned}
    audits = [audit_tasks.restore(entries[p.task.key].files[audit_tasks.AUDIT]) for p in planned]
    joined = {
        label: [read_entry(store, task.key) for task in tables_of_part if task.key not in outcome.undone]
        for label, tables_of_part in report.tables.items()
    }
    facts = {label: _facts(tables_of_part) for label, tables_of_part in joined.items()}
    # Networks of different attributes have the same size: list those of the first.
    sized = {(p.dataset, p.model): p.label for p in reversed(study.plan.parts) if p.label in facts}
    models = tuple(
        m for label in facts if label in sized.values() for m in model_sizes(label, facts[label], study.plan)
    )
    sizes = _bytes(facts)
    sections = report_sections(planned, audits, sizes)
    changes = [json.loads(entries[p.task.key].files[audit_tasks.BIAS]) for p in planned]
    bias = tuple(bias_findings(planned, changes))
    tradeoff = _tradeoff(study, report, outcome, store)
    claims = _claims(report, outcome, store)
    leading = [(p.part, s.audit) for p, s in zip(planned, sections, strict=True) if p.about == "compressed"]
    published = study.config.published
    rate_tables = [
        (
            part.label,
            list(
                tables(
                    audit,
                    {m: b for (p, m), b in sizes.items() if p == part.label},
                    {} if published is None else published.for_part(part.names),
                )
            ),
        )
        for part, audit in leading
    ]
    result = StudyResult(
        out,
        sections,
        tuple(planned),
        models,
        bias,
        _warnings(study),
        outcome,
        tasks,
        tradeoff,
        claims,
        rate_tables,
        None if published is None else published.model_dump(),
        title=study.config.title or f"Study {name}",
        folds=study.config.folds,
    )
    several = len(joined) > 1 or "" not in joined
    predictions = {
        f"predictions/{slug(label)}.parquet" if several else "predictions.parquet": tables_of_part[0].files[
            PREDICTIONS
        ]
        for label, tables_of_part in joined.items()
        if tables_of_part
    }
    files = _files(name, result, study, entries, facts, store, command)
    # Another command may be writing the same folder.
    with store.lock(f"report-{digest(str(out.resolve()))}"):
        write(out, {**files, **predictions})
    return result


def _files(
    name: str,
    result: StudyResult,
    study: PreparedStudy,
    entries: Mapping[str, Entry],
    facts: Mapping[str, Sequence[NetworkFacts]],
    store: Store,
    command: str,
) -> dict[str, bytes]:
    """Return the files of a report except its predictions; cached under the digests of code and results."""
    provenance = _provenance(study, command)
    timed = None if result.tradeoff is None else result.tradeoff.latency
    key = digest(
        {
            "kind": "report",
            "name": name,
            "made_by": provenance,
            "only": study.filter_texts,
            "results": [p.task.key for p in result.planned],
            "tradeoff": None if result.tradeoff is None else [result.tradeoff.results.to_dict(), timed],
            "claims": list(result.claims),
            "notes": [data.notes for data in study.data.values()],
            "code": [code_digest(f"fairpress.{p}") for p in ("reporting", "studies", "auditing")],
        }
    )
    stored = store.get(key)
    if stored is not None:
        return {name: text.encode() for name, text in json.loads(stored.files[REPORT]).items()}
    figures = {
        (i, compressed, metric): svg
        for i, p in enumerate(result.planned)
        if p.is_compression
        for (compressed, metric), svg in audit_tasks.read_figures(entries[p.task.key]).items()
    }
    drawn = None if result.tradeoff is None else replace(result.tradeoff, figures=draw(result.tradeoff))
    leading = [
        (p.part.label, s.audit)
        for p, s in zip(result.planned, result.sections, strict=True)
        if p.about == "compressed"
    ]
    sizes = _bytes(facts)
    charts = study_charts(leading, result, facts, sizes)
    page = render(
        [
            # Verdicts apply only to compression: contrasts and naive predictors are shown without.
            s if p.is_compression else replace(s, audit=replace(s.audit, comparisons=()))
            for p, s in zip(result.planned, result.sections, strict=True)
        ],
        title=result.title,
        models=result.models,
        made_by=provenance,
        banner=" ".join(result.warnings),
        notes=[note for data in study.data.values() for note in data.notes],
        figures=figures,
        tradeoff=drawn,
        claims=result.claims,
        charts=charts,
        tables=result.tables,
        source=result.source,
        date=date.today().isoformat(),
    )
    files = {
        "report.html": page.encode(),
        **{
            _figure_path(
                result.planned[i].part.label, compressed, result.sections[i].audit.baseline, metric
            ): svg.encode()
            for (i, compressed, metric), svg in figures.items()
        },
        "audit.json": _json(
            {
                s.title: {**p.part.labels, **to_dict(s.audit)}
                for p, s in zip(result.planned, result.sections, strict=True)
            }
        ),
        "bias.json": _json([f.to_dict() for f in result.bias]),
        **({} if drawn is None else _tradeoff_files(drawn)),
        **{f"figures/{c.name}.svg": c.svg.encode() for c in charts},
        **({CLAIMS: _json(list(result.claims))} if result.claims else {}),
        "study.json": _json(
            {"name": name, **provenance, "only": list(study.filter_texts), "warnings": list(result.warnings)}
        ),
        "models.json": _json(
            [
                {**part.labels, **fact.to_dict()}
                for part in study.plan.parts
                for fact in facts.get(part.label, ())
            ]
        ),
    }
    store.remember(
        key, {REPORT: json.dumps({k: v.decode() for k, v in files.items()}).encode()}, {"kind": "report"}
    )
    return files


def _figure_path(part: str, compressed: str, baseline: str, metric: str) -> str:
    return f"figures/{slug(f'{part} {compressed} against {baseline} {metric}')}.svg"


def _tradeoff(study: PreparedStudy, report: ReportPlan, outcome: Outcome, store: Store) -> Tradeoff | None:
    """Return size, accuracy and bias of all recipes; networks are timed here because no other task runs."""
    request, task = study.config.size_accuracy_bias, report.tradeoff
    if request is None or task is None or task.key in outcome.undone:
        return None
    comparison = TradeoffResult.from_dict(json.loads(read_entry(store, task.key).files[TRADEOFF]))
    models = [m.model for m in comparison.models]
    return Tradeoff(
        comparison,
        None if request.published is None else request.published.model_dump(),
        latency(store, study.plan, models, outcome.undone) if request.latency else None,
    )


def _bytes(facts: Mapping[str, Sequence[NetworkFacts]]) -> dict[tuple[str, str], float]:
    """Return (part, recipe) → mean size of its files in bytes."""
    return {
        (label, recipe): float(np.mean([f.bytes for f in part_facts if f.recipe == recipe]))
        for label, part_facts in facts.items()
        for recipe in dict.fromkeys(f.recipe for f in part_facts)
    }


def _claims(report: ReportPlan, outcome: Outcome, store: Store) -> Sequence[Mapping[str, Any]]:
    if report.claims is None or report.claims.key in outcome.undone:
        return ()
    verdicts: list[Mapping[str, Any]] = json.loads(read_entry(store, report.claims.key).files[CLAIMS])
    return tuple(verdicts)


def _tradeoff_files(tradeoff: Tradeoff) -> dict[str, bytes]:
    content = {**tradeoff.results.to_dict(), "published": tradeoff.published, "latency": tradeoff.latency}
    return {
        "tradeoff.json": _json(content),
        **{f"figures/{name}.svg": svg.encode() for name, svg in tradeoff.figures.items()},
    }


def _provenance(study: PreparedStudy, command: str) -> dict[str, str]:
    config = study.config
    data = (f"{d.name}, sha256 {d.fingerprint}" for d in study.data.values())
    split = "by row" if any(d.warnings for d in study.data.values()) else "by subject"
    return {
        "command": command,
        "study": manifest_text(config),
        "data": "; ".join(dict.fromkeys(data)),
        "seeds": ", ".join(map(str, config.seeds)) + f"; {config.folds} fold(s), split {split}",
        "versions": canonical_json(_versions()),
    }


def _facts(entries: Sequence[Entry]) -> list[NetworkFacts]:
    """Return the facts of each network's file, without duplicates."""
    unique = {
        (fact.recipe, fact.seed, fact.fold, fact.sha256): fact
        for entry in entries
        for fact in parse_facts(entry.files[MODELS])
    }
    return list(unique.values())


def _warnings(study: PreparedStudy) -> tuple[str, ...]:
    """Return the warnings to show above every result, with the numbers of fold 0."""
    fold = f"fold 0 of {study.config.folds}: " if study.config.folds > 1 else ""
    labels: dict[str, list[str]] = {}
    for label, data in study.data.items():
        for sentence in data.warnings:
            labels.setdefault(sentence, []).append(label)
    several = len(study.data) > 1
    return tuple(
        f"{', '.join(datasets)}: {fold}{sentence}" if several else f"{fold}{sentence}"
        for sentence, datasets in labels.items()
    )


def model_sizes(label: str, facts: Sequence[NetworkFacts], plan: StudyPlan) -> list[ModelFacts]:
    """Return the mean size of each model's files, in the order of the facts."""
    models = []
    baseline_bytes = float(np.mean([f.bytes for f in facts if f.recipe == BASELINE]))
    for recipe in dict.fromkeys(f.recipe for f in facts):
        recipe_facts = [f for f in facts if f.recipe == recipe]
        sparsity = [f.details["sparsity"] for f in recipe_facts if "sparsity" in f.details]
        size = float(np.mean([f.bytes for f in recipe_facts]))
        note = ""
        if sparsity:
            note = f"{np.mean(sparsity):.1%} of weights are zero: a dense file shrinks only when gzipped"
        elif MITIGATION_SEPARATOR in recipe:
            note = "the same file; a mitigation adjusts its scores by group at prediction"
        elif recipe in plan.placebo_of.values():
            note = "control: not compressed"
        models.append(
            ModelFacts(
                ": ".join(filter(None, [label, recipe])),
                size,
                float(np.mean([f.gzip_bytes for f in recipe_facts])),
                baseline_bytes / size,
                note,
            )
        )
    return models


def _json(value: Any) -> bytes:
    return indented_json(value, 1, allow_nan=False).encode()


def _versions() -> dict[str, str]:
    packages = ("fairpress", "torch", "torchao", "onnx", "onnxruntime", "numpy", "duckdb")
    installed = {name: version for name in packages if (version := installed_version(name)) is not None}
    return {"python": sys.version.split()[0], **installed}
