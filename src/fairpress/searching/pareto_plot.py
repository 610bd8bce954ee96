"""The Pareto front as a chart: bytes, largest loss of a group, states as colors and shapes; accuracy and latency as text."""

from __future__ import annotations

from typing import Any

from fairpress.reporting.label_placement import Label, place_labels
from fairpress.reporting.palette import LIGHT, SERIES
from fairpress.reporting.vega_svg import load_altair, shortened, vega_svg
from fairpress.searching.candidate_table import candidate_state
from fairpress.searching.result import SearchTrace

STATES = ("winner", "keeps the limits", "judged, not shown", "not judged")
SHAPES = ("diamond", "circle", "cross", "square")
COLOURS = (LIGHT["no_harm"], SERIES[1], LIGHT["inconclusive"], SERIES[4])
WIDTH, HEIGHT = 520, 320


def draw(searched: SearchTrace) -> str:
    """Return the chart as SVG; a name for which there is no room is left out, that of the winner never."""
    alt = load_altair()

    values = [v for t in searched.trials if (v := _point(searched, t)) is not None]
    values.sort(key=lambda v: STATES.index(v["state"]))  # the winner is named first
    limit = searched.limits.max_group_loss
    losses = [v["loss"] for v in values] + ([100 * limit] if limit is not None else [])
    x_domain = _padded([v["bytes"] for v in values])
    y_domain = _padded(losses)
    at = [
        (
            WIDTH * (v["bytes"] - x_domain[0]) / (x_domain[1] - x_domain[0]),
            HEIGHT * (y_domain[1] - v["loss"]) / (y_domain[1] - y_domain[0]),
        )
        for v in values
    ]
    labels = place_labels(at, [v["name"] for v in values], (WIDTH, HEIGHT))
    y_title = (
        "largest loss of a group, points"
        if "max_group_loss" in searched.plan.limits
        else "least certain limit: risk"
    )
    x = alt.X("bytes:Q", title="bytes", scale=alt.Scale(domain=x_domain, nice=False))
    y = alt.Y("loss:Q", title=y_title, scale=alt.Scale(domain=y_domain, nice=False))
    domain = [s for s in STATES if any(v["state"] == s for v in values)]
    shapes = [SHAPES[STATES.index(s)] for s in domain]
    colours = [COLOURS[STATES.index(s)] for s in domain]
    dots = alt.Chart(alt.Data(values=values)).mark_point(filled=True, opacity=1, size=90)
    layers: list[Any] = [
        dots.encode(
            x=x,
            y=y,
            color=alt.Color("state:N", title=None, scale=alt.Scale(domain=domain, range=colours)),
            shape=alt.Shape("state:N", title=None, scale=alt.Scale(domain=domain, range=shapes)),
        )
    ]
    placed = [label or (Label(0, -13, "center") if i == 0 else None) for i, label in enumerate(labels)]
    for label in dict.fromkeys(filter(None, placed)):
        chosen = [v for v, label_of in zip(values, placed, strict=True) if label_of == label]
        text = alt.Chart(alt.Data(values=chosen)).mark_text(
            dx=label.dx, dy=label.dy, align=label.align, fontSize=10
        )
        layers.append(text.encode(x=x, y=y, text="name:N"))
    if limit is not None:
        line = alt.Chart(alt.Data(values=[{"loss": 100 * limit, "t": "limit"}]))
        layers.append(line.mark_rule(strokeDash=[4, 3], color=LIGHT["harm"]).encode(y=y))
        layers.append(
            line.mark_text(align="left", dx=4, dy=-6, color=LIGHT["harm"]).encode(
                x=alt.value(0), y=y, text="t:N"
            )
        )
    chart = alt.layer(*layers).properties(width=WIDTH, height=HEIGHT)
    return vega_svg(chart, "File size and largest loss of a group for every candidate")


def _padded(values: list[float]) -> list[float]:
    """Return the range of an axis with room around its values."""
    low, high = min(values, default=0.0), max(values, default=1.0)
    pad = 0.1 * (high - low) or 0.1 * abs(high) or 1.0
    return [low - pad, high + pad]


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
    name = f"{shortened(trial.recipe)}, {100 * trial.accuracy:.1f} %"
    return {
        "name": name if ms is None else f"{name}, {ms:.3g} ms",
        "bytes": trial.bytes,
        "loss": trial.risk if loss is None else 100 * (loss.value or 0.0),
        "state": category,
    }
