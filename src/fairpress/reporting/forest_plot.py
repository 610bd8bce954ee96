"""Charts as SVG, drawn without a browser."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np

from fairpress.auditing.result import Comparison, Verdict
from fairpress.auditing.verdicts.wording import group_name
from fairpress.core.estimate import Estimate
from fairpress.reporting.formatting import METRIC, SYMBOL, WORD
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
    """One line of a forest plot: a loss between -1 and 1 (positive is worse) with its interval and verdict."""

    name: str
    loss: Estimate
    verdict: Verdict


def forest(comparison: Comparison, margin: float, metric: str = "accuracy") -> str:
    """Return the losses of all groups in one metric as SVG: estimate, interval, zero and margin lines.

    At most 60 groups, those with the largest losses.
    """
    groups = [comparison.overall, *(g for a in comparison.attributes for g in a.groups)]
    forest_rows = [(g, next(x for x in g.losses if x.metric == metric)) for g in groups]
    shown = [(g, x) for g, x in forest_rows if x.estimate.value is not None]
    if len(shown) > MAX_GROUPS:
        shown = shown[:1] + sorted(shown[1:], key=lambda p: -(p[1].estimate.value or 0))[: MAX_GROUPS - 1]
    lines = [ForestRow(f"{group_name(g.values)} (n = {g.n:,.0f})", x.estimate, x.verdict) for g, x in shown]
    return forest_of(lines, margin, METRIC[metric], f"{METRIC[metric]} lost per group")


def forest_of(lines: Sequence[ForestRow], margin: float, lost: str, about: str) -> str:
    """Return lines as SVG: estimate, interval, zero and margin lines; those without an interval are left out.

    Parameters
    ----------
    lost
        The lost quantity, such as ``accuracy``, for the title of the axis.
    about
        A description of the plot for screen readers.
    """
    import altair as alt
    import vl_convert as vlc

    names = _distinct([_short(line.name) for line in lines])
    rows: list[dict[str, Any]] = [
        {
            "group": name,
            "loss": 100 * line.loss.value,
            "low": 100 * line.loss.low,
            "high": 100 * line.loss.high,
            "verdict": f"{SYMBOL[line.verdict]} {WORD[line.verdict]}",
        }
        for line, name in zip(lines, names, strict=True)
        if line.loss.value is not None and line.loss.low is not None and line.loss.high is not None
    ]
    order = list(dict.fromkeys(row["group"] for row in rows))
    frame = _frame(rows, 100 * margin)
    for row in rows:
        row["low"], row["high"] = (float(np.clip(row[k], *frame)) for k in ("low", "high"))
    rows = [{**row, "loss": row["loss"] if frame[0] <= row["loss"] <= frame[1] else None} for row in rows]
    # Hardly any comparison is void.
    legend = [v for v in COLOUR if v != "void" or any(line.verdict == "void" for line in lines)]
    verdicts = [f"{SYMBOL[v]} {WORD[v]}" for v in legend]
    colours = alt.Scale(domain=verdicts, range=[COLOUR[v] for v in legend])
    shapes = alt.Scale(domain=verdicts, range=[SHAPE[v] for v in legend])
    y = alt.Y("group:N", sort=order, title=None, axis=alt.Axis(labelLimit=330))
    scale = alt.Scale(domain=list(frame), nice=False)
    base = alt.Chart(alt.Data(values=rows))
    rules = base.mark_rule(size=2).encode(
        y=y, x=alt.X("low:Q", title=f"{lost}: points lost", scale=scale), x2="high:Q"
    )
    dots = base.mark_point(filled=True, size=85, opacity=1).encode(
        y=y,
        x="loss:Q",
        color=alt.Color("verdict:N", scale=colours, title=None),
        shape=alt.Shape("verdict:N", scale=shapes, title=None),
    )
    guides = (
        alt.Chart(alt.Data(values=[{"x": 0, "t": "no change"}, {"x": 100 * margin, "t": "margin"}]))
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
