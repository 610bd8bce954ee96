"""Properties of texts that would make an audit misleading: copies in several parts, and texts too long to be read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from fairpress.datasets.checks.text_clues import check_clues
from fairpress.datasets.checks.text_scripts import check_scripts
from fairpress.datasets.checks.warning import DatasetWarning
from fairpress.datasets.dataset import PARTS, Dataset, Part
from fairpress.datasets.texts.near_duplicates import MIN_SIMILARITY, SHINGLE, near_duplicates, normalized
from fairpress.datasets.texts.repeated import text_numbers

LONG_CHARACTERS, LONG_WORDS = 2000, 300  # most models read 128 to 512 tokens
MIN_GROUP_ROWS = 20  # of a group that a sentence names


def check_texts(data: Dataset) -> Iterator[DatasetWarning]:
    """Yield the warnings that need the texts."""
    texts = [normalized(text) for text in _texts(data)]
    yield from check_clues(data, texts)
    yield from _copies(data, texts)
    yield from _long(data)
    yield from check_scripts(data)


def _texts(data: Dataset) -> np.ndarray:
    assert data.texts is not None
    return data.texts


def _copies(data: Dataset, texts: Sequence[str]) -> Iterator[DatasetWarning]:
    """Texts of test rows that occur in another part too, and texts with several labels."""
    same = text_numbers(texts)
    distinct = list(dict.fromkeys(texts))
    pairs = near_duplicates(distinct)
    yield from _across(data, same, pairs, "test", ("train", "calibration", "validation"))
    yield from _across(data, same, pairs, "validation", ("train", "calibration"))
    labels = np.zeros((len(distinct), len(data.task.classes)), dtype=bool)
    labels[same, data.labels] = True
    conflicting = (labels.sum(axis=1) > 1)[same]
    if conflicting.any():
        yield DatasetWarning(
            "conflicting_labels",
            "",
            int(conflicting.sum()),
            f"{int(conflicting.sum()):,} rows have a text that another row has with another label, case and blanks aside, "
            f"such as row {data.row_ids[conflicting.argmax()]}: no model of the text alone can get all of them right.",
        )


def _across(
    data: Dataset, same: np.ndarray, pairs: np.ndarray, part: Part, others: Sequence[Part]
) -> Iterator[DatasetWarning]:
    """Warn of rows of a part whose text, or nearly the same text, is in one of the others."""
    if part not in data.parts:
        return
    rows = data.parts[part]
    elsewhere = np.concatenate([data.parts[other] for other in others if other in data.parts])
    first = np.full(int(same.max()) + 1, -1, dtype=np.int64)  # a row of another part that has the text
    first[same[elsewhere[::-1]]] = elsewhere[::-1]
    near = np.full(len(first), -1, dtype=np.int64)
    for a, b in (pairs.T, pairs.T[::-1]):
        np.maximum.at(near, a, first[b])
    equal = first[same[rows]] >= 0
    nearly = ~equal & (near[same[rows]] >= 0)
    if not (equal | nearly).any():
        return
    row = int(np.flatnonzero(equal if equal.any() else nearly)[0])
    other_row = (first if equal.any() else near)[same[rows[row]]]
    counts = []
    if equal.any():
        counts.append(
            f"{int(equal.sum()):,} ({equal.mean():.1%}) are in {_listed(others)} too, case and blanks aside"
        )
    if nearly.any():
        close = f"at least {MIN_SIMILARITY:.0%} of their runs of {SHINGLE} characters in common"
        counts.append(
            f"{int(nearly.sum()):,} {'nearly so' if equal.any() else 'nearly equal one of ' + _listed(others)} ({close})"
        )
    yield DatasetWarning(
        "duplicates",
        part,
        int((equal | nearly).sum()),
        f"of the {len(rows):,} {part} texts, {', and '.join(counts)}, such as rows {data.row_ids[rows[row]]} and "
        f"{data.row_ids[other_row]}{_most(data, rows, equal | nearly)}: a model can answer them from memory. Remove them "
        "from the other parts.",
    )


def _listed(parts: Sequence[Part]) -> str:
    names = ["training" if part == "train" else part for part in PARTS if part in parts]
    return f"{', '.join(names[:-1])} or {names[-1]}"


def _most(data: Dataset, rows: np.ndarray, where: np.ndarray) -> str:
    """Return the groups with the largest shares of rows, if they differ much from all rows."""
    shares = []
    for groups in data.attributes.values():
        for group in np.unique(groups[rows]).tolist():
            members = groups[rows] == group
            if members.sum() >= MIN_GROUP_ROWS and where[members].mean() > 2 * where.mean():
                shares.append((float(where[members].mean()), f"{group} ({where[members].mean():.1%})"))
    return (
        f"; above all of {', '.join(text for _, text in sorted(shares, reverse=True)[:3])}" if shares else ""
    )


def _long(data: Dataset) -> Iterator[DatasetWarning]:
    """Texts that most models do not read to their end."""
    texts = _texts(data)
    characters = np.array([len(text) for text in texts])
    candidates = np.flatnonzero(characters > LONG_WORDS)  # a word has a character at least
    long = characters > LONG_CHARACTERS
    long[candidates] |= np.array([len(texts[i].split()) > LONG_WORDS for i in candidates], dtype=bool)
    if long.any():
        longest = int(characters.argmax())
        yield DatasetWarning(
            "long_texts",
            "",
            int(long.sum()),
            f"{int(long.sum()):,} texts ({long.mean():.1%}) have more than {LONG_CHARACTERS:,} characters or {LONG_WORDS} "
            f"words{_most(data, np.arange(len(data)), long)}; the longest, row {data.row_ids[longest]}, has "
            f"{characters[longest]:,} characters. A model reads the first tokens only, often 128 to 512: choose its maximum "
            "length, and see in the predictions how much of each group is cut.",
        )
