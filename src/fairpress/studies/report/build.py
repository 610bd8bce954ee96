"""A study's report: read what the tasks left, put it into words, and write the study's folder."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from fairpress.auditing.output.audit_json import to_dict
from fairpress.auditing.result import Audit
from fairpress.core.canonical_json import canonical_json, digest
from fairpress.core.code_digest import code_digest
from fairpress.core.errors import FairpressError
from fairpress.reporting.formatting import format_points, format_rate
from fairpress.reporting.html import ModelFacts, Section, render
from fairpress.reporting.paper_tables import tables
from fairpress.reporting.tradeoff import Tradeoff, draw
from fairpress.store.local import Entry, Store
from fairpress.studies.analysis import audit_tasks
from fairpress.studies.analysis.bias_findings import bias_findings
from fairpress.studies.analysis.claims.verdict import CLAIMS
from fairpress.studies.analysis.tradeoff import TRADEOFF
from fairpress.studies.config.recipe_names import BASELINE, THEN
from fairpress.studies.config.store_files import MODELS, PREDICTIONS, read_entry
from fairpress.studies.config.study import PublishedRates
from fairpress.studies.execution.executor import Outcome
from fairpress.studies.planning.plan import StudyPlan, StudyTask
from fairpress.studies.planning.prepare import PreparedStudy
from fairpress.studies.planning.report_plan import ReportPlan, ReportSection
from fairpress.studies.report.latency import latency
from fairpress.studies.report.manifest import manifest_text
from fairpress.studies.report.overview_charts import study_charts
from fairpress.studies.report.result import StudyResult
from fairpress.studies.report.write_folder import slug, write

REPORT = "report.json"


def write_report(
    name: str,
    ready: PreparedStudy,
    report: ReportPlan,
    outcome: Outcome,
    tasks: Mapping[str, StudyTask],
    store: Store,
    out: Path,
    command: str,
) -> StudyResult:
    """Write the report of what was done, and return it; raise FairpressError when there is nothing to report."""
    planned = [p for p in report.sections if p.task.key not in outcome.undone]
    if not planned:
        reasons = "; ".join(dict.fromkeys(outcome.failed.values())) or "nothing ran"
        raise FairpressError(f"no baseline could be trained: {reasons}")
    made = {p.task.key: read_entry(store, p.task.key) for p in planned}
    audits = [audit_tasks.restore(made[p.task.key].files[audit_tasks.AUDIT]) for p in planned]
    sections = tuple(Section(p.title, a, introduction(p, a)) for p, a in zip(planned, audits, strict=True))
    joined = {
        label: [read_entry(store, task.key) for task in found if task.key not in outcome.undone]
        for label, found in report.tables.items()
    }
    facts = {label: _facts(found) for label, found in joined.items()}
    # Networks of one attribute and of the next are of one size.
    sized = {(p.dataset, p.model): p.label for p in reversed(ready.layout.parts) if p.label in facts}
    models = tuple(
        m
        for label in facts
        if label in sized.values()
        for m in model_sizes(label, facts[label], ready.layout)
    )
    changes = [json.loads(made[p.task.key].files[audit_tasks.BIAS]) for p in planned]
    bias = tuple(bias_findings(planned, changes))
    tradeoff = _tradeoff(ready, report, outcome, store)
    claims = _claims(report, outcome, store)
    leading = [(p.part, s.audit) for p, s in zip(planned, sections, strict=True) if p.about == "compressed"]
    sizes, told = _bytes(facts), ready.config.published
    made_tables = [
        (
            label,
            list(tables(audit, {m: b for (p, m), b in sizes.items() if p == label}, _theirs(told, label))),
        )
        for label, audit in leading
    ]
    done = StudyResult(
        out,
        sections,
        tuple(planned),
        models,
        bias,
        _warnings(ready),
        outcome,
        tasks,
        tradeoff,
        claims,
        made_tables,
        None if told is None else told.model_dump(),
    )
    several = len(joined) > 1 or "" not in joined
    predictions = {
        f"predictions/{slug(label)}.parquet" if several else "predictions.parquet": found[0].files[
            PREDICTIONS
        ]
        for label, found in joined.items()
        if found
    }
    files = _files(name, done, ready, made, facts, store, command)
    # Another command may be writing the same folder.
    with store.lock(f"report-{digest(str(out.resolve()))}"):
        write(out, {**files, **predictions})
    return done


def _files(
    name: str,
    done: StudyResult,
    ready: PreparedStudy,
    made: Mapping[str, Entry],
    facts: Mapping[str, Sequence[Mapping[str, Any]]],
    store: Store,
    command: str,
) -> dict[str, bytes]:
    """Return the files of a report but its predictions; drawn once, and kept as long as the code and all results stay."""
    made_by = _made_by(ready, command)
    timed = None if done.tradeoff is None else done.tradeoff.latency
    key = digest(
        {
            "kind": "report",
            "name": name,
            "made_by": made_by,
            "only": ready.asked,
            "results": [p.task.key for p in done.about],
            "tradeoff": None if done.tradeoff is None else [done.tradeoff.found, timed],
            "claims": list(done.claims),
            "notes": [data.notes for data in ready.data.values()],
            "code": [
                code_digest(f"fairpress.{p}") for p in ("reporting", "studies", "studies.claims", "auditing")
            ],
        }
    )
    found = store.get(key)
    if found is not None:
        return {name: text.encode() for name, text in json.loads(found.files[REPORT]).items()}
    figures = {
        (i, compressed, metric): svg
        for i, p in enumerate(done.about)
        if p.about in ("compressed", "counterpart", "placebo")
        for (compressed, metric), svg in audit_tasks.read_figures(made[p.task.key]).items()
    }
    drawn = None if done.tradeoff is None else replace(done.tradeoff, figures=draw(done.tradeoff))
    leading = [
        (p.part, s.audit) for p, s in zip(done.about, done.sections, strict=True) if p.about == "compressed"
    ]
    sizes = _bytes(facts)
    charts = study_charts(leading, done, facts, sizes)
    page = render(
        [
            # The words of a verdict are about compression.
            replace(s, part=p.part, first=p.about == "compressed")
            if p.about in ("compressed", "counterpart", "placebo")
            else replace(s, part=p.part, audit=replace(s.audit, comparisons=()))
            for p, s in zip(done.about, done.sections, strict=True)
        ],
        title=ready.config.title or f"Study {name}",
        models=done.models,
        made_by=made_by,
        banner=" ".join(done.warnings),
        notes=[note for data in ready.data.values() for note in data.notes],
        figures=figures,
        tradeoff=drawn,
        claims=done.claims,
        charts=charts,
        tables=done.tables,
        source=done.source,
    )
    files = {
        "report.html": page.encode(),
        **{
            f"figures/{slug(f'{done.about[i].part} {compressed} against {done.sections[i].audit.baseline} {metric}')}.svg": (
                svg.encode()
            )
            for (i, compressed, metric), svg in figures.items()
        },
        "audit.json": _json({s.title: to_dict(s.audit) for s in done.sections}),
        "bias.json": _json([f.to_dict() for f in done.bias]),
        **({} if drawn is None else _tradeoff_files(drawn)),
        **{f"figures/{c.name}.svg": c.svg.encode() for c in charts},
        **({CLAIMS: _json(list(done.claims))} if done.claims else {}),
        "study.json": _json(
            {"name": name, **made_by, "only": list(ready.asked), "warnings": list(done.warnings)}
        ),
        "models.json": _json([{"part": label, **f} for label, found in facts.items() for f in found]),
    }
    store.remember(
        key, {REPORT: json.dumps({k: v.decode() for k, v in files.items()}).encode()}, {"kind": "report"}
    )
    return files


def _tradeoff(ready: PreparedStudy, report: ReportPlan, outcome: Outcome, store: Store) -> Tradeoff | None:
    """Return size, accuracy and bias of all recipes; networks are timed here, when nothing else runs."""
    asked, task = ready.config.size_accuracy_bias, report.tradeoff
    if asked is None or task is None or task.key in outcome.undone:
        return None
    found = json.loads(read_entry(store, task.key).files[TRADEOFF])
    models = [m["model"] for m in found["models"]]
    return Tradeoff(
        found,
        None if asked.published is None else asked.published.model_dump(),
        latency(store, ready.layout, models, outcome.undone) if asked.latency else None,
    )


def _bytes(facts: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[tuple[str, str], float]:
    """Return (part, recipe) → mean bytes of its files."""
    return {
        (label, recipe): float(np.mean([f["bytes"] for f in found if f["recipe"] == recipe]))
        for label, found in facts.items()
        for recipe in dict.fromkeys(f["recipe"] for f in found)
    }


def _theirs(told: PublishedRates | None, part: str) -> Mapping[str, Mapping[str, Any]]:
    return {} if told is None else told.of(part)


def _claims(report: ReportPlan, outcome: Outcome, store: Store) -> Sequence[Mapping[str, Any]]:
    if report.claims is None or report.claims.key in outcome.undone:
        return ()
    found: list[Mapping[str, Any]] = json.loads(read_entry(store, report.claims.key).files[CLAIMS])
    return tuple(found)


def _tradeoff_files(made: Tradeoff) -> dict[str, bytes]:
    told = {**made.found, "published": made.published, "latency": made.latency}
    return {
        "tradeoff.json": _json(told),
        **{f"figures/{name}.svg": svg.encode() for name, svg in made.figures.items()},
    }


def _made_by(ready: PreparedStudy, command: str) -> dict[str, str]:
    config = ready.config
    data = (f"{d.name}, sha256 {d.fingerprint}" for d in ready.data.values())
    split = "by row" if any(d.warnings for d in ready.data.values()) else "by subject"
    return {
        "command": command,
        "study": manifest_text(config),
        "data": "; ".join(dict.fromkeys(data)),
        "seeds": ", ".join(map(str, config.seeds)) + f"; {config.folds} fold(s), split {split}",
        "versions": canonical_json(_versions()),
    }


def _facts(entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """Return what is known of each network's file, once."""
    found = {
        (fact["recipe"], fact["seed"], fact["fold"], fact["sha256"]): fact
        for entry in entries
        for fact in json.loads(entry.files[MODELS])
    }
    return list(found.values())


