"""An audit on the terminal, within 100 columns, legible without colour."""

from __future__ import annotations

import re
import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fairpress.auditing.class_result import BeforeAfter
from fairpress.auditing.inference.score_metrics import SCORE_METRICS
from fairpress.auditing.result import Audit, Comparison, GroupRates, PairChange, Verdict
from fairpress.auditing.verdicts.wording import group_name
from fairpress.core.visible_text import visible
from fairpress.reporting.class_rows import class_rows, means
from fairpress.reporting.findings import findings
from fairpress.reporting.flip_text import counterfactual_lines, matched_legend, matched_lines
from fairpress.reporting.formatting import (
    METRIC,
    SYMBOL,
    WORD,
    at_most,
    format_change,
    format_level,
    format_levels,
    format_loss,
    format_points,
    group_verdict,
    tone,
    verdict_line,
)
from fairpress.reporting.group_rows import SHORT_ERROR, GroupRow, everybody, group_rows
from fairpress.reporting.sentences import (
    exemplars,
    margins,
    positive,
    seed_tests,
    warnings,
)

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType

STYLE: dict[Verdict, str] = {
    "harm": "bold red",
    "void": "bold red",
    "loss": "red",
    "inconclusive": "yellow",
    "not_estimable": "dim",
    "no_harm": "green",
}
MAX_ROWS, MAX_CLASS_ROWS, MAX_WORD_WIDTH, MAX_LEVELS = 12, 8, 16, 3
_RATE_NAME = {**SHORT_ERROR, "accuracy": "error rate"}
ON_THE_COMMAND_LINE = "--all, --html or --json"
IN_PYTHON = "to_text(all_groups=True) or to_html()"
LEGEND = (
    "points: rise of the error in percentage points [{confidence:g} % confidence interval], + is worse; at most: the "
    "one-sided {confidence:g} % bound, which decides"
)
_OUTCOME_LEGEND = (
    "{unit}: {rise} of the {name} [{confidence:g} % confidence interval], + is worse; at most: the one-sided "
    "{confidence:g} % bound, which decides"
)
_RATES = (
    ("accuracy", "accuracy"),
    ("FPR", "fpr"),
    ("FNR", "fnr"),
)  # with three classes and no positive class, accuracy only


def plain(audit: Audit, width: int = 100, *, all_groups: bool = False) -> str:
    """Return the printed audit as text of at most `width` characters per line, without colours."""
    from rich.console import Console

    console = Console(
        width=width, highlight=False, color_system=None, force_terminal=False, force_jupyter=False
    )
    with console.capture() as captured:
        for part in render(audit, all_groups=all_groups, more=IN_PYTHON):
            console.print(part)
    return "\n".join(line.rstrip() for line in captured.get().splitlines())


def render(
    audit: Audit, *, all_groups: bool = False, more: str = ON_THE_COMMAND_LINE
) -> Iterator[RenderableType]:
    """Yield the parts to print, verdict first.

    Without `all_groups`, tables have the groups whose loss is shown or open, at most `MAX_ROWS`; `more` says how to get all.
    """
    from rich.text import Text

    yield Text(_design(audit), style="dim")
    if audit.outcome is not None:
        yield Text(clean(audit.outcome.title), style="dim")
    guessed = audit.positive_from not in ("option", "table", None)
    if audit.positive is not None and guessed:
        yield Text(clean(positive(audit)), style="yellow")
    for line in warnings(audit):
        yield Text(f"! {clean(line)}", style="bold yellow")
    if not audit.comparisons:
        yield _rates(audit)
    for comparison in audit.comparisons:
        yield Text("")
        yield from _comparison(audit, comparison, all_groups, more)
    notes = [_legend(audit)] if any(_shown_rows(c, all_groups) for c in audit.comparisons) else []
    flips = [c for c in audit.comparisons if matched_lines(c, audit, shown_only=not all_groups)]
    notes += [matched_legend(c, audit) for c in flips[:1]]
    notes += [positive(audit)] if audit.positive is not None and not guessed else []
    if notes or audit.notes:
        yield Text("")
    for note in (*notes, *(f"* {n}" for n in audit.notes)):
        yield Text(clean(note), style="dim")


def _design(audit: Audit) -> str:
    """Return what was audited and how, in one line."""
    size = f"{audit.rows:,} rows" + (f" × {audit.seeds} seeds" if audit.seeds else "")
    if not audit.comparisons:
        return f"{size}; {100 * audit.confidence:g} % confidence"
    groups = sum(len(a.groups) for a in audit.comparisons[0].attributes)
    size += f", {groups} group{'' if groups == 1 else 's'}"
    return f"{size}; {margins(audit)}; {100 * audit.confidence:g} % confidence"


