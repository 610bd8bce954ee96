"""What an audit shows about one model, as short labelled texts for the terminal, the most important first."""

from __future__ import annotations

from collections.abc import Iterator

from fairpress.auditing.result import Audit, Comparison, LossBounds
from fairpress.auditing.verdicts.wording import (
    DENOMINATOR,
    TOO_FEW_PEOPLE,
    by_reason,
    class_text,
    margin_text,
    others_text,
    percent,
    pooled_text,
    reasons_text,
    shown_text,
    who,
)
from fairpress.reporting.group_rows import everybody, pools_of, unassessed, worst_row
from fairpress.reporting.sentences import moves, next_step, worst_reason

Finding = tuple[str, str]
"""A label of at most 13 characters, empty where the text goes on with the topic before; and a text."""


def findings(comparison: Comparison, audit: Audit) -> list[Finding]:
    """Return the labelled findings of a comparison: who was not assessed, what is not ruled out and shown, what to do."""
    return [
        *_coverage(comparison, audit),
        *([("Void", comparison.void)] if comparison.void is not None else []),
        *(_bounds(comparison) if comparison.verdict != "void" else ()),
        *_people(comparison),
        *(("Gaps" if i == 0 else "", text) for i, text in enumerate(moves(comparison, audit))),
        *([("Correction", reason)] if (reason := worst_reason(comparison, audit)) else []),
        ("What next", next_step(comparison, audit)),
    ]


def _coverage(comparison: Comparison, audit: Audit) -> Iterator[Finding]:
    """Yield the groups without a verdict with the rows that a verdict needs, and those that were judged only together."""
    metric = audit.metrics[0]
    lacking = unassessed(comparison)
    if lacking:
        text = reasons_text(lacking, metric)
        if TOO_FEW_PEOPLE in by_reason(lacking, metric) and (needed := audit.min_rows.get(metric)):
            text += f"; each needs {needed:,} {DENOMINATOR.get(metric, 'rows')}"
        yield "Not assessed", text
    if pooled := pooled_text(metric, pools_of(comparison)):
        yield "Only together", f"too few people alone: {pooled}"


def _bounds(comparison: Comparison) -> Iterator[Finding]:
    """Yield what is not ruled out and what is shown in the error that decides, then in the others."""
    deciding = comparison.bounds[0]
    yield "Not ruled out", _upper(deciding)
    if shown := shown_text(comparison.bounds):
        yield f"Shown to {deciding.measure.rise}", shown
    if deciding.upper is not None:
        limit = margin_text(deciding.margin, deciding.measure)
        yield (
            "Cleared",
            f"{percent(deciding.cleared)} of the people: in all their groups, a {deciding.measure.rise} above {limit} is "
            "ruled out",
        )
    if others := others_text(comparison.bounds):
        yield "Other errors", others
    if comparison.classes is not None:
        yield "Class recall", class_text(comparison.classes)


def _upper(bound: LossBounds) -> str:
    """Return X, whose it is, and the largest estimate."""
    m, largest = bound.measure, bound.largest
    if bound.upper is None or bound.upper_group is None:
        return "anything: too few rows for any verdict by group"
    text = f"no {m.rise} of the {m.name} in any assessed group"
    if bound.upper > 0:
        text = f"a {m.rise} of the {m.name} by up to {m.rounded_up(bound.upper)}{m.suffix}: {who(bound.upper_group)}"
    if largest is None or largest.value is None or bound.largest_group is None:
        return text
    span = (
        f" [{m.plain(largest.low)}, {m.plain(largest.high)}]"
        if largest.low is not None and largest.high is not None
        else ""
    )
    estimate = f"{m.plain(largest.value)}{span}"
    if bound.largest_group == bound.upper_group and bound.upper > 0:
        return f"{text} (estimate {estimate}, n = {largest.n:,.0f})"
    return f"{text}; the largest estimate is {estimate}: {who(bound.largest_group)} (n = {largest.n:,.0f})"


def _people(comparison: Comparison) -> Iterator[Finding]:
    """Yield how many of 1,000 people lose and gain a correct answer, in the group that the verdict is about and of all."""
    first, *others = [everybody(comparison)]
    if comparison.verdict in ("harm", "loss") and (worst := worst_row(comparison)).name != first.name:
        first, others = worst, [first]
    if first.loss.outcome_measure is None:
        words = ("{} lose a correct answer and {} gain one", "{} and {}")
    elif first.lose or first.gain:
        words = ("{} rows are worse and {} better than before", "{} and {}")
    else:
        return
    texts = [
        f"{row.title}: {text.format(f'{row.lose:.0f}', f'{row.gain:.0f}')}"
        for row, text in zip((first, *others), words, strict=False)
    ]
    yield "Of 1,000", "; ".join(texts)
