"""TSV files whose quotation marks are part of the texts, as in tweets, and not marks around them."""

from __future__ import annotations

import re
from pathlib import Path

_STARTS = re.compile(rb'(?:^|\t)"', re.MULTILINE)
_QUOTED = re.compile(rb'(?:^|\t)"(?:[^"\t\r\n]|"")*"(?=\t|\r?$)', re.MULTILINE)


def quotes_are_characters(path: Path) -> bool:
    """Return whether every line has as many tabs as the first, and some field begins with a quotation mark that is not one.

    A field in quotation marks begins and ends with one, and those in it are doubled; a reader that expects that would take
    away marks of other fields, or read on into the following rows.
    """
    content = path.read_bytes()
    if b'"' not in content:
        return False
    lines = content.removesuffix(b"\n").split(b"\n")
    tabs = lines[0].count(b"\t")
    if any(line.count(b"\t") != tabs for line in lines):
        return False
    return len(_STARTS.findall(content)) != len(_QUOTED.findall(content))
