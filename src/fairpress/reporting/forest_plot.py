"""Forest plots as SVG: the loss of every group with its interval and the bound that decides, narrow enough for a phone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from fairpress.auditing.measure import CLASS_MEASURES, Measure
from fairpress.auditing.result import Comparison, Verdict
from fairpress.auditing.verdicts.wording import group_name, loss_in
from fairpress.core.estimate import Estimate
from fairpress.core.visible_text import visible
from fairpress.reporting.formatting import WORD
from fairpress.reporting.palette import COLOUR, LIGHT
from fairpress.reporting.plot_text import round_ticks, tick_number, wrapped_names
from fairpress.reporting.templating import environment

if TYPE_CHECKING:
    from jinja2 import Template

MAX_GROUPS = 60
WIDTH, TOP, LEFT, RIGHT = 360, 46, 10, 350  # width of the picture; upper end, left and right of the axis
LINE, PITCH = 15, 26  # heights of a line of a name, and of an interval with the space around it
SHAPE: Mapping[Verdict, str] = {
    "harm": "M-5,-5L5,5M-5,5L5,-5",
    "void": "M-4.5,-4.5H4.5V4.5H-4.5Z",
    "loss": "M-5.5,-4.5H5.5L0,5.5Z",
    "inconclusive": "M0,-6L6,0L0,6L-6,0Z",
    "not_estimable": "M-4,0H4",
    "no_harm": "M5,0A5,5,0,1,1,-5,0A5,5,0,1,1,5,0Z",
}
"""A path around its centre; those of `STROKED` are lines, the others are filled."""
STROKED: tuple[Verdict, ...] = ("harm", "not_estimable")


@dataclass(frozen=True)
class ForestRow:
    """One line of a forest plot: a loss (positive is worse) with its interval and verdict.

    `note` stands at its right, such as its n. `upper` is the one-sided bound that decides, None without one.
    """

    name: str
    loss: Estimate
    verdict: Verdict
    note: str = ""
    upper: float | None = None


@dataclass(frozen=True)
class _Mark:
    """A row as it is drawn, in pixels: the lines of its name with the lowest at `text_y`, and its interval at `y`.

    `arrows` are paths at the ends of an interval that goes on outside of the axis; `value` and `upper` are None there.
    """

    lines: tuple[str, ...]
    note: str
    text_y: int
    y: int
    low: float
    high: float
    value: float | None
    upper: float | None
    arrows: tuple[str, ...]
    verdict: Verdict


def forest(comparison: Comparison, margin: float, metric: str = "accuracy") -> str:
    """Return the losses of all assessed groups and pools in one metric as SVG: estimate, interval, bound, zero and margin.

    At most 60 groups, those with the largest losses. Groups that were not assessed are not drawn: their intervals look like
    grid lines, or like the surest result.
    """
    groups = [comparison.overall, *(g for a in comparison.attributes for g in a.groups)]
    rows = [(group_name(g.values), g.n, loss_in(g, metric)) for g in groups]
    rows += [
        (f"{p.attribute}: {len(p.members)} small groups", p.loss.estimate.n, p.loss)
        for a in comparison.attributes
        for p in a.pools
        if p.loss.metric == metric
    ]
    shown = [row for row in rows if row[2].estimate.value is not None]
    assessed = [row for row in shown if row[2].verdict != "not_estimable"] or shown
    if len(assessed) > MAX_GROUPS:
        largest = sorted(assessed[1:], key=lambda row: -(row[2].estimate.value or 0))
        assessed = assessed[:1] + largest[: MAX_GROUPS - 1]
    lines = [
        ForestRow(
            name, x.estimate, x.verdict, f"n = {n:,.0f}", x.upper if x.verdict != "not_estimable" else None
        )
        for name, n, x in assessed
    ]
    m = comparison.overall.losses[0].measure if not assessed else assessed[0][2].measure
    return forest_of(lines, margin, m.name, f"{comparison.compressed}: {m.rise} of the {m.name} per group", m)


def forest_of(
    lines: Sequence[ForestRow],
    margin: float,
    error: str,
    about: str,
    measure: Measure = CLASS_MEASURES["accuracy"],
) -> str:
    """Return lines as SVG: estimate, interval, bound, zero and margin lines; those without an interval are left out.

    Parameters
    ----------
    error
        The error that rises, such as ``error rate``, for the title.
    about
        A description of the plot for screen readers.
    measure
        What losses and margin are measured in.
    """
    rows = [r for r in lines if None not in (r.loss.value, r.loss.low, r.loss.high)]
    frame = _frame(rows, margin)

    def x(value: float) -> float:
        return round(LEFT + (RIGHT - LEFT) * (value - frame[0]) / (frame[1] - frame[0]), 1)

    marks = _marks(rows, x, frame)
    ticks = round_ticks(measure.scale * frame[0], measure.scale * frame[1])
    return _template().render(
        about=visible(about, breaks=False),
        title=visible(
            f"{measure.rise.capitalize()} of the {error}{f', {measure.unit}' if measure.unit else ''}"
        ),
        marks=marks,
        end=marks[-1].y + 11 if marks else TOP + PITCH,
        ticks=[(x(t / measure.scale), tick_number(t)) for t in ticks],
        zero=x(0.0),
        margin=x(margin),
        margin_text=f"margin {measure.exact(margin)}",
        legend=[v for v in COLOUR if any(r.verdict == v for r in rows)],
        has_bound=any(m.upper is not None for m in marks),
        geometry=(WIDTH, TOP, LEFT, RIGHT, LINE),
        shapes=SHAPE,
        stroked=STROKED,
        words=WORD,
        colours=LIGHT,
    )


def _marks(rows: Sequence[ForestRow], x: Callable[[float], float], frame: tuple[float, float]) -> list[_Mark]:
    """Return the rows in pixels."""

    def inside(value: float | None) -> float | None:
        return x(value) if value is not None and frame[0] <= value <= frame[1] else None

    marks, y = [], TOP
    for row, lines in zip(rows, wrapped_names([r.name for r in rows]), strict=True):
        text_y = y + LINE * len(lines)
        y = text_y + PITCH
        low, high = row.loss.low or 0.0, row.loss.high or 0.0
        arrows = [f"M{LEFT + 5},-4L{LEFT},0L{LEFT + 5},4"] if low < frame[0] else []
        arrows += [f"M{RIGHT - 5},-4L{RIGHT},0L{RIGHT - 5},4"] if high > frame[1] else []
        ends = [x(min(max(v, frame[0]), frame[1])) for v in (low, high)]
        marks.append(
            _Mark(
                lines,
                row.note,
                text_y,
                text_y + 10,
                ends[0],
                ends[1],
                inside(row.loss.value),
                inside(row.upper),
                tuple(arrows),
                row.verdict,
            )
        )
    return marks


def _frame(rows: Sequence[ForestRow], margin: float) -> tuple[float, float]:
    """Return the range of the axis: the intervals and bounds of the assessed groups, and at least the margin on both sides.

    The intervals of groups with too few rows are so wide that the others would be unreadable.
    """
    assessed = [r for r in rows if r.verdict != "not_estimable"] or rows
    low = min((r.loss.low or 0.0 for r in assessed), default=0.0)
    high = max((max(r.loss.high or 0.0, r.upper or 0.0) for r in assessed), default=0.0)
    pad = 0.05 * max(high - low, margin)
    return min(low, -margin) - pad, max(high, 1.5 * margin) + pad


@lru_cache(maxsize=1)
def _template() -> Template:
    return environment("fairpress.reporting").get_template("forest.svg.j2")
