"""An audit as Markdown for a pull request: the verdict first, the groups that lose most next, the rest folded."""

from __future__ import annotations

import re
from collections.abc import Iterator

from fairpress.auditing.metrics.impact_ratio import ImpactRatios
from fairpress.auditing.result import Audit, Comparison, GroupComparison, GroupRates
from fairpress.auditing.verdicts.rules import WORST_FIRST
from fairpress.auditing.verdicts.wording import group_name
from fairpress.reporting.formatting import (
    METRIC,
    SYMBOL,
    WORD,
    format_points,
    format_rate,
    rows_needed,
    verdict,
    worst_loss,
)
from fairpress.reporting.sentences import meaning, positive, warnings, who_pays

SHOWN = 5


def render(audit: Audit) -> str:
    """Return the audit as GitHub-flavoured Markdown, in which every name is escaped."""
    return "\n".join(_lines(audit)).rstrip() + "\n"


def escape(text: str) -> str:
    """Escape text for Markdown: no markup, no HTML, no line breaks, no mentions."""
    text = "".join(c if c.isprintable() else "�" for c in text)
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    text = re.sub(r"([\\`*_{}\[\]()#+!|~$-])", r"\\\1", text)
    # A zero-width joiner keeps @team and #12 from becoming mentions and links.
    return re.sub(r"(@|\\#)(?=\w)", "\\1\u2060", re.sub(r"(https?|www)(?=[:.])", "\\1\u2060", text))


def _lines(audit: Audit) -> Iterator[str]:
    seeds = f" × {audit.seeds} training seeds" if audit.seeds else ""
    people = f" about {audit.subjects:,} people" if audit.subjects else ""
    yield f"### Who pays for the compression? {audit.rows:,} rows{people}{seeds}"
    yield ""
    for line in warnings(audit):
        yield f"> **{escape(line)}**"
        yield ""
    if audit.positive is not None:
        yield escape(positive(audit))
        yield ""
    for comparison in audit.comparisons:
        yield from _comparison(audit, comparison)
    if not audit.comparisons:
        yield from _rates([g for m in audit.models for g in (m.overall, *m.groups)])
    for note in audit.notes:
        yield f"* {escape(note)}"


def _comparison(audit: Audit, comparison: Comparison) -> Iterator[str]:
    uneven = ", unevenly" if comparison.disparate else ""
    name, base = escape(comparison.compressed), escape(audit.baseline)
    sign, word = verdict(comparison).split(" ", 1)
    yield f"**{sign} {name} against {base}: {word}{uneven}.** {escape(comparison.headline)}"
    yield ""
    yield escape(f"{who_pays(comparison, audit)} {meaning(comparison, audit)}")
    yield ""
    groups = sorted((g for a in comparison.attributes for g in a.groups), key=_worst_first)
    yield from _table([comparison.overall, *groups[:SHOWN]], audit)
    if len(groups) > SHOWN:
        yield "<details><summary>All groups</summary>"
        yield ""
        yield from _table(groups, audit)
        yield "</details>"
        yield ""


def _worst_first(group: GroupComparison) -> tuple[int, float]:
    return WORST_FIRST.index(group.verdict), -(worst_loss(group).estimate.value or 0.0)


def _table(groups: list[GroupComparison], audit: Audit) -> Iterator[str]:
    metrics = [f"{METRIC[m]} {'gained' if m == 'fpr' else 'lost'}" for m in audit.metrics]
    yield f"| group | n | {' | '.join(metrics)} | of 1,000 lose / gain | verdict | rows needed |"
    yield "|---|--:|" + "--:|" * len(metrics) + "--:|---|--:|"
    for g in groups:
        losses = [format_points(x.estimate) if x.estimate.estimable else "–" for x in g.losses]
        lost, gained = (1000 * x / g.n for x in (g.flips.right_to_wrong, g.flips.wrong_to_right))
        yield (
            f"| {escape(group_name(g.values))} | {g.n:,.0f} | {' | '.join(losses)} | {lost:.0f} / {gained:.0f} | "
            f"{SYMBOL[g.verdict]} {WORD[g.verdict]} | {rows_needed(g)} |"
        )
    yield ""
    yield f"Points with {100 * audit.confidence:g} % intervals, positive = worse; margin {100 * audit.margin:g} points."
    yield ""


def _rates(groups: list[GroupRates]) -> Iterator[str]:
    names = [n for n in ("accuracy", "selection_rate", "tpr", "fpr") if n in groups[0].rates]
    yield f"| group | n | {' | '.join(METRIC[n] for n in names)} |"
    yield "|---|--:|" + "--:|" * len(names)
    for g in groups:
        cells = [format_rate(g.rates[n]) if g.rates[n].estimable else "–" for n in names]
        yield f"| {escape(group_name(g.values))} | {g.n:,.0f} | {' | '.join(cells)} |"
    yield ""


def four_fifths(tables: list[ImpactRatios]) -> str:
    """Return impact ratios as Markdown tables, one per attribute."""
    lines = []
    for table in tables:
        scoring = "" if table.median is None else f"; scoring rates, median score {table.median:.3g}"
        chosen = "selected" if table.median is None else "above median"
        heading = f"{escape(table.model)} by {escape(table.attribute)}"
        lines.append(f"**Impact ratios of {heading}** (four-fifths rule{scoring})")
        lines += [
            "",
            f"| category | people | {chosen} | rate | impact ratio | below 0.8 |",
            "|---|--:|--:|--:|--:|---|",
        ]
        for c in table.categories:
            ratio = "1 (reference)" if c.ratio.method == "reference" else format_rate(c.ratio)
            below = {None: "–", False: "no", True: "yes, shown" if c.shown_below else "yes, may be chance"}[
                c.below
            ]
            name = escape(" · ".join(c.values.values()))
            lines.append(f"| {name} | {c.n:,.0f} | {c.selected:,.0f} | {c.rate:.3f} | {ratio} | {below} |")
        lines.append("")
    return "\n".join(lines)
