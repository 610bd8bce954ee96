"""Text from files, as a page shows it and as a browser sends it back."""

from __future__ import annotations

import json
import os
import re
from typing import Any
from urllib.parse import quote

from markupsafe import Markup, escape

from fairpress.core.visible_text import visible

MAX_LENGTH = 1000


def shown(value: Any) -> Any:
    """Return the displayed form of a value: visible text of at most 1,000 characters; markup and numbers unchanged."""
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    return visible(value if len(value) <= MAX_LENGTH else f"{value[:MAX_LENGTH]}…")


def address(path: str) -> Markup:
    """Return a path as part of a URL, quoted so that no character is special in HTML."""
    return Markup(quote(os.fsencode(path), safe="/"))


def pretty(value: Any) -> Markup:
    """Return indented JSON of any length, escaped."""
    return escape(visible(json.dumps(value, indent=1, ensure_ascii=False)))


def sent(text: str) -> str:
    """Return a form's value as a browser sends it: normalized line ends, and replacements for invalid characters."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n")
    return re.sub("[\x00\ud800-\udfff]", "\ufffd", lines)


def encoded(page: str) -> bytes:
    """Return a page as UTF-8; half of a pair of surrogates, which JSON may hold, becomes a question mark."""
    return page.encode("utf-8", "replace")
