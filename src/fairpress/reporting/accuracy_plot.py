"""The accuracy of every group under several models as SVG, with intervals, narrow enough for a phone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from fairpress.auditing.result import Audit, GroupRates, Values
from fairpress.auditing.verdicts.rules import WORST_FIRST
from fairpress.auditing.verdicts.wording import group_name
from fairpress.reporting.group_rows import pools_of, unassessed
from fairpress.reporting.palette import LIGHT, SERIES
from fairpress.reporting.pareto_chart import worst_loss
from fairpress.reporting.plot_text import round_ticks, tick_number, wrapped_names
from fairpress.reporting.templating import environment

if TYPE_CHECKING:
    from jinja2 import Template

MAX_GROUPS, MAX_MODELS = 30, 5
WIDTH, TOP, LEFT, RIGHT = (
    360,
    28,
    10,
    350,
)  # width of the picture; below its title, left and right of the axis
LINE, STEP = 15, 11  # heights of a line of text, and of the interval of a model
SHAPES = (
    "M4,0A4,4,0,1,1,-4,0A4,4,0,1,1,4,0Z",
    "M-3.5,-3.5H3.5V3.5H-3.5Z",
    "M0,-5L5,0L0,5L-5,0Z",
    "M-5,3.5L0,-5L5,3.5Z",
    "M-1.5,-4.5H1.5V-1.5H4.5V1.5H1.5V4.5H-1.5V1.5H-4.5V-1.5H-1.5Z",
)
"""Paths around the centre of a mark, one for each model, so that colour is not the only difference."""


@dataclass(frozen=True)
class _Mark:
    """The accuracy of a model in pixels, at the height `y`."""

    model: int
    y: int
    low: float
    value: float
    high: float


@dataclass(frozen=True)
class _Row:
    """A group in pixels: the lines of its name, the last at `text_y`, and its marks between `top` and `bottom`."""

    lines: tuple[str, ...]
    note: str
    text_y: int
    top: int
    bottom: int
    marks: tuple[_Mark, ...]


def accuracy_plot(audit: Audit) -> str | None:
    """Return the accuracy of the assessed groups under the baseline and the four models with the most severe verdicts.

    At most 30 groups, those whose accuracy falls the most; the picture says how many are left out. None without a
    compressed model or a group.
    """
    by_name = {m.name: m for m in audit.models}
    ranked = sorted(audit.comparisons, key=lambda c: (WORST_FIRST.index(c.verdict), -worst_loss(c)))
    chosen = [audit.baseline, *(c.compressed for c in ranked[: MAX_MODELS - 1])]
    models = [name for name in chosen if name in by_name]
    small = {_key(g.values) for c in audit.comparisons for g in unassessed(c)}
    small |= {_key(m) for c in audit.comparisons for p in pools_of(c) for m in p.members}
    groups: dict[tuple[tuple[str, str], ...], dict[int, GroupRates]] = {}
    for i, name in enumerate(models):
        for g in by_name[name].groups:
            if _key(g.values) not in small and g.rates["accuracy"].value is not None:
                groups.setdefault(_key(g.values), {})[i] = g
    if not groups or len(models) < 2:
        return None
    drawn = list(groups.values())
    if len(drawn) > MAX_GROUPS:
        drawn = sorted(drawn, key=_fall, reverse=True)[:MAX_GROUPS]
    frame = _frame(drawn)

    def x(percent: float) -> float:
        return round(LEFT + (RIGHT - LEFT) * (percent - frame[0]) / (frame[1] - frame[0]), 1)

    names = wrapped_names(models)
    legend = TOP + LINE * sum(map(len, names))
    rows = _rows(drawn, x, legend + 6)
    return _template().render(
        models=[(lines, LINE * sum(map(len, names[:i]))) for i, lines in enumerate(names)],
        rows=rows,
        end=rows[-1].bottom,
        ticks=[(x(t), tick_number(t)) for t in round_ticks(*frame)],
        left_out=len(groups) - len(drawn),
        geometry=(WIDTH, TOP, LEFT, RIGHT, LINE),
        shapes=SHAPES,
        series=SERIES,
        colours=LIGHT,
    )


def _rows(
    groups: Sequence[Mapping[int, GroupRates]], x: Callable[[float], float], top: int
) -> tuple[_Row, ...]:
    """Return the groups in pixels, from `top` downwards; a group has room for the models that have a rate in it."""
    first = [next(iter(of_models.values())) for of_models in groups]
    rows, y = [], top
    for group, of_models, lines in zip(
        first, groups, wrapped_names([group_name(g.values) for g in first]), strict=True
    ):
        text_y = y + LINE * len(lines)
        marks = tuple(
            _Mark(model, text_y + 6 + STEP * k, *(x(percent) for percent in _interval(g)))
            for k, (model, g) in enumerate(of_models.items())
        )
        y = text_y + STEP * len(marks) + 2
        rows.append(_Row(lines, f"n = {group.n:,.0f}", text_y, text_y, y, marks))
        y += 4
    return tuple(rows)


def _interval(group: GroupRates) -> tuple[float, float, float]:
    """Return the lower end, the estimate and the upper end of a known accuracy in %; the estimate where there is no end."""
    e = group.rates["accuracy"]
    value = e.value or 0.0
    return (
        100 * (value if e.low is None else e.low),
        100 * value,
        100 * (value if e.high is None else e.high),
    )


def _fall(of_models: Mapping[int, GroupRates]) -> float:
    """Return by how much the accuracy of a group falls from the baseline to the model where it is lowest."""
    values = {model: _interval(g)[1] for model, g in of_models.items()}
    return values.get(0, 0.0) - min(values.values())


def _frame(groups: Sequence[Mapping[int, GroupRates]]) -> tuple[float, float]:
    """Return the range of the axis in %."""
    intervals = [_interval(g) for of_models in groups for g in of_models.values()]
    low, high = min(low for low, _, _ in intervals), max(high for _, _, high in intervals)
    return max(0.0, low - 3), min(100.0, high + 2)


def _key(values: Values) -> tuple[tuple[str, str], ...]:
    return tuple(values.items())


@lru_cache(maxsize=1)
def _template() -> Template:
    return environment("fairpress.reporting").get_template("accuracy.svg.j2")
