"""Sphinx configuration: MyST pages, furo; the table of contents is the lists of links on the first page."""

from __future__ import annotations

import re

from fairpress import __version__

project = "fairpress"
author = "The fairpress authors"
copyright = "The fairpress authors, Apache-2.0"
release = version = __version__
extensions = ["myst_parser"]
myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
html_theme = "furo"
html_title = "fairpress"
exclude_patterns = ["_build"]


def with_contents(text: str) -> str:
    """Return the first page with a hidden table of contents per heading; a code host shows the lists of links alone."""
    contents = ""
    for heading, body in re.findall(r"^## (.+)\n((?:(?!## ).*\n?)*)", text, re.MULTILINE):
        pages = re.findall(r"^\* \[[^]]+\]\(([\w/-]+)\.md\)", body, re.MULTILINE)
        if pages:
            listed = "\n".join(pages)
            contents += f"\n```{{toctree}}\n:hidden:\n:maxdepth: 1\n:caption: {heading}\n\n{listed}\n```\n"
    return text + contents


def setup(app: object) -> None:
    """Add the table of contents when the first page is read."""

    def read(_: object, name: str, source: list[str]) -> None:
        if name == "index":
            source[0] = with_contents(source[0])

    app.connect("source-read", read)  # type: ignore[attr-defined]
