"""The Pareto front as a chart: bytes, largest loss of a group, accuracy by colour, and measured latencies as text."""

from __future__ import annotations

from typing import Any

from fairpress.searching.candidate_table import candidate_state
from fairpress.searching.result import SearchTrace

STATES = ("winner", "keeps the limits", "judged, not shown", "not judged")
SHAPES = ("diamond", "circle", "cross", "square")


def draw(searched: SearchTrace) -> str:
    """Return the chart as SVG."""
    import altair as alt
    import vl_convert as vlc

    values = [v for t in searched.trials if (v := _point(searched, t)) is not None]
    base = alt.Chart(alt.Data(values=values))
    y_title = (
        "largest loss of a group, points"
        if "max_group_loss" in searched.plan.limits
        else "least certain limit: risk"
    )
    dots = base.mark_point(filled=True, opacity=0.9, size=90).encode(
        x=alt.X("bytes:Q", title="bytes", scale=alt.Scale(zero=False, padding=70)),
        y=alt.Y("loss:Q", title=y_title, scale=alt.Scale(zero=False, padding=20)),
        color=alt.Color("accuracy:Q", title="accuracy, %", scale=alt.Scale(scheme="viridis")),
        shape=alt.Shape("state:N", title=None, scale=alt.Scale(domain=list(STATES), range=list(SHAPES))),
    )
    names = (
        base.transform_filter("datum.state != 'not judged'")
        .mark_text(align="left", dx=8, dy=-6, fontSize=11)
        .encode(x="bytes:Q", y="loss:Q", text="name:N")
    )
    chart = dots + names
    limit = searched.limits.max_group_loss
    if limit is not None:
        line = alt.Chart(alt.Data(values=[{"y": 100 * limit}])).mark_rule(strokeDash=[4, 3], color="#b42318")
        label_mark = line.mark_text(align="left", dx=4, dy=-6, color="#b42318", text="limit", x=0)
        chart = line.encode(y="y:Q") + label_mark.encode(y="y:Q") + chart
    spec = (
        chart.properties(width=560, height=320, padding={"left": 12, "right": 60, "top": 8, "bottom": 12})
        .configure(font="Arial, Liberation Sans, sans-serif", background="#ffffff")
        .to_dict(validate=False)
    )
    svg: str = vlc.vegalite_to_svg(spec)
    label = "File size and largest loss of a group for every candidate"
    return svg.replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1)


def _point(searched: SearchTrace, trial: Any) -> dict[str, Any] | None:
    state = candidate_state(searched, trial)
    category = (
        STATES[0]
        if state.endswith("the winner")
        else STATES[1]
        if state == "keeps every limit"
        else STATES[2]
        if state.startswith("not shown")
        else STATES[3]
    )
    loss = trial.worst_loss
    ms = searched.latency.get(trial.recipe, trial.latency_ms)
    return {
        "name": trial.recipe if ms is None else f"{trial.recipe}, {ms:.3g} ms",
        "bytes": trial.bytes,
        "loss": trial.risk if loss is None else 100 * (loss.value or 0.0),
        "accuracy": 100 * trial.accuracy,
        "state": category,
    }
