"""The search from end to end: divide the rows, explore, fix the sequence, test it, and audit the winner on the test rows."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from fairpress.auditing.audit_table import audit_table
from fairpress.auditing.options import AuditOptions
from fairpress.core.errors import MissingExtra, UserError
from fairpress.core.progress import OnMessage, ignore_message
from fairpress.datasets.dataset import Dataset
from fairpress.reporting.audit_report import AuditReport
from fairpress.runtime.artifact import Artifact
from fairpress.searching import explanations
from fairpress.searching.bounds import BASELINE, CANDIDATE, MODEL_FILE, Bound, bounds_of, worst_bound
from fairpress.searching.budget import Budget
from fairpress.searching.candidate_store import CandidateStore
from fairpress.searching.eligible_groups import attributes_of, judging_plan, min_rows_for
from fairpress.searching.explore import Explorer
from fairpress.searching.fixed_sequence import MAX_TESTS, JudgedCandidate, judge_sequence, sequence
from fairpress.searching.latency import TIMING_SECONDS, measure_latency, time_candidates, timed_rows
from fairpress.searching.limits import Limits, Objective, check_rates
from fairpress.searching.result import ConstraintNotMet, SearchResult, SearchTrace
from fairpress.searching.row_split import split_rows
from fairpress.searching.trial import Trial
from fairpress.store.local import Store

JUDGING, TEST = "judging", "test"


def search(
    base: Artifact,
    dataset: Dataset,
    *,
    by: Sequence[str],
    limits: Limits,
    store: Path,
    objective: Objective = "bytes",
    budget: Budget | None = None,
    bits: int | None = None,
    train: bool = True,
    sample: bool = True,
    recipes: Sequence[str] = (),
    confidence: float = 0.95,
    least_rows: int | None = None,
    seed: int | None = None,
    on_message: OnMessage = ignore_message,
) -> SearchResult:
    """Return the best artifact that is demonstrated to keep every limit.

    Parameters
    ----------
    base
        The baseline, with float weights.
    limits
        Limits that must hold on the judging rows, by one-sided bounds at `confidence`.
    store
        Folder of the store of candidates; the same call resumes from it.
    objective
        What is minimized (bytes, latency) or maximized (accuracy).
    budget
        Time or number of candidates; without one, all listed recipes are tried and none is sampled.
    bits
        Only files of this bit width; no recipe is sampled then.
    train, sample
        Whether recipes that fine-tune, and recipes proposed by optuna, are tried.
    recipes
        Further recipes, tried first.
    least_rows
        Rows that a group needs to be judged (default: `eligible_groups.min_rows_for`).

    Raises
    ------
    ConstraintNotMet
        No candidate was demonstrated to keep every limit.
    UserError
        There are no judging rows, an attribute or limit is unknown, or the budget ended before the first candidate.
    MissingExtra
        Recipes are to be sampled and optuna is not installed.
    """
    budget = budget or Budget()
    bounded = budget.seconds is not None or budget.trials is not None
    sample = sample and bits is None and bounded
    _check(base, sample, confidence, least_rows)
    attributes = attributes_of(by, dataset)
    check_rates(limits, dataset.task.positive)
    rows = split_rows(dataset)
    min_rows = min_rows_for(limits, confidence) if least_rows is None else least_rows
    plan = judging_plan(limits, attributes, dataset, rows.judging, min_rows, confidence)
    candidates = CandidateStore(
        base, dataset, rows, Store(store), base.card.seed or 0 if seed is None else seed
    )
    candidates.store.sweep()
    started = budget.elapsed
    candidates.predicted_classes(base, rows.choosing)
    # Reserve twice the time for judging and testing that is extrapolated from the baseline.
    budget.reserve = 0.0
    if budget.seconds is not None:
        per_row = (budget.elapsed - started) / len(rows.choosing)
        reserve = 2 * per_row * (3 * len(rows.judging) + 2 * len(dataset.parts.get("test", ()))) + 5
        if limits.max_latency_ms is not None:
            reserve += MAX_TESTS * TIMING_SECONDS
        budget.reserve = min(reserve, 0.25 * budget.seconds)
    explorer = Explorer(candidates, plan, limits, objective, budget, on_message)
    for recipe in recipes:
        explorer.attempt(recipe)
    explorer.run(bits, train=train, sample=sample)
    trials = list(explorer.trials.values())
    late = budget.seconds is not None and budget.elapsed > budget.seconds
    if late and len(trials) <= 1:
        raise UserError(
            f"the budget of {budget.seconds:g} s ended before a candidate could be made and judged ({budget.elapsed:.0f} s "
            "elapsed); finished work is kept. Allow more time, such as `budget='10min'`."
        )
    steps = sequence(trials, objective)
    if steps:
        purpose = {
            "sequence": [t.recipe for t in steps],
            "files": [t.artifact.digest for t in steps],
            "limits": limits.given(),
            "by": list(attributes),
            "confidence": confidence,
            "least_rows": min_rows,
        }
        candidates.record_opening(JUDGING, purpose)
    judged = judge_sequence(
        steps,
        lambda t: candidates.evidence(t.artifact, rows.judging, attributes),
        plan,
        lambda t: time_candidates(
            t, limits.max_latency_ms, timed_rows(candidates.dataset, rows.choosing), confidence
        ),
    )
    searched = SearchTrace(
        objective,
        limits,
        plan,
        base.size,
        trials,
        explorer.failed,
        steps,
        judged,
        {
            "choosing": len(rows.choosing),
            JUDGING: len(rows.judging),
            TEST: len(dataset.parts.get("test", ())),
        },
        budget.elapsed,
        openings={JUDGING: candidates.openings(JUDGING)},
    )
    if searched.winner is None:
        raise _constraint_not_met(candidates, searched)
    return _finish(candidates, searched, searched.winner, limits)


def _check(base: Artifact, sample: bool, confidence: float, least_rows: int | None) -> None:
    from importlib import util

    from fairpress.training.device import require_torch

    require_torch("A search")
    if base.weights is None:
        raise UserError(
            f"this model ({base.card.recipe}) has no float weights to compress; search from the baseline instead."
        )
    if base.mitigation is not None:
        raise UserError(
            "this model contains a mitigation; search from the unmitigated model, and mitigate the result."
        )
    if sample and util.find_spec("optuna") is None:
        raise MissingExtra("A search that samples candidates", "search")
    if not 0.5 < confidence < 1:
        raise UserError(f"`confidence={confidence}` is not between 0.5 and 1; use a value such as 0.95.")
    if least_rows is not None and least_rows < 2:
        raise UserError(
            f"`least_rows={least_rows}` is too small: a group of fewer than 2 rows cannot be judged; use at least 2."
        )


def _constraint_not_met(candidates: CandidateStore, searched: SearchTrace) -> ConstraintNotMet:
    if not searched.judged:
        # No file keeps the limits on the file itself, or none could be made.
        nearest = min(searched.trials, key=lambda t: (t.cost(searched.objective), t.risk), default=None)
        binding = None if nearest is None else worst_bound([b for b in nearest.bounds if b.who == MODEL_FILE])
        return ConstraintNotMet(
            explanations.limits_not_met(searched, nearest, binding, "", ""), searched, nearest, binding
        )
    first = searched.judged[0]
    shown = explanations.describe_shortfall(first).split(";")[0] if first.shown else ""
    sentence = explanations.limits_not_met(
        searched, first.trial, first.binds, shown, _baseline_remark(candidates, searched, first.binds)
    )
    return ConstraintNotMet(sentence, searched, first.trial, first.binds)


def _baseline_remark(candidates: CandidateStore, searched: SearchTrace, binds: Bound) -> str:
    """Return a remark if the baseline itself violates a limit on the model (not on what compression changes)."""
    if (
        binds.limit in ("max_group_loss", "max_loss")
        or binds.limit.endswith("_rise")
        or binds.who == MODEL_FILE
    ):
        return ""
    evidence = candidates.evidence(candidates.base, candidates.rows.judging, searched.plan.by)
    baseline_bounds = [
        b
        for b in bounds_of(evidence, searched.plan)
        if (b.limit, b.who, b.metric) == (binds.limit, binds.who, binds.metric)
    ]
    if baseline_bounds and baseline_bounds[0].p > 0.5:
        points = explanations.format_points(baseline_bounds[0].value)
        return f" The baseline itself is at {points} points there, which violates the limit."
    return ""


def _finish(
    candidates: CandidateStore, searched: SearchTrace, winner: JudgedCandidate, limits: Limits
) -> SearchResult:
    chosen = winner.trial.artifact
    margin = limits.max_group_loss or 0.02
    report = _audit_test_rows(candidates, chosen, searched, margin)
    timed = {
        "baseline": candidates.base,
        **{j.trial.recipe: j.trial.artifact for j in searched.judged},
    }
    rows = timed_rows(candidates.dataset, candidates.rows.choosing)
    timings = measure_latency(timed, rows, searched.plan.confidence)
    latency = {name: median for name, (median, _) in timings.items()}
    searched = replace(
        searched, latency=latency, openings={**searched.openings, TEST: candidates.openings(TEST)}
    )
    card = replace(
        chosen.card,
        provenance={**chosen.card.provenance, "search": _provenance(searched, winner)},
    )
    artifact = replace(chosen, card=card)
    return SearchResult(artifact, winner.trial.recipe, report, searched)


def _provenance(searched: SearchTrace, winner: JudgedCandidate) -> dict[str, Any]:
    """Return the record of the search for the winner's card."""
    return {
        "objective": searched.objective,
        "limits": searched.limits.given(),
        "confidence": searched.plan.confidence,
        "by": list(searched.plan.by),
        "rows": dict(searched.rows),
        "candidates": len(searched.trials),
        "sequence": [t.recipe for t in searched.sequence],
        "judged": [{"recipe": j.trial.recipe, "kept": j.passed, "p": j.binds.p} for j in searched.judged],
        "too_few_rows": [f"{group} ({metric}, {n:g})" for group, metric, n in searched.plan.too_few],
        "openings": {k: list(v) for k, v in searched.openings.items()},
    }


