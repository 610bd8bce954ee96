"""Run a study from its config to its report."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fairpress.auditing.result import Audit
from fairpress.auditing.run import audit
from fairpress.auditing.schema import to_dict
from fairpress.core.canonical import canonical_json
from fairpress.core.errors import FairpressError, UserError
from fairpress.datasets.base import Dataset
from fairpress.reporting.html import ModelFacts, Section, draw, render
from fairpress.store.content import Store
from fairpress.studies.config import StudyConfig
from fairpress.studies.executor import Outcome, execute
from fairpress.studies.plan import BASELINE, Plan, Task, plan
from fairpress.studies.tasks import load_fold, read_facts, read_predictions

if TYPE_CHECKING:
    import pyarrow as pa

Event = Callable[[str, Task], None]


@dataclass(frozen=True)
class Finished:
    """A study that ran: where its report is, its audits by heading, and what failed."""

    folder: Path
    sections: tuple[Section, ...]
    models: tuple[ModelFacts, ...]
    outcome: Outcome


def run_study(
    name: str,
    config: StudyConfig,
    *,
    out: Path,
    store: Path | None = None,
    workers: int | None = None,
    command: str = "",
    on_plan: Callable[[Plan], None] = lambda plan: None,
    on_event: Event = lambda event, task: None,
) -> Finished:
    """Run what is not in the store yet, audit all predictions, and write the report to `out`.

    The folder receives report.html, audit.json (one audit per section), predictions.parquet, models.json,
    study.json and figures/*.svg. Nothing is written there before all of it is made.

    Raises
    ------
    UserError
        The config or the data is wrong, or the folder cannot be written.
    FairpressError
        No baseline could be trained, so that there is nothing to report.
    """
    _writable(out)
    folds = {fold: _dataset(config, fold) for fold in range(config.folds)}
    data = folds[0]
    unknown = [a for by in config.audit.by for a in by.split("*") if a not in data.attributes]
    if unknown:
        from fairpress.core.errors import did_you_mean

        raise UserError(
            f"{config.dataset.name!r} has no sensitive attribute {unknown[0]!r}."
            + did_you_mean(unknown[0], data.attributes)
        )
    layout = plan(config, {fold: d.fingerprint for fold, d in folds.items()})
    on_plan(layout)
    place = Store(store if store is not None else out.parent / ".store")
    outcome = execute(layout.tasks, place, workers=workers, on_event=on_event)
    tables = {
        recipe: _predictions(place, layout, recipe, outcome)
        for recipe in (BASELINE, *layout.recipes, *layout.placebo_of.values())
    }
    present = {recipe: table for recipe, table in tables.items() if table is not None}
    if BASELINE not in present:
        reasons = "; ".join(dict.fromkeys(outcome.failed.values())) or "nothing ran"
        raise FairpressError(f"no baseline could be trained: {reasons}")
    joined = _join(present)
    sections = _sections(config, layout, joined, present, data)
    models = tuple(_facts(place, layout, recipe) for recipe in present)
    made_by = {
        "command": command,
        "study": canonical_json(config.model_dump(mode="json")),
        "data": f"{data.name}, sha256 {data.fingerprint}",
        "seeds": ", ".join(map(str, config.seeds)) + f"; {config.folds} fold(s), split by subject",
        "versions": canonical_json(_versions()),
    }
    figures = draw(sections)
    page = render(
        sections,
        title=config.title or f"Study {name}",
        models=models,
        made_by=made_by,
        notes=data.notes,
        figures=figures,
    )
    _write(
        out,
        {
            "report.html": page.encode(),
            **{
                f"figures/{_slug(f'{compressed} against {sections[i].audit.baseline} {metric}')}.svg": svg.encode()
                for (i, compressed, metric), svg in figures.items()
            },
            "audit.json": json.dumps(
                {s.title: to_dict(s.audit) for s in sections}, indent=1, allow_nan=False
            ).encode(),
            "study.json": json.dumps({"name": name, **made_by}, indent=1).encode(),
            "models.json": json.dumps(
                [fact for r in present for task in layout.predictions(r) for fact in read_facts(place, task)],
                indent=1,
            ).encode(),
            "predictions.parquet": _parquet(joined),
        },
    )
    return Finished(out, sections, models, outcome)


def _dataset(config: StudyConfig, fold: int) -> Dataset:
    return load_fold(config.dataset.name, config.dataset.options, config.folds, fold)


def _predictions(store: Store, layout: Plan, recipe: str, outcome: Outcome) -> pa.Table | None:
    """Return the recipe's predictions over all networks; None when some of them failed."""
    import pyarrow as pa

    tasks = layout.predictions(recipe)
    undone = {*outcome.failed, *(t.key for t in outcome.skipped)}
    if any(t.key in undone for t in tasks):
        return None
    table = pa.concat_tables([read_predictions(store, t) for t in tasks])
    return table.sort_by([("seed", "ascending"), ("row_id", "ascending")])


def _join(tables: dict[str, pa.Table]) -> pa.Table:
    """Put the models' columns side by side; all tables hold the same rows in the same order."""
    base = tables[BASELINE]
    for recipe, table in tables.items():
        if recipe == BASELINE:
            continue
        if not (base["seed"].equals(table["seed"]) and base["row_id"].equals(table["row_id"])):
            raise FairpressError(f"the predictions of {recipe} are not on the rows of the baseline.")
        for column in table.column_names:
            if column == recipe or column.startswith(f"{recipe}.score"):
                base = base.append_column(column, table[column])
    return base


def _sections(
    config: StudyConfig, layout: Plan, joined: pa.Table, present: dict[str, Any], data: Dataset
) -> tuple[Section, ...]:
    def one(baseline: str, compressed: Sequence[str]) -> Audit:
        return audit(
            joined,
            baseline=baseline,
            compressed=compressed,
            by=config.audit.by,
            positive=data.task.positive,
            margin=config.audit.margin,
            confidence=config.audit.confidence,
            seed_column="seed" if len(config.seeds) > 1 else None,
        )

    done = [r for r in layout.recipes if r in present]
    sections = [
        Section(
            "Compressed against the baseline",
            one(BASELINE, done),
            f"Each compressed network against the network it was made from ({BASELINE}), on people neither has seen.",
        )
    ]
    for recipe, placebo in layout.placebo_of.items():
        if recipe in present and placebo in present:
            sections.append(
                Section(
                    f"{recipe} against its placebo",
                    one(placebo, [recipe]),
                    f"{recipe} trains on; its placebo had the same extra training and was not compressed. What "
                    "differs here is due to compression alone.",
                )
            )
    return tuple(sections)


def _facts(store: Store, layout: Plan, recipe: str) -> ModelFacts:
    facts = [fact for task in layout.predictions(recipe) for fact in read_facts(store, task)]
    sparsity = [
        f["provenance"]["details"]["sparsity"]
        for f in facts
        if "sparsity" in f["provenance"].get("details", {})
    ]
    note = ""
    if sparsity:
        note = f"{np.mean(sparsity):.1%} of weights are zero: a dense file shrinks only when gzipped"
    elif recipe in layout.placebo_of.values():
        note = "control: not compressed"
    return ModelFacts(
        recipe,
        float(np.mean([f["bytes"] for f in facts])),
        float(np.mean([f["gzip_bytes"] for f in facts])),
        note,
    )


def _versions() -> dict[str, str]:
    from importlib import metadata

    found = {}
    for name in ("fairpress", "torch", "torchao", "onnx", "onnxruntime", "numpy", "duckdb"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return {"python": sys.version.split()[0], **found}


def _parquet(table: pa.Table) -> bytes:
    import io

    import pyarrow.parquet as pq

    sink = io.BytesIO()
    pq.write_table(table, sink)
    return sink.getvalue()


def _writable(out: Path) -> None:
    """Refuse a folder that cannot be written before any work is done."""
    import os

    place = out
    while not place.exists():
        place = place.parent
    if not place.is_dir() or not os.access(place, os.W_OK):
        raise UserError(
            f"cannot write {out}: {place} is not a folder you may write to; choose another --out."
        )


def _slug(text: str) -> str:
    """Return a file name: letters, digits, dots and single dashes."""
    return re.sub(r"[^A-Za-z0-9.]+", "-", text).strip("-.")


def _write(out: Path, files: dict[str, bytes]) -> None:
    try:
        for name, data in files.items():
            (out / name).parent.mkdir(parents=True, exist_ok=True)
            _hidden(out / name).write_bytes(data)
        for name in files:
            _hidden(out / name).replace(out / name)
    except OSError as error:
        for name in files:
            _hidden(out / name).unlink(missing_ok=True)
        raise UserError(
            f"cannot write {out} ({error.strerror or error}); finished work stays in the store."
        ) from None


def _hidden(path: Path) -> Path:
    """Return where a file is written before it takes its place."""
    return path.with_name(f".{path.name}")
