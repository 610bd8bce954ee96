"""Charts over several models of a study: heatmap, mitigations, layers.

Each returns SVG whose numbers are also in a table of the report. Colour is never the only signal: cells contain their
number and the sign of the verdict, and points have shapes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fairpress.auditing.result import Audit
from fairpress.reporting.formatting import METRIC
from fairpress.reporting.heat_grid import heat_grid
from fairpress.reporting.palette import LIGHT
from fairpress.reporting.vega_svg import load_altair, shortened, vega_svg

CELLS = {
    "harm": LIGHT["harm"],
    "void": LIGHT["harm"],
    "loss": LIGHT["loss-fill"],
    "inconclusive": LIGHT["inconclusive-fill"],
    "not_estimable": LIGHT["card"],
    "no_harm": LIGHT["no_harm-fill"],
}


def heatmap(audits: Sequence[tuple[str, Audit]]) -> str | None:
    """Draw the grid of who pays (`heat_grid`): a cell has its loss, and the sign and colour of its verdict.

    None for one audit of one recipe, whose forest plot shows the same numbers with their intervals.
    """
    alt = load_altair()

    grid = heat_grid(audits)
    if grid is None:
        return None
    rows: list[dict[str, Any]] = [
        {
            "row": shortened(row.name),
            "recipe": shortened(recipe, 34),
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
    return vega_svg(chart, f"Who pays: {quantity} by model; the tables have the same numbers.")


def repairs(audits: Sequence[tuple[str, Audit]], metric: str = "demographic_parity_difference") -> str | None:
    """Draw how each fairness method changed a gap and the accuracy, compared with its plain counterpart."""
    alt = load_altair()

    rows = []
    for label, audit in audits:
        for c in audit.comparisons:
            name = shortened(f"{label}: {c.compressed}" if label else c.compressed, 58)
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
    return vega_svg(
        alt.hconcat(*panels),
        "What each fairness-aware recipe changed compared with its plain counterpart, with intervals",
    )


def layers(sensitivity: Mapping[str, Mapping[str, float]]) -> str | None:
    """Draw how much quantizing one layer alone changes predictions, by depth: model → layer → divergence, in layer order."""
    alt = load_altair()

    rows = [
        {"model": shortened(model, 40), "depth": i + 1, "layer": shortened(layer), "harm": max(value, 1e-9)}
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
    return vega_svg(chart, "Sensitivity of every layer to rounding, by depth")


def mean_sensitivity(tables: Sequence[Mapping[str, Mapping[str, float]]]) -> dict[str, float]:
    """Return layer → divergence when it alone has the lowest bit width, by depth; mean over the `sensitivity` of cards."""
    divergences: dict[str, list[float]] = {}
    for table in tables:
        for layer, row in sorted(table.items(), key=lambda item: int(item[1]["depth"])):
            width = next((w for w in ("2", "4", "8") if w in row), None)
            if width is not None:
                divergences.setdefault(layer, []).append(float(row[width]))
    return {layer: float(np.mean(v)) for layer, v in divergences.items()}