def _legend(audit: Audit) -> str:
    if audit.outcome is None:
        return LEGEND.format(confidence=100 * audit.confidence)
    m = audit.measure(audit.metrics[0])
    return _OUTCOME_LEGEND.format(
        unit=m.unit or "loss", rise=m.rise, name=m.name, confidence=100 * audit.confidence
    )


def _shown_rows(comparison: Comparison, all_groups: bool) -> list[GroupRow]:
    """Return the rows of the table: all, or those with a loss that is shown or open, the worst first."""
    rows = group_rows(comparison)
    if all_groups:
        return rows
    return [r for r in rows if r.verdict in ("harm", "void", "loss", "inconclusive")][:MAX_ROWS]


def _comparison(
    audit: Audit, comparison: Comparison, all_groups: bool, more: str
) -> Iterator[RenderableType]:
    from rich.table import Table
    from rich.text import Text

    title = f"{clean(comparison.compressed)} against {clean(audit.baseline)}: "
    yield Text.assemble((title, "bold"), (clean(verdict_line(comparison)), STYLE[tone(comparison)]))
    facts = Table.grid(padding=(0, 2, 0, 0))
    facts.add_column(no_wrap=True)
    facts.add_column()
    for label, text in findings(comparison, audit):
        facts.add_row(Text(f"  {label}", style="bold"), Text(clean(text)))
    yield facts
    rows = _shown_rows(comparison, all_groups)
    if rows:
        yield _GroupTable((everybody(comparison), *rows))
    if not all_groups and (others := _others_text(comparison, rows)):
        yield Text(f"{others}. Table of all groups: {more}", style="dim")
    yield from _details(audit, comparison, all_groups)


def _others_text(comparison: Comparison, shown: Sequence[GroupRow]) -> str:
    """Return how many groups the table omits, by verdict; empty if it has all."""

    def kind(row: GroupRow) -> str:
        return "judged only together" if row.pooled else WORD[row.verdict]

    omitted = group_rows(comparison)[len(shown) :]
    counts = [
        f"{n:,} {noun}{'' if n == 1 else 's'}: {word}"
        for noun, rows in (
            ("group", [r for r in omitted if not r.members]),
            ("pool", [r for r in omitted if r.members]),
        )
        for word, n in Counter(map(kind, rows)).items()
    ]
    if not counts:
        return ""
    return f"{'… ' if shown else ''}{'; '.join(counts)}"


@dataclass(frozen=True)
class _GroupTable:
    """The table of groups, whose names wrap at spaces and hyphens to the width that the other columns leave."""

    rows: Sequence[GroupRow]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        from rich.table import Table
        from rich.text import Text

        metrics = {row.loss.metric for row in self.rows}
        first = self.rows[0].loss.measure
        classes = self.rows[0].loss.outcome_measure is None
        unit = first.unit or "loss"
        error = (
            _RATE_NAME.get(next(iter(metrics)), first.short) if classes and len(metrics) == 1 else first.short
        )
        one_error = clean(f"{error}: {unit}" if len(metrics) == 1 and error != unit else unit)
        head = [
            "n",
            *([] if len(metrics) == 1 else ["decided by"]),
            one_error,
            "at most",
            "of 1,000 lose/gain" if classes else "before → after",
        ]
        cells = [self._cells(row, by_row=len(metrics) > 1) for row in self.rows]
        verdicts = [group_verdict(row) for row in self.rows]
        widths = [
            max(*(len(c[i]) for c in cells), *map(len, textwrap.wrap(title, 10)))
            for i, title in enumerate(head)
        ]
        gap = 2 if options.max_width >= 100 else 1
        rest = sum(widths) + max(map(len, verdicts)) + gap * (len(head) + 1)
        longest = max(len(word) for row in self.rows for word in re.split(r"[\s-]", clean(row.short)))
        width = max(min(MAX_WORD_WIDTH, longest + 1), options.max_width - rest)
        table = Table(box=None, padding=(0, gap, 0, 0), pad_edge=False)
        table.add_column("group", no_wrap=True)
        for title, column in zip(head, widths, strict=True):
            table.add_column(
                "\n".join(textwrap.wrap(title, column)),
                justify="left" if title == "decided by" else "right",
                no_wrap=True,
            )
        table.add_column("verdict", no_wrap=True)
        for row, values, verdict in zip(self.rows, cells, verdicts, strict=True):
            table.add_row(
                Text("\n".join(textwrap.wrap(clean(row.short), width)) or "–"),
                *values,
                Text(verdict, style=STYLE[row.verdict]),
                style="dim" if row.verdict == "not_estimable" else None,
            )
        yield table

    @staticmethod
    def _cells(row: GroupRow, *, by_row: bool) -> list[str]:
        # The estimate of a handful of people says nothing; the report has it.
        assessed = row.loss.estimate.estimable and row.verdict != "not_estimable"
        return [
            f"{row.n:,.0f}",
            *([clean(row.loss.measure.short)] if by_row else []),
            format_loss(row.loss) if assessed else "–",
            at_most(row.loss) if assessed else "–",
            f"{row.lose:.0f}/{row.gain:.0f}" if row.loss.outcome_measure is None else format_levels(row.loss),
        ]


