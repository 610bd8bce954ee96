"""Charts as SVG, drawn without a browser."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np

from fairpress.auditing.measure import CLASS_MEASURES, Measure
from fairpress.auditing.result import Comparison, Verdict
from fairpress.auditing.verdicts.wording import group_name, loss_in
from fairpress.core.estimate import Estimate
from fairpress.reporting.formatting import SYMBOL, WORD
from fairpress.reporting.svg_minify import minify

MAX_GROUPS = 60
COLOUR: Mapping[Verdict, str] = {
    "harm": "#b42318",
    "void": "#7a271a",
    "loss": "#d9480f",
    "inconclusive": "#946200",
    "not_estimable": "#667085",
    "no_harm": "#067647",
}
SHAPE: Mapping[Verdict, str] = {
    "harm": "cross",
    "void": "square",
    "loss": "triangle-down",
    "inconclusive": "diamond",
    "not_estimable": "stroke",
    "no_harm": "circle",
}


@dataclass(frozen=True)
class ForestRow:
    """One line of a forest plot: a loss (positive is worse) with its interval and verdict."""

    name: str
    loss: Estimate
    verdict: Verdict


def forest(comparison: Comparison, margin: float, metric: str = "accuracy") -> str:
    """Return the losses of all assessed groups and pools in one metric as SVG: estimate, interval, zero and margin lines.

    At most 60 groups, those with the largest losses. Groups that were not assessed are not drawn: their intervals look like
    grid lines, or like the surest result.
    """
    groups = [comparison.overall, *(g for a in comparison.attributes for g in a.groups)]
    rows = [(f"{group_name(g.values)} (n = {g.n:,.0f})", loss_in(g, metric)) for g in groups]
    rows += [
        (f"{p.attribute}: {len(p.members)} small groups (n = {p.loss.estimate.n:,.0f})", p.loss)
        for a in comparison.attributes
        for p in a.pools
        if p.loss.metric == metric
    ]
    shown = [(name, x) for name, x in rows if x.estimate.value is not None]
    assessed = [(name, x) for name, x in shown if x.verdict != "not_estimable"] or shown
    if len(assessed) > MAX_GROUPS:
        largest = sorted(assessed[1:], key=lambda p: -(p[1].estimate.value or 0))
        assessed = assessed[:1] + largest[: MAX_GROUPS - 1]
    lines = [ForestRow(name, x.estimate, x.verdict) for name, x in assessed]
    m = comparison.overall.losses[0].measure if not assessed else assessed[0][1].measure
    return forest_of(lines, margin, m.name, f"{m.rise} of the {m.name} per group", m)


def forest_of(
    lines: Sequence[ForestRow],
    margin: float,
    error: str,
    about: str,
    measure: Measure = CLASS_MEASURES["accuracy"],
) -> str:
    """Return lines as SVG: estimate, interval, zero and margin lines; those without an interval are left out.

    Parameters
    ----------
    error
        The error that rises, such as ``error rate``, for the title of the axis.
    about
        A description of the plot for screen readers.
    measure
        What losses and margin are measured in.
    """
    import altair as alt
    import vl_convert as vlc

    scale_of, in_unit = measure.scale, f" in {measure.unit}" if measure.unit else ""
    names = _distinct([_short(line.name) for line in lines])
    rows: list[dict[str, Any]] = [
        {
            "group": name,
            "loss": scale_of * line.loss.value,
            "low": scale_of * line.loss.low,
            "high": scale_of * line.loss.high,
            "verdict": f"{SYMBOL[line.verdict]} {WORD[line.verdict]}",
        }
        for line, name in zip(lines, names, strict=True)
        if line.loss.value is not None and line.loss.low is not None and line.loss.high is not None
    ]
    order = list(dict.fromkeys(row["group"] for row in rows))
    frame = _frame(rows, scale_of * margin)
    for row in rows:
        row["low"], row["high"] = (float(np.clip(row[k], *frame)) for k in ("low", "high"))
    rows = [{**row, "loss": row["loss"] if frame[0] <= row["loss"] <= frame[1] else None} for row in rows]
    legend = [v for v in COLOUR if any(line.verdict == v for line in lines)]
    verdicts = [f"{SYMBOL[v]} {WORD[v]}" for v in legend]
    colours = alt.Scale(domain=verdicts, range=[COLOUR[v] for v in legend])
    shapes = alt.Scale(domain=verdicts, range=[SHAPE[v] for v in legend])
    y = alt.Y("group:N", sort=order, title=None, axis=alt.Axis(labelLimit=330))
    scale = alt.Scale(domain=list(frame), nice=False)
    base = alt.Chart(alt.Data(values=rows))
    rules = base.mark_rule(size=2).encode(
        y=y, x=alt.X("low:Q", title=f"{error}: {measure.rise}{in_unit}", scale=scale), x2="high:Q"
    )
    dots = base.mark_point(filled=True, size=85, opacity=1).encode(
        y=y,
        x="loss:Q",
        color=alt.Color("verdict:N", scale=colours, title=None),
        shape=alt.Shape("verdict:N", scale=shapes, title=None),
    )
    guides = (
        alt.Chart(alt.Data(values=[{"x": 0, "t": "no change"}, {"x": scale_of * margin, "t": "margin"}]))
        .mark_rule(color="#475467", strokeDash=[4, 3])
        .encode(x="x:Q")
    )
    chart = alt.layer(
        guides,
        rules,
        dots,
        width=460,
        height={"step": 24},
        description=about,
        # The viewer's sans-serif may be wider than the one the labels were measured in.
        padding={"left": 8 + 1.3 * max(map(len, order), default=0), "right": 10, "top": 5, "bottom": 5},
        config={"font": "sans-serif", "background": "#ffffff", "legend": {"orient": "top"}},
    )
    spec: dict[str, Any] = chart.to_dict(validate=False)  # validation takes as long as drawing
    svg: str = vlc.vegalite_to_svg(spec)
    return minify(svg, f"Forest plot: {escape(about)}; the table below has the same numbers.")


def _frame(rows: Sequence[Mapping[str, Any]], margin: float) -> tuple[float, float]:
    """Return the range of the axis: the intervals of the assessed groups, and at least the margin on both sides.

    The intervals of groups with too few rows are so wide that the others would be unreadable.
    """
    not_assessed = f"{SYMBOL['not_estimable']} {WORD['not_estimable']}"
    assessed = [r for r in rows if r["verdict"] != not_assessed] or rows or [{"low": 0.0, "high": 0.0}]
    low, high = min(r["low"] for r in assessed), max(r["high"] for r in assessed)
    pad = 0.05 * max(high - low, margin)
    return min(low, -margin) - pad, max(high, 1.5 * margin) + pad


def _distinct(names: Sequence[str]) -> list[str]:
    """Return distinct names, because rows with the same name would be drawn over each other."""
    counts: Counter[str] = Counter()
    distinct = []
    for name in names:
        counts[name] += 1
        distinct.append(name if counts[name] == 1 else f"{name} ({counts[name]})")
    return distinct


def _short(text: str) -> str:
    text = "".join(c if c.isprintable() else "�" for c in text)
    return text if len(text) <= 70 else text[:69] + "…"