def introduction(planned: ReportSection, audit: Audit) -> str:
    """Return what stands below a section's heading; of two baselines, also what one loses against the other."""
    if planned.about in ("compressed", "counterpart", "placebo"):
        return planned.intro
    return " ".join([planned.intro, *(f"{sentence}." for sentence in accuracies(audit))])


def accuracies(audit: Audit) -> list[str]:
    """Return sentences on the accuracy of the models of an audit, and on what each loses against the first."""
    rates = [f"Accuracy of {m.name}: {format_rate(m.overall.rates['accuracy'])}" for m in audit.models]
    lost = [
        f"Points lost by {c.compressed} against {audit.baseline}: {format_points(loss.estimate)}"
        for c in audit.comparisons
        for loss in c.overall.losses
        if loss.metric == "accuracy"
    ]
    return rates + lost


def _warnings(ready: PreparedStudy) -> tuple[str, ...]:
    """Return what must stand above every result; numbers are those of fold 0."""
    fold = f"fold 0 of {ready.config.folds}: " if ready.config.folds > 1 else ""
    labels: dict[str, list[str]] = {}
    for label, data in ready.data.items():
        for sentence in data.warnings:
            labels.setdefault(sentence, []).append(label)
    several = len(ready.data) > 1
    return tuple(
        f"{', '.join(found)}: {fold}{sentence}" if several else f"{fold}{sentence}"
        for sentence, found in labels.items()
    )


