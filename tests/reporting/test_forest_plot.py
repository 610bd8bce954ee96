"""Forest plots: marks agree with the tables, names fit, and what was not assessed is not drawn."""

from __future__ import annotations

import re
from itertools import pairwise
from xml.etree import ElementTree

import pytest

from fairpress import demo_data
from fairpress.auditing.audit import audit
from fairpress.core.estimate import Estimate
from fairpress.reporting import forest_plot, plot_text
from fairpress.reporting.forest_plot import ForestRow, forest, forest_of
from fairpress.reporting.palette import COLOUR

SVG = "{http://www.w3.org/2000/svg}"
MARGIN = 0.02


@pytest.fixture(scope="module")
def demo():
    return audit(demo_data.table(), by=demo_data.BY, baseline="fp32", compressed=["int8", "int4"])


def drawn(svg):
    return ElementTree.fromstring(svg)


def texts(svg):
    return [t.text for t in drawn(svg).iter(f"{SVG}text")]


def place(svg):
    """Return the function from a loss in points to the pixel at which it belongs, from two ticks of the axis."""
    ticks = [
        (float(t.get("x")), float(t.text.replace("−", "-")))
        for t in drawn(svg).iter(f"{SVG}text")
        if _is_tick(t)
    ]
    (x0, v0), (x1, v1) = ticks[0], ticks[-1]
    return lambda points: x0 + (points - v0) * (x1 - x0) / (v1 - v0)


def _is_tick(text):
    return text.get("text-anchor") == "middle" and re.fullmatch(r"−?[\d.]+", text.text or "")


def test_mark_interval_and_bound_are_those_of_the_table(demo):
    comparison = demo.comparisons[1]
    group = next(
        g for a in comparison.attributes for g in a.groups if len(g.values) == 2 and g.verdict == "harm"
    )
    loss = group.losses[0]
    svg = forest(comparison, MARGIN)
    x = place(svg)
    marks = [
        float(re.match(r"translate\(([\d.]+)", p.get("transform")).group(1))
        for p in drawn(svg).iter(f"{SVG}path")
        if p.get("d") == forest_plot.SHAPE["harm"]
    ]
    assert any(m == pytest.approx(x(100 * loss.estimate.value), abs=0.2) for m in marks)
    bars = [
        float(re.match(r"M([\d.]+),", p.get("d")).group(1))
        for p in drawn(svg).iter(f"{SVG}path")
        if p.get("stroke-width") == "3" and p.get("stroke") == COLOUR["harm"] and "V" in p.get("d")
    ]
    assert any(b == pytest.approx(x(100 * loss.upper), abs=0.2) for b in bars)
    lines = [re.match(r"M([\d.]+),[\d.]+H([\d.]+)$", p.get("d")) for p in drawn(svg).iter(f"{SVG}path")]
    ends = [(float(m.group(1)), float(m.group(2))) for m in lines if m]
    expected = (x(100 * loss.estimate.low), x(100 * loss.estimate.high))
    assert any(e == pytest.approx(expected, abs=0.2) for e in ends)


def test_the_legend_has_the_verdicts_that_occur_and_the_margin_its_value(demo):
    good, bad = (texts(forest(c, MARGIN)) for c in demo.comparisons)
    assert {"no harm", "margin 2 points", "at most: the bound that decides"} <= set(good)
    assert not {"harm", "some loss", "inconclusive"} & set(good)
    assert {"no harm", "harm", "some loss"} <= set(bad)
    assert "n = 1,314" in bad


def test_groups_without_enough_rows_are_not_drawn():
    table = demo_data.table(rows=3000).to_pandas()
    table.loc[:20, "sex"] = "Other"
    report = audit(table, by=["sex"], baseline="fp32", compressed=["int8"])
    names = texts(forest(report.comparisons[0], MARGIN))
    assert "sex = Female" in names
    assert "sex = Other" not in names


def test_a_long_name_takes_two_lines_and_never_runs_into_its_note():
    name = "race = Native Hawaiian or other Pacific Islander and age_group = 40-64 and sex = Female"
    wide = "国籍" * 30
    rows = [
        ForestRow(n, Estimate(0.0, -0.01, 0.01, 100), "inconclusive", "n = 100")
        for n in (name, wide, "a" * 300, name)
    ]
    seen = texts(forest_of(rows, MARGIN, "error rate", "a test"))
    first = seen.index("race = Native Hawaiian or other Pacific")
    assert seen[first + 1] == "Islander and age_group = 40-64 and sex ="[: len(seen[first + 1])] or seen[
        first + 1
    ].endswith("…")
    assert all(plot_text.text_width(text) <= plot_text.NAME_LENGTH + 1 for text in seen)
    assert any(text.endswith("…") for text in seen)


def test_names_are_text_whatever_they_hold():
    evil = '<script>alert("x")</script>\x07&'
    svg = forest_of([ForestRow(evil, Estimate(0.0, -0.01, 0.01, 1), "harm")], MARGIN, evil, evil)
    assert "<script" not in svg
    assert '<script>alert("x")</script>⟨U+0007⟩&' in texts(svg)


def test_an_interval_beyond_the_axis_has_an_arrow_and_no_mark_outside():
    rows = [
        ForestRow("a", Estimate(0.0, -0.01, 0.01, 500), "no_harm", upper=0.008),
        ForestRow("b", Estimate(0.5, -0.6, 0.9, 5), "not_estimable"),
    ]
    svg = forest_of(rows, MARGIN, "error rate", "a test")
    arrows = [
        p for p in drawn(svg).iter(f"{SVG}path") if (p.get("transform") or "").startswith("translate(0,")
    ]
    assert len(arrows) == 2
    width = forest_plot.WIDTH
    marks = [
        p.get("transform") for p in drawn(svg).iter(f"{SVG}path") if p.get("d") in forest_plot.SHAPE.values()
    ]
    assert all(0 <= float(re.match(r"translate\(([\d.]+)", m).group(1)) <= width for m in marks)


@pytest.mark.parametrize(("low", "high"), [(-3.0, 11.0), (-0.04, 0.05), (-1200, 5000.0), (0.0, 1.0)])
def test_ticks_are_round_and_neither_few_nor_many(low, high):
    ticks = plot_text.round_ticks(low, high)
    assert 4 <= len(ticks) <= 9
    assert low <= ticks[0] <= ticks[-1] <= high
    steps = {round((b - a) / (ticks[1] - ticks[0]), 9) for a, b in pairwise(ticks)}
    assert steps == {1.0}
    assert f"{ticks[1] - ticks[0]:e}"[0] in "125"