def _details(audit: Audit, comparison: Comparison, all_groups: bool) -> Iterator[RenderableType]:
    """Yield the parts below the table of groups: fixed pairs, flips at equal closeness, seeds, exemplars.

    Scores and attributes whose groups flip alike are printed with all groups only.
    """
    from rich.text import Text

    scores = {k: e for k, e in comparison.overall.changes.items() if k in SCORE_METRICS and e.estimable}
    if scores and all_groups:
        values = "; ".join(f"{METRIC[k]} {format_change(e)}" for k, e in scores.items())
        yield Text(f"Scores, all people: {values}. By group: --html, --json.")
    yield from _classes(comparison)
    for pair in comparison.pairs:
        first, second = (" · ".join(v.values()) for v in (pair.first, pair.second))
        yield Text(clean(f"{first} minus {second} (pair fixed {pair.chosen}), in points:"))
        yield _pair(pair)
    flips = matched_lines(comparison, audit, shown_only=not all_groups)
    for text in (*flips, *counterfactual_lines(comparison, audit)):
        yield Text(clean(text))
    for line in (
        seed_tests(audit, comparison),
        None if comparison.exemplars is None else exemplars(comparison.exemplars),
    ):
        if line:
            yield Text(line)


def _classes(comparison: Comparison) -> Iterator[RenderableType]:
    """Yield the means over classes, and the pairs of class and group with the most severe verdicts."""
    from rich.table import Table
    from rich.text import Text

    if comparison.classes is None:
        return
    _, present, recall, f1 = next(iter(means(comparison)))
    yield Text(
        f"All people, mean of {present} classes: recall {_before_after(recall)}, F1 {_before_after(f1)} points."
    )
    rows = class_rows(comparison)
    shown = [r for r in rows if r.loss.verdict != "not_estimable"][:MAX_CLASS_ROWS]
    if shown:
        table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
        heads = ("class", "group", "n", "recall: points", "at most", "verdict")
        for head in heads:
            table.add_column(head, justify="left" if head in ("class", "group", "verdict") else "right")
        for r in shown:
            table.add_row(
                Text(clean(r.name)),
                Text(clean(r.group)),
                f"{r.loss.estimate.n:,.0f}",
                format_points(r.loss.estimate),
                at_most(r.loss),
                Text(f"{SYMBOL[r.loss.verdict]} {WORD[r.loss.verdict]}", style=STYLE[r.loss.verdict]),
            )
        yield table
    if len(rows) > len(shown):
        yield Text(
            f"… {len(rows) - len(shown):,} more pairs of class and group with --html or --json", style="dim"
        )


def _before_after(x: BeforeAfter) -> str:
    if x.before.value is None or x.after.value is None:
        return "–"
    return f"{x.before.value:.3f} to {x.after.value:.3f}, {format_points(x.change)}"


def _pair(pair: PairChange) -> RenderableType:
    from rich.table import Table

    table = Table(box=None, padding=(0, 1), pad_edge=False)
    for name in ("rate", "before", "after", "change"):
        table.add_column(name, justify="left" if name == "rate" else "right")
    for rate, change in pair.changes.items():
        cells = [
            "–" if e.value is None else format_points(e)
            for e in (pair.before[rate], pair.after[rate], change)
        ]
        table.add_row(METRIC[rate], *cells)
    return table


def _rates(audit: Audit) -> RenderableType:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 1), pad_edge=False)
    names = _RATES if audit.outcome is None else [(_level_name(audit, m), m) for m in audit.metrics]
    shown = [(n, r) for n, r in names if all(r in m.overall.rates for m in audit.models)][:MAX_LEVELS]
    for name in ("group", "n", *(n for n, _ in shown)):
        table.add_column(name, justify="left" if name == "group" else "right")

    def row(group: GroupRates) -> None:
        cells = [
            format_level(audit, r, group.rates[r]) if group.rates[r].estimable else "–" for _, r in shown
        ]
        table.add_row(Text(clean(group_name(group.values))), f"{group.n:,.0f}", *cells)

    for model in audit.models:
        row(model.overall)
        for group in model.groups:
            row(group)
    return table


def _level_name(audit: Audit, metric: str) -> str:
    measure = audit.measure(metric)
    return clean(measure.name + (f": {measure.unit}" if measure.unit else ""))


def clean(text: str) -> str:
    """Show control characters by their numbers: they could move the cursor or forge lines."""
    return visible(text, breaks=False)
