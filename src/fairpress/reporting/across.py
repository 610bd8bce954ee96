"""What one group loses in every comparison of a study, as SVG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fairpress.auditing.result import Verdict
from fairpress.core.estimate import Estimate
from fairpress.reporting.words import SYMBOL, WORD

MOST = 60
COLOUR: dict[Verdict, str] = {
    "harm": "#b42318",
    "loss": "#d9480f",
    "inconclusive": "#946200",
    "not_estimable": "#667085",
    "no_harm": "#067647",
}
SHAPE: dict[Verdict, str] = {
    "harm": "cross",
    "loss": "triangle-down",
    "inconclusive": "diamond",
    "not_estimable": "stroke",
    "no_harm": "circle",
}


@dataclass(frozen=True)
class Line:
    """One line of the chart."""

    name: str
    loss: Estimate
    verdict: Verdict


def across(lines: Sequence[Line], title: str, margin: float) -> str:
    """Return the losses of accuracy as SVG: estimate, interval, zero and margin; at most 60 lines, the first."""
    import altair as alt
    import vl_convert as vlc

    rows = [
        {
            "name": line.name,
            "loss": 100 * line.loss.value,
            "low": 100 * line.loss.low,
            "high": 100 * line.loss.high,
            "verdict": f"{SYMBOL[line.verdict]} {WORD[line.verdict]}",
        }
        for line in lines[:MOST]
        if line.loss.value is not None and line.loss.low is not None and line.loss.high is not None
    ]
    order = list(dict.fromkeys(line.name for line in lines[:MOST]))
    y = alt.Y("name:N", sort=order, title=None, axis=alt.Axis(labelLimit=360), scale=alt.Scale(domain=order))
    base = alt.Chart(alt.Data(values=rows))
    words = [f"{SYMBOL[v]} {WORD[v]}" for v in COLOUR]
    chart = alt.layer(
        alt.Chart(alt.Data(values=[{"x": 0}, {"x": 100 * margin}]))
        .mark_rule(color="#475467", strokeDash=[4, 3])
        .encode(x="x:Q"),
        base.mark_rule(size=2).encode(y=y, x=alt.X("low:Q", title="points of accuracy lost"), x2="high:Q"),
        base.mark_point(filled=True, size=85, opacity=1).encode(
            y=y,
            x="loss:Q",
            color=alt.Color(
                "verdict:N", scale=alt.Scale(domain=words, range=list(COLOUR.values())), title=None
            ),
            shape=alt.Shape(
                "verdict:N", scale=alt.Scale(domain=words, range=list(SHAPE.values())), title=None
            ),
        ),
        title=title,
        width=460,
        height={"step": 24},
        padding={"left": 8 + 1.3 * max(map(len, order), default=0), "right": 10, "top": 5, "bottom": 5},
        config={"font": "sans-serif", "background": "#ffffff", "legend": {"orient": "top"}},
    )
    svg: str = vlc.vegalite_to_svg(chart.to_dict(validate=False))
    return svg
