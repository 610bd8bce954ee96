"""Charts over several models of a study or an audit: heatmap, per-group bars, mitigations, layers, Pareto front.

Each returns SVG whose numbers are also in a table of the report. Colour is never the only signal: cells contain their
number and the sign of the verdict, and points have shapes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fairpress.auditing.result import Audit, Comparison, Values
from fairpress.auditing.verdicts.rules import WORST_FIRST
from fairpress.auditing.verdicts.wording import deciding_loss, group_name
from fairpress.reporting.formatting import METRIC
from fairpress.reporting.group_rows import pools_of, unassessed
from fairpress.reporting.heat_grid import heat_grid
from fairpress.reporting.palette import LIGHT, SERIES
from fairpress.reporting.svg_minify import minify

MAX_ROWS, MAX_BARS = 30, 5
NARROW = 340  # width of a chart that fits a phone
CELLS = {
    "harm": LIGHT["harm"],
    "void": LIGHT["harm"],
    "loss": LIGHT["loss-fill"],
    "inconclusive": LIGHT["inconclusive-fill"],
    "not_estimable": LIGHT["card"],
    "no_harm": LIGHT["no_harm-fill"],
}


@dataclass(frozen=True)
class Point:
    """A model by size, accuracy and fairness: the loss of its worst group against the baseline."""

    name: str
    bytes: float
    accuracy: float
    worst: float
    front: bool = False


def heatmap(audits: Sequence[tuple[str, Audit]]) -> str | None:
    """Draw the grid of who pays (`heat_grid`): a cell has its loss, and the sign and colour of its verdict.

    None for one audit of one recipe, whose forest plot shows the same numbers with their intervals.
    """
    import altair as alt

    grid = heat_grid(audits)
    if grid is None:
        return None
    rows: list[dict[str, Any]] = [
        {
            "row": _cut(row.name),
            "recipe": _cut(recipe, 34),
            "verdict": cell.verdict,
            "text": " ".join(filter(None, (cell.text, cell.sign, cell.error))),
        }
        for row in grid.rows
        for recipe, cell in zip(grid.columns, row.cells, strict=True)
        if cell is not None
    ]
    order = {k: list(dict.fromkeys(r[k] for r in rows)) for k in ("row", "recipe")}
    base = alt.Chart(alt.Data(values=rows)).encode(
        x=alt.X(
            "recipe:N",
            sort=order["recipe"],
            title=None,
            axis=alt.Axis(labelAngle=-40, labelLimit=220, orient="top", domain=False, ticks=False),
        ),
        y=alt.Y(
            "row:N", sort=order["row"], title=None, axis=alt.Axis(labelLimit=300, domain=False, ticks=False)
        ),
    )
    scale = alt.Scale(domain=list(CELLS), range=list(CELLS.values()))
    cells = base.mark_rect(stroke="#ffffff").encode(color=alt.Color("verdict:N", scale=scale, legend=None))
    text = base.mark_text(fontSize=11).encode(
        text="text:N",
        color=alt.condition(
            "datum.verdict == 'harm' || datum.verdict == 'void'",
            alt.value(LIGHT["paper"]),
            alt.value(LIGHT["ink"]),
        ),
    )
    chart = (cells + text).properties(width={"step": 78}, height={"step": 24})
    quantity = "rise of the error behind the verdict" if grid.of_groups else "worst group's loss"
    return svg(chart, f"Who pays: {quantity} by model; the tables have the same numbers.")


def bars(audit: Audit) -> str | None:
    """Draw the accuracy of every assessed group under the baseline and the models with the most severe verdicts.

    Names stand above the intervals, so that the chart is narrow enough for a phone.
    """
    import altair as alt

    ranked = sorted(audit.comparisons, key=lambda c: (WORST_FIRST.index(c.verdict), -_worst(c)))
    names = [audit.baseline, *(c.compressed for c in ranked[: MAX_BARS - 1])]
    by_name = {m.name: m for m in audit.models}
    small = {_key(g.values) for c in audit.comparisons for g in unassessed(c)}
    small |= {_key(m) for c in audit.comparisons for p in pools_of(c) for m in p.members}
    rows: list[dict[str, Any]] = [
        {
            "group": _cut(f"{group_name(g.values)} (n = {g.n:,.0f})", 60),
            "model": _cut(name, 40),
            "value": 100 * e.value,
            "low": 100 * (e.low if e.low is not None else e.value),
            "high": 100 * (e.high if e.high is not None else e.value),
        }
        for name in names
        if name in by_name
        for g in [g for g in by_name[name].groups if _key(g.values) not in small][:MAX_ROWS]
        if (e := g.rates["accuracy"]).value is not None
    ]
    if not rows or len(names) < 2:
        return None
    models = [_cut(n, 40) for n in names]
    order = list(dict.fromkeys(r["group"] for r in rows))
    step = 26 + 10 * len(models)
    inner = 22 / step  # the share of a row above its intervals, where its name stands
    axis = alt.Axis(
        labelAlign="left",
        labelBaseline="bottom",
        labelOffset=-(step - 22) / 2 - 2,
        labelPadding=-2,
        labelLimit=NARROW,
        labelFontSize=12,
        ticks=False,
        domain=False,
    )
    base = alt.Chart(alt.Data(values=rows)).encode(
        y=alt.Y(
            "group:N",
            sort=order,
            title=None,
            axis=axis,
            scale=alt.Scale(paddingInner=inner, paddingOuter=inner),
        ),
        yOffset=alt.YOffset("model:N", sort=models),
    )
    colour = alt.Color(
        "model:N", sort=models, scale=alt.Scale(domain=models, range=SERIES[: len(models)]), title=None
    )
    shape = alt.Shape("model:N", sort=models, scale=alt.Scale(domain=models), title=None)
    low = max(0.0, min(r["low"] for r in rows) - 3)
    scale = alt.Scale(domain=[low, min(100.0, max(r["high"] for r in rows) + 2)], nice=False)
    x = alt.X("low:Q", title="accuracy, %", scale=scale, axis=alt.Axis(grid=False))
    rules = base.mark_rule(size=2).encode(x=x, x2="high:Q", color=colour)
    dots = base.mark_point(filled=True, size=40, opacity=1).encode(x="value:Q", color=colour, shape=shape)
    chart = (rules + dots).properties(width=NARROW, height={"step": step, "for": "position"})
    return svg(chart, "Accuracy of every group under the baseline and compressed models, with intervals")


def repairs(audits: Sequence[tuple[str, Audit]], metric: str = "demographic_parity_difference") -> str | None:
    """Draw how each fairness method changed a gap and the accuracy, compared with its plain counterpart."""
    import altair as alt

    rows = []
    for label, audit in audits:
        for c in audit.comparisons:
            name = _cut(f"{label}: {c.compressed}" if label else c.compressed, 58)
            change = c.overall.changes["accuracy"]
            changes = [("accuracy (more is better)", change)]
            first = c.attributes[0] if c.attributes else None
            if first is not None and metric in first.gap_changes:
                changes.append(
                    (f"{METRIC[metric]} by {first.attribute} (less is better)", first.gap_changes[metric])
                )
            rows += [
                {
                    "name": name,
                    "what": quantity,
                    "value": 100 * e.value,
                    "low": 100 * (e.low or 0.0),
                    "high": 100 * (e.high or 0.0),
                }
                for quantity, e in changes
                if e.value is not None
            ]
    if not rows:
        return None
    order = list(dict.fromkeys(r["name"] for r in rows))
    panels = []
    for i, quantity in enumerate(dict.fromkeys(r["what"] for r in rows)):
        base = alt.Chart(alt.Data(values=[r for r in rows if r["what"] == quantity]))
        axis = alt.Axis(labelLimit=360) if i == 0 else None
        y = alt.Y("name:N", sort=order, title=None, axis=axis)
        none = (
            alt.Chart(alt.Data(values=[{"x": 0}]))
            .mark_rule(color="#475467", strokeDash=[4, 3])
            .encode(x="x:Q")
        )
        lines = base.mark_rule(size=2).encode(y=y, x=alt.X("low:Q", title="points"), x2="high:Q")
        dots = base.mark_point(filled=True, size=60, opacity=1, color="#1570ef").encode(y=y, x="value:Q")
        panels.append((none + lines + dots).properties(width=240, height={"step": 22}, title=quantity))
    return svg(
        alt.hconcat(*panels),
        "What each fairness-aware recipe changed compared with its plain counterpart, with intervals",
    )


def layers(sensitivity: Mapping[str, Mapping[str, float]]) -> str | None:
    """Draw how much quantizing one layer alone changes predictions, by depth: model → layer → divergence, in layer order."""
    import altair as alt

    rows = [
        {"model": _cut(model, 40), "depth": i + 1, "layer": _cut(layer), "harm": max(value, 1e-9)}
        for model, by_layer in sensitivity.items()
        for i, (layer, value) in enumerate(by_layer.items())
    ]
    if not rows:
        return None
    chart = (
        alt.Chart(alt.Data(values=rows))
        .mark_line(point=True)
        .encode(
            x=alt.X("depth:Q", title="layer, from the input"),
            y=alt.Y("harm:Q", title="divergence of the predictions", scale=alt.Scale(type="log")),
            color=alt.Color("model:N", title=None),
            strokeDash=alt.StrokeDash("model:N", title=None),
        )
        .properties(width=560, height=240)
    )
    return svg(chart, "Sensitivity of every layer to rounding, by depth")


def front(models: Sequence[Point]) -> list[Point]:
    """Mark the points on the Pareto front of size, accuracy and the worst group's loss."""

    def beaten(p: Point) -> bool:
        return any(
            q.bytes <= p.bytes
            and q.accuracy >= p.accuracy
            and q.worst <= p.worst
            and (q.bytes, q.accuracy, q.worst) != (p.bytes, p.accuracy, p.worst)
            for q in models
        )

    return [Point(p.name, p.bytes, p.accuracy, p.worst, not beaten(p)) for p in models]


