"""The chart of size and accuracy: its front, and marks that show the verdict."""

from __future__ import annotations

from fairpress.reporting.palette import COLOUR
from fairpress.reporting.pareto_chart import Point, front, pareto


def test_the_front_is_what_nothing_beats():
    found = [
        Point("big", 100, 0.90, 0.0),
        Point("small", 25, 0.89, 0.01),
        Point("beaten", 30, 0.88, 0.02),
        Point("same size, fairer", 25, 0.85, 0.0),
    ]
    assert [p.name for p in front(found) if p.front] == ["big", "small", "same size, fairer"]
    drawn = pareto(found)
    assert ">same size, fairer<" in drawn
    assert ">beaten<" in drawn
    assert pareto(found[:2]) is None


def test_marks_have_the_colour_of_their_verdict_and_names_their_worst_loss():
    drawn = pareto(
        [
            Point("fp32", 100, 0.90, 0.0),
            Point("int8", 25, 0.89, 0.004, verdict="no_harm"),
            Point("int4", 12, 0.80, 0.09, verdict="harm"),
        ]
    )
    assert COLOUR["harm"] in drawn
    assert COLOUR["no_harm"] in drawn
    assert COLOUR["loss"] not in drawn
    assert ">int4 +9.0<" in drawn
    assert ">✖ harm<" in drawn
    assert ">baseline<" in drawn
