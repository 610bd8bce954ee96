"""Draw the figures of the research notes from the tables in docs/data: `python docs/make_figures.py`.

Each figure has dots with their 95 % confidence intervals.
"""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import altair as alt

DOCS = Path(__file__).parent
WIDTH, ROW_HEIGHT = 420, 22
Row = dict[str, str]


@dataclass(frozen=True)
class Figure:
    """One figure: which rows of a table it has, and what it calls them.

    `value`, `low` and `high` are columns of `table`; `label` names a row, `group` its color, if there are several; the axis
    of counts starts at 0 (`from_zero`).
    """

    name: str
    table: str
    value: str
    low: str
    high: str
    label: Callable[[Row], str]
    keep: Callable[[Row], bool]
    title: str
    group: Callable[[Row], str] | None = None
    from_zero: bool = False


def plain(recipe: str) -> str:
    """Return a recipe without the attribute and the options that all rows of a figure share."""
    for part in (",by=race", ",reduce_range=true", ",rows=128", ",epochs=1", ",epochs=3", ",hold=true"):
        recipe = recipe.replace(part, "")
    return recipe


ROUNDED = ("int4", "int4(rounding=gptq)", "int3", "int3(rounding=gptq)", "qat-int4", "placebo")
FAIRER = (
    "calibration=balanced",
    "error=worst",
    "method=",
    "importance=groups",
    "distill",
    "protect=",
    "preserve=0.1,by",
)

FIGURES = (
    Figure(
        "rounding-flips",
        "rounding.csv",
        "flips_of_1000",
        "flips_low",
        "flips_high",
        lambda r: r["recipe"],
        lambda r: r["part"] == "COMPAS" and r["recipe"] in ROUNDED,
        "predictions changed, of 1,000 (COMPAS)",
        from_zero=True,
    ),
    Figure(
        "architectures-mixed",
        "architectures-mixed.csv",
        "accuracy_lost",
        "low",
        "high",
        lambda r: r["network"],
        lambda r: r["recipe"] == "int4" or "13%" in r["recipe"],
        "accuracy lost, percentage points",
        lambda r: "int4" if r["recipe"] == "int4" else "mixed, 13 %",
    ),
    Figure(
        "fair-compression-gaps",
        "fair-compression.csv",
        "tpr_change",
        "tpr_low",
        "tpr_high",
        lambda r: plain(r["recipe"]),
        lambda r: (
            any(part in r["recipe"] for part in FAIRER)
            and r["recipe"].startswith(("int4", "qat-int4", "prune", "mixed", "distill"))
            and not r["against"].startswith("placebo")
        ),
        "change of the gap in true positive rate, percentage points",
    ),
    Figure(
        "fair-faces-gaps",
        "fair-faces.csv",
        "tpr_change",
        "tpr_low",
        "tpr_high",
        lambda r: plain(r["recipe"]),
        lambda r: (
            r["attribute"] == "race"
            and any(part in r["recipe"] for part in FAIRER)
            and not r["against"].startswith("placebo")
        ),
        "change of the gap in true positive rate, percentage points",
    ),
    Figure(
        "faces-two-bits",
        "faces-groups.csv",
        "points_of_accuracy_lost",
        "low",
        "high",
        lambda r: r["group"],
        lambda r: r["recipe"] in ("qat-int4(epochs=1)", "qat-int2(epochs=1)"),
        "accuracy lost against the placebo, percentage points",
        lambda r: r["recipe"].partition("(")[0],
    ),
    Figure(
        "quantization-poster-tpr",
        "quantization-poster.csv",
        "value",
        "low",
        "high",
        lambda r: r["group"],
        lambda r: r["metric"] == "tpr" and r["model"] in ("fp32", "int8", "FairALM", "fp32>ceo"),
        "true positive rate",
        lambda r: r["model"],
    ),
)


def points(figure: Figure) -> list[dict[str, str | float]]:
    """Return the dots of a figure, in the order of its table; a label that occurs again is left out."""
    with (DOCS / "data" / figure.table).open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if figure.keep(row)]
    found: dict[tuple[str, str], dict[str, str | float]] = {}
    for row in rows:
        label, group = figure.label(row), figure.group(row) if figure.group else ""
        values = {
            n: float(row[c]) for n, c in (("value", figure.value), ("low", figure.low), ("high", figure.high))
        }
        found.setdefault((label, group), {"label": label, "group": group, **values})
    return list(found.values())


def draw(figure: Figure) -> alt.LayerChart:
    """Return the chart of a figure."""
    data = points(figure)
    labels = list(dict.fromkeys(str(point["label"]) for point in data))
    groups = list(dict.fromkeys(str(point["group"]) for point in data))
    base = alt.Chart(alt.Data(values=data)).encode(
        y=alt.Y("label:N", sort=labels, title=None, axis=alt.Axis(labelLimit=420)),
        yOffset=alt.YOffset("group:N", sort=groups) if figure.group else alt.Undefined,
        color=alt.Color("group:N", sort=groups, title=None, scale=alt.Scale(scheme="tableau10"))
        if figure.group
        else alt.value("#1f4e79"),
    )
    x = alt.X("value:Q", title=figure.title, scale=alt.Scale(zero=figure.from_zero))
    rules = base.mark_rule(size=2).encode(x=alt.X("low:Q", title=figure.title), x2="high:Q")
    dots = base.mark_point(filled=True, size=55, opacity=1).encode(x=x)
    layers = [rules, dots]
    if any(float(point["low"]) < 0 for point in data):
        zero = alt.Chart(alt.Data(values=[{"zero": 0}])).mark_rule(strokeDash=[4, 4], color="#666666")
        layers.insert(0, zero.encode(x="zero:Q"))
    height = ROW_HEIGHT * len(labels) * (max(1, len(groups) * 0.7))
    return alt.layer(*layers).properties(width=WIDTH, height=height, background="white")


if __name__ == "__main__":
    for each in FIGURES:
        draw(each).save(DOCS / "images" / f"{each.name}.svg")
