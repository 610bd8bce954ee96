"""Notes on a table: spellings that were read as missing, and columns whose names are nearly equal."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from fairpress.core.values import near_equal
from fairpress.datasets.custom.columns import MISSING, Column, Missing
from fairpress.datasets.custom.table_file import spelled_missing

PLACEHOLDERS = (
    *(
        "?",
        "-",
        "--",
        ".",
        "..",
        "n.a.",
        "n/a",
        "#n/a",
        "na",
        "nan",
        "null",
        "<na>",
        "unk",
        "unknown",
        "missing",
    ),
    *("not available", "not applicable", "unspecified", "undefined"),
)


def is_placeholder(text: str) -> bool:
    """Return whether a text usually means that the value is missing."""
    return text.strip().casefold() in PLACEHOLDERS or text == "None"  # Python's; none may well be a value


def missing_notes(
    path: Path, separator: str, columns: Sequence[Column], missing: Missing, *, quoted: bool = True
) -> list[str]:
    """Return a note for each column and spelling that was read as missing, and that is not an empty cell."""
    notes = []
    for name, counted in spelled_missing(path, separator, columns, missing, quoted=quoted).items():
        for text, count in counted.most_common(5):
            note = f"{text!r} in {count:,} rows of {name!r} is read as missing"
            if text in MISSING and text not in missing.more:
                note += f"; if it is a value, write `not_missing: [{json.dumps(text)}]`"
            notes.append(f"{note}.")
    return notes


def similar_names_note(name: str, alike: Sequence[str], kind: str) -> str:
    """Return a note on groups or values whose names are nearly equal."""
    return (
        f"the {kind} {' and '.join(repr(n) for n in alike)} of {name!r} differ only in case, blanks or a trailing dot and "
        "count as different; write them the same way in the table if they are one."
    )


def name_notes(names: Sequence[str], used: Sequence[str]) -> list[str]:
    """Return notes on columns with equal names, or names that differ only in case, blanks or a trailing dot."""
    twice = [name for name, count in Counter(names).items() if count > 1]
    notes = [
        f"The table has several columns named {name!r}"
        + (", which are equal; one of them is read." if name in used else "; none of them is read.")
        for name in twice
    ]
    for alike in near_equal(names):
        read_names = [name for name in alike if name in used]
        if read_names:
            notes.append(
                f"The columns {' and '.join(repr(n) for n in alike)} have nearly the same name; "
                f"{' and '.join(repr(n) for n in read_names)} {'is' if len(read_names) == 1 else 'are'} read."
            )
    return notes
