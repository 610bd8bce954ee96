"""Text from files, as a page shows it and as a browser sends it back."""

from __future__ import annotations

import json
import os
import re
from typing import Any
from urllib.parse import quote

from markupsafe import Markup, escape

MAX_LENGTH = 1000
# Control characters, and those that reorder their neighbours or have no width; not the joiners of emoji and of Persian.
_INVISIBLE = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]"
)


def visible(text: str) -> str:
    """Return text with invisible characters as ``⟨U+202E⟩``, so that different names look different."""
    return _INVISIBLE.sub(lambda match: f"⟨U+{ord(match[0]):04X}⟩", text)


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
