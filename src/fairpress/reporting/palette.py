"""Colours of reports and charts, in light and in dark: a colour means a verdict or a model, never an order.

Verdicts also have shapes and signs. Pairs that must not be confused (harm, no harm) differ in blue, which people with any
common kind of colour blindness see.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from fairpress.auditing.result import Verdict

LIGHT = {
    "paper": "#ffffff",
    "card": "#f8fafc",
    "ink": "#1d2939",
    "soft": "#475467",
    "line": "#d0d5dd",
    "link": "#175cd3",
    "harm": "#b42318",
    "void": "#7a271a",
    "loss": "#c4420d",
    "inconclusive": "#8a5b00",
    "not_estimable": "#667085",
    "no_harm": "#0b7069",
    "harm-fill": "#fbd5d0",
    "loss-fill": "#fde3d3",
    "inconclusive-fill": "#fbf0cc",
    "no_harm-fill": "#e3f4f1",
    "beyond": "#fdf1ef",
    "first": "#344054",
    "second": "#1570ef",
    "third": "#5b2a86",
    "fourth": "#b8860b",
    "fifth": "#98a2b3",
}
DARK = {
    "paper": "#0f1623",
    "card": "#182230",
    "ink": "#e6eaf0",
    "soft": "#b0b9c8",
    "line": "#3b4658",
    "link": "#84b8ff",
    "harm": "#ff8f82",
    "void": "#ffb4a8",
    "loss": "#ffa366",
    "inconclusive": "#e5b94e",
    "not_estimable": "#98a2b4",
    "no_harm": "#4fc3e0",
    "harm-fill": "#6b1d17",
    "loss-fill": "#5c2f16",
    "inconclusive-fill": "#493a12",
    "no_harm-fill": "#10384a",
    "beyond": "#2a1a1d",
    "first": "#cdd5e0",
    "second": "#5ea2ff",
    "third": "#d7b8ff",
    "fourth": "#e3b34d",
    "fifth": "#7f8a9c",
}
COLOUR: Mapping[Verdict, str] = {
    "harm": LIGHT["harm"],
    "void": LIGHT["void"],
    "loss": LIGHT["loss"],
    "inconclusive": LIGHT["inconclusive"],
    "not_estimable": LIGHT["not_estimable"],
    "no_harm": LIGHT["no_harm"],
}
SERIES = [LIGHT[k] for k in ("first", "second", "third", "fourth", "fifth")]
"""Colours of models and kinds: neither red nor green, which mean verdicts."""
_NAMES = {colour: name for name, colour in LIGHT.items()}
_PAINT = re.compile(r'(fill|stroke)="(#[0-9a-f]{6}|black|white|#[0-9a-f]{3})"')
_VEGA = {"black": "ink", "white": "paper", "#000": "ink", "#fff": "paper", "#888": "soft", "#ddd": "line"}
"""Colours that charts have by default → their names here."""


def variables(colours: Mapping[str, str]) -> str:
    """Return CSS declarations of the colours, ``--ink: #1d2939; …``."""
    return " ".join(f"--{name}: {colour};" for name, colour in colours.items())


def themed(svg: str) -> str:
    """Return a drawing that takes its colours from the page around it; without one, those of a light page."""

    def paint(match: re.Match[str]) -> str:
        attribute, colour = match.groups()
        name = _NAMES.get(colour) or _VEGA.get(colour)
        return match.group() if name is None else f'{attribute}="var(--{name},{LIGHT[name]})"'

    return _PAINT.sub(paint, svg)


def self_themed(svg: str) -> str:
    """Return a drawing that is light or dark as the reader prefers, for a page that shows it as an image."""
    style = f"<style>@media (prefers-color-scheme: dark) {{ svg {{ {variables(DARK)} }} }}</style>"
    return re.sub(r"(<svg[^>]*>)", lambda m: m.group() + style, themed(svg), count=1)