def pareto(models: Sequence[Point]) -> str | None:
    """Draw size against accuracy; marks are sized by the worst group's loss, and coloured on the Pareto front."""
    import altair as alt

    if len(models) < 3:
        return None
    rows = [
        {
            "name": _cut(p.name, 34),
            "kb": p.bytes / 1e3,
            "accuracy": 100 * p.accuracy,
            "worst": 100 * max(p.worst, 0.0),
            "what": "nothing is smaller, more accurate and fairer" if p.front else "beaten by another",
        }
        for p in front(models)
    ]
    kinds = ["nothing is smaller, more accurate and fairer", "beaten by another"]
    base = alt.Chart(alt.Data(values=rows)).encode(
        x=alt.X(
            "kb:Q", title="KB of the file (logarithmic)", scale=alt.Scale(type="log", nice=False, padding=30)
        ),
        y=alt.Y("accuracy:Q", title="accuracy, %", scale=alt.Scale(zero=False)),
    )
    points = base.mark_point(filled=True, opacity=0.85).encode(
        color=alt.Color("what:N", scale=alt.Scale(domain=kinds, range=["#1570ef", "#98a2b3"]), title=None),
        shape=alt.Shape("what:N", scale=alt.Scale(domain=kinds, range=["circle", "square"]), title=None),
        size=alt.Size("worst:Q", title="worst group's loss, points", scale=alt.Scale(range=[40, 500])),
    )
    names = (
        base.transform_filter(f"datum.what == '{kinds[0]}'")
        .mark_text(dy=-14, fontSize=10)
        .encode(text="name:N")
    )
    chart = (points + names).properties(width=560, height=320)
    return svg(chart, "Size, accuracy and the worst group's loss of every model; the front is filled")


