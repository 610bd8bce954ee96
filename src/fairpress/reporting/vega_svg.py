"""Charts of altair as SVG, in one look: fonts that every machine has, legends in a column, room for wider letters."""

from __future__ import annotations

from contextlib import suppress
from importlib.util import find_spec
from typing import Any

from fairpress.core.errors import MissingExtra
from fairpress.core.visible_text import visible
from fairpress.reporting.palette import LIGHT
from fairpress.reporting.svg_minify import minify


def load_altair() -> Any:
    """Return the package altair.

    Raises MissingExtra unless it and the package that turns its charts into SVG are installed.
    """
    if any(find_spec(package) is None for package in ("altair", "vl_convert")):
        raise MissingExtra("A chart of several models", "charts")
    import altair

    return altair


def start_drawing() -> None:
    """Load what draws charts, and its JavaScript engine, which the first chart would wait for; nothing if not installed."""
    with suppress(MissingExtra):
        vega_svg(load_altair().Chart().mark_point(), "")


def vega_svg(chart: Any, label: str) -> str:
    """Return a chart as SVG with a label for screen readers."""
    import vl_convert as vlc

    spec = (
        # The viewer's font may be wider than that in which the labels were measured.
        chart.properties(padding={"left": 12, "right": 16, "top": 5, "bottom": 16})
        .configure(font="Arial, Liberation Sans, sans-serif", background=LIGHT["paper"])
        .configure_legend(
            orient="top", direction="vertical", columns=1, labelLimit=300, symbolSize=60, labelFontSize=12
        )
        .configure_axis(labelFontSize=11, titleFontSize=12, gridColor=LIGHT["line"])
        .configure_view(stroke=None)
        .to_dict(validate=False)
    )
    return minify(vlc.vegalite_to_svg(spec), label)


def shortened(text: str, max_length: int = 48) -> str:
    """Return a name whose invisible characters are shown, cut to a length."""
    text = visible(text, breaks=False)
    return text if len(text) <= max_length else text[: max_length - 1] + "…"
