"""Charts as SVG, drawn without a browser."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fairpress.auditing.result import Comparison
from fairpress.auditing.run import group_name
from fairpress.reporting.lean import lean
from fairpress.reporting.words import METRIC, SYMBOL, WORD

MOST_GROUPS = 60


def forest(comparison: Comparison, margin: float, metric: str = "accuracy") -> str:
    """Return the losses of all groups in one metric as SVG: estimate, interval, zero and margin lines.

    At most 60 groups, those with the largest losses; the table has all.
    """
    import altair as alt
    import vl_convert as vlc

    order: list[str] = []
    rows: list[dict[str, Any]] = []
    groups = [comparison.overall, *(g for a in comparison.attributes for g in a.groups)]
    found = [(g, next(x for x in g.losses if x.metric == metric)) for g in groups]
    shown = [(g, x) for g, x in found if x.estimate.value is not None]
    if len(shown) > MOST_GROUPS:
        shown = shown[:1] + sorted(shown[1:], key=lambda p: -(p[1].estimate.value or 0))[: MOST_GROUPS - 1]
    for group, loss in shown:
        name = _short(f"{group_name(group.values)} (n = {group.n:,.0f})")
        order.append(name)
        rows.append(
            {
                "group": name,
                "loss": 100 * (loss.estimate.value or 0.0),
                "low": 100 * (loss.estimate.low or 0.0),
                "high": 100 * (loss.estimate.high or 0.0),
                "verdict": f"{SYMBOL[loss.verdict]} {WORD[loss.verdict]}",
            }
        )
    frame = _frame(rows, 100 * margin)
    for row in rows:
        row["low"], row["high"] = (float(np.clip(row[k], *frame)) for k in ("low", "high"))
    rows = [{**row, "loss": row["loss"] if frame[0] <= row["loss"] <= frame[1] else None} for row in rows]
    verdicts = [
        f"{SYMBOL[v]} {WORD[v]}" for v in ("harm", "loss", "inconclusive", "not_estimable", "no_harm")
    ]
    colours = ["#b42318", "#d9480f", "#946200", "#667085", "#067647"]
    shapes = ["cross", "triangle-down", "diamond", "stroke", "circle"]
    y = alt.Y("group:N", sort=order, title=None, axis=alt.Axis(labelLimit=330))
    scale = alt.Scale(domain=list(frame), nice=False)
    base = alt.Chart(alt.Data(values=rows))
    rules = base.mark_rule(size=2).encode(
        y=y, x=alt.X("low:Q", title=f"{METRIC[metric]}: points lost", scale=scale), x2="high:Q"
    )
    dots = base.mark_point(filled=True, size=85, opacity=1).encode(
        y=y,
        x="loss:Q",
        color=alt.Color("verdict:N", scale=alt.Scale(domain=verdicts, range=colours), title=None),
        shape=alt.Shape("verdict:N", scale=alt.Scale(domain=verdicts, range=shapes), title=None),
    )
    lines = (
        alt.Chart(alt.Data(values=[{"x": 0, "t": "no change"}, {"x": 100 * margin, "t": "margin"}]))
        .mark_rule(color="#475467", strokeDash=[4, 3])
        .encode(x="x:Q")
    )
    chart = alt.layer(
        lines,
        rules,
        dots,
        width=460,
        height={"step": 24},
        description=f"Loss of {METRIC[metric]} per group with intervals",
        # The viewer's sans-serif may be wider than the one the labels were measured in.
        padding={"left": 8 + 1.3 * max(map(len, order), default=0), "right": 10, "top": 5, "bottom": 5},
        config={"font": "sans-serif", "background": "#ffffff", "legend": {"orient": "top"}},
    )
    spec: dict[str, Any] = chart.to_dict(validate=False)  # which takes as long as the drawing
    svg: str = vlc.vegalite_to_svg(spec)
    label = f"Forest plot: {METRIC[metric]} lost per group; the table below has the same numbers."
    return lean(svg, label)


def _frame(rows: Sequence[Mapping[str, Any]], margin: float) -> tuple[float, float]:
    """Return the axis: what groups with enough rows need, at least the margin on both sides.

    Intervals of groups with too few rows are so wide that nothing else could be read beside them.
    """
    few = f"{SYMBOL['not_estimable']} {WORD['not_estimable']}"
    known = [r for r in rows if r["verdict"] != few] or rows
    low, high = min(r["low"] for r in known), max(r["high"] for r in known)
    pad = 0.05 * max(high - low, margin)
    return min(low, -margin) - pad, max(high, 1.5 * margin) + pad


def _short(text: str) -> str:
    text = "".join(c if c.isprintable() else "�" for c in text)
    return text if len(text) <= 70 else text[:69] + "…"
