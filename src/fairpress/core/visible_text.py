"""Text of others, such as names of groups, in which nothing is hidden from a reader of a page."""

from __future__ import annotations

import re

# Control characters, and those that reorder their neighbours or have no width; not the joiners of emoji and of Persian.
_INVISIBLE = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]"
)


def visible(text: str) -> str:
    """Return text with invisible characters as ``⟨U+202E⟩``, so that different names look different."""
    return _INVISIBLE.sub(lambda match: f"⟨U+{ord(match[0]):04X}⟩", text)
