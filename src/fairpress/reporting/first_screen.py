"""The first screen of a report: a summary in a few sentences, and a row for each compressed model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from fairpress.auditing.measure import Measure
from fairpress.auditing.result import Audit, Comparison, LossBounds, Verdict
from fairpress.auditing.verdicts.rules import WORST_FIRST
from fairpress.auditing.verdicts.wording import (
    by_reason,
    foremost,
    group_name,
    is_cleared,
    name_groups,
    percent,
    shown_sentence,
    who,
)
from fairpress.reporting import formatting, sentences
from fairpress.reporting.formatting import SYMBOL, WORD, format_loss
from fairpress.reporting.group_rows import (
    everybody,
    group_rows,
    largest_row,
    pools_of,
    short_name,
    unassessed,
    worst_row,
)

MAX_MODELS = 3
MAX_IN_FULL = 6  # models whose errors that do not decide are in the first table, too
NOTHING = "–"


@dataclass(frozen=True)
class SummaryRow:
    """A compressed model on the first screen, in words.

    Attributes
    ----------
    model, verdict, word
        Its name, its verdict, and the verdict with the error that it is about.
    tone
        The verdict whose colour it has.
    upper, lower
        X and Y: the largest loss that is not ruled out, and the largest that is shown, and whose.
    largest
        The largest estimate with its interval, whose and of how many people.
    cleared
        The share of the people for whom a loss above the margin is ruled out.
    lose, gain
        Of 1,000 people of the group with the largest estimate, those who lose and gain a correct answer.
    others
        How far the errors that do not decide can have risen; empty if there are none.
    do
        What to do next.
    """

    model: str
    verdict: Verdict
    word: str
    tone: str
    upper: str
    lower: str
    largest: str
    cleared: str
    lose: float
    gain: float
    others: str
    do: str


@dataclass(frozen=True)
class Headline:
    """A sentence or two at the top of a report; `tone` is the verdict whose colour it has, None for no verdict."""

    text: str
    tone: Verdict | None = None

    @property
    def sign(self) -> str:
        return "" if self.tone is None else SYMBOL[self.tone]


def headlines(audits: Sequence[Audit]) -> list[Headline]:
    """Summarize who is affected, over all compressed models of the audits; unassessed groups are always named."""
    pairs = [(c, a) for a in audits for c in a.comparisons]
    if not pairs:
        return [Headline("No compressed model is compared: these are the rates of the models.")]
    if len(pairs) == 1:
        comparison, audit = pairs[0]
        # The other sentences are in the table and beneath it.
        first = sentences.headline(comparison, audit)[: 2 if comparison.verdict == "void" else 1]
        if comparison.verdict in ("harm", "loss"):
            first = tuple(filter(None, (shown_sentence(comparison.bounds), *first)))
        text = f"{comparison.compressed}: {_without_sign(comparison)}. {' '.join(first)}"
        return [Headline(text, formatting.tone(comparison))]
    comparisons = [c for c, _ in pairs]
    lines = []
    if len(pairs) <= MAX_MODELS:
        named = sorted(pairs, key=lambda p: _rank(p[0]))
    else:
        counts = [(v, sum(c.verdict == v for c in comparisons)) for v in WORST_FIRST]
        words = ", ".join(f"{n} {WORD[v]}" for v, n in counts if n)
        lines.append(Headline(f"Of the {len(pairs)} compressed models: {words}."))
        named = _extremes(pairs)
    lines += [Headline(_clause(c, a), formatting.tone(c)) for c, a in named]
    notes = (void_sentence(comparisons), unassessed_sentence(comparisons))
    return lines + [Headline(note) for note in notes if note]


def facts(audit: Audit, date: str = "") -> list[tuple[str, str]]:
    """Return what was audited, as names and values for the first screen; `date` is when the report was made."""
    people = f"{audit.subjects:,} people" if audit.subjects else ""
    seeds = f"{audit.seeds} training seeds" if audit.seeds else ""
    lines = [("Rows", ", ".join(filter(None, (f"{audit.rows:,}", people, seeds))))]
    if audit.comparisons:
        lines.append(("Compared", f"{len(audit.comparisons):,} compressed with {audit.baseline}"))
    lines.append(("Groups by", ", ".join(audit.attributes)))
    if audit.comparisons:
        first = audit.metrics[0]
        lines.append(("Margin", f"{sentences.margin_in(audit, first)}, {audit.measure(first).name}"))
        lines.append(("Assessed", _assessed(audit.comparisons[0])))
    lines.append(("Confidence", f"{100 * audit.confidence:g} %"))
    return lines + ([("Date of this report", date)] if date else [])


def _assessed(c: Comparison) -> str:
    """Return how many groups were assessed, which labels and sizes decide, and how many only together."""
    groups = [g for a in c.attributes for g in a.groups]
    together = sum(len(p.members) for p in pools_of(c))
    alone = f"{sum(g.losses[0].assessed for g in groups):,} of {len(groups):,} groups"
    return alone + (f", {together:,} only together" if together else "")


def first_screen_rows(audit: Audit) -> list[SummaryRow]:
    """Return a row for each comparison of an audit, in its order; of more than a few, the worst first and in brief."""
    if len(audit.comparisons) <= MAX_IN_FULL:
        return [_row(c, audit) for c in audit.comparisons]
    return [replace(_row(c, audit), others="") for c in sorted(audit.comparisons, key=_rank)]


def beneath(audit: Audit) -> list[str]:
    """Return the sentences beneath the table: groups that were judged only together, and what moved apart."""
    return not_alone(audit) + [
        f"{c.compressed}: {m[:1].lower()}{m[1:]}"
        for c in audit.comparisons
        for m in sentences.moves(c, audit)
    ]


def not_alone(audit: Audit) -> list[str]:
    """Return sentences on the groups that were judged only together; the headlines name those that were not assessed."""
    lines: list[str] = []
    pools = {p.attribute: p for c in audit.comparisons for p in pools_of(c)}
    for pool in pools.values():
        names = name_groups([" · ".join(m.values()) for m in pool.members])
        lines.append(
            f"Judged only together, because each has too few people ({pool.attribute}): {names}. A group that is small "
            "compared with the others can lose without moving their verdict."
        )
    return lines


def definitions(audit: Audit) -> str:
    """Return what the words of the first screen mean: points, confidence, margin, bounds, errors."""
    confidence = f"{100 * audit.confidence:g} %"
    rise = audit.measure(audit.metrics[0]).rise
    an_error = "an error" if audit.outcome is None else f"the {audit.measure(audit.metrics[0]).name}"
    texts = [
        _unit(audit),
        f"{confidence} confidence: a method that is right in {confidence} of all audits.",
        f"Margin: the largest {rise} of {an_error} that is accepted, fixed beforehand ({sentences.margins(audit)}).",
        f"A larger {rise} that is demonstrated is harm.",
        f"People cleared: those for whom a {rise} above the margin is ruled out in every group that they belong to.",
        "Brackets: confidence interval of the estimate.",
        "Uneven: some group is shown to lose more than all others."
        if any(c.disparate for c in audit.comparisons)
        else "",
        sentences.positive(audit),
        # Gaps are named by the true positive rate, losses by the false negative rate.
        f"True positive rate (TPR): the share of {audit.positive!r} that is predicted as {audit.positive!r}, 1 − FNR."
        if audit.positive is not None and any("TPR" in line for line in beneath(audit))
        else "",
    ]
    return " ".join(filter(None, texts))


def _unit(audit: Audit) -> str:
    """Return a sentence on the unit of the numbers."""
    if audit.outcome is None:
        return "Points are percentage points: 1 point is 1 more error in 100 people of the group."
    m = audit.measure(audit.metrics[0])
    points = " Points are percentage points." if m.unit == "points" else ""
    return f"{audit.outcome.title}{points} Numbers are the {m.rise} of the {m.name}{_in_unit(m)}; positive is worse."


def _in_unit(m: Measure) -> str:
    return f" in {m.unit}" if m.unit else ""


def _row(c: Comparison, audit: Audit) -> SummaryRow:
    bound = c.bounds[0]
    largest = largest_row(c)
    people = largest or everybody(c)
    estimate = NOTHING
    if largest is not None:
        # In the deciding metric, as the caption says, even where another one is behind the verdict of the group.
        loss = largest.in_metric(bound.metric) or largest.loss
        estimate = f"{format_loss(loss).lstrip('+')} ({largest.short}, n = {largest.n:,.0f})"
    return SummaryRow(
        c.compressed,
        c.verdict,
        formatting.verdict_line(c),
        formatting.tone(c),
        _upper_text(c, bound) if c.verdict != "void" else NOTHING,
        _lower_text(c, bound),
        estimate,
        NOTHING if bound.upper is None or c.verdict == "void" else percent(bound.cleared),
        people.lose,
        people.gain,
        "" if c.verdict == "void" else _others(c),
        sentences.next_step(c, audit),
    )


def _upper_text(c: Comparison, bound: LossBounds) -> str:
    """Format X: the largest loss that is not ruled out, and whose."""
    if bound.upper is None or bound.upper_group is None:
        return "not known"
    if bound.upper <= 0:
        return f"no {bound.measure.rise}"
    return f"{bound.measure.rounded_up(bound.upper)} ({short_name(c, bound.upper_group)})"


def _lower_text(c: Comparison, bound: LossBounds) -> str:
    """Format Y, with the error if it is not the one that decides."""
    shown = bound if bound.lower is not None else next((b for b in c.bounds if b.lower is not None), None)
    if shown is None or shown.lower is None or shown.lower_group is None:
        return "none shown"
    error = "" if shown is bound else f"{shown.measure.name} "
    return f"{error}{shown.measure.rounded_down(shown.lower)} ({short_name(c, shown.lower_group)})"


def _others(c: Comparison) -> str:
    """Return what is known of the errors that do not decide; of very many, of the largest few."""
    named = foremost(c.bounds[1:], lambda b: b.upper or 0.0)
    texts = [_other(c, b) for b in named]
    more = len(c.bounds) - 1 - len(named)
    return "; ".join([*texts, *([f"{more:,} more errors"] if more else [])])


def _other(c: Comparison, bound: LossBounds) -> str:
    name = bound.measure.name
    if bound.upper is None:
        return f"{name}: too few rows"
    if bound.upper <= 0:
        return f"{name}: no {bound.measure.rise}"
    return f"{name} {'at most' if is_cleared(bound) else 'open up to'} {_upper_text(c, bound)}"


def _clause(c: Comparison, audit: Audit) -> str:
    """Return a model's result in one or two sentences: for whom a loss is shown, else what is ruled out."""
    bound = c.bounds[0]
    if c.verdict in ("harm", "loss"):
        row = worst_row(c)
        more = sum(r.verdict == c.verdict for r in group_rows(c)) - 1
        people = sentences.people_text(row, "of them")
        people = f"{people[:1].lower()}{people[1:]}"
        others = (
            f"; the same verdict for {more} more {'group' if more == 1 else 'groups'}" if more > 0 else ""
        )
        return (
            f"{c.compressed}: {WORD[c.verdict]} in {row.error}. {row.opening}: {row.up} by {sentences.span(row)}"
            f"{row.loss.measure.suffix}, at most {formatting.at_most(row.loss)}{f'; {people}' if people else ''}{others}."
        )
    start = f"{c.compressed}: {_without_sign(c)}"
    if c.verdict == "void" or bound.upper is None:
        return f"{start}."
    confidence = f"with {100 * audit.confidence:g} % confidence,"
    if bound.upper <= 0:
        error = "error" if audit.outcome is None else bound.measure.name
        return f"{start}: {confidence} the {error} of no assessed group {bound.measure.rises}."
    limit = f"{bound.measure.rounded_up(bound.upper)}{bound.measure.suffix}"
    return (
        f"{start}: {confidence} no assessed group loses more than {limit} ({who(bound.upper_group or {})})."
    )


