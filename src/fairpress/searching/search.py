"""The search from end to end: divide the rows, explore, fix the sequence, test it, open the test rows once."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from fairpress.audits import AuditReport, audit
from fairpress.core.errors import MissingExtra, UserError
from fairpress.datasets.dataset import Dataset
from fairpress.runtime.artifact import Artifact
from fairpress.searching import explanations
from fairpress.searching.bounds import BASELINE, CANDIDATE, THE_FILE, Bound, bounds_of, worst_bound
from fairpress.searching.budget import Budget
from fairpress.searching.candidate_store import CandidateStore
from fairpress.searching.eligible_groups import attributes_of, judging_plan, min_rows_for
from fairpress.searching.explore import Explorer
from fairpress.searching.fixed_sequence import LONGEST, JudgedCandidate, in_order, sequence
from fairpress.searching.latency import SECONDS, milliseconds, time_candidates
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
    say: Callable[[str], None] = lambda sentence: None,
) -> SearchResult:
    """Return the best artifact that is shown to keep every limit.

    Parameters
    ----------
    base
        The baseline, with float weights.
    limits
        What must be kept, on the judging rows, by one-sided bounds at `confidence`.
    store
        Folder where candidates are kept; the same call goes on from what is there.
    objective
        What is made small (bytes, latency) or large (accuracy).
    budget
        How long; without one, everything that is listed is tried and nothing sampled.
    bits
        Only files of this width; nothing is sampled then.
    train, sample
        Whether candidates that train, and optuna's, are tried.
    recipes
        More candidates, tried first.
    least_rows
        Rows a group must have to be judged (`asked.least_rows_for`).

    Raises
    ------
    ConstraintNotMet
        Nothing was shown to keep every limit.
    UserError
        There are no rows to judge by, a group or limit is unknown, or the budget ended before the first candidate.
    MissingExtra
        optuna is not installed, where candidates are sampled.
    """
    budget = budget or Budget()
    bounded = budget.seconds is not None or budget.trials is not None
    sample = sample and bits is None and bounded
    _check(base, sample, confidence, least_rows)
    attributes = attributes_of(by, dataset)
    check_rates(limits, dataset.task.positive)
    rows = split_rows(dataset)
    least = min_rows_for(limits, confidence) if least_rows is None else least_rows
    asked = judging_plan(limits, attributes, dataset, rows.judging, least, confidence)
    shop = CandidateStore(base, dataset, rows, Store(store), base.card.seed or 0 if seed is None else seed)
    shop.store.sweep()
    began = budget.elapsed
    shop.decided(base, rows.choosing)
    # What judging and the test will take, by what the baseline took, twice over.
    budget.reserve = 0.0
    if budget.seconds is not None:
        per_row = (budget.elapsed - began) / len(rows.choosing)
        wanted = 2 * per_row * (3 * len(rows.judging) + 2 * len(dataset.parts.get("test", ()))) + 5
        if limits.max_latency_ms is not None:
            wanted += LONGEST * SECONDS
        budget.reserve = min(wanted, 0.25 * budget.seconds)
    explorer = Explorer(shop, asked, limits, objective, budget, say)
    for recipe in recipes:
        explorer.attempt(recipe)
    explorer.run(bits, train=train, sample=sample)
    trials = list(explorer.trials.values())
    late = budget.seconds is not None and budget.elapsed > budget.seconds
    if late and len(trials) <= 1:
        raise UserError(
            f"the budget of {budget.seconds:g} s ended before a candidate could be made and judged ({budget.elapsed:.0f} s "
            "so far); what was made is kept. Give more time, such as --budget 10min."
        )
    steps = sequence(trials, objective)
    if steps:
        what = {
            "sequence": [t.recipe for t in steps],
            "files": [t.artifact.digest for t in steps],
            "limits": limits.said(),
            "by": list(attributes),
            "confidence": confidence,
            "least_rows": least,
        }
        shop.open(JUDGING, what)
    judged = in_order(
        steps,
        lambda t: shop.evidence(t.artifact, rows.judging, attributes),
        asked,
        lambda t: time_candidates(
            t, limits.max_latency_ms, shop.dataset.inputs[rows.choosing[:200]], confidence
        ),
    )
    searched = SearchTrace(
        objective,
        limits,
        asked,
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
        openings={JUDGING: shop.openings(JUDGING)},
    )
    if searched.winner is None:
        raise _not_met(shop, searched)
    return _finish(shop, searched, searched.winner, limits)


def _check(base: Artifact, sample: bool, confidence: float, least_rows: int | None) -> None:
    from importlib import util

    from fairpress.training.device import require_torch

    require_torch("A search")
    if base.weights is None:
        raise UserError(
            f"this model ({base.card.recipe}) has no float weights to go on from; search from the baseline instead."
        )
    if base.mitigation is not None:
        raise UserError(
            "this model carries a mitigation; search from the model it was made from, and mitigate the result."
        )
    if sample and util.find_spec("optuna") is None:
        raise MissingExtra("A search that samples candidates", "search")
    if not 0.5 < confidence < 1:
        raise UserError(f"the confidence {confidence} is no share between 0.5 and 1, such as 0.95.")
    if least_rows is not None and least_rows < 2:
        raise UserError(f"--least-rows {least_rows}: a group of fewer than 2 rows cannot be judged.")


def _not_met(shop: CandidateStore, searched: SearchTrace) -> ConstraintNotMet:
    if not searched.judged:
        # No file keeps its own limits, or none could be made.
        nearest = min(searched.trials, key=lambda t: (t.cost(searched.objective), t.risk), default=None)
        binding = None if nearest is None else worst_bound([b for b in nearest.bounds if b.who == THE_FILE])
        return ConstraintNotMet(
            explanations.limits_not_met(searched, nearest, binding, "", ""), searched, nearest, binding
        )
    first = searched.judged[0]
    shown = explanations.describe_shortfall(first).split(";")[0] if first.shown else ""
    sentence = explanations.limits_not_met(
        searched, first.trial, first.binds, shown, _of_baseline(shop, searched, first.binds)
    )
    return ConstraintNotMet(sentence, searched, first.trial, first.binds)


def _of_baseline(shop: CandidateStore, searched: SearchTrace, binds: Bound) -> str:
    """Say so where the baseline itself is beyond a limit that is on the model and not on what compression changed."""
    if (
        binds.limit in ("max_group_loss", "max_loss")
        or binds.limit.endswith("_rise")
        or binds.who == THE_FILE
    ):
        return ""
    evidence = shop.evidence(shop.base, shop.rows.judging, searched.asked.by)
    own = [
        b
        for b in bounds_of(evidence, searched.asked)
        if (b.limit, b.who, b.metric) == (binds.limit, binds.who, binds.metric)
    ]
    if own and own[0].p > 0.5:
        return f" The baseline itself is at {explanations.format_points(own[0].value)} points there, beyond the limit."
    return ""


def _finish(
    shop: CandidateStore, searched: SearchTrace, winner: JudgedCandidate, limits: Limits
) -> SearchResult:
    chosen = winner.trial.artifact
    margin = limits.max_group_loss or 0.02
    report = _tested(shop, chosen, searched, margin)
    timed = {"baseline": shop.base.onnx, **{j.trial.recipe: j.trial.artifact.onnx for j in searched.judged}}
    rows = shop.dataset.inputs[shop.rows.choosing[:200]]
    found = milliseconds(timed, rows, searched.asked.confidence)
    latency = {name: median for name, (median, _) in found.items()}
    searched = replace(searched, latency=latency, openings={**searched.openings, TEST: shop.openings(TEST)})
    card = replace(
        chosen.card,
        provenance={**chosen.card.provenance, "search": _told(searched, winner)},
    )
    artifact = replace(chosen, card=card)
    return SearchResult(artifact, winner.trial.recipe, report, searched)


def _told(searched: SearchTrace, winner: JudgedCandidate) -> dict[str, Any]:
    """Return what the winner's card says of the search."""
    return {
        "objective": searched.objective,
        "limits": searched.limits.said(),
        "confidence": searched.asked.confidence,
        "by": list(searched.asked.by),
        "rows": dict(searched.rows),
        "candidates": len(searched.trials),
        "sequence": [t.recipe for t in searched.sequence],
        "judged": [{"recipe": j.trial.recipe, "kept": j.kept, "p": j.binds.p} for j in searched.judged],
        "too_few_rows": [f"{who} ({metric}, {n:g})" for who, metric, n in searched.asked.too_few],
        "openings": {k: list(v) for k, v in searched.openings.items()},
    }


