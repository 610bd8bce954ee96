"""Text of plots that are drawn as SVG without a font's measures: names that fit, and round numbers at an axis."""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence

from fairpress.core.visible_text import visible

NAME_LENGTH, MAX_LINES = 44, 2  # of a name, in letters and lines


def wrapped_names(names: Sequence[str]) -> list[tuple[str, ...]]:
    """Return each name in lines that fit; names that would be drawn alike are numbered from the second on.

    An accent may be a character of its own, which looks the same.
    """
    counts: Counter[tuple[str, ...]] = Counter()
    wrapped = []
    for name in names:
        lines = _wrapped(unicodedata.normalize("NFC", name))
        counts[lines] += 1
        wrapped.append(lines if counts[lines] == 1 else (*lines[:-1], f"{lines[-1]} ({counts[lines]})"))
    return wrapped


def text_width(text: str) -> int:
    """Return the width of a text in letters; the wide ones of East Asian scripts count twice."""
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def round_ticks(low: float, high: float) -> list[float]:
    """Return four to nine round numbers between two ends: steps of 1, 2 or 5 times a power of ten."""
    rough = (high - low) / 8
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= rough)
    return [step * k for k in range(math.ceil(low / step), math.floor(high / step) + 1)]


def tick_number(value: float) -> str:
    """Return a number as an axis has it, with a minus sign."""
    return f"{value + 0.0:,.6g}".replace("-", "−")


def _wrapped(name: str) -> tuple[str, ...]:
    """Return a name in lines that fit; a rest that does not fit ends in an ellipsis."""
    lines = [""]
    for word in re.findall(r"\S+\s*|\s+", visible(name, breaks=False)):
        for part in _pieces(word):
            if lines[-1] and text_width(lines[-1] + part.rstrip()) > NAME_LENGTH:
                lines.append("")
            lines[-1] += part
    if len(lines) > MAX_LINES:
        lines = [*lines[: MAX_LINES - 1], lines[MAX_LINES - 1].rstrip() + "…"]
    return tuple(line.rstrip() for line in lines)


def _pieces(word: str) -> list[str]:
    """Return a word in pieces that fit in a line."""
    pieces = [""]
    for letter in word:
        if text_width(pieces[-1] + letter) > NAME_LENGTH:
            pieces.append("")
        pieces[-1] += letter
    return pieces