def _audit_test_rows(
    candidates: CandidateStore, chosen: Artifact, searched: SearchTrace, margin: float
) -> AuditReport:
    """Return the audit of the winner on the test rows; its predictions are cached in the store."""
    import pyarrow as pa
    from pyarrow import parquet

    from fairpress.runtime.predict import predictions

    purpose = {"recipe": chosen.card.recipe, "file": chosen.digest}
    files: Mapping[str, bytes] | None = candidates.opening_files(TEST, purpose)
    if files is None:
        names = ["fp32", "compressed"]
        table = predictions(
            dict(zip(names, (candidates.base, chosen), strict=True)), candidates.dataset, "test"
        )
        table = table.replace_schema_metadata(
            {**(table.schema.metadata or {}), "fairpress.models": "\n".join(names)}
        )
        sink = io.BytesIO()
        parquet.write_table(table, sink)
        files = {"test.parquet": sink.getvalue()}
        candidates.record_opening(TEST, purpose, files)
    table = parquet.read_table(pa.BufferReader(files["test.parquet"]))
    subjects = table["subject"].to_pylist()
    repeated = len(set(subjects)) < len(subjects)
    options = AuditOptions(
        by=searched.plan.by,
        positive=candidates.dataset.task.positive,
        margin=margin,
        confidence=searched.plan.confidence,
        subject="subject" if repeated else None,
    )
    return AuditReport.of(audit_table(table, options))


__all__ = ["BASELINE", "CANDIDATE", "Trial", "search"]
