"""A search in sentences: why the winner won, what ended the sequence, which groups were not judged, and what would help."""

from __future__ import annotations

from fairpress.searching.bounds import MODEL_FILE, Bound
from fairpress.searching.fixed_sequence import JudgedCandidate
from fairpress.searching.result import SearchTrace
from fairpress.searching.trial import Trial

RATES = {"tpr": "true positive rate", "fpr": "false positive rate", "selection_rate": "selection rate"}


def format_rate(name: str) -> str:
    return RATES.get(name, name.replace("_", " "))


def format_points(value: float | None) -> str:
    return "not estimable" if value is None else f"{100 * value:.1f}".replace("-", "−")


def describe_limit(b: Bound) -> str:
    """Describe the subject of a limit: ``false positive rate of race = Asian``."""
    return "the file" if b.who == MODEL_FILE else f"{format_rate(b.metric)} of {b.who}"


def format_bound(b: Bound) -> str:
    """Compare a bound with its limit."""
    if b.limit == "max_latency_ms":
        return f"{b.limit}: at most {b.bound:.3g} ms with confidence, limit {b.allowed:g}"
    if b.who == MODEL_FILE:
        return f"{b.limit}: {b.value:,.0f} bytes, limit {b.allowed:,.0f}"
    side = "at least" if b.limit.startswith("min") else "at most"
    kind = "lost, " if b.limit in ("max_group_loss", "max_loss") else ""
    if b.value is None:
        return f"{b.limit}, {describe_limit(b)}: no rows"
    return (
        f"{b.limit}, {describe_limit(b)}: {kind}{format_points(b.value)} points on {b.n:,.0f} rows, "
        f"{side} {format_points(b.bound)} "
        f"with confidence, limit {format_points(b.allowed)}"
    )


def remedy(b: Bound) -> str:
    """State whether more rows would help, or only a better model."""
    if b.who == MODEL_FILE:
        return "a smaller network, or a wider limit, is needed"
    if b.rows_needed is not None:
        return (
            f"the estimate keeps the limit, but there are too few rows to demonstrate it: {b.rows_needed:,} rows of "
            "the same "
            f"denominator would suffice (now {b.n:,.0f})"
        )
    return "the estimate itself violates the limit: a better model is needed, not more rows"


def explain_winner(searched: SearchTrace) -> str:
    """Explain why the winner won."""
    winner = searched.winner
    assert winner is not None
    others = len(searched.judged) - 1
    t = winner.trial
    text = (
        f"{t.recipe}: {t.bytes:,} bytes, {searched.base_bytes / t.bytes:.2f} times smaller than the baseline. Every limit "
        f"is demonstrated to hold on {searched.rows['judging']:,} held-out rows (largest p = {winner.binds.p:.3f})."
    )
    ended = searched.stopped
    if ended is not None:
        text += (
            f" The next in line, {ended.trial.recipe} ({ended.trial.bytes:,} bytes), was not: "
            f"{describe_shortfall(ended)}."
        )
    elif others or len(searched.sequence) == 1:
        text += " No other candidate that could keep the limits is better."
    return text


def describe_shortfall(judged: JudgedCandidate) -> str:
    """Explain why a candidate failed."""
    if judged.shown:
        return f"a loss is shown for {', '.join(judged.shown[:3])}"
    return f"{format_bound(judged.binds)}; {remedy(judged.binds)}"


def limits_not_met(
    searched: SearchTrace, nearest: Trial | None, binding: Bound | None, shortfall: str, baseline_remark: str
) -> str:
    """State that no candidate keeps the limits, which is nearest, which limit binds, and what would help."""
    if nearest is None or binding is None:
        first = next(iter(searched.failed.items()), ("", "nothing could be made"))
        return f"no candidate could be made ({first[0]}: {first[1]})."
    text = (
        f"no candidate is demonstrated to keep every limit. Nearest: {nearest.recipe} ({nearest.bytes:,} bytes). "
        f"Binding: {shortfall or format_bound(binding)}; {remedy(binding)}."
    )
    return f"{text}{baseline_remark} The candidates are stored; a search with other limits reuses them."


def unjudged_groups(searched: SearchTrace) -> list[str]:
    """List the groups with too few rows to be judged, one line per rate."""
    by_rate: dict[str, list[str]] = {}
    for group, metric, n in searched.plan.too_few:
        by_rate.setdefault(metric, []).append(f"{group} ({n:,.0f})")
    return [f"{format_rate(m)}: {', '.join(names)}" for m, names in by_rate.items()]
