"""The candidates of a search as rows, and the page that tells how the winner came about."""

from __future__ import annotations

from fairpress.searching import explanations
from fairpress.searching.bounds import THE_FILE, Bound
from fairpress.searching.result import SearchResult, SearchTrace
from fairpress.searching.trial import Trial

COLUMNS = ("recipe", "bytes", "smaller", "accuracy", "worst loss", "ms", "judged")


def candidate_state(searched: SearchTrace, trial: Trial) -> str:
    """Say what became of a candidate."""
    for judged in searched.judged:
        if judged.trial.recipe == trial.recipe:
            if judged is searched.winner:
                return "keeps every limit: the winner"
            return "keeps every limit" if judged.kept else "not shown to keep them"
    if any(t.recipe == trial.recipe for t in searched.sequence):
        return "not tested: one before it failed"
    return "no: another is better or safer" if trial.fits else "no: " + explanations.format_bound(_own(trial))


def _own(trial: Trial) -> Bound:
    return next(b for b in trial.bounds if b.who == THE_FILE and b.p > 0)


def table_rows(searched: SearchTrace) -> list[tuple[str, ...]]:
    """Return a row for each candidate, in the order of the objective, as text in the order of `COLUMNS`."""
    found: list[tuple[str, ...]] = []
    for t in sorted(searched.trials, key=lambda t: t.cost(searched.objective)):
        loss = t.worst_loss
        ms = searched.latency.get(t.recipe, t.latency_ms)
        found.append(
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
    return found


def _lines(head: tuple[str, ...], body: list[tuple[str, ...]]) -> list[str]:
    def line(cells: tuple[str, ...]) -> str:
        return "| " + " | ".join(c.replace("|", "\\|") for c in cells) + " |"

    return [line(head), "|" + "---|" * len(head), *map(line, body)]


def markdown(found: SearchResult) -> str:
    """Return the page search.md."""
    s = found.searched
    winner = s.winner
    assert winner is not None
    out = [f"# Search: {found.recipe}", "", explanations.why_won(s), ""]
    limits = ", ".join(f"{name} = {value:g}" for name, value in s.limits.said().items())
    out += [
        f"Objective: {s.objective}. Limits: {limits}; by {', '.join(s.asked.by)}; confidence {s.asked.confidence:g}.",
        f"{len(s.trials)} candidates, compared on {s.rows['choosing']:,} rows; {len(s.judged)} judged on "
        f"{s.rows['judging']:,} others; one audited on {s.rows['test']:,} test rows. {s.seconds:.0f} seconds.",
        "",
        "## The front",
        "",
        "![Bytes against the largest loss of a group](front.svg)",
        "",
        "Accuracy in percent and losses in points are of the choosing rows: they chose, and flatter what they chose.",
        "",
        *_lines(COLUMNS, table_rows(s)),
        "",
        "## What the judging rows say of the winner",
        "",
        *(f"* {explanations.format_bound(b)} (p = {b.p:.3f})" for b in winner.bounds),
        "",
    ]
    few = explanations.not_judged(s)
    if few:
        out += [
            "Too few rows to be judged, and not counted as fair (rows):",
            "",
            *(f"* {text}" for text in few),
            "",
        ]
    out += ["## What the test rows say of the winner", "", found.audit.to_markdown(), "", "## Openings", ""]
    for kind, openings in s.openings.items():
        out += [f"* {kind} rows, {o['at']}: {_of(o)}" for o in openings]
    repeated = len(s.openings.get("judging", ()))
    errs = sum(1 - o.get("confidence", s.asked.confidence) for o in s.openings.get("judging", ()))
    if repeated > 1:
        out += [
            "",
            f"The judging rows were opened {repeated} times for this baseline in this store: the chance that one of the "
            f"winners breaks a limit is at most {min(1.0, errs):.0%}, not {s.asked.alpha:.0%}, if their limits did not "
            "depend on what earlier openings said.",
        ]
    if s.failed:
        out += ["", "## Recipes that made nothing", "", *(f"* {r}: {why}" for r, why in s.failed.items())]
    return "\n".join(out) + "\n"


def _of(opening: object) -> str:
    assert isinstance(opening, dict)
    sequence = opening.get("sequence")
    return " → ".join(sequence) if sequence else str(opening.get("recipe"))
