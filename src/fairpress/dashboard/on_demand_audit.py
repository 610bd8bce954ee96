"""Audits on request: of one network, and of one model against another."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from typing import Any, BinaryIO

from fairpress.auditing.audit_table import audit_table
from fairpress.auditing.options import AuditOptions
from fairpress.core.errors import UserError
from fairpress.dashboard.cache import ByteCache
from fairpress.dashboard.json_files import open_regular, version
from fairpress.dashboard.study_reader import NetworkRow, StudyResults
from fairpress.dashboard.visible_text import encoded, sent
from fairpress.reporting.html import Section, render
from fairpress.studies.config.recipe_names import BASELINE
from fairpress.studies.report.write_folder import slug

MAX_CELLS = 50_000_000
# Scores are left out, because they take ten times as long as everything else.
NO_SCORES = "Audited on request, decisions only; `fairpress audit` also covers the scores."


def rehearse() -> None:
    """Audit four rows and render the report, so that the first request does not wait for imports."""
    import pyarrow as pa

    rows = {
        "label": ["a", "b"] * 2,
        BASELINE: ["a", "b"] * 2,
        "small": ["a"] * 4,
        "group": ["x", "x", "y", "y"],
    }
    options = AuditOptions(baseline=BASELINE, compressed=["small"], by=["group"], positive="a")
    report = audit_table(pa.table(rows), options)
    render([Section("", report)], title="")


def audit_network(results: StudyResults, network: NetworkRow) -> bytes:
    """Return the report of one network against the baseline of its seed and fold, on its test rows."""
    run_name = f"seed {network.seed}, fold {network.fold}"
    title = ", ".join(filter(None, [network.part.label, network.recipe, run_name]))
    only = (network.seed, network.fold)
    return _report(results, network.part.label, BASELINE, network.recipe, title, only)


def audit_pair(results: StudyResults, part: str, first: str, second: str) -> bytes:
    """Return the report of the losses of the second model against the first, over all common seeds.

    Raises UserError if the study does not have such a model, or both are the same.
    """
    part = next((p.label for p in results.parts if sent(p.label) == sent(part)), part)
    names = {sent(name): name for name in results.recipes(part)}
    for name in (first, second):
        if sent(name) not in names:
            raise UserError(f"this study has no model {name!r}.")
    first, second = names[sent(first)], names[sent(second)]
    if first == second:
        raise UserError("choose two different models.")
    title = ", ".join(filter(None, [part, f"{second} against {first}"]))
    return _report(results, part, first, second, title, None)


def _report(
    results: StudyResults, part: str, first: str, second: str, title: str, only: tuple[int, int] | None
) -> bytes:
    template_audit = _like(results, part)
    options = AuditOptions(
        baseline=first,
        compressed=[] if first == second else [second],
        by=template_audit["attributes"],
        positive=template_audit["positive"],
        margin=template_audit["margin"],
        confidence=template_audit["confidence"],
        subject="subject" if template_audit["subjects"] else None,
    )
    with _predictions(results, part) as file:
        key = (str(results.folder), version(os.fstat(file.fileno())), part, only, repr(options))

        def work() -> tuple[bytes, int]:
            page = _audited(file, title, only, options)
            return page, len(page)

        return _REPORTS.get(key, work)


def _predictions(results: StudyResults, part: str) -> BinaryIO:
    for name in ("predictions.parquet", f"predictions/{slug(part)}.parquet"):
        try:
            return open_regular(results.folder / name)
        except FileNotFoundError:
            continue
    raise UserError("this study's folder has no predictions to compare.")


def _like(results: StudyResults, part: str) -> Mapping[str, Any]:
    """Return an audit of the same part, for its options."""
    for candidate in results.audits.values():
        if isinstance(candidate, Mapping) and candidate["part"] == part:
            return candidate
    raise UserError("this study's folder has no audit of that part.")


def _audited(
    file: BinaryIO,
    title: str,
    only: tuple[int, int] | None,
    options: AuditOptions,
) -> bytes:
    import pyarrow.parquet as pq

    filters = None if only is None else [("seed", "=", only[0]), ("fold", "=", only[1])]
    shape = pq.read_metadata(file)
    names = shape.schema.to_arrow_schema().names
    models = {c.removesuffix(".score") for c in names if c.endswith(".score")}
    others = models - {options.baseline, *(options.compressed or ())}
    columns = [c for c in names if c not in others and not _scores(c, models)]
    if shape.num_rows * len(columns) > MAX_CELLS:
        raise UserError(
            f"the predictions have {shape.num_rows:,} rows of {len(columns)} columns, too many to audit for a page; "
            "use `fairpress audit`."
        )
    file.seek(0)
    table = pq.read_table(file, columns=columns, filters=filters)
    several = len(table["seed"].unique()) > 1
    report = audit_table(table, options.with_changes(seed_column="seed") if several else options)
    return encoded(render([Section(title, report, NO_SCORES)], title=title))


def _scores(column: str, models: Collection[str]) -> bool:
    return any(column.startswith(f"{m}.score") for m in models)


_REPORTS: ByteCache[bytes] = ByteCache(64_000_000)