def _tested(shop: CandidateStore, chosen: Artifact, searched: SearchTrace, margin: float) -> AuditReport:
    """Return the audit of the winner on the test rows; the same winner's table is kept, and not made again."""
    from fairpress.runtime.predict import predictions

    what = {"recipe": chosen.card.recipe, "file": chosen.digest}
    files: Mapping[str, bytes] | None = shop.opened(TEST, what)
    if files is None:
        names = ["fp32", "compressed"]
        table = predictions(dict(zip(names, (shop.base, chosen), strict=True)), shop.dataset, "test")
        table = table.replace_schema_metadata(
            {**(table.schema.metadata or {}), "fairpress.models": "\n".join(names)}
        )
        sink = io.BytesIO()
        parquet.write_table(table, sink)
        files = {"test.parquet": sink.getvalue()}
        shop.open(TEST, what, files)
    table = parquet.read_table(pa.BufferReader(files["test.parquet"]))
    subjects = table["subject"].to_pylist()
    repeated = len(set(subjects)) < len(subjects)
    return audit(
        table,
        by=list(searched.asked.by),
        positive=shop.dataset.task.positive,
        margin=margin,
        confidence=searched.asked.confidence,
        subject="subject" if repeated else None,
    )


__all__ = ["BASELINE", "CANDIDATE", "Trial", "search"]
