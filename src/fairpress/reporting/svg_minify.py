"""Minify SVG: drop defaults and attributes for scripts, for half of the bytes and the same picture."""

from __future__ import annotations

import re

_NEEDLESS = re.compile(
    r' (?:class="[^"]*"|pointer-events="none"|aria-(?:hidden|roledescription|label)="[^"]*"|role="graphics-[a-z]+"'
    r'|stroke-width="1"|opacity="1"|version="1.1"|xmlns:xlink="[^"]*"|transform="translate\(0,0\)"|stroke-miterlimit="10")'
)
_INVISIBLE = re.compile(r'<path d="M0,0h0v0h0Z"[^>]*/>|<path (?:d="" )?display="none"[^>]*/>')
_EMPTY = re.compile(r"<g[^>]*></g>")
_GEOMETRY = re.compile(r' (?:d|transform|x[12]?|y[12]?|width|height|viewBox)="[^"]*"')
_LONG = re.compile(r"\d+\.\d{3,}")
_BARE = re.compile(r"<g>(<(?:path|line|rect|text)[^<>]*(?:/>|>[^<]*</text>))</g>")


def minify(svg: str, label: str) -> str:
    """Return the drawing as one image with `label` for screen readers, which do not announce its parts."""
    svg = _INVISIBLE.sub("", _NEEDLESS.sub("", svg))
    svg = _GEOMETRY.sub(lambda match: _LONG.sub(_hundredths, match[0]), svg)
    for _ in range(6):
        shorter = _BARE.sub(r"\1", _EMPTY.sub("", svg))
        if shorter == svg:
            break
        svg = shorter
    return svg.replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1)


def _hundredths(number: re.Match[str]) -> str:
    """Round a length to a hundredth of a pixel."""
    return f"{float(number[0]):.2f}".rstrip("0").rstrip(".")
