"""The candidates of a search as table rows, and the page that explains how the winner was chosen."""

from __future__ import annotations

from fairpress.searching import explanations
from fairpress.searching.bounds import MODEL_FILE, Bound
from fairpress.searching.result import SearchResult, SearchTrace
from fairpress.searching.trial import Trial

COLUMNS = ("recipe", "bytes", "smaller", "accuracy", "worst loss", "ms", "judged")


def candidate_state(searched: SearchTrace, trial: Trial) -> str:
    """Describe the outcome for a candidate."""
    for judged in searched.judged:
        if judged.trial.recipe == trial.recipe:
            if judged is searched.winner:
                return "keeps every limit: the winner"
            return "keeps every limit" if judged.passed else "not shown to keep them"
    if any(t.recipe == trial.recipe for t in searched.sequence):
        return "not tested: one before it failed"
    return (
        "no: another is better or safer"
        if trial.fits
        else "no: " + explanations.format_bound(_broken_file_limit(trial))
    )


def _broken_file_limit(trial: Trial) -> Bound:
    return next(b for b in trial.bounds if b.who == MODEL_FILE and b.p > 0)


def table_rows(searched: SearchTrace) -> list[tuple[str, ...]]:
    """Return a row for each candidate, in the order of the objective, as text in the order of `COLUMNS`."""
    rows: list[tuple[str, ...]] = []
    for t in sorted(searched.trials, key=lambda t: t.cost(searched.objective)):
        loss = t.worst_loss
        ms = searched.latency.get(t.recipe, t.latency_ms)
        rows.append(
            (
                t.recipe,
                f"{t.bytes:,}",
                f"{searched.base_bytes / t.bytes:.2f}x",
                f"{100 * t.accuracy:.1f}",
                "–"
                if loss is None
                else f"{explanations.format_points(loss.value)} ({explanations.format_rate(loss.metric)}, {loss.who})",
                "–" if ms is None else f"{ms:.3g}",
                candidate_state(searched, t),
            )
        )
    return rows


def _markdown_table(head: tuple[str, ...], body: list[tuple[str, ...]]) -> list[str]:
    def line(cells: tuple[str, ...]) -> str:
        return "| " + " | ".join(c.replace("|", "\\|") for c in cells) + " |"

    return [line(head), "|" + "---|" * len(head), *map(line, body)]


def markdown(result: SearchResult) -> str:
    """Return the page search.md."""
    searched = result.searched
    winner = searched.winner
    assert winner is not None
    out = [f"# Search: {result.recipe}", "", explanations.explain_winner(searched), ""]
    limits = ", ".join(f"{name} = {value:g}" for name, value in searched.limits.given().items())
    out += [
        f"Objective: {searched.objective}. Limits: {limits}; by {', '.join(searched.plan.by)}; confidence "
        f"{searched.plan.confidence:g}.",
        f"{len(searched.trials)} candidates, compared on {searched.rows['choosing']:,} rows; {len(searched.judged)} "
        f"judged on {searched.rows['judging']:,} others; one audited on {searched.rows['test']:,} test rows. "
        f"{searched.seconds:.0f} seconds.",
        "",
        "## The front",
        "",
        "![File size and largest loss of a group](front.svg)",
        "",
        "Accuracy (percent) and losses (percentage points) are those of the choosing rows. They are optimistic, because "
        "these rows selected the candidates.",
        "",
        *_markdown_table(COLUMNS, table_rows(searched)),
        "",
        "## Limits of the winner on the judging rows",
        "",
        *(f"* {explanations.format_bound(b)} (p = {b.p:.3f})" for b in winner.bounds),
        "",
    ]
    unjudged = explanations.unjudged_groups(searched)
    if unjudged:
        out += [
            "Too few rows to be judged, and not counted as fair (rows):",
            "",
            *(f"* {text}" for text in unjudged),
            "",
        ]
    out += [
        "## Audit of the winner on the test rows",
        "",
        result.audit.to_markdown(),
        "",
        "## When the rows were looked at",
        "",
    ]
    for kind, openings in searched.openings.items():
        out += [f"* {kind} rows, {o['at']}: {_opening_text(o)}" for o in openings]
    repeated = len(searched.openings.get("judging", ()))
    error_bound = sum(
        1 - o.get("confidence", searched.plan.confidence) for o in searched.openings.get("judging", ())
    )
    if repeated > 1:
        out += [
            "",
            f"The judging rows were opened {repeated} times for this baseline in this store: the chance that one of the "
            f"winners breaks a limit is at most {min(1.0, error_bound):.0%}, not {searched.plan.alpha:.0%}, if their "
            "limits did not "
            "depend on what earlier looks showed.",
        ]
    if searched.failed:
        out += [
            "",
            "## Failed recipes",
            "",
            *(f"* {r}: {why}" for r, why in searched.failed.items()),
        ]
    return "\n".join(out) + "\n"


def _opening_text(opening: object) -> str:
    assert isinstance(opening, dict)
    sequence = opening.get("sequence")
    return " → ".join(sequence) if sequence else str(opening.get("recipe"))
