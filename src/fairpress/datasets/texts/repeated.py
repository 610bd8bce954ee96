"""Equal texts, and how many rows of one part repeat a text of another."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def text_numbers(texts: Sequence[str] | np.ndarray) -> np.ndarray:
    """Return a number for each text, the same for equal ones, ``int64`` [rows], in the order of their first rows."""
    numbers: dict[str, int] = {}
    return np.array([numbers.setdefault(text, len(numbers)) for text in texts], dtype=np.int64)


def across_parts_note(same: np.ndarray, part_of: np.ndarray, groups: np.ndarray) -> str:
    """Return how many test and validation rows have a text that training has too, and the groups with the most.

    Parameters
    ----------
    same
        [rows] equal for equal texts (`text_numbers`).
    part_of
        [rows] the part of each row.
    groups
        [rows] the group of each row, such as its language.
    """
    sentences = []
    for part, earlier in (("test", ("train", "validation")), ("validation", ("train",))):
        rows = part_of == part
        repeated = rows & np.isin(same, same[np.isin(part_of, earlier)])
        if not repeated.any():
            continue
        names = np.unique(groups[repeated]).tolist()
        share = {g: (repeated & (groups == g)).sum() / (rows & (groups == g)).sum() for g in names}
        most = [f"{g} {share[g]:.1%}" for g in sorted(names, key=lambda g: -share[g])[:3]]
        where = " or ".join("training" if p == "train" else p for p in earlier)
        sentences.append(
            f"{int(repeated.sum()):,} of the {int(rows.sum()):,} {part} rows have a text that is also in {where} "
            f"({', '.join(most)}): those can be answered from memory."
        )
    return " ".join(sentences) or "No text is in two official parts."
