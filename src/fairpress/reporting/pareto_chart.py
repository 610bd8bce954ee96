"""Size, accuracy and the worst group's loss of every model in one chart, with names that do not overlap."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from fairpress.auditing.result import Audit, Comparison, Verdict
from fairpress.auditing.verdicts.wording import deciding_loss
from fairpress.reporting.formatting import SYMBOL, WORD, format_signed, tone
from fairpress.reporting.label_placement import place_labels
from fairpress.reporting.palette import COLOUR, SERIES
from fairpress.reporting.vega_svg import load_altair, shortened, vega_svg

WIDTH, HEIGHT = 340, 300
BASELINE = "baseline"
VEGA_SHAPE: Mapping[str, str] = {
    "harm": "cross",
    "void": "cross",
    "loss": "triangle-down",
    "inconclusive": "diamond",
    "not_estimable": "stroke",
    "no_harm": "circle",
    BASELINE: "square",
}


@dataclass(frozen=True)
class Point:
    """A model by size, accuracy and fairness: the loss of its worst group against the baseline, and its verdict.

    `verdict` is None for the baseline.
    """

    name: str
    bytes: float
    accuracy: float
    worst: float
    front: bool = False
    verdict: Verdict | None = None


def worst_loss(c: Comparison) -> float:
    """Return the largest loss behind the verdict of an assessed group, 0 without any."""
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
        compared = {c.compressed: c for c in audit.comparisons}
        for m in audit.models:
            accuracy, size = m.overall.rates["accuracy"].value, bytes_.get((label, m.name))
            if accuracy is None or not size or m.name not in (audit.baseline, *compared):
                continue
            name, c = f"{label}: {m.name}" if label else m.name, compared.get(m.name)
            worst, verdict = (0.0, None) if c is None else (worst_loss(c), tone(c))
            points.append(Point(name, size, accuracy, worst, verdict=verdict))
    return points


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

    return [replace(p, front=not beaten(p)) for p in models]


def pareto(models: Sequence[Point]) -> str | None:
    """Draw size against accuracy with the verdict as colour and shape; marks on the Pareto front are filled.

    None for fewer than three models.
    """
    alt = load_altair()

    if len(models) < 3:
        return None
    points = sorted(front(models), key=lambda p: not p.front)  # the front is named first
    kb, accuracy = [p.bytes / 1e3 for p in points], [100 * p.accuracy for p in points]
    margin = 0.08 * (max(accuracy) - min(accuracy)) or 1.0
    y_domain = [min(accuracy) - margin, max(accuracy) + margin]
    x_domain = [min(kb) / 1.2, max(kb) * 1.2]
    at = [
        (
            WIDTH * math.log(x / x_domain[0]) / math.log(x_domain[1] / x_domain[0]),
            HEIGHT * (y_domain[1] - y) / (y_domain[1] - y_domain[0]),
        )
        for x, y in zip(kb, accuracy, strict=True)
    ]
    names = [shortened(p.name, 34) + _loss(p) for p in points]
    labels = place_labels(at, names, (WIDTH, HEIGHT))
    rows = [
        {"name": name, "kb": x, "accuracy": y, "kind": _kind(p), "front": p.front}
        for p, name, x, y in zip(points, names, kb, accuracy, strict=True)
    ]
    kinds = [k for k in (*(_word(v) for v in COLOUR), BASELINE) if any(r["kind"] == k for r in rows)]
    by_word: dict[str, Verdict] = {_word(v): v for v in COLOUR}
    colours = [COLOUR[by_word[k]] if k in by_word else SERIES[0] for k in kinds]
    shapes = [VEGA_SHAPE[by_word.get(k, BASELINE)] for k in kinds]
    x = alt.X(
        "kb:Q", title="KB of the file (logarithmic)", scale=alt.Scale(type="log", domain=x_domain, nice=False)
    )
    y = alt.Y("accuracy:Q", title="accuracy, %", scale=alt.Scale(domain=y_domain, nice=False))
    colour = alt.Color("kind:N", scale=alt.Scale(domain=kinds, range=colours), title=None)
    shape = alt.Shape("kind:N", scale=alt.Scale(domain=kinds, range=shapes), title=None)
    layers: list[Any] = []
    for filled in (False, True):
        chosen = [r for r in rows if r["front"] == filled]
        marks = alt.Chart(alt.Data(values=chosen)).mark_point(
            size=70, opacity=1, filled=filled, strokeWidth=1.5
        )
        layers.append(marks.encode(x=x, y=y, color=colour, shape=shape))
    for label in dict.fromkeys(filter(None, labels)):
        chosen = [r for r, label_of in zip(rows, labels, strict=True) if label_of == label]
        text = alt.Chart(alt.Data(values=chosen)).mark_text(
            dx=label.dx, dy=label.dy, align=label.align, fontSize=10
        )
        layers.append(text.encode(x=x, y=y, text="name:N"))
    chart = alt.layer(*layers).properties(width=WIDTH, height=HEIGHT)
    return vega_svg(chart, "Size, accuracy and verdict of every model; marks on the front are filled")


def _loss(p: Point) -> str:
    return "" if p.verdict is None else f" {format_signed(100 * p.worst, '+.1f')}"


def _word(verdict: Verdict) -> str:
    return f"{SYMBOL[verdict]} {WORD[verdict]}"


def _kind(p: Point) -> str:
    return BASELINE if p.verdict is None else _word(p.verdict)