def _extremes(pairs: Sequence[tuple[Comparison, Audit]]) -> list[tuple[Comparison, Audit]]:
    """Return the models with the most and the least severe result."""
    ranked = sorted(pairs, key=lambda p: _rank(p[0]))
    return [ranked[0], ranked[-1]]


def _rank(c: Comparison) -> tuple[int, float]:
    return WORST_FIRST.index(c.verdict), -(c.bounds[0].upper or 0.0)


def _without_sign(c: Comparison) -> str:
    return formatting.verdict_line(c).split(" ", 1)[1]


def void_sentence(comparisons: Sequence[Comparison]) -> str:
    """Return a sentence on the void comparisons and the reasons; empty if there are none."""
    void = [c for c in comparisons if c.void is not None]
    reasons = " ".join(dict.fromkeys(c.void or "" for c in void))
    return f"Void: {name_groups([c.compressed for c in void])}. {reasons}" if void else ""


def unassessed_sentence(comparisons: Sequence[Comparison]) -> str:
    """Return a sentence on the groups that could not be assessed for any of the models, with sizes; empty without any."""
    groups = {tuple(g.values.items()): g for c in comparisons for g in unassessed(c)}
    if not groups:
        return ""
    metric = comparisons[0].overall.losses[0].metric
    texts = [
        f"{why}: {name_groups([f'{group_name(g.values)} ({g.n:,.0f})' for g in unclear])}"
        for why, unclear in by_reason(list(groups.values()), metric).items()
    ]
    return f"Not assessed, {'; '.join(texts)}."
