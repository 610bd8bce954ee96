"""An audit as Markdown for a pull request: the verdict first, the groups that lose most next, the rest folded."""

from __future__ import annotations

import re
from collections.abc import Iterator

from fairpress.auditing.metrics.impact_ratio import ImpactRatios
from fairpress.auditing.result import Audit, Comparison, GroupRates
from fairpress.auditing.verdicts.wording import group_name
from fairpress.core.visible_text import visible
from fairpress.reporting import first_screen, flip_text, sentences
from fairpress.reporting.formatting import (
    METRIC,
    at_most,
    format_level,
    format_levels,
    format_loss,
    format_rate,
    group_verdict,
    rows_to_decide,
    verdict_line,
)
from fairpress.reporting.group_rows import GroupRow, everybody, group_rows


def render(audit: Audit) -> str:
    """Return the audit as GitHub-flavoured Markdown, in which every name is escaped."""
    return "\n".join(_lines(audit)).rstrip() + "\n"


def escape(text: str) -> str:
    """Escape text for Markdown: no markup, no HTML, no line breaks, no mentions."""
    text = visible(text, breaks=False).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    text = re.sub(r"([\\`*_{}\[\]()#+!|~$-])", r"\\\1", text)
    # A zero-width joiner keeps @team and #12 from becoming mentions and links.
    return re.sub(r"(@|\\#)(?=\w)", "\\1\u2060", re.sub(r"(https?|www)(?=[:.])", "\\1\u2060", text))


def _lines(audit: Audit) -> Iterator[str]:
    seeds = f" × {audit.seeds} training seeds" if audit.seeds else ""
    people = f" about {audit.subjects:,} people" if audit.subjects else ""
    yield f"### Who pays for the compression? {audit.rows:,} rows{people}{seeds}"
    yield ""
    for line in sentences.warnings(audit):
        yield f"> **{escape(line)}**"
        yield ""
    if not audit.comparisons:
        if audit.positive is not None:
            yield escape(sentences.positive(audit))
            yield ""
        yield from _rates([g for m in audit.models for g in (m.overall, *m.groups)], audit)
    else:
        yield from _summary(audit)
    for comparison in audit.comparisons:
        yield from _comparison(audit, comparison)
    for note in audit.notes:
        yield f"* {escape(note)}"


def _summary(audit: Audit) -> Iterator[str]:
    """Yield what is read without unfolding anything: a row per model, and the groups without a verdict."""
    yield "| model | verdict | any group at most | some group at least | largest estimate | people cleared | what next |"
    yield "|---|---|---|---|---|--:|---|"
    for row in first_screen.first_screen_rows(audit):
        cells = [row.model, row.word, row.upper, row.lower, row.largest, row.cleared, row.do]
        yield f"| {' | '.join(map(escape, cells))} |"
    yield ""
    m = audit.measure(audit.metrics[0])
    error = "error" if audit.outcome is None else m.name
    unit = f" in{m.suffix}" if m.suffix else ""
    legend = (
        f"{m.rise.capitalize()} of the {error} against {audit.baseline}{unit}, with "
        f"{100 * audit.confidence:g} % confidence; "
        f"{sentences.margins(audit)}."
    )
    yield escape(" ".join([legend, *first_screen.beneath(audit)]))
    yield ""


def _comparison(audit: Audit, comparison: Comparison) -> Iterator[str]:
    name = f"{escape(comparison.compressed)} against {escape(audit.baseline)}"
    yield f"<details><summary>{escape(verdict_line(comparison)).split(' ', 1)[0]} {name}: every group</summary>"
    yield ""
    yield escape(" ".join(sentences.headline(comparison, audit)))
    reason = sentences.worst_reason(comparison, audit)
    if reason:
        yield escape(reason)
    yield ""
    yield from _table([everybody(comparison), *group_rows(comparison)], audit)
    yield from _flips(audit, comparison)
    yield "</details>"
    yield ""


def _table(rows: list[GroupRow], audit: Audit) -> Iterator[str]:
    advice = any(r.loss.rows_to_decide is not None for r in rows)
    m = audit.measure(audit.metrics[0])
    unit, counts = (
        (m.unit or "loss", "of 1,000 lose / gain")
        if audit.outcome is None
        else (m.unit or "loss", "before → after")
    )
    yield (
        f"| group | n | decided by | {escape(unit)} | at most | {counts} | verdict |"
        + (" more rows to decide |" if advice else "")
    )
    yield "|---|--:|---|--:|--:|--:|---|" + ("--:|" if advice else "")
    for r in rows:
        points = format_loss(r.loss) if r.loss.estimate.estimable else "–"
        change = f"{r.lose:.0f} / {r.gain:.0f}" if audit.outcome is None else format_levels(r.loss)
        yield (
            f"| {escape(r.title)} | {r.n:,.0f} | {escape(r.error)} | {points} | {at_most(r.loss)} | {change} | "
            f"{group_verdict(r)} |" + (f" {rows_to_decide(r.loss.rows_to_decide)} |" if advice else "")
        )
    yield ""
    confidence = f"{100 * audit.confidence:g} %"
    about = "Points: rise of the error" if audit.outcome is None else f"{m.rise.capitalize()} of the {m.name}"
    if audit.outcome is not None:
        yield escape(audit.outcome.title)
    yield (
        f"{about} with its {confidence} interval, positive = worse; at most: the one-sided "
        f"{confidence} bound, which decides."
    )
    if audit.positive is not None:
        yield escape(sentences.positive(audit))
    yield ""


def _flips(audit: Audit, comparison: Comparison) -> Iterator[str]:
    """Yield matched flips and counterfactual pairs: a line and a table for each attribute."""
    legend = flip_text.matched_legend(comparison, audit)
    lines = (
        *flip_text.matched_lines(comparison, audit),
        *flip_text.counterfactual_lines(comparison, audit),
        legend,
    )
    for line in filter(None, lines):
        yield escape(line)
        yield ""
    tables = [(flip_text.MATCHED_HEAD, flip_text.matched_rows(m)) for m in comparison.matched_flips]
    tables += [(flip_text.PAIRS_HEAD, flip_text.counterfactual_rows(c)) for c in comparison.counterfactual]
    for head, rows in tables:
        yield f"| {' | '.join(head)} |"
        yield f"|---|{'--:|' * (len(head) - 1)}"
        for cells in rows:
            yield f"| {' | '.join(map(escape, cells))} |"
        yield ""


def _rates(groups: list[GroupRates], audit: Audit) -> Iterator[str]:
    if audit.outcome is not None:
        names = list(audit.metrics)
        titles = [f"{audit.measure(n).name}{audit.measure(n).suffix}" for n in names]
    else:
        names = [n for n in ("accuracy", "selection_rate", "tpr", "fpr") if n in groups[0].rates]
        titles = [METRIC[n] for n in names]
    yield f"| group | n | {' | '.join(map(escape, titles))} |"
    yield "|---|--:|" + "--:|" * len(names)
    for g in groups:
        cells = [format_level(audit, n, g.rates[n]) if g.rates[n].estimable else "–" for n in names]
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
