"""The end of a study's run on the terminal: what was ruled out and shown per recipe, on one screen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from textwrap import wrap
from typing import TYPE_CHECKING

from fairpress.reporting import claims
from fairpress.reporting.first_screen import not_alone, unassessed_sentence
from fairpress.reporting.formatting import break_recipe
from fairpress.reporting.group_rows import SEVERITY
from fairpress.reporting.html import Section
from fairpress.reporting.recipe_rows import NONE, PLACEBO, BoundText, RecipeRow, ShortResult, recipe_rows
from fairpress.reporting.sentences import margins, warnings
from fairpress.reporting.terminal import STYLE, clean
from fairpress.studies.report.result import StudyResult
from fairpress.studies.report.sections import accuracies

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType

MAX_LINES = 40
MAX_SENTENCES = 2
LEGEND = (
    "At most: no assessed group loses more {unit}; FNR or FPR: the other error that is most open above the margin. At "
    "least: shown for some group. Cleared: people for whom a loss above the margin is ruled out."
)


@dataclass(frozen=True)
class StudyEnding:
    """Prints at most `MAX_LINES` lines: of the recipes, the most severe that fit.

    `seconds` is how long the study ran; `verbose` is set where all tables were printed above.
    """

    study: StudyResult
    seconds: float | None = None
    verbose: bool = False

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        top = list(_top(self.study))
        bottom = [*_bottom(self.study), *_files(self.study, self.seconds, self.verbose)]
        lines = lines_of(self.study.sections)
        height = sum(_height(part, console, options) for part in (*top, *bottom))
        most_severe = sorted(lines, key=lambda line: line.rank)[:MAX_LINES]
        shown = [line for line in lines if line in most_severe]
        tables = self._tables(shown, lines)
        while len(shown) > 1 and height + sum(_height(t, console, options) for t in tables) > MAX_LINES:
            mildest = max(shown, key=lambda line: line.rank)
            shown = [line for line in shown if line is not mildest]
            tables = self._tables(shown, lines)
        yield from top
        yield from tables
        yield from bottom

    def _tables(self, shown: Sequence[RecipeRow], lines: Sequence[RecipeRow]) -> list[RenderableType]:
        """Return the tables of the shown recipes: compared with the baseline, then those that fine-tune with the placebo."""
        from rich.text import Text

        if not lines:
            return []
        baselines = {s.audit.baseline for s in self.study.sections if s.first}
        baseline = baselines.pop() if len(baselines) == 1 else "the baseline"
        parts: list[RenderableType] = [
            Text(f"Compared with {clean(baseline)}", style="bold"),
            RecipeTable([(line, line.baseline) for line in shown], with_size=True),
        ]
        controlled = [(line, line.placebo) for line in shown if line.placebo is not None]
        if controlled:
            parts += [
                Text(f"Compared with {PLACEBO}", style="bold"),
                RecipeTable(sorted(controlled, key=lambda x: SEVERITY.index(x[1].tone)), with_size=False),
            ]
        if len(shown) < len(lines):
            more = f"… {len(lines) - len(shown)} more, less severe: report.html, --verbose"
            parts.append(Text(more, style="dim"))
        return parts


@dataclass(frozen=True)
class RecipeTable:
    """Recipes with a result each, one line a recipe where it fits; texts break at spaces, recipes as in `break_recipe`."""

    results: Sequence[tuple[RecipeRow, ShortResult]]
    with_size: bool

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        from rich.table import Table
        from rich.text import Text

        heads = ["recipe", *(["KB"] if self.with_size else []), "verdict", "at most", "at least", "cleared"]
        cells = [self._cells(line, result) for line, result in self.results]
        natural = [max(len(head), *(len(c[i]) for c in cells)) for i, head in enumerate(heads)]
        natural[0] = min(natural[0], options.max_width * 3 // 10)
        upper, lower = heads.index("at most"), heads.index("at least")
        rest = options.max_width - 2 * (len(heads) - 1)
        rest -= sum(w for i, w in enumerate(natural) if i not in (upper, lower))
        natural[lower] = min(natural[lower], max(rest * 2 // 5, rest - natural[upper]))
        natural[upper] = min(natural[upper], rest - natural[lower])
        table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
        for head in heads:
            table.add_column(head, justify="right" if head in ("KB", "cleared") else "left", overflow="fold")
        for (_, result), texts in zip(self.results, cells, strict=True):
            row = [
                Text("\n".join(break_recipe(texts[0], natural[0]) if i == 0 else wrap(text, natural[i])))
                for i, text in enumerate(texts)
            ]
            row[heads.index("verdict")].stylize(STYLE[result.tone])
            table.add_row(*row)
        yield table

    def _cells(self, line: RecipeRow, result: ShortResult) -> list[str]:
        lower = result.lower
        texts = [
            line.recipe,
            *([NONE if line.bytes is None else f"{line.bytes / 1e3:,.1f}"] if self.with_size else []),
            f"{result.word} in {result.error}" if result.error else result.word,
            "; ".join(map(_bound, result.upper)),
            NONE if lower is None else _bound(lower),
            result.cleared,
        ]
        return [clean(text) for text in texts]


def _bound(bound: BoundText) -> str:
    """Return a bound and whose it is; 13.4 of the group ">45" must not read as a comparison."""
    group = bound.group if not bound.group or bound.group[0].isalpha() else f"({bound.group})"
    return f"{bound.points} {group}".strip()


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


def _bottom(study: StudyResult) -> Iterator[RenderableType]:
    """Yield what follows the table: who was not assessed alone, claims and speed."""
    from rich.text import Text

    leading = [s for s in study.sections if s.first]
    if any(s.audit.comparisons for s in leading):
        measure = next(s.audit.measure(s.audit.metrics[0]) for s in leading if s.audit.comparisons)
        legend = LEGEND.format(unit=measure.long_unit or measure.unit or f"of the {measure.name}")
        yield Text(legend, style="dim")
    for s in leading[:1]:
        sentences = [unassessed_sentence(s.audit.comparisons), *not_alone(s.audit)]
        yield from (Text(clean(line)) for line in _few(list(filter(None, sentences)), MAX_SENTENCES))
    if study.claims:
        yield Text(clean(claims.summary(study.claims)))
    latency = (study.tradeoff.latency if study.tradeoff is not None else None) or {}
    # The first sentence has the ratio; the report has the reasons.
    speed = [f"{text.split('. ')[0].rstrip('.')}." for text in latency.get("sentences", [])]
    yield from (Text(clean(line)) for line in _few(speed, MAX_SENTENCES))


def _files(study: StudyResult, seconds: float | None, verbose: bool) -> Iterator[RenderableType]:
    """Yield what to open, how long the study ran, and where the rest is."""
    from rich.text import Text

    took = "" if seconds is None else f"  (finished in {seconds:.0f} s)"
    yield Text("")
    yield Text.assemble(
        ("Open: ", "bold"), clean(str(study.folder / "report.html")), took, overflow="ignore", no_wrap=True
    )
    named = [
        "audit.json",
        *(["claims.json"] if study.claims else []),
        *(["tradeoff.json"] if study.tradeoff is not None and study.tradeoff.latency else []),
    ]
    rest = "" if verbose else " All tables on the terminal: --verbose"
    yield Text(f"Also in its folder: {', '.join(named)}.{rest}", style="dim")


def _few(lines: Sequence[str], count: int = 3) -> list[str]:
    """Return the first lines, and how many more there are."""
    more = len(lines) - count
    return [*lines[:count], *([f"… {more} more: --verbose"] if more > 0 else [])]


def _height(part: RenderableType, console: Console, options: ConsoleOptions) -> int:
    return len(console.render_lines(part, options, pad=False))
