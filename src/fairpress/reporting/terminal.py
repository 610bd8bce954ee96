"""An audit on the terminal, within 100 columns, legible without colour."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from fairpress.auditing.inference.score_metrics import SCORE_METRICS
from fairpress.auditing.result import Audit, Comparison, GroupRates, PairChange, Verdict
from fairpress.auditing.verdicts.wording import group_name
from fairpress.core.estimate import Estimate
from fairpress.reporting.formatting import (
    METRIC,
    SYMBOL,
    WORD,
    format_change,
    format_points,
    format_rate,
    left_out,
    most_severe,
    rows_needed,
    tone,
    unassessed,
    verdict,
)
from fairpress.reporting.sentences import exemplars, meaning, positive, seed_tests, warnings, who_pays

if TYPE_CHECKING:
    from rich.console import RenderableType

_STYLE: dict[Verdict, str] = {
    "harm": "bold red",
    "void": "bold red",
    "loss": "red",
    "inconclusive": "yellow",
    "not_estimable": "dim",
    "no_harm": "green",
}
MAX_GROUPS, MAX_WORD_WIDTH = 100, 16
_RATES = (
    ("accuracy", "accuracy"),
    ("FPR", "fpr"),
    ("FNR", "fnr"),
)  # with three classes and no positive class, accuracy only
_TITLE = {"accuracy": "accuracy lost", "tpr": "TPR lost", "fpr": "FPR gained"}


def plain(audit: Audit, width: int = 100) -> str:
    """Return the printed audit as text of at most `width` characters per line, without colours."""
    from rich.console import Console

    console = Console(
        width=width, highlight=False, color_system=None, force_terminal=False, force_jupyter=False
    )
    with console.capture() as captured:
        for part in render(audit):
            console.print(part)
    return "\n".join(line.rstrip() for line in captured.get().splitlines())


def render(audit: Audit) -> Iterator[RenderableType]:
    """Yield the parts to print, verdict first."""
    from rich.text import Text

    size = f"{audit.rows:,} rows" + (f" × {audit.seeds} seeds" if audit.seeds else "")
    yield Text(f"{size}; margin {100 * audit.margin:g} points; {audit.confidence:.0%} intervals", style="dim")
    if audit.positive is not None:
        yield Text(
            clean(positive(audit)),
            style="dim" if audit.positive_from in ("option", "table", None) else "yellow",
        )
    for line in warnings(audit):
        yield Text(f"! {clean(line)}", style="bold yellow")
    if not audit.comparisons:
        yield _rates(audit)
    for comparison in audit.comparisons:
        yield Text("")
        yield from _comparison(audit, comparison)
    if audit.notes:
        yield Text("")
    for note in audit.notes:
        yield Text(clean(f"* {note}"), style="dim")


def _comparison(audit: Audit, comparison: Comparison) -> Iterator[RenderableType]:
    from rich.table import Table
    from rich.text import Text

    uneven = ", unevenly" if comparison.disparate else ""
    title = f"{clean(comparison.compressed)} against {clean(audit.baseline)}: "
    yield Text.assemble((title, "bold"), (f"{verdict(comparison)}{uneven}", _STYLE[tone(comparison)]))
    answer = [Text(f"Who pays: {clean(who_pays(comparison, audit))}"), Text(clean(comparison.headline))]
    # Unassessed groups come before the results.
    yield from answer if comparison.void is None and not unassessed(comparison) else reversed(answer)
    yield Text(meaning(comparison, audit))
    table = Table(box=None, padding=(0, 1), pad_edge=False)
    every = [comparison.overall, *(g for a in comparison.attributes for g in a.groups)]
    parts = [part for g in every for part in clean(" ".join([*g.values.values(), "everybody"])).split()]
    table.add_column("group", ratio=1, overflow="fold", min_width=min(MAX_WORD_WIDTH, max(map(len, parts))))
    table.add_column("n", justify="right")
    for i, metric in enumerate(audit.metrics):
        table.add_column(_TITLE[metric], justify="right", no_wrap=i == 0)
    table.add_column("of 1,000 lose/gain", justify="right", max_width=9)
    table.add_column("verdict", no_wrap=True)
    needed = any(map(rows_needed, every))
    if needed:
        table.add_column("n needed", justify="right", max_width=7)
    for heading, groups in [
        ("", (comparison.overall,)),
        *((a.attribute, a.groups) for a in comparison.attributes),
    ]:
        if heading:
            table.add_row(Text(clean(heading), style="bold"))
        for group in most_severe(groups, MAX_GROUPS):
            per = 1000 / group.n
            # The interval of the first metric only: a terminal is narrow, the report has them all.
            losses = [
                "–"
                if x.estimate.value is None
                else format_points(x.estimate if i == 0 else _bare(x.estimate))
                for i, x in enumerate(group.losses)
            ]
            table.add_row(
                Text(clean(" · ".join(group.values.values()) or "everybody")),
                f"{group.n:,.0f}",
                *losses,
                f"{group.flips.right_to_wrong * per:.0f}/{group.flips.wrong_to_right * per:.0f}",
                Text(f"{SYMBOL[group.verdict]} {WORD[group.verdict]}", style=_STYLE[group.verdict]),
                *([rows_needed(group)] if needed else []),
            )
    yield table
    for attribute in comparison.attributes:
        if len(attribute.groups) > MAX_GROUPS:
            yield Text(clean(f"{attribute.attribute}: {left_out(len(attribute.groups), MAX_GROUPS)}"))
    yield from _details(audit, comparison)


def _details(audit: Audit, comparison: Comparison) -> Iterator[RenderableType]:
    """Yield the parts below the table of groups: scores, fixed pairs, seeds, exemplars."""
    from rich.text import Text

    scores = {k: e for k, e in comparison.overall.changes.items() if k in SCORE_METRICS and e.estimable}
    if scores:
        values = "; ".join(f"{METRIC[k]} {format_change(e)}" for k, e in scores.items())
        yield Text(f"Scores, all people: {values}. By group: --html, --json.")
    for pair in comparison.pairs:
        first, second = (" · ".join(v.values()) for v in (pair.first, pair.second))
        yield Text(clean(f"{first} minus {second} (pair fixed {pair.chosen}), in points:"))
        yield _pair(pair)
    for line in (
        seed_tests(audit, comparison),
        None if comparison.exemplars is None else exemplars(comparison.exemplars),
    ):
        if line:
            yield Text(line)


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


def _bare(estimate: Estimate) -> Estimate:
    """Return the estimate without its interval."""
    return replace(estimate, low=None, high=None)


def _rates(audit: Audit) -> RenderableType:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 1), pad_edge=False)
    shown = [(n, r) for n, r in _RATES if all(r in m.overall.rates for m in audit.models)]
    for name in ("group", "n", *(n for n, _ in shown)):
        table.add_column(name, justify="left" if name == "group" else "right")

    def row(group: GroupRates) -> None:
        cells = [format_rate(group.rates[r]) if group.rates[r].estimable else "–" for _, r in shown]
        table.add_row(Text(clean(group_name(group.values))), f"{group.n:,.0f}", *cells)

    for model in audit.models:
        row(model.overall)
        for group in model.groups:
            row(group)
    return table


def clean(text: str) -> str:
    """Replace control characters, which could move the cursor or forge lines."""
    return "".join(c if c.isprintable() else "�" for c in text)
