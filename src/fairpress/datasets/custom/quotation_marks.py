"""Quotation marks that do not enclose values: in TSV files characters of the texts, in others a mistake."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np

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


def lines_like_rows(
    texts: Sequence[str], separator: str, columns: int, label: int, classes: Collection[str]
) -> np.ndarray:
    """Return the indices of texts with a line that has all columns of the table and a class where its label would stand.

    A quotation mark that is not closed makes the following rows part of a text, and nothing else shows it.

    Parameters
    ----------
    texts
        As read, with quotation marks taken for marks around values.
    separator, columns
        Of the file.
    label, classes
        The position of the label among the columns, and its values.
    """

    def like_row(line: str) -> bool:
        values = line.split(separator)
        return len(values) == columns and values[label].strip().strip('"') in classes

    # The first line is the text's own beginning.
    alike = [i for i, text in enumerate(texts) if "\n" in text and any(map(like_row, text.split("\n")[1:]))]
    return np.array(alike, dtype=np.int64)
