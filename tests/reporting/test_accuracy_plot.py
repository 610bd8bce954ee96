"""The accuracy of every group: marks and intervals are the audit's, names fit, and what is not drawn is said."""

from __future__ import annotations

import re
from itertools import pairwise
from xml.etree import ElementTree

import numpy as np
import pytest

from fairpress import demo_data
from fairpress.auditing.audit import audit
from fairpress.reporting import accuracy_plot
from fairpress.reporting.accuracy_plot import SHAPES
from fairpress.reporting.accuracy_plot import accuracy_plot as draw
from fairpress.reporting.palette import SERIES

SVG = "{http://www.w3.org/2000/svg}"
MODELS = {"baseline": "fp32", "compressed": ["int8", "int4"]}


@pytest.fixture(scope="module")
def demo():
    return audit(demo_data.table(), by=["age_group"], **MODELS)


def texts(svg):
    return [t.text for t in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def paths(svg, **attributes):
    found = ElementTree.fromstring(svg).iter(f"{SVG}path")
    return [p for p in found if all(p.get(name) == value for name, value in attributes.items())]


def percent_at(svg):
    """Return the function from a pixel to the accuracy in % that belongs there, from two ticks of the axis."""
    ticks = [t for t in ElementTree.fromstring(svg).iter(f"{SVG}text") if t.get("text-anchor") == "middle"]
    (x0, v0), (x1, v1) = ((float(t.get("x")), float(t.text)) for t in (ticks[0], ticks[-1]))
    return lambda x: v0 + (x - x0) * (v1 - v0) / (x1 - x0)


def test_marks_and_intervals_are_those_of_the_audit(demo):
    svg = draw(demo)
    percent = percent_at(svg)
    # The model with the severest verdict follows the baseline.
    for model, name in enumerate(("fp32", "int4", "int8")):
        expected = [g.rates["accuracy"] for m in demo.models if m.name == name for g in m.groups]
        marks = [
            float(re.match(r"translate\(([\d.]+)", p.get("transform")).group(1))
            for p in paths(svg, d=SHAPES[model], fill=SERIES[model])
        ][1:]  # the first is the legend's
        assert [percent(x) for x in marks] == pytest.approx([100 * e.value for e in expected], abs=0.05)
        ends = [
            [float(x) for x in re.match(r"M([\d.]+),\d+H([\d.]+)", p.get("d")).groups()]
            for p in paths(svg, stroke=SERIES[model])
        ]
        assert [percent(x) for end in ends for x in end] == pytest.approx(
            [100 * x for e in expected for x in (e.low, e.high)], abs=0.05
        )
    assert texts(svg)[:4] == ["Accuracy, %", "fp32", "int4", "int8"]
    assert {"age_group = 65+", "n = 2,644"} <= set(texts(svg))


def test_everything_is_within_the_picture_and_rows_do_not_overlap():
    names = ["finetune(method=penalty,constraint=demographic_parity,by=race,epochs=1)+int8", "国籍" * 30]
    table = (
        demo_data.table(rows=6000).to_pandas().rename(columns=dict(zip(("fp32", "int8"), names, strict=True)))
    )
    table["city"] = np.where(np.arange(6000) % 2, "San Giovanni " * 12, "b")
    svg = draw(audit(table, by=["city"], baseline=names[0], compressed=[names[1]]))
    root = ElementTree.fromstring(svg)
    _, _, width, height = map(float, root.get("viewBox").split())
    assert width == accuracy_plot.WIDTH
    lines = [(float(t.get("x")), float(t.get("y"))) for t in root.iter(f"{SVG}text")]
    assert all(0 <= x <= width and 0 <= y <= height for x, y in lines)
    at_left = [float(t.get("y")) for t in root.iter(f"{SVG}text") if t.get("text-anchor") is None]
    assert min(b - a for a, b in pairwise(at_left)) >= 12
    places = [
        re.match(r"translate\(([\d.]+),(\d+)", p.get("transform") or "") for p in root.iter(f"{SVG}path")
    ]
    assert all(0 <= float(p[1]) <= width and 0 <= float(p[2]) <= height for p in places if p)


def test_of_many_groups_those_that_lose_most_are_drawn():
    table = demo_data.table().to_pandas()
    table["city"] = [f"c{i % 40:02d}" for i in range(len(table))]
    hit = table.city == "c37"
    first, second = table.label.unique()
    table.loc[hit, "int8"] = table.label[hit].map({first: second, second: first})
    svg = draw(audit(table, by=["city"], baseline="fp32", compressed=["int8"], margin=0.2))
    seen = texts(svg)
    assert sum(text.startswith("city = ") for text in seen) == accuracy_plot.MAX_GROUPS
    assert next(text for text in seen if text.startswith("city = ")) == "city = c37"
    assert "10 more groups, whose accuracy falls less, are not drawn." in seen


def test_groups_without_a_verdict_are_not_drawn(demo):
    table = demo_data.table(rows=3000).to_pandas()
    table.loc[:20, "sex"] = "Other"
    svg = draw(audit(table, by=["sex"], baseline="fp32", compressed=["int8"]))
    assert "sex = Female" in texts(svg)
    assert "sex = Other" not in texts(svg)
    assert draw(audit(table, by=["sex"], baseline="fp32", compressed=[])) is None


def test_names_are_text_whatever_they_hold():
    evil = '<script>alert("x")</script>\x07&'
    table = demo_data.table(rows=2000).to_pandas().rename(columns={"int8": evil})
    svg = draw(audit(table, by=["sex"], baseline="fp32", compressed=[evil]))
    assert "<script" not in svg
    assert '<script>alert("x")</script>⟨U+0007⟩&' in texts(svg)
