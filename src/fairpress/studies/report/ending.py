"""The end of a study's run on the terminal: what was ruled out and shown per recipe, on one screen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from fairpress.reporting import claims
from fairpress.reporting.first_screen import not_alone
from fairpress.reporting.html import Section
from fairpress.reporting.recipe_rows import NONE, RecipeRow, ShortResult, recipe_rows
from fairpress.reporting.sentences import margins, warnings
from fairpress.reporting.terminal import STYLE, clean
from fairpress.studies.report.result import StudyResult
from fairpress.studies.report.sections import accuracies

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.table import Table

MAX_LINES = 37  # the command prints the path of the report below
MAX_SENTENCES = 2
NAME_WIDTH = 15
LEGEND = (
    "At most: no assessed group loses more; FNR or FPR: the other error that is most open above the margin. At least: shown "
    "for some group. Cleared: people for whom a loss above the margin is ruled out."
)


@dataclass(frozen=True)
class StudyEnding:
    """Prints at most `MAX_LINES` lines: of the recipes, the most severe that fit."""

    study: StudyResult

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        top, bottom = list(_top(self.study)), list(_bottom(self.study))
        lines = lines_of(self.study.sections)
        height = sum(_height(part, console, options) for part in (*top, *bottom))
        most_severe = sorted(lines, key=lambda line: line.rank)[:MAX_LINES]
        shown = [line for line in lines if line in most_severe]
        while len(shown) > 1 and height + _height(_table(shown, lines), console, options) > MAX_LINES:
            mildest = max(shown, key=lambda line: line.rank)
            shown = [line for line in shown if line is not mildest]
        yield from top
        if lines:
            yield _table(shown, lines)
        yield from bottom


def lines_of(sections: Sequence[Section]) -> list[RecipeRow]:
    """Return a row for each recipe of the sections of the first screen, in their order."""
    return [
        replace(row, recipe=f"{s.part}: {row.recipe}" if s.part else row.recipe)
        for s in sections
        if s.first
        for row in recipe_rows(s.audit, s.placebos, s.sizes)
    ]


def _top(study: StudyResult) -> Iterator[RenderableType]:
    """Yield what precedes the table: warnings, title, design, and the results that are not about compression."""
    from rich.text import Text

    leading = [s for s in study.sections if s.first]
    lines = [*study.warnings, *(line for s in leading for line in warnings(s.audit))]
    yield Text("")
    yield from (Text(f"! {clean(line)}", style="bold yellow") for line in _few(list(dict.fromkeys(lines))))
    yield Text(clean(study.title), style="bold")
    for audit in [s.audit for s in leading][:1]:
        seeds = audit.seeds or 1
        design = f"{audit.rows:,} people, " if audit.subjects is None else f"{audit.rows:,} rows, "
        design += (
            f"{seeds} seed{'s' if seeds > 1 else ''} × {study.folds} fold{'s' if study.folds > 1 else ''}"
        )
        yield Text(f"{design}; {margins(audit)}; {100 * audit.confidence:g} % confidence", style="dim")
    others = [
        f"{s.title}: {sentence}."
        for p, s in zip(study.planned, study.sections, strict=True)
        if not p.is_compression or not s.audit.comparisons
        # The last sentences are about the loss of one model relative to another.
        for sentence in accuracies(s.audit)[-max(len(s.audit.comparisons), 1) :]
    ]
    yield from (Text(clean(line)) for line in _few(others, 4))


def _table(shown: Sequence[RecipeRow], lines: Sequence[RecipeRow]) -> Table:
    from rich.table import Table
    from rich.text import Text

    with_placebo = any(line.placebo is not None for line in lines)
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, caption_justify="left", caption_style="dim")
    if len(shown) < len(lines):
        table.caption = f"… {len(lines) - len(shown)} more, less severe: report.html, --verbose"
    table.add_column("\nrecipe", overflow="fold")
    table.add_column("\nKB", justify="right", no_wrap=True)
    heads = ["baseline:\nverdict", "\nat most", "\nat least", "\ncleared"]
    heads += ["placebo:\nverdict", "\nat most", "\nat least"] if with_placebo else []
    for head in heads:
        table.add_column(head, no_wrap=head.endswith(("verdict", "cleared")), overflow="fold")

    def cells(result: ShortResult, *, with_cleared: bool) -> list[Any]:
        word = "\n".join(filter(None, [result.word, f"in {result.error}" if result.error else ""]))
        upper = [f"{x.points} {x.group}" for x in result.upper]
        lower = [NONE] if result.lower is None else [result.lower.points, result.lower.group]
        return [
            Text(word, style=STYLE[result.tone]),
            # Long names break at spaces and hyphens.
            *(
                Text("\n".join(x for c in cell for x in wrap(clean(c), NAME_WIDTH)))
                for cell in (upper, lower)
            ),
            *([result.cleared] if with_cleared else []),
        ]

    for line in shown:
        row = [
            Text(clean(line.recipe)),
            "" if line.bytes is None else f"{line.bytes / 1e3:,.1f}",
            *cells(line.baseline, with_cleared=True),
        ]
        if with_placebo:
            row += cells(line.placebo, with_cleared=False) if line.placebo is not None else [NONE] * 3
        table.add_row(*row)
    return table


def _bottom(study: StudyResult) -> Iterator[RenderableType]:
    """Yield what follows the table: who was not assessed alone, claims, speed, and files."""
    from rich.text import Text

    leading = [s for s in study.sections if s.first]
    if any(s.audit.comparisons for s in leading):
        yield Text(LEGEND, style="dim")
    for s in leading[:1]:
        yield from (Text(clean(line)) for line in _few(not_alone(s.audit), MAX_SENTENCES))
    if study.claims:
        yield Text(clean(claims.summary(study.claims)))
    latency = (study.tradeoff.latency if study.tradeoff is not None else None) or {}
    # The first sentence has the ratio; the report has the reasons.
    speed = [f"{text.split('. ')[0].rstrip('.')}." for text in latency.get("sentences", [])]
    yield from (Text(clean(line)) for line in _few(speed, MAX_SENTENCES))
    named = [
        "audit.json",
        *(["claims.json"] if study.claims else []),
        *(["tradeoff.json"] if latency else []),
    ]
    yield Text(f"Also in its folder: {', '.join(named)}. All tables on the terminal: --verbose", style="dim")


def _few(lines: Sequence[str], count: int = 3) -> list[str]:
    """Return the first lines, and how many more there are."""
    more = len(lines) - count
    return [*lines[:count], *([f"… {more} more: --verbose"] if more > 0 else [])]


def _height(part: RenderableType, console: Console, options: ConsoleOptions) -> int:
    return len(console.render_lines(part, options, pad=False))
