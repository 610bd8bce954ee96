"""The chart of size and accuracy: its front, and names that cover nothing."""

from __future__ import annotations

import itertools

from fairpress.reporting import pareto_chart
from fairpress.reporting.palette import COLOUR
from fairpress.reporting.pareto_chart import Point, front, pareto, place_labels


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


def test_names_cover_neither_marks_nor_each_other_and_stay_inside():
    marks = [(20.0, 20.0 + 7 * (i // 3)) if i % 3 else (180.0, 15.0 * i) for i in range(18)]
    width, size = 70.0, (200.0, 300.0)
    labels = place_labels(marks, [width] * len(marks), size)
    shifts = {"left": 0.0, "center": width / 2, "right": width}
    boxes = [
        (
            x + p.dx - shifts[p.align],
            y + p.dy - pareto_chart.LINE / 2,
            x + p.dx - shifts[p.align] + width,
            y + p.dy + pareto_chart.LINE / 2,
        )
        for (x, y), p in zip(marks, labels, strict=True)
        if p is not None
    ]
    assert 5 < len(boxes) < len(marks)
    assert not any(pareto_chart._overlap(a, b) for a, b in itertools.combinations(boxes, 2))
    assert not any(b[0] < x < b[2] and b[1] < y < b[3] for b in boxes for x, y in marks)
    assert all(b[0] >= 0 and b[1] >= 0 and b[2] <= size[0] and b[3] <= size[1] for b in boxes)
