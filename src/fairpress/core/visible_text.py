"""Text of others, such as names of groups, in which nothing is hidden from a reader."""

from __future__ import annotations

import re
import unicodedata

# Control characters, and those that reorder their neighbors, have no width or fill a place with nothing.
_HIDDEN = (
    "\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e"
    "\u2060-\u206f\u3164\ufeff\uffa0\ufff9-\ufffb\ufffe\uffff\ud800-\udfff\U000e0000-\U000e007f"
)
_IN_TEXT, _IN_LINE = re.compile(f"[{_HIDDEN}]"), re.compile(f"[{_HIDDEN}\t\n\r]")
_JOINERS = "\u200c\u200d"
_JOINED = ("Lo", "Lm", "Mn", "Mc", "So", "Sk", "Sm")
"""Categories of characters that a joiner changes: the letters of Persian and Hindi, and emoji."""


def visible(text: str, *, breaks: bool = True) -> str:
    """Return text with invisible characters as ``⟨U+202E⟩``, so that different names look different.

    The joiners of emoji and of Persian stay where they join, and with `breaks` tabs and line breaks do.
    """
    return (_IN_TEXT if breaks else _IN_LINE).sub(_shown, text)


def _shown(match: re.Match[str]) -> str:
    character, start, end = match[0], match.start(), match.end()
    if character in _JOINERS:
        neighbors = match.string[max(start - 1, 0) : start] + match.string[end : end + 1]
        if any(unicodedata.category(c) in _JOINED for c in neighbors):
            return character
    return f"⟨U+{ord(character):04X}⟩"
