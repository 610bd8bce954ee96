"""Places for the names of marks in a chart, first come, first served."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

LETTER, LINE = 5.4, 11  # width of a letter and height of a line of a name, in pixels


@dataclass(frozen=True)
class Label:
    """Where a name stands: the shift of its anchor from its mark in pixels, and on which side of the anchor it is."""

    dx: float
    dy: float
    align: str


def place_labels(
    marks: Sequence[tuple[float, float]], names: Sequence[str], size: tuple[float, float]
) -> list[Label | None]:
    """Place names of 10 pixels next to their marks, where they cover neither a mark nor another name; None without room.

    Parameters
    ----------
    marks
        Centres of the marks in pixels; earlier ones are named first.
    names
        The name of each mark.
    size
        Width and height of the plot, which names do not leave.
    """
    taken = [(x - 6, y - 6, x + 6, y + 6) for x, y in marks]
    placed: list[Label | None] = []
    for (x, y), name in zip(marks, names, strict=True):
        width = LETTER * len(name)
        chosen = None
        for label in _CANDIDATES:
            left = x + label.dx - {"left": 0.0, "center": width / 2, "right": width}[label.align]
            middle = y + label.dy
            box = (left, middle - LINE / 2, left + width, middle + LINE / 2)
            inside = box[0] >= 0 and box[1] >= 0 and box[2] <= size[0] and box[3] <= size[1]
            if inside and not any(_overlap(box, other) for other in taken):
                chosen = label
                taken.append(box)
                break
        placed.append(chosen)
    return placed


_CANDIDATES = [
    Label(0, -13, "center"),
    Label(0, 13, "center"),
    *(
        Label(sign * 9, dy, align)
        for dy, (sign, align) in product((0, -9, 9, -18, 18), ((1, "left"), (-1, "right")))
    ),
]


def _overlap(a: Sequence[float], b: Sequence[float]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
