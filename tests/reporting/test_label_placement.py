"""Names in charts cover neither marks nor each other."""

from __future__ import annotations

import itertools

from fairpress.reporting import label_placement
from fairpress.reporting.label_placement import place_labels


def test_names_cover_neither_marks_nor_each_other_and_stay_inside():
    marks = [(20.0, 20.0 + 7 * (i // 3)) if i % 3 else (180.0, 15.0 * i) for i in range(18)]
    name, size = "prune-80 +5.4", (200.0, 300.0)
    width = label_placement.LETTER * len(name)
    labels = place_labels(marks, [name] * len(marks), size)
    shifts = {"left": 0.0, "center": width / 2, "right": width}
    boxes = [
        (
            x + p.dx - shifts[p.align],
            y + p.dy - label_placement.LINE / 2,
            x + p.dx - shifts[p.align] + width,
            y + p.dy + label_placement.LINE / 2,
        )
        for (x, y), p in zip(marks, labels, strict=True)
        if p is not None
    ]
    assert 5 < len(boxes) < len(marks)
    assert not any(label_placement._overlap(a, b) for a, b in itertools.combinations(boxes, 2))
    assert not any(b[0] < x < b[2] and b[1] < y < b[3] for b in boxes for x, y in marks)
    assert all(b[0] >= 0 and b[1] >= 0 and b[2] <= size[0] and b[3] <= size[1] for b in boxes)