def svg(chart: Any, label: str) -> str:
    """Return a chart as SVG with a label for screen readers."""
    import vl_convert as vlc

    spec = (
        # The viewer's font may be wider than that in which the labels were measured.
        chart.properties(padding={"left": 16, "right": 16, "top": 5, "bottom": 24})
        .configure(font="Arial, Liberation Sans, sans-serif", background="#ffffff")
        .configure_legend(
            orient="top", direction="vertical", columns=1, labelLimit=300, symbolSize=60, labelFontSize=12
        )
        .configure_axis(labelFontSize=11, titleFontSize=12, gridColor=LIGHT["line"])
        .configure_view(stroke=None)
        .to_dict(validate=False)
    )
    return minify(vlc.vegalite_to_svg(spec), label)


def _worst(c: Comparison) -> float:
    values = [
        deciding_loss(g).estimate.value
        for a in c.attributes
        for g in a.groups
        if g.verdict != "not_estimable"
    ]
    return max([v for v in values if v is not None], default=0.0)


def points_of(audits: Sequence[tuple[str, Audit]], bytes_: Mapping[tuple[str, str], float]) -> list[Point]:
    """Return a point for every model with a size in `bytes_`: (label, model) → bytes."""
    points = []
    for label, audit in audits:
        worst = {c.compressed: _worst(c) for c in audit.comparisons} | {audit.baseline: 0.0}
        for m in audit.models:
            accuracy, size = m.overall.rates["accuracy"].value, bytes_.get((label, m.name))
            if accuracy is not None and size and m.name in worst:
                points.append(Point(f"{label}: {m.name}" if label else m.name, size, accuracy, worst[m.name]))
    return points


def mean_sensitivity(tables: Sequence[Mapping[str, Mapping[str, float]]]) -> dict[str, float]:
    """Return layer → divergence when it alone has the lowest bit width, by depth; mean over the `sensitivity` of cards."""
    divergences: dict[str, list[float]] = {}
    for table in tables:
        for layer, row in sorted(table.items(), key=lambda item: int(item[1]["depth"])):
            width = next((w for w in ("2", "4", "8") if w in row), None)
            if width is not None:
                divergences.setdefault(layer, []).append(float(row[width]))
    return {layer: float(np.mean(v)) for layer, v in divergences.items()}


def _key(values: Values) -> tuple[tuple[str, str], ...]:
    return tuple(values.items())


def _cut(text: str, max_length: int = 48) -> str:
    text = "".join(c if c.isprintable() else "�" for c in text)
    return text if len(text) <= max_length else text[: max_length - 1] + "…"


__all__ = [
    "Point",
    "bars",
    "front",
    "heatmap",
    "layers",
    "mean_sensitivity",
    "pareto",
    "points_of",
    "repairs",
    "svg",
]