def model_sizes(label: str, facts: Sequence[Mapping[str, Any]], layout: StudyPlan) -> list[ModelFacts]:
    """Return the mean size of each model's files, in the order of the facts."""
    found = []
    whole = float(np.mean([f["bytes"] for f in facts if f["recipe"] == BASELINE]))
    for recipe in dict.fromkeys(f["recipe"] for f in facts):
        own = [f for f in facts if f["recipe"] == recipe]
        details = [f["provenance"].get("details", {}) for f in own]
        sparsity = [d["sparsity"] for d in details if "sparsity" in d]
        size = float(np.mean([f["bytes"] for f in own]))
        note = ""
        if sparsity:
            note = f"{np.mean(sparsity):.1%} of weights are zero: a dense file shrinks only when gzipped"
        elif THEN in recipe:
            note = "the same file; its scores are repaired by group when it predicts"
        elif recipe in layout.placebo_of.values():
            note = "control: not compressed"
        found.append(
            ModelFacts(
                ": ".join(filter(None, [label, recipe])),
                size,
                float(np.mean([f["gzip_bytes"] for f in own])),
                whole / size,
                note,
            )
        )
    return found


def _json(value: Any) -> bytes:
    return json.dumps(value, indent=1, allow_nan=False).encode()


def _versions() -> dict[str, str]:
    from importlib import metadata

    found = {}
    for name in ("fairpress", "torch", "torchao", "onnx", "onnxruntime", "numpy", "duckdb"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return {"python": sys.version.split()[0], **found}
