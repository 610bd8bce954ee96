"""Run a study from its config to its report."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fairpress.auditing.schema import to_dict
from fairpress.core.canonical import canonical_json
from fairpress.core.errors import FairpressError
from fairpress.reporting.html import ModelFacts, Section, render
from fairpress.store.content import Store
from fairpress.studies import reported
from fairpress.studies.config import StudyConfig
from fairpress.studies.executor import Event, Outcome, execute
from fairpress.studies.findings import Finding, findings
from fairpress.studies.output import require_writable, slug, write
from fairpress.studies.plan import Plan, Task
from fairpress.studies.pool import Interruptible
from fairpress.studies.prepare import Prepared, prepare
from fairpress.studies.sections import Planned, ReportPlan, report_plan
from fairpress.studies.tasks import read_entry


@dataclass(frozen=True)
class Finished:
    """A study that ran.

    Attributes
    ----------
    folder
        Where its report is.
    sections
        Its audits with their headings, and `about` what each of them is.
    models
        Sizes.
    bias
        What compression did to the bias of every part.
    warnings
        What must stand above every result.
    outcome, tasks
        What was reused, ran, failed and was skipped; key → task.
    """

    folder: Path
    sections: tuple[Section, ...]
    about: tuple[Planned, ...]
    models: tuple[ModelFacts, ...]
    bias: tuple[Finding, ...]
    warnings: tuple[str, ...]
    outcome: Outcome
    tasks: Mapping[str, Task]


def run_study(
    name: str,
    config: StudyConfig,
    *,
    out: Path,
    store: Path | None = None,
    only: Sequence[str] = (),
    workers: int | None = None,
    command: str = "",
    on_plan: Callable[[Sequence[Task]], None] = lambda tasks: None,
    on_event: Event = lambda event, task: None,
) -> Finished:
    """Run what is not in the store yet, audit all predictions, and write the report to `out`.

    The folder receives report.html, audit.json (one audit per section), bias.json, predictions.parquet (of several parts:
    a folder of them), models.json, study.json and figures/*.svg. Nothing is written there before all of it is made.

    Parameters
    ----------
    only
        Filters, such as ``recipe=int8,seed=0..3``; see `filters.parse_filter`.

    Raises
    ------
    UserError
        The config, a filter or the data is wrong, or the folder cannot be written.
    FairpressError
        No baseline could be trained, so that there is nothing to report.
    """
    require_writable(out)
    place = Store(store if store is not None else out.parent / ".store")
    with Interruptible():
        ready = prepare(config, place, only)
        on_plan(ready.tasks)
        outcome = execute(ready.tasks, place, needed=ready.report.needed, workers=workers, on_event=on_event)
        report, tasks = ready.report, {task.key: task for task in ready.tasks}
        if not outcome.complete:
            # What failed leaves its sections out or with fewer seeds: these are others than those planned.
            report = report_plan(config, ready.layout, ready.data, ready.only, outcome.undone)
            more = [task for task in report.tasks if task.key not in tasks]
            on_plan(more)
            rest = execute(
                [*ready.layout.tasks, *report.tasks],
                place,
                needed=[k for k in report.needed if k not in outcome.undone],
                workers=workers,
                on_event=lambda event, task: on_event(event, task) if task in more else None,
            )
            _merge(outcome, rest)
            tasks |= {task.key: task for task in report.tasks}
        return _write(name, ready, report, outcome, tasks, place, out, command)


def _merge(outcome: Outcome, rest: Outcome) -> None:
    outcome.ran |= rest.ran
    outcome.failed |= rest.failed
    outcome.skipped += [task for task in rest.skipped if task not in outcome.skipped]


def _write(
    name: str,
    ready: Prepared,
    report: ReportPlan,
    outcome: Outcome,
    tasks: Mapping[str, Task],
    store: Store,
    out: Path,
    command: str,
) -> Finished:
    planned = [p for p in report.sections if p.task.key not in outcome.undone]
    if not planned:
        reasons = "; ".join(dict.fromkeys(outcome.failed.values())) or "nothing ran"
        raise FairpressError(f"no baseline could be trained: {reasons}")
    made = {p.task.key: read_entry(store, p.task.key) for p in planned}
    audits = [reported.restore(made[p.task.key].files[reported.AUDIT]) for p in planned]
    sections = tuple(Section(p.title, a, p.intro) for p, a in zip(planned, audits, strict=True))
    tables = {
        label: read_entry(store, task.key)
        for label, task in report.tables.items()
        if task.key not in outcome.undone
    }
    facts = {label: json.loads(entry.files[reported.MODELS]) for label, entry in tables.items()}
    models = tuple(m for label, found in facts.items() for m in _sizes(label, found, ready.layout))
    bias = tuple(findings(planned, audits))
    warnings = _warnings(ready)
    figures = {
        (i, compressed, metric): svg
        for i, p in enumerate(planned)
        for (compressed, metric), svg in reported.read_figures(made[p.task.key]).items()
    }
    made_by = _made_by(ready, command)
    page = render(
        sections,
        title=ready.config.title or f"Study {name}",
        models=models,
        made_by=made_by,
        banner=" ".join(warnings),
        notes=[note for data in ready.data.values() for note in data.notes],
        figures=figures,
    )
    several = len(tables) > 1 or "" not in tables
    write(
        out,
        {
            "report.html": page.encode(),
            **{
                f"figures/{slug(f'{planned[i].part} {compressed} against {audits[i].baseline} {metric}')}.svg": svg.encode()
                for (i, compressed, metric), svg in figures.items()
            },
            "audit.json": _json({s.title: to_dict(s.audit) for s in sections}),
            "bias.json": _json([f.to_dict() for f in bias]),
            "study.json": _json({"name": name, **made_by, "warnings": list(warnings)}),
            "models.json": _json([{"part": label, **f} for label, found in facts.items() for f in found]),
            **{
                f"predictions/{slug(label)}.parquet" if several else "predictions.parquet": entry.files[
                    reported.PREDICTIONS
                ]
                for label, entry in tables.items()
            },
        },
    )
    return Finished(out, sections, tuple(planned), models, bias, warnings, outcome, tasks)


def _made_by(ready: Prepared, command: str) -> dict[str, str]:
    config = ready.config
    data = (f"{d.name}, sha256 {d.fingerprint}" for d in ready.data.values())
    split = "by row" if any(d.warnings for d in ready.data.values()) else "by subject"
    return {
        "command": command,
        "study": canonical_json(config.model_dump(mode="json")),
        "data": "; ".join(dict.fromkeys(data)),
        "seeds": ", ".join(map(str, config.seeds)) + f"; {config.folds} fold(s), split {split}",
        "versions": canonical_json(_versions()),
    }


def _warnings(ready: Prepared) -> tuple[str, ...]:
    """Return what must stand above every result; numbers are those of fold 0."""
    several = len(ready.data) > 1
    fold = f"fold 0 of {ready.config.folds}: " if ready.config.folds > 1 else ""
    return tuple(
        f"{label}: {fold}{sentence}" if several else f"{fold}{sentence}"
        for label, data in ready.data.items()
        for sentence in data.warnings
    )


def _sizes(label: str, facts: Sequence[Mapping[str, Any]], layout: Plan) -> list[ModelFacts]:
    """Return the mean size of each model's files, in the order of the facts."""
    found = []
    for recipe in dict.fromkeys(f["recipe"] for f in facts):
        own = [f for f in facts if f["recipe"] == recipe]
        details = [f["provenance"].get("details", {}) for f in own]
        sparsity = [d["sparsity"] for d in details if "sparsity" in d]
        note = ""
        if sparsity:
            note = f"{np.mean(sparsity):.1%} of weights are zero: a dense file shrinks only when gzipped"
        elif recipe in layout.placebo_of.values():
            note = "control: not compressed"
        found.append(
            ModelFacts(
                ": ".join(filter(None, [label, recipe])),
                float(np.mean([f["bytes"] for f in own])),
                float(np.mean([f["gzip_bytes"] for f in own])),
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
